"""Locations are split at the median of their load and merged when they are idle, and not to and fro."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.placement.rings import DATABASE, Rings, covers, first_ring
from tsdb.cluster.metadata.records import Interval
from tsdb.cluster.placement.division import CELLS, Share, Thresholds, median, merge, next_map, split
from tsdb.errors import UndefinedObject
from tsdb.model.ring import RING_SIZE

EVEN = (1.0,) * CELLS
LIMITS = Thresholds(split=100.0, merge=20.0)


@given(
    low=st.integers(0, RING_SIZE - 1),
    size=st.integers(1, RING_SIZE),
    loads=st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=CELLS, max_size=CELLS),
)
@settings(max_examples=80, deadline=None)
def test_a_median_is_inside_and_has_half_of_the_load_on_each_side(low: int, size: int, loads: list[float]) -> None:
    last = min(RING_SIZE, low + size) - 1
    interval = Interval(1, low, last)
    place = median(interval, loads)
    if place is None:
        assert sum(loads) == 0 or last == low or max(loads) > sum(loads) / 2
        return
    assert low < place <= last
    span = last + 1 - low
    if span < 1 << 20:
        return
    below = 0.0
    for i, load in enumerate(loads):
        begin, end = low + span * i // CELLS, low + span * (i + 1) // CELLS
        below += load * min(1.0, max(0.0, (place - begin) / (end - begin)))
    assert below == pytest.approx(sum(loads) / 2, rel=1e-3)


def test_one_hot_bucket_is_not_cured_by_a_split() -> None:
    loads = [0.1] * CELLS
    loads[17] = 100.0
    assert median(Interval(1, 0, 2**40), loads) is None
    hot = {1: Share(1_000.0, tuple(loads), 10)}
    assert next_map(first_ring(), hot, 10, LIMITS) is None


@given(st.integers(0, 10**9), st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_a_split_and_the_merge_of_its_halves_are_the_interval_as_it_was(seed: int, count: int) -> None:
    chance = random.Random(seed)
    intervals = first_ring(count).maps[0].intervals
    each = chance.choice(intervals)
    halves = split(intervals, each.location, chance.randint(each.low + 1, each.last))
    assert covers(halves)
    assert [h for h in halves if h.location] == [i for i in intervals if i != each]
    numbered = tuple(Interval(i.location or 900 + n, i.low, i.last) for n, i in enumerate(halves))
    at = next(i for i in numbered if i.low == each.low)
    whole = merge(numbered, at.location)
    assert covers(whole)
    assert [(i.low, i.last) for i in whole] == [(i.low, i.last) for i in intervals]


def test_what_is_not_on_the_ring_is_refused() -> None:
    intervals = first_ring().maps[0].intervals
    with pytest.raises(UndefinedObject, match="no location 99"):
        split(intervals, 99, 1)
    with pytest.raises(UndefinedObject, match="no location 0"):
        merge((Interval(0, 0, RING_SIZE - 1),), 0)
    with pytest.raises(UndefinedObject, match="is the last one"):
        merge(intervals, 32)


def test_hot_locations_are_split_in_one_map_that_begins_after_what_was_written() -> None:
    rings = Rings()
    shares = {n: Share(300.0 if n in (3, 9) else 10.0, EVEN, 1_000 + n) for n in range(1, 33)}
    action = next_map(rings.ring, shares, 1_000, LIMITS)
    assert action is not None
    assert (action.database, action.version, action.from_bucket) == (DATABASE, 2, 1_010)
    assert rings.change(action) == (33, 34, 35, 36)
    before, after = rings.ring.maps
    for old, pair in ((3, (33, 34)), (9, (35, 36))):
        parent = next(each for each in before.intervals if each.location == old)
        halves = [each for each in after.intervals if each.location in pair]
        assert (halves[0].low, halves[1].last) == (parent.low, parent.last)
        assert abs((halves[0].last - halves[0].low) - (halves[1].last - halves[1].low)) <= 2


def test_no_map_is_made_for_a_bucket_far_in_the_future_nor_soon_after_another() -> None:
    rings = Rings()
    assert next_map(rings.ring, {1: Share(300.0, EVEN, 2_000)}, 1_000, LIMITS) is None
    first = next_map(rings.ring, {1: Share(300.0, EVEN, 1_000)}, 1_000, LIMITS)
    assert first is not None
    rings.change(first)
    hot = {2: Share(300.0, EVEN, 1_001)}
    assert next_map(rings.ring, hot, 1_012, LIMITS) is None
    assert next_map(rings.ring, hot, 1_013, LIMITS) is not None


def test_idle_neighbours_are_merged_and_never_below_what_a_ring_begins_with() -> None:
    rings = Rings()
    assert next_map(rings.ring, {n: Share(0.0, EVEN, 1_000) for n in range(1, 33)}, 1_000, LIMITS) is None
    action = next_map(rings.ring, {1: Share(300.0, EVEN, 1_000)}, 1_000, LIMITS)
    assert action is not None
    halves = rings.change(action)
    idle = {each: Share(1.0, EVEN, 1_020) for each in (*halves, *range(2, 33))}
    action = next_map(rings.ring, idle, 1_020, LIMITS)
    assert action is not None
    rings.change(action)
    assert len(rings.ring.maps[-1].intervals) == 32
    # Of a location that did not report nothing is known.
    unknown = {each: share for each, share in idle.items() if each != halves[0]}
    assert next_map(rings.ring, {}, 1_100, LIMITS) is None
    assert len(unknown) == 32


@pytest.mark.parametrize("seed", range(12))
def test_what_was_split_is_not_merged_again_while_loads_vary_around_a_mean(seed: int) -> None:
    """Load lies anywhere on the ring and each report of it is off by up to a quarter: no interval comes back that is
    gone, and so it comes to an end."""
    chance = random.Random(seed)
    rings = Rings()
    peaks = [(chance.randrange(RING_SIZE), chance.choice((1, 5, 40))) for _ in range(400)]
    gone: set[tuple[int, int]] = set()
    changes = 0
    for turn in range(60):
        now = 100 * turn
        intervals = rings.ring.maps[-1].intervals
        shares = {each.location: _share(each, peaks, now, chance.uniform(0.75, 1.25)) for each in intervals}
        action = next_map(rings.ring, shares, now, LIMITS)
        if action is not None:
            rings.change(action)
            changes += 1
            there = {(each.low, each.last) for each in rings.ring.maps[-1].intervals}
            gone |= {(each.low, each.last) for each in intervals} - there
            assert not gone & there
    assert covers(rings.ring.maps[-1].intervals)
    assert 0 < changes < 32


def _share(interval: Interval, peaks: list[tuple[int, int]], bucket: int, off: float) -> Share:
    cells = [0.0] * CELLS
    for place, load in peaks:
        if interval.low <= place <= interval.last:
            cells[(place - interval.low) * CELLS // (interval.last + 1 - interval.low)] += load * off
    return Share(sum(cells), tuple(cells), bucket)
