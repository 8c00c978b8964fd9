"""The store's view as if a transaction's pending changes were applied: what its own statements read.

A scan of a series that the transaction did not touch is the view's own. Of any other, the view's batches are read with
their keys; what is deleted is left out, and where a pending row has the same key its fields win. Pending rows that met
no point of the store come last, filtered exactly by time and tags.

Source: PostgreSQL 15 manual, 13.2.1 (a query sees the effects of previous updates within its own transaction).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.model.layer import Layer
from tsdb.model.points import decode_tagset
from tsdb.model.schema import Column, Role, Series
from tsdb.model.store import SEQUENCE, TIME, TIME_NS, Newest, Scan, ScanRequest, TimeRange, View
from tsdb.model.time import us_of_ns
from tsdb.model.uniqueness import comparable, matched
from tsdb.session.pending.changes import Changes
from tsdb.session.pending.hidden import Hidden
from tsdb.session.pending.merged import MergedRows, merged_rows
from tsdb.sql.dml.to_points import tagsets_of

Mask = npt.NDArray[np.bool_]

BATCH_ROWS = 128 * 1024
# Of more pending tag sets the values are not looked at one by one.
_TAGSETS_MAX = 65_536


class Overlay(Layer):
    """``changes`` by series number."""

    def __init__(self, view: View, changes: Mapping[int, Changes]) -> None:
        super().__init__(view)
        self._changes = changes
        self._read: dict[int, tuple[Hidden, MergedRows]] = {}

    def with_changes(self, changes: Mapping[int, Changes]) -> Overlay:
        """The same view of the store with other changes."""
        return Overlay(self.view, changes)

    def scan(self, request: ScanRequest) -> Scan:
        number = request.series.number
        changes = self._changes.get(number)
        if changes is None:
            return self.view.scan(request)
        if number not in self._read:
            self._read[number] = Hidden(changes), merged_rows(changes)
        hidden, rows = self._read[number]
        return _OverlayScan(self.view, request, hidden, rows).start()

    def knows(self, series: Series, tagsets: Sequence[bytes]) -> Mask:
        found = self.view.knows(series, tagsets)
        changes = self._changes.get(series.number)
        return found if changes is None else found | changes.has_tagsets(tagsets)

    def may_meet(self, request: ScanRequest, values: Sequence[pa.Array]) -> Mask:
        found = self.view.may_meet(request, values)
        changes = self._changes.get(request.series.number)
        for chunk in changes.chunks if changes is not None else ():
            if len(chunk.points):
                numbers = [number for number in request.columns[: len(values)] if isinstance(number, int)]
                theirs = comparable(request.series, numbers, map(chunk.column, numbers))
                found |= matched(values, theirs) >= 0
        return found

    def changes(self, series: Series, since: int, span: TimeRange, quantum_ns: int) -> Sequence[tuple[int, int]]:
        if series.number in self._changes:
            return [(span.low, span.high)]
        return self.view.changes(series, since, span, quantum_ns)


class _OverlayScan:
    """One scan as it runs."""

    def __init__(self, view: View, request: ScanRequest, hidden: Hidden, rows: MergedRows) -> None:
        self._request = request
        self._hidden = hidden
        self._rows = rows
        self._met = np.zeros(len(rows), np.bool_)
        series = request.series
        keys: tuple[int | str, ...] = (*(c.number for c in series.tags), TIME_NS, SEQUENCE)
        columns = request.columns + tuple(each for each in keys if each not in request.columns)
        # A bound on a field prunes by what the store has; a pending row may change it.
        bounds = () if rows.index is not None and len(rows) else request.bounds
        self._at = {key: at for at, key in enumerate(columns)}
        newest = None if request.newest is None else _of_the_store(request.newest, hidden)
        self._tag_values = _tag_values(series, hidden, rows)
        self._inner = view.scan(replace(request, columns=columns, bounds=bounds, newest=newest, cells=None))
        self._schema = pa.schema([self._inner.schema.field(i) for i in range(len(request.columns))])

    def start(self) -> Scan:
        return Scan(self._schema, self._batches(), self._inner.statistics, cancel=self._inner.cancel)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        inner = self._inner.batches
        try:
            if not self._hidden.everything:
                for batch in inner:
                    seen = self._applied(batch)
                    if seen.num_rows:
                        yield seen
        finally:
            close = getattr(inner, "close", None)
            if close is not None:
                close()
        yield from self._own()

    # --- the store's rows ---

    def _applied(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        times = batch.column(self._at[TIME_NS]).to_numpy(zero_copy_only=False)
        sequences = batch.column(self._at[SEQUENCE]).to_numpy(zero_copy_only=False)
        tags = {c.number: batch.column(self._at[c.number]) for c in self._request.series.tags}
        gone = self._hidden.by_range(times, tags) | self._hidden.by_sequence(sequences)
        index = self._rows.index
        candidates = self._hidden.candidates(times)
        if index is not None:
            candidates |= index.may_hold(times)
        changed = np.flatnonzero(candidates & ~gone & self._named(tags))
        place = np.full(len(times), -1, np.int64)
        if len(changed):
            chosen = pa.array(changed)
            tagsets, tagset = tagsets_of([(n, column.take(chosen)) for n, column in tags.items()], len(changed))
            gone[changed] = self._hidden.by_key(tagsets, tagset, times[changed], sequences[changed])
            if index is not None:
                place[changed] = np.where(gone[changed], -1, index.find(tagsets, tagset, times[changed]))
        self._met[place[place >= 0]] = True
        arrays = [self._merged(key, batch.column(at), place) for at, key in enumerate(self._request.columns)]
        if not arrays:
            return _bare(int((~gone).sum()))
        made = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        return made.filter(pa.array(~gone)) if gone.any() else made

    def _named(self, tags: Mapping[int, pa.Array]) -> Mask:
        """Rows that may have the tags of a pending row, or of a deletion by key: a sieve that no row is decoded for."""
        found: Mask | None = None
        for number, values in self._tag_values.items():
            passes = pc.is_in(tags[number].dictionary, value_set=values, skip_nulls=True)
            with_null = pa.concat_arrays([passes, pa.array([values.null_count > 0])])
            codes = tags[number].indices.fill_null(len(passes))
            rows = with_null.take(codes).to_numpy(zero_copy_only=False)
            found = rows if found is None else found & rows
        return np.ones(1, np.bool_) if found is None else found

    def _merged(self, key: int | str, column: pa.Array, place: npt.NDArray[np.int64]) -> pa.Array:
        """A column with the pending values where they are there; the rows' ``place`` is among the pending rows."""
        own = self._rows.fields.get(key) if isinstance(key, int) else None
        if own is None or not (place >= 0).any():
            return column
        values = own.cast(column.type).take(pa.array(np.maximum(place, 0), mask=place < 0))
        return pc.coalesce(values, column)

    # --- the transaction's rows ---

    def _own(self) -> Iterator[pa.RecordBatch]:
        rows = np.flatnonzero(~self._met & self._wanted())
        self._inner.statistics.rows_head += len(rows)
        for start in range(0, len(rows), BATCH_ROWS):
            part = rows[start : start + BATCH_ROWS]
            arrays = [
                self._own_column(key, part).cast(self._schema.field(at).type)
                for at, key in enumerate(self._request.columns)
            ]
            self._inner.statistics.rows_returned += len(part)
            yield pa.RecordBatch.from_arrays(arrays, schema=self._schema) if arrays else _bare(len(part))

    def _wanted(self) -> Mask:
        rows, request = self._rows, self._request
        wanted: Mask = (rows.times >= request.range.low) & (rows.times < request.range.high)
        if request.within is not None:
            edges = np.array(request.within, np.int64).ravel()
            wanted &= np.searchsorted(edges, rows.times, side="right") % 2 == 1
        if request.tags and request.prune and wanted.any():
            values = [decode_tagset(each) for each in rows.tagsets]
            matching = [all(tag.test(each.get(tag.column)) for tag in request.tags) for each in values]
            wanted &= np.array(matching, np.bool_)[rows.tagset]
        return wanted

    def _own_column(self, key: int | str, part: npt.NDArray[np.int64]) -> pa.Array:
        rows = self._rows
        if key == TIME:
            return pa.array(us_of_ns(rows.times[part]))
        if key == TIME_NS:
            return pa.array(rows.times[part])
        if key == SEQUENCE:
            return pa.array(rows.sequences[part])
        assert isinstance(key, int)
        column = self._request.series.by_number[key]
        if column.role is Role.TAG:
            return self._own_tags(column, part)
        values = rows.fields.get(key)
        return pa.nulls(len(part)) if values is None else values.take(pa.array(part))

    def _own_tags(self, column: Column, part: npt.NDArray[np.int64]) -> pa.Array:
        values = pa.array([decode_tagset(each).get(column.number) for each in self._rows.tagsets], pa.string())
        return values.take(pa.array(self._rows.tagset[part])).dictionary_encode()


def _tag_values(series: Series, hidden: Hidden, rows: MergedRows) -> dict[int, pa.Array]:
    """The values that each tag has in pending rows and deletions by key; NULL is one."""
    sets = [decode_tagset(each) for each in (*hidden.tagsets, *(rows.tagsets if rows.index is not None else ()))]
    numbers = [tag.number for tag in series.tags] if len(sets) <= _TAGSETS_MAX else []
    return {number: pa.array({each.get(number) for each in sets}, pa.string()) for number in numbers}


def _of_the_store(newest: Newest, hidden: Hidden) -> Newest | None:
    """What must be read for ``newest`` rows to be among what is left and what is pending; None: everything.

    With ties: a pending row may have the key of a stored one, and without that it would be half a row.
    """
    return None if hidden.ranges else replace(newest, rows=newest.rows + hidden.keys, ties=True)


def _bare(rows: int) -> pa.RecordBatch:
    """So many rows without a column: what count(*) asks for."""
    return pa.RecordBatch.from_struct_array(pa.Array.from_buffers(pa.struct([]), rows, [None], children=[]))
