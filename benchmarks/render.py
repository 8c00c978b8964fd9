"""A workload as files: line protocol and CSV in batches, Parquet.

Rendered once and kept, so that no measurement contains the generator. The text files are cut into batches of equal
numbers of lines; `Batches` maps such a file into memory and hands out one batch at a time without copying it.

Line protocol and CSV differ in the bytes between the numbers only, so one kernel writes both: the host's tags, then
gap and number for each field, the last gap, the time, a newline. CSV's column order is therefore tags, fields, time;
it has no header line.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.workload import FIELDS, SERIES, TAGS, Workload
from tsdb.kernels import kernel

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]

CSV_COLUMNS = (*TAGS, *FIELDS, "time")
DIGITS_MAX = 3
PARQUET_ROWS = 100_000


class Batches:
    """A text file of lines, cut into batches: ``batches[i]`` is a view of the mapped file."""

    def __init__(self, path: Path, offsets: Offsets) -> None:
        self.path = path
        self._offsets = offsets
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> memoryview:
        return memoryview(self._map)[int(self._offsets[index]) : int(self._offsets[index + 1])]

    def __reduce__(self) -> tuple[type[Batches], tuple[Path, Offsets]]:
        """For another process."""
        return Batches, (self.path, self._offsets)

    @property
    def size(self) -> int:
        """Bytes of all batches."""
        return len(self._map)


@dataclass(frozen=True, slots=True)
class Dataset:
    """The files of one workload."""

    workload: Workload
    line_protocol: Batches
    csv: Batches
    parquet: Path


def render(workload: Workload, directory: Path, batch: int) -> Dataset:
    """The workload's files of batches of ``batch`` lines below ``directory``; those already there are used again."""
    if not 1 <= batch <= 1_000_000:
        raise ValueError(f"a batch of {batch} lines: must be between 1 and 1000000")
    name = f"cpu-{workload.hosts}x{workload.ticks}-seed{workload.seed}-batch{batch}"
    home = directory / name
    home.mkdir(parents=True, exist_ok=True)
    return Dataset(
        workload,
        _text(workload, home / "cpu.lp", batch, _line_protocol_style(workload)),
        _text(workload, home / "cpu.csv", batch, _csv_style(workload)),
        _parquet(workload, home / "cpu.parquet"),
    )


@dataclass(frozen=True, slots=True)
class _Style:
    hosts: Sequence[bytes]  # what a line of this host begins with
    gaps: Sequence[bytes]  # before each field, and after the last
    times: Sequence[bytes]  # one a tick, all of one length


def _line_protocol_style(workload: Workload) -> _Style:
    hosts = [
        ",".join([SERIES, *(f"{key}={value}" for key, value in zip(TAGS, tags, strict=True))]).encode()
        for tags in workload.tags
    ]
    first, *others = FIELDS
    gaps = [f" {first}=".encode(), *(f"i,{field}=".encode() for field in others), b"i "]
    return _Style(hosts, gaps, [str(time).encode() for time in workload.times_ns])


def _csv_style(workload: Workload) -> _Style:
    times = np.datetime_as_string(workload.times_ns.astype("datetime64[ns]"), unit="s")
    return _Style(
        [",".join(tags).encode() for tags in workload.tags],
        [b","] * (len(FIELDS) + 1),
        [str(time).replace("T", " ").encode() + b"+00" for time in times],
    )


def _text(workload: Workload, path: Path, batch: int, style: _Style) -> Batches:
    index = path.with_suffix(path.suffix + ".offsets.npy")
    if not index.exists():  # written last: its presence says that the text is whole
        np.save(index, _write_text(workload, path, batch, style))
    return Batches(path, np.load(index))


def _write_text(workload: Workload, path: Path, batch: int, style: _Style) -> Offsets:
    host_text, host_ends = _joined(style.hosts)
    gap_text, gap_ends = _joined(style.gaps)
    times = np.frombuffer(b"".join(style.times), dtype=np.uint8).reshape(workload.ticks, -1)
    values = workload.values.reshape(workload.points, len(FIELDS))
    line_max = max(map(len, style.hosts)) + len(gap_text) + DIGITS_MAX * len(FIELDS) + times.shape[1] + 1
    out = np.empty(batch * line_max, dtype=np.uint8)
    offsets = [0]
    with path.open("wb") as file:
        for first in range(0, workload.points, batch):
            rows = values[first : first + batch]
            size = _write_lines(out, rows, first, host_text, host_ends, gap_text, gap_ends, times)
            file.write(out[:size].data)
            offsets.append(offsets[-1] + size)
    return np.array(offsets, dtype=np.int64)


def _joined(texts: Sequence[bytes]) -> tuple[Bytes, Offsets]:
    ends = np.cumsum([0, *(len(text) for text in texts)], dtype=np.int64)
    return np.frombuffer(b"".join(texts), dtype=np.uint8), ends


@kernel
def _write_lines(
    out: Bytes,
    values: Bytes,
    first_row: int,
    host_text: Bytes,
    host_ends: Offsets,
    gap_text: Bytes,
    gap_ends: Offsets,
    times: Bytes,
) -> int:
    """Write one line for each row of ``values`` (rows, fields) to ``out``; gives the number of bytes written."""
    hosts = len(host_ends) - 1
    fields = values.shape[1]
    at = 0
    for row in range(values.shape[0]):
        host = (first_row + row) % hosts
        for i in range(host_ends[host], host_ends[host + 1]):
            out[at] = host_text[i]
            at += 1
        for field in range(fields + 1):
            for i in range(gap_ends[field], gap_ends[field + 1]):
                out[at] = gap_text[i]
                at += 1
            if field < fields:
                value = values[row, field]
                if value >= 100:
                    out[at] = 48 + value // 100
                    at += 1
                if value >= 10:
                    out[at] = 48 + value // 10 % 10
                    at += 1
                out[at] = 48 + value % 10
                at += 1
        tick = (first_row + row) // hosts
        for i in range(times.shape[1]):
            out[at] = times[tick, i]
            at += 1
        out[at] = 10
        at += 1
    return at


def _parquet(workload: Workload, path: Path) -> Path:
    if path.exists():
        return path
    ticks = max(1, PARQUET_ROWS // workload.hosts)
    partial = path.with_suffix(".partial")
    with pq.ParquetWriter(partial, _table(workload, 0, 0).schema, compression="zstd") as writer:
        for first in range(0, workload.ticks, ticks):
            writer.write_table(_table(workload, first, first + ticks))
    os.replace(partial, path)
    return path


def _table(workload: Workload, first: int, last: int) -> Any:
    """The points of the ticks [first, last) as an Arrow table: time (µs, UTC), tags (dictionaries), fields (int64)."""
    values = workload.values[first:last]
    ticks = len(values)
    times = np.repeat(workload.times_ns[first:last] // 1000, workload.hosts)
    columns: dict[str, Any] = {"time": pa.array(times, pa.int64()).cast(pa.timestamp("us", tz="UTC"))}
    hosts = np.tile(np.arange(workload.hosts), ticks)
    for i, tag in enumerate(TAGS):
        distinct, codes = np.unique([tags[i] for tags in workload.tags], return_inverse=True)
        indices = pa.array(codes.astype(np.int32)[hosts], pa.int32())
        columns[tag] = pa.DictionaryArray.from_arrays(indices, pa.array(distinct.tolist(), pa.string()))
    for i, field in enumerate(FIELDS):
        columns[field] = pa.array(values[:, :, i].reshape(-1).astype(np.int64))
    return pa.table(columns)
