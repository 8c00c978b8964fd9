"""``tsdb export``: a table or a query to CSV, Parquet or line protocol, as it streams."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, LiteralString, cast

import psycopg
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.dataset as pd
import pyarrow.parquet as pq
from psycopg import sql

from tsdb.cli.transfer.files import PACKED, TIME_PARTS
from tsdb.cli.transfer.line_text import joined, lines_of
from tsdb.cli.transfer.send import TIME_NS
from tsdb.errors import ConfigurationError, StartupError, TsdbError
from tsdb.sql.lexer import tokens

_TYPES = {
    "bool": pa.bool_(), "int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64(), "float4": pa.float32(),
    "float8": pa.float64(), "timestamptz": pa.timestamp("us", "UTC"), "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
}  # fmt: skip
_KEYS = """SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %s::regclass AND i.indisprimary"""

# What line protocol's unsigned integers are in SQL.
_UNSIGNED = """SELECT attname FROM pg_attribute
WHERE attrelid = %s::regclass AND format_type(atttypid, atttypmod) = 'numeric(20,0)'"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """``table`` or ``query``; ``since`` and ``until`` bound the time of a table. ``output`` "-" is standard output.

    ``tags`` of line protocol: the table's key when there are none. ``partition``: columns, or parts of the time (year,
    month, day, hour), by which Parquet is split into directories.
    """

    url: str
    table: str
    query: str
    since: str
    until: str
    output: str
    format: str
    time: str
    tags: tuple[str, ...]
    partition: tuple[str, ...]


def export(wanted: Wanted) -> tuple[int, int]:
    """Rows written, and rows without a field, which line protocol cannot say.

    Raises StartupError, ConfigurationError.
    """
    _check(wanted)
    try:
        with psycopg.connect(wanted.url, application_name="tsdb export") as connection, ExitStack() as stack:
            connection.read_only = True
            query = _query(connection, wanted)
            if wanted.format == "csv":
                return _csv(connection, query, stack.enter_context(_Output(wanted.output))), 0
            reader = _Rows(connection, query)
            if wanted.format == "lp":
                tags, unsigned = _tags(connection, wanted), _columns(connection, wanted, _UNSIGNED)
                return _lines(reader, wanted, tags, unsigned, stack.enter_context(_Output(wanted.output)))
            return _parquet(reader, wanted), 0
    except psycopg.Error as error:
        why = " ".join((error.diag.message_primary or str(error)).split())
        raise StartupError(f"the export failed: {why}") from None


def _check(wanted: Wanted) -> None:
    """What is wrong with the flags, before anything is asked. Raises ConfigurationError, StartupError."""
    if bool(wanted.table) == bool(wanted.query):
        raise ConfigurationError("export a table or a --query, one of them")
    if wanted.format == "lp" and not wanted.table:
        raise ConfigurationError("line protocol needs a table: a query has no measurement and no tags")
    if wanted.query and (wanted.since or wanted.until):
        raise ConfigurationError("--from and --to bound a table's rows: say it in the --query")
    if wanted.query:
        _statement(wanted.query)
    if wanted.partition and wanted.format != "parquet":
        raise ConfigurationError("only Parquet is partitioned")
    if wanted.partition:
        _check_directory(wanted.output)


def _statement(text: str) -> str:
    """The statement of a --query, without what is around it: it goes into another one. Raises ConfigurationError."""
    try:
        found = tokens(text)
    except TsdbError:
        # What is wrong with it the server says.
        return text
    ends = [at for at, token in enumerate(found) if token.kind == "punctuation" and token.value == ";"]
    own = found[: ends[0]] if ends else found
    if not own or len(found) > len(own) + len(ends):
        raise ConfigurationError("--query has to be one statement")
    return text[own[0].start : own[-1].end]


def _check_directory(path: str) -> None:
    """A partition goes into a directory that is empty or not there."""
    if path == "-":
        raise ConfigurationError("--partition writes a directory: name it by --output")
    directory = Path(path)
    try:
        if directory.exists() and not directory.is_dir():
            raise StartupError(f"{path} is a file, and --partition writes a directory: name another --output")
        if directory.is_dir() and any(directory.iterdir()):
            raise StartupError(f"the directory {path} is not empty: delete what is in it, or name another --output")
    except OSError as error:
        raise StartupError(f"cannot write {path}: {error.strerror}") from None


def _query(connection: psycopg.Connection, wanted: Wanted) -> sql.Composable:
    if wanted.query:
        return sql.SQL(_statement(wanted.query))
    time = sql.Identifier(wanted.time)
    bounds = [
        sql.SQL("{} {} {}").format(time, sql.SQL(sign), sql.Literal(text))
        for sign, text in ((">=", wanted.since), ("<", wanted.until))
        if text
    ]
    extra = sql.SQL("time_ns, *") if wanted.format == "lp" else sql.SQL("*")
    where = sql.SQL(" WHERE ") + sql.SQL(" AND ").join(bounds) if bounds else sql.SQL("")
    return sql.SQL("SELECT {} FROM {}").format(extra, sql.Identifier(*wanted.table.split("."))) + where


def _tags(connection: psycopg.Connection, wanted: Wanted) -> tuple[str, ...]:
    if wanted.tags:
        return wanted.tags
    return tuple(key for key in _columns(connection, wanted, _KEYS) if key != wanted.time)


def _columns(connection: psycopg.Connection, wanted: Wanted, query: LiteralString) -> list[str]:
    """The columns of the table that a query of the catalog names."""
    name = sql.Identifier(*wanted.table.split(".")).as_string(connection)
    return [column for (column,) in connection.execute(query, [name]).fetchall()]


class _Output:
    """A file, packed by its suffix, or standard output. What a failed export wrote is deleted: until its end a file has
    another name, and one that was there before stays."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stack = ExitStack()
        # Whatever it is a link to.
        self._target = os.path.realpath(path)
        is_device = os.path.exists(self._target) and not os.path.isfile(self._target)
        self._partial = self._target if is_device else f"{self._target}.partial"

    def __enter__(self) -> BinaryIO:
        if self._path == "-":
            return sys.stdout.buffer
        try:
            raw = self._stack.enter_context(open(self._partial, "wb"))
        except OSError as error:
            raise StartupError(f"cannot write {self._path}: {error.strerror}") from None
        codec = PACKED.get(Path(self._path).suffix.lower())
        if codec is None:
            return raw
        packed = pa.CompressedOutputStream(pa.PythonFile(raw, "w"), codec)
        self._stack.callback(packed.close)
        return cast(BinaryIO, packed)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        sys.stdout.flush()
        kept = False
        try:
            self._stack.close()
            kept = kind is None
        finally:
            if self._path != "-" and self._partial != self._target:
                if kept:
                    os.replace(self._partial, self._target)
                else:
                    os.unlink(self._partial)


