"""What a session has seen, from any thread, and its text."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from tsdb.model.freshness import Seen, merged, ops_in, ops_of, text_of, token_of


def test_the_last_op_of_each_location_is_what_was_seen() -> None:
    random, seen, expected = Random(1), Seen(), dict[int, tuple[int, int]]()
    for _ in range(20_000):
        token = {random.randrange(40): (random.randrange(5), random.randrange(1000)) for _ in range(3)}
        seen.add(token)
        for location, op in token.items():
            expected[location] = max(op, expected.get(location, op))
        if random.random() < 0.01:
            assert seen.token == expected
    assert seen.token == expected
    seen.forget([1, 2])
    assert seen.token == {location: op for location, op in expected.items() if location not in (1, 2)}
    seen.forget()
    assert seen.token == {}


def test_nothing_is_lost_when_threads_add_at_once() -> None:
    seen = Seen()

    def add(first: int) -> None:
        for sequence in range(first, 40_000, 4):
            seen.add({sequence % 3: (1, sequence)})
            if sequence % 1000 == first:
                assert seen.token

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    assert seen.token == {place: (1, max(range(place, 40_000, 3))) for place in range(3)}


def test_a_token_is_read_back_from_its_text() -> None:
    random = Random(2)
    for size in (0, 1, 2, 50):
        token = {random.randrange(10**6): (random.randrange(100), random.randrange(10**12)) for _ in range(size)}
        assert token_of(ops_of(text_of(ops_in(token)))) == token


@pytest.mark.parametrize(
    "text", ["1", "1:2", "1:2.3,", ",", "1:2.3;4:5.6", "-1:2.3", "1:2.3 ", "1:2.٣", "a:b.c", "1:2.3.4"]
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        ops_of(text)


def test_writes_that_are_one_have_the_last_op_of_each_epoch() -> None:
    """A later epoch says nothing of what was written in an earlier one."""
    ops = merged(((7, 1, 5), (8, 1, 1)), ((7, 1, 4),), ((7, 2, 9),), ())
    assert ops == ((7, 1, 5), (7, 2, 9), (8, 1, 1))
    assert ops_of(text_of(ops)) == ops
    assert token_of(ops) == {7: (2, 9), 8: (1, 1)}
