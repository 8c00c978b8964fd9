"""Where an arc is split, and which two become one."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.cluster.metadata.records import FROM_THE_START, Interval, Ring, RingMap
from tsdb.cluster.replicas.dividing import merge, split
from tsdb.errors import InvalidParameterValue, ObjectNotInPrerequisiteState, ProgramLimitExceeded

COUNT = 32
WIDTH = (1 << 64) // COUNT
INTERVALS = tuple(Interval(100 + at, at * WIDTH, (at + 1) * WIDTH - 1) for at in range(COUNT))
NOTHING: Mapping[int, int] = {}


def ring(*begins: int) -> Ring:
    """With arcs that begin at these locations, and at the first."""
    cuts = tuple(at * WIDTH for at in sorted(begins))
    return Ring(1, 3, (RingMap(1, FROM_THE_START, INTERVALS),), arcs=len(cuts) + 1, cuts=cuts)


def rows(*of_each: int) -> dict[int, int]:
    return {100 + at: count for at, count in enumerate(of_each) if count}


WRITTEN = st.lists(st.integers(0, 1_000), min_size=COUNT, max_size=COUNT)
BEGINS = st.sets(st.integers(1, COUNT - 1), max_size=10)


@given(WRITTEN, BEGINS)
def test_no_other_place_would_leave_the_halves_of_an_arc_more_alike(of_each: list[int], begins: set[int]) -> None:
    at = ring(*begins)
    edges = [0, *sorted(begins), COUNT]
    for arc, (first, last) in enumerate(pairwise(edges)):
        if last - first < 2:
            with pytest.raises(ObjectNotInPrerequisiteState, match=f"arc {arc + 1} is a single location"):
                split(at, rows(*of_each), arc)
            continue
        found = split(at, rows(*of_each), arc)
        (new,) = {*found.begins} - {*at.begins}
        middle = new // WIDTH
        assert (found.arc, found.locations) == (arc, (middle - first, last - middle))
        best = min(abs(sum(of_each[first:each]) - sum(of_each[each:last])) for each in range(first + 1, last))
        assert abs(sum(of_each[first:middle]) - sum(of_each[middle:last])) == best
        if sum(of_each):
            assert found.shares == (
                sum(of_each[first:middle]) / sum(of_each), sum(of_each[middle:last]) / sum(of_each)
            )  # fmt: skip


@given(WRITTEN, BEGINS)
def test_that_to_which_most_was_written_is_split_and_the_two_with_least_become_one(
    of_each: list[int], begins: set[int]
) -> None:
    at = ring(*begins)
    edges = [0, *sorted(begins), COUNT]
    sums = [sum(of_each[a:b]) for a, b in pairwise(edges)]
    most = max(sums[arc] for arc in range(at.arcs) if edges[arc + 1] - edges[arc] > 1)
    assert sums[split(at, rows(*of_each)).arc] == most
    if not begins:
        with pytest.raises(ObjectNotInPrerequisiteState, match="the ring has one arc"):
            merge(at, rows(*of_each))
        return
    found = merge(at, rows(*of_each))
    assert sum(sums[found.arc : found.arc + 2]) == min(a + b for a, b in pairwise(sums))
    assert {*at.begins} - {*found.begins} == {edges[found.arc + 1] * WIDTH}
    assert found.locations == (edges[found.arc + 1] - edges[found.arc], edges[found.arc + 2] - edges[found.arc + 1])


def test_where_nothing_was_written_it_is_the_middle() -> None:
    found = split(ring(8), NOTHING)
    assert (found.arc, found.begins, found.shares) == (1, (8 * WIDTH, 20 * WIDTH), None)
    assert split(ring(), NOTHING).begins == (16 * WIDTH,)
    # All of it was written to another arc.
    assert split(ring(8), rows(0, 7), 1).begins == (8 * WIDTH, 20 * WIDTH)


def test_one_location_that_has_all_is_not_cut_and_the_middle_is_as_good_as_any_place() -> None:
    for at in (0, 15, 16, 31):
        assert split(ring(), {100 + at: 9}).begins == (16 * WIDTH,)
    assert split(ring(), rows(9, 1)).begins == (WIDTH,)


def test_what_cannot_be() -> None:
    for arc in (-1, 2):
        with pytest.raises(InvalidParameterValue, match=f"there is no arc {arc + 1}: the ring has 2"):
            split(ring(8), NOTHING, arc)
        with pytest.raises(InvalidParameterValue, match=f"there is no arc {arc + 1}: the ring has 2"):
            merge(ring(8), NOTHING, arc)
    with pytest.raises(InvalidParameterValue, match="arc 2 is the last one"):
        merge(ring(8), NOTHING, 1)
    with pytest.raises(ProgramLimitExceeded, match="the ring has 32 arcs"):
        split(ring(*range(1, COUNT)), NOTHING)
    few = Ring(
        1, 3, (RingMap(1, FROM_THE_START, (Interval(1, 0, 99), Interval(2, 100, (1 << 64) - 1))),), arcs=2, cuts=(100,)
    )
    with pytest.raises(ObjectNotInPrerequisiteState, match="all arcs of the ring are single locations"):
        split(few, NOTHING)
