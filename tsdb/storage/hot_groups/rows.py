"""Few rows of hot columns as they are, by two passes of kernels: which rows, and their values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.schema import Column, Role
from tsdb.model.store import SEQUENCE, FieldBound, ScanRequest, ScanStatistics
from tsdb.storage.batches import Piece
from tsdb.storage.field_bounds import is_usable, within_bounds
from tsdb.storage.hot_groups.lines import TIMES, LinesTables
from tsdb.storage.hot_groups.operations import FIELDS
from tsdb.storage.hot_groups.row_kernels import fill, find
from tsdb.storage.hot_groups.survey import HotInput, Surveyed, survey
from tsdb.storage.overlap import Rectangle
from tsdb.storage.row_bounds import fits
from tsdb.types import Kind

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

# So many rows are looked at, and so many values made, at most.
ROWS_MAX, VALUES_MAX = 1 << 16, 1 << 20
# Of a wide or long series: a table of lines for each statement would take more than it gives.
LINES_MAX = 1 << 17
# Of blocks of which more rows are wanted than one in so many, columns are not kept.
KEPT_SHARE = 4
_KINDS = (Kind.INT8, Kind.FLOAT8)
_INT8 = np.iinfo(np.int64)


def hot_rows(
    request: ScanRequest, source: HotInput, tables: LinesTables, statistics: ScanStatistics
) -> Piece | None:  # fmt: skip
    """None where the scan has to go on as any other. The piece has tag sets and times."""
    series = request.series
    if not source.blocks.headers or SEQUENCE in request.columns:
        return None
    columns = [series.by_number[c] for c in request.columns if isinstance(c, int)]
    fields = [column for column in columns if column.role is Role.FIELD]
    bounds = [bound for bound in request.bounds if is_usable(series, bound)]
    bounds = [bound for bound in bounds if fits(series.by_number[bound.column].kind, bound)]
    judged = [series.by_number[bound.column] for bound in bounds]
    if any(column.kind not in _KINDS or column.former for column in (*fields, *judged)):
        return None
    numbers = tuple(dict.fromkeys(column.number for column in (*fields, *judged)))
    if (FIELDS + len(numbers)) * len(source.blocks.headers) > LINES_MAX:
        return None
    ids = source.ids
    lines = tables.of(source.blocks, numbers, source.cache)

    def within(places: Int64s) -> Int64s:
        headers = [source.blocks.headers[at] for at in places.tolist()]
        runs = [Rectangle(*run.bounds[:4]) for run in source.runs]
        return places[within_bounds(series, request.bounds, headers, runs)]

    total = int(source.blocks.rows.sum()) + sum(len(run.rows) for run in source.runs)
    limit = min(ROWS_MAX, VALUES_MAX // max(1, len(fields)), total // KEPT_SHARE)
    found = survey(source, lines, ids, limit, within if bounds else None)
    if found is None:
        return None
    found.begin()
    part, row, tagset, looked = _found(found, source, ids, _limits(bounds, judged, numbers))
    if source.buckets is not None:
        kept = source.buckets.keep(_filled(found, part, row, [TIMES])[0])
        part, row, tagset = part[kept], row[kept], tagset[kept]
    found.tell(statistics, len(row))
    statistics.rows_read = looked
    if not len(row):
        return Piece(0, tagset, row, None, {})
    out = _filled(found, part, row, [TIMES, *(FIELDS + numbers.index(column.number) for column in fields)])
    values = {
        column.number: pa.Array.from_buffers(column.kind.arrow, len(row), [None, pa.py_buffer(own)], 0)
        for column, own in zip(fields, out[1:], strict=True)
    }
    return Piece(len(row), tagset, out[0], None, values)


def _limits(
    bounds: Sequence[FieldBound], judged: Sequence[Column], numbers: Sequence[int]
) -> tuple[Int64s, Int64s, Float64s]:  # fmt: skip
    """Bounds for the kernel: lines, and low and high as integers and as floats."""
    lines = np.zeros((len(bounds), 3), np.int64)
    integers, floats = np.zeros((len(bounds), 2), np.int64), np.zeros((len(bounds), 2), np.float64)
    for at, (bound, column) in enumerate(zip(bounds, judged, strict=True)):
        is_float = column.kind is Kind.FLOAT8
        lines[at] = FIELDS + numbers.index(column.number), is_float, bound.high is None
        if is_float:
            floats[at] = -np.inf if bound.low is None else bound.low, np.inf if bound.high is None else bound.high
        else:
            integers[at] = (
                _INT8.min if bound.low is None else bound.low,
                _INT8.max if bound.high is None else bound.high,
            )
    return lines, integers, floats


def _filled(found: Surveyed, part: Int64s, row: Int64s, wanted: Sequence[int]) -> Int64s:
    """The values of rows in the ``wanted`` lines, 64 bits each."""
    out = np.empty((len(wanted), len(row)), np.int64)
    fill(found.table, part, row, np.array(wanted, np.int64), out, out.view(np.float64))
    return out


def _found(
    found: Surveyed, source: HotInput, ids: Int32s, limits: tuple[Int64s, Int64s, Float64s]
) -> tuple[Int64s, Int64s, Int32s, int]:
    """(part, row in it, tag set) of each row that is wanted, part by part; how many were looked at."""
    room, looked, work = 1024, np.empty(1, np.int64), np.empty(1, np.int64)
    while True:
        part, row, tagset = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int32)
        count = find(
            found.table, found.bounds, found.places, source.low, source.high, ids, source.tagsets.count,
            source.wanted is None, *limits, looked, work, work.view(np.float64), part, row, tagset,
        )  # fmt: skip
        if count <= room:
            return part[:count], row[:count], tagset[:count], int(looked[0])
        room = int(count)
