"""The ring: every place belongs to one location, and a batch is cut without losing a row."""

from __future__ import annotations

from itertools import pairwise

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
