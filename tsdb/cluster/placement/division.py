"""When a ring gets its next map: locations with too much load are split in two, idle neighbours become one.

A split is at the median of the load: half of it lies on each side, as far as the histogram of the location's leader can
tell. It helps where many buckets make the load. Where one alone does, it does not, and the series wants slots
(``spreading``). The map holds from a bucket after all that were written into the locations that it changes, so no data
moves: older buckets stay where they are, and the new locations begin empty, on nodes of their own.

Nothing is done twice in a short time, and never to and fro: what is merged has at most a fourth of the load that a
split takes, and what is split has two halves that together are far too much for a merge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tsdb.cluster.metadata.commands import ChangeRing
from tsdb.cluster.metadata.records import Interval, Ring
from tsdb.cluster.metadata.rings import INTERVALS_MAX, MAPS_MAX
from tsdb.errors import UndefinedObject
from tsdb.model.ring import LOCATIONS_PER_DATABASE

CELLS = 64


@dataclass(frozen=True, slots=True)
class Share:
    """What a leader tells of its location: its load in new buckets, how that lies over ``CELLS`` equal parts of its
    interval, and the last bucket that was written into it."""

    load: float
    cells: tuple[float, ...]
    last_bucket: int


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A location with more load than ``split`` is split; neighbours with less than ``merge`` together become one.

    A map is made ``rest_buckets`` after the one before has begun to hold, at the earliest, and begins ``ahead_buckets``
    after the last bucket that was written. If that is further ahead than ``future_buckets_max`` from now (somebody's
    clock is wrong), no map is made. A cell with more than ``cell_part_max`` of a location's load is one bucket, or few.
    """

    split: float
    merge: float
    rest_buckets: int = 12
    ahead_buckets: int = 1
    future_buckets_max: int = 12
    cell_part_max: float = 0.5
    intervals_min: int = LOCATIONS_PER_DATABASE

    def __post_init__(self) -> None:
        assert 0 <= 4 * self.merge <= self.split, "what is merged must not be split again soon"


def median(interval: Interval, cells: Sequence[float], cell_part_max: float = 0.5) -> int | None:
    """The place at which the upper half of an interval's load begins; None: there is none that would help.

    Inside a cell the load counts as even.
    """
    total = sum(cells)
    size = interval.last + 1 - interval.low
    if total <= 0 or size < 2 or max(cells) > cell_part_max * total:
        return None
    below = 0.0
    for i, load in enumerate(cells):
        if below + load >= total / 2:
            # Integers: a place has 64 bits and a float's fraction 53.
            low, high = size * i // len(cells), size * (i + 1) // len(cells)
            part = int((total / 2 - below) / load * (1 << 32)) if load else 0
            place = interval.low + low + ((high - low) * part >> 32)
            return min(max(place, interval.low + 1), interval.last)
        below += load
    return None


def split(intervals: Sequence[Interval], location: int, place: int) -> tuple[Interval, ...]:
    """A location's interval is cut before a place: both parts are new locations (0). Raises UndefinedObject."""
    at = _index(intervals, location)
    whole = intervals[at]
    assert whole.low < place <= whole.last, "both parts have something"
    halves = Interval(0, whole.low, place - 1), Interval(0, place, whole.last)
    return (*intervals[:at], *halves, *intervals[at + 1 :])


def merge(intervals: Sequence[Interval], location: int) -> tuple[Interval, ...]:
    """A location's interval and the next one become one new location. Raises UndefinedObject."""
    at = _index(intervals, location)
    if at + 1 == len(intervals):
        raise UndefinedObject(f"location {location} is the last one on its ring and has no next one")
    one = Interval(0, intervals[at].low, intervals[at + 1].last)
    return (*intervals[:at], one, *intervals[at + 2 :])


def _index(intervals: Sequence[Interval], location: int) -> int:
    for i, each in enumerate(intervals):
        if each.location == location and location:
            return i
    raise UndefinedObject(f"there is no location {location} on the ring")


def next_map(ring: Ring, shares: Mapping[int, Share], now_bucket: int, thresholds: Thresholds) -> ChangeRing | None:
    """The command that makes a ring's next map; None: it is good as it is, or it is too early.

    ``shares`` by location; one that is missing is left alone. Splits come before merges.
    """
    last = ring.maps[-1]
    if len(ring.maps) >= MAPS_MAX or (len(ring.maps) > 1 and now_bucket < last.from_bucket + thresholds.rest_buckets):
        return None
    intervals, touched = _split_all(last.intervals, shares, thresholds)
    if not touched:
        intervals, touched = _merge_all(last.intervals, shares, thresholds)
    if not touched:
        return None
    from_bucket = max(last.from_bucket, now_bucket, *(shares[each].last_bucket for each in touched))
    from_bucket += thresholds.ahead_buckets
    if from_bucket > now_bucket + thresholds.future_buckets_max:
        return None
    return ChangeRing(ring.database, last.version + 1, from_bucket, intervals)


def _split_all(
    intervals: tuple[Interval, ...], shares: Mapping[int, Share], thresholds: Thresholds
) -> tuple[tuple[Interval, ...], list[int]]:
    touched = []
    for each in intervals:
        share = shares.get(each.location)
        if share is None or share.load <= thresholds.split or len(intervals) >= INTERVALS_MAX:
            continue
        place = median(each, share.cells, thresholds.cell_part_max)
        if place is not None:
            intervals = split(intervals, each.location, place)
            touched.append(each.location)
    return intervals, touched


def _merge_all(
    intervals: tuple[Interval, ...], shares: Mapping[int, Share], thresholds: Thresholds
) -> tuple[tuple[Interval, ...], list[int]]:
    """Pairs of neighbours, from the start of the ring on; each location once."""
    touched: list[int] = []
    at = 0
    while at + 1 < len(intervals) and len(intervals) > thresholds.intervals_min:
        pair = [shares.get(each.location) for each in intervals[at : at + 2]]
        if sum(share.load if share is not None else thresholds.merge for share in pair) < thresholds.merge:
            touched += [each.location for each in intervals[at : at + 2]]
            intervals = merge(intervals, intervals[at].location)
        at += 1
    return intervals, touched
