"""The parts that a scan of newest rows has not read yet, by the newest time (oldest time) in them.

*Rank* orders times: µs, turned round where the newest come first, so that a lower rank always comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tsdb.model.store import TimeRange
from tsdb.model.time import us_of_ns
from tsdb.storage.overlap import Rectangle
from tsdb.storage.part import Part, RunPart
from tsdb.storage.version import SeriesBlocks

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# The rank after all others: of what has nothing (more) to give.
LAST = 2**63 - 1


def ranks(times: Int64s, *, oldest: bool) -> Int64s:
    us = us_of_ns(times)
    return us if oldest else -us


class Waiting:
    """Blocks and head runs of one scan of ``span``, in which each has times, best first."""

    def __init__(
        self,
        blocks: SeriesBlocks,
        chosen: npt.NDArray[np.intp],
        runs: Sequence[RunPart],
        open_block: Callable[[int], Part],
        span: TimeRange,
        *,
        oldest: bool,
    ) -> None:
        bounds = np.array(
            [(r.min_time, r.max_time, r.min_tagset, r.max_tagset) for r in (run.rectangle for run in runs)], np.int64
        ).reshape(-1, 4)
        columns = (blocks.min_time, blocks.max_time, blocks.min_tagset, blocks.max_tagset)
        joined = [np.concatenate((column[chosen], bounds[:, at])) for at, column in enumerate(columns)]
        # What lies outside of the range says nothing about what may come.
        within = [np.maximum(joined[0], span.low), np.minimum(joined[1], span.high - 1)]
        first, last = (ranks(each, oldest=oldest) for each in (within if oldest else within[::-1]))
        order = np.argsort(first, kind="stable")
        self._min_time, self._max_time, self._min_tagset, self._max_tagset = (each[order] for each in joined)
        self._first, self._last = first[order], last[order]
        # Blocks by their place in the index, runs by −1 − their place.
        self._what = np.concatenate((chosen, -1 - np.arange(len(runs))))[order]
        self._runs = runs
        self._open_block = open_block
        self._oldest = oldest

    def __len__(self) -> int:
        return len(self._what)

    @property
    def blocks(self) -> int:
        return int((self._what >= 0).sum())

    @property
    def rank(self) -> int:
        """No row that waits has a lower one."""
        return int(self._first[0]) if len(self._first) else LAST

    def drop_closed(self, below: Int64s) -> None:
        """Leave out what has no open tag set by its bounds. Entry i of ``below`` counts the open ones below id i."""
        highest = len(below) - 1
        has = below[np.minimum(self._max_tagset + 1, highest)] > below[np.minimum(self._min_tagset, highest)]
        if not has.all():
            self._keep(has)

    def drop_known(self, known: Mask, best: int) -> None:
        """Leave out blocks, ``known`` by their place, whose best time is of a lower rank than ``best``."""
        real = ranks(self._min_time if self._oldest else self._max_time, oldest=self._oldest)
        gone = (self._what >= 0) & (real < best)
        gone[gone] = known[self._what[gone]]
        if gone.any():
            self._keep(~gone)

    def together(self) -> list[Part]:
        """The best part and those that overlap it in time: whoever wants each tag set's rows needs them all."""
        return self._take(self._first <= self._last[0])

    def next(self, count: int) -> list[Part]:
        """The best ``count`` parts."""
        return self._take(np.arange(len(self._first)) < count)

    def overlapping(self, bounds: Rectangle) -> list[Part]:
        """The parts in which another version of a row within ``bounds`` may be."""
        hits = (self._min_time <= bounds.max_time) & (self._max_time >= bounds.min_time)
        hits &= (self._min_tagset <= bounds.max_tagset) & (self._max_tagset >= bounds.min_tagset)
        return self._take(hits) if hits.any() else []

    def _take(self, chosen: Mask) -> list[Part]:
        parts = [self._open_block(at) if at >= 0 else self._runs[-1 - at] for at in self._what[chosen].tolist()]
        self._keep(~chosen)
        return parts

    def _keep(self, kept: Mask) -> None:
        self._min_time, self._max_time = self._min_time[kept], self._max_time[kept]
        self._min_tagset, self._max_tagset = self._min_tagset[kept], self._max_tagset[kept]
        self._first, self._last, self._what = self._first[kept], self._last[kept], self._what[kept]
