"""The chunks of a copy: the points of some locations of a database as a view has them, series by series."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Iterator

import numpy as np
import numpy.typing as npt

from tsdb.errors import DataCorrupted
from tsdb.model.places import places_in
from tsdb.model.points import Points
from tsdb.model.ring import intervals_of
from tsdb.model.schema import Database, Series
from tsdb.model.store import SEQUENCE, TIME_NS, ScanRequest
from tsdb.storage import codec
from tsdb.storage.batches import Piece, joined
from tsdb.storage.body import WriteBody, decode_write, encode_write
from tsdb.storage.merge import take
from tsdb.storage.rows import Rows
from tsdb.storage.tagsets import TagSets
from tsdb.storage.view import StorageView

Int64s = npt.NDArray[np.int64]

CHUNK_ROWS = 16_384
CHUNK_BYTES = 2 << 20
"""A chunk is closed when it is about so long."""
DIGEST_BYTES = 32
_HEAD = struct.Struct(">2sBQQ")
MAGIC = b"TC"
VERSION = 1


class Tally:
    """What both sides count of a copy, and compare at its end: chunks, rows, and a hash over all chunks in order."""

    def __init__(self) -> None:
        self.chunks = self.rows = 0
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def add(self, chunk: bytes | memoryview, rows: int) -> None:
        self.chunks += 1
        self.rows += rows
        self._hash.update(chunk)

    @property
    def digest(self) -> bytes:
        return self._hash.digest()


def chunks_of(view: StorageView, database: Database, wanted: Collection[int], tally: Tally) -> Iterator[bytes]:
    """The chunks, in memory one at a time; ``wanted`` are numbers of locations."""
    chunk = _Chunk(view.catalog.version)
    for series in database.series.values():
        for points, sequences in _points_of(view, database, series, wanted):
            chunk.add(points, sequences)
            if chunk.rows >= CHUNK_ROWS or chunk.bytes >= CHUNK_BYTES:
                yield chunk.take(tally)
    if chunk.rows:
        yield chunk.take(tally)


def points_in(view: StorageView, database: Database) -> int:
    """About how many points of a database are here: versions, in blocks."""
    blocks = (view.version.blocks.get(each) for each in (series.number for series in database.series.values()))
    return sum(int(each.rows.sum()) for each in blocks if each is not None)


class _Chunk:
    """One in the making: a few points of many series, or a piece of one."""

    def __init__(self, schema: int) -> None:
        self._schema = schema
        self._points: list[Points] = []
        self._sequences: list[Int64s] = []
        self.rows = self.bytes = 0

    def add(self, points: Points, sequences: Int64s) -> None:
        self._points.append(points)
        self._sequences.append(sequences)
        self.rows += len(points)
        self.bytes += 20 * len(points) + sum(values.nbytes for values in points.fields.values())

    def take(self, tally: Tally) -> bytes:
        body = encode_write(self._points)
        head = _HEAD.pack(MAGIC, VERSION, self._schema, len(body))
        chunk = head + body + codec.encode_integers(np.concatenate(self._sequences))
        tally.add(chunk, self.rows)
        self._points, self._sequences, self.rows, self.bytes = [], [], 0, 0
        return chunk


def schema_of(chunk: bytes | memoryview) -> int:
    """The version of the schema that a chunk was made under. Raises DataCorrupted."""
    return _head(memoryview(chunk))[0]


def _head(view: memoryview) -> tuple[int, int]:
    if len(view) < _HEAD.size:
        raise DataCorrupted("a chunk of a copy is cut off")
    magic, version, schema, size = _HEAD.unpack_from(view)
    if magic != MAGIC or version != VERSION or size > len(view) - _HEAD.size:
        raise DataCorrupted("that is no chunk of a copy, or one of another version")
    return schema, size


def decode_chunk(chunk: bytes | memoryview) -> tuple[list[WriteBody], Int64s]:
    """Points by series, and the sequences of all of them in order. Raises DataCorrupted."""
    view = memoryview(chunk)
    _, size = _head(view)
    # A copy, since a message begins anywhere, and numbers that are read as they lie have to be aligned.
    bodies = decode_write(bytes(view[_HEAD.size : _HEAD.size + size]))
    rows = sum(map(len, bodies))
    return bodies, codec.decode_integers(bytes(view[_HEAD.size + size :]), rows)


def _points_of(
    view: StorageView, database: Database, series: Series, wanted: Collection[int]
) -> Iterator[tuple[Points, Int64s]]:
    tagsets = view.tagsets(series.number)
    every = all(each.number in wanted for each in database.locations)
    columns: tuple[int | str, ...] = (TIME_NS, SEQUENCE, *(c.number for c in series.fields))
    ring = None if every else intervals_of(each for each in database.locations if each.number in wanted)
    for piece in joined(view.pieces(ScanRequest(series, columns, ring=ring))):
        for start, stop in _slices(piece):
            rows = _rows_of(piece, start, stop)
            if not every:
                found = _rows_in(database, series, rows.times, wanted)
                rows = rows if len(found) == len(rows) else take(rows, found)
            if len(rows):
                yield _points(series, rows, tagsets), rows.sequences


def _slices(piece: Piece) -> Iterator[tuple[int, int]]:
    """Of rows that are long there are fewer in one."""
    size = sum(values.nbytes for values in piece.columns.values())
    step = max(1, min(CHUNK_ROWS, piece.rows, CHUNK_BYTES * piece.rows // max(size, 1)))
    for start in range(0, piece.rows, step):
        yield start, min(start + step, piece.rows)


def _rows_in(database: Database, series: Series, times: Int64s, wanted: Collection[int]) -> npt.NDArray[np.intp]:
    found = [
        np.arange(len(times)) if rows is None else rows
        for location, rows in places_in(database, series.number).cut(database.locations, times)
        if location.number in wanted
    ]
    return np.sort(np.concatenate(found)) if found else np.empty(0, np.intp)


def _rows_of(piece: Piece, start: int, stop: int) -> Rows:
    assert piece.times is not None
    assert piece.tagset is not None
    assert piece.sequences is not None
    columns = {number: values.slice(start, stop - start) for number, values in piece.columns.items()}
    return Rows(piece.tagset[start:stop], piece.times[start:stop], piece.sequences[start:stop], columns)


def _points(series: Series, rows: Rows, tagsets: TagSets) -> Points:
    ids, tagset = np.unique(rows.tagset, return_inverse=True)
    fields = {number: values for number, values in rows.columns.items() if values.null_count < len(values)}
    return Points(series, rows.times, tagsets.all().take(ids.astype(np.int64)), tagset.astype(np.int32), fields)
