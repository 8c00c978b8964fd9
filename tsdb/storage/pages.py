"""Pages: many numbers of which a part can be decoded alone.

One host's hour is some hundred rows of a block of thousands: decoding all of them was most of such a query's time
(measured: 34 µs for 16,384 numbers, 5 for a page). Pages share pcodec's bins, so they cost one per cent of space; each
starts its deltas anew. A page is decoded from its beginning up to the last number that is wanted.

::

    numbers in a page <uint32>, at least 256
    bytes of pcodec's header <uint16>
    bytes of the chunk's metadata <uint16>
    pcodec's header, the chunk's metadata
    bytes of each page <uint32>…
    the pages, in pcodec's wrapped format
"""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
from pcodec import ChunkConfig, PagingSpec, standalone, wrapped

from tsdb.errors import DataCorrupted
from tsdb.kernels import kernel
from tsdb.storage import numbers

Int64s = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]

# Larger ones decode faster as a whole (by 40 % without any), smaller ones faster in part.
PAGE_NUMBERS = 2048
# pcodec decodes in batches of so many: a buffer holds whole batches or the whole page.
_BATCH = 256
_HEAD = struct.Struct(">IHH")
# numpy's names of types, and pcodec's.
_PCODEC = {"l": "i64", "q": "i64", "L": "u64", "Q": "u64", "d": "f64"}
# Scratch beyond this is not kept: no block has as many rows.
_SCRATCH_NUMBERS = 1 << 16


