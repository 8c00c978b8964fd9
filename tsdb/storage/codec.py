"""Codec: one encoded column of a block, and integer sequences (times, point sequences, tag set ids).

A value of ``columns`` is a header (magic, version, kind, encoding, rows, nulls), for some nulls a validity bitmap, the
payload in its encoding, and a CRC-32 of it all, verified before anything is decoded. Bitmaps are packed by zstd where
that pays: a field that some tag sets never have makes long runs. Only the values that are there
are encoded; a decoded column is spread over its rows afterwards, in place. Diagram: docs/format/column.md.

Encodings:

- ``NULLS``: no value at all. ``CONSTANT``: all values have the same bytes.
- ``PCODEC``: 64-bit numbers (pcodec's standalone format). ``DECIMAL``: float8s that are n / 10**e for integers n,
  as those integers in pcodec: what a sensor with two decimals sends. Many numbers are in pages (``PAGES``,
  ``DECIMAL_PAGES``), so that a query for a few rows decodes only theirs (``tsdb.storage.pages``).
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
from tsdb.kernels import kernel, readonly
from tsdb.storage import bitmaps, decimals, numbers, pages, texts
from tsdb.storage.numbers import Int64s
from tsdb.storage.pages import Spans
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
    PAGES = 7
    DECIMAL_PAGES = 8


_HEADER = struct.Struct(">BBBBIII")
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
        return _seal(kind, Encoding.NULLS, rows, nulls, b"", b"")
    validity = b""
    if nulls:
        validity = bitmaps.pack(values.is_valid())
        values = values.drop_null()
    if kind is Kind.BOOL:
        encoding, payload = _encode_booleans(values)
    elif kind is Kind.TEXT:
        encoding, payload = _encode_texts(values)
    else:
        encoding, payload = _encode_numbers(values.to_numpy())
    return _seal(kind, encoding, rows, nulls, validity, payload)


def decode_column(data: bytes, kind: Kind, rows: int) -> pa.Array:
    """The ``rows`` values of an encoded column, in ``kind``'s Arrow type. Raises DataCorrupted."""
    return StoredColumn(data, kind, rows).values()


def encode_integers(values: Int64s) -> bytes:
    """An int64 sequence without nulls: times, point sequences, tag set ids."""
    if not len(values):
        return _seal(INTEGERS, Encoding.NULLS, 0, 0, b"", b"")
    encoding, payload = _encode_numbers(np.ascontiguousarray(values, np.int64))
    return _seal(INTEGERS, encoding, len(values), 0, b"", payload)


def decode_integers(data: bytes, rows: int) -> Int64s:
    """The ``rows`` values of an integer sequence. Raises DataCorrupted."""
    return StoredColumn(data, INTEGERS, rows).integers()


def encode_integer(value: int) -> bytes:
    """What ``encode_integers`` makes of one value, without any array."""
    return _seal_one(INTEGERS, _ONE[INTEGERS].pack(value))


def encode_value(value: Any, kind: Kind) -> bytes:
    """What ``encode_column`` makes of one value that is not null, without any array."""
    return _seal_one(kind, value.encode() if kind is Kind.TEXT else _ONE[kind].pack(value))


_ONE = {
    INTEGERS: struct.Struct("<q"),
    Kind.INT8: struct.Struct("<q"),
    Kind.UINT8: struct.Struct("<Q"),
    Kind.FLOAT8: struct.Struct("<d"),
    Kind.BOOL: struct.Struct("<?"),
}
_HEAD_OF_ONE = {
    kind: _HEADER.pack(MAGIC, VERSION, kind, Encoding.CONSTANT, 1, 0, 0) for kind in (INTEGERS, *map(int, Kind))
}


def _seal_one(kind: int, payload: bytes) -> bytes:
    data = _HEAD_OF_ONE[kind] + payload
    return data + _CHECKSUM.pack(zlib.crc32(data))


def _seal(kind: int, encoding: Encoding, rows: int, nulls: int, validity: bytes, payload: bytes) -> bytes:
    if rows > MAX_ROWS:
        raise ValueError(f"{rows} rows in one column value; at most {MAX_ROWS} are allowed")
    head = _HEADER.pack(MAGIC, VERSION, kind, encoding, rows, nulls, len(validity))
    data = b"".join((head, validity, payload))
    return data + _CHECKSUM.pack(zlib.crc32(data))


