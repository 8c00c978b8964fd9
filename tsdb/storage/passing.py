"""Parts whose rows pass as they are, less those that bounds on fields do not let pass, many at once: what a query
wants of each may be a few rows.

Of sixteen blocks ten columns are a hundred and sixty short pieces, each an array with its calls if it is made alone and
joined. So the rows of many parts are found first, then what is hot of their columns is looked up at once, and all hot
columns are filled by one call of a kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from tsdb.model.schema import Column
from tsdb.model.store import ScanStatistics
from tsdb.storage.batches import Piece
from tsdb.storage.block import SEQUENCE_COLUMN, TIME_COLUMN
from tsdb.storage.buckets import ALL, Buckets
from tsdb.storage.hot import HotColumn, locate, read_columns
from tsdb.storage.part import BlockPart, Part, look_up, read_field, stored_numbers
from tsdb.storage.row_bounds import RowBounds
from tsdb.storage.selection import Int64s, Mask, Selection, in_time, narrow, of_tagsets
from tsdb.storage.windows import Window
from tsdb.types import Kind

# Rows of one piece, about.
PIECE_ROWS = 32_768
# What parts of which a few rows are wanted hold, encoded, until there are enough for a piece.
HELD_BYTES = 4 << 20
# Parts whose rows are looked for together.
PARTS_TOGETHER = 64
# Columns of which a scan reads less than one in so many rows are kept for the next.
KEPT_SHARE = 4
_NOTHING: Mapping[int, pa.Array] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Rows of a part; ``times`` are theirs, where they had to be read and are not hot. ``known`` are columns of theirs
    that are decoded already."""

    part: Part
    selection: Selection
    times: Int64s | None
    known: Mapping[int, pa.Array]


