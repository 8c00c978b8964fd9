"""A piece to the server: lines over HTTP, rows by COPY. What passes is tried again; its number makes that harmless."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, urlsplit

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv as pcsv
from psycopg import sql

from tsdb.errors import ConfigurationError, StartupError
from tsdb.ingest.stream import point_count

T = TypeVar("T")

# The column of times where nothing else is said, and the one that every time series has besides.
TIME = "time"
TIME_NS = "time_ns"

# A server that is away or full is waited for.
PATIENCE_S = 300.0
_PAUSE_S = 1.0
# Connections that broke, resources, a server that stops or starts (manual, Appendix A); and what it says then to those
# who want to connect.
_PASSING_STATES = ("08", "40", "53", "57P0")
_PASSING_WORDS = ("too many", "starting up", "shutting down", "is stopping", "terminating connection")
# InfluxDB 1's text of a partial write ends with its exact count.
_DROPPED = re.compile(r"dropped=(\d+)$")
_COPY_LINE = re.compile(r"^COPY .+?, line (\d+)(?:, )?")
_NAMES = {
    pa.bool_(): "boolean", pa.int8(): "int2", pa.int16(): "int2", pa.int32(): "int4", pa.int64(): "int8",
    pa.uint8(): "int2", pa.uint16(): "int4", pa.uint32(): "int8", pa.uint64(): "numeric(20,0)",
    pa.float16(): "float4", pa.float32(): "float4", pa.float64(): "float8", pa.date32(): "date",
}  # fmt: skip

# Name, whether it may be the time (which is NOT NULL), whether it is in the primary key.
_COLUMNS = """SELECT a.attname, a.attnotnull AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype),
  coalesce(a.attnum = ANY (i.indkey), false)
FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""


@dataclass(frozen=True, slots=True)
class Sent:
    """``refused``: what is wrong with lines, by their number in the piece, the first of ``refused_count``."""

    rows: int
    refused: tuple[tuple[int, str], ...] = ()
    refused_count: int = 0


class Refused(Exception):
    """The server does not take this piece, nor would it later. ``row``, from 1 in the piece, is why, if known."""

    def __init__(self, why: str, row: int | None = None) -> None:
        super().__init__(why)
        self.row = row


class _Passing(Exception):
    """It may, later."""


def database_of(url: str) -> str:
    """The database that a connection URL names. Raises ConfigurationError."""
    try:
        return str(psycopg.conninfo.conninfo_to_dict(url).get("dbname") or "tsdb")
    except psycopg.Error as error:
        raise ConfigurationError(f"{url} is no connection URL: {' '.join(str(error).split())}") from None


