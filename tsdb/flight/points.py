"""A record batch as points of a series: whole columns by type, never row by row.

What goes where is decided by types, not by values: an integer fits a float8 column, a text one of a type that has no
Arrow type of its own (uuid, json, an enumerated type, a numeric without a scale …), by PostgreSQL's input rules.
Everything else that differs is a conflict, told with both types. Values that do not fit their column's type refuse the
batch.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.errors import (
    CharacterNotInRepertoire,
    DatatypeMismatch,
    DatetimeFieldOverflow,
    NumericValueOutOfRange,
    PointsBeyondRetention,
    UndefinedColumn,
)
from tsdb.model.points import Points
from tsdb.model.relations import null_in
from tsdb.model.schema import Column, Role, Series
from tsdb.sql import storage_form
from tsdb.sql.context import Context
from tsdb.sql.dml import constant_rows
from tsdb.sql.dml.to_points import points_of
from tsdb.types import (
    BOOL,
    BPCHAR,
    BYTEA,
    DATE,
    FLOAT4,
    FLOAT8,
    INT2,
    INT4,
    INT8,
    INTERVAL,
    NAME,
    NUMERIC,
    OID,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UINT8,
    VARCHAR,
    Kind,
    SqlType,
)

_TEXTS = (TEXT, VARCHAR, BPCHAR, NAME)
_INTEGERS = (INT2, INT4, INT8, OID)
_FLOATS = (FLOAT4, FLOAT8)
_MONTH_DAY_NANO = np.dtype([("months", "<i4"), ("days", "<i4"), ("ns", "<i8")])
_DECIMALS_OF_INTEGERS = {True: pa.decimal128(19, 0), False: pa.decimal128(20, 0)}


def points_of_batch(series: Series, batch: pa.RecordBatch, time: str, context: Context) -> Points:
    """The points of a valid batch whose columns the series has; ``time`` is the column of their times.

    Raises DatatypeMismatch, NotNullViolation, UndefinedColumn, DataError and its kinds, PointsBeyondRetention.
    """
    assert series.time is not None
    values = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        column = series.by_name.get(name)
        empty = pa.types.is_null(array.type)
        if name == time or (empty and column is None):
            continue
        if column is None:
            raise UndefinedColumn(f'column "{name}" of relation "{series.name}" does not exist')
        if column.role is Role.TIME:
            raise DatatypeMismatch(
                f'"{name}" is the time of "{series.name}"', hint=f'Say time="{name}", or leave the column out.'
            )
        # What is missing is NULL as well, and takes no memory.
        if not empty:
            values[name] = fitted(array, column, series, context)
    times = times_of(batch.column(time), time)
    if times.null_count:
        raise null_in(series.path, series.time.name)
    points = points_of(series, values, batch.num_rows, now_ns=context.now_us * 1000, time_ns=times)
    _check_retention(points, context.now_us * 1000)
    return points


def _check_retention(points: Points, now_ns: int) -> None:
    series = points.series
    floors = [series.floor_ns] if series.floor_ns is not None else []
    if series.retention_ns is not None:
        floors.append(now_ns - series.retention_ns)
    beyond = int(np.count_nonzero(points.times < max(floors))) if floors else 0
    if beyond:
        raise PointsBeyondRetention(
            f'points beyond retention policy: {beyond} of {len(points)} rows for "{series.name}" are too old'
        )


def times_of(array: pa.Array, name: str) -> pa.Array:
    """Times in ns (int64) of timestamps (without a zone: UTC), dates, or integers of ns.

    Raises DatatypeMismatch, DatetimeFieldOverflow.
    """
    array = plain(array)
    try:
        if pa.types.is_date(array.type):
            array = array.cast(pa.timestamp("s"))
        if pa.types.is_timestamp(array.type):
            return array.cast(pa.timestamp("ns", array.type.tz)).cast(pa.int64())
        if pa.types.is_integer(array.type):
            return array.cast(pa.int64())
    except pa.ArrowInvalid:
        raise DatetimeFieldOverflow(
            "time is out of range", detail="Points lie between the years 1677 and 2262.", hint="Check the time's unit."
        ) from None
    raise DatatypeMismatch(
        f'column "{name}" is of type {array.type}: a time is a timestamp, a date or an integer of nanoseconds'
    )


def fitted(array: pa.Array, column: Column, series: Series, context: Context) -> pa.Array:
    """The values in the column's query form. Raises DatatypeMismatch, and what is wrong with a value."""
    array = plain(array)
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), storage_form.arrow_type(column))
    if is_text(array.type):
        array = array.cast(pa.string())
        _check_no_nul(array, column)
        if column.type in _TEXTS:
            return array
        if column.type.kind is Kind.TEXT and column.type != BYTEA:
            return _read(array, column, context)
    elif _goes(array.type, column.type):
        return _cast(array, column)
    raise DatatypeMismatch(
        f'field type conflict: input field "{column.name}" on measurement "{series.name}" is type {array.type}, '
        f"already exists as type {column.type.name}"
    )


