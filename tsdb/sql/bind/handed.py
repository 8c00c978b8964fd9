"""Rows in hand as a relation of a query: what a modification in WITH returns, for the rest of its statement.

They are read as a series that is in no catalog; its columns are numbered from 1, and ``HandedView`` answers its scans.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from sqlglot import exp

from tsdb.model.layer import Layer
from tsdb.model.schema import Column, Role, Series
from tsdb.model.store import Scan, ScanRequest, ScanStatistics, View
from tsdb.sql import storage_form, trees
from tsdb.sql.bind import given
from tsdb.sql.result import ResultColumn

# Numbers of series that no catalog gives: they are in one statement alone.
_FIRST = 1 << 40


def series_of(place: int, columns: Sequence[ResultColumn], owner: int) -> Series:
    """The series of the ``place``-th relation of rows in hand; ``owner`` is who reads it."""
    made = tuple(Column(i + 1, f"c{i}", Role.FIELD, column.type, column.typmod) for i, column in enumerate(columns))
    return Series(_FIRST + place, f"handed {place}", made, keyed=False, reference=True, owner=owner)


def query(series: Series, names: Sequence[str]) -> exp.Expr:
    """``SELECT`` of all columns, under names."""
    items = [trees.aliased(trees.column(c.name), name) for c, name in zip(series.columns, names, strict=True)]
    return trees.select(items, given.table(series, series.name))


class HandedView(Layer):
    """A view and, beside it, rows by the number of their series."""

    def __init__(self, view: View, rows: Mapping[int, tuple[Series, Sequence[pa.RecordBatch]]]) -> None:
        super().__init__(view)
        self.rows = rows

    def scan(self, request: ScanRequest) -> Scan:
        """All rows, whatever is asked: the query filters them itself."""
        found = self.rows.get(-request.series.number)
        if found is None:
            return self.view.scan(request)
        series, batches = found
        types = [_type(series, key) for key in request.columns]
        schema = pa.schema([(f"c{i}", kind) for i, kind in enumerate(types)])
        return Scan(schema, _batches(series, request.columns, batches, schema), ScanStatistics())


def _type(series: Series, key: int | str) -> pa.DataType:
    return pa.int64() if isinstance(key, str) else storage_form.stored_type(series.by_number[key])


def _batches(
    series: Series, columns: Sequence[int | str], batches: Sequence[pa.RecordBatch], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    first = 0
    for batch in batches:
        count = batch.num_rows
        arrays = [
            # The hidden columns: all is at time 0, and each row has a number.
            pa.array(np.arange(first, first + count) if key == "sequence" else np.zeros(count, np.int64))
            if isinstance(key, str)
            else storage_form.to_stored(batch.column(key - 1), series.by_number[key])
            for key in columns
        ]
        first += count
        if arrays:
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        else:
            bare = pa.Array.from_buffers(pa.struct([]), count, [None], children=[])
            yield pa.RecordBatch.from_struct_array(bare)
