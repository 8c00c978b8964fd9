"""Codec: one encoded column of a block, and integer sequences (times, point sequences, tag set ids).

A value of ``columns`` is a header (magic, version, kind, encoding, rows, nulls), for some nulls a validity bitmap, the
payload in its encoding, and a CRC-32 of it all, verified before anything is decoded. Only the values that are there
are encoded; a decoded column is spread over its rows afterwards, in place. Diagram: docs/format/column.md.

Encodings:

- ``NULLS``: no value at all. ``CONSTANT``: all values have the same bytes.
- ``PCODEC``: 64-bit numbers (pcodec's standalone format). ``DECIMAL``: float8s that are n / 10**e for integers n,
  as those integers in pcodec: what a sensor with two decimals sends.
- ``BITMAP``: booleans, as an Arrow bitmap. ``DICTIONARY`` and ``PLAIN``: texts.

A decoded array's size is ``rows``, which the caller knows from the block's header: a header that says otherwise is
corrupted, so a wrong one can never make this module allocate.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import DataCorrupted
from tsdb.kernels import kernel
from tsdb.storage import decimals, numbers, texts
from tsdb.storage.numbers import Int64s
from tsdb.types import Kind

MAGIC = 0xC7
VERSION = 1
# The kind of an integer sequence that is no field: time, point sequence, tag set ids, row counts.
INTEGERS = 0
# A block is far smaller: this only bounds what a caller's wrong number can allocate.
MAX_ROWS = 1 << 24


class Encoding(IntEnum):
    """How a payload is encoded. The numbers are on disk: never change one."""

    NULLS = 0
    CONSTANT = 1
    PCODEC = 2
    DECIMAL = 3
    BITMAP = 4
    DICTIONARY = 5
    PLAIN = 6


_HEADER = struct.Struct(">BBBBII")
_CHECKSUM = struct.Struct(">I")
_DTYPES: dict[int, npt.DTypeLike] = {
    INTEGERS: np.int64,
    Kind.INT8: np.int64,
    Kind.UINT8: np.uint64,
    Kind.FLOAT8: np.float64,
}


def encode_column(values: pa.Array, kind: Kind) -> bytes:
    """A field's values in ``kind``'s Arrow type; null = absent."""
    if values.type != kind.arrow:
        raise TypeError(f"a column of kind {kind.name} holds {kind.arrow}, not {values.type}")
    rows, nulls = len(values), values.null_count
    if nulls == rows:
        return _seal(kind, Encoding.NULLS, rows, nulls, b"")
    validity = b""
    if nulls:
        validity = _bitmap(values.is_valid())
        values = values.drop_null()
    if kind is Kind.BOOL:
        encoding, payload = _encode_booleans(values)
    elif kind is Kind.TEXT:
        encoding, payload = _encode_texts(values)
    else:
        encoding, payload = _encode_numbers(values.to_numpy())
    return _seal(kind, encoding, rows, nulls, validity + payload)


def decode_column(data: bytes, kind: Kind, rows: int) -> pa.Array:
    """The ``rows`` values of an encoded column, in ``kind``'s Arrow type. Raises DataCorrupted."""
    encoding, nulls, body = _unseal(data, kind, rows)
    if encoding is Encoding.NULLS:
        return pa.nulls(rows, kind.arrow)
    validity, payload = _split_validity(body, rows, nulls)
    try:
        if kind is Kind.BOOL:
            return _decode_booleans(encoding, payload, rows, nulls, validity)
        if kind is Kind.TEXT:
            return _decode_texts(encoding, payload, rows, nulls, validity)
        return _decode_field(encoding, payload, kind, rows, nulls, validity)
    except (ValueError, RuntimeError, OSError, struct.error, pa.ArrowException) as error:
        raise DataCorrupted(f"column of kind {kind.name}: {error}") from error


def encode_integers(values: Int64s) -> bytes:
    """An int64 sequence without nulls: times, point sequences, tag set ids."""
    if not len(values):
        return _seal(INTEGERS, Encoding.NULLS, 0, 0, b"")
    encoding, payload = _encode_numbers(np.ascontiguousarray(values, np.int64))
    return _seal(INTEGERS, encoding, len(values), 0, payload)


