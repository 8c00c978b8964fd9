"""Flight's listener: gRPC's calls in, batches and Flight's errors out. Of clients' Flight the one module that knows
``pyarrow.flight``.

Sources: Arrow's Flight RPC format; ``pyarrow.flight``'s reference.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec
import pyarrow as pa
import pyarrow.flight as flight

from tsdb import __version__
from tsdb.clock import Clock
from tsdb.errors import (
    CannotConnectNow,
    DiskFull,
    FeatureNotSupported,
    InsufficientPrivilege,
    InternalError,
    InvalidAuthorizationSpecification,
    InvalidPassword,
    LocationElsewhere,
    OutOfMemory,
    QueryCanceled,
    TooManyConnections,
    TsdbError,
)
from tsdb.flight.bearer import Bearers
from tsdb.flight.calls import Call, Calls
from tsdb.flight.listing import listed
from tsdb.flight.reading import Reading
from tsdb.flight.requests import Put, Query, extra_of, read_path, read_put, read_query
from tsdb.flight.writing import Incoming, WriteOptions
from tsdb.model.access import Identity
from tsdb.model.store import Store
from tsdb.session import Activity, SessionFactory
from tsdb.sql.query import Queries

log = logging.getLogger(__name__)

# The role of whoever calls from an address with an Authorization header, or none. Raises InvalidPassword and its like.
Identify = Callable[[str, str | None], Identity]

# The handshake does not say where it comes from; this is no address of this machine.
HANDSHAKE = "handshake"
# Rows between two acknowledgements: few enough that a client which reads none does not block the stream.
ACK_ROWS = 65_536
_CALLER = "caller"
_UNAVAILABLE = OutOfMemory | DiskFull | TooManyConnections | CannotConnectNow | LocationElsewhere


@dataclass(frozen=True, slots=True)
class Parts:
    """What the listener serves with. ``pool`` binds writes, ``loop`` runs statements."""

    store: Store
    queries: Queries
    sessions: SessionFactory
    clock: Clock
    pool: Executor
    loop: asyncio.AbstractEventLoop
    identify: Identify
    writing: WriteOptions
    handshake_host: str = HANDSHAKE
    streams_max: int = 64


@dataclass(slots=True)
class Counts:
    """Since the start."""

    rows_written: int = 0
    rows_sent: int = 0
    calls: int = 0
    failures: int = 0


class Listener(flight.FlightServerBase):  # type: ignore[misc]
    """Listens from when it is made. ``tls`` are (certificate chain, key) in PEM. Raises OSError."""

    def __init__(self, parts: Parts, host: str, port: int, tls: tuple[bytes, bytes] | None, bearers: Bearers) -> None:
        self._parts = parts
        self._bearers = bearers
        self._tls = tls is not None
        self.counts = Counts()
        self.calls = Calls(parts.streams_max)
        scheme = flight.Location.for_grpc_tls if self._tls else flight.Location.for_grpc_tcp
        super().__init__(
            scheme(host, port),
            auth_handler=_Handshake(),
            tls_certificates=None if tls is None else [tls],
            middleware={_CALLER: _Callers(parts, bearers)},
        )
        self._address = f"{host}:{self.port}"
        self.calls.start()

    # --- reading ---

    def do_get(self, context: flight.ServerCallContext, ticket: flight.Ticket) -> flight.FlightDataStream:
        with self._told():
            query = read_query(ticket.ticket)
            who = self._who(context)
            reading = self._reading(context)
            call = self.calls.enter(context, reading.cancel)
            try:
                schema = reading.begin(self._parts.sessions, who, query)
            except BaseException:
                reading.close()
                call.leave()
                raise
            rows = self._rows(reading, schema, call)
            next(rows)  # a generator that has not begun would not be closed
            return flight.GeneratorStream(schema, rows)

    def _rows(self, reading: Reading, schema: pa.Schema, call: Call) -> Iterator[Any]:
        try:
            yield None
            with self._told():
                yield from reading.batches(schema)
        finally:
            call.leave()
            self.counts.rows_sent += reading.rows
            reading.close()

    def get_flight_info(
        self, context: flight.ServerCallContext, descriptor: flight.FlightDescriptor
    ) -> flight.FlightInfo:
        with self._told():
            command, query = self._asked(descriptor)
            return self._info(descriptor, self._schema(context, query), command)

    def get_schema(self, context: flight.ServerCallContext, descriptor: flight.FlightDescriptor) -> flight.SchemaResult:
        with self._told():
            return flight.SchemaResult(self._schema(context, self._asked(descriptor)[1]))

    def list_flights(self, context: flight.ServerCallContext, criteria: bytes) -> Iterator[flight.FlightInfo]:
        with self._told():
            who = self._who(context)
            found = listed(self._parts.store.catalog, who.role, criteria.decode(errors="replace"))
        for database, series, schema in found:
            descriptor = flight.FlightDescriptor.for_path(database, series)
            yield self._info(descriptor, schema, self._asked(descriptor)[0])

    def _schema(self, context: flight.ServerCallContext, query: Query) -> pa.Schema:
        who = self._who(context)
        reading = self._reading(context)
        call = self.calls.enter(context, reading.cancel)
        try:
            return reading.describe(self._parts.sessions, who, query)
        finally:
            call.leave()

    def _asked(self, descriptor: flight.FlightDescriptor) -> tuple[bytes, Query]:
        """The ticket that a descriptor stands for."""
        if descriptor.descriptor_type == flight.DescriptorType.CMD:
            return descriptor.command, read_query(descriptor.command)
        database, series = read_path(descriptor.path)
        query = Query('SELECT * FROM "' + series.replace('"', '""') + '"', database)
        return msgspec.json.encode(query), query

    def _info(self, descriptor: flight.FlightDescriptor, schema: pa.Schema, command: bytes) -> flight.FlightInfo:
        # No location: the client asks where it is connected (Flight RPC, "reuse connection").
        return flight.FlightInfo(schema, descriptor, [flight.FlightEndpoint(flight.Ticket(command), [])], -1, -1)

    # --- writing ---

    def do_put(
        self,
        context: flight.ServerCallContext,
        descriptor: flight.FlightDescriptor,
        reader: flight.MetadataRecordBatchReader,
        writer: flight.FlightMetadataWriter,
    ) -> None:
        with self._told():
            put = _put_of(descriptor)
            who = self._who(context)
            parts = self._parts
            incoming = Incoming(parts.store, parts.queries, parts.clock, parts.pool, parts.writing, put, who.role)
            cancelled: list[str] = []
            call = self.calls.enter(context, cancelled.append)
            activity = self._listed(context, who, put, cancelled.append)
            try:
                incoming.begin(reader.schema)
                self._take(incoming, reader, writer, cancelled)
            except TsdbError as error:
                raise incoming.told(error) from None
            finally:
                call.leave()
                parts.sessions.sessions.remove(activity.process_id)
                self.counts.rows_written += incoming.stored

    def _take(
        self,
        incoming: Incoming,
        reader: flight.MetadataRecordBatchReader,
        writer: flight.FlightMetadataWriter,
        cancelled: list[str],
    ) -> None:
        told = 0
        while (batch := _next_batch(reader)) is not None:
            if cancelled:
                raise QueryCanceled(cancelled[0])
            stored = incoming.add(batch)
            if stored >= told + ACK_ROWS:
                writer.write(_acknowledgement(stored, incoming))
                told = stored
        if cancelled:
            raise QueryCanceled(cancelled[0])
        writer.write(_acknowledgement(incoming.finish(), incoming))

    def _listed(
        self, context: flight.ServerCallContext, who: Identity, put: Put, cancel: Callable[[str], None]
    ) -> Activity:
        """The stream's row of pg_stat_activity."""
        now_ns, sessions = self._parts.clock.now_ns(), self._parts.sessions.sessions
        activity = Activity(
            sessions.next_number(),
            who.name,
            put.database,
            _address(context),
            now_ns,
            lambda: "",
            cancel=lambda: cancel("canceling statement due to user request"),
            terminate=lambda: cancel("terminating the statement due to administrator command"),
            transaction_started_us=lambda: 0,
            state="active",
            state_changed_ns=now_ns,
            query=f'DoPut "{put.series}"',
            query_started_ns=now_ns,
            role=who.role,
            server_address=self._address,
        )
        sessions.add(activity)
        return activity

    # --- the rest of Flight ---

    def list_actions(self, context: flight.ServerCallContext) -> list[flight.ActionType]:
        return [flight.ActionType("version", "the server's version")]

    def do_action(self, context: flight.ServerCallContext, action: flight.Action) -> Iterator[flight.Result]:
        with self._told():
            self._who(context)
            if action.type != "version":
                raise FeatureNotSupported(f'there is no action "{action.type}"')
        yield flight.Result(f"tsdb {__version__}".encode())

    # --- who calls, and what it is told ---

    def _reading(self, context: flight.ServerCallContext) -> Reading:
        return Reading(self._parts.store, self._parts.loop, _address(context), self._address, self._tls)

    def _who(self, context: flight.ServerCallContext) -> Identity:
        """Raises InvalidPassword, InsufficientPrivilege."""
        self.counts.calls += 1
        caller = context.get_middleware(_CALLER)
        header: str | None = caller.authorization if caller is not None else None
        scheme, _, text = (header or "").partition(" ")
        if scheme.lower() == "bearer":
            found = self._bearers.identity(text.strip())
            if found is not None:
                return found
        return self._parts.identify(_address(context).rpartition(":")[0], header)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except TsdbError as error:
            self.counts.failures += 1
            raise flight_error(error) from None
        except (flight.FlightError, GeneratorExit):
            raise
        except Exception:
            self.counts.failures += 1
            log.exception("a Flight call failed")
            raise flight_error(InternalError("internal error", hint="The server's log says more.")) from None

    def end(self, why: str) -> None:
        """Take no more, cancel what runs, and wait for it. Blocks as long as clients do not take their errors."""
        self.calls.stop(why)
        self.shutdown()