def _csv(connection: psycopg.Connection, query: sql.Composable, output: BinaryIO) -> int:
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, HEADER)").format(query)
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for data in copy:
                output.write(bytes(data))
        return cursor.rowcount


class _Rows:
    """A query's rows as Arrow batches: COPY's CSV, read as it comes."""

    def __init__(self, connection: psycopg.Connection, query: sql.Composable) -> None:
        self._connection = connection
        self._query = query
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT * FROM ({}) q LIMIT 0").format(query))
            assert cursor.description is not None
            known = connection.adapters.types
            named = [(column.name, known.get(column.type_code)) for column in cursor.description]
        self.schema = pa.schema([(name, _TYPES.get(kind.name if kind else "", pa.string())) for name, kind in named])

    def batches(self) -> Iterator[pa.RecordBatch]:
        statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(self._query)
        options = pcsv.ConvertOptions(
            column_types=self.schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False,
            true_values=["t"], false_values=["f"], timestamp_parsers=[pcsv.ISO8601, "%Y-%m-%d %H:%M:%S"],
        )  # fmt: skip
        reading = pcsv.ReadOptions(column_names=self.schema.names, block_size=4 << 20)
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            stream = io.BufferedReader(_CopyStream(copy), 1 << 20)
            if not stream.peek(1):
                return
            parsing = pcsv.ParseOptions(newlines_in_values=True)
            with pcsv.open_csv(stream, reading, parsing, options) as reader:
                yield from reader


class _CopyStream(io.RawIOBase):
    """COPY's data as a file to read."""

    def __init__(self, copy: psycopg.Copy) -> None:
        self._copy = copy
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._left:
            self._left = bytes(self._copy.read())
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def _lines(
    rows: _Rows, wanted: Wanted, tags: tuple[str, ...], unsigned: list[str], output: BinaryIO
) -> tuple[int, int]:
    written = without = 0
    table = wanted.table.rpartition(".")[2]
    for batch in rows.batches():
        kept = [at for at, name in enumerate(batch.schema.names) if name != wanted.time]
        lines, left = lines_of(batch.select(kept), table, TIME_NS, tags, unsigned)
        output.write(joined(lines))
        written += len(lines)
        without += left
    return written, without


def _parquet(rows: _Rows, wanted: Wanted) -> int:
    count = 0

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal count
        for batch in rows.batches():
            count += len(batch)
            yield _with_parts(batch, wanted)

    if not wanted.partition:
        with _Output(wanted.output) as output, pq.ParquetWriter(output, rows.schema, compression="zstd") as writer:
            for batch in counted():
                writer.write_batch(batch)
        return count
    schema = _with_parts(pa.RecordBatch.from_pylist([], rows.schema), wanted).schema
    flavor = pd.partitioning(pa.schema([schema.field(name) for name in wanted.partition]), flavor="hive")
    try:
        pd.write_dataset(
            pa.RecordBatchReader.from_batches(schema, counted()), wanted.output, format="parquet",
            partitioning=flavor, existing_data_behavior="error", max_open_files=256, use_threads=False,
        )  # fmt: skip
    except OSError as error:
        raise StartupError(f"cannot write {wanted.output}: {error.strerror or error}") from None
    return count


def _with_parts(batch: pa.RecordBatch, wanted: Wanted) -> pa.RecordBatch:
    """The batch with columns for the parts of the time that it is to be split by."""
    import pyarrow.compute as pc

    for name in wanted.partition:
        if name in batch.schema.names:
            continue
        if name not in TIME_PARTS or wanted.time not in batch.schema.names:
            raise ConfigurationError(f'"{name}" to partition by is no column and none of {", ".join(TIME_PARTS)}')
        text = pc.strftime(batch.column(wanted.time), format=TIME_PARTS[name])
        batch = batch.append_column(name, text)
    return batch
