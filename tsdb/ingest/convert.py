"""Values of line protocol to the stored form of a column."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.schema import Column
from tsdb.types import BOOL, FLOAT4, FLOAT8, INT2, INT4, INT8, TEXT, UINT8, VARCHAR, Kind, SqlType

SourceArray: TypeAlias = Any  # a numpy array of float64, int64, uint64 or bool, or an Arrow string array
Bools = npt.NDArray[np.bool_]

_INFLUX_TYPES = {
    Kind.FLOAT8: "float",
    Kind.INT8: "integer",
    Kind.UINT8: "unsigned",
    Kind.BOOL: "boolean",
    Kind.TEXT: "string",
}
_NATIVE: tuple[SqlType, ...] = (FLOAT8, INT8, UINT8, BOOL, TEXT)
_INTEGER_BITS = {INT2.oid: 16, INT4.oid: 32, INT8.oid: 64}
# Every value of the kind is one of the type; the parser makes no float that is not finite.
_SAME = {FLOAT8: Kind.FLOAT8, INT8: Kind.INT8, UINT8: Kind.UINT8, BOOL: Kind.BOOL}
_WORDS = (Kind.FLOAT8, Kind.INT8, Kind.UINT8)
_DTYPES = {Kind.FLOAT8: np.float64, Kind.INT8: np.int64, Kind.UINT8: np.uint64, Kind.BOOL: np.bool_}


class Part(NamedTuple):
    """Some rows' values of a column."""

    rows: npt.NDArray[np.int32]
    values: SourceArray


def influx_type(of: Kind | Column) -> str:
    """InfluxDB's name of a type; a column of another SQL type has its SQL name."""
    if isinstance(of, Kind):
        return _INFLUX_TYPES[of]
    return _INFLUX_TYPES[of.kind] if of.type in _NATIVE else of.type.name


def convert(values: SourceArray, kind: Kind, column: Column) -> tuple[SourceArray, Bools | None] | None:
    """The values in the column's stored form and which of them fit (None: all do), or None: values of this kind never
    do."""
    target = column.type
    if target in _SAME and kind is _SAME[target]:
        return values, None
    if target in (FLOAT8, FLOAT4) and kind in (Kind.FLOAT8, Kind.INT8):
        floats = values.astype(np.float64)
        if target is FLOAT4:
            with np.errstate(over="ignore"):
                floats = floats.astype(np.float32).astype(np.float64)
        return floats, np.isfinite(floats)
    if target.oid in _INTEGER_BITS and kind in (Kind.INT8, Kind.UINT8):
        top = 1 << _INTEGER_BITS[target.oid] - 1
        fits = values <= (np.uint64(top - 1) if kind is Kind.UINT8 else np.int64(top - 1))
        if kind is Kind.INT8:
            fits &= values >= np.int64(-top)
        return values.astype(np.int64), fits
    is_text = kind is Kind.TEXT and target in (TEXT, VARCHAR) and column.typmod < 0
    return (values, None) if is_text else None


def assemble(parts: list[Part], count: int, kind: Kind) -> pa.Array:
    """An Arrow array of ``count`` values from parts whose rows differ; null where no part has a value."""
    if len(parts) == 1 and len(parts[0].rows) == count:
        values = parts[0].values
        if kind in _WORDS:
            # In a third of the time that ``pa.array`` takes to look what there is.
            return pa.Array.from_buffers(kind.arrow, count, [None, pa.py_buffer(values)], 0)
        return pa.array(values)
    if kind is Kind.TEXT:
        index = np.zeros(count, dtype=np.int64)
        absent = np.ones(count, dtype=np.bool_)
        for part in parts:
            index[part.rows] = np.arange(len(part.rows))
            absent[part.rows] = False
        texts = parts[0].values if parts else pa.array([], pa.string())
        return texts.take(pa.array(index, mask=absent))
    whole: npt.NDArray[Any] = np.zeros(count, dtype=_DTYPES[kind])
    absent = np.ones(count, dtype=np.bool_)
    for part in parts:
        whole[part.rows] = part.values
        absent[part.rows] = False
    return pa.array(whole, mask=absent)
