"""The values of Arrow arrays as the encoders' kernels take them: numbers as they lie in the buffers, parts of what has
several."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import InternalError
from tsdb.kernels import readonly

Int64s = npt.NDArray[np.int64]


def fixed_width(array: Any, dtype: Any) -> Any:
    """An array of numbers, NULLs with whatever lies there."""
    return readonly(np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * np.dtype(dtype).itemsize))


def decimal_words(array: Any) -> tuple[npt.NDArray[np.uint32], int, int]:
    """The 32-bit words of each value, how many a value has, and the scale."""
    arrow = array.type
    if pa.types.is_integer(arrow):
        words = np.zeros((len(array), 4), np.uint32)
        signed = not pa.types.is_uint64(arrow)
        if signed and not pa.types.is_int64(arrow):
            array = array.cast(pa.int64())
        words[:, :2] = fixed_width(array, np.uint64).view(np.uint32).reshape(-1, 2)
        if signed:
            words[:, 2:] = np.where(words[:, 1:2] >> 31, np.uint32(0xFFFFFFFF), np.uint32(0))
        return readonly(words.reshape(-1)), 4, 0
    if not pa.types.is_decimal(arrow):
        raise InternalError(f"a numeric column came as Arrow's {arrow}")
    if arrow.bit_width < 128:
        array = array.cast(pa.decimal128(arrow.precision, arrow.scale))
    count = array.type.bit_width // 32
    start = array.offset * count * 4
    words = np.frombuffer(array.buffers()[1], np.uint32, len(array) * count, start)
    return readonly(words), count, int(arrow.scale)


_MONTH_DAY_NANO = np.dtype([("months", np.int32), ("days", np.int32), ("ns", np.int64)])


def intervals(array: Any) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Int64s]:
    """Months, days and microseconds; a rest below a microsecond is cut off."""
    if not pa.types.is_interval(array.type):
        raise InternalError(f"an interval column came as Arrow's {array.type}")
    parts = fixed_width(array, _MONTH_DAY_NANO)
    ns = parts["ns"]
    us = np.floor_divide(ns, 1000)
    us += (ns < 0) & (us * 1000 != ns)
    return np.ascontiguousarray(parts["months"]), np.ascontiguousarray(parts["days"]), us


def list_parts(array: Any) -> tuple[Int64s, Any]:
    """Offsets from 0, and the elements between them."""
    if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
        raise InternalError(f"an array column came as Arrow's {array.type}")
    offsets = array.offsets.to_numpy().astype(np.int64)
    return offsets - offsets[0], array.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
