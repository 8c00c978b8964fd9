"""Which buckets, or slots of them, hash into intervals of the ring, by the kernels: as the hash itself says."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.model.test_places import place, some_slots
from tsdb.model.ring import RING_SIZE, Intervals, Slots, equal_locations, intervals_of
from tsdb.model.time import BUCKET_NS, NS_MAX, NS_MIN, NS_PER_SECOND
from tsdb.storage.buckets import ALL, NONE, SOME, Buckets, buckets_of
from tsdb.storage.selection import Selection

DATABASE, SERIES = 3, 2**40 + 17
numbers = st.integers(1, 2**62)
times = st.integers(NS_MIN, NS_MAX) | st.sampled_from([NS_MIN, NS_MAX, -1, 0, BUCKET_NS - 1, BUCKET_NS])
near = st.integers(-40 * BUCKET_NS, 40 * BUCKET_NS)
# Few enough that a stretch can be looked at second by second.
close = st.integers(-12 * BUCKET_NS, 12 * BUCKET_NS)
slots = st.just(()) | some_slots()


@st.composite
def intervals(draw: st.DrawFn) -> Intervals:
    chosen = draw(st.sets(st.integers(0, 15), max_size=16))
    return intervals_of([each for each in equal_locations(1, 16) if each.number - 1 in chosen])


def is_wanted(
    time: int, ring: Intervals, cut: tuple[Slots, ...] = (), database: int = DATABASE, series: int = SERIES
) -> bool:
    own = place(database, series, cut, time)
    return any(low <= own < high for low, high in ring)


@given(numbers, numbers, intervals(), slots, st.lists(times | near | close))
def test_times_are_judged_by_the_hash_of_their_slot(
    database: int, series: int, ring: Intervals, cut: tuple[Slots, ...], given_: list[int]
) -> None:
    found = Buckets(database, series, ring, cut).keep(np.array(given_, np.int64))
    assert found.tolist() == [is_wanted(time, ring, cut, database, series) for time in given_]


@given(intervals(), st.lists(st.tuples(near, st.integers(0, 20 * BUCKET_NS)), min_size=1))
def test_a_stretch_has_all_or_none_or_some(ring: Intervals, given_: list[tuple[int, int]]) -> None:
    first = [low for low, _ in given_]
    last = [low + more for low, more in given_]
    found = Buckets(DATABASE, SERIES, ring).stretches(np.array(first, np.int64), np.array(last, np.int64))
    for low, high, said in zip(first, last, found.tolist(), strict=True):
        has = {is_wanted(bucket * BUCKET_NS, ring) for bucket in range(low // BUCKET_NS, high // BUCKET_NS + 1)}
        assert said == (SOME if len(has) == 2 else ALL if True in has else NONE)


def edges(low: int, high: int, step: int) -> list[int]:
    """The first time of each step that a stretch has something of."""
    return [max(low, at * step) for at in range(low // step, high // step + 1)]


@given(intervals(), some_slots(), st.lists(st.tuples(close, st.integers(0, BUCKET_NS)), min_size=1))
def test_a_stretch_of_seconds_has_all_or_none_or_some(
    ring: Intervals, cut: tuple[Slots, ...], given_: list[tuple[int, int]]
) -> None:
    first = [low for low, _ in given_]
    last = [low + more for low, more in given_]
    found = Buckets(DATABASE, SERIES, ring, cut).stretches(np.array(first, np.int64), np.array(last, np.int64))
    for low, high, said in zip(first, last, found.tolist(), strict=True):
        has = {is_wanted(second, ring, cut) for second in edges(low, high, NS_PER_SECOND)}
        assert said == (SOME if len(has) == 2 else ALL if True in has else NONE)


def test_a_stretch_of_few_seconds_is_told_exactly_and_at_the_ends_of_time_too() -> None:
    ring, cut = intervals_of(equal_locations(1, 16)[::2]), (Slots(NS_MIN, 3),)
    buckets = Buckets(DATABASE, SERIES, ring, cut)
    for first in (0, BUCKET_NS // 2, -BUCKET_NS, NS_MIN, NS_MAX - BUCKET_NS // 2):
        for length in (0, NS_PER_SECOND, 3 * NS_PER_SECOND, NS_MAX - first):
            last = min(first + length, first + BUCKET_NS // 2, NS_MAX)
            has = {is_wanted(second, ring, cut) for second in edges(first, last, NS_PER_SECOND)}
            assert buckets.stretch(first, last) == (SOME if len(has) == 2 else ALL if True in has else NONE)
    whole = Buckets(DATABASE, SERIES, ((0, RING_SIZE),), cut)
    assert whole.stretch(NS_MIN, NS_MIN + 10 * BUCKET_NS) == ALL
    assert whole.stretch(NS_MAX - 10 * BUCKET_NS, NS_MAX) == ALL


@given(intervals(), some_slots(), close, st.integers(1, 3 * BUCKET_NS))
def test_seconds_are_judged_one_by_one(ring: Intervals, cut: tuple[Slots, ...], low: int, length: int) -> None:
    buckets = Buckets(DATABASE, SERIES, ring, cut)
    found = buckets.seconds(low, low + length)
    assert found.tolist() == [is_wanted(second, ring, cut) for second in edges(low, low + length - 1, NS_PER_SECOND)]
    are_cut = any(place(1, 1, cut, second) != place(1, 1, (), second) for second in edges(low, low + length - 1, 10**9))
    assert buckets.are_cut(low, low + length) >= are_cut


def test_buckets_are_cut_from_the_first_with_slots_on() -> None:
    cut = (Slots(2, 3), Slots(4, 0), Slots(6, 1), Slots(8, 2, settled=False))
    buckets = Buckets(DATABASE, SERIES, (), cut)
    are = [buckets.are_cut(at * BUCKET_NS, (at + 1) * BUCKET_NS) for at in range(10)]
    assert are == [at in (2, 3, 6, 7, 8, 9) for at in range(10)]
    assert not buckets.are_cut(0, 2 * BUCKET_NS)
    assert buckets.are_cut(0, 2 * BUCKET_NS + 1)
    assert buckets.spans(0, 2 * BUCKET_NS, 10) == []
    assert buckets.spans(0, 2 * BUCKET_NS + 1, 10) is None


def test_what_is_kept_of_a_series_is_of_its_slots() -> None:
    ring = intervals_of(equal_locations(1, 16)[::2])
    seconds = np.arange(0, BUCKET_NS, NS_PER_SECOND)
    before = buckets_of(DATABASE, SERIES, ring).keep(seconds)
    after = buckets_of(DATABASE, SERIES, ring, (Slots(0, 3),)).keep(seconds)
    assert len(set(before.tolist())) == 1
    assert len(set(after.tolist())) == 2


@given(intervals(), near, st.integers(-1, 20 * BUCKET_NS), st.lists(near))
def test_spans_hold_the_wanted_times_of_a_range(ring: Intervals, low: int, length: int, given_: list[int]) -> None:
    high = low + length
    spans = Buckets(DATABASE, SERIES, ring).spans(low, high, 100)
    assert spans is not None
    ends = [end for span in spans for end in span]
    assert ends == sorted(set(ends)), "ranges rise, apart"
    for time in [*given_, low, high - 1, high, low - 1, *ends, *(end - 1 for end in ends)]:
        inside = any(begin <= time < end for begin, end in spans)
        assert inside == (low <= time < high and is_wanted(time, ring))


def test_a_range_of_too_many_buckets_has_no_spans() -> None:
    buckets = Buckets(DATABASE, SERIES, ((0, RING_SIZE),))
    assert buckets.spans(NS_MIN, NS_MAX, 1000) is None
    assert buckets.spans(0, 1000 * BUCKET_NS, 1000) == [(0, 1000 * BUCKET_NS)]
    assert buckets.spans(0, 1000 * BUCKET_NS + 1, 1000) is None


@given(intervals(), slots, st.lists(st.lists(near | close, min_size=1, max_size=20), max_size=4), st.booleans())
def test_rows_behind_the_last_wanted_one_are_trimmed(
    ring: Intervals, cut: tuple[Slots, ...], ranges: list[list[int]], oldest: bool
) -> None:
    sizes = np.array([len(each) for each in ranges], np.int64)
    stops = np.cumsum(sizes)
    whole = Selection(stops - sizes, stops, np.arange(len(ranges), dtype=np.int32), int(sizes.sum()))
    own = np.array([time for each in ranges for time in sorted(each)], np.int64)
    found = Buckets(DATABASE, SERIES, ring, cut).trimmed(whole, own, oldest=oldest)
    expected = []
    for at, each in enumerate(ranges):
        rows = [row for row, time in enumerate(sorted(each)) if is_wanted(time, ring, cut)]
        if rows:
            base = int(stops[at] - sizes[at])
            expected.append((at, base + (rows[0] if oldest else 0), base + (len(each) if oldest else rows[-1] + 1)))
    assert list(zip(found.tagsets.tolist(), found.starts.tolist(), found.stops.tolist(), strict=True)) == expected
    assert found.rows == sum(stop - start for _, start, stop in expected)


def test_rows_in_slots_are_trimmed_second_by_second() -> None:
    ring, cut = intervals_of(equal_locations(1, 16)[4:7]), (Slots(0, 4),)
    times_ = np.arange(-BUCKET_NS, 2 * BUCKET_NS, NS_PER_SECOND)
    wanted = [row for row, time in enumerate(times_.tolist()) if is_wanted(time, ring, cut)]
    whole = Selection(np.zeros(1, np.int64), np.array([len(times_)]), np.zeros(1, np.int32), len(times_))
    for oldest in (False, True):
        found = Buckets(DATABASE, SERIES, ring, cut).trimmed(whole, times_, oldest=oldest)
        ends = (wanted[0], len(times_)) if oldest else (0, wanted[-1] + 1)
        assert (found.starts.tolist(), found.stops.tolist()) == ([ends[0]], [ends[1]])
    assert wanted[0] > 0
    assert wanted[-1] < len(times_) - 1


def test_locations_that_touch_are_one_interval() -> None:
    every = equal_locations(1, 8)
    assert intervals_of(reversed(every)) == ((0, RING_SIZE),)
    assert intervals_of([every[0], every[1], every[4]]) == ((0, every[1].high), (every[4].low, every[4].high))
    assert intervals_of([]) == ()
