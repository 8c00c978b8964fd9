"""A scan: the visible, merged points of one series as Arrow batches, window by window.

1. Parts (head runs and blocks) outside the time range, or without a wanted tag set, are dropped unread.
2. In each window, parts that overlap no other part (as rectangles of tag sets × times) pass straight: their selected
   rows are taken from the columns (``passing``), nothing is sorted and sequences are not read.
3. Where parts overlap, rows inside the overlapping stretches are sorted and their versions merged; the rest pass.
4. Tombstones hide versions one by one *before* versions are merged: else merging v1 and v2 across a DELETE between
   them would resurrect v1's fields.

Columns that the request does not name are not read, and where bounds on fields decide which rows are wanted
(``row_bounds``) the others only for those.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from tsdb.model.schema import Role
from tsdb.model.store import SEQUENCE, TIME, TIME_NS, Scan, ScanRequest, ScanStatistics
from tsdb.storage.batches import Output, Piece, joined
from tsdb.storage.merge import concat, merge_versions, sort, take
from tsdb.storage.overlap import Overlaps, overlaps
from tsdb.storage.part import Part, read_field, stored_numbers
from tsdb.storage.passing import KEPT_SHARE, PARTS_TOGETHER, Passing
from tsdb.storage.row_bounds import RowBounds
from tsdb.storage.rows import Rows
from tsdb.storage.scan_input import ScanInput
from tsdb.storage.selection import Int64s, Selection, in_time, narrow, of_tagsets
from tsdb.storage.windows import Window, cut_by_window

BATCH_ROWS = 128 * 1024
# Of a scan that looks at no more rows the columns that bounds are about are kept: at a byte or two each, they drive
# little out of the cache.
KEPT_ROWS = 8 << 20
_NO_TIMES = np.empty(0, np.int64)


class SeriesScan:
    """One scan as it runs. ``tagsets``: its pieces have tag sets, even if the request names no tag."""

    def __init__(
        self, request: ScanRequest, source: ScanInput, statistics: ScanStatistics, *, tagsets: bool = False
    ) -> None:
        self._request = request
        self._source = source
        self._statistics = statistics
        series = request.series
        numbers = [c for c in request.columns if isinstance(c, int)]
        columns = [series.by_number[number] for number in numbers]
        self._fields = {c.number: c for c in columns if c.role is Role.FIELD}
        self._has_tags = tagsets or any(c.role is Role.TAG for c in columns)
        self._has_times = TIME in request.columns or TIME_NS in request.columns
        self._has_sequences = SEQUENCE in request.columns
        self._merges = series.keyed
        self._stored_numbers = [number for column in self._fields.values() for number in stored_numbers(column)]
        bounds = RowBounds(series, request.bounds if request.prune else ())
        rows = source.rows if bounds else 0
        self._passing = Passing(
            list(self._fields.values()), source.wanted, bounds, statistics,
            tags=self._has_tags, times=self._has_times, sequences=self._has_sequences, keep=rows <= KEPT_ROWS,
            buckets=source.buckets,
        )  # fmt: skip

    def start(self, output: Output) -> Scan:
        return Scan(output.schema, self._batches(output), self._statistics)

    def pieces(self) -> Iterator[Piece]:
        """The visible rows, window by window; those with nothing but rows of blocks that pass as they are together."""
        source = self._source
        plain: list[Part] = []
        for window in cut_by_window(source.parts(), source.low, source.high):
            found = overlaps([p.rectangle for p in window.parts]) if self._merges and len(window.parts) > 1 else None
            if self._passes(window, found):
                plain += window.parts
                if len(plain) >= PARTS_TOGETHER:
                    yield from self._passing.pieces(plain, Window(source.low, source.high, plain))
                    plain = []
                continue
            yield from self._passing.pieces(plain, Window(source.low, source.high, plain))
            plain = []
            yield from self._window(window, found)
        yield from self._passing.pieces(plain, Window(source.low, source.high, plain))

    def _passes(self, window: Window, found: Overlaps | None) -> bool:
        """Whether the rows of all parts of a window pass as they are, and lie in no other window."""
        if found is not None and any(group >= 0 for group in found.group):
            return False
        return all(
            not part.divisible
            and (part.unique or not self._merges)
            and not self._source.visibility.touches(part, window.low, window.high)
            for part in window.parts
        )

    def _batches(self, output: Output) -> Iterator[pa.RecordBatch]:
        for rows in joined(self.pieces()):
            for start in range(0, rows.rows, BATCH_ROWS):
                batch = output.batch(rows, start, min(BATCH_ROWS, rows.rows - start))
                self._statistics.rows_returned += batch.num_rows
                yield batch

    def _window(self, window: Window, found: Overlaps | None) -> Iterator[Piece]:
        parts = window.parts
        groups: dict[int, list[Rows]] = {}
        together: list[Part] = []
        for at, part in enumerate(parts):
            alone = found is None or found.group[at] < 0
            whole = alone and (part.unique or not self._merges)
            hides = self._source.visibility.touches(part, window.low, window.high)
            if whole and not hides:
                together.append(part)
                continue
            rows = self._versions(part, window)
            part.release()
            if whole:
                yield from _pieces(rows)
                continue
            merging, passing = self._split(rows, part, found, at)
            yield from _pieces(passing)
            group = found.group[at] if found is not None and not alone else -1 - at
            if len(merging):
                groups.setdefault(group, []).append(merging)
        yield from self._passing.pieces(together, window)
        for group in list(groups):
            yield from _pieces(self._merge(groups.pop(group)))

    def _split(self, rows: Rows, part: Part, found: Overlaps | None, at: int) -> tuple[Rows, Rows]:
        """(rows that may have versions elsewhere, rows that have none)."""
        if not part.unique or found is None:
            return rows, _none_of(rows)
        inside = np.zeros(len(rows), np.bool_)
        for low, high in found.stretches[at]:
            inside |= (rows.times >= low) & (rows.times <= high)
        if inside.all():
            return rows, _none_of(rows)
        return take(rows, np.flatnonzero(inside)), take(rows, np.flatnonzero(~inside))

    def _merge(self, parts: list[Rows]) -> Rows:
        ordered, unique = sort(concat(parts))
        self._statistics.merged_rows += len(ordered)
        return ordered if unique else merge_versions(ordered)

    def _select(self, part: Part, window: Window) -> tuple[Selection, Int64s]:
        """The rows of a part that are wanted, and their times. Columns are fetched if there are any rows."""
        bounds, low, high = part.rectangle, window.low, window.high
        selection = part.left(of_tagsets(part.layout(), self._source.wanted))
        if not selection.rows:
            return selection, _NO_TIMES
        keep = selection.rows * KEPT_SHARE <= part.rows
        part.fetch(self._stored_numbers, times=True, sequences=self._has_sequences, keep=keep)
        times = part.times(selection.spans)
        if not (low <= bounds.min_time and bounds.max_time < high):
            selection, inside = in_time(selection, times, low, high)
            times = inside.take(times)
        if self._source.buckets is not None and selection.rows:
            selection, inside = narrow(selection, self._source.buckets.keep(times))
            times = inside.take(times)
        self._statistics.rows_read += selection.rows
        return selection, times

    def _versions(self, part: Part, window: Window) -> Rows:
        """The selected versions of a part, without those that tombstones hide: their values are not even read, since
        they may be none of a type that their column got later."""
        selection, times = self._select(part, window)
        sequences = part.sequences(selection.spans) if selection.rows else _NO_TIMES
        hidden = self._source.visibility.hidden(selection.tagset_column(), times, sequences)
        if hidden is not None:
            selection, times, sequences = selection.among(~hidden), times[~hidden], sequences[~hidden]
        return Rows(selection.tagset_column(), times, sequences, self._columns(part, selection))

    def _columns(self, part: Part, selection: Selection) -> dict[int, pa.Array]:
        found: dict[int, pa.Array] = {}
        if selection.rows:
            spans = selection.spans
            for column in self._fields.values():
                values = read_field(part, column, spans)
                if values is not None:
                    found[column.number] = values
        return found


def _pieces(rows: Rows) -> Iterator[Piece]:
    if len(rows):
        yield Piece(len(rows), rows.tagset, rows.times, rows.sequences, rows.columns)


def _none_of(rows: Rows) -> Rows:
    return Rows(rows.tagset[:0], rows.times[:0], rows.sequences[:0], {})