class Passing:
    """The rows of such parts in a window that are of a ``wanted`` tag set, in ``buckets`` (None: in any) and within
    ``bounds``, with these fields.

    ``keep``: the columns of bounds are few enough to be kept for the next scan.
    """

    def __init__(
        self, fields: Sequence[Column], wanted: Mask | None, bounds: RowBounds, statistics: ScanStatistics,
        *, tags: bool, times: bool, sequences: bool, keep: bool, buckets: Buckets | None = None,
    ) -> None:  # fmt: skip
        self._fields = fields
        self._numbers = [number for column in fields for number in stored_numbers(column)]
        # A block of a few long texts has megabytes of them.
        self._rows_max = 1 if any(column.kind is Kind.TEXT for column in fields) else PIECE_ROWS
        self._wanted = wanted
        self._bounds = bounds
        self._statistics = statistics
        self._keep = keep
        self._buckets = buckets
        self._tags = tags
        self._times = times
        self._sequences = sequences
        hidden = [*([TIME_COLUMN] * times), *([SEQUENCE_COLUMN] * sequences)]
        self._wanted_numbers = [*self._numbers, *hidden]
        # What was stored under another number, too, is no one column of a block.
        self._hot_numbers = [*(column.number for column in fields if not column.former), *hidden]

    def pieces(self, parts: Sequence[Part], window: Window) -> Iterator[Piece]:
        group: list[Chosen] = []
        rows = held = 0
        for begin in range(0, len(parts), PARTS_TOGETHER):
            for chosen in self._chosen(parts[begin : begin + PARTS_TOGETHER], window):
                part, own = chosen.part, chosen.selection.rows
                few = own * KEPT_SHARE <= part.rows
                part.fetch(self._numbers, times=self._times, sequences=self._sequences, keep=few)
                group.append(chosen)
                rows += own
                held += part.held_bytes
                if rows >= self._rows_max or held >= HELD_BYTES:
                    yield self._piece(group, rows)
                    group, rows, held = [], 0, 0
        if group:
            yield self._piece(group, rows)

    def _chosen(self, parts: Sequence[Part], window: Window) -> list[Chosen]:
        """The rows of parts; what is hot of them is looked up, and no other column of the fields is fetched."""
        judged = [part for part in parts if self._buckets is not None or _is_judged_by_times(part, window)]
        look_up(judged, (TIME_COLUMN,))
        look_up(parts, self._bounds.columns)
        located = self._located(parts, window)
        found = []
        for at, part in enumerate(parts):
            selection, times = located[at] if at in located else self._read(part, window)
            if self._buckets is not None:
                selection, times = _in_buckets(part, selection, times, window, self._buckets)
            chosen = self._choose(part, selection, times)
            if chosen is None:
                part.release()
            else:
                found.append(chosen)
        look_up([each.part for each in found], self._wanted_numbers)
        return found

    def _located(self, parts: Sequence[Part], window: Window) -> dict[int, tuple[Selection, None]]:
        """By place, the rows of parts that lie in the window as a whole or whose times are hot: found in one step."""
        places, runs, times, ranges = [], [], [], []
        for at, part in enumerate(parts):
            hot = None
            if _is_judged_by_times(part, window):
                part.fetch((), times=True, sequences=False, keep=True)
                hot = part.hot(TIME_COLUMN)
            if hot is not None or _is_covered(part, window):
                layout, bounds = part.layout(), part.rectangle
                places.append(at)
                runs.append((layout.ids, layout.offsets))
                times.append(hot)
                ranges.append((max(window.low, bounds.min_time), min(window.high, bounds.max_time + 1)))
        if not places:
            return {}
        found = locate(runs, times, ranges, self._wanted)
        ends = np.cumsum(found.counts).tolist()
        made = {}
        for at, begin, end, rows in zip(places, [0, *ends], ends, found.rows.tolist(), strict=False):
            own = slice(begin, end)
            selection = Selection(found.starts[own], found.stops[own], found.tagsets[own], rows)
            made[at] = parts[at].left(selection), None
        return made

    def _read(self, part: Part, window: Window) -> tuple[Selection, Int64s | None]:
        """The rows of a part that are in the window by its times, which are read, and theirs."""
        selection = part.left(of_tagsets(part.layout(), self._wanted))
        if not selection.rows:
            return selection, None
        times = part.times(selection.spans)
        selection, inside = in_time(selection, times, window.low, window.high)
        return selection, inside.take(times)

    def _choose(self, part: Part, selection: Selection, times: Int64s | None) -> Chosen | None:
        """What bounds let pass of rows; None when nothing is left."""
        self._statistics.rows_read += selection.rows
        known: Mapping[int, pa.Array] = _NOTHING
        if self._bounds and selection.rows:
            part.fetch(self._bounds.columns, times=False, sequences=False, keep=self._keep)
            narrowed = self._bounds.narrowed(part, selection)
            if narrowed is None:
                return None
            selection, known = narrowed.selection, narrowed.columns
            times = None if times is None else narrowed.inside.take(times)
        return Chosen(part, selection, times, known) if selection.rows else None

    def _from_hot(self, group: Sequence[Chosen]) -> dict[int, Int64s]:
        """The columns that are hot in all parts, by number: 64 bits of each value."""
        lines: dict[int, list[HotColumn]] = {}
        for number in self._hot_numbers:
            column = [found for each in group if (found := each.part.hot(number)) is not None]
            if len(column) == len(group):
                lines[number] = column
        if not lines:
            return {}
        counts = np.fromiter((len(each.selection.starts) for each in group), np.int64, len(group))
        starts = np.concatenate([each.selection.starts for each in group])
        stops = np.concatenate([each.selection.stops for each in group])
        return dict(zip(lines, read_columns(list(lines.values()), counts, starts, stops), strict=True))

    def _piece(self, group: Sequence[Chosen], rows: int) -> Piece:
        hot = self._from_hot(group)
        tagset = None
        if self._tags:
            sizes = [each.selection.stops - each.selection.starts for each in group]
            tagset = np.repeat(np.concatenate([each.selection.tagsets for each in group]), np.concatenate(sizes))
        piece = Piece(
            rows,
            tagset,
            self._integers(group, TIME_COLUMN, hot, rows) if self._times else None,
            self._integers(group, SEQUENCE_COLUMN, hot, rows) if self._sequences else None,
            {
                column.number: values
                for column in self._fields
                if (values := self._column(group, column, hot, rows)) is not None
            },
        )
        for each in group:
            each.part.release()
        return piece

    def _integers(self, group: Sequence[Chosen], number: int, hot: Mapping[int, Int64s], rows: int) -> Int64s:
        if number in hot:
            return hot[number]
        out = np.empty(rows, np.int64)
        at = 0
        for each in group:
            selection = each.selection
            room = out[at : at + selection.rows]
            if number == TIME_COLUMN:
                room[:] = each.part.times(selection.spans) if each.times is None else each.times
            else:
                room[:] = each.part.sequences(selection.spans)
            at += selection.rows
        return out

    def _column(self, group: Sequence[Chosen], column: Column, hot: Mapping[int, Int64s], rows: int) -> pa.Array | None:
        """A field's values; None where no row has one."""
        if column.number in hot:
            return pa.Array.from_buffers(column.kind.arrow, rows, [None, pa.py_buffer(hot[column.number])], 0)
        arrays = [_values(each, column) for each in group]
        if all(array is None for array in arrays):
            return None
        kind = column.kind.arrow
        return pa.concat_arrays(
            [
                pa.nulls(each.selection.rows, kind) if array is None else array
                for each, array in zip(group, arrays, strict=True)
            ]
        )


def _values(chosen: Chosen, column: Column) -> pa.Array | None:
    known = chosen.known.get(column.number)
    return read_field(chosen.part, column, chosen.selection.spans) if known is None else known


def _in_buckets(
    part: Part, selection: Selection, times: Int64s | None, window: Window, buckets: Buckets
) -> tuple[Selection, Int64s | None]:
    """The rows of a selection that are in wanted buckets, and their times if they are given."""
    first, last = max(part.rectangle.min_time, window.low), min(part.rectangle.max_time, window.high - 1)
    if not selection.rows or buckets.stretch(first, last) == ALL:
        return selection, times
    part.fetch((), times=True, sequences=False, keep=True)
    left, inside = narrow(selection, buckets.keep(part.times(selection.spans) if times is None else times))
    return left, None if times is None else inside.take(times)


def _is_covered(part: Part, window: Window) -> bool:
    bounds = part.rectangle
    return window.low <= bounds.min_time and bounds.max_time < window.high


def _is_judged_by_times(part: Part, window: Window) -> bool:
    """A block whose times say which of its rows are in the window; others come back to them."""
    return isinstance(part, BlockPart) and not _is_covered(part, window)
