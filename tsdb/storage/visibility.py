"""Which versions the tombstones of a series hide.

A tombstone hides a version when the version's counter is lower than its own and the version lies in its ring interval:
counters rise along a location's op log, and say nothing between locations. So the place of a row is hashed (once for
those of one bucket or slot that follow each other among the rows that time, tags and counter leave over). ``rules``
joins tombstones that are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tsdb.kernels import kernel, readonly
from tsdb.model.places import bits_of, cell_of, index_of, place_of, places_of
from tsdb.model.ring import RING_SIZE
from tsdb.model.schema import Series
from tsdb.model.time import BUCKET_NS
from tsdb.storage.overlap import Rectangle
from tsdb.storage.rows import COUNTER_MASK
from tsdb.storage.rules import RangeRule, Rules

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
UInt64s = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


# Of 32 days: each of their places is hashed.
BUCKETS_COVERED_MAX = 10_000


class Bounded(Protocol):
    @property
    def rectangle(self) -> Rectangle: ...

    @property
    def min_counter(self) -> int: ...


class Visibility:
    """The tombstones of one series as a scan or a flush applies them."""

    def __init__(self, database: int, series: Series, rules: Rules) -> None:
        self._places = places_of(database, series.number, series.slots)
        self._limits: dict[int, tuple[UInt64s, Int64s]] = {}
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
        return any(
            rule.low <= bounds.min_time
            and bounds.max_time < rule.high
            and max_counter < rule.max_counter
            and _wants_all(rule, bounds)
            and self._hides_all(rule, bounds, max_counter)
            for rule in self._ranges
        )

    def _hides_all(self, rule: RangeRule, bounds: Rectangle, max_counter: int) -> bool:
        edges, limits = self._limits_of(rule)
        if limits.min() > max_counter:
            return True
        first, last = bounds.min_time // BUCKET_NS, bounds.max_time // BUCKET_NS
        places = self._places
        return last - first < BUCKETS_COVERED_MAX and _are_above(
            first, last, max_counter, edges, limits, places.state, places.begins, places.bits
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
        places = self._places
        _hide(rows, readonly(times), counters, *self._limits_of(rule), places.state, places.begins, places.bits, hidden)

    def _limits_of(self, rule: RangeRule) -> tuple[UInt64s, Int64s]:
        """Pieces of the ring, by where they begin; in each, versions with a counter below its limit are hidden."""
        found = self._limits.get(id(rule))
        if found is None:
            found = self._limits[id(rule)] = _limits(rule.intervals)
        return found


def _limits(intervals: Sequence[tuple[int, int, int]]) -> tuple[UInt64s, Int64s]:
    lows, highs = ([each[at] for each in intervals] for at in (0, 1))
    edges = np.unique(np.array([0, *lows, *(high for high in highs if high < RING_SIZE)], np.uint64))
    limits = np.zeros(len(edges), np.int64)
    begins = np.searchsorted(edges, np.array(lows, np.uint64)).tolist()
    # The end of all is behind the last one.
    ends = (np.searchsorted(edges, np.array([high - 1 for high in highs], np.uint64), "right")).tolist()
    for begin, end, (_, _, counter) in zip(begins, ends, intervals, strict=True):
        np.maximum(limits[begin:end], counter, out=limits[begin:end])
    return edges, limits


@kernel
def _hide(
    rows: npt.NDArray[np.intp], times: Int64s, counters: Int64s, edges: UInt64s, limits: Int64s, state: UInt64s,
    begins: Int64s, bits: Int64s, hidden: Mask,
) -> None:  # fmt: skip
    begin, end, limit = 1, 0, 0
    for i in range(len(rows)):
        time = times[rows[i]]
        if time < begin or time > end:
            bucket, slot, _, begin, end = cell_of(time, begins, bits)
            limit = limits[index_of(place_of(bucket, slot, state), edges)]
        hidden[rows[i]] = counters[rows[i]] < limit


@kernel
def _are_above(
    first: int, last: int, counter: int, edges: UInt64s, limits: Int64s, state: UInt64s, begins: Int64s, bits: Int64s
) -> bool:  # fmt: skip
    """Whether the limit of all places of some buckets is above a counter."""
    for bucket in range(first, last + 1):
        for slot in range(1 << bits_of(bucket, begins, bits)):
            if limits[index_of(place_of(bucket, slot, state), edges)] <= counter:
                return False
    return True


def _wants_all(rule: RangeRule, bounds: Rectangle) -> bool:
    wanted = rule.wanted
    return wanted is None or (
        bounds.max_tagset < len(wanted) and bool(wanted[bounds.min_tagset : bounds.max_tagset + 1].all())
    )