def _unseal(data: bytes, kind: int, rows: int) -> tuple[Encoding, int, memoryview, memoryview]:
    """(encoding, nulls, packed validity bitmap, payload)"""
    if len(data) < _HEADER.size + _CHECKSUM.size:
        raise DataCorrupted(f"column value of {len(data)} bytes is cut off")
    view = memoryview(data)
    if zlib.crc32(view[: -_CHECKSUM.size]) != _CHECKSUM.unpack_from(data, len(data) - _CHECKSUM.size)[0]:
        raise DataCorrupted(f"column value of {len(data)} bytes: checksum mismatch")
    magic, version, found_kind, encoding, found_rows, nulls, validity_bytes = _HEADER.unpack_from(data)
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
    payload = _HEADER.size + validity_bytes
    if payload > len(data) - _CHECKSUM.size or (validity_bytes and not nulls):
        raise DataCorrupted(f"column value has a validity bitmap of {validity_bytes} bytes for {nulls} nulls")
    return found, nulls, view[_HEADER.size : payload], view[payload : -_CHECKSUM.size]


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
            if len(integers) > pages.PAGE_NUMBERS:
                return Encoding.DECIMAL_PAGES, bytes((exponent,)) + pages.compress(integers)
            return Encoding.DECIMAL, bytes((exponent,)) + numbers.compress(integers)
    if len(values) > pages.PAGE_NUMBERS:
        return Encoding.PAGES, pages.compress(values)
    return Encoding.PCODEC, numbers.compress(values)


# Views of the bytes, and pcodec's tables of a chunk.
_OPENED_BYTES = 2048


