"""Tag sets by value, taken apart into columns: which of them have a tag, and the values, tag by tag.

Millions of tag sets are taken apart at start and at high-cardinality writes: one kernel walks their bytes (the format
of ``tsdb.model.points``).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tsdb.errors import DataCorrupted
from tsdb.kernels import kernel
from tsdb.model.byte_strings import Bytes, ByteStrings, Int32s, Int64s, gathered


def decode(tagsets: ByteStrings) -> dict[int, tuple[Int32s, ByteStrings]]:
    """Column number → (rising rows int32[k] that have the tag, their values). Raises DataCorrupted."""
    data, offsets = tagsets.data, tagsets.offsets
    # A tag takes two bytes at least.
    rows, numbers, starts, sizes = (np.empty(len(data) // 2, np.int64) for _ in range(4))
    count = _walk(data, offsets, rows, numbers, starts, sizes)
    if count < 0:
        raise DataCorrupted(f"tag set {tagsets[count]!r} is not well-formed")
    rows, numbers, starts, sizes = rows[:count], numbers[:count], starts[:count], sizes[:count]
    columns: dict[int, tuple[Int32s, ByteStrings]] = {}
    for number in np.unique(numbers).tolist():
        here = np.flatnonzero(numbers == number)
        values = gathered(data, starts[here], sizes[here])
        _check_utf8(values)
        columns[number] = (rows[here].astype(np.int32), values)
    return columns


def _check_utf8(values: ByteStrings) -> None:
    buffers = [None, pa.py_buffer(values.offsets), pa.py_buffer(values.data)]
    try:
        pa.Array.from_buffers(pa.large_binary(), len(values), buffers).cast(pa.large_string())
    except pa.ArrowInvalid as error:
        raise DataCorrupted(f"a tag value is not UTF-8: {error}") from None


@kernel
def _varint(data: Bytes, position: int, end: int) -> tuple[int, int]:
    """(value, position after it); position −1 if it does not end before ``end``."""
    value = 0
    shift = 0
    while position < end and shift < 35:
        byte = int(data[position])
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    return 0, -1


@kernel
def _walk(data: Bytes, offsets: Int64s, rows: Int64s, numbers: Int64s, starts: Int64s, sizes: Int64s) -> int:
    """Fill (row, column number, start, size) of every tag and return how many; row − n if a row is malformed."""
    count = 0
    for row in range(len(offsets) - 1):
        position = offsets[row]
        end = offsets[row + 1]
        last = -1
        while position < end:
            number, position = _varint(data, position, end)
            if position < 0:
                return row - len(offsets) + 1
            size, position = _varint(data, position, end)
            if position < 0 or number <= last or position + size > end:
                return row - len(offsets) + 1
            last = number
            rows[count] = row
            numbers[count] = number
            starts[count] = position
            sizes[count] = size
            count += 1
            position += size
    return count
