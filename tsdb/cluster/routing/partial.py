"""Points of an aggregate's scan as summary cells, where they are: only what the aggregate needs of them travels. Pure.

Rows come by tag set and time, so those of one cell mostly follow each other: a stretch of rows with the same tags in
the same bucket is a cell, by sums and extremes of slices. Where stretches are short the rows are sorted first. Several
cells may say something of one group: who asked adds them up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.model import summaries
from tsdb.model.schema import Role
from tsdb.model.store import TIME_NS, ScanRequest
from tsdb.model.summaries import CellRequest, SummaryCells
from tsdb.model.time import NS_MIN

# Rows of a stretch below which, on average, sorting is worth it.
SHORT = 4

_NUMBERS = (pa.float64(), pa.int64())
_MASK = np.int64(0xFFFFFFFF)
_SHIFT = np.int64(32)

Int64s = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
Values = npt.NDArray[Any]
Statistics = Mapping[str, Values]


def is_partial(request: ScanRequest) -> bool:
    """Whether the rows of a scan can go as cells: all of them are wanted, and their values are numbers or counted."""
    if request.cells is None or request.bounds or not request.prune:
        return False
    series = request.series
    return all(
        (column := series.by_number.get(number)) is not None
        and column.role is Role.FIELD
        and number in request.columns
        and (column.kind.arrow in _NUMBERS or set(names) <= {summaries.COUNT})
        for number, names in request.cells.statistics.items()
    )


def cells_of_rows(batch: pa.RecordBatch, request: ScanRequest) -> SummaryCells:
    """A batch of such a scan, which has rows."""
    assert request.cells is not None, "asked before"
    series = request.series
    tags = [
        batch.column(at)
        for at, key in enumerate(request.columns)
        if isinstance(key, int) and series.by_number[key].role is Role.TAG
    ]
    times = np.asarray(batch.column(request.columns.index(TIME_NS))) if TIME_NS in request.columns else None
    codes = [tag.indices.fill_null(-1).to_numpy(zero_copy_only=False) for tag in tags]
    bucket = None if times is None or request.cells.width_ns is None else _buckets(times, request.cells)
    starts = _starts(batch.num_rows, codes, bucket, times)
    if len(starts) * SHORT > batch.num_rows > 1:
        keys = [key for key in (times, bucket, *codes) if key is not None]
        if keys:
            order = np.lexsort(keys)
            batch = batch.take(pa.array(order))
            times = None if times is None else times[order]
            bucket = None if bucket is None else bucket[order]
            tags = [tag.take(pa.array(order)) for tag in tags]
            starts = _starts(batch.num_rows, [code[order] for code in codes], bucket, times)
    last = np.append(starts[1:], batch.num_rows) - 1
    rows: Int64s = (last - starts + 1).astype(np.int64)
    none = np.zeros(len(starts), np.int64)
    fields = {
        number: _statistics(batch.column(request.columns.index(number)), starts, last, rows, names)
        for number, names in request.cells.statistics.items()
    }
    return SummaryCells(
        [pa.DictionaryArray.from_arrays(tag.indices.take(pa.array(starts)), tag.dictionary) for tag in tags],
        none if times is None else times[starts],
        none if times is None else times[last],
        rows,
        {number: found for number, found in fields.items() if found is not None},
    )


def spared(cells: SummaryCells, wish: CellRequest) -> SummaryCells:
    """The cells with times that are worth sending: where they only say in which bucket points are, its begin."""
    if wish.times or any({summaries.FIRST, summaries.LAST} & {*names} for names in wish.statistics.values()):
        return cells
    if wish.width_ns is None:
        begin = np.zeros(len(cells), np.int64)
    else:
        width, times = np.int64(wish.width_ns), cells.first_times
        into = np.mod(np.mod(times, width) - wish.origin_ns % wish.width_ns, width)
        # A bucket may begin before all times.
        begin = np.where(times >= NS_MIN + into, times - into, times)
    return replace(cells, first_times=begin, last_times=begin)


def _buckets(times: Int64s, wish: CellRequest) -> Int64s:
    """The bucket of each time, counted from anywhere; exact at both ends of time."""
    assert wish.width_ns is not None, "asked before"
    width = np.int64(wish.width_ns)
    within = np.mod(times, width)
    found: Int64s = np.floor_divide(times, width) - (within < wish.origin_ns % wish.width_ns)
    return found


def _starts(rows: int, codes: Sequence[Values], bucket: Int64s | None, times: Int64s | None) -> Places:
    """Where stretches begin: rows with equal tags in one bucket, in the order of time."""
    is_start = np.zeros(rows, np.bool_)
    is_start[0] = True
    for key in (*codes, *(() if bucket is None else (bucket,))):
        is_start[1:] |= key[1:] != key[:-1]
    if times is not None:
        is_start[1:] |= times[1:] < times[:-1]
    return np.flatnonzero(is_start)


def _statistics(array: pa.Array, starts: Places, last: Places, rows: Int64s, names: Sequence[str]) -> Statistics | None:
    """Of one field; None if it has no value."""
    if array.null_count == len(array):
        return None
    valid = np.asarray(array.is_valid()) if array.null_count else None
    count = rows if valid is None else np.add.reduceat(valid.astype(np.int64), starts)
    found: dict[str, Values] = {summaries.COUNT: count}
    if set(names) <= {summaries.COUNT}:
        return found
    values = np.asarray(pc.fill_null(array, 0) if array.null_count else array)
    # Infinities take each other away to NaN, here as in SQL.
    with np.errstate(invalid="ignore", over="ignore"):
        for name in names:
            if name != summaries.COUNT:
                found[name] = _statistic(name, values, valid, starts, last, count)
    return found


def _statistic(
    name: str,
    values: Values,
    valid: npt.NDArray[np.bool_] | None,
    starts: Places,
    last: Places,
    count: Int64s,
) -> Values:
    """One statistic of each stretch; absent values are 0 in ``values``. What has no value may say anything."""
    match name:
        case summaries.SUM:
            return np.add.reduceat(values, starts)
        case summaries.LOW:
            return np.add.reduceat(values & _MASK, starts)
        case summaries.HIGH:
            return np.add.reduceat(values >> _SHIFT, starts)
        case summaries.M2:
            mean = np.add.reduceat(values, starts, dtype=np.float64) / np.maximum(count, 1)
            distance = values - np.repeat(mean, last - starts + 1)
            squares = distance * distance if valid is None else np.where(valid, distance * distance, 0.0)
            return np.add.reduceat(squares, starts)
        case summaries.MIN:
            # NaN is above every number.
            return np.fmin.reduceat(_without(values, valid, most=True), starts)
        case summaries.MAX:
            return np.maximum.reduceat(_without(values, valid, most=False), starts)
        case summaries.FIRST:
            return values[starts]
        case summaries.LAST:
            return values[last]
        case summaries.FIRST_THERE:
            return np.ones(len(starts), np.int64) if valid is None else valid[starts].astype(np.int64)
        case summaries.LAST_THERE:
            return np.ones(len(starts), np.int64) if valid is None else valid[last].astype(np.int64)
    raise AssertionError(f"there is no statistic {name}")


def _without(values: Values, valid: npt.NDArray[np.bool_] | None, *, most: bool) -> Values:
    """The values, with what no extreme is where there is none."""
    if valid is None:
        return values
    if values.dtype == np.float64:
        return np.where(valid, values, np.nan if most else -np.inf)
    bounds = np.iinfo(np.int64)
    return np.where(valid, values, bounds.max if most else bounds.min)