def decode_integers(data: bytes, rows: int) -> Int64s:
    """The ``rows`` values of an integer sequence. Raises DataCorrupted."""
    encoding, nulls, payload = _unseal(data, INTEGERS, rows)
    out = np.empty(rows, np.int64)
    if encoding is Encoding.NULLS:
        if rows:
            raise DataCorrupted(f"integers: {rows} values are null")
        return out
    if nulls:
        raise DataCorrupted(f"integers: {nulls} values are null")
    _decode_numbers(encoding, payload, out)
    return out


def _seal(kind: int, encoding: Encoding, rows: int, nulls: int, body: bytes) -> bytes:
    if rows > MAX_ROWS:
        raise ValueError(f"{rows} rows in one column value; at most {MAX_ROWS} are allowed")
    data = _HEADER.pack(MAGIC, VERSION, kind, encoding, rows, nulls) + body
    return data + _CHECKSUM.pack(zlib.crc32(data))


def _unseal(data: bytes, kind: int, rows: int) -> tuple[Encoding, int, memoryview]:
    """(encoding, nulls, what follows the header)"""
    if len(data) < _HEADER.size + _CHECKSUM.size:
        raise DataCorrupted(f"column value of {len(data)} bytes is cut off")
    view = memoryview(data)
    if zlib.crc32(view[: -_CHECKSUM.size]) != _CHECKSUM.unpack_from(data, len(data) - _CHECKSUM.size)[0]:
        raise DataCorrupted(f"column value of {len(data)} bytes: checksum mismatch")
    magic, version, found_kind, encoding, found_rows, nulls = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise DataCorrupted(f"column value has magic {magic:#x} and format version {version}")
    if found_kind != kind or found_rows != rows or rows > MAX_ROWS or nulls > rows:
        raise DataCorrupted(
            f"column value holds {found_rows} rows of kind {found_kind}, its block says {rows} of kind {kind}"
        )
    try:
        found = Encoding(encoding)
    except ValueError:
        raise DataCorrupted(f"column value has the unknown encoding {encoding}") from None
    if (found is Encoding.NULLS) != (nulls == rows):
        raise DataCorrupted(f"column value of encoding {found.name} has {nulls} nulls in {rows} rows")
    return found, nulls, view[_HEADER.size : -_CHECKSUM.size]


def _bitmap(values: pa.BooleanArray) -> bytes:
    """One bit a value, least significant first, as in Arrow."""
    return np.packbits(values.to_numpy(zero_copy_only=False), bitorder="little").tobytes()


def _split_validity(body: memoryview, rows: int, nulls: int) -> tuple[pa.Buffer | None, memoryview]:
    if not nulls:
        return None, body
    size = (rows + 7) // 8
    if len(body) < size:
        raise DataCorrupted("column value ends inside its validity bitmap")
    bits = np.frombuffer(body[:size], np.uint8)
    if int(np.unpackbits(bits, count=rows, bitorder="little").sum()) != rows - nulls:
        raise DataCorrupted("column value's validity bitmap does not hold the nulls of its header")
    return pa.py_buffer(body[:size]), body[size:]


def _encode_numbers(values: npt.NDArray[Any]) -> tuple[Encoding, bytes]:
    constant = numbers.constant(values)
    if constant is not None:
        return Encoding.CONSTANT, constant
    if values.dtype == np.float64:
        scaled = decimals.scale(values)
        if scaled is not None:
            exponent, integers = scaled
            first = numbers.constant(integers)
            assert first is None, "equal integers come from equal floats"
            return Encoding.DECIMAL, bytes((exponent,)) + numbers.compress(integers)
    return Encoding.PCODEC, numbers.compress(values)


def _decode_numbers(encoding: Encoding, payload: memoryview, out: npt.NDArray[Any]) -> None:
    """Decode len(out) values into ``out``."""
    if encoding is Encoding.CONSTANT and len(payload) == 8:
        out[:] = np.frombuffer(payload, out.dtype)[0]
    elif encoding is Encoding.PCODEC:
        numbers.decompress_into(payload, out)
    elif encoding is Encoding.DECIMAL and out.dtype == np.float64 and len(payload):
        integers = out.view(np.int64)
        numbers.decompress_into(payload[1:], integers)
        decimals.unscale(integers, payload[0], out)
    else:
        raise DataCorrupted(f"column value of encoding {encoding.name} and {len(payload)} bytes is no number column")


