"""A part: sorted rows of one series that a scan reads, be they a run of the head or a block on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.model.schema import Column
from tsdb.model.store import ScanStatistics
from tsdb.storage.block import SEQUENCE_COLUMN, TIME_COLUMN, BlockReader, hot_of_blocks
from tsdb.storage.casts import cast
from tsdb.storage.codec import StoredColumn
from tsdb.storage.head import Run
from tsdb.storage.hot import HotColumn
from tsdb.storage.overlap import Rectangle
from tsdb.storage.pages import Spans
from tsdb.storage.selection import Layout, Selection, selected

Int64s = npt.NDArray[np.int64]


class Part(Protocol):
    """Rows in full length; which of them are read is the scan's business (``selection``)."""

    @property
    def rectangle(self) -> Rectangle: ...

    @property
    def rows(self) -> int: ...

    @property
    def unique(self) -> bool:
        """No two rows have the same (tag set, time)."""
        ...

    @property
    def min_counter(self) -> int: ...

    @property
    def divisible(self) -> bool:
        """Is it all in memory, so that a scan may come back to it in each window?"""
        ...

    def layout(self) -> Layout: ...

    def fetch(self, columns: Iterable[int], *, times: bool, sequences: bool, keep: bool = False) -> None:
        """Announce what will be asked for, so that it is read in one go; ``keep`` what others may ask for again."""
        ...

    def release(self) -> None:
        """Forget what was fetched: the scan has gone on."""
        ...

    @property
    def held_bytes(self) -> int:
        """What was fetched and is nowhere else."""
        ...

    def hot(self, number: int) -> HotColumn | None:
        """A column that was fetched and is kept decoded."""
        ...

    def times(self, spans: Spans | None = None) -> Int64s:
        """Of all rows, or of those in ``spans`` one behind the other; so are the others."""
        ...

    def sequences(self, spans: Spans | None = None) -> Int64s: ...

    def column(self, number: int, spans: Spans | None = None) -> pa.Array | None:
        """The values of a column by its stored number; None where no row has one."""
        ...

    def left(self, selection: Selection) -> Selection:
        """Of some rows those that no summary cell stands for."""
        ...


class RunPart:
    """A run of a head."""

    divisible = True

    def __init__(self, run: Run) -> None:
        self._run = run
        self.rectangle = Rectangle(run.min_time, run.max_time, run.min_tagset, run.max_tagset)
        self.rows = len(run.rows)
        self.unique = run.unique
        self.min_counter = run.min_counter

    def layout(self) -> Layout:
        return self._run.layout

    def fetch(self, columns: Iterable[int], *, times: bool, sequences: bool, keep: bool = False) -> None:
        """All is in memory."""

    def release(self) -> None:
        """The head keeps its rows."""

    @property
    def held_bytes(self) -> int:
        return 0

    def hot(self, number: int) -> HotColumn | None:
        return None

    def times(self, spans: Spans | None = None) -> Int64s:
        return self._run.rows.times if spans is None else spans.take(self._run.rows.times)

    def sequences(self, spans: Spans | None = None) -> Int64s:
        return self._run.rows.sequences if spans is None else spans.take(self._run.rows.sequences)

    def column(self, number: int, spans: Spans | None = None) -> pa.Array | None:
        values = self._run.rows.columns.get(number)
        return values if values is None or spans is None else selected(values, spans)

    def left(self, selection: Selection) -> Selection:
        return selection


