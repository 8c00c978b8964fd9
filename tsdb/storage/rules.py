"""What the tombstones of a series come to: few range rules and few levels of hidden keys, kept between scans.

The 32 tombstones of one DELETE have equal time range and tags: they are *one* rule with 32 (interval, counter) pairs.

A tombstone's interval holds for the places that rows had when it was logged. Slots give rows of a time other places,
and begin where all rows are hidden, and gone where they were led. At a node that has not carried that out yet a rule of
all places goes on hiding them, for as long as the series has tombstones.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.model.ring import RING_SIZE, Slots
from tsdb.model.schema import Series
from tsdb.model.store import TagIn
from tsdb.model.time import BUCKET_NS, NS_MAX, NS_MIN
from tsdb.storage.hidden_keys import HiddenKeys, with_stones
from tsdb.storage.rows import COUNTER_MASK
from tsdb.storage.tagsets import TagSets
from tsdb.storage.tombstone import AnyTombstone, KeyTombstone, Tombstone

Mask = npt.NDArray[np.bool_]

# Rules that take more are made anew for each scan: a mask has a byte for each tag set.
KEPT_BYTES = 32 * 2**20
KEPT_SERIES = 256


@dataclass(slots=True)
class RangeRule:
    """Tombstones with one time range [low, high) and one tag predicate; ``wanted`` masks the tag sets it holds for."""

    low: int
    high: int
    wanted: Mask | None
    intervals: list[tuple[int, int, int]]
    max_counter: int


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """``keys``: the key tombstones that ``levels`` is made of, in order; ``holes`` those of the tag sets it knows."""

    stones: Sequence[AnyTombstone]
    keys: tuple[KeyTombstone, ...]
    levels: tuple[HiddenKeys, ...]
    ranges: tuple[RangeRule, ...]
    holes: Mask
    slots: tuple[Slots, ...] = ()

    @property
    def nbytes(self) -> int:
        masks = sum(rule.wanted.nbytes for rule in self.ranges if rule.wanted is not None)
        return masks + sum(level.nbytes for level in self.levels)


def rules_of(series: Series, stones: Sequence[AnyTombstone], tagsets: TagSets, known: Rules | None = None) -> Rules:
    """The rules of all ``stones``. ``known``: rules of the series as it was; keys are added to them."""
    keys = tuple(stone for stone in stones if isinstance(stone, KeyTombstone))
    old = known if known is not None and _starts_with(keys, known.keys) else None
    levels, new = ((), keys) if old is None else (old.levels, keys[len(old.keys) :])
    levels = with_stones(levels, new, tagsets, series.keyed)
    ranges: dict[tuple[int, int, tuple[TagIn, ...]], RangeRule] = {}
    for stone in stones:
        if isinstance(stone, Tombstone):
            _add(ranges, stone, tagsets)
    every = (*ranges.values(), *(map(_before_slots, moved_by(series)) if stones else ()))
    return Rules(stones, keys, levels, every, tagsets.holes, series.slots)


def moved_by(series: Series) -> list[Slots]:
    """The slots that may have given rows of tombstones other places."""
    return [each for each in series.slots if each.settled and each.counter]


def _before_slots(slots: Slots) -> RangeRule:
    """What was there before slots began is hidden."""
    low = max(slots.from_bucket * BUCKET_NS, NS_MIN)
    return RangeRule(low, NS_MAX, None, [(0, RING_SIZE, slots.counter + 1)], slots.counter + 1)


class KeptRules:
    """The rules that scans used last, at most ``KEPT_SERIES``. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: dict[int, Rules] = {}

    def rules(self, series: Series, stones: Sequence[AnyTombstone], tagsets: TagSets) -> Rules:
        """The rules of the tombstones of one version of the data; found again while no DELETE changes them."""
        with self._lock:
            known = self._rules.get(series.number)
        # Rules say nothing of tag sets that are forgotten: a view from before then needs others.
        if known is not None and known.holes is not tagsets.holes:
            known = None
        if known is not None and known.stones is stones and known.slots == series.slots:
            return known
        rules = rules_of(series, stones, tagsets, known)
        with self._lock:
            self._rules.pop(series.number, None)
            if stones and rules.nbytes <= KEPT_BYTES:
                self._rules[series.number] = rules
            while len(self._rules) > KEPT_SERIES:
                del self._rules[next(iter(self._rules))]
        return rules


def _starts_with(keys: tuple[KeyTombstone, ...], start: tuple[KeyTombstone, ...]) -> bool:
    return len(keys) >= len(start) and all(map(operator.is_, keys, start))


def _add(rules: dict[tuple[int, int, tuple[TagIn, ...]], RangeRule], stone: Tombstone, tagsets: TagSets) -> None:
    key = (stone.range_low, stone.range_high, stone.tags)
    rule = rules.get(key)
    if rule is None:
        wanted = tagsets.matching(stone.tags) if stone.tags else None
        rule = rules[key] = RangeRule(stone.range_low, stone.range_high, wanted, [], 0)
    rule.intervals.append((stone.low, stone.high, stone.counter & COUNTER_MASK))
    rule.max_counter = max(rule.max_counter, stone.counter & COUNTER_MASK)
