"""Which location has a point: its bucket's map, its place on the ring, and the interval that holds the place.

A bucket is looked up in the last map that holds from it or from before. A map, once it holds, is never changed, so what
was written by an old map is found by it for ever, and a key has all its versions in one location.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from tsdb.cluster.metadata.records import Interval, Ring, RingMap
from tsdb.model.ring import bucket_hash


def map_at(ring: Ring, bucket: int) -> RingMap:
    """The map by which a bucket is looked up."""
    return ring.maps[bisect_right(ring.maps, bucket, key=lambda each: each.from_bucket) - 1]


def interval_at(ring_map: RingMap, place: int) -> Interval:
    """The part of the ring that holds a place."""
    return ring_map.intervals[bisect_right(ring_map.intervals, place, key=lambda each: each.low) - 1]


def location_at(ring: Ring, series: int, bucket: int) -> int:
    """The location of a bucket."""
    return interval_at(map_at(ring, bucket), bucket_hash(ring.database, series, bucket)).location


def maps_between(ring: Ring, first_bucket: int, last_bucket: int) -> Iterator[RingMap]:
    """The maps by which some bucket from the first through the last is looked up: a query asks locations of all."""
    for i, each in enumerate(ring.maps):
        ends = ring.maps[i + 1].from_bucket if i + 1 < len(ring.maps) else None
        if each.from_bucket <= last_bucket and (ends is None or ends > first_bucket):
            yield each
