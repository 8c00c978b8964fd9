"""Bodies of WRITE ops: the points of one or more series, columns as packed numbers or as Arrow IPC with LZ4.

A body names, per series, its columns (number and kind) and its distinct tag sets by value. Columns of numbers that are
all there are packed (``packed_numbers``) where that makes them half as large, or where the rows are few. The rest is
one Arrow record batch message. The schema message of a stream is left out: it would be most of a small op, and the
column list says the same in five bytes a column. Diagram: docs/format/op.md.

The op's header has the body's checksum, so what is checked here is only that the parts fit together.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import DataCorrupted
from tsdb.model.byte_strings import ByteStrings
from tsdb.model.points import Points
from tsdb.storage.packed_numbers import pack, unpack
from tsdb.storage.rows import WORDS
from tsdb.types import Kind

VERSION = 3
# Version 1 had its tag sets as they are, without a length before them; until version 2 all columns were Arrow's.
VERSIONS_READ = (1, 2, 3)
# Below this many rows LZ4's frames cost as much as they save.
COMPRESS_FROM_ROWS = 256
# Below this many rows handing columns to other threads costs more than they do.
THREADS_FROM_ROWS = 32_768

# Shorter tag sets are not compressed; LZ4 makes a byte of at most 255.
COMPRESS_FROM_BYTES, MOST_PACKED = 4096, 255
# Encoded tag sets that are kept for who writes the same ones again.
KEPT_BYTES_MAX = 1 << 20

_HEAD = struct.Struct("<BxxxI")
_SERIES = struct.Struct("<QIIIQQ")
_FORM = struct.Struct("<Bxxx")
_COLUMN = struct.Struct("<IB")
_PLAIN_BYTES = struct.Struct("<Q")
_CODEC = "lz4_raw"
_ALIGNMENT = 64


ARROW, PACKED = 0, 1
# What can be packed: numbers of 64 bits.
_NUMBERS = (Kind.FLOAT8, Kind.INT8, Kind.UINT8)


@dataclass(frozen=True, slots=True)
class WriteBody:
    """The points of one series in an op: what ``Points`` holds, by the series' number."""

    series: int
    times: npt.NDArray[np.int64]
    tagsets: ByteStrings
    tagset: npt.NDArray[np.int32]
    fields: dict[int, pa.Array]

    def __len__(self) -> int:
        return len(self.times)


def encode_write(points: Sequence[Points]) -> bytes:
    """The body of a WRITE op; the rows of the op are those of the batches, one after the other."""
    parts: list[bytes | memoryview | pa.Buffer] = [_HEAD.pack(VERSION, len(points))]
    size = _HEAD.size
    for batch in points:
        for part in _encode_series(batch, size):
            parts.append(part)
            size += len(part)
    return b"".join(parts)


def decode_write(body: bytes | memoryview) -> list[WriteBody]:
    """The points of a WRITE op. Uncompressed columns are views of ``body``. Raises DataCorrupted."""
    view = memoryview(body)
    try:
        version, count = _HEAD.unpack_from(view)
        if version not in VERSIONS_READ:
            raise DataCorrupted(f"the body of a write has format version {version}, known is {VERSION}")
        position = _HEAD.size
        decoded: list[WriteBody] = []
        for _ in range(count):
            series, position = _decode_series(view, position, version)
            decoded.append(series)
    except (struct.error, ValueError, KeyError, OSError, pa.ArrowException) as error:
        raise DataCorrupted(f"the body of a write does not decode: {error}") from error
    if position != len(view):
        raise DataCorrupted(f"the body of a write has {len(view) - position} bytes too many")
    return decoded


@lru_cache(maxsize=1024)
def _schema(columns: tuple[tuple[int, int], ...]) -> pa.Schema:
    fields = [pa.field("time", pa.int64()), pa.field("tagset", pa.int32())]
    fields += [pa.field(str(number), Kind(kind).arrow) for number, kind in columns]
    return pa.schema(fields)


_KIND_OF_ARROW = {kind.arrow: kind for kind in Kind}


def _encode_series(points: Points, position: int) -> list[bytes | memoryview | pa.Buffer]:
    """The parts of one series; ``position`` is where they start in the body, to align the values."""
    columns = tuple((number, int(_KIND_OF_ARROW[values.type])) for number, values in points.fields.items())
    times = np.ascontiguousarray(points.times, np.int64)
    tagset = np.ascontiguousarray(points.tagset, np.int32)
    values, form = _packed(times, tagset, points.fields.values()), PACKED
    if values is None:
        values, form = _message(times, tagset, points.fields.values(), columns), ARROW
    distinct = ByteStrings.of(points.tagsets)
    tagsets = _encode_tagsets(distinct)
    head = b"".join(
        (
            _SERIES.pack(points.series.number, len(times), len(columns), len(distinct), len(tagsets), len(values)),
            _FORM.pack(form),
            _encode_columns(columns),
        )
    )
    start = position + len(head) + len(tagsets)
    return [head, tagsets, bytes(-start % _ALIGNMENT), values]


@lru_cache(maxsize=1024)
def _encode_columns(columns: tuple[tuple[int, int], ...]) -> bytes:
    return b"".join(_COLUMN.pack(*column) for column in columns)


