"""Texts: lists of strings, plain or by dictionary, compressed with zstd.

A list is the number of its bytes, the size of its lengths, the lengths as int32 in pcodec, and all texts in one zstd
frame, or raw if that is no shorter. A dictionary is its number of texts, the size of its codes, the codes as int32 in
pcodec, and the list of its texts. Diagrams: docs/format/column.md.
"""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa

from tsdb.errors import DataCorrupted
from tsdb.storage import numbers
from tsdb.storage.bitmaps import PACK_FROM_BYTES

# Arrow's string type counts bytes in int32.
MAX_TEXT_BYTES = 2**31 - 1
# zstd's densest blocks hold 128 KiB in 4 bytes; a claim beyond that is no frame's.
_MAX_RATIO = 1 << 16

_HEADER = struct.Struct(">II")
_ZSTD = pa.Codec("zstd", 1)


def encode_list(values: pa.StringArray) -> bytes:
    """A list of one or more strings without nulls."""
    rows = len(values)
    offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + rows + 1]
    lengths = numbers.compress(np.diff(offsets))
    text = values.buffers()[2]
    raw = text.slice(int(offsets[0]), int(offsets[-1] - offsets[0])) if text is not None else pa.py_buffer(b"")
    packed: bytes = raw.to_pybytes() if raw.size < PACK_FROM_BYTES else _ZSTD.compress(raw, asbytes=True)
    # As many bytes as the texts have means raw.
    if len(packed) >= raw.size:
        packed = raw.to_pybytes()
    return _HEADER.pack(raw.size, len(lengths)) + lengths + packed


def decode_list(data: memoryview, rows: int) -> pa.StringArray:
    """``rows`` strings. Raises DataCorrupted."""
    size, lengths_bytes = _header(data)
    lengths = np.empty(rows, np.int32)
    numbers.decompress_into(data[_HEADER.size : _HEADER.size + lengths_bytes], lengths)
    packed = data[_HEADER.size + lengths_bytes :]
    if rows and (int(lengths.min()) < 0 or int(lengths.sum(dtype=np.int64)) != size):
        raise DataCorrupted(f"text lengths do not add up to {size} bytes")
    if size > MAX_TEXT_BYTES or size > (len(packed) + 4) * _MAX_RATIO:
        raise DataCorrupted(f"{len(packed)} bytes of zstd cannot hold {size} bytes of text")
    raw = pa.py_buffer(packed)
    if len(packed) != size:
        raw = _ZSTD.decompress(raw, decompressed_size=size)
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.Array.from_buffers(pa.string(), rows, [None, pa.py_buffer(offsets), raw], 0)


def encode_dictionary(values: pa.DictionaryArray) -> bytes:
    """Codes and distinct strings, one or more of each, without nulls."""
    codes = numbers.compress(values.indices.to_numpy())
    return _HEADER.pack(len(values.dictionary), len(codes)) + codes + encode_list(values.dictionary)


def decode_dictionary(data: memoryview, rows: int) -> pa.StringArray:
    """``rows`` strings. Raises DataCorrupted."""
    distinct, codes_bytes = _header(data)
    if not 0 < distinct <= rows:
        raise DataCorrupted(f"a dictionary of {distinct} texts for {rows} rows")
    codes = np.empty(rows, np.int32)
    numbers.decompress_into(data[_HEADER.size : _HEADER.size + codes_bytes], codes)
    if int(codes.min()) < 0 or int(codes.max()) >= distinct:
        raise DataCorrupted("a text's code is outside its dictionary")
    return decode_list(data[_HEADER.size + codes_bytes :], distinct).take(pa.array(codes))


def _header(data: memoryview) -> tuple[int, int]:
    if len(data) < _HEADER.size:
        raise DataCorrupted("a list of texts is cut off")
    first, second = _HEADER.unpack_from(data)
    if _HEADER.size + second > len(data):
        raise DataCorrupted("a list of texts is cut off")
    return first, second