class _Caller(flight.ServerMiddleware):  # type: ignore[misc]
    """What a call's headers say of who calls; the answer to a handshake."""

    def __init__(self, authorization: str | None, token: str | None) -> None:
        self.authorization = authorization
        self._token = token

    def sending_headers(self) -> dict[str, str]:
        return {} if self._token is None else {"authorization": f"Bearer {self._token}"}


class _Callers(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    def __init__(self, parts: Parts, bearers: Bearers) -> None:
        self._parts = parts
        self._bearers = bearers

    def start_call(self, info: flight.CallInfo, headers: dict[str, list[Any]]) -> _Caller:
        given = headers.get("authorization") or [None]
        authorization = given[0].decode(errors="replace") if isinstance(given[0], bytes) else given[0]
        if info.method != flight.FlightMethod.HANDSHAKE:
            return _Caller(authorization, None)
        try:
            who = self._parts.identify(self._parts.handshake_host, authorization)
        except TsdbError as error:
            raise flight_error(error) from None
        # Who has a token already gets no other one: it would hold on when the first is revoked.
        scheme = (authorization or "basic").partition(" ")[0].lower()
        return _Caller(authorization, self._bearers.give(who) if scheme == "basic" else None)


class _Handshake(flight.ServerAuthHandler):  # type: ignore[misc]
    """Flight answers no handshake without a handler; the header says it all."""

    def authenticate(self, outgoing: Any, incoming: Any) -> None:
        pass

    def is_valid(self, token: bytes) -> bytes:
        return b""


def flight_error(error: TsdbError) -> flight.FlightError:
    """The Flight error of its kind; the SQLSTATE and the rest are in ``extra_info``.

    Never FlightCancelledError: of that pyarrow's ``read_all`` makes a KeyboardInterrupt (tried with 26.0).
    """
    kind = flight.FlightServerError
    if isinstance(error, InvalidPassword | InvalidAuthorizationSpecification):
        kind = flight.FlightUnauthenticatedError
    elif isinstance(error, InsufficientPrivilege):
        kind = flight.FlightUnauthorizedError
    elif isinstance(error, _UNAVAILABLE):
        kind = flight.FlightUnavailableError
    elif isinstance(error, InternalError):
        kind = flight.FlightInternalError
    return kind(error.message, extra_of(error))


def _put_of(descriptor: flight.FlightDescriptor) -> Put:
    if descriptor.descriptor_type == flight.DescriptorType.CMD:
        return read_put(descriptor.command)
    database, series = read_path(descriptor.path)
    return Put(series, database)


def _next_batch(reader: flight.MetadataRecordBatchReader) -> pa.RecordBatch | None:
    """The next batch that has one; None at the end."""
    while True:
        try:
            chunk = reader.read_chunk()
        except StopIteration:
            return None
        if chunk.data is not None:
            return chunk.data


def _acknowledgement(rows: int, incoming: Incoming) -> bytes:
    found = {"rows": rows, "duplicate": incoming.duplicate, "fell_short": incoming.fell_short}
    return msgspec.json.encode(found)


def _address(context: flight.ServerCallContext) -> str:
    """``host:port`` of gRPC's ``ipv4:127.0.0.1:1234`` or ``ipv6:%5B::1%5D:1234``; "" over a Unix socket."""
    kind, _, rest = unquote(context.peer()).partition(":")
    return rest.replace("[", "").replace("]", "") if kind in ("ipv4", "ipv6") else ""