@dataclass(frozen=True, slots=True)
class Spans:
    """Ranges [starts[i], stops[i]) of rows, not empty, ascending and apart; ``rows`` in all."""

    starts: Int64s
    stops: Int64s
    rows: int
    _parts: dict[tuple[int, int], list[tuple[int, int]]] = field(default_factory=dict, compare=False, repr=False)

    def parts(self, page: int, count: int) -> list[tuple[int, int]]:
        """(page, how many of its first numbers are needed) for each page that is touched, of ``count`` numbers."""
        found = self._parts.get((page, count))
        if found is None:
            need = np.zeros((count + page - 1) // page, np.int64)
            _reach(self.starts, self.stops, page, need)
            touched = np.flatnonzero(need)
            found = self._parts[page, count] = list(zip(touched.tolist(), need[touched].tolist(), strict=True))
        return found

    @property
    def contiguous(self) -> tuple[int, int] | None:
        """(start, stop) when the rows are one piece."""
        if self.rows == 0:
            return 0, 0
        start, stop = int(self.starts[0]), int(self.stops[-1])
        return (start, stop) if stop - start == self.rows else None

    def take(self, values: Numbers) -> Numbers:
        """The values in the ranges; a view of them where they are one piece."""
        piece = self.contiguous
        if piece is not None:
            return values[piece[0] : piece[1]]
        if values.dtype.itemsize != 8:
            taken: Numbers = values[self.index()]
            return taken
        out = np.empty(self.rows, values.dtype)
        _gather(values.view(np.int64), self.starts, self.stops, out.view(np.int64))
        return out

    def index(self) -> Int64s:
        """The rows in the ranges."""
        return _expand(self.starts, self.stops, self.rows)

    def among(self, valid: npt.NDArray[np.uint8]) -> Spans:
        """The ranges in which the rows of these lie when only the ``valid`` rows (1, else 0) are counted."""
        below = np.concatenate(([0], np.cumsum(valid, dtype=np.int64)))
        starts, stops = below[self.starts], below[self.stops]
        filled = starts < stops
        return Spans(starts[filled], stops[filled], int((stops - starts).sum()))


def compress(values: Numbers) -> bytes:
    """64-bit numbers, in pages."""
    sizes = [min(PAGE_NUMBERS, len(values) - start) for start in range(0, len(values), PAGE_NUMBERS)]
    config = ChunkConfig(compression_level=numbers.LEVEL, paging_spec=PagingSpec.exact_page_sizes(sizes))
    compressor = wrapped.FileCompressor()
    header = compressor.write_header()
    chunk = compressor.chunk_compressor(np.require(values, requirements=("C", "A")), config)
    metadata = chunk.write_meta()
    pages = [chunk.write_page(i) for i in range(len(sizes))]
    table = np.array([len(page) for page in pages], ">u4").tobytes()
    return b"".join((_HEAD.pack(PAGE_NUMBERS, len(header), len(metadata)), header, metadata, table, *pages))


class Pages:
    """Compressed numbers, opened: ``count`` of them. May be read by several threads at once."""

    __slots__ = ("_busy", "_chunk", "_count", "_data", "_dtype", "_ends", "_head", "_size")

    def __init__(self, data: memoryview, count: int, dtype: npt.DTypeLike) -> None:
        """Raises DataCorrupted."""
        self._count = count
        self._dtype = np.dtype(dtype)
        try:
            size, header_bytes, metadata_bytes = _HEAD.unpack_from(data)
            if size < _BATCH or size % _BATCH:
                raise DataCorrupted(f"pages of {size} numbers")
            pages = -(-count // size)
            at = _HEAD.size + header_bytes
            table = at + metadata_bytes
            first = table + 4 * pages
            ends = list(accumulate(struct.unpack_from(f">{pages}I", data, table)))
            if not pages or first + ends[-1] != len(data):
                raise DataCorrupted(f"pages of {size} numbers do not fill {len(data)} bytes")
            self._head = bytes(data[_HEAD.size : at]), bytes(data[at:table])
            self._chunk = self._opened()
        except (RuntimeError, TypeError, ValueError, struct.error) as error:
            raise DataCorrupted(f"numbers do not decode: {error}") from error
        self._size = size
        self._data = data[first:]
        self._ends = [0, *ends]
        self._busy = threading.Lock()

    def _opened(self) -> Any:
        header, metadata = self._head
        decompressor, _ = wrapped.FileDecompressor.new(header)
        return decompressor.chunk_decompressor(metadata, _PCODEC[self._dtype.char])[0]

    def read(self, spans: Spans | None) -> Numbers:
        """All numbers, or those that lie in ``spans``. Raises DataCorrupted."""
        # pcodec's object serves one thread at a time and refuses others; another one costs a microsecond.
        if not self._busy.acquire(blocking=False):
            return self._read(self._opened(), spans)
        try:
            return self._read(self._chunk, spans)
        finally:
            self._busy.release()

    def _read(self, chunk: Any, spans: Spans | None) -> Numbers:
        size, count = self._size, self._count
        if spans is None:
            room = np.empty(count, self._dtype)
            wanted = [(page, size) for page in range(len(self._ends) - 1)]
        else:
            room = _scratch(count, self._dtype)
            wanted = spans.parts(size, count)
        data, ends, read = self._data, self._ends, chunk.read_page_into
        try:
            for page, need in wanted:
                begin = page * size
                there = min(size, count - begin)
                whole = min(there, -(-need // _BATCH) * _BATCH)
                progress, _ = read(bytes(data[ends[page] : ends[page + 1]]), there, room[begin : begin + whole])
                if progress.n_processed != whole:
                    raise DataCorrupted(f"{progress.n_processed} numbers decoded where {whole} are due")
        except (RuntimeError, TypeError, ValueError) as error:
            raise DataCorrupted(f"numbers do not decode: {error}") from error
        return room if spans is None else _taken(spans, room)


def decompress_whole(data: memoryview, count: int, dtype: npt.DTypeLike, spans: Spans | None) -> Numbers:
    """As ``Pages.read``, of numbers that are in one piece (``numbers.compress``). Raises DataCorrupted."""
    if spans is None:
        out = np.empty(count, dtype)
        numbers.decompress_into(data, out)
        return out
    room = _scratch(count, dtype)
    need = min(count, -(-int(spans.stops[-1]) // _BATCH) * _BATCH) if spans.rows else 0
    try:
        progress = standalone.simple_decompress_into(bytes(data), room[:need])
    except (RuntimeError, TypeError, ValueError) as error:
        raise DataCorrupted(f"numbers do not decode: {error}") from error
    if progress.n_processed != need or (need == count and not progress.finished):
        raise DataCorrupted(f"{progress.n_processed} numbers decoded where {need} are due")
    return _taken(spans, room)


def _taken(spans: Spans, room: Numbers) -> Numbers:
    """A copy: the room is used again."""
    taken = spans.take(room)
    return taken.copy() if taken.base is not None else taken


class _Scratch(threading.local):
    """A thread's room to decode pages in, each at its place: pages that are not wanted are never touched."""

    def __init__(self) -> None:
        self.room: Int64s = np.empty(_SCRATCH_NUMBERS, np.int64)


_SCRATCH = _Scratch()


def _scratch(count: int, dtype: npt.DTypeLike) -> Numbers:
    room = _SCRATCH.room[:count] if count <= _SCRATCH_NUMBERS else np.empty(count, np.int64)
    return room.view(dtype)


@kernel
def _reach(starts: Int64s, stops: Int64s, page: int, need: Int64s) -> None:
    for i in range(len(starts)):
        first, last = starts[i] // page, (stops[i] - 1) // page
        for each in range(first, last):
            need[each] = page
        need[last] = max(need[last], stops[i] - last * page)


@kernel
def _gather(values: Int64s, starts: Int64s, stops: Int64s, out: Int64s) -> None:
    at = 0
    for i in range(len(starts)):
        for row in range(starts[i], stops[i]):
            out[at] = values[row]
            at += 1


@kernel
def _expand(starts: Int64s, stops: Int64s, rows: int) -> Int64s:
    index = np.empty(rows, np.int64)
    at = 0
    for i in range(len(starts)):
        for row in range(starts[i], stops[i]):
            index[at] = row
            at += 1
    return index
