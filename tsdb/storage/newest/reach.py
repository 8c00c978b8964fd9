"""How far tag sets reach: what scans of newest rows have learned of the blocks in which each of them is.

A host that was taken away a year ago is in none of a year's blocks, and the bounds in their headers do not say so: a
scan for last points would open blocks of each day to find that out, each time. What it found is kept.
"""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from tsdb.storage.newest.waiting import LAST
from tsdb.storage.version import SeriesBlocks

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

KEPT_SERIES = 256
_NO_BLOCKS = SeriesBlocks()


class Reach:
    """Of one series and direction. Safe for many threads.

    Of the blocks that are *known* every tag set is known: one that has a lower rank than ``best`` of a tag set does
    not have it. It holds for any version of the data, since blocks do not change.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[int] = set()
        self._best: Int64s = np.empty(0, np.int64)
        self._blocks, self._mask = _NO_BLOCKS, np.empty(0, np.bool_)

    def knows(self, block_id: int) -> bool:
        return block_id in self._known

    def learn(self, block_id: int, tagsets: Int32s, rank: int) -> None:
        """A block has these tag sets and no others; ``rank`` is that of its best time."""
        if block_id in self._known:
            return
        with self._lock:
            missing = int(tagsets.max()) + 1 - len(self._best)
            if missing > 0:
                room = np.full(missing + len(self._best) // 2, LAST, np.int64)
                self._best = np.concatenate((self._best, room))
            self._best[tagsets] = np.minimum(self._best[tagsets], rank)
            self._known.add(block_id)
            self._blocks = _NO_BLOCKS

    def known(self, blocks: SeriesBlocks) -> Mask:
        """By the place of a block: is it known? Blocks that are gone are forgotten."""
        with self._lock:
            if self._blocks is not blocks:
                ids = blocks.block_id.tolist()
                self._mask = np.fromiter(map(self._known.__contains__, ids), np.bool_, len(ids))
                self._known.intersection_update(ids)
                self._blocks = blocks
            return self._mask

    def best(self, wanted: Mask) -> int:
        """No known block with a lower rank has a wanted tag set."""
        with self._lock:
            ranks = self._best[: len(wanted)]
            return int(ranks[wanted[: len(ranks)]].min(initial=LAST))


class Reaches:
    """What is kept of the series that were scanned last. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[int, bool], Reach] = {}

    def of(self, series: int, *, oldest: bool) -> Reach:
        with self._lock:
            found = self._kept.pop((series, oldest), None) or Reach()
            self._kept[series, oldest] = found
            while len(self._kept) > KEPT_SERIES:
                del self._kept[next(iter(self._kept))]
            return found
