"""The fields of COPY's binary format to columns of values: as ``copy_values`` does for texts.

Types of fixed width are read all at once; texts and bytea lie there as they are; all others are decoded by ``decode``,
each distinct value once. ``decode`` comes from the session: what a binary parameter is, the wire protocol knows.

Source: PostgreSQL 15, src/backend/utils/adt (the types' _recv functions).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from tsdb.errors import InvalidBinaryRepresentation, ProtocolViolation, TsdbError
from tsdb.model.schema import Column
from tsdb.sql.context import Context
from tsdb.sql.copy import values as copy_values
from tsdb.sql.copy.cut import Fields
from tsdb.sql.copy.cut_kernels import Bytes, Int32s, Int64s
from tsdb.sql.copy.values import PLAIN_TEXTS, Mask, Values
from tsdb.sql.dml import constant_rows
from tsdb.types import BOOL, BYTEA, DATE, FLOAT4, FLOAT8, INT2, INT4, INT8, TIMESTAMP, TIMESTAMPTZ, SqlType

Decode = Callable[[SqlType, bytes], object]

_PG_EPOCH_US = 946_684_800_000_000
_PG_EPOCH_DAYS = 10_957
_INT64_MAX = 2**63 - 1
_INT32_MAX = 2**31 - 1
_WIDTHS: dict[SqlType, str] = {
    BOOL: "u1", INT2: ">i2", INT4: ">i4", INT8: ">i8", FLOAT4: ">f4", FLOAT8: ">f8", DATE: ">i4", TIMESTAMP: ">i8",
    TIMESTAMPTZ: ">i8",
}  # fmt: skip


class BinaryValues:
    """Reads the fields of the binary format."""

    def __init__(self, context: Context, decode: Decode) -> None:
        self._context = context
        self._decode = decode

    def read(self, column: Column, fields: Fields, at: int) -> Values:
        """Column ``at`` of the fields as values of ``column``."""
        rows = fields.rows
        return copy_values.storable(
            column, self._read(column, fields.octets, fields.starts[at, :rows], fields.ends[at, :rows])
        )

    def explain(self, column: Column, field: bytes) -> TsdbError | None:
        """What is wrong with a field; None for nothing."""
        try:
            width = np.dtype(_WIDTHS[column.type]).itemsize if column.type in _WIDTHS else len(field)
            if len(field) < width:
                return ProtocolViolation("insufficient data left in message")
            if len(field) > width:
                return InvalidBinaryRepresentation("incorrect binary data format")
            value = constant_rows.read_value(column, self._decode(column.type, field), self._context)
            copy_values.check_storable(column, constant_rows.array_of(column, [value]))
        except TsdbError as error:
            return error
        return None

    def _read(self, column: Column, octets: Bytes, starts: Int32s, ends: Int32s) -> Values:
        if column.type in _WIDTHS:
            return self._fixed(column, octets, starts, ends)
        if column.type in PLAIN_TEXTS:
            return Values(*copy_values.strings(octets, starts, ends))
        raw = copy_values.binaries(octets, starts, ends)
        return Values(raw) if column.type == BYTEA else self._by_distinct(column, raw)

    def _fixed(self, column: Column, octets: Bytes, starts: Int32s, ends: Int32s) -> Values:
        dtype = np.dtype(_WIDTHS[column.type])
        width = dtype.itemsize
        valid = ends - starts == width
        bad = np.flatnonzero((ends >= 0) & ~valid)
        places = np.where(valid, starts, 0)[:, None] + np.arange(width)
        numbers = octets[np.minimum(places, len(octets) - 1)].reshape(-1).view(dtype)
        return Values(_array(column, numbers, valid), bad)

    def _by_distinct(self, column: Column, raw: pa.Array) -> Values:
        encoded = raw.dictionary_encode()
        values: list[Any] = []
        wrong: list[bool] = []
        for octets in encoded.dictionary.to_pylist():
            failed = self.explain(column, octets) is not None
            wrong.append(failed)
            values.append(
                None if failed else constant_rows.read_value(column, self._decode(column.type, octets), self._context)
            )
        array = constant_rows.array_of(column, values).take(encoded.indices)
        if not any(wrong):
            return Values(array)
        codes = encoded.indices.fill_null(len(wrong)).to_numpy(zero_copy_only=False)
        return Values(array, np.flatnonzero(np.array([*wrong, False])[codes]))


def _array(column: Column, numbers: Any, valid: Mask) -> pa.Array:
    if column.type == BOOL:
        return pa.array(numbers.astype(np.bool_), mask=~valid)
    if column.type in (TIMESTAMP, TIMESTAMPTZ):
        numbers = _shifted(numbers.astype(np.int64), _INT64_MAX, _PG_EPOCH_US)
    elif column.type == DATE:
        numbers = _shifted(numbers.astype(np.int64), _INT32_MAX, _PG_EPOCH_DAYS)
    return copy_values.array_of_numbers(numbers, valid, column.type.arrow)


def _shifted(numbers: Int64s, largest: int, epoch: int) -> Int64s:
    """From PostgreSQL's epoch, 2000, to 1970; the outermost values are the infinities."""
    finite = (numbers < largest) & (numbers > -largest - 1)
    shifted: Int64s = np.where(finite, numbers + np.where(finite, epoch, 0), np.where(numbers > 0, largest, -largest))
    return shifted
