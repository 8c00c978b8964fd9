"""The pool: versions found so far that may matter, by place; which of them count is decided in the order of time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tsdb.model.store import Newest
from tsdb.storage.newest.found import Found, Source
from tsdb.storage.newest.ranges import choose, choose_first
from tsdb.storage.newest.waiting import LAST, ranks
from tsdb.storage.overlap import Rectangle

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Pool:
    """Rows as columns: ``source`` is a place in ``sources``, ``row`` one in that. ``groups`` is by tag set id."""

    def __init__(self, newest: Newest, keyed: bool, groups: Int64s, groups_total: int) -> None:
        self._newest = newest
        self._keyed = keyed
        self._groups = groups
        self.sources: list[Source] = []
        self.source: Int64s = np.empty(0, np.int64)
        self.row: Int64s = np.empty(0, np.int64)
        self.tagset: Int32s = np.empty(0, np.int32)
        self.times: Int64s = np.empty(0, np.int64)
        # The rank of the last row that counts of each group that has so many.
        self.worst: Int64s = np.full(groups_total, LAST, np.int64)

    def __len__(self) -> int:
        return len(self.row)

    def add(self, found: Sequence[Found]) -> None:
        """Take more rows, and leave out what does not count any more."""
        found = [each for each in found if len(each)]
        if not found:
            return
        first = len(self.sources)
        self.sources += [each.source for each in found]
        number = np.repeat(np.arange(first, len(self.sources)), [len(each) for each in found])
        self.source = np.concatenate((self.source, number))
        self.row = np.concatenate((self.row, *(each.rows for each in found)))
        self.tagset = np.concatenate((self.tagset, *(each.tagset for each in found)))
        self.times = np.concatenate((self.times, *(each.times for each in found)))
        self._choose()

    def _choose(self) -> None:
        rank, group = ranks(self.times, oldest=self._newest.oldest), self._groups[self.tagset]
        kept = np.zeros(len(rank), np.bool_)
        if self._newest.rows == 1:
            best = np.full(len(self.worst), -1, np.int64)
            choose_first(
                group, rank, self.tagset, self.times, self._keyed, self._newest.ties, best, self.worst, kept
            )  # fmt: skip
            if not kept.all():
                self._keep(np.flatnonzero(kept))
            return
        order = np.lexsort((self.times, self.tagset, rank, group))
        self.worst[group] = LAST
        choose(
            group[order], rank[order], self.tagset[order], self.times[order], self._newest.rows, self._keyed,
            self._newest.ties, self.worst, kept,
        )  # fmt: skip
        if not kept.all():
            self._keep(np.sort(order[kept]))

    def settled(self, best: int) -> Mask:
        """By group: no row of rank ``best`` or above changes which rows count."""
        if self._newest.ties:
            return self.worst < best
        # LAST is no rank: of such groups more rows are wanted.
        return (self.worst - self._newest.slack_us <= best) & (self.worst < LAST)

    def take(self, settled: Mask) -> tuple[Int64s, Int64s, Int32s, Int64s]:
        """(source, row, tag set, time) of the rows of these groups, which leave the pool."""
        chosen = settled[self._groups[self.tagset]]
        taken = self.source[chosen], self.row[chosen], self.tagset[chosen], self.times[chosen]
        if len(taken[0]):
            self._keep(np.flatnonzero(~chosen))
        return taken

    def bounds(self) -> Rectangle:
        """Of all rows in the pool, of which there are some."""
        return Rectangle(int(self.times.min()), int(self.times.max()), int(self.tagset.min()), int(self.tagset.max()))

    def _keep(self, rows: npt.NDArray[np.intp]) -> None:
        self.source, self.row = self.source[rows], self.row[rows]
        self.tagset, self.times = self.tagset[rows], self.times[rows]
