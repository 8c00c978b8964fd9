"""Tag sets by value, taken apart into columns: a code for each tag set and the distinct values, tag by tag.

Millions of tag sets are decoded at start and at high-cardinality writes: one kernel walks their bytes (the format of
``tsdb.model.points``), Arrow finds the distinct values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import DataCorrupted
from tsdb.kernels import kernel
from tsdb.model.points import decode_tagset, encode_tagset

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

# Below this many, Python takes a tag set apart before the arrays for the kernel are made.
FEW = 8


def decode(tagsets: Sequence[bytes]) -> dict[int, tuple[Int32s, list[str]]]:
    """Column number → (codes int32[n], distinct values); code −1 = the tag is absent. Raises DataCorrupted."""
    if len(tagsets) <= FEW:
        return _decode_few(tagsets)
    data = np.frombuffer(b"".join(tagsets), np.uint8)
    lengths = np.fromiter(map(len, tagsets), np.int64, len(tagsets))
    offsets = np.zeros(len(tagsets) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    # A tag takes two bytes at least.
    rows, numbers, starts, sizes = (np.empty(len(data) // 2, np.int64) for _ in range(4))
    count = _walk(data, offsets, rows, numbers, starts, sizes)
    if count < 0:
        raise DataCorrupted(f"tag set {tagsets[count]!r} is not well-formed")
    rows, numbers, starts, sizes = rows[:count], numbers[:count], starts[:count], sizes[:count]
    columns: dict[int, tuple[Int32s, list[str]]] = {}
    for number in np.unique(numbers).tolist():
        here = np.flatnonzero(numbers == number)
        found, distinct = _distinct(data, starts[here], sizes[here])
        codes = np.full(len(tagsets), -1, np.int32)
        codes[rows[here]] = found
        columns[number] = (codes, distinct)
    return columns


def _decode_few(tagsets: Sequence[bytes]) -> dict[int, tuple[Int32s, list[str]]]:
    """The same without arrays of bytes: most series of a store with many of them have a few tag sets."""
    columns: dict[int, tuple[list[int], dict[str, int]]] = {}
    for row, tagset in enumerate(tagsets):
        try:
            tags = decode_tagset(tagset)
        except UnicodeDecodeError as error:
            raise DataCorrupted(f"a tag value is not UTF-8: {error}") from None
        if encode_tagset(tags.items()) != tagset or any(number >= 1 << 35 for number in tags):
            raise DataCorrupted(f"tag set {tagset!r} is not well-formed")
        for number, value in tags.items():
            codes, distinct = columns.setdefault(number, ([-1] * len(tagsets), {}))
            codes[row] = distinct.setdefault(value, len(distinct))
    return {number: (np.array(codes, np.int32), list(distinct)) for number, (codes, distinct) in columns.items()}


def _distinct(data: Bytes, starts: Int64s, sizes: Int64s) -> tuple[Int32s, list[str]]:
    """(codes, distinct texts) of the slices of ``data``."""
    offsets = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    gathered = np.empty(int(offsets[-1]), np.uint8)
    _gather(data, starts, sizes, gathered)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(gathered)]
    array = pa.Array.from_buffers(pa.large_binary(), len(starts), buffers, 0)
    encoded = array.dictionary_encode()
    try:
        distinct = [value.decode() for value in encoded.dictionary.to_pylist()]
    except UnicodeDecodeError as error:
        raise DataCorrupted(f"a tag value is not UTF-8: {error}") from None
    return encoded.indices.to_numpy(), distinct


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


@kernel
def _gather(data: Bytes, starts: Int64s, sizes: Int64s, out: Bytes) -> None:
    position = 0
    for i in range(len(starts)):
        for j in range(sizes[i]):
            out[position + j] = data[starts[i] + j]
        position += sizes[i]
