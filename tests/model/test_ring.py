"""The ring: every place belongs to one location, and a batch is cut without losing a row."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsdb.model import ring


@given(st.integers(1, 100), st.integers(0, ring.RING_SIZE - 1))
def test_every_place_belongs_to_exactly_one_location(count: int, place: int) -> None:
    locations = ring.equal_locations(1, count)
    owners = [x for x in locations if x.low <= place < x.high]
    assert owners == [ring.location_of(locations, place)]


@given(st.integers(1, 64))
def test_locations_cover_the_ring_without_gap_or_overlap(count: int) -> None:
    locations = ring.equal_locations(7, count)
    assert locations[0].low == 0
    assert locations[-1].high == ring.RING_SIZE
    assert all(a.high == b.low for a, b in pairwise(locations))
    assert [x.number for x in locations] == list(range(7, 7 + count))


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=200))
def test_a_cut_gives_every_row_to_the_location_of_its_bucket(buckets: list[int]) -> None:
    locations = ring.equal_locations(1, 32)
    seen: list[int] = []
    for location, rows in ring.cut(locations, 3, 4, np.array(buckets, np.int64)):
        chosen = range(len(buckets)) if rows is None else rows.tolist()
        for row in chosen:
            assert ring.location_of(locations, ring.bucket_hash(3, 4, buckets[row])) == location
        seen += chosen
    assert sorted(seen) == list(range(len(buckets)))


def test_an_empty_batch_is_cut_into_nothing() -> None:
    assert ring.cut(ring.equal_locations(1, 32), 1, 1, np.empty(0, np.int64)) == []


def test_the_hash_of_a_bucket_never_changes() -> None:
    """Points are found again by it: these values are part of the format."""
    assert ring.bucket_hash(1, 1, 0) == ring.bucket_hash(1, 1, 0)
    assert [ring.bucket_hash(1, 2, b) for b in (-1, 0, 5_600_000)] == [
        GOLDEN_MINUS_ONE,
        GOLDEN_ZERO,
        GOLDEN_LATE,
    ]


GOLDEN_MINUS_ONE = 537701455248487462
GOLDEN_ZERO = 589564750816831271
GOLDEN_LATE = 11188185278663426094
