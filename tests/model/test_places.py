"""Where points lie on the ring, by the kernels: as the hash of their bucket and slot says."""

from __future__ import annotations

from dataclasses import replace

import mmh3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.model.places import places_of
from tsdb.model.ring import RING_SIZE, Slots, bucket_hash, equal_locations, location_of
from tsdb.model.time import BUCKET_NS, NS_MAX, NS_MIN, NS_PER_SECOND

numbers = st.integers(1, 2**62)
times = (
    st.integers(NS_MIN, NS_MAX)
    | st.integers(-9 * BUCKET_NS, 9 * BUCKET_NS)
    | st.sampled_from([NS_MIN, NS_MIN + 1, NS_MAX, -1, 0, BUCKET_NS - 1, BUCKET_NS])
)
# So many that which of them has a point says the first 16 bits of its place.
FINE = equal_locations(1, 2**16)


@st.composite
def some_slots(draw: st.DrawFn) -> tuple[Slots, ...]:
    begins = sorted(draw(st.sets(st.integers(-9, 9) | st.just(NS_MIN), max_size=3)))
    return tuple(Slots(begin, draw(st.integers(0, 6)), draw(st.booleans())) for begin in begins)


def mixed(second: int) -> int:
    """MurmurHash3's last mixing step."""
    word = second % RING_SIZE
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        word = (word ^ word >> 33) * factor % RING_SIZE
    return word ^ word >> 33


def place(database: int, series: int, slots: tuple[Slots, ...], time: int) -> int:
    bucket = time // BUCKET_NS
    bits = next((each.bits for each in reversed(slots) if each.settled and each.from_bucket <= bucket), 0)
    return bucket_hash(database, series, bucket, mixed(time // NS_PER_SECOND) % 2**bits)


@given(numbers, numbers, some_slots(), st.lists(times, max_size=50))
def test_a_point_lies_where_the_hash_of_its_slot_says(
    database: int, series: int, slots: tuple[Slots, ...], given_: list[int]
) -> None:
    found = places_of(database, series, slots).indexes(FINE, np.array(given_, np.int64))
    assert found.tolist() == [place(database, series, slots, time) >> 48 for time in given_]


@given(some_slots(), st.integers(1, 33), st.lists(times, max_size=200))
def test_a_cut_gives_every_row_to_the_location_of_its_place(
    slots: tuple[Slots, ...], count: int, given_: list[int]
) -> None:
    locations = equal_locations(1, count)
    seen: list[int] = []
    for location, rows in places_of(3, 4, slots).cut(locations, np.array(given_, np.int64)):
        chosen = range(len(given_)) if rows is None else rows.tolist()
        assert len(chosen), "nobody gets an empty part"
        for row in chosen:
            assert location_of(locations, place(3, 4, slots, given_[row])) == location
        seen += chosen
    assert sorted(seen) == list(range(len(given_)))


@given(some_slots(), st.integers(1, 33), st.integers(-12, 12), st.integers(0, 6))
def test_a_range_meets_the_locations_of_all_its_points_before_and_after_a_wish_is_settled(
    slots: tuple[Slots, ...], count: int, first: int, more: int
) -> None:
    locations, places = equal_locations(1, count), places_of(3, 4, slots)
    found = places.locations(locations, first, first + more)
    seconds = np.arange(first * BUCKET_NS, (first + more + 1) * BUCKET_NS, NS_PER_SECOND)
    after = places_of(3, 4, tuple(replace(each, settled=True) for each in slots))
    has = {location.number for each in (places, after) for location, _ in each.cut(locations, seconds)}
    meant = {each.number for each in found}
    assert has <= meant
    bits = max((each.bits for each in slots), default=0)
    if bits <= 4:
        assert has == meant, "300 seconds are in all of 16 slots"
    assert [each.number for each in found] == sorted(meant)


@pytest.mark.parametrize(("before", "wished"), [(4, 1), (1, 4), (0, 4)])
def test_a_range_meets_the_locations_of_slots_that_are_wished_for_and_of_those_before(before: int, wished: int) -> None:
    locations = equal_locations(1, 64)
    places = places_of(3, 4, (Slots(0, before), Slots(2, wished, settled=False)))
    widest = places_of(3, 4, (Slots(0, 4),))
    assert places.locations(locations, 2, 2) == widest.locations(locations, 2, 2)
    assert places.locations(locations, 1, 1) == places_of(3, 4, (Slots(0, before),)).locations(locations, 1, 1)


def test_points_of_a_second_stay_together_and_seconds_do_not() -> None:
    places = places_of(1, 2, (Slots(0, 5),))
    second = places.indexes(FINE, np.arange(0, NS_PER_SECOND, NS_PER_SECOND // 10))
    assert len(set(second.tolist())) == 1
    bucket = places.indexes(FINE, np.arange(0, BUCKET_NS, NS_PER_SECOND))
    assert len(set(bucket.tolist())) == 32


def test_without_slots_a_place_is_the_hash_of_the_bucket() -> None:
    """Points are found again by it: that is part of the format."""
    expected = mmh3.hash64(bytes(7) + b"\x01" + bytes(7) + b"\x02" + bytes(16), signed=False)[0]
    assert bucket_hash(1, 2, 0) == expected
    assert places_of(1, 2).indexes(FINE, np.zeros(1, np.int64)).tolist() == [expected >> 48]


def test_a_place_in_a_slot_never_changes() -> None:
    """Points are found again by it: these values are part of the format."""
    slots, seconds = (Slots(0, 3),), np.arange(4, dtype=np.int64) * NS_PER_SECOND
    assert [place(1, 2, slots, second) for second in seconds.tolist()] == GOLDEN
    assert places_of(1, 2, slots).indexes(FINE, seconds).tolist() == [each >> 48 for each in GOLDEN]


GOLDEN = [589564750816831271, 798163321782312173, 4428965454013555734, 5930191342530864218]
