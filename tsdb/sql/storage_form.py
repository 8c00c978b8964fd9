"""The form in which values of a SQL type are stored, and the way back; whole Arrow arrays at a time.

    type                       stored (Kind)     form
    boolean                    BOOL              itself
    smallint integer bigint oid INT8             the integer
    real, double precision     FLOAT8            the number
    date                       INT8              days since 1970-01-01
    time                       INT8              microseconds since midnight
    timestamp, timestamptz     INT8              microseconds since 1970-01-01 (UTC); the time *column* is nanoseconds
    numeric(p,s)               TEXT              decimal digits with the column's scale
    numeric                    TEXT              decimal digits, each number with the scale it was given
    numeric (line protocol u)  UINT8             the unsigned integer
    text varchar char name json jsonb uuid  TEXT itself
    bytea                      TEXT              \\x and hex digits
    interval                   TEXT              1 mon 2 days 03:04:05.678
    type[]                     TEXT              {1,NULL,"a b"}: elements in their form as text
    any type, as a tag         text              the form above, written as text; −0.0 as 0.0

``to_stored`` takes arrays in ``arrow_type(column)`` (or what Arrow casts to it safely), applies the type modifier and
gives arrays of ``stored_type(column)``; ``from_stored`` is its inverse and keeps a tag's dictionary. ``is_identity``
says that both forms are the same. The forms are on disk: never change one.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.errors import DataCorrupted, DataError, NumericValueOutOfRange, StringDataRightTruncation, TsdbError
from tsdb.model.schema import Column, ColumnDefinition, Role
from tsdb.sql import array_text, intervals
from tsdb.sql.intervals import Interval
from tsdb.types import BPCHAR, BYTEA, FLOAT4, INTERVAL, NUMERIC, TIMESTAMP, TIMESTAMPTZ, VARCHAR, Kind, SqlType

AnyColumn = Column | ColumnDefinition

NUMERIC_PRECISION_MAX = 38
_VARHDRSZ = 4


def numeric_typmod(precision: int, scale: int) -> int:
    return (precision << 16 | scale & 0x7FF) + _VARHDRSZ


def numeric_precision(typmod: int) -> tuple[int, int]:
    """(precision, scale) of a numeric's type modifier."""
    return (typmod - _VARHDRSZ) >> 16, (typmod - _VARHDRSZ) & 0x7FF


def length_typmod(characters: int) -> int:
    return characters + _VARHDRSZ


def arrow_type(column: AnyColumn) -> pa.DataType:
    """The form in which the column's values appear in queries: the type's Arrow type with the type modifier. A numeric
    without one stays text: its numbers have each their own scale."""
    if is_text_numeric(column):
        return pa.string()
    return _arrow_of(column.type, column.typmod)


def _arrow_of(sql_type: SqlType, typmod: int) -> pa.DataType:
    if sql_type.element is not None:
        return pa.list_(_arrow_of(sql_type.element, typmod))
    if sql_type == NUMERIC and typmod >= 0:
        return pa.decimal128(*numeric_precision(typmod))
    return sql_type.arrow


def is_text_numeric(column: AnyColumn) -> bool:
    return column.type == NUMERIC and column.typmod < 0


def stored_type(column: AnyColumn) -> pa.DataType:
    """What scans deliver for this column (tags: the dictionary's values)."""
    return pa.string() if column.role is Role.TAG else column.type.kind.arrow


def is_identity(column: AnyColumn) -> bool:
    """Whether stored and query form are the same Arrow type, so that no conversion is needed."""
    return column.role is not Role.TIME and arrow_type(column) == stored_type(column)


def to_stored(values: pa.Array, column: AnyColumn) -> pa.Array:
    """Values as they are stored. Raises NumericValueOutOfRange, StringDataRightTruncation, DataError."""
    try:
        stored = _form(_in_query_form(values, column), column.type, column.typmod)
        return _tag_text(stored) if column.role is Role.TAG else stored
    except pa.ArrowInvalid as error:
        raise _refused(column, error) from error


def from_stored(stored: pa.Array, column: AnyColumn) -> pa.Array:
    """The inverse of ``to_stored``; a dictionary array stays one. Raises DataCorrupted."""
    if isinstance(stored, pa.DictionaryArray):
        if is_identity(column):
            return stored
        values = from_stored(stored.dictionary, column)
        if pa.types.is_nested(values.type) or pa.types.is_interval(values.type):
            return values.take(stored.indices)
        return pa.DictionaryArray.from_arrays(stored.indices, values)
    try:
        if column.role is Role.TAG and column.type.kind is not Kind.TEXT:
            stored = stored.cast(column.type.kind.arrow)
        return _unform(stored, column.type, column.typmod)
    except NumericValueOutOfRange:
        raise
    except (pa.ArrowInvalid, TsdbError, ValueError) as error:
        raise DataCorrupted(f'column "{column.name}" holds a value that is not {column.type.name}: {error}') from error