def _packed(
    times: npt.NDArray[np.int64], tagset: npt.NDArray[np.int32], fields: Collection[pa.Array]
) -> memoryview | None:
    """The columns as packed numbers; None if that cannot be or is not worth it."""
    rows = len(times)
    if not rows:
        return None
    places = tagset.astype(np.int64)
    addresses = [times.ctypes.data, places.ctypes.data]
    for values in fields:
        if values.null_count or not isinstance(values, WORDS):
            return None
        addresses.append(values.buffers()[1].address + 8 * values.offset)
    plain = 8 * rows * len(addresses)
    return pack(np.array(addresses, np.int64), rows, plain // 2 if rows >= COMPRESS_FROM_ROWS else 2 * plain)


def _message(
    times: npt.NDArray[np.int64],
    tagset: npt.NDArray[np.int32],
    fields: Collection[pa.Array],
    columns: tuple[tuple[int, int], ...],
) -> pa.Buffer:
    """The columns as an Arrow message."""
    schema = _schema(columns)
    batch = pa.RecordBatch.from_arrays([pa.array(times), pa.array(tagset), *fields], schema=schema)
    sink = pa.BufferOutputStream()
    compression = "lz4" if len(times) >= COMPRESS_FROM_ROWS else None
    options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=len(times) >= THREADS_FROM_ROWS)
    with pa.ipc.new_stream(sink, schema, options=options) as writer:
        writer.write_batch(batch)
    stream = sink.getvalue()
    # An encapsulated message: 0xFFFFFFFF, int32 size of the metadata, metadata, body (Arrow columnar format, "IPC").
    schema_bytes = 8 + int.from_bytes(stream.slice(4, 4).to_pybytes(), "little")
    return stream.slice(schema_bytes, stream.size - schema_bytes - len(_END_OF_STREAM))


_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def _encode_tagsets(tagsets: ByteStrings) -> bytes:
    """Lengths, then bytes; compressed with their length before them, or as they are behind a 0."""
    made = tagsets.made.get("op")
    if made is None:
        plain = tagsets.lengths().astype("<u4").tobytes() + tagsets.data.tobytes()
        packed = pa.compress(plain, codec=_CODEC, asbytes=True) if len(plain) >= COMPRESS_FROM_BYTES else plain
        made = _PLAIN_BYTES.pack(0) + plain if len(packed) >= len(plain) else _PLAIN_BYTES.pack(len(plain)) + packed
        if len(made) <= KEPT_BYTES_MAX:
            tagsets.made["op"] = made
    return made


def _decode_tagsets(data: memoryview, count: int, version: int) -> ByteStrings:
    if version > 1:
        size, data = _PLAIN_BYTES.unpack_from(data)[0], data[_PLAIN_BYTES.size :]
        if size > MOST_PACKED * len(data):
            raise DataCorrupted(f"the tag sets of a write have {len(data)} bytes for {size}")
        if size:
            data = memoryview(pa.decompress(data, decompressed_size=size, codec=_CODEC, asbytes=True))
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.frombuffer(data, "<u4", count), dtype=np.int64, out=offsets[1:])
    if int(offsets[-1]) != len(data) - 4 * count:
        raise DataCorrupted("the tag sets of a write do not fill their space")
    return ByteStrings(np.frombuffer(data, np.uint8, offset=4 * count), offsets)


def _decode_series(view: memoryview, position: int, version: int) -> tuple[WriteBody, int]:
    series, rows, column_count, tagset_count, tagset_bytes, value_bytes = _SERIES.unpack_from(view, position)
    position += _SERIES.size
    form = ARROW
    if version > 2:
        form = _FORM.unpack_from(view, position)[0]
        position += _FORM.size
    columns_end = position + column_count * _COLUMN.size
    tagsets_end = columns_end + tagset_bytes
    start = tagsets_end + -tagsets_end % _ALIGNMENT
    end = start + value_bytes
    if end > len(view):
        raise DataCorrupted("the body of a write is cut off")
    columns = tuple(_COLUMN.iter_unpack(view[position:columns_end]))
    tagsets = _decode_tagsets(view[columns_end:tagsets_end], tagset_count, version)
    times, tagset, fields = _DECODERS[form](view[start:end], rows, columns)
    if len(times) != rows:
        raise DataCorrupted(f"a write of {rows} rows holds {len(times)}")
    if rows and not (int(tagset.min()) >= 0 and int(tagset.max()) < tagset_count):
        raise DataCorrupted("a row of a write names a tag set that is not there")
    found = dict(zip((number for number, _ in columns), fields, strict=True))
    return WriteBody(series, times, tagsets, tagset.astype(np.int32, copy=False), found), end


_Decoded = tuple[npt.NDArray[np.int64], npt.NDArray[np.integer], Sequence[pa.Array]]


def _read_message(view: memoryview, rows: int, columns: tuple[tuple[int, int], ...]) -> _Decoded:
    batch = pa.ipc.read_record_batch(pa.ipc.read_message(pa.py_buffer(view)), _schema(columns))
    return batch.column(0).to_numpy(), batch.column(1).to_numpy(), batch.columns[2:]


def _unpacked(view: memoryview, rows: int, columns: tuple[tuple[int, int], ...]) -> _Decoded:
    types = [Kind(kind).arrow for _, kind in columns if Kind(kind) in _NUMBERS]
    if len(types) != len(columns):
        raise ValueError("a column that is not of numbers is packed")
    times, tagset, *fields = unpack(view, rows, 2 + len(columns))
    arrays = [pa.Array.from_buffers(t, rows, [None, pa.py_buffer(f)], 0) for t, f in zip(types, fields, strict=True)]
    return times, tagset, arrays


_DECODERS = {ARROW: _read_message, PACKED: _unpacked}
