"""Which rows of a block make a cell, and how long a block's span is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.kernels import kernel
from tsdb.model.time import NS_PER_SECOND

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

SPANS_S = (300, 3600, 86_400)
# Rows that a cell has on average, at least: of the shortest span that has them. A day's cells may have half.
CELL_ROWS = 128

# The statistics of a layout.
TAGSET, ROWS, FIRST_TIME, LAST_TIME = range(4)
LAYOUT_STATISTICS = 4


def choose_span(tagset: Int32s, times: Int64s) -> int:
    """The span in seconds for the sorted rows of a block; 0 if summaries would not pay."""
    rows = len(times)
    for span in SPANS_S:
        if rows >= CELL_ROWS and count_cells(tagset, times, span * NS_PER_SECOND) * CELL_ROWS <= rows:
            return span
    day = SPANS_S[-1]
    return day if rows >= CELL_ROWS // 2 * count_cells(tagset, times, day * NS_PER_SECOND) else 0


def layout_of(tagset: Int32s, times: Int64s, span_s: int) -> tuple[Int64s, Int64s]:
    """(the row at which each cell starts and, last, the number of rows; the layout int64[4, cells])."""
    span_ns = span_s * NS_PER_SECOND
    starts = np.empty(count_cells(tagset, times, span_ns) + 1, np.int64)
    table = np.empty((LAYOUT_STATISTICS, len(starts) - 1), np.int64)
    _lay_out(tagset, times, span_ns, starts, table)
    return starts, table


@kernel
def count_cells(tagset: Int32s, times: Int64s, span_ns: int) -> int:
    """How many cells sorted rows make."""
    cells = 0
    end = 0
    for i in range(len(times)):
        if i == 0 or tagset[i] != tagset[i - 1] or times[i] >= end:
            cells += 1
            end = (times[i] // span_ns + 1) * span_ns
    return cells


@kernel
def _lay_out(tagset: Int32s, times: Int64s, span_ns: int, starts: Int64s, table: Int64s) -> None:
    cell = -1
    end = 0
    for i in range(len(times)):
        if i == 0 or tagset[i] != tagset[i - 1] or times[i] >= end:
            cell += 1
            starts[cell] = i
            table[0, cell] = tagset[i]
            table[1, cell] = 0
            table[2, cell] = times[i]
            end = (times[i] // span_ns + 1) * span_ns
        table[1, cell] += 1
        table[3, cell] = times[i]
    starts[cell + 1] = len(times)
