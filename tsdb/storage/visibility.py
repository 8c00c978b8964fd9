"""Which versions the tombstones of a series hide.

A tombstone hides a version when the version's counter is lower than its own and the version lies in its ring interval:
counters rise along a location's op log, and say nothing between locations. So the bucket of a row is hashed (once for
each distinct bucket among the rows that time, tags and counter leave over).

The 32 tombstones of one DELETE have equal time range and tags: they are judged together, as *one* rule with 32
(interval, counter) pairs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tsdb.kernels import kernel
from tsdb.model.ring import bucket_hash
from tsdb.model.schema import Series
from tsdb.model.store import TagIn
from tsdb.model.time import bucket_of
from tsdb.storage.overlap import Rectangle
from tsdb.storage.rows import COUNTER_MASK
from tsdb.storage.tagsets import TagSets
from tsdb.storage.tombstone import AnyTombstone, KeyTombstone, Tombstone

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


class Bounded(Protocol):
    @property
    def rectangle(self) -> Rectangle: ...

    @property
    def min_counter(self) -> int: ...


@dataclass(slots=True)
class _RangeRule:
    """Tombstones with one time range [low, high) and one tag predicate; ``wanted`` masks the tag sets it holds for."""

    low: int
    high: int
    wanted: Mask | None
    intervals: list[tuple[int, int, int]]
    max_counter: int


@dataclass(slots=True)
class _KeyRule:
    """Named points, sorted by (tag set, time). A sequence of 0 stands for any.

    Another sequence names one row of a keyless series; of a keyed point it is the highest version that the DELETE saw:
    those that were written since stay.
    """

    tagset: Int32s
    times: Int64s
    sequences: Int64s
    counter: int
    low: int
    high: int


@kernel
def _mark_keys(
    tagset: Int32s, times: Int64s, sequences: Int64s, keys: Int32s, key_times: Int64s, key_sequences: Int64s,
    counter: int, mask: int, keyed: bool, hidden: Mask,
) -> None:  # fmt: skip
    for row in range(len(times)):
        if sequences[row] & mask >= counter:
            continue
        low, high = 0, len(keys)
        while low < high:
            middle = (low + high) // 2
            if keys[middle] < tagset[row] or (keys[middle] == tagset[row] and key_times[middle] < times[row]):
                low = middle + 1
            else:
                high = middle
        while low < len(keys) and keys[low] == tagset[row] and key_times[low] == times[row]:
            seen = key_sequences[low]
            if seen == 0 or seen == sequences[row] or (keyed and (sequences[row] & mask) <= (seen & mask)):
                hidden[row] = True
                break
            low += 1


class Visibility:
    """The tombstones of one series as a scan or a flush applies them."""

    def __init__(self, database: int, series: Series, tombstones: Iterable[AnyTombstone], tagsets: TagSets) -> None:
        self._database = database
        self._series = series.number
        self._keyed = series.keyed
        self._hashes: dict[int, int] = {}
        self._keys: list[_KeyRule] = []
        rules: dict[tuple[int, int, tuple[TagIn, ...]], _RangeRule] = {}
        for stone in tombstones:
            if isinstance(stone, KeyTombstone):
                rule = _key_rule(stone, tagsets)
                if rule is not None:
                    self._keys.append(rule)
            else:
                _add_to_rules(rules, stone, tagsets)
        self._ranges = list(rules.values())

    def __bool__(self) -> bool:
        return bool(self._ranges or self._keys)

    def touches(self, part: Bounded, low: int, high: int) -> bool:
        """May a tombstone hide a row of ``part`` with a time in [low, high)?"""
        if not self:
            return False
        first, last = max(low, part.rectangle.min_time), min(high - 1, part.rectangle.max_time)
        least = part.min_counter
        ranges = any(r.low <= last and first < r.high and least < r.max_counter for r in self._ranges)
        return ranges or any(k.low <= last and first <= k.high and least < k.counter for k in self._keys)

    def hidden(self, tagset: Int32s, times: Int64s, sequences: Int64s) -> Mask | None:
        """A mask of the hidden versions; None when there is none."""
        if not self or not len(times):
            return None
        hidden = np.zeros(len(times), np.bool_)
        counters = sequences & COUNTER_MASK
        for rule in self._ranges:
            self._apply_range(rule, tagset, times, counters, hidden)
        for keys in self._keys:
            _mark_keys(
                tagset, times, sequences, keys.tagset, keys.times, keys.sequences,
                keys.counter, COUNTER_MASK, self._keyed, hidden,
            )  # fmt: skip
        return hidden if hidden.any() else None

    def _apply_range(self, rule: _RangeRule, tagset: Int32s, times: Int64s, counters: Int64s, hidden: Mask) -> None:
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

    def _limit(self, rule: _RangeRule, bucket: int) -> int:
        """Versions in ``bucket`` with a lower counter are hidden."""
        place = self._hashes.get(bucket)
        if place is None:
            place = self._hashes[bucket] = bucket_hash(self._database, self._series, bucket)
        return max((counter for low, high, counter in rule.intervals if low <= place < high), default=0)


def _key_rule(stone: KeyTombstone, tagsets: TagSets) -> _KeyRule | None:
    """The named points by tag set id; a tag set without an id here has no points here."""
    ids = np.array([_id_of(tagsets, tagset) for tagset in stone.tagsets], np.int32)
    rows_ids = ids[stone.tagset]
    known = np.flatnonzero(rows_ids >= 0)
    if not len(known):
        return None
    order = known[np.lexsort((stone.times[known], rows_ids[known]))]
    times = stone.times[order]
    sequences = np.zeros(len(order), np.int64) if stone.sequences is None else stone.sequences[order]
    return _KeyRule(rows_ids[order], times, sequences, stone.counter & COUNTER_MASK, int(times.min()), int(times.max()))


def _id_of(tagsets: TagSets, tagset: bytes) -> int:
    found = tagsets.find(tagset)
    return -1 if found is None else found


def _add_to_rules(
    rules: dict[tuple[int, int, tuple[TagIn, ...]], _RangeRule], stone: Tombstone, tagsets: TagSets
) -> None:
    key = (stone.range_low, stone.range_high, stone.tags)
    rule = rules.get(key)
    if rule is None:
        wanted = tagsets.matching(stone.tags) if stone.tags else None
        rule = rules[key] = _RangeRule(stone.range_low, stone.range_high, wanted, [], 0)
    rule.intervals.append((stone.low, stone.high, stone.counter & COUNTER_MASK))
    rule.max_counter = max(rule.max_counter, stone.counter & COUNTER_MASK)
