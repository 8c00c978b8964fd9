"""A file cut into pieces. Where the cuts are depends on its content alone: the same file has the same pieces again."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from tsdb.cli.transfer.files import STDIN, TIME_PARTS, Source
from tsdb.errors import ConfigurationError
from tsdb.ingest.stream import LineStream

LINES_BYTES = 2 << 20
ROWS = 50_000
LINE_BYTES_MAX = 64 << 20
_ARROW_ROW = re.compile(r"\bRow #(\d+)")
_UNITS = {"s": "s", "ms": "ms", "us": "us", "u": "us", "ns": "ns", "n": "ns"}


@dataclass(frozen=True, slots=True)
class Piece:
    """``lines`` of line protocol, the first of them number ``first``; or ``rows`` from row ``first`` on."""

    first: int
    lines: bytes = b""
    rows: pa.RecordBatch | None = None
    read: int = 0


def pieces(source: Source, raw: BinaryIO, time: str, precision: str, texts: Sequence[str] = ()) -> Iterator[Piece]:
    """``raw`` is the open file; ``texts`` are columns of CSV whose values go to the server as they are written.

    Raises what reading raises: OSError, pa.ArrowException.
    """
    if source.format == "lp":
        yield from _line_pieces(source, raw)
        return
    first = 1
    for found in _parquet(source, raw) if source.format == "parquet" else _csv(source, raw, (*texts, time)):
        batch = _with_parts(found, source.parts, time)
        for start in range(0, len(batch), ROWS):
            part = batch.slice(start, ROWS)
            yield Piece(first, rows=_with_time(part, time, precision), read=_position(raw))
            first += len(part)


def one_ahead(found: Iterator[Piece]) -> Generator[Piece, None, None]:
    """The same pieces; the next one is read in a thread while the server has the one before."""
    with ThreadPoolExecutor(1, "read-ahead") as reading:
        waiting = reading.submit(next, found, None)
        while (piece := waiting.result()) is not None:
            waiting = reading.submit(next, found, None)
            yield piece


def _line_pieces(source: Source, raw: BinaryIO) -> Iterator[Piece]:
    stream, unpacked, first = LineStream(LINE_BYTES_MAX), source.unpacked(raw), 1
    ended = False
    while not ended:
        block = _read_fully(unpacked, LINES_BYTES)
        ended = len(block) < LINES_BYTES
        stream.feed(block)
        lines = bytes(stream.take())
        if ended:
            lines += bytes(stream.end())
        if lines:
            yield Piece(first, lines, read=_position(raw))
            first += lines.count(b"\n")


def _read_fully(stream: BinaryIO, size: int) -> bytes:
    """``size`` bytes, fewer at the end alone: a pipe or a decompressor gives what it has."""
    parts, missing = [], size
    while missing and (part := stream.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _csv(source: Source, raw: BinaryIO, texts: Sequence[str]) -> Iterator[pa.RecordBatch]:
    # As COPY reads CSV: NA and null are texts like others.
    options = pcsv.ConvertOptions(
        column_types={name: pa.string() for name in texts}, null_values=[""], strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )  # fmt: skip
    reading = pcsv.ReadOptions(block_size=LINES_BYTES, use_threads=False)
    try:
        with pcsv.open_csv(
            pa.PythonFile(source.unpacked(raw), "r"), read_options=reading, convert_options=options,
            parse_options=pcsv.ParseOptions(newlines_in_values=True),
        ) as reader:  # fmt: skip
            yield from reader
    except pa.ArrowInvalid as error:
        # Arrow counts the header, too.
        said = _ARROW_ROW.sub(lambda found: place(source, int(found[1]) - 1), str(error), count=1)
        raise pa.ArrowInvalid(said) from None


def place(source: Source, row: int) -> str:
    """Where a row (from 1) is: in a file of CSV its line, which is looked for, as values have newlines and some lines
    are blank; else the row."""
    if source.format != "csv" or source.path == STDIN:
        return f"row {row}"
    with suppress(OSError, csv.Error), source.open() as raw:
        text = io.TextIOWrapper(source.unpacked(raw), errors="replace", newline="")
        reader = csv.reader(text)
        at, line = 0, 1
        for values in reader:
            if values:
                if at == row:
                    return f"line {line}"
                at += 1
            line = reader.line_num + 1
    return f"row {row}"


def _parquet(source: Source, raw: BinaryIO) -> Iterator[pa.RecordBatch]:
    if source.packed is not None:
        raise ConfigurationError("Parquet is compressed inside and cannot be read from gzip or zstd")
    if not raw.seekable():
        raise ConfigurationError("Parquet cannot be read from a pipe")
    yield from pq.ParquetFile(raw).iter_batches(batch_size=ROWS)


def _with_parts(batch: pa.RecordBatch, parts: dict[str, str | None], time: str) -> pa.RecordBatch:
    """The batch with the columns that are in its file's path; parts of its time are in the time already."""
    for name, value in parts.items():
        if name in batch.schema.names or (name in TIME_PARTS and time in batch.schema.names):
            continue
        batch = batch.append_column(name, pa.repeat(pa.scalar(value, pa.string()), len(batch)))
    return batch


def _with_time(batch: pa.RecordBatch, time: str, precision: str) -> pa.RecordBatch:
    """Numbers in the column of times are in ``precision`` units since 1970; what is finer than µs is cut off."""
    at = batch.schema.get_field_index(time)
    if at < 0:
        return batch
    values = batch.column(at)
    if pa.types.is_string(values.type):
        # Numbers, or texts that the server reads.
        if pc.all(pc.match_substring_regex(values, r"^[+-]?[0-9]+$"), min_count=1).as_py():
            values = values.cast(pa.int64())
        else:
            values = pc.replace_substring_regex(values, pattern=r"(\.[0-9]{6})[0-9]+", replacement=r"\1")
    if pa.types.is_integer(values.type):
        if precision not in _UNITS:
            raise ConfigurationError(f'precision "{precision}" is not one of {", ".join(_UNITS)}')
        values = values.cast(pa.int64()).cast(pa.timestamp(_UNITS[precision], "UTC"))
    if pa.types.is_timestamp(values.type) and values.type.unit == "ns":
        values = pc.floor_temporal(values, unit="microsecond").cast(pa.timestamp("us", values.type.tz))
    return batch.set_column(at, time, values)


def _position(raw: BinaryIO) -> int:
    return raw.tell() if not raw.closed and raw.seekable() else 0
