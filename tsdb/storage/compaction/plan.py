"""The plan: which blocks of a series are merged, or go as they are, and why. A pure function of their headers.

Blocks are looked at in *spans*: a two-hour window, or the several windows that a block of several windows lies in. A
span is *closed* when its time is over and no block of it is new. In a closed span every block should be full, and no
tag set should be in two blocks of which one would do; in one that is still written to, blocks are left alone until FAN
of them lie on top of each other, so that a point is not written again with every flush.

Small data gets wide spans: where the windows of a day (or the days of 32 days) hold less than a block each, they are
joined, so that a series of a point a minute does not end as a thousand little blocks.

A plan comes to an end: what a merge leaves is not planned again, unless rows or tombstones come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from tsdb.model.schema import Series
from tsdb.model.time import NS_MIN, WINDOW_NS
from tsdb.storage.block import BlockHeader
from tsdb.storage.overlap import Rectangle, overlaps
from tsdb.storage.part import stored_numbers
from tsdb.storage.windows import Spans

Mask = npt.NDArray[np.bool_]

# So many blocks on top of each other are merged even while more may come.
FAN = 8
# Wide spans in windows, the widest first, each with what it is made of.
WIDTHS = ((384, 12), (12, 1))
# Neighbours that tombstones may have left less of are looked through together: what is left of them shares blocks.
TOGETHER = 8
# A block with one tag set alone and at least this part of a block's rows is as good as can be.
FULL_ENOUGH = 4


class Reason(StrEnum):
    """Why blocks are merged, the most urgent first. The first two go without being read."""

    RETENTION = "retention"
    DELETED = "deleted"
    OVERLAP = "overlap"
    SPREAD = "spread"
    VERSIONS = "versions"
    TOMBSTONES = "tombstones"
    COLUMNS = "columns"
    SMALL = "small"
    FULL = "full"

    @property
    def rank(self) -> int:
        return list(Reason).index(self)


@dataclass(frozen=True, slots=True)
class Task:
    """Blocks of one series and span that become others, or go."""

    series: int
    reason: Reason
    blocks: tuple[BlockHeader, ...]

    @property
    def drops(self) -> bool:
        return self.reason in (Reason.RETENTION, Reason.DELETED)

    @property
    def rows(self) -> int:
        return sum(header.rows for header in self.blocks)

    @property
    def bytes(self) -> int:
        return sum(header.value_bytes for header in self.blocks)

    @property
    def window(self) -> int:
        """The window of its earliest row."""
        return min(header.min_time for header in self.blocks) // WINDOW_NS


@dataclass(frozen=True, slots=True)
class Situation:
    """What a plan looks at. ``hit`` and ``covered`` are masks over ``blocks``.

    ``hit``: a tombstone may hide rows; ``covered``: it hides all. ``fresh``: ids of blocks that are new. ``settled``:
    by which task this process wrote a block. ``moments``: the counters across which versions are not merged. ``now``
    asks for all that can be done, as if every span were closed; ``full`` for every block to be written again.
    """

    series: Series
    blocks: Sequence[BlockHeader]
    hit: Mask
    covered: Mask
    now_ns: int
    rows_per_block: int
    fresh: frozenset[int] = frozenset()
    settled: Mapping[int, int] = field(default_factory=dict)
    moments: Sequence[int] = ()
    now: bool = False
    full: bool = False


def plan(situation: Situation) -> list[Task]:
    """The tasks of a series; no block is in two of them."""
    blocks, number = situation.blocks, situation.series.number
    floor = NS_MIN if situation.series.floor_ns is None else situation.series.floor_ns
    tasks: list[Task] = []
    left: list[int] = []
    for at, header in enumerate(blocks):
        if header.max_time < floor:
            tasks.append(Task(number, Reason.RETENTION, (header,)))
        elif situation.covered[at]:
            tasks.append(Task(number, Reason.DELETED, (header,)))
        else:
            left.append(at)
    planner = _Planner(situation)
    for width, part in WIDTHS:
        left = planner.join_wide(left, width, part)
    planner.plan_spans(left)
    tasks += planner.tasks
    tasks.sort(key=lambda task: (task.reason.rank, -task.window))
    return tasks


class _Planner:
    """One plan as it grows."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._blocks = situation.blocks
        self._limit = situation.rows_per_block
        self._stored = {n for column in situation.series.fields for n in stored_numbers(column)}
        self._first = np.array([h.min_time // WINDOW_NS for h in self._blocks], np.int64)
        self._last = np.array([h.max_time // WINDOW_NS for h in self._blocks], np.int64)
        self._low = np.array([h.min_tagset for h in self._blocks], np.int64)
        self._high = np.array([h.max_tagset for h in self._blocks], np.int64)
        self._rows = np.array([h.rows for h in self._blocks], np.int64)
        self.tasks: list[Task] = []

    # ---- wide spans

    def join_wide(self, left: Sequence[int], width: int, part: int) -> list[int]:
        """Join what lies in one closed span of ``width`` windows, where its parts hold little. Returns the rest."""
        spans: dict[int, list[int]] = {}
        # What lies under a block of several spans is planned with it.
        wider = Spans(
            (int(self._first[at]) // width, int(self._last[at]) // width)
            for at in left
            if self._first[at] // width < self._last[at] // width
        )
        for at in left:
            span = int(self._first[at]) // width
            if wider.first(span) == wider.last(wider.first(span)):
                spans.setdefault(span, []).append(at)
        joined: set[int] = set()
        for span, found in spans.items():
            if len(found) > 1 and self._is_sparse(found, part) and self._is_closed(found, (span + 1) * width):
                self._add(Reason.SMALL, found)
                joined.update(found)
        return [at for at in left if at not in joined] if joined else list(left)

    def _is_sparse(self, found: Sequence[int], part: int) -> bool:
        parts = len(np.unique(self._first[found] // part))
        rows = int(self._rows[found].sum())
        full = -(-rows // self._limit)
        # Never so few that what a merge makes of them could be as many.
        return parts > 1 and rows <= self._limit * parts and len(found) >= 2 * full + full // 8

    # ---- spans

    def plan_spans(self, left: Sequence[int]) -> None:
        if not left:
            return
        index = np.array(left, np.int64)
        wide = index[self._first[index] < self._last[index]]
        spans = Spans(zip(self._first[wide].tolist(), self._last[wide].tolist(), strict=True))
        firsts = self._first[index]
        if len(wide):
            firsts = np.array([spans.first(first) for first in firsts.tolist()], np.int64)
        order = np.lexsort((self._low[index], firsts))
        index, firsts = index[order], firsts[order]
        needs = np.array([self._needs(at) is not None for at in index.tolist()], np.bool_)
        same = firsts[1:] == firsts[:-1]
        meets = same & (self._low[index[1:]] <= self._high[index[:-1]])
        small = same & (self._rows[index[1:]] + self._rows[index[:-1]] <= self._limit)
        looked = set(firsts[needs].tolist()) | set(firsts[1:][meets | small].tolist())
        starts = np.flatnonzero(np.append(True, ~same))
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(index)], strict=True):
            first = int(firsts[start])
            if first in looked or self._situation.full:
                self._plan_span(index[start:stop].tolist(), spans.last(first) + 1)

    def _plan_span(self, found: list[int], end: int) -> None:
        """``found`` by lowest tag set; ``end`` is the window after the span."""
        quiet = self._is_quiet(found)
        closed = quiet and self._is_over(end)
        if self._situation.full:
            self._add(Reason.FULL, found)
            return
        lone = self._lone(found)
        units: list[tuple[Reason | None, list[int]]] = []
        for cluster in self._clusters([at for at in found if at not in lone]):
            units.append((self._why(cluster, quiet, closed), cluster))
        units += [(None, [at]) for at in lone]
        hit: list[int] = []
        for reason, unit in _joined(units, self, lone) if closed else units:
            at = unit[0]
            joins = reason is None and len(unit) == 1 and at not in lone and self._situation.hit[at]
            if hit and (not joins or len(hit) == TOGETHER):
                self._add(Reason.TOMBSTONES, hit)
                hit = []
            if joins:
                hit.append(at)
            elif reason is not None:
                self._add(reason, unit)
            else:
                self._add_each(unit)
        if hit:
            self._add(Reason.TOMBSTONES, hit)

    def _add_each(self, unit: Sequence[int]) -> None:
        """Blocks that are not merged with others, or not yet, may have a reason of their own."""
        for at in unit:
            reason = self._needs(at)
            if reason is not None:
                self._add(reason, [at])

    def _clusters(self, found: Sequence[int]) -> Iterator[list[int]]:
        """Blocks that hang together by their tag sets, by lowest tag set."""
        cluster: list[int] = []
        high = -1
        for at in found:
            if cluster and int(self._low[at]) > high:
                yield cluster
                cluster = []
            high = max(high if cluster else -1, int(self._high[at]))
            cluster.append(at)
        if cluster:
            yield cluster

    def _lone(self, found: Sequence[int]) -> set[int]:
        """Full blocks of one tag set, apart from all others of it in time: there is nothing to gain."""
        rows_min = self._limit // FULL_ENOUGH
        return {
            at
            for at in found
            if self._low[at] == self._high[at]
            and self._rows[at] >= rows_min
            and not any(self._is_beside(at, other) for other in found if other != at)
        }

    def _is_beside(self, at: int, other: int) -> bool:
        """Has a block rows of the only tag set of another, at times between its own?"""
        if not self._low[other] <= self._low[at] <= self._high[other]:
            return False
        one, two = self._blocks[at], self._blocks[other]
        if self._situation.series.keyed:
            return two.min_time <= one.max_time and one.min_time <= two.max_time
        # There may be more rows of one time than a block holds.
        return two.min_time < one.max_time and one.min_time < two.max_time

    def _why(self, cluster: Sequence[int], quiet: bool, closed: bool) -> Reason | None:
        if len(cluster) < 2 or self._is_settled(cluster):
            return None
        deep = self._depth(cluster) >= FAN
        if (quiet or deep) and self._situation.series.keyed and self._overlaps(cluster):
            return Reason.OVERLAP
        return Reason.SPREAD if closed or deep else None

    def _depth(self, cluster: Sequence[int]) -> int:
        """In how many blocks a tag set may be at most."""
        opens, closes = np.sort(self._low[list(cluster)]), np.sort(self._high[list(cluster)])
        return int((np.arange(1, len(opens) + 1) - np.searchsorted(closes, opens, side="left")).max())

    def _overlaps(self, cluster: Sequence[int]) -> bool:
        found = overlaps([rectangle(self._blocks[at]) for at in cluster])
        return any(group >= 0 for group in found.group)

    # ---- what is asked of blocks

    def total(self, unit: Sequence[int]) -> int:
        return int(self._rows[unit].sum())

    @property
    def limit(self) -> int:
        return self._limit

    def bounds(self, unit: Sequence[int]) -> tuple[int, int]:
        return int(self._low[unit].min()), int(self._high[unit].max())

    def is_settled(self, unit: Sequence[int]) -> bool:
        return self._is_settled(unit)

    def _needs(self, at: int) -> Reason | None:
        """Why a block should be written again though it lies well."""
        situation, header = self._situation, self._blocks[at]
        if situation.hit[at]:
            return Reason.TOMBSTONES
        if situation.series.keyed and not header.unique and not self._is_split(header):
            return Reason.VERSIONS
        if not self._stored.issuperset(header.columns):
            return Reason.COLUMNS
        return None

    def _is_split(self, header: BlockHeader) -> bool:
        return any(header.low_counter <= moment < header.high_counter for moment in self._situation.moments)

    def _is_closed(self, found: Sequence[int], end: int) -> bool:
        return not self._is_settled(found) and self._is_over(end) and self._is_quiet(found)

    def _is_over(self, end: int) -> bool:
        return self._situation.now or end * WINDOW_NS <= self._situation.now_ns

    def _is_quiet(self, found: Sequence[int]) -> bool:
        fresh = self._situation.fresh
        return self._situation.now or not any(self._blocks[at].block_id in fresh for at in found)

    def _is_settled(self, found: Sequence[int]) -> bool:
        """Has one task of this process written them all? What it left is as good as it gets."""
        tasks = {self._situation.settled.get(self._blocks[at].block_id, -1) for at in found}
        return len(tasks) == 1 and -1 not in tasks

    def _add(self, reason: Reason, found: Sequence[int]) -> None:
        self.tasks.append(Task(self._situation.series.number, reason, tuple(self._blocks[at] for at in found)))


def _joined(
    units: Sequence[tuple[Reason | None, list[int]]], planner: _Planner, lone: set[int]
) -> Iterator[tuple[Reason | None, list[int]]]:
    """Neighbours that fit into one block become one; none reaches over a tag set that has full blocks of its own."""
    borders = sorted(planner.bounds([at])[0] for at in lone)
    waiting: tuple[Reason | None, list[int]] | None = None
    for unit in units:
        if waiting is not None and _fits(waiting[1], unit[1], planner, borders):
            waiting = (waiting[0] or unit[0] or Reason.SMALL, [*waiting[1], *unit[1]])
            continue
        if waiting is not None:
            yield waiting
        waiting = unit
    if waiting is not None:
        yield waiting


def _fits(first: Sequence[int], second: Sequence[int], planner: _Planner, borders: Sequence[int]) -> bool:
    both = [*first, *second]
    low, high = planner.bounds(both)
    return (
        planner.total(both) <= planner.limit
        and not any(low <= border <= high for border in borders)
        and not planner.is_settled(both)
    )


def rectangle(header: BlockHeader) -> Rectangle:
    return Rectangle(header.min_time, header.max_time, header.min_tagset, header.max_tagset)
