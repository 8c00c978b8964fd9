"""The checker of histories finds what must not be."""

from __future__ import annotations

import math

import pytest

from tests.namespaces.history import ANY, BOUNDED, SESSION, STALENESS_S, History, Read


def history() -> History:
    """Three points, of which two are acknowledged, and reads before, between and after."""
    found = History(sent={1: 0.0, 2: 1.0, 3: 2.0}, acknowledged={1: 0.5, 2: 1.5})
    seen: list[tuple[float, float, set[int]]] = [(0.2, 0.3, set()), (1.0, 1.2, {1}), (2.6, 2.7, {1, 2, 3})]
    found.reads = [Read(begun, ended, frozenset(values)) for begun, ended, values in seen]
    return found


def test_what_may_be_is_let_pass() -> None:
    found = history()
    found.reads.append(Read(2.8, 2.9, frozenset({1, 2}), SESSION, frozenset({2})))
    found.reads.append(Read(2.8, 2.9, frozenset({1}), BOUNDED))
    found.reads.append(Read(2.8, 2.9, frozenset(), ANY))
    found.check()
    found.check_end([1, 2, 3], "a node")
    assert found.longest_pause(0.0, 3.0) == 1.5


def test_a_read_that_lacks_an_acknowledged_point_is_found() -> None:
    found = history()
    found.reads.append(Read(1.6, 1.8, frozenset({1})))
    with pytest.raises(AssertionError, match="lacks 1 points"):
        found.check()


@pytest.mark.parametrize("level", [ANY, BOUNDED, SESSION])
def test_a_read_that_lacks_what_another_one_has_shown_is_found(level: str) -> None:
    """Whatever a level shows is committed: point 3 was never acknowledged."""
    found = history()
    found.reads[-1] = Read(2.6, 2.7, frozenset({1, 2, 3}), level)
    found.reads.append(Read(2.8, 2.9, frozenset({1, 2})))
    with pytest.raises(AssertionError, match=r"a linearizable read .* lacks 1 points that it must have: \[3\]"):
        found.check()


def test_a_session_that_lacks_what_it_has_seen_is_found() -> None:
    found = history()
    found.reads.append(Read(0.1, 0.2, frozenset(), SESSION, frozenset({1})))
    with pytest.raises(AssertionError, match=r"a session read .* lacks 1 points"):
        found.check()


def test_a_bounded_read_that_is_too_old_is_found_unless_clocks_were_wrong() -> None:
    late = 1.5 + STALENESS_S
    found = history()
    found.reads.append(Read(late - 0.1, late, frozenset({1}), BOUNDED))
    found.check()
    found.reads.append(Read(late + 0.1, late + 0.2, frozenset({1}), BOUNDED))
    found.check([(0.0, math.inf)])
    found.reads.append(Read(late + 0.1, late + 0.2, frozenset({1}), BOUNDED))
    with pytest.raises(AssertionError, match=r"a bounded read .* lacks 1 points"):
        found.check([(0.0, late)])


@pytest.mark.parametrize("level", ["linearizable", ANY, BOUNDED, SESSION])
def test_a_point_that_nobody_sent_is_found(level: str) -> None:
    found = history()
    found.reads.append(Read(0.1, 0.2, frozenset({4}), level))
    with pytest.raises(AssertionError, match="nobody sent"):
        found.check()


@pytest.mark.parametrize(
    ("values", "why"),
    [([1, 3], "missing"), ([1, 2, 2, 3], "twice"), ([1, 2, 3, 4], "nobody sent"), ([1, 2], "a read has shown")],
)
def test_an_end_that_cannot_be_is_found(values: list[int], why: str) -> None:
    found = history()
    found.check()
    with pytest.raises(AssertionError, match=why):
        found.check_end(values, "a node")
