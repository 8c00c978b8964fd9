"""A session of a handful of statements with fixed results, to try listener, connection and encoders on real clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pyarrow as pa

from tsdb.datetimes import Context
from tsdb.errors import QueryCanceled, TsdbError, UndefinedTable
from tsdb.types import (
    BOOL,
    BYTEA,
    DATE,
    FLOAT8,
    INT4,
    INT8,
    INTERVAL,
    JSONB,
    NUMERIC,
    TEXT,
    TIME,
    TIMESTAMPTZ,
    UUID,
    SqlType,
    array_of,
)
from tsdb.wire import (
    Bind,
    Client,
    CopyData,
    CopyDone,
    CopyFail,
    Describe,
    Event,
    Execute,
    FieldDescription,
    Limits,
    Listener,
    Malformed,
    Parse,
    Password,
    Query,
    Startup,
    Sync,
    format_codes,
)
from tsdb.wire.parameters import decode_parameters
from tsdb.wire.rows import RowEncoder
from tsdb.zones import zone

COLUMNS: dict[str, tuple[SqlType, Any]] = {
    "time": (TIMESTAMPTZ, pa.array([1_795_226_166_104_756, None], pa.timestamp("us", "UTC"))),
    "host": (TEXT, pa.array(["a", "b"]).dictionary_encode()),
    "count": (INT8, pa.array([1, -2])),
    "small": (INT4, pa.array([7, None], pa.int32())),
    "usage": (FLOAT8, pa.array([0.1, None])),
    "up": (BOOL, pa.array([True, False])),
    "price": (NUMERIC, pa.array(["12.50", None]).cast(pa.decimal128(10, 2))),
    "day": (DATE, pa.array([20_778, 0], pa.int32()).cast(pa.date32())),
    "at": (TIME, pa.array([3_600_000_000, 1], pa.int64()).cast(pa.time64("us"))),
    "span": (INTERVAL, pa.array([pa.MonthDayNano([0, 2, 3_000_000_000]), None])),
    "raw": (BYTEA, pa.array([b"\0\xff", b""])),
    "id": (UUID, pa.array(["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", None])),
    "doc": (JSONB, pa.array(['{"a": [1]}', None])),
    "tags": (array_of(TEXT), pa.array([["x", None, "y z"], []], pa.list_(pa.string()))),
}
BATCH = pa.RecordBatch.from_arrays([array for _, array in COLUMNS.values()], list(COLUMNS))
WIDE_TEXT = "x" * 1000
STREAM_ROWS = 1000
STREAM_BATCHES = 300


class FixedSession:
    """``SELECT fixed``, ``stream``, ``sleep``, ``fail``, ``crash``, ``COPY in``, ``COPY out``; anything with a
    parameter returns its text."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._connection = client.connection
        self._cancelled = asyncio.Event()
        self._statement = ""
        self._parameter_types: list[SqlType] = []
        self._bound: Bind | None = None
        self._copied = b""
        self.batches_sent = 0
        self.asleep = False
        self.closed = False

    # --- the contract ---

    async def handle(self, event: Event) -> None:
        try:
            await self._answer(event)
        except TsdbError as error:
            self._connection.error(error)
        finally:
            self._cancelled.clear()
        if self._connection.servers_turn and not isinstance(event, Startup):
            self._connection.ready("I")

    def cancel(self) -> None:
        self._cancelled.set()

    async def close(self) -> None:
        self.closed = True

    # --- events ---

    async def _answer(self, event: Event) -> None:
        answer = self._answers().get(type(event))
        if answer is not None:
            await answer(event)

    def _answers(self) -> dict[type, Callable[[Any], Awaitable[None]]]:
        return {
            Startup: self._startup,
            Password: self._startup,
            Query: self._query,
            Parse: self._parse,
            Bind: self._bind,
            Describe: self._describe,
            Execute: self._execute,
            CopyData: self._copy_data,
            CopyDone: self._copy_done,
            CopyFail: self._copy_fail,
            Malformed: self._malformed,
            Sync: self._sync,
        }

    async def _startup(self, event: Startup) -> None:
        self._connection.authentication_ok()
        for name, value in (("server_version", "15.18"), ("client_encoding", "UTF8"), ("TimeZone", "UTC"),
                            ("DateStyle", "ISO, MDY"), ("IntervalStyle", "postgres"),
                            ("standard_conforming_strings", "on"), ("integer_datetimes", "on")):  # fmt: skip
            self._connection.parameter_status(name, value)
        self._connection.backend_key_data(self._client.process_id, self._client.secret_key)
        self._connection.ready("I")

    async def _query(self, event: Query) -> None:
        if not event.text.strip():
            self._connection.empty_query()
            return
        await self._run(event.text, (), describe=True)

    async def _parse(self, event: Parse) -> None:
        self._statement = event.text
        self._parameter_types = [TEXT] * event.text.count("$")
        self._connection.parse_complete()

    async def _bind(self, event: Bind) -> None:
        self._bound = event
        self._connection.bind_complete()

    async def _describe(self, event: Describe) -> None:
        if event.kind == "S":
            self._connection.parameter_description(self._parameter_types)
        formats = self._bound.result_formats if self._bound is not None and event.kind == "P" else ()
        self._describe_columns(formats)

    async def _execute(self, event: Execute) -> None:
        assert self._bound is not None
        await self._run(self._statement, self._bound.result_formats, describe=False)

    async def _sync(self, event: Sync) -> None:
        pass

    async def _malformed(self, event: Malformed) -> None:
        raise event.error

    # --- statements ---

    def _columns(self) -> list[tuple[str, SqlType]]:
        if "$1" in self._statement:
            return [("echo", TEXT)]
        return [(name, kind) for name, (kind, _) in COLUMNS.items()]

    def _describe_columns(self, formats: Sequence[int]) -> None:
        columns = self._columns()
        codes = format_codes(tuple(formats), len(columns))
        self._connection.row_description(
            [FieldDescription(name, kind, code) for (name, kind), code in zip(columns, codes, strict=True)]
        )

    async def _run(self, text: str, formats: Sequence[int], *, describe: bool) -> None:
        self._statement = text
        word = text.split()[1]
        if word == "sleep":
            self.asleep = True
            await self._cancelled.wait()
            self.asleep = False
            raise QueryCanceled("canceling statement due to user request")
        if word == "fail":
            raise UndefinedTable('relation "fail" does not exist', position=8)
        if word == "crash":
            raise ValueError("a secret that no client may see")
        if word == "in":
            self._copied = b""
            self._connection.copy_in_response([0], binary=False)
            return
        if word == "out":
            self._connection.copy_out_response([0], binary=False)
            self._connection.copy_data(b"1\n2\n")
            self._connection.copy_done()
            self._connection.command_complete("COPY 2")
            return
        if word == "stream":
            await self._stream()
            return
        if describe:
            self._describe_columns(formats)
        self._send_rows(formats)

    def _send_rows(self, formats: Sequence[int]) -> None:
        columns = self._columns()
        codes = format_codes(tuple(formats), len(columns))
        batch = BATCH
        if "$1" in self._statement:
            assert self._bound is not None
            values = decode_parameters(self._bound, self._parameter_types, Context(zone("UTC"), 0))
            batch = pa.RecordBatch.from_arrays([pa.array(values, pa.string())], ["echo"])
        encoder = RowEncoder([(kind, code) for (_, kind), code in zip(columns, codes, strict=True)])
        for piece in encoder.encode_chunks(batch):
            self._connection.data_rows(piece)
        self._connection.command_complete(f"SELECT {batch.num_rows}")

    async def _stream(self) -> None:
        """300 MB, as fast as the client takes them."""
        self._connection.row_description([FieldDescription("wide", TEXT)])
        encoder = RowEncoder([(TEXT, 0)])
        batch = pa.RecordBatch.from_arrays([pa.array([WIDE_TEXT] * STREAM_ROWS)], ["wide"])
        for _ in range(STREAM_BATCHES):
            if self._cancelled.is_set():
                raise QueryCanceled("canceling statement due to user request")
            for piece in encoder.encode_chunks(batch):
                self._connection.data_rows(piece)
                await self._client.flush()
            self.batches_sent += 1
        self._connection.command_complete(f"SELECT {STREAM_ROWS * STREAM_BATCHES}")

    async def _copy_data(self, event: CopyData) -> None:
        self._copied += event.data

    async def _copy_done(self, event: CopyDone) -> None:
        self._connection.command_complete(f"COPY {len(self._copied)}")

    async def _copy_fail(self, event: CopyFail) -> None:
        raise QueryCanceled(f"COPY from stdin failed: {event.reason}")


class Sessions:
    """A factory that remembers what it made."""

    def __init__(self) -> None:
        self.made: list[FixedSession] = []

    def __call__(self, client: Client) -> FixedSession:
        self.made.append(FixedSession(client))
        return self.made[-1]


@asynccontextmanager
async def listening(limits: Limits | None = None, **arguments: Any) -> AsyncIterator[tuple[Listener, Sessions]]:
    """A listener on a free port, closed at the end."""
    sessions = Sessions()
    listener = Listener(sessions, limits=limits, **arguments)
    await listener.start()
    try:
        yield listener, sessions
    finally:
        await listener.close(grace_s=0.2)
