"""What a scan reads from: the parts that survived pruning. A block is only opened when something of it is asked for.

A query over a year looks at tens of thousands of blocks of which summaries stand for nearly all: each would be a few
objects, made to be thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tsdb.model.store import Moment
from tsdb.storage.buckets import Buckets
from tsdb.storage.part import BlockPart, Part, RunPart
from tsdb.storage.selection import Mask
from tsdb.storage.version import SeriesBlocks
from tsdb.storage.visibility import Visibility

Places = npt.NDArray[np.intp]


class ScanInput:
    """Blocks, by their rising ``places`` in the ``index``, and ``runs`` of heads; and how their rows are judged.

    ``wanted`` is a mask over tag set ids, None for all; [``low``, ``high``) the time range above retention's floor;
    ``buckets`` those whose rows are wanted, None for all.
    ``moment`` is held for as long as the scan is read, whatever becomes of its view: no block is deleted under it.
    """

    def __init__(
        self, index: SeriesBlocks, places: Places, runs: Sequence[RunPart], open_block: Callable[[int], BlockPart],
        low: int, high: int, wanted: Mask | None, visibility: Visibility, moment: Moment,
        buckets: Buckets | None = None,
    ) -> None:  # fmt: skip
        self.index = index
        self.places = places
        self.runs = runs
        self.low = low
        self.high = high
        self.wanted = wanted
        self.visibility = visibility
        self.moment = moment
        self.buckets = buckets
        self._open_block = open_block
        self._opened: dict[int, BlockPart] = {}

    def __len__(self) -> int:
        """How many parts there are."""
        return len(self.places) + len(self.runs)

    @property
    def rows(self) -> int:
        return int(self.index.rows[self.places].sum()) + sum(run.rows for run in self.runs)

    def block(self, place: int) -> BlockPart:
        """The same one each time."""
        part = self._opened.get(place)
        if part is None:
            part = self._opened[place] = self._open_block(place)
        return part

    def again(self, place: int) -> BlockPart:
        """A block once more, to read other rows of it."""
        return self._open_block(place)

    def blocks(self, places: Places) -> list[BlockPart]:
        return [self.block(place) for place in places.tolist()]

    def parts(self) -> list[Part]:
        return [*self.blocks(self.places), *self.runs]

    def drop(self, places: Places) -> None:
        """Of these blocks nothing is left to be read."""
        if len(places):
            left = np.ones(len(self.index.headers), np.bool_)
            left[places] = False
            self.places = self.places[left[self.places]]
