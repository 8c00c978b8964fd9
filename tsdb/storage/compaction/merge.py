"""The merge: blocks of one span become new ones, tile by tile.

Of each tile, what tombstones hide and what lies below retention's floor goes first, version by version; then versions
of equal keys are merged (not across a held moment, invariant 17), and the rows are cut into blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.schema import Series
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.storage.block import SEQUENCE_COLUMN, TIME_COLUMN, BlockHeader, BlockReader
from tsdb.storage.block_writer import TEXT_BYTES_MAX, NewBlock, new_blocks, rows_of_block
from tsdb.storage.cache import RunsCache
from tsdb.storage.compaction.plan import Reason, Task, rectangle
from tsdb.storage.compaction.tiles import Lying, Tile, tiles
from tsdb.storage.gather import gather
from tsdb.storage.pages import Spans
from tsdb.storage.part import stored_numbers
from tsdb.storage.rocks import Rocks
from tsdb.storage.rows import Rows
from tsdb.storage.selection import Layout, Selection, select, take_selected_ints
from tsdb.storage.taking import take_values
from tsdb.storage.visibility import Visibility
from tsdb.types import Kind

Int64s = npt.NDArray[np.int64]

# What the columns of a tile may take, if that makes more than one block.
TILE_BYTES = 32 << 20
TILE_BLOCKS = 8


@dataclass(frozen=True, slots=True)
class Source:
    """What a merge of a series reads by: its schema and tombstones in one version of the data, and the moments held."""

    rocks: Rocks
    cache: RunsCache
    series: Series
    visibility: Visibility
    moments: Sequence[int]
    rows_per_block: int

    @property
    def floor(self) -> int:
        return NS_MIN if self.series.floor_ns is None else self.series.floor_ns


class Merge:
    """One task that reads. ``rows_read`` and ``bytes_read`` count as it goes."""

    def __init__(self, source: Source, task: Task, check: Callable[[], None]) -> None:
        self._source = source
        self._task = task
        self._check = check
        self._window = task.window
        self.bytes_read = 0
        self._inputs = [_Input(source, header) for header in task.blocks]

    def kept(self) -> list[BlockHeader]:
        """The blocks that stay as they are: of those that are read for tombstones alone, those without a hidden row."""
        return [
            block.header for block in self._inputs if self._task.reason is Reason.TOMBSTONES and self._is_kept(block)
        ]

    def _is_kept(self, block: _Input) -> bool:
        self._check()
        if block.kept is None:
            selection = block.select(Tile(0, 2**31))
            hidden = self._source.visibility.hidden(
                selection.tagset_column(), *(take_selected_ints(each, selection) for each in block.versions())
            )
            block.kept = hidden is None
            block.release()
            self._count(block)
        return block.kept

    def blocks(self, next_block: Callable[[], int]) -> Iterator[NewBlock]:
        """The new blocks, not yet encoded; none where no row is left."""
        for kept, neighbours in groupby(self._inputs, lambda block: bool(block.kept)):
            # A block that stays lies between others: what is left of them does not reach over it.
            if not kept:
                yield from self._merged(list(neighbours), next_block)

    def _merged(self, inputs: Sequence[_Input], next_block: Callable[[], int]) -> Iterator[NewBlock]:
        lying: list[Lying] = []
        for block in inputs:
            self._check()
            lying.append(block.lying())
        low = np.array([block.header.min_tagset for block in inputs])
        high = np.array([block.header.max_tagset for block in inputs])
        together = max(1, min(TILE_BLOCKS, TILE_BYTES // max(block.bytes_of_new for block in inputs)))
        for tile in tiles(lying, together):
            near = np.flatnonzero((low < tile.high) & (high >= tile.low))
            parts = [part for at in near.tolist() if len(part := self._rows(inputs[at], tile))]
            if parts:
                yield from self._blocks(parts, next_block)
            for at in near.tolist():
                self._count(inputs[at])
                # The next tile may begin with the tag set after this one's, in the same block.
                if tile.high > inputs[at].header.max_tagset and tile.high_time == NS_MAX:
                    inputs[at].release()

    def _blocks(self, parts: Sequence[Rows], next_block: Callable[[], int]) -> Iterator[NewBlock]:
        source = self._source
        types = {number: kind for part in parts for number, kind in _types(part).items()}
        rows = gather(parts, merges=source.series.keyed, moments=source.moments, types=types)
        texts = [number for number, kind in types.items() if not pa.types.is_primitive(kind)]
        longest = 0
        if texts:
            # Each is made once: a tile is bounded by what they take.
            rows = replace(rows, columns=dict(rows.columns))
            longest = max(rows.columns[number].nbytes for number in texts)
        limit = rows_of_block(len(rows), longest, source.rows_per_block)
        yield from new_blocks(source.series.number, self._window, rows, limit, next_block)

    def _rows(self, block: _Input, tile: Tile) -> Rows:
        """The visible versions of a block in a tile."""
        self._check()
        low = max(tile.low_time, self._source.floor)
        selection = block.select(replace(tile, low_time=low))
        tagset = selection.tagset_column()
        if not len(tagset):
            return Rows(tagset, _NONE, _NONE, {})
        times, sequences = (take_selected_ints(each, selection) for each in block.versions())
        hidden = self._source.visibility.hidden(tagset, times, sequences)
        if hidden is None:
            return Rows(tagset, times, sequences, _Columns(block, selection, None))
        kept = np.flatnonzero(~hidden)
        return Rows(tagset[kept], times[kept], sequences[kept], _Columns(block, selection, kept))

    def _count(self, block: _Input) -> None:
        self.bytes_read += block.reader.bytes_read
        block.reader.bytes_read = 0


_NONE = np.empty(0, np.int64)


class _Input:
    """A block that is merged."""

    def __init__(self, source: Source, header: BlockHeader) -> None:
        self.header = header
        self.reader = BlockReader(source.rocks, header, source.cache)
        stored = {n for column in source.series.fields for n in stored_numbers(column)}
        self.kinds: Mapping[int, Kind] = {n: s.kind for n, s in header.columns.items() if n in stored}
        self._rows_per_block = source.rows_per_block
        self.kept: bool | None = None
        # What a new block of such rows takes in memory; known when it is weighed.
        self.bytes_of_new = 1
        self._versions: tuple[Int64s, Int64s] | None = None

    def lying(self) -> Lying:
        ids, offsets = self.reader.runs()
        return Lying(ids, np.diff(offsets), self.header.min_time, self._weigh())

    def _weigh(self) -> float:
        """Which part of a new block a row takes. Texts are read: their encoded size says little of what they take."""
        texts = [number for number, kind in self.kinds.items() if kind is Kind.TEXT]
        sizes = [self.column(number, None).nbytes / self.header.rows for number in texts]
        weight: float = max(1 / self._rows_per_block, *(size / TEXT_BYTES_MAX for size in sizes), 0)
        self.bytes_of_new = int((8 * (len(self.kinds) - len(texts) + 2) + sum(sizes)) / weight)
        return weight

    def select(self, tile: Tile) -> Selection:
        bounds = rectangle(self.header)
        covered = tile.low_time <= bounds.min_time and bounds.max_time < tile.high_time
        times = None if covered else self.versions()[0]
        selection = select(Layout(*self.reader.runs()), None, times, tile.low_time, tile.high_time)
        return selection.of_tagsets(tile.low, tile.high)

    def versions(self) -> tuple[Int64s, Int64s]:
        """(times, sequences) of all rows."""
        if self._versions is None:
            stored = self.reader.stored((TIME_COLUMN, SEQUENCE_COLUMN))
            self._versions = stored[TIME_COLUMN].integers(), stored[SEQUENCE_COLUMN].integers()
        return self._versions

    def column(self, number: int, spans: Spans | None) -> pa.Array:
        """The values of a field in some rows; nothing is kept."""
        return self.reader.stored((number,))[number].values(spans)

    def release(self) -> None:
        self._versions = None


class _Columns(Mapping[int, pa.Array]):
    """Chosen rows of a block's columns, each read when it is asked for."""

    def __init__(self, block: _Input, selection: Selection, kept: Int64s | None) -> None:
        self._block = block
        self._selection = selection
        self._kept = kept

    @property
    def types(self) -> Mapping[int, pa.DataType]:
        return {number: kind.arrow for number, kind in self._block.kinds.items()}

    def __getitem__(self, number: int) -> pa.Array:
        if number not in self._block.kinds:
            raise KeyError(number)
        values = self._block.column(number, self._selection.spans)
        return values if self._kept is None else take_values(values, self._kept)

    def __iter__(self) -> Iterator[int]:
        return iter(self._block.kinds)

    def __len__(self) -> int:
        return len(self._block.kinds)


def _types(rows: Rows) -> Mapping[int, pa.DataType]:
    assert isinstance(rows.columns, _Columns)
    return rows.columns.types
