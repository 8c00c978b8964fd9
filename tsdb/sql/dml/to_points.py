"""Typed columns to points: what INSERT, UPDATE and COPY make of their values. Columns at a time, never row by row.

``Target`` says where a column of values goes. NULL is an absent tag or field (design section 2); a NULL where the
column is NOT NULL is refused. Times are microseconds in SQL and become nanoseconds; ``time_ns`` is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.errors import DatetimeFieldOverflow
from tsdb.model.points import Int32s, Int64s, Points, encode_tagset
from tsdb.model.relations import null_in
from tsdb.model.schema import Column, Role, Series
from tsdb.model.time import NS_PER_US, POINT_NS_MAX, POINT_NS_MIN
from tsdb.sql import storage_form


def points_of(
    series: Series,
    values: Mapping[str, pa.Array],
    count: int,
    *,
    now_ns: int,
    time_ns: pa.Array | None = None,
    tagged: tuple[Sequence[bytes], Int32s] | None = None,
) -> Points:
    """The points of ``count`` rows. ``values`` are column name → array in the column's query form; a column that is
    missing is NULL, a missing time is ``now_ns``. ``time_ns`` gives exact times instead; ``tagged`` the tag sets by
    value and each row's, if they are known.

    Raises NotNullViolation, DatetimeFieldOverflow and the errors of ``storage_form.to_stored``.
    """
    for column in series.columns:
        if column.role is Role.FIELD or (column.role is Role.TAG and tagged is None):
            _check_not_null(series, column, values.get(column.name), count)
    stored = {
        column: storage_form.to_stored(values[column.name], column)
        for column in series.columns
        if column.name in values and column.role is not Role.TIME
    }
    times = _times(series, values, count, now_ns, time_ns)
    tagsets, tagset = tagged or tagsets_of([(c.number, a) for c, a in stored.items() if c.role is Role.TAG], count)
    fields = {c.number: array for c, array in stored.items() if c.role is Role.FIELD and array.null_count < len(array)}
    return Points(series, times, tagsets, tagset, fields)


def _check_not_null(series: Series, column: Column, array: pa.Array | None, count: int) -> None:
    if column.not_null and count and (array is None or array.null_count):
        raise null_in(series.path, column.name)


def _times(series: Series, values: Mapping[str, pa.Array], count: int, now_ns: int, time_ns: pa.Array | None) -> Int64s:
    if series.reference:
        return np.zeros(count, np.int64)
    assert series.time is not None
    if time_ns is not None:
        _check_not_null(series, series.time, time_ns, count)
        exact: Int64s = time_ns.cast(pa.int64()).to_numpy(zero_copy_only=False)
        _check_times(int(exact.min()), int(exact.max()), 1) if count else None
        return exact
    array = values.get(series.time.name)
    if array is None:
        return np.full(count, now_ns, np.int64)
    _check_not_null(series, series.time, array, count)
    us = storage_form.to_stored(array, series.time).to_numpy(zero_copy_only=False)
    if count:
        _check_times(int(us.min()), int(us.max()), NS_PER_US)
    return np.asarray(us * NS_PER_US, np.int64)


def _check_times(low: int, high: int, unit_ns: int) -> None:
    if low * unit_ns < POINT_NS_MIN or high * unit_ns > POINT_NS_MAX:
        raise DatetimeFieldOverflow(
            "time is out of range", detail="Points lie between the years 1677 and 2262.", hint="Check the time's unit."
        )


def tagsets_of(tags: Sequence[tuple[int, pa.Array]], count: int) -> tuple[list[bytes], Int32s]:
    """(distinct tag sets by value, each row's index into them) of columns of text by tag number."""
    if not tags or not count:
        return [b""] if count else [], np.zeros(count, np.int32)
    if count == 1:
        values = [(number, array[0].as_py()) for number, array in tags]
        return [encode_tagset((number, value) for number, value in values if value is not None)], np.zeros(1, np.int32)
    codes: npt.NDArray[np.int64] = np.zeros(count, np.int64)
    for _, array in tags:
        encoded = _encoded(array)
        indices = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False).astype(np.int64)
        # Dense again after each tag, so that the product of their sizes cannot overflow.
        codes = codes * (len(encoded.dictionary) + 1) + indices
        codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    distinct, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    columns = [array.take(pa.array(first)).to_pylist() for _, array in tags]
    numbers = [number for number, _ in tags]
    tagsets = [
        encode_tagset((numbers[i], column[row]) for i, column in enumerate(columns) if column[row] is not None)
        for row in range(len(distinct))
    ]
    return tagsets, inverse.astype(np.int32)


def _encoded(array: pa.Array) -> pa.DictionaryArray:
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array if isinstance(array, pa.DictionaryArray) else pc.dictionary_encode(array)
