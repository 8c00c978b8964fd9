"""The ring: a database's 64-bit hash space, cut into locations; a bucket of a series hashes into one.

The hash input has fixed width: database, series and bucket as big-endian int64 (and a slot, 0 for all but hot
series), so it never depends on names. ``mmh3`` is MurmurHash3 x64 128; its first 64 bits, unsigned, are the place.
``tsdb.model.places`` hashes many at a time.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import mmh3

RING_SIZE = 2**64
LOCATIONS_PER_DATABASE = 32

_HASH_INPUT = struct.Struct(">qqqq")

# Half-open intervals [low, high) of places on the ring.
Intervals = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Location:
    """A ring location: ``number`` is unique in the cluster; it holds hashes in the half-open [low, high)."""

    number: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Slots:
    """Buckets of a series from ``from_bucket`` on are cut into 2**``bits`` slots, until its next ones. ``settled``
    False: nothing may be written to these buckets until it is known that nothing was. Versions with a counter up to
    ``counter`` that lie there were deleted before, and hidden by the place that they had: points come with higher
    ones."""

    from_bucket: int
    bits: int
    settled: bool = True
    counter: int = 0


def equal_locations(first_number: int, count: int) -> tuple[Location, ...]:
    """``count`` equal intervals that cover the ring."""
    bounds = [RING_SIZE * i // count for i in range(count + 1)]
    return tuple(Location(first_number + i, bounds[i], bounds[i + 1]) for i in range(count))


def bucket_hash(database: int, series: int, bucket: int, slot: int = 0) -> int:
    """The place of a bucket on its database's ring, 0 … 2**64 − 1."""
    return mmh3.hash64(_HASH_INPUT.pack(database, series, bucket, slot), signed=False)[0]


def intervals_of(locations: Iterable[Location]) -> Intervals:
    """The intervals of the ring that locations cover: ascending, those that touch each other as one."""
    found: list[tuple[int, int]] = []
    for low, high in sorted((location.low, location.high) for location in locations):
        if found and found[-1][1] == low:
            found[-1] = found[-1][0], high
        else:
            found.append((low, high))
    return tuple(found)


def location_of(locations: Sequence[Location], place: int) -> Location:
    """The location that holds a place. ``locations`` cover the ring in order without a gap."""
    return locations[bisect_right(locations, place, key=lambda location: location.low) - 1]
