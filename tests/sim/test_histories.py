"""The checker of histories is checked: known good and bad ones, and against trying all orders."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sim.histories import NOTHING, Operation, fault, search


def write(value: int, begin: float, end: float = math.inf) -> Operation:
    return Operation(True, value, begin, end)


def read(value: int, begin: float, end: float) -> Operation:
    return Operation(False, value, begin, end)


GOOD = {
    "nothing happened": [],
    "a read before any write": [read(NOTHING, 1, 2)],
    "one after the other": [write(1, 1, 2), read(1, 3, 4), write(2, 5, 6), read(2, 7, 8)],
    "a read beside a write sees either": [write(1, 1, 4), read(NOTHING, 2, 3)],
    "and the other": [write(1, 1, 4), read(1, 2, 3)],
    "two writes at once, read in one order": [write(1, 1, 10), write(2, 1, 10), read(2, 11, 12)],
    "an unanswered write takes effect late": [write(1, 1), read(NOTHING, 2, 3), read(1, 4, 5)],
    "an unanswered write never takes effect": [write(1, 1), read(NOTHING, 2, 3)],
}
BAD = {
    "a stale read": [write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)],
    "a lost write": [write(1, 1, 2), read(NOTHING, 3, 4)],
    "a read that goes back": [write(1, 1, 10), read(1, 2, 3), read(NOTHING, 4, 5)],
    "a read of the future": [read(1, 1, 2), write(1, 3, 4)],
    "a read of what nobody wrote": [read(7, 1, 2)],
    "values that alternate": [write(1, 1, 10), write(2, 1, 10), read(1, 11, 12), read(2, 13, 14)],
    "an unanswered write that was seen and vanished": [write(1, 1), read(1, 2, 3), read(NOTHING, 4, 5)],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_passes(name: str) -> None:
    assert fault(GOOD[name]) is None
    assert search(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_found(name: str) -> None:
    assert fault(BAD[name]) is not None
    assert not search(BAD[name])


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    """Up to seven operations over distinct moments."""
    writes = draw(st.integers(0, 3))
    reads = draw(st.lists(st.integers(0, writes), max_size=4))
    count = writes + len(reads)
    moments = draw(st.permutations(range(1, 2 * count + 1)))
    spans = [sorted(moments[2 * at : 2 * at + 2]) for at in range(count)]
    answered = [draw(st.booleans()) for _ in range(writes)]
    return [write(at + 1, spans[at][0], spans[at][1] if answered[at] else math.inf) for at in range(writes)] + [
        read(value, *spans[writes + at]) for at, value in enumerate(reads)
    ]


@given(histories())
def test_the_checker_says_what_trying_all_orders_says(history: list[Operation]) -> None:
    assert (fault(history) is None) == search(history)