def _in_query_form(values: pa.Array, column: AnyColumn) -> pa.Array:
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    wanted = arrow_type(column)
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), wanted)
    if values.type != wanted:
        if is_text_numeric(column):
            return _by_distinct(values, _numeric_texts)
        if pa.types.is_decimal(values.type) and pa.types.is_decimal(wanted):
            values = pc.round(values, wanted.scale) if wanted.scale < values.type.scale else values
        values = values.cast(wanted, safe=not pa.types.is_floating(wanted))
    return values


def _refused(column: AnyColumn, error: Exception) -> TsdbError:
    if (column.type.element is None and column.type.kind is not Kind.TEXT) or column.type == NUMERIC:
        return NumericValueOutOfRange(f'value for column "{column.name}" is out of range for type {column.type.name}')
    return DataError(f'value for column "{column.name}" is not of type {column.type.name}: {error}')


def _form(values: pa.Array, sql_type: SqlType, typmod: int) -> pa.Array:
    if sql_type.element is not None:
        return _list_form(values, sql_type.element, typmod)
    if sql_type in (TIMESTAMP, TIMESTAMPTZ):
        return _timestamp_form(values, typmod)
    if values.type == sql_type.kind.arrow and sql_type not in (VARCHAR, BPCHAR):
        return values
    if sql_type.kind in (Kind.BOOL, Kind.UINT8, Kind.FLOAT8):
        return values.cast(sql_type.kind.arrow)
    if sql_type.kind is Kind.INT8:
        # date32 and time64 reach int64 by way of the integer of their own width.
        narrow = pa.int32() if pa.types.is_date32(values.type) else pa.int64()
        return values.cast(narrow).cast(pa.int64())
    if sql_type in (VARCHAR, BPCHAR) and typmod >= 0:
        return _limited(values, sql_type, typmod - _VARHDRSZ)
    if sql_type == BYTEA:
        return _hex(values)
    if sql_type == INTERVAL:
        return _by_distinct(values, _interval_texts)
    return values.cast(pa.string())


def _unform(stored: pa.Array, sql_type: SqlType, typmod: int) -> pa.Array:
    arrow = _arrow_of(sql_type, typmod)
    if stored.type == arrow:
        return stored
    if sql_type.element is not None:
        return _unlist(stored, sql_type.element, typmod)
    if sql_type == FLOAT4:
        return stored.cast(arrow, safe=False)
    if sql_type == BYTEA:
        return _unhex(stored)
    if sql_type == INTERVAL:
        return _by_distinct(stored, _intervals_of_texts)
    if pa.types.is_date32(arrow):
        return stored.cast(pa.int32()).cast(arrow)
    if sql_type == NUMERIC and pa.types.is_string(stored.type):
        return _decimals(stored, arrow)
    return stored.cast(arrow)


