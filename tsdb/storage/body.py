"""Bodies of WRITE ops: the points of one or more series, columns as Arrow IPC with LZ4.

A body names, per series, its columns (number and kind) and its distinct tag sets by value; the columns themselves are
one Arrow record batch message. The schema message of a stream is left out: it would be most of a small op, and the
column list says the same in five bytes a column. Diagram: docs/format/op.md.

The op's header has the body's checksum, so what is checked here is only that the parts fit together.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import DataCorrupted
from tsdb.model.byte_strings import ByteStrings
from tsdb.model.points import Points
from tsdb.types import Kind

VERSION = 2
# Version 1 had its tag sets as they are, without a length before them.
VERSIONS_READ = (1, 2)
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
_COLUMN = struct.Struct("<IB")
_PLAIN_BYTES = struct.Struct("<Q")
_CODEC = "lz4_raw"
_ALIGNMENT = 64


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
    parts: list[bytes | pa.Buffer] = [_HEAD.pack(VERSION, len(points))]
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


def _encode_series(points: Points, position: int) -> list[bytes | pa.Buffer]:
    """The parts of one series; ``position`` is where they start in the body, to align the Arrow message."""
    columns = tuple((number, int(_KIND_OF_ARROW[values.type])) for number, values in points.fields.items())
    times = np.ascontiguousarray(points.times, np.int64)
    tagset = np.ascontiguousarray(points.tagset, np.int32)
    schema = _schema(columns)
    batch = pa.RecordBatch.from_arrays([pa.array(times), pa.array(tagset), *points.fields.values()], schema=schema)
    sink = pa.BufferOutputStream()
    compression = "lz4" if len(times) >= COMPRESS_FROM_ROWS else None
    options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=len(times) >= THREADS_FROM_ROWS)
    with pa.ipc.new_stream(sink, schema, options=options) as writer:
        writer.write_batch(batch)
    stream = sink.getvalue()
    # An encapsulated message: 0xFFFFFFFF, int32 size of the metadata, metadata, body (Arrow columnar format, "IPC").
    schema_bytes = 8 + int.from_bytes(stream.slice(4, 4).to_pybytes(), "little")
    message = stream.slice(schema_bytes, stream.size - schema_bytes - len(_END_OF_STREAM))
    distinct = ByteStrings.of(points.tagsets)
    tagsets = _encode_tagsets(distinct)
    head = _SERIES.pack(
        points.series.number, len(times), len(columns), len(distinct), len(tagsets), message.size
    ) + b"".join(_COLUMN.pack(*column) for column in columns)
    start = position + len(head) + len(tagsets)
    return [head, tagsets, bytes(-start % _ALIGNMENT), message]


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
    series, rows, column_count, tagset_count, tagset_bytes, message_bytes = _SERIES.unpack_from(view, position)
    position += _SERIES.size
    columns_end = position + column_count * _COLUMN.size
    tagsets_end = columns_end + tagset_bytes
    start = tagsets_end + -tagsets_end % _ALIGNMENT
    end = start + message_bytes
    if end > len(view):
        raise DataCorrupted("the body of a write is cut off")
    columns = tuple(_COLUMN.iter_unpack(view[position:columns_end]))
    tagsets = _decode_tagsets(view[columns_end:tagsets_end], tagset_count, version)
    message = pa.ipc.read_message(pa.py_buffer(view[start:end]))
    batch = pa.ipc.read_record_batch(message, _schema(columns))
    if batch.num_rows != rows:
        raise DataCorrupted(f"a write of {rows} rows holds {batch.num_rows}")
    tagset = batch.column(1).to_numpy()
    if rows and not (int(tagset.min()) >= 0 and int(tagset.max()) < tagset_count):
        raise DataCorrupted("a row of a write names a tag set that is not there")
    fields = {number: batch.column(2 + i) for i, (number, _) in enumerate(columns)}
    return WriteBody(series, batch.column(0).to_numpy(), tagsets, tagset, fields), end
