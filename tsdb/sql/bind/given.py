"""Points in hand as a relation of a query: what an INSERT writes, for RETURNING; EXCLUDED, for ON CONFLICT.

They are read as a series that stands beside the target's: the target's columns and rights under the negative of its
number, which no other series has. ``GivenView`` answers its scans from memory; all other scans are the view's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from sqlglot import exp

from tsdb.model.layer import Layer
from tsdb.model.points import Points
from tsdb.model.schema import Role, Series
from tsdb.model.store import SEQUENCE, TIME, TIME_NS, Scan, ScanRequest, ScanStatistics, TimeRange, View
from tsdb.model.time import us_of_ns

# The argument of a table in a tree that says which series' points are given; no parser sets it.
GIVEN = "given"


def table(series: Series, name: str) -> exp.Expr:
    """The given points of a series in FROM, under a name."""
    identifier = exp.to_identifier(name, quoted=True)
    made = exp.Table(this=exp.to_identifier(series.name, quoted=True), alias=exp.TableAlias(this=identifier))
    made.set(GIVEN, series)
    return made


def beside(series: Series) -> Series:
    """The series as which its given points are read."""
    return replace(series, number=-series.number, relation=series.identity)


class GivenView(Layer):
    """A view and, beside it, points of one series, of which ``within`` is all that is read."""

    def __init__(self, view: View, points: Points, within: TimeRange | None = None) -> None:
        super().__init__(view)
        self.points = points
        self.within = within

    def scan(self, request: ScanRequest) -> Scan:
        """Of the given points all are answered, whatever is asked: the query filters them itself."""
        number = self.points.series.number
        if self.within is not None and request.series.number == number:
            low, high = max(request.range.low, self.within.low), min(request.range.high, self.within.high)
            return self.view.scan(replace(request, range=TimeRange(low, max(low, high))))
        if request.series.number != -number:
            return self.view.scan(request)
        arrays = [column_of(self.points, request.series, key) for key in request.columns]
        names = [f"c{i}" for i in range(len(arrays))]
        if arrays:
            batch = pa.RecordBatch.from_arrays(arrays, names)
        else:
            bare = pa.Array.from_buffers(pa.struct([]), len(self.points), [None], children=[])
            batch = pa.RecordBatch.from_struct_array(bare)
        statistics = ScanStatistics(rows_returned=len(self.points))
        return Scan(batch.schema, _once(batch), statistics)


def _once(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    yield batch


def column_of(points: Points, series: Series, key: int | str) -> pa.Array:
    """A column of points as scans give it."""
    if key == TIME:
        return pa.array(us_of_ns(points.times))
    if key == TIME_NS:
        return pa.array(points.times)
    if key == SEQUENCE:
        return pa.array(np.arange(len(points), dtype=np.int64))
    assert isinstance(key, int)
    values = points.column(key)
    return values.dictionary_encode() if series.by_number[key].role is Role.TAG else values