def patiently(attempt: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    """Try until it is done. Raises Refused, and StartupError when the server stays away for so long, or says at once
    what waiting does not change: a wrong password, a certificate, a name that no machine has."""
    deadline = time.monotonic() + seconds
    told = False
    while True:
        try:
            return attempt()
        except (_Passing, OSError, http.client.HTTPException, psycopg.OperationalError) as error:
            why = " ".join(str(error).split())
            if not passes(error):
                raise StartupError(f"the server cannot be used: {why}") from None
            if time.monotonic() > deadline:
                raise StartupError(f"the server does not answer: {why}") from None
            if not told:
                print(f"waiting for the server, for {seconds:.0f} s at most: {why}", file=sys.stderr)
                told = True
            time.sleep(_PAUSE_S)


def passes(error: Exception) -> bool:
    """Whether what went wrong may be over in a while."""
    if isinstance(error, ssl.SSLError | socket.gaierror):
        return False
    if not isinstance(error, psycopg.OperationalError):
        return True
    if error.sqlstate is not None:
        return error.sqlstate.startswith(_PASSING_STATES)
    # Of a connection that is not made libpq gives a text alone: what the server answered is in it behind its severity.
    text = str(error)
    if "failed to resolve host" in text or "SSL error" in text:
        return False
    return "FATAL:" not in text or any(words in text for words in _PASSING_WORDS)


class LineSender:
    """Line protocol over HTTP. The password of ``user`` is in PGPASSWORD."""

    def __init__(self, url: str, database: str, precision: str, user: str | None) -> None:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._kind = kind
        self._address = parts.hostname or "127.0.0.1", parts.port or 8086
        self._connection: http.client.HTTPConnection | None = None
        self._path = f"/write?db={quote(database)}&precision={quote(precision)}"
        self._headers: dict[str, str] = {}
        if user is not None:
            secret = base64.b64encode(f"{user}:{os.environ.get('PGPASSWORD', '')}".encode()).decode()
            self._headers["Authorization"] = f"Basic {secret}"

    def send(self, lines: bytes, producer: str, batch: int) -> Sent:
        """Raises Refused, StartupError."""
        numbered = {**self._headers, "X-Tsdb-Producer": producer, "X-Tsdb-Batch": str(batch)}
        status, body = patiently(lambda: self._post(lines, numbered))
        found = json.loads(body) if body else {}
        if status == 204:
            return Sent(_count(lines))
        if status == 409 and "too old" in found.get("error", ""):
            return Sent(0)  # So many batches later it has long been answered.
        if status == 400 and "data" in found:
            bad = tuple((each["line_number"], each["error_message"]) for each in found["data"])
            exact = _DROPPED.search(found["error"])
            count = int(exact[1]) if exact is not None else _count(lines)
            return Sent(max(_count(lines) - count, 0), bad, count)
        raise Refused(f"{status} {found.get('error', '')}")

    def _post(self, lines: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._kind(*self._address, timeout=120)
        try:
            self._connection.request("POST", self._path, lines, headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except BaseException:
            self.close()
            raise
        if answer.status in (429, 500, 502, 503, 504):
            raise _Passing(f"{answer.status} {body[:200].decode(errors='replace')}")
        return answer.status, body

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _count(lines: bytes) -> int:
    return int(point_count(np.frombuffer(lines, np.uint8)))


@dataclass(frozen=True, slots=True)
class Columns:
    """What a table that is there has: its columns, its primary key, the time ("": it has none). No ``names``: it is not
    there."""

    names: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    time: str = ""

    @classmethod
    def of(cls, found: Sequence[tuple[str, bool, bool]]) -> Columns:
        """Of the rows of _COLUMNS. As CREATE TABLE chooses it, the time is "time", or the first that may be it, of the
        key if there is one."""
        key = tuple(name for name, _, is_key in found if is_key)
        times = [name for name, is_time, is_key in found if is_time and (is_key or not key or name == TIME)]
        time = TIME if TIME in times else next(iter(times), "")
        return cls(tuple(name for name, _, _ in found), key, time)


class RowSender:
    """Arrow batches by COPY into one table; made, if it is not there, with a key of the tags and the time."""

    def __init__(self, url: str, table: str, time: str, tags: tuple[str, ...]) -> None:
        """``time`` "": nobody has said what its column is."""
        self._url = url
        self._table = table
        self._said_time = time
        self._time = time or TIME
        self._tags = tags
        self._there = Columns()
        self._connection: psycopg.Connection | None = None
        self._made = False

    def send(self, rows: pa.RecordBatch, producer: str, batch: int) -> Sent:
        """Raises Refused, StartupError."""
        text = io.BytesIO()
        pcsv.write_csv(pa.Table.from_batches([rows]), text, pcsv.WriteOptions(include_header=False))
        try:
            return patiently(lambda: self._copy(rows.schema, text.getvalue(), len(rows), producer, batch))
        except psycopg.errors.ObjectNotInPrerequisiteState:
            return Sent(0)
        except psycopg.Error as error:
            row = _COPY_LINE.search(error.diag.context or "")
            raise Refused(_text(error), None if row is None else int(row[1])) from None

    def texts(self) -> tuple[str, ...]:
        """The columns of the table, if it is there: what their values are the server says, not how those of the first
        rows look (007, 1 before 1.5, t). Raises Refused, StartupError."""

        def asked() -> Columns:
            name = sql.Identifier(self._table).as_string()
            return Columns.of(self._connect().execute(_COLUMNS, [name]).fetchall())

        try:
            self._there = patiently(asked)
        except psycopg.Error as error:
            raise Refused(_text(error)) from None
        return self._there.names

    def check(self, given: list[str]) -> str:
        """Before the first rows, whether the columns of a file are what the table, which ``texts`` has asked for, and
        the flags want: the server takes rows without a time as those of now, and does not hear of tags. What is to be
        said of it, or "". Raises Refused."""
        there, listed = self._there, f"; its columns are {', '.join(given)[:200]}"
        if self._said_time and self._time not in given:
            raise Refused(f'there is no column "{self._time}" for the time, which --time names{listed}')
        if not there.names and self._time not in given:
            raise Refused(f'there is no column "{TIME}" for the time: name the one that is it by --time{listed}')
        if there.time and not {there.time, TIME_NS}.intersection(given):
            what = f'the time of table "{self._table}", and --time renames none'
            raise Refused(f'there is no column "{there.time}" for {what}{listed}')
        if missing := [name for name in self._tags if name not in given]:
            raise Refused(f'there is no column "{missing[0]}" for the tag')
        strange = [name for name in self._tags if name not in there.key]
        if there.names and there.key and strange:
            key = ", ".join(there.key)
            raise Refused(f'"{strange[0]}" of --tags is not in the key of table "{self._table}", which is {key}')
        if there.names and strange:
            return f'table "{self._table}" was there without a key: --tags gives it none, and no rows merge'
        return ""

    def _copy(self, schema: pa.Schema, text: bytes, count: int, producer: str, batch: int) -> Sent:
        connection = self._connected(schema)
        names = sql.SQL(", ").join(map(sql.Identifier, schema.names))
        statement = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT csv, PRODUCER {}, BATCH {})").format(
            sql.Identifier(self._table), names, sql.Literal(producer), sql.Literal(str(batch))
        )
        try:
            with connection.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(text)
        except psycopg.errors.InsufficientResources as error:
            raise _Passing(str(error)) from None
        except psycopg.OperationalError:
            self.close()
            raise
        return Sent(count)

    def _connected(self, schema: pa.Schema) -> psycopg.Connection:
        connection = self._connect()
        if not self._made:
            connection.execute(self._table_of(schema))
            self._made = True
        return connection

    def _connect(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._url, autocommit=True, application_name="tsdb import")
        return self._connection

    def _table_of(self, schema: pa.Schema) -> sql.Composed:
        columns = [
            sql.SQL("{} {}").format(sql.Identifier(field.name), sql.SQL(self._type_of(field))) for field in schema
        ]
        if self._tags:
            key = (*self._tags, self._time)
            columns.append(sql.SQL("PRIMARY KEY ({})").format(sql.SQL(", ").join(map(sql.Identifier, key))))
        return sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(
            sql.Identifier(self._table), sql.SQL(", ").join(columns)
        )

    def _type_of(self, field: pa.Field) -> str:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if field.name == self._time:
            return "timestamptz"
        if pa.types.is_timestamp(kind):
            return "timestamptz" if kind.tz else "timestamp"
        if pa.types.is_decimal(kind):
            return f"numeric({kind.precision},{kind.scale})"
        return _NAMES.get(kind, "text")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _text(error: psycopg.Error) -> str:
    # Its line is one of the piece, not of the file.
    context = _COPY_LINE.sub("", error.diag.context or "")
    parts = [error.diag.message_primary or str(error), context, error.diag.message_detail or ""]
    return "; ".join(" ".join(part.split()) for part in parts if part)