def is_text(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_string(arrow) or pa.types.is_large_string(arrow) or pa.types.is_string_view(arrow))


def plain(array: pa.Array) -> pa.Array:
    """Without a dictionary, and texts of views (polars has them) as those that all of Arrow's functions take."""
    if isinstance(array, pa.DictionaryArray):
        return plain(array.dictionary).take(array.indices)
    return array.cast(pa.string()) if pa.types.is_string_view(array.type) else array


def _check_no_nul(array: pa.Array, column: Column) -> None:
    if pc.any(pc.match_substring(array, "\0")).as_py():
        raise CharacterNotInRepertoire(f'a text for column "{column.name}" contains the character 0x00')


def _goes(arrow: pa.DataType, wanted: SqlType) -> bool:
    """Whether values of an Arrow type are values of a SQL type, as far as they are in its range."""
    is_ = pa.types
    if wanted.element is not None:
        listed = is_.is_list(arrow) or is_.is_large_list(arrow) or is_.is_fixed_size_list(arrow)
        if not listed:
            return False
        inner = arrow.value_type
        return (is_text(inner) and wanted.element in _TEXTS) or _goes(inner, wanted.element)
    if is_.is_integer(arrow):
        return wanted in (*_INTEGERS, *_FLOATS, NUMERIC, UINT8)
    if is_.is_timestamp(arrow):
        return wanted == TIMESTAMPTZ or (wanted == TIMESTAMP and arrow.tz is None)
    if is_.is_duration(arrow) or is_.is_interval(arrow):
        return wanted == INTERVAL
    if is_.is_binary(arrow) or is_.is_large_binary(arrow) or is_.is_fixed_size_binary(arrow):
        return wanted == BYTEA
    return bool(
        (is_.is_floating(arrow) and wanted in _FLOATS)
        or (is_.is_boolean(arrow) and wanted == BOOL)
        or (is_.is_decimal(arrow) and wanted in (NUMERIC, UINT8))
        or (is_.is_date(arrow) and wanted == DATE)
        or (is_.is_time(arrow) and wanted == TIME)
    )


def _cast(array: pa.Array, column: Column) -> pa.Array:
    wanted = storage_form.arrow_type(column)
    try:
        if pa.types.is_duration(array.type):
            return _intervals(array)
        if storage_form.is_text_numeric(column):
            return array  # as it is: each number has its own scale
        if pa.types.is_integer(array.type) and pa.types.is_decimal(wanted):
            array = array.cast(_DECIMALS_OF_INTEGERS[pa.types.is_signed_integer(array.type)])
        if pa.types.is_timestamp(array.type) and array.type.tz is None and wanted.tz is not None:
            array = array.cast(pa.timestamp(array.type.unit, "UTC"))
        return array.cast(wanted, safe=not pa.types.is_floating(wanted))
    except pa.ArrowInvalid as error:
        raise NumericValueOutOfRange(
            f'value for column "{column.name}" is out of range for type {column.type.name}: {error}'
        ) from None


def _intervals(array: pa.Array) -> pa.Array:
    """Durations as intervals of days and less, as PostgreSQL subtracts two timestamps."""
    ns = array.cast(pa.duration("ns")).cast(pa.int64())
    numbers = ns.fill_null(0).to_numpy(zero_copy_only=False)
    out = np.zeros(len(array), _MONTH_DAY_NANO)
    whole = np.sign(numbers) * (np.abs(numbers) // 86_400_000_000_000)
    out["days"], out["ns"] = whole, numbers - whole * 86_400_000_000_000
    valid = pa.array(array.is_valid()).buffers()[1] if array.null_count else None
    return pa.Array.from_buffers(pa.month_day_nano_interval(), len(array), [valid, pa.py_buffer(out)])


def _read(array: pa.Array, column: Column, context: Context) -> pa.Array:
    """Texts as values of the column's type, each distinct one once."""
    encoded = array.dictionary_encode()
    values = [constant_rows.read_value(column, text, context) for text in encoded.dictionary.to_pylist()]
    return constant_rows.array_of(column, values).take(encoded.indices)
