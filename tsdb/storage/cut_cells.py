"""Cells that a scan's range cuts, used as a whole less the few rows outside, which are read and *taken back*.

Twelve hours that begin a second past the hour cut a cell of an hour of each host: one row of each is read instead of
the other 359. It is for sums alone: they do not ask which rows they are of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.model.schema import Column, Series
from tsdb.model.store import ScanStatistics
from tsdb.model.summaries import COUNT, HIGH, LOW
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.storage.part import BlockPart
from tsdb.storage.passing import Passing
from tsdb.storage.row_bounds import RowBounds
from tsdb.storage.scan_input import Places, ScanInput
from tsdb.storage.summaries.layout import ROWS
from tsdb.storage.windows import Window
from tsdb.types import Kind

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_LOW_BITS = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, eq=False)
class CutBlock:
    """A block at a place of the index, and the rows of its other cells: ranges that rise."""

    place: int
    starts: Int64s
    stops: Int64s


@dataclass(frozen=True, slots=True, eq=False)
class TakenBack:
    """Rows, one cell each: statistics of −1 row. ``times`` are in the bucket of the cell that has it."""

    tagset: Int32s
    times: Int64s
    fields: Mapping[int, Mapping[str, Int64s]]

    def __len__(self) -> int:
        return len(self.tagset)


def cut_blocks(places: Places, layout: Int64s, counts: Int64s, cut: Mask) -> list[CutBlock]:
    """The blocks at ``places`` that have cut cells; ``layout`` and ``counts`` are of all of them."""
    cells = np.flatnonzero(cut)
    borders = np.concatenate(([0], np.cumsum(counts)))
    between = np.searchsorted(cells, borders)
    found = []
    for at in np.flatnonzero(np.diff(between)).tolist():
        ends = np.cumsum(layout[ROWS, borders[at] : borders[at + 1]])
        own = cells[between[at] : between[at + 1]] - borders[at]
        starts = np.concatenate(([0], ends[own]))
        stops = np.concatenate((ends[own] - layout[ROWS, borders[at] + own], ends[-1:]))
        filled = starts < stops
        found.append(CutBlock(int(places[at]), starts[filled], stops[filled]))
    return found


def taken_back(
    cut: Sequence[CutBlock], source: ScanInput, series: Series, fields: Sequence[Column], statistics: ScanStatistics
) -> Iterator[TakenBack]:
    """The rows of cut cells that are out of the scan's range. Raises DataCorrupted, IoError."""
    index = source.index
    for low, high, time in ((NS_MIN, source.low, source.low), (source.high, NS_MAX, source.high - 1)):
        some = [each for each in cut if index.min_time[each.place] < high and index.max_time[each.place] >= low]
        parts = [_part(each, source) for each in some]
        passing = Passing(
            fields, source.wanted, RowBounds(series, ()), statistics, tags=True, times=False, sequences=False, keep=True
        )
        for piece in passing.pieces(parts, Window(low, high, list(parts))):
            assert piece.tagset is not None
            taken = {number: _statistics(values) for number, values in piece.columns.items()}
            yield TakenBack(piece.tagset, np.full(piece.rows, time, np.int64), taken)


def _part(cut: CutBlock, source: ScanInput) -> BlockPart:
    part = source.again(cut.place)
    part.leave_out(cut.starts, cut.stops)
    return part


def _statistics(values: pa.Array) -> dict[str, Int64s]:
    """Of each value, taken back; of floats only that it is there."""
    there = np.asarray(values.is_valid()).astype(np.int64)
    if values.type != Kind.INT8.arrow:
        return {COUNT: -there}
    numbers = (pc.fill_null(values, 0) if values.null_count else values).to_numpy()
    return {COUNT: -there, LOW: -(numbers & _LOW_BITS), HIGH: -(numbers >> 32)}