class StoredColumn:
    """An encoded column whose checksum holds. Decodes all rows or some; several threads may do so at once.

    ``spans`` None means all rows; else only those of the ranges come back, one behind the other.
    """

    __slots__ = ("_encoding", "_kind", "_nulls", "_packed", "_pages", "_payload", "_rows", "found")

    def __init__(self, data: bytes, kind: int, rows: int) -> None:
        """Raises DataCorrupted."""
        self._kind = kind
        self._rows = rows
        self._encoding, self._nulls, self._packed, self._payload = _unseal(data, kind, rows)
        self._pages: pages.Pages | None = None
        # How often it was found in a cache, about.
        self.found = 0

    @property
    def nbytes(self) -> int:
        """About what it takes in memory."""
        return len(self._packed) + len(self._payload) + _OPENED_BYTES

    def values(self, spans: Spans | None = None) -> pa.Array:
        """A field's values, in its kind's Arrow type. Raises DataCorrupted."""
        kind, rows, nulls = Kind(self._kind), self._rows, self._nulls
        if self._encoding is Encoding.NULLS:
            return pa.nulls(rows if spans is None else spans.rows, kind.arrow)
        try:
            if kind in _DTYPES:
                return self._numbers_with_nulls(kind, spans) if nulls else self._field(kind, spans)
            validity = bitmaps.unpack(self._packed, rows, rows - nulls) if nulls else None
            decode = _decode_booleans if kind is Kind.BOOL else _decode_texts
            values = decode(self._encoding, self._payload, rows, nulls, validity)
            return values if spans is None else values.take(pa.array(spans.index()))
        except (ValueError, RuntimeError, OSError, struct.error, pa.ArrowException) as error:
            raise DataCorrupted(f"column of kind {kind.name}: {error}") from error

    def integers(self, spans: Spans | None = None) -> Int64s:
        """The numbers of a sequence. Raises DataCorrupted."""
        if self._nulls or (self._encoding is Encoding.NULLS and self._rows):
            raise DataCorrupted(f"integers: {self._nulls} values are null")
        if self._encoding is Encoding.NULLS:
            return np.empty(0, np.int64)
        return self._numbers(self._rows, np.int64, spans)

    def bits(self) -> tuple[Int64s, int] | None:
        """All numbers as 64 bits each and −1, or of float8s that are decimals the integers and the exponent; None where
        some are absent, or there are no numbers. Raises DataCorrupted."""
        encoding, payload = self._encoding, self._payload
        if self._nulls or not self._rows or self._kind not in _DTYPES:
            return None
        if encoding is Encoding.DECIMAL and payload:
            return pages.decompress_whole(payload[1:], self._rows, np.int64, None), payload[0]
        if encoding is Encoding.DECIMAL_PAGES and payload:
            return self._opened(payload[1:], self._rows, np.int64).read(None), payload[0]
        return self._numbers(self._rows, _DTYPES[self._kind], None).view(np.int64), -1

    def _field(self, kind: Kind, spans: Spans | None) -> pa.Array:
        values = self._numbers(self._rows, _DTYPES[kind], spans)
        return pa.Array.from_buffers(kind.arrow, len(values), [None, pa.py_buffer(values)], 0)

    def _numbers_with_nulls(self, kind: Kind, spans: Spans | None) -> pa.Array:
        rows, present = self._rows, self._rows - self._nulls
        validity = bitmaps.unpack(self._packed, rows, present)
        among_present = None
        if spans is not None:
            valid = np.unpackbits(np.frombuffer(validity, np.uint8), count=rows, bitorder="little")
            among_present = spans.among(valid)
            valid = spans.take(valid)
            rows, present, validity = (
                len(valid),
                among_present.rows,
                pa.py_buffer(np.packbits(valid, bitorder="little")),
            )
        out = np.empty(rows, _DTYPES[kind])
        out[:present] = self._numbers(self._rows - self._nulls, _DTYPES[kind], among_present)
        _spread(out.view(np.int64), present, readonly(np.frombuffer(validity, np.uint8)))
        return pa.Array.from_buffers(kind.arrow, rows, [validity, pa.py_buffer(out)], rows - present)

    def _numbers(self, count: int, dtype: npt.DTypeLike, spans: Spans | None) -> npt.NDArray[Any]:
        """Of ``count`` encoded numbers all or those in ``spans``."""
        encoding, payload = self._encoding, self._payload
        if encoding is Encoding.CONSTANT and len(payload) == 8:
            return np.full(count if spans is None else spans.rows, np.frombuffer(payload, dtype)[0])
        if spans is not None and not spans.rows:
            return np.empty(0, dtype)
        if encoding is Encoding.PCODEC:
            return pages.decompress_whole(payload, count, dtype, spans)
        if encoding is Encoding.PAGES:
            return self._opened(payload, count, dtype).read(spans)
        if dtype == np.float64 and len(payload):
            if encoding is Encoding.DECIMAL:
                return _unscaled(pages.decompress_whole(payload[1:], count, np.int64, spans), payload[0])
            if encoding is Encoding.DECIMAL_PAGES:
                return _unscaled(self._opened(payload[1:], count, np.int64).read(spans), payload[0])
        raise DataCorrupted(f"column value of encoding {encoding.name} and {len(payload)} bytes is no number column")

    def _opened(self, payload: memoryview, count: int, dtype: npt.DTypeLike) -> pages.Pages:
        if self._pages is None:
            self._pages = pages.Pages(payload, count, dtype)
        return self._pages


def _unscaled(integers: Int64s, exponent: int) -> npt.NDArray[np.float64]:
    out = integers.view(np.float64)
    decimals.unscale(integers, exponent, out)
    return out


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
    return Encoding.BITMAP, bitmaps.pack(values)


def _decode_booleans(
    encoding: Encoding, payload: memoryview, rows: int, nulls: int, validity: pa.Buffer | None
) -> pa.Array:
    present = rows - nulls
    if encoding is Encoding.CONSTANT and len(payload) == 1:
        bits = pa.py_buffer((b"\xff" if payload[0] else b"\0") * ((rows + 7) // 8))
    elif encoding is Encoding.BITMAP:
        bits = bitmaps.unpack(payload, present)
        if validity is not None:
            dense = np.unpackbits(np.frombuffer(bits, np.uint8), count=present, bitorder="little")
            spread = np.zeros(rows, np.int64)
            spread[:present] = dense
            _spread(spread, present, readonly(np.frombuffer(validity, np.uint8)))
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
        _spread(dense, present, readonly(np.frombuffer(validity, np.uint8)))
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
