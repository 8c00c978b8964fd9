"""Which buckets hash into intervals of the ring, by the kernels: as the hash itself says."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsdb.model.ring import RING_SIZE, Intervals, bucket_hash, equal_locations, intervals_of
from tsdb.model.time import BUCKET_NS, NS_MAX, NS_MIN
from tsdb.storage.buckets import ALL, NONE, SOME, Buckets
from tsdb.storage.selection import Selection

DATABASE, SERIES = 3, 2**40 + 17
numbers = st.integers(1, 2**62)
times = st.integers(NS_MIN, NS_MAX) | st.sampled_from([NS_MIN, NS_MAX, -1, 0, BUCKET_NS - 1, BUCKET_NS])
near = st.integers(-40 * BUCKET_NS, 40 * BUCKET_NS)


@st.composite
def intervals(draw: st.DrawFn) -> Intervals:
    chosen = draw(st.sets(st.integers(0, 15), max_size=16))
    return intervals_of([each for each in equal_locations(1, 16) if each.number - 1 in chosen])


def is_wanted(time: int, ring: Intervals, database: int = DATABASE, series: int = SERIES) -> bool:
    place = bucket_hash(database, series, time // BUCKET_NS)
    return any(low <= place < high for low, high in ring)


@given(numbers, numbers, intervals(), st.lists(times | near))
def test_times_are_judged_by_the_hash_of_their_bucket(
    database: int, series: int, ring: Intervals, given_: list[int]
) -> None:
    found = Buckets(database, series, ring).keep(np.array(given_, np.int64))
    assert found.tolist() == [is_wanted(time, ring, database, series) for time in given_]


@given(intervals(), st.lists(st.tuples(near, st.integers(0, 20 * BUCKET_NS)), min_size=1))
def test_a_stretch_has_all_or_none_or_some(ring: Intervals, given_: list[tuple[int, int]]) -> None:
    first = [low for low, _ in given_]
    last = [low + more for low, more in given_]
    found = Buckets(DATABASE, SERIES, ring).stretches(np.array(first, np.int64), np.array(last, np.int64))
    for low, high, said in zip(first, last, found.tolist(), strict=True):
        has = {is_wanted(bucket * BUCKET_NS, ring) for bucket in range(low // BUCKET_NS, high // BUCKET_NS + 1)}
        assert said == (SOME if len(has) == 2 else ALL if True in has else NONE)


@given(intervals(), near, st.integers(-1, 20 * BUCKET_NS), st.lists(near))
def test_spans_hold_the_wanted_times_of_a_range(ring: Intervals, low: int, length: int, given_: list[int]) -> None:
    high = low + length
    spans = Buckets(DATABASE, SERIES, ring).spans(low, high, 100)
    assert spans is not None
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(set(edges)), "ranges rise, apart"
    for time in [*given_, low, high - 1, high, low - 1, *edges, *(edge - 1 for edge in edges)]:
        inside = any(begin <= time < end for begin, end in spans)
        assert inside == (low <= time < high and is_wanted(time, ring))


def test_a_range_of_too_many_buckets_has_no_spans() -> None:
    buckets = Buckets(DATABASE, SERIES, ((0, RING_SIZE),))
    assert buckets.spans(NS_MIN, NS_MAX, 1000) is None
    assert buckets.spans(0, 1000 * BUCKET_NS, 1000) == [(0, 1000 * BUCKET_NS)]
    assert buckets.spans(0, 1000 * BUCKET_NS + 1, 1000) is None


@given(intervals(), st.lists(st.lists(near, min_size=1, max_size=20), max_size=4), st.booleans())
def test_rows_behind_the_last_wanted_one_are_trimmed(ring: Intervals, ranges: list[list[int]], oldest: bool) -> None:
    sizes = np.array([len(each) for each in ranges], np.int64)
    stops = np.cumsum(sizes)
    whole = Selection(stops - sizes, stops, np.arange(len(ranges), dtype=np.int32), int(sizes.sum()))
    own = np.array([time for each in ranges for time in sorted(each)], np.int64)
    found = Buckets(DATABASE, SERIES, ring).trimmed(whole, own, oldest=oldest)
    expected = []
    for at, each in enumerate(ranges):
        rows = [row for row, time in enumerate(sorted(each)) if is_wanted(time, ring)]
        if rows:
            base = int(stops[at] - sizes[at])
            expected.append((at, base + (rows[0] if oldest else 0), base + (len(each) if oldest else rows[-1] + 1)))
    assert list(zip(found.tagsets.tolist(), found.starts.tolist(), found.stops.tolist(), strict=True)) == expected
    assert found.rows == sum(stop - start for _, start, stop in expected)


def test_locations_that_touch_are_one_interval() -> None:
    every = equal_locations(1, 8)
    assert intervals_of(reversed(every)) == ((0, RING_SIZE),)
    assert intervals_of([every[0], every[1], every[4]]) == ((0, every[1].high), (every[4].low, every[4].high))
    assert intervals_of([]) == ()
