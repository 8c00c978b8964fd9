"""Every point has one location, under every map, and keeps it for ever."""

from __future__ import annotations

import random

import numpy as np
import pytest
from msgspec.structs import replace

from tests.placement.rings import DATABASE, covers, first_ring, lives
from tsdb.cluster.metadata.records import Spreading
from tsdb.cluster.metadata.rings import SLOT_BITS_MAX
from tsdb.cluster.placement.places import (
    bits_at,
    interval_at,
    located,
    location_at,
    map_at,
    maps_between,
    slots_of,
)
from tsdb.model.places import places_of
from tsdb.model.ring import RING_SIZE, bucket_hash, equal_locations
from tsdb.model.time import BUCKET_NS

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


def test_without_slots_and_with_one_map_a_point_is_where_it_is_today() -> None:
    ring, locations = first_ring(), equal_locations(1, 32)
    times = np.random.default_rng(1).integers(-(10**18), 10**18, 500)
    wanted = np.zeros(500, np.int64)
    for location, rows in places_of(DATABASE, SERIES).cut(locations, times):
        wanted[rows] = location.number
    assert (located(ring, SERIES, times) == wanted).all()
    other = replace(ring, spreadings=(Spreading(SERIES + 1, 3, -(10**9)),))
    assert (located(other, SERIES, times) == wanted).all()


@pytest.mark.parametrize("seed", range(10))
def test_points_of_a_hot_series_are_cut_by_bucket_slot_and_map(seed: int) -> None:
    chance = random.Random(seed)
    *_, (ring, end) = lives(seed, 6)
    bits = [chance.randint(0, 4) for _ in range(3)]
    spreadings = tuple(Spreading(SERIES, k, end - 20 + 10 * i) for i, k in enumerate(bits))
    ring = replace(ring, spreadings=spreadings)
    times = np.array([chance.randrange(-30 * BUCKET_NS, (end + 20) * BUCKET_NS) for _ in range(400)])
    found = located(ring, SERIES, times)
    for time, location in zip(times.tolist(), found.tolist(), strict=True):
        bucket = time // BUCKET_NS
        k = 0 if bucket < end - 20 else bits[min(2, (bucket - end + 20) // 10)]
        assert bits_at(ring, SERIES, bucket) == k
        slot = murmur(time) & ((1 << k) - 1)
        place = bucket_hash(DATABASE, SERIES, bucket, slot)
        holding = [each.location for each in map_at(ring, bucket).intervals if each.low <= place <= each.last]
        assert holding == [location]


def murmur(time: int) -> int:
    """MurmurHash3's fmix64, as its author has it."""
    k = time % 2**64
    k = (k ^ (k >> 33)) * 0xFF51AFD7ED558CCD % 2**64
    k = (k ^ (k >> 33)) * 0xC4CEB9FE1A85EC53 % 2**64
    return k ^ (k >> 33)


def test_slots_get_about_as_much_each_of_times_at_any_step() -> None:
    for step in (1, 1_000, 10**6, 10**9, 10**10):
        times = np.arange(20_000, dtype=np.int64) * step + 1_700_000_000 * 10**9
        counts = np.bincount(slots_of(times, 4), minlength=16)
        assert counts.min() > 0.85 * 20_000 / 16
        assert counts.max() < 1.15 * 20_000 / 16


def test_few_slots_are_the_low_bits_of_many() -> None:
    times = np.random.default_rng(2).integers(-(2**62), 2**62, 1_000)
    many = slots_of(times, SLOT_BITS_MAX)
    for bits in range(SLOT_BITS_MAX):
        assert (slots_of(times, bits) == many & ((1 << bits) - 1)).all()
    assert not slots_of(times, 0).any()


def test_of_no_points_nothing_is_located() -> None:
    assert located(first_ring(), SERIES, np.zeros(0, np.int64)).tolist() == []
