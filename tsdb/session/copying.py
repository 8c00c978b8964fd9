"""COPY in a session: rows out as CopyData, and what comes in while the client sends.

COPY TO is a query whose rows are encoded otherwise. COPY FROM lives through many messages: ``begin`` answers
CopyInResponse and leaves an ``Incoming`` with the exchange, which takes the client's CopyData until CopyDone or
CopyFail.

    CopyData …      collected to chunks of some MiB; while one is read in the pool, the next is collected
    CopyDone        the last chunk; then all points go into the transaction at once, and the tag is the answer
    CopyFail, error nothing was handed on: the spool is closed, the client is told, the rest of its data is discarded
                    (by the connection's states)

So a COPY is all or nothing: what is not right anywhere leaves nothing. Its points wait in a ``spool``.

Source: PostgreSQL 15 manual, 55.2.6 (COPY operations); SQL command COPY.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tsdb import datetimes
from tsdb.errors import InternalError, QueryCanceled, ReadOnlySqlTransaction
from tsdb.session import parameters
from tsdb.session.exchange import Exchange, Timer
from tsdb.session.planning import Plan
from tsdb.session.rowset import Done, RowSource, RowStream
from tsdb.session.spool import Spool
from tsdb.sql.copy.input import CopyInput, PreparedCopy
from tsdb.sql.copy.options import CopyOptions
from tsdb.types import SqlType
from tsdb.wire import BINARY_FORMAT, CopyData, CopyDone, CopyFail, Event, Malformed
from tsdb.wire.copy_out import CopyEncoder, CopyFormat
from tsdb.wire.parameters import decode
from tsdb.zones import zone

# How much input is read at a time: enough for the kernels, little enough for many clients.
CHUNK_BYTES = 6 << 20

Finish = Callable[[str], Awaitable[None]]


async def send(exchange: Exchange, plan: Plan) -> str:
    """COPY TO STDOUT: run and send the query's rows; the tag."""
    core = exchange.core
    body, copy = plan.body, plan.copy
    assert body is not None
    assert copy is not None
    core.check_allowed(body)
    context = core.context()
    rowset = await exchange.work(lambda: core.execution.run(body, (), context, (), core.cancellation))
    if isinstance(rowset, Done):
        raise InternalError("a query of COPY gave no rows")
    core.cancellation.watch(rowset)
    binary = copy.options.binary
    exchange.connection.copy_out_response([int(binary)] * len(rowset.columns), binary=binary)
    try:
        names = [column.name for column in rowset.columns]
        how = _format(copy.options, names, core.codec)
        encoder = CopyEncoder([(c.name, c.type) for c in rowset.columns], how, core.timezone)
        exchange.connection.data_rows(encoder.start())
        stream = RowStream(RowSource(rowset), (int(binary),) * len(names), core, encoder)
        rows, _ = await exchange.send(stream, None)
    except BaseException:
        exchange.work.later(rowset.close)
        raise
    exchange.connection.data_rows(encoder.finish())
    exchange.connection.copy_done()
    return f"COPY {rows}"


def _format(options: CopyOptions, names: list[str], codec: str) -> CopyFormat:
    forced = options.force_quote
    return CopyFormat(
        options.format,
        options.delimiter,
        options.null,
        options.header == "on",
        options.quote,
        options.escape,
        tuple(forced is not None and (forced == "*" or name in forced) for name in names),
        codec if options.binary else options.encoding or codec,
    )


async def begin(exchange: Exchange, plan: Plan, timer: Timer, finish: Finish, *, simple: bool) -> None:
    """COPY FROM STDIN: ask for the data. ``finish`` is called with the tag when all is there; ``timer`` is the
    statement's. ``simple``: an error is followed by ReadyForQuery."""
    core = exchange.core
    if core.variables.get("transaction_read_only") == "on":
        raise ReadOnlySqlTransaction("cannot execute COPY FROM in a read-only transaction")
    context = core.context()
    prepared = await exchange.work(lambda: core.execution.fresh_copy(plan, context))
    zoned = datetimes.Context(zone(core.timezone), context.now_us, core.codec)

    def decoded(sql_type: SqlType, octets: bytes) -> object:
        return parameters.plain(decode(octets, sql_type, BINARY_FORMAT, zoned))

    reading = prepared.start(
        context,
        decoded,
        lambda rows: core.execution.defaults(prepared, rows, context),
        lambda points: core.execution.chosen(prepared, points, context),
        lambda points: core.execution.refused(points, context),
    )
    exchange.incoming = Incoming(exchange, prepared, reading, timer, finish, simple=simple)
    binary = prepared.copy.options.binary
    exchange.connection.copy_in_response([int(binary)] * len(prepared.targets), binary=binary)


class Incoming:
    """A COPY FROM that is waiting for its client's data."""

    def __init__(
        self,
        exchange: Exchange,
        prepared: PreparedCopy,
        reading: CopyInput,
        timer: Timer,
        finish: Finish,
        *,
        simple: bool,
    ) -> None:
        self._exchange = exchange
        self._prepared = prepared
        self._reading = reading
        self._timer = timer
        self._finish = finish
        self._simple = simple
        self._cancellation = exchange.core.cancellation
        self._spool = Spool(exchange.core.execution.spill_directory, exchange.core.limits.copy_memory)
        self._parts: list[bytes] = []
        self._bytes = 0
        self._running: asyncio.Future[None] | None = None

    async def receive(self, event: Event) -> None:
        """Take the client's next message."""
        try:
            self._cancellation.check()
            if isinstance(event, Malformed):
                raise event.error
            if isinstance(event, CopyFail):
                raise QueryCanceled(f"COPY from stdin failed: {event.reason}")
            if isinstance(event, CopyData):
                await self._data(event.data)
                return
            assert isinstance(event, CopyDone)
            await self._done()
        except ConnectionError:
            self.discard()
            raise
        except Exception as error:
            await self._failed(error)

    async def _failed(self, error: Exception) -> None:
        self.discard()
        self._exchange.failed(error)
        if self._simple:
            self._exchange.ready()

    async def _data(self, octets: bytes) -> None:
        if self._running is not None and self._running.done():
            await self._join()
        self._parts.append(octets)
        self._bytes += len(octets)
        if self._bytes >= CHUNK_BYTES:
            await self._join()
            self._running = asyncio.ensure_future(self._exchange.work(self._next_chunk()))
            # Whoever joins it sees its error; nobody does when the client is gone.
            self._running.add_done_callback(lambda future: future.cancelled() or future.exception())

    async def _join(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running

    def _next_chunk(self) -> Callable[[], None]:
        octets = b"".join(self._parts)
        self._parts.clear()
        self._bytes = 0

        turn = self._exchange.work.turn

        def read() -> None:
            turn.enter()
            for points in self._reading.feed(octets):
                self._cancellation.check()
                self._spool.add(points)

        return read

    async def _done(self) -> None:
        await self._join()
        read = self._next_chunk()
        execution = self._exchange.core.execution

        def rest() -> None:
            read()
            for points in self._reading.finish():
                self._spool.add(points)
            self._cancellation.check()
            execution.add_copied(self._prepared, self._spool.take(), self._reading.lines)

        await self._exchange.work(rest)
        self._exchange.core.notices.extend(self._reading.notices)
        self.discard()
        await self._finish(f"COPY {self._reading.rows}")

    def discard(self) -> None:
        """It is over: nothing is taken any more, what waits is dropped."""
        self._timer.cancel()
        self._parts.clear()
        self._exchange.incoming = None
        self._exchange.work.later(self._spool.close)
