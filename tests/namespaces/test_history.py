"""The checker of histories finds what must not be."""

from __future__ import annotations

import pytest

from tests.namespaces.history import History


def history() -> History:
    """Three points, of which two are acknowledged, and reads before, between and after."""
    found = History(sent={1: 0.0, 2: 1.0, 3: 2.0}, acknowledged={1: 0.5, 2: 1.5})
    found.reads = [(0.2, 0.3, frozenset()), (1.0, 1.2, frozenset({1})), (1.6, 1.7, frozenset({1, 2, 3}))]
    return found


def test_what_may_be_is_let_pass() -> None:
    found = history()
    found.check()
    found.check_end([1, 2], "one node")
    found.check_end([1, 2, 3], "another")
    assert found.longest_pause(0.0, 3.0) == 1.5


def test_a_read_that_lacks_an_acknowledged_point_is_found() -> None:
    found = history()
    found.reads.append((1.6, 1.8, frozenset({1})))
    with pytest.raises(AssertionError, match="lacks 1 points"):
        found.check()


def test_a_point_that_nobody_sent_is_found() -> None:
    found = history()
    found.reads.append((0.1, 0.2, frozenset({4})))
    with pytest.raises(AssertionError, match="nobody sent"):
        found.check()


@pytest.mark.parametrize(("values", "why"), [([1], "missing"), ([1, 2, 2], "twice"), ([1, 2, 4], "nobody sent")])
def test_an_end_that_cannot_be_is_found(values: list[int], why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        history().check_end(values, "a node")