class BlockPart:
    """A block on disk: ``fetch`` reads, ``release`` forgets."""

    divisible = False

    def __init__(self, reader: BlockReader, statistics: ScanStatistics) -> None:
        header = self.header = reader.header
        self.rectangle = Rectangle(header.min_time, header.max_time, header.min_tagset, header.max_tagset)
        self.rows = header.rows
        self.unique = header.unique
        self.min_counter = header.low_counter
        self._reader = reader
        self._statistics = statistics
        self._visited = False
        self._in_cells: tuple[Int64s, Int64s] | None = None
        self._stored: dict[int, StoredColumn] = {}
        self._hot: dict[int, HotColumn] = {}

    def layout(self) -> Layout:
        return Layout(*self._reader.runs())

    def leave_out(self, starts: Int64s, stops: Int64s) -> None:
        """Summary cells stand for these rows, ranges that rise."""
        self._in_cells = starts, stops

    def left(self, selection: Selection) -> Selection:
        return selection if self._in_cells is None else selection.without(*self._in_cells)

    def fetch(self, columns: Iterable[int], *, times: bool, sequences: bool, keep: bool = False) -> None:
        before = self._reader.bytes_read
        wanted = [
            number
            for number in (*columns, *([TIME_COLUMN] * times), *([SEQUENCE_COLUMN] * sequences))
            if number not in self._stored and number not in self._hot
        ]
        self.visited()
        if not wanted:
            return
        self._hot |= self._reader.hot(wanted, keep=keep)
        missing = [number for number in wanted if number not in self._hot]
        if missing:
            self._stored |= self._reader.stored(missing, keep=keep)
        self._statistics.bytes_read += self._reader.bytes_read - before

    @property
    def reader(self) -> BlockReader:
        return self._reader

    def offer(self, hot: Mapping[int, HotColumn]) -> None:
        """Columns that somebody has looked up: ``fetch`` need not."""
        self._hot |= hot

    def visited(self) -> None:
        """Count it, once, as a block that was looked at."""
        self._statistics.blocks_read += not self._visited
        self._visited = True

    def release(self) -> None:
        self._stored, self._hot = {}, {}

    @property
    def held_bytes(self) -> int:
        return sum(column.nbytes for column in self._stored.values())

    def hot(self, number: int) -> HotColumn | None:
        return self._hot.get(number)

    def times(self, spans: Spans | None = None) -> Int64s:
        self.fetch((), times=True, sequences=False)
        return self._integers(TIME_COLUMN, spans)

    def sequences(self, spans: Spans | None = None) -> Int64s:
        self.fetch((), times=False, sequences=True)
        return self._integers(SEQUENCE_COLUMN, spans)

    def _integers(self, number: int, spans: Spans | None) -> Int64s:
        hot = self._hot.get(number)
        if hot is None:
            return self._stored[number].integers(self._within(spans))
        return hot.values(self._all if spans is None else spans)

    def column(self, number: int, spans: Spans | None = None) -> pa.Array | None:
        hot = self._hot.get(number)
        if hot is not None:
            values = hot.values(self._all if spans is None else spans)
            kind = self.header.columns[number].kind.arrow
            return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)], 0)
        stored = self._stored.get(number)
        return None if stored is None else stored.values(self._within(spans))

    @property
    def _all(self) -> Spans:
        return Spans(np.zeros(1, np.int64), np.array([self.rows]), self.rows)

    def _within(self, spans: Spans | None) -> Spans | None:
        return None if spans is None or spans.rows == self.rows else spans


def look_up(parts: Sequence[Part], numbers: Sequence[int]) -> None:
    """Before parts fetch columns: what is hot of them is found in one step."""
    blocks = [part for part in parts if isinstance(part, BlockPart)]
    if blocks and numbers:
        for part, found in zip(blocks, hot_of_blocks([part.reader for part in blocks], numbers), strict=True):
            part.offer(found)


def stored_numbers(column: Column) -> list[int]:
    """The numbers under which a field's values may be stored: its own, then those from before each ALTER TYPE."""
    return [column.number, *(number for number, _ in column.former)]


def read_field(part: Part, column: Column, spans: Spans | None = None) -> pa.Array | None:
    """A field's values in its present kind, of all rows or of those in ``spans``; None where no row has one."""
    values = part.column(column.number, spans)
    for number, kind in column.former:
        if values is not None and values.null_count == 0:
            break
        older = part.column(number, spans)
        if older is not None:
            older = cast(older, kind, column.kind)
            values = older if values is None else pc.coalesce(values, older)
    return values
