"""Every point has one location, under every map, and keeps it for ever."""

from __future__ import annotations

import random

import pytest

from tests.placement.rings import covers, lives
from tsdb.cluster.placement.places import (
    interval_at,
    location_at,
    map_at,
    maps_between,
)
from tsdb.model.ring import RING_SIZE

SERIES = 7


@pytest.mark.parametrize("seed", range(20))
def test_every_place_is_in_one_interval_of_every_map(seed: int) -> None:
    chance = random.Random(seed)
    for ring, _ in lives(seed, 12):
        for ring_map in ring.maps:
            assert covers(ring_map.intervals)
            edges = [each.low for each in ring_map.intervals] + [each.last for each in ring_map.intervals]
            for place in (0, RING_SIZE - 1, *chance.sample(edges, 5), *(chance.randrange(RING_SIZE) for _ in range(5))):
                holding = [each for each in ring_map.intervals if each.low <= place <= each.last]
                assert holding == [interval_at(ring_map, place)]


@pytest.mark.parametrize("seed", range(20))
def test_what_was_written_is_found_by_all_later_maps_where_it_is(seed: int) -> None:
    """Buckets are written as time goes on, some of them late; a map begins after all of them."""
    chance = random.Random(seed)
    written: dict[tuple[int, int], int] = {}
    last = -50
    for ring, bucket in lives(seed, 15):
        for (series, old), location in written.items():
            assert location_at(ring, series, old) == location
        for at in [*range(bucket, bucket + 3), *(chance.randint(-60, bucket) for _ in range(10))]:
            series = chance.randint(1, 3)
            known = written.setdefault((series, at), location_at(ring, series, at))
            assert known == location_at(ring, series, at)
            # The next map has to begin after these: ``lives`` goes on by at least one from the first of them.
            if at > bucket:
                del written[series, at]
        last = max(last, bucket)
        assert map_at(ring, last) == ring.maps[-1]
        assert map_at(ring, -(10**9)) == ring.maps[0]


@pytest.mark.parametrize("seed", range(10))
def test_a_query_of_a_range_asks_by_the_maps_of_its_buckets_and_no_others(seed: int) -> None:
    chance = random.Random(seed)
    *_, (ring, end) = lives(seed, 10)
    for _ in range(50):
        first = chance.randint(-20, end + 5)
        final = first + chance.randint(0, 30)
        versions = [each.version for each in maps_between(ring, first, final)]
        assert versions == sorted({map_at(ring, bucket).version for bucket in range(first, final + 1)})
