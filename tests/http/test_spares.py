"""Arrays of bodies come back for the next ones, and nobody's bytes change under him."""

from __future__ import annotations

import asyncio
import random

from tsdb.http.body import Budget
from tsdb.http.spares import SPARES_BYTES_MAX, SPARES_MAX, Spares


def test_an_array_comes_back_at_the_length_that_is_asked_for() -> None:
    spares, chance = Spares(), random.Random(3)
    for _ in range(300):
        length = chance.randint(50_000, 200_000)
        array = spares.take(length)
        assert len(array) == length
        spares.give(array)
    kept = bytearray(100_000)
    spares.give(kept)
    assert spares.take(120_000) is kept
    spares.give(kept)
    assert spares.take(120_000) is kept


def test_an_array_of_another_size_stays_where_it_is() -> None:
    spares = Spares()
    large = bytearray(1_000_000)
    spares.give(large)
    assert spares.take(100_000) is not large
    assert spares.take(3_000_000) is not large
    assert spares.take(1_000_000) is large


def test_an_array_that_somebody_looks_at_is_not_given_away() -> None:
    spares = Spares()
    array = bytearray(b"x" * 100_000)
    with memoryview(array) as view:
        spares.give(array)
        assert spares.take(100_000) is not array
        assert bytes(view) == b"x" * 100_000


def test_what_is_kept_is_bounded() -> None:
    spares = Spares()
    arrays = [bytearray(1000) for _ in range(SPARES_MAX + 5)]
    for array in arrays:
        spares.give(array)
    taken = [spares.take(1000) for _ in arrays]
    assert sum(any(one is array for array in arrays) for one in taken) == SPARES_MAX
    spares.give(bytearray(SPARES_BYTES_MAX + 1))
    assert len(spares.take(SPARES_BYTES_MAX + 1)) == SPARES_BYTES_MAX + 1


def test_who_waits_for_room_is_woken_when_there_is_some() -> None:
    async def main() -> list[str]:
        budget, done = Budget(1000), []

        async def wait(name: str) -> None:
            while not budget.claim(200):
                await budget.freed()
            done.append(name)

        assert budget.claim(250)
        tasks = [asyncio.create_task(wait(name)) for name in "abc"]
        await asyncio.sleep(0.01)
        assert not done
        for _ in tasks:
            budget.came(200 if done else 250)
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        return done

    assert asyncio.run(asyncio.wait_for(main(), 10)) == ["a", "b", "c"]
