"""Bitmaps: one bit a row, least significant first as in Arrow, raw or in a zstd frame, whichever is smaller.

A bitmap of n rows has ceil(n / 8) bytes; a packed one of just that size is raw, a shorter one is a zstd frame.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tsdb.errors import DataCorrupted

# Making a zstd frame takes 60 µs however small it is, more than all else about a small column.
PACK_FROM_BYTES = 64

_ZSTD = pa.Codec("zstd", 1)


def pack(values: pa.BooleanArray) -> bytes:
    """The bitmap of booleans without nulls."""
    raw = np.packbits(values.to_numpy(zero_copy_only=False), bitorder="little").tobytes()
    if len(raw) < PACK_FROM_BYTES:
        return raw
    packed: bytes = _ZSTD.compress(raw, asbytes=True)
    return packed if len(packed) < len(raw) else raw


def unpack(data: memoryview, rows: int, ones: int | None = None) -> pa.Buffer:
    """The bitmap of ``rows`` bits as an Arrow buffer; with ``ones`` set bits if given. Raises DataCorrupted."""
    size = (rows + 7) // 8
    if len(data) > size:
        raise DataCorrupted(f"a bitmap of {len(data)} bytes for {rows} rows")
    if len(data) == size:
        bitmap = pa.py_buffer(data)
    else:
        try:
            bitmap = _ZSTD.decompress(pa.py_buffer(data), decompressed_size=size)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataCorrupted(f"a bitmap does not decode: {error}") from error
    bits = np.frombuffer(bitmap, np.uint8)
    # Bits beyond the rows are zero, so that they need not be masked out.
    if rows % 8 and bits[-1] >> rows % 8:
        raise DataCorrupted("a bitmap has bits beyond its rows")
    if ones is not None and int(np.bitwise_count(bits).sum(dtype=np.int64)) != ones:
        raise DataCorrupted(f"a bitmap does not have the {ones} set bits that it should")
    return bitmap
