"""A version of a node's data: what a query reads from its first scan to its last.

Immutable; the committer publishes the next one by one assignment, after its batch is durable. Readers hold a
reference: nothing that an open version names is deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from tsdb.model.continuous import Progress
from tsdb.model.schema import Catalog
from tsdb.storage.block import BlockHeader
from tsdb.storage.head import Runs
from tsdb.storage.hosted import Frozen
from tsdb.storage.log import LogPosition
from tsdb.storage.overlap import alone
from tsdb.storage.tagsets import TagSets
from tsdb.storage.tombstone import AnyTombstone, Erasure

Int64s = npt.NDArray[np.int64]

# The version of tombstones that were loaded at the start is 0.
NOT_JUDGED = -1


# The rows of an index' table.
(
    _WINDOW, _BLOCK_ID, _MIN_TIME, _MAX_TIME, _MIN_TAGSET, _MAX_TAGSET, _LOW_COUNTER, _HIGH_COUNTER, _ROWS,
    _SUMMARY_SPAN, _UNIQUE, _JUDGED_IN,
) = range(12)  # fmt: skip
_of_header = attrgetter(
    "window", "block_id", "min_time", "max_time", "min_tagset", "max_tagset", "low_counter", "high_counter", "rows",
    "summary_span", "unique",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SeriesBlocks:
    """The index of one series' blocks, by window and id: their headers, and as arrays what is asked of all of them.

    ``judged_in`` says of each block in which version of the data it was written or looked through: no row of it is
    hidden by a tombstone that was there. It is NOT_JUDGED after a start.
    """

    headers: tuple[BlockHeader, ...] = ()
    table: Int64s = field(default_factory=lambda: np.empty((_JUDGED_IN + 1, 0), np.int64))

    @property
    def block_id(self) -> Int64s:
        return self._row(_BLOCK_ID)

    @property
    def min_time(self) -> Int64s:
        return self._row(_MIN_TIME)

    @property
    def max_time(self) -> Int64s:
        return self._row(_MAX_TIME)

    @property
    def min_tagset(self) -> Int64s:
        return self._row(_MIN_TAGSET)

    @property
    def max_tagset(self) -> Int64s:
        return self._row(_MAX_TAGSET)

    @property
    def low_counter(self) -> Int64s:
        return self._row(_LOW_COUNTER)

    @property
    def high_counter(self) -> Int64s:
        return self._row(_HIGH_COUNTER)

    @property
    def rows(self) -> Int64s:
        return self._row(_ROWS)

    @property
    def summary_span(self) -> Int64s:
        """In seconds, 0 for a block without summaries."""
        return self._row(_SUMMARY_SPAN)

    @property
    def unique(self) -> Int64s:
        """1 where no two rows have equal tag set and time."""
        return self._row(_UNIQUE)

    @property
    def judged_in(self) -> Int64s:
        return self._row(_JUDGED_IN)

    def _row(self, at: int) -> Int64s:
        row: Int64s = self.table[at]
        return row

    @cached_property
    def ids(self) -> frozenset[int]:
        return frozenset(self.block_id.tolist())

    @cached_property
    def bounds(self) -> Int64s:
        """int64[blocks, 6]: min and max time, min and max tag set, rows, unique."""
        columns = (self.min_time, self.max_time, self.min_tagset, self.max_tagset, self.rows, self.unique)
        return np.column_stack(columns)

    @cached_property
    def latest(self) -> int:
        """The last time of all blocks, of which there are some."""
        return int(self.max_time.max())

    @cached_property
    def last_counter(self) -> int:
        """The highest counter of all blocks, of which there are some."""
        return int(self.high_counter.max())

    @cached_property
    def alone(self) -> npt.NDArray[np.bool_]:
        """Of which blocks no other block has a tag set at a time between its own, to judge from their bounds."""
        return alone(self.min_time, self.max_time, self.min_tagset, self.max_tagset)

    def with_added(self, headers: Iterable[BlockHeader], judged: int = NOT_JUDGED) -> SeriesBlocks:
        """With blocks that were written in version ``judged``."""
        new = tuple(headers)
        if not new:
            return self
        made = np.array([(*_of_header(header), judged) for header in new], np.int64).T
        table = np.concatenate((self.table, made), axis=1)
        order = np.lexsort((table[_BLOCK_ID], table[_WINDOW]))
        every = (*self.headers, *new)
        return SeriesBlocks(tuple([every[at] for at in order.tolist()]), np.take(table, order, axis=1))

    def without(self, ids: Collection[int]) -> SeriesBlocks:
        if not ids:
            return self
        kept = ~self._are_in(ids)
        return SeriesBlocks(tuple(compress(self.headers, kept.tolist())), np.compress(kept, self.table, axis=1))

    def with_judged(self, ids: Collection[int], judged: int) -> SeriesBlocks:
        """As it is; the blocks ``ids`` were looked through in version ``judged``."""
        if not ids:
            return self
        table = self.table.copy()
        table[_JUDGED_IN, self._are_in(ids)] = judged
        return SeriesBlocks(self.headers, table)

    def _are_in(self, ids: Collection[int]) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = np.isin(self.block_id, np.fromiter(ids, np.int64, len(ids)))
        return found


@dataclass(frozen=True, slots=True)
class FrozenHead:
    """A head that takes no more points, on its way to blocks, with everything as it was at the moment of freezing.

    ``applied``: the positions of the logs whose ops it ends with; ``producers``: the encoded producers that changed
    since the head before; ``tombstones``: all there were; ``moments``: the counters of the moments that were held,
    across which its versions are not merged; ``replicas``: what was applied of logs that several nodes have.
    """

    number: int
    series: Mapping[int, Runs]
    applied: Mapping[int, LogPosition]
    producers: Mapping[str, bytes]
    tombstones: Mapping[int, tuple[AnyTombstone, ...]]
    moments: tuple[int, ...]
    bytes: int
    replicas: Frozen = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Version:
    """All of a node's data at one moment, by series number. It has all versions of points up to ``counter``."""

    number: int = 0
    counter: int = 0
    catalog: Catalog = field(default_factory=Catalog)
    blocks: Mapping[int, SeriesBlocks] = field(default_factory=dict)
    live: Mapping[int, Runs] = field(default_factory=dict)
    frozen: tuple[FrozenHead, ...] = ()
    tombstones: Mapping[int, tuple[AnyTombstone, ...]] = field(default_factory=dict)
    tagsets: Mapping[int, TagSets] = field(default_factory=dict)
    progress: Mapping[int, Progress] = field(default_factory=dict)
    erased: Mapping[int, tuple[Erasure, ...]] = field(default_factory=dict)

    def runs(self, series: int) -> Runs:
        """The runs of all heads, oldest first."""
        runs = [run for head in self.frozen for run in head.series.get(series, ())]
        return (*runs, *self.live.get(series, ()))
