"""Points that wait for the end of a COPY: the first in memory, the rest in a temporary file without a name.

What lies in the file is read through the file system's cache (mmap), so it holds no memory of the process that the
system could not take back, and is gone with the last reference to it, also after a crash.

    per batch:   Arrow IPC stream of time, tag set number, fields | Arrow IPC stream of the tag sets by value
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa

from tsdb.errors import ConfigurationLimitExceeded, DiskFull
from tsdb.model.byte_strings import ByteStrings
from tsdb.model.points import Points
from tsdb.model.schema import Series
from tsdb.session.effects import SpooledPoints, size_of
from tsdb.session.transaction import COPY_MEMORY
from tsdb.sql.dml.modification import Write

FILE_BYTES_MAX = 64 << 30


class _Place(NamedTuple):
    """A batch in the file: of what it is, and its octets."""

    series: Series
    fields: tuple[int, ...]
    start: int
    stop: int


class Spool:
    """``directory`` None is the system's for temporary files. Add, then take once; or close."""

    def __init__(self, directory: Path | None = None, memory_bytes: int = COPY_MEMORY) -> None:
        self._directory = directory
        self._memory_bytes = memory_bytes
        self._batches: list[Points | _Place] = []
        self._held_bytes = 0
        self._file: IO[bytes] | None = None
        self._file_bytes = 0

    def add(self, points: Points) -> None:
        """Raises DiskFull, ConfigurationLimitExceeded."""
        size = size_of(Write(points))
        if self._held_bytes + size <= self._memory_bytes:
            self._held_bytes += size
            self._batches.append(points)
        else:
            self._batches.append(self._stored(points))

    def take(self) -> Iterator[Points]:
        """The batches in order, for the last time. Raises DiskFull when the file cannot be read."""
        batches, self._batches = self._batches, []
        octets = self._mapped()
        self.close()
        for batch in batches:
            if isinstance(batch, _Place):
                assert octets is not None
                yield _decoded(batch, octets)
            else:
                yield batch

    def close(self) -> None:
        """What was taken stays readable as long as it is used."""
        self._batches.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _stored(self, points: Points) -> _Place:
        octets = _encoded(points)
        start = self._file_bytes
        stop = start + len(octets)
        if stop > FILE_BYTES_MAX:
            raise ConfigurationLimitExceeded(
                f"COPY holds more than {FILE_BYTES_MAX >> 30} GiB of points", hint="Copy the data in parts."
            )
        try:
            if self._file is None:
                if self._directory is not None:
                    self._directory.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self._directory, prefix="tsdb-copy-")  # noqa: SIM115
            self._file.write(octets)
            self._file.flush()
        except OSError as error:
            raise _no_room(error) from error
        # A multiple of eight, as Arrow's streams are long: the values of the next stand at such multiples, too.
        self._file_bytes = stop
        return _Place(points.series, tuple(points.fields), start, stop)

    def _mapped(self) -> pa.Buffer | None:
        """The whole file by one mapping: each has a file handle of its own."""
        if self._file is None:
            return None
        try:
            return pa.py_buffer(mmap.mmap(self._file.fileno(), self._file_bytes, access=mmap.ACCESS_READ))
        except OSError as error:
            raise _no_room(error) from error


def _no_room(error: OSError) -> DiskFull:
    return DiskFull(
        f"no room for the rows of COPY: {error.strerror}", hint="Free some space, or copy the data in parts."
    )


def _encoded(points: Points) -> pa.Buffer:
    columns = {"time": pa.array(points.times), "tagset": pa.array(points.tagset)}
    columns.update({str(number): values for number, values in points.fields.items()})
    sink = pa.BufferOutputStream()
    for batch in (
        pa.RecordBatch.from_arrays(list(columns.values()), list(columns)),
        pa.RecordBatch.from_arrays([_array_of(ByteStrings.of(points.tagsets))], ["tagsets"]),
    ):
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
    return sink.getvalue()


def _decoded(place: _Place, octets: pa.Buffer) -> SpooledPoints:
    source = pa.BufferReader(octets.slice(place.start, place.stop - place.start))
    rows, tagsets = (_only(source) for _ in range(2))
    fields = {number: rows.column(i + 2) for i, number in enumerate(place.fields)}
    times, tagset = rows.column(0).to_numpy(), rows.column(1).to_numpy()
    return SpooledPoints(place.series, times, _strings_of(tagsets.column(0)), tagset, fields)


def _only(source: pa.BufferReader) -> pa.RecordBatch:
    with pa.ipc.open_stream(source) as reader:
        batch = reader.read_next_batch()
        for _ in reader:
            raise AssertionError("a stream of one batch has another")
    return batch


def _array_of(strings: ByteStrings) -> pa.Array:
    buffers = [None, pa.py_buffer(strings.offsets), pa.py_buffer(strings.data)]
    return pa.Array.from_buffers(pa.large_binary(), len(strings), buffers)


def _strings_of(array: pa.Array) -> ByteStrings:
    _, offsets, data = array.buffers()
    borders = np.frombuffer(offsets, np.int64, len(array) + 1)
    octets = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return ByteStrings(octets[: borders[-1]], borders)
