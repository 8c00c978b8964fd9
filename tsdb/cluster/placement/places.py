"""Which location has a point: its bucket's map, its place on the ring, and the interval that holds the place.

A bucket is looked up in the last map that holds from it or from before. A map, once it holds, is never changed, so what
was written by an old map is found by it for ever, and a key has all its versions in one location.

The bucket of a hot series is cut into 2^k *slots* by a hash of each point's time, and each slot has a place of its own.
Slot 0 has the place of the whole bucket, so k = 0, which is the rule, is no special case.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tsdb.cluster.metadata.records import Interval, Ring, RingMap
from tsdb.model.ring import bucket_hash
from tsdb.model.time import bucket_of

Int64s = npt.NDArray[np.int64]

_MIX = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_SHIFT = np.uint64(33)


def map_at(ring: Ring, bucket: int) -> RingMap:
    """The map by which a bucket is looked up."""
    return ring.maps[bisect_right(ring.maps, bucket, key=lambda each: each.from_bucket) - 1]


def interval_at(ring_map: RingMap, place: int) -> Interval:
    """The part of the ring that holds a place."""
    return ring_map.intervals[bisect_right(ring_map.intervals, place, key=lambda each: each.low) - 1]


def bits_at(ring: Ring, series: int, bucket: int) -> int:
    """Into how many slots a bucket is cut, as a power of two."""
    bits = 0
    for each in ring.spreadings:
        if each.series == series and each.from_bucket <= bucket:
            bits = each.bits
    return bits


def slots_of(times: Int64s, bits: int) -> Int64s:
    """The slot of each time (ns): the low bits of MurmurHash3's last mixing step over it."""
    mixed = times.astype(np.uint64)
    for factor in _MIX:
        mixed = (mixed ^ (mixed >> _SHIFT)) * factor
    mixed ^= mixed >> _SHIFT
    return (mixed & np.uint64((1 << bits) - 1)).astype(np.int64)


def located(ring: Ring, series: int, times: Int64s) -> Int64s:
    """The location of each point of a series, by its time. The hash is computed once for each distinct slot."""
    if not len(times):
        return np.zeros(0, np.int64)
    buckets = bucket_of(times)
    distinct, inverse = np.unique(buckets, return_inverse=True)
    bits = np.array([bits_at(ring, series, int(bucket)) for bucket in distinct], np.int64)
    # Slots of the most bits: fewer are the low ones of these.
    slots = slots_of(times, int(bits.max())) & ((1 << bits[inverse]) - 1)
    pairs, which = np.unique(np.stack((buckets, slots)), axis=1, return_inverse=True)
    found = [location_at(ring, series, int(bucket), int(slot)) for bucket, slot in pairs.T]
    numbers: Int64s = np.array(found, np.int64)[which.reshape(-1)]
    return numbers


def location_at(ring: Ring, series: int, bucket: int, slot: int = 0) -> int:
    """The location of a slot of a bucket."""
    return interval_at(map_at(ring, bucket), bucket_hash(ring.database, series, bucket, slot)).location


def maps_between(ring: Ring, first_bucket: int, last_bucket: int) -> Iterator[RingMap]:
    """The maps by which some bucket from the first through the last is looked up: a query asks locations of all."""
    for i, each in enumerate(ring.maps):
        ends = ring.maps[i + 1].from_bucket if i + 1 < len(ring.maps) else None
        if each.from_bucket <= last_bucket and (ends is None or ends > first_bucket):
            yield each
