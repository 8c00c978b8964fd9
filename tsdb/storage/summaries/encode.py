"""The summaries of a block that is being written."""

from __future__ import annotations

from collections.abc import Callable

from tsdb.storage.rows import Rows
from tsdb.storage.summaries.layout import choose_span, layout_of
from tsdb.storage.summaries.measure import measure
from tsdb.storage.summaries.packed import pack
from tsdb.types import Kind

# The number under which a block's layout is stored: columns are numbered from 1.
LAYOUT = 0
KINDS = (Kind.INT8, Kind.FLOAT8)
_TYPES = tuple(kind.arrow for kind in KINDS)


def encode_summaries(rows: Rows, check: Callable[[], None]) -> tuple[int, dict[int, bytes]]:
    """(span in seconds, values by column number, LAYOUT among them); (0, {}) where summaries would not pay.

    Columns without a value have none. ``check`` is called between columns; what it raises ends the work.
    """
    span = choose_span(rows.tagset, rows.times)
    if not span:
        return 0, {}
    starts, layout = layout_of(rows.tagset, rows.times, span)
    values = {LAYOUT: pack(layout)}
    for number in sorted(rows.columns):
        column = rows.columns[number]
        if column.type in _TYPES and column.null_count < len(column):
            check()
            values[number] = pack(measure(column, starts))
    return span, values