def _decimals(stored: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Digits as decimals; those from before ALTER TYPE may have more of them. Raises NumericValueOutOfRange."""
    try:
        return stored.cast(wanted)
    except pa.ArrowInvalid:
        unit = Decimal(1).scaleb(-wanted.scale)
        digits = Context(prec=2 * NUMERIC_PRECISION_MAX)

        def rounded(values: pa.Array) -> pa.Array:
            # Half away from zero, as round_var (numeric.c).
            found = [v if v is None else Decimal(v).quantize(unit, ROUND_HALF_UP, digits) for v in values.to_pylist()]
            return pa.array(found, pa.decimal256(2 * NUMERIC_PRECISION_MAX, wanted.scale))

        whole = _by_distinct(stored, rounded)
        limit = pa.scalar(Decimal(10) ** (wanted.precision - wanted.scale), whole.type)
        if pc.any(pc.greater_equal(pc.abs(whole), limit)).as_py():
            raise NumericValueOutOfRange(
                "numeric field overflow",
                detail=f"A field with precision {wanted.precision}, scale {wanted.scale} must round to an absolute "
                f"value less than 10^{wanted.precision - wanted.scale}.",
            ) from None
        return whole.cast(wanted)


def _tag_text(stored: pa.Array) -> pa.Array:
    if pa.types.is_floating(stored.type):
        stored = pc.add(stored, 0.0)  # −0.0 equals 0.0, so it must be the same tag
    return stored.cast(pa.string())


def _timestamp_form(values: pa.Array, digits: int) -> pa.Array:
    us = values.cast(pa.int64())
    if not 0 <= digits < 6:
        return us
    unit = 10 ** (6 - digits)
    numbers = us.fill_null(0).to_numpy(zero_copy_only=False)
    # Half away from zero, as AdjustTimestampForTypmod (timestamp.c).
    rounded = np.sign(numbers) * ((np.abs(numbers) + unit // 2) // unit * unit)
    return pa.array(rounded, mask=us.is_null().to_numpy(zero_copy_only=False))


def _limited(values: pa.Array, sql_type: SqlType, limit: int) -> pa.Array:
    if sql_type == BPCHAR:
        values = pc.utf8_rtrim(values, characters=" ")
    if pc.any(pc.greater(pc.utf8_length(values), limit)).as_py():
        kept = pc.utf8_slice_codeunits(values, 0, limit)
        rest = pc.utf8_slice_codeunits(values, limit)
        if pc.any(pc.greater(pc.utf8_length(pc.utf8_rtrim(rest, characters=" ")), 0)).as_py():
            raise StringDataRightTruncation(f"value too long for type {sql_type.name}({limit})")
        values = kept
    return pc.utf8_rpad(values, limit) if sql_type == BPCHAR else values


def _hex(values: pa.Array) -> pa.Array:
    values = pa.concat_arrays([values])  # offset 0
    _, offsets, octets = values.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(values) + 1) if len(values) else np.zeros(1, np.int32)
    raw = octets.to_pybytes()[bounds[0] : bounds[-1]] if octets is not None else b""
    if 2 * len(raw) >= 2**31:
        raise DataError("too many bytes of bytea at once", hint="Write fewer rows with a statement.")
    digits = pa.py_buffer(raw.hex().encode())
    twice = pa.py_buffer((bounds - bounds[0]).astype(np.int32) * np.int32(2))
    valid = pa.array(values.is_valid())
    texts = pa.StringArray.from_buffers(len(values), twice, digits)
    return pc.if_else(valid, pc.binary_join_element_wise("\\x", texts, ""), pa.scalar(None, pa.string()))


def _unhex(stored: pa.Array) -> pa.Array:
    if not pc.all(pc.starts_with(stored, "\\x")).as_py() and stored.null_count < len(stored):
        raise ValueError("bytea does not start with \\x")
    texts = pc.utf8_slice_codeunits(stored, 2).fill_null("")
    texts = pa.concat_arrays([texts])
    _, offsets, digits = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(texts) + 1) if len(texts) else np.zeros(1, np.int32)
    raw = bytes.fromhex(digits.to_pybytes()[bounds[0] : bounds[-1]].decode()) if digits is not None else b""
    half = pa.py_buffer((bounds - bounds[0]) // 2)
    octets = pa.BinaryArray.from_buffers(pa.binary(), len(texts), [None, half, pa.py_buffer(raw)])
    return pc.if_else(stored.is_valid(), octets, pa.scalar(None, pa.binary()))


def _by_distinct(values: pa.Array, convert: Any) -> pa.Array:
    """Convert each distinct value once."""
    encoded = values.dictionary_encode()
    return convert(encoded.dictionary).take(encoded.indices)


def _numeric_texts(values: pa.Array) -> pa.Array:
    return pa.array([None if v is None else f"{Decimal(str(v)):f}" for v in values.to_pylist()], pa.string())


_MONTH_DAY_NANO = np.dtype([("months", "<i4"), ("days", "<i4"), ("ns", "<i8")])


def _interval_texts(values: pa.Array) -> pa.Array:
    texts = [None if v is None else intervals.format(Interval(v[0], v[1], v[2] // 1000)) for v in values.to_pylist()]
    return pa.array(texts, pa.string())


def _intervals_of_texts(values: pa.Array) -> pa.Array:
    parsed = [None if text is None else intervals.parse(text) for text in values.to_pylist()]
    triples = [None if v is None else (v.months, v.days, v.microseconds * 1000) for v in parsed]
    return pa.array(triples, pa.month_day_nano_interval())


def _list_form(values: pa.Array, element: SqlType, typmod: int) -> pa.Array:
    flat = _form(values.flatten(), element, typmod).cast(pa.string())
    return array_text.join(values, flat)


def _unlist(stored: pa.Array, element: SqlType, typmod: int) -> pa.Array:
    lists = array_text.split(stored)
    flat = lists.flatten()
    if element.kind is not Kind.TEXT:
        flat = flat.cast(element.kind.arrow)
    elements = _unform(flat, element, typmod)
    offsets = pa.array(
        np.concatenate([[0], np.cumsum(pc.list_value_length(lists).fill_null(0).to_numpy())]), pa.int32()
    )
    return pa.ListArray.from_arrays(offsets, elements, mask=lists.is_null())
