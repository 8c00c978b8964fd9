"""Decoded values back into Arrow columns, and DataRow messages back into values: both sides of the encoder's tests."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from tsdb.datetimes import Date, Time, Timestamp, Timestamptz
from tsdb.intervals import Interval
from tsdb.types import BY_NAME, SqlType
from tsdb.wire.rows import RowEncoder


def split_rows(octets: bytes) -> list[list[bytes | None]]:
    """The values of concatenated DataRow messages; every length is checked."""
    rows: list[list[bytes | None]] = []
    at = 0
    while at < len(octets):
        assert octets[at : at + 1] == b"D"
        end = at + 1 + int.from_bytes(octets[at + 1 : at + 5], "big")
        count = int.from_bytes(octets[at + 5 : at + 7], "big")
        at += 7
        row: list[bytes | None] = []
        for _ in range(count):
            length = int.from_bytes(octets[at : at + 4], "big", signed=True)
            at += 4
            row.append(None if length < 0 else octets[at : at + length])
            at += max(length, 0)
        assert at == end
        rows.append(row)
    return rows


def plain(value: Any) -> Any:
    """What pyarrow builds an array of the type from."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, Timestamptz | Timestamp | Time):
        return value.us
    if isinstance(value, Date):
        return value.days
    if isinstance(value, Interval):
        return pa.MonthDayNano([value.months, value.days, value.us * 1000])
    return value


_FROM_INTEGERS = {"timestamptz": pa.int64(), "timestamp": pa.int64(), "time": pa.int64(), "date": pa.int32()}


def column(values: Sequence[Any], sql_type: SqlType) -> Any:
    """A ``pa.Array`` of the type's Arrow type."""
    items = [plain(value) for value in values]
    element = sql_type.element
    if element is not None:
        storage = _FROM_INTEGERS.get(element.typname, element.arrow)
        return pa.array(items, pa.list_(storage)).cast(sql_type.arrow)
    if sql_type.typname == "numeric":
        return _numerics(items)
    return pa.array(items, _FROM_INTEGERS.get(sql_type.typname, sql_type.arrow)).cast(sql_type.arrow)


def _numerics(items: Sequence[Decimal | None]) -> Any:
    scale = max((-int(item.as_tuple().exponent) for item in items if item is not None), default=0)
    return pa.array(items, pa.decimal256(76, max(scale, 0)))


def encode(array: Any, typname: str, format_code: int, timezone: str = "UTC") -> list[bytes | None]:
    """One column through the encoder."""
    batch = pa.RecordBatch.from_arrays([array], ["v"])
    octets = RowEncoder([(BY_NAME[typname], format_code)], timezone).encode(batch)
    return [row[0] for row in split_rows(octets)]