def _decode_field(
    encoding: Encoding, payload: memoryview, kind: Kind, rows: int, nulls: int, validity: pa.Buffer | None
) -> pa.Array:
    out = np.empty(rows, _DTYPES[kind])
    _decode_numbers(encoding, payload, out[: rows - nulls])
    if validity is not None:
        _spread(out.view(np.int64), rows - nulls, np.frombuffer(validity, np.uint8))
    return pa.Array.from_buffers(kind.arrow, rows, [validity, pa.py_buffer(out)], nulls)


@kernel
def _spread(values: Int64s, count: int, validity: npt.NDArray[np.uint8]) -> None:
    """Move the first ``count`` values to the rows whose validity bit is set; the others become 0. In place."""
    for row in range(len(values) - 1, -1, -1):
        if validity[row >> 3] >> (row & 7) & 1:
            count -= 1
            values[row] = values[count]
        else:
            values[row] = 0


def _encode_booleans(values: pa.BooleanArray) -> tuple[Encoding, bytes]:
    true = values.true_count
    if true in (0, len(values)):
        return Encoding.CONSTANT, bytes((1 if true else 0,))
    return Encoding.BITMAP, _bitmap(values)


def _decode_booleans(
    encoding: Encoding, payload: memoryview, rows: int, nulls: int, validity: pa.Buffer | None
) -> pa.Array:
    present = rows - nulls
    if encoding is Encoding.CONSTANT and len(payload) == 1:
        bits = pa.py_buffer((b"\xff" if payload[0] else b"\0") * ((rows + 7) // 8))
    elif encoding is Encoding.BITMAP and len(payload) == (present + 7) // 8:
        bits = pa.py_buffer(payload)
        if validity is not None:
            dense = np.unpackbits(np.frombuffer(payload, np.uint8), count=present, bitorder="little")
            spread = np.zeros(rows, np.int64)
            spread[:present] = dense
            _spread(spread, present, np.frombuffer(validity, np.uint8))
            bits = pa.py_buffer(np.packbits(spread.astype(np.bool_), bitorder="little"))
    else:
        raise DataCorrupted(f"column value of encoding {encoding.name} and {len(payload)} bytes is no boolean column")
    return pa.Array.from_buffers(pa.bool_(), rows, [validity, bits], nulls)


def _encode_texts(values: pa.StringArray) -> tuple[Encoding, bytes]:
    dictionary = values.dictionary_encode()
    distinct = len(dictionary.dictionary)
    if distinct == 1:
        return Encoding.CONSTANT, dictionary.dictionary[0].as_py().encode()
    # When most texts differ, codes cost more than they save.
    if distinct * 2 > len(values):
        return Encoding.PLAIN, texts.encode_list(values)
    return Encoding.DICTIONARY, texts.encode_dictionary(dictionary)


def _decode_texts(
    encoding: Encoding, payload: memoryview, rows: int, nulls: int, validity: pa.Buffer | None
) -> pa.Array:
    present = rows - nulls
    positions = None
    if validity is not None:
        dense = np.zeros(rows, np.int64)
        dense[:present] = np.arange(present)
        _spread(dense, present, np.frombuffer(validity, np.uint8))
        positions = pa.Array.from_buffers(pa.int64(), rows, [validity, pa.py_buffer(dense)], nulls)
    if encoding is Encoding.CONSTANT:
        values = pa.repeat(pa.scalar(bytes(payload).decode(), pa.string()), present)
    elif encoding is Encoding.PLAIN:
        values = texts.decode_list(payload, present)
    elif encoding is Encoding.DICTIONARY:
        values = texts.decode_dictionary(payload, present)
    else:
        raise DataCorrupted(f"column value of encoding {encoding.name} is no text column")
    return values if positions is None else values.take(positions)
