"""What forgotten tombstones had deleted: kept as times, bounded, and of what took everything also where in the ring."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tsdb.model.ring import RING_SIZE
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.storage import state
from tsdb.storage.changes import ERASURES_MAX, with_erased
from tsdb.storage.rocks import Rocks
from tsdb.storage.tombstone import Erasure, Tombstone

PARTS = 8
PART = RING_SIZE // PARTS
times = st.integers(-(10**6), 10**6)
parts = st.integers(0, PARTS - 1)
counters = st.integers(1, 1000)


@st.composite
def stones(draw: st.DrawFn) -> Tombstone:
    part = draw(parts)
    low, high = part * PART, (part + 1) * PART
    if draw(st.booleans()):
        return Tombstone(1, low, high, draw(counters))
    first, last = sorted((draw(times), draw(times)))
    return Tombstone(1, low, high, draw(counters), first, last + 1)


def _covers(erased: tuple[Erasure, ...], stone: Tombstone) -> bool:
    return any(
        each.low <= stone.range_low
        and stone.range_high <= each.high
        and each.ring_low <= stone.low
        and stone.high <= each.ring_high
        and each.counter >= stone.counter
        for each in erased
    )


@given(st.lists(stones(), max_size=60), st.integers(0, 500))
def test_nothing_that_was_deleted_and_not_seen_is_missing(deleted: list[Tombstone], seen: int) -> None:
    erased: tuple[Erasure, ...] = ()
    for at in range(0, len(deleted), 7):
        erased = with_erased(erased, deleted[at : at + 7], seen)
    for stone in deleted:
        assert stone.counter <= seen or _covers(erased, stone), stone
    assert all(each.counter > seen for each in erased)


def test_more_than_there_may_be_become_wider_and_none_is_lost() -> None:
    deleted = [Tombstone(1, 0, PART, 5, at * 1000, at * 1000 + 10) for at in range(3 * ERASURES_MAX)]
    deleted += [Tombstone(1, part * PART, (part + 1) * PART, 7) for part in (1, 3)]
    erased = with_erased((), deleted, 0)
    assert len(erased) <= ERASURES_MAX
    assert all(_covers(erased, stone) for stone in deleted)


def test_a_mask_is_of_its_part_of_the_ring_and_a_deletion_by_time_of_all_of_it() -> None:
    mask, deletion = Tombstone(1, PART, 2 * PART, 9), Tombstone(1, PART, 2 * PART, 8, 100, 200)
    assert with_erased((), [mask, deletion], 0) == (
        Erasure(NS_MIN, NS_MAX, 9, PART, 2 * PART),
        Erasure(100, 200, 8, 0, RING_SIZE),
    )


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    kept = (Erasure(NS_MIN, NS_MAX, 9, 7 * PART, RING_SIZE), Erasure(NS_MIN, NS_MAX, 9, 0, PART), Erasure(100, 200, 8))
    rocks = Rocks.open(tmp_path / "store")
    try:
        batch = rocks.batch()
        state.put_erased(batch, 4, kept)
        rocks.write(batch, sync=True)
        assert state.load_erased(rocks) == {4: kept}
    finally:
        rocks.close()
