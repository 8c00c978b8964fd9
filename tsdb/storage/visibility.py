"""Which versions the tombstones of a series hide.

A tombstone hides a version when the version's counter is lower than its own and the version lies in its ring interval:
counters rise along a location's op log, and say nothing between locations. So the bucket of a row is hashed (once for
each distinct bucket among the rows that time, tags and counter leave over). ``rules`` joins tombstones that are alike.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from tsdb.model.ring import bucket_hash
from tsdb.model.schema import Series
from tsdb.model.time import BUCKET_NS, bucket_of
from tsdb.storage.overlap import Rectangle
from tsdb.storage.rows import COUNTER_MASK
from tsdb.storage.rules import RangeRule, Rules

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


# Of 32 days: each bucket is hashed once.
BUCKETS_COVERED_MAX = 10_000


class Bounded(Protocol):
    @property
    def rectangle(self) -> Rectangle: ...

    @property
    def min_counter(self) -> int: ...


class Visibility:
    """The tombstones of one series as a scan or a flush applies them."""

    def __init__(self, database: int, series: Series, rules: Rules) -> None:
        self._database = database
        self._series = series.number
        self._hashes: dict[int, int] = {}
        self._levels = rules.levels
        self._ranges = rules.ranges

    def __bool__(self) -> bool:
        return bool(self._ranges or self._levels)

    def touches(self, part: Bounded, low: int, high: int) -> bool:
        """May a tombstone hide a row of ``part`` with a time in [low, high)?"""
        if not self:
            return False
        first, last = max(low, part.rectangle.min_time), min(high - 1, part.rectangle.max_time)
        least = part.min_counter
        ranges = any(r.low <= last and first < r.high and least < r.max_counter for r in self._ranges)
        return ranges or any(k.min_time <= last and first <= k.max_time and least <= k.max_limit for k in self._levels)

    def may_hide(self, tagset: Int64s, first: Int64s, last: Int64s, least: int) -> Mask:
        """For stretches of time of tag sets: may a version in them be hidden? None has a counter below ``least``."""
        found = np.zeros(len(tagset), np.bool_)
        for rule in self._ranges:
            if least < rule.max_counter:
                meets = (first < rule.high) & (last >= rule.low)
                if rule.wanted is not None:
                    known = tagset < len(rule.wanted)
                    meets[known] &= rule.wanted[tagset[known]]
                    meets[~known] = False
                found |= meets
        for keys in self._levels:
            if least <= keys.max_limit:
                keys.meet(tagset, first, last, found)
        return found

    def covers(self, bounds: Rectangle, max_counter: int) -> bool:
        """Is every version up to ``max_counter`` in these bounds hidden, by one rule? False where it takes long."""
        first, last = bounds.min_time // BUCKET_NS, bounds.max_time // BUCKET_NS
        if last - first >= BUCKETS_COVERED_MAX:
            return False
        return any(
            rule.low <= bounds.min_time
            and bounds.max_time < rule.high
            and max_counter < rule.max_counter
            and _wants_all(rule, bounds)
            and all(self._limit(rule, bucket) > max_counter for bucket in range(first, last + 1))
            for rule in self._ranges
        )

    def hidden(self, tagset: Int32s, times: Int64s, sequences: Int64s) -> Mask | None:
        """A mask of the hidden versions; None when there is none."""
        if not self or not len(times):
            return None
        hidden = np.zeros(len(times), np.bool_)
        counters = sequences & COUNTER_MASK
        first, last, least = int(times.min()), int(times.max()), int(counters.min())
        for rule in self._ranges:
            if rule.low <= last and first < rule.high and least < rule.max_counter:
                self._apply_range(rule, tagset, times, counters, hidden)
        for keys in self._levels:
            if keys.min_time <= last and first <= keys.max_time and least <= keys.max_limit:
                keys.mark(tagset, times, sequences, hidden)
        return hidden if hidden.any() else None

    def _apply_range(self, rule: RangeRule, tagset: Int32s, times: Int64s, counters: Int64s, hidden: Mask) -> None:
        chosen = (times >= rule.low) & (times < rule.high) & (counters < rule.max_counter) & ~hidden
        if rule.wanted is not None:
            # A tag set that is newer than the view of tag sets has no version older than the tombstone.
            known = tagset < len(rule.wanted)
            chosen &= known
            chosen[known] &= rule.wanted[tagset[known]]
        rows = np.flatnonzero(chosen)
        if not len(rows):
            return
        buckets, inverse = np.unique(bucket_of(times[rows]), return_inverse=True)
        limits = np.fromiter((self._limit(rule, int(bucket)) for bucket in buckets), np.int64, len(buckets))
        hidden[rows] = counters[rows] < limits[inverse]

    def _limit(self, rule: RangeRule, bucket: int) -> int:
        """Versions in ``bucket`` with a lower counter are hidden."""
        place = self._hashes.get(bucket)
        if place is None:
            place = self._hashes[bucket] = bucket_hash(self._database, self._series, bucket)
        return max((counter for low, high, counter in rule.intervals if low <= place < high), default=0)


def _wants_all(rule: RangeRule, bounds: Rectangle) -> bool:
    wanted = rule.wanted
    return wanted is None or (
        bounds.max_tagset < len(wanted) and bool(wanted[bounds.min_tagset : bounds.max_tagset + 1].all())
    )
