"""One client's session: wire events in, answers out. What blocks runs in the pool, never on the event loop.

A simple query is answered statement by statement up to ReadyForQuery; the extended protocol message by message. Both go
through ``_run``: plan, run, stream. The decisions are in ``core``, ``commands`` and ``execution``; see the package.

Source: PostgreSQL 15 manual, 55.2 (message flow).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar

from tsdb import datetimes
from tsdb.clock import Clock
from tsdb.errors import InvalidCatalogName, ObjectNotInPrerequisiteState, SqlSyntaxError, TsdbError
from tsdb.model.store import Store
from tsdb.session import answers, commands, parameters
from tsdb.session.cancellation import Cancellation
from tsdb.session.core import Core
from tsdb.session.execution import Done, Plan
from tsdb.session.portals import Portal, PreparedStatement
from tsdb.session.rowset import Rowset, RowSource, RowStream
from tsdb.session.sessions import Activity, Sessions
from tsdb.session.transaction import State
from tsdb.sql.query import Queries
from tsdb.sql.result import ResultColumn
from tsdb.sql.statement import Statement, Utility, parse, split
from tsdb.types import BY_OID, UNKNOWN, SqlType
from tsdb.wire import (
    TEXT_FORMAT,
    Bind,
    Client,
    Close,
    Describe,
    Event,
    Execute,
    FieldDescription,
    Malformed,
    Parse,
    Query,
    Startup,
    Sync,
    format_codes,
)
from tsdb.zones import zone

logger = logging.getLogger(__name__)

T = TypeVar("T")

# How much of a statement's text pg_stat_activity keeps.
ACTIVITY_CHARACTERS = 1024
TEXT_READ_AT_ONCE = 4096


class Session:
    """Implements ``tsdb.wire.Session``. One event at a time; ``cancel`` may come in between."""

    def __init__(
        self, client: Client, store: Store, queries: Queries, pool: Executor, clock: Clock, sessions: Sessions
    ) -> None:
        self._client = client
        self._connection = client.connection
        self._store = store
        self._queries = queries
        self._pool = pool
        self._clock = clock
        self._sessions = sessions
        self._core: Core | None = None
        self._activity: Activity | None = None
        self._reported: dict[str, str] = {}
        self._reported_generation = -1
        self._working: asyncio.Future[Any] | None = None

    @property
    def core(self) -> Core:
        assert self._core is not None, "the startup packet comes first"
        return self._core

    # --- tsdb.wire.Session ---

    async def handle(self, event: Event) -> None:
        if isinstance(event, Startup):
            self._startup(event)
            return
        self.core.cancellation = Cancellation()
        try:
            if isinstance(event, Query):
                await self._simple_query(event.text)
            elif isinstance(event, Sync):
                await self._sync()
            elif isinstance(event, Malformed) and self._connection.servers_turn:
                self._failed(event.error)
                self._ready()
            else:
                await self._extended(event)
        finally:
            self.core.deadline = None

    def cancel(self) -> None:
        if self._core is not None:
            self._core.cancellation.cancel()

    async def close(self) -> None:
        self.cancel()
        if self._working is not None and not self._working.done():
            await asyncio.wait([self._working])
        if self._core is not None:
            self._core.fail()
            self._core.names.clear()
        self._sessions.remove(self._client.process_id)

    # --- startup ---

    def _startup(self, event: Startup) -> None:
        if event.database not in self._store.catalog.databases:
            raise InvalidCatalogName(f'database "{event.database}" does not exist')
        client = self._client
        core = Core(
            self._store,
            self._queries,
            self._clock,
            user=event.user,
            database=event.database,
            process_id=client.process_id,
            in_use=lambda database: self._sessions.count(database, but=client.process_id),
            release=self._release,
        )
        for name, value in (*event.parameters.items(), *event.settings):
            core.variables.set_start(name, value)
        self._core = core
        self._activity = Activity(
            client.process_id,
            event.user,
            event.database,
            client.address,
            self._clock.now_ns(),
            lambda: core.variables.get("application_name"),
        )
        self._sessions.add(self._activity)
        self._connection.authentication_ok()
        self._report()
        self._connection.backend_key_data(client.process_id, client.secret_key)
        self._connection.ready("I")

    def _report(self) -> None:
        """ParameterStatus for every reported setting that the client does not know yet."""
        variables = self.core.variables
        if variables.generation == self._reported_generation:
            return
        self._reported_generation = variables.generation
        for name, value in variables.reported:
            if self._reported.get(name) != value:
                self._reported[name] = value
                self._connection.parameter_status(name, value)

    # --- the pool ---

    async def _work(self, function: Callable[[], T]) -> T:
        """Run what blocks in the pool."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, function)
        self._working = future
        # Shielded: a task that is cancelled leaves, but the thread goes on, and ``close`` waits for it.
        return await asyncio.shield(future)

    def _release(self, portal: Portal) -> None:
        """Close a portal where blocking is allowed; nobody waits for it."""
        if portal.source is not None:
            self._later(portal.close)

    def _later(self, close: Callable[[], None]) -> None:
        """Close in the pool, once the thread that may still be reading has returned."""
        working = self._working
        if working is None or working.done():
            self._pool.submit(_quietly, close)
        else:
            working.add_done_callback(lambda _: self._pool.submit(_quietly, close))

    async def _read(self, text: str) -> list[Statement]:
        """The statements of a message. Long texts are read in the pool: the event loop serves everybody."""
        if len(text) <= TEXT_READ_AT_ONCE:
            return _statements(text)
        return await self._work(partial(_statements, text))

    # --- simple queries ---

    async def _simple_query(self, text: str) -> None:
        self._active(text)
        try:
            statements = await self._read(text)
            if not statements:
                self._connection.empty_query()
            for i, statement in enumerate(statements):
                await self._simple_statement(statement, last=i == len(statements) - 1)
        except ConnectionError:
            raise
        except Exception as error:
            self._failed(error)
        self._ready()

    async def _simple_statement(self, statement: Statement, *, last: bool) -> None:
        core = self.core
        timer = self._start_timer()
        try:
            plan, result = await self._planned(statement)
            if isinstance(result, Done):
                tag = result.tag
            else:
                tag = await self._send_all(plan, result)
            if last:
                # A failure to commit is the last statement's failure, not one after its success.
                await core.finish_implicit(self._work)
        finally:
            core.cancellation.watch(None)
            timer.cancel()
        self._say()
        self._connection.command_complete(tag)

    async def _planned(self, statement: Statement) -> tuple[Plan, Rowset | Done]:
        """Plan and run a statement without parameters: one trip to the pool."""
        core = self.core
        if isinstance(statement, Utility):
            plan = await self._plan_utility(statement)
            core.start(plan)
            return plan, await commands.run(core, plan, (), self._work)
        core.start()
        context = core.context()

        def plan_and_run() -> tuple[Plan, Rowset | Done]:
            plan = core.execution.plan(statement, context)
            core.check_allowed(plan)
            return plan, core.execution.run(plan, (), context, (), core.cancellation)

        return await self._work(plan_and_run)

    async def _plan_utility(self, statement: Utility) -> Plan:
        core = self.core
        context = core.context()
        if statement.verb != "DECLARE":
            return core.execution.plan(statement, context)
        return await self._work(lambda: core.execution.plan(statement, context))

    async def _send_all(self, plan: Plan, rowset: Rowset) -> str:
        """RowDescription and all rows, in text; the tag."""
        formats = (TEXT_FORMAT,) * len(rowset.columns)
        self.core.cancellation.watch(rowset)
        self._connection.row_description(_fields(rowset.columns, formats))
        rows = 0
        try:
            stream = RowStream(RowSource(rowset), formats, self.core.timezone)
            rows, _ = await self._send(stream, None)
        except BaseException:
            self._later(rowset.close)
            raise
        return rowset.tag(rows)

    async def _send(self, stream: RowStream, limit: int | None) -> tuple[int, bool]:
        """Send rows, at most ``limit``. (rows sent, whether there are none left: then the rowset is closed)."""
        rows = 0
        cancellation = self.core.cancellation

        def step() -> Any:
            cancellation.check()
            piece = stream.next(None if limit is None else limit - rows)
            if piece is None and (limit is None or rows < limit):
                stream.source.rowset.close()
            return piece

        while True:
            piece = await self._work(step)
            if piece is None:
                return rows, limit is None or rows < limit
            rows += piece.rows
            self._connection.data_rows(piece.octets)
            await self._client.flush()

    # --- the extended protocol ---

    async def _extended(self, event: Event) -> None:
        timer = None
        try:
            if isinstance(event, Malformed):
                raise event.error
            if isinstance(event, Parse):
                self._active(event.text)
                await self._parse(event)
            elif isinstance(event, Bind):
                self._bind(event)
            elif isinstance(event, Describe):
                self._describe(event)
            elif isinstance(event, Execute):
                timer = self._start_timer()
                await self._execute(event)
            elif isinstance(event, Close):
                self._close(event)
        except ConnectionError:
            raise
        except Exception as error:
            self._failed(error)
        finally:
            self.core.cancellation.watch(None)
            if timer is not None:
                timer.cancel()

    async def _parse(self, event: Parse) -> None:
        core = self.core
        statements = await self._read(event.text)
        if len(statements) > 1:
            raise SqlSyntaxError("cannot insert multiple commands into a prepared statement")
        if not event.name:
            core.names.close_statement("")
        types = tuple(_client_type(oid) for oid in event.parameter_oids)
        plan: Plan | None = None
        if statements:
            statement = statements[0]
            if isinstance(statement, Utility):
                plan = core.execution.plan(statement, core.context(), types) if statement.verb != "DECLARE" else None
            core.start(plan)
            if plan is None:
                context = core.context()
                plan = await self._work(lambda: core.execution.plan(statement, context, types))
        core.names.add_statement(PreparedStatement(event.name, plan, types, core.variables.generation))
        self._connection.parse_complete()

    def _bind(self, event: Bind) -> None:
        core = self.core
        statement = core.names.statement(event.statement)
        core.start(statement.plan)
        plan = statement.plan
        types = plan.parameters if plan is not None else ()
        context = datetimes.Context(zone(core.timezone), core.context().now_us)
        values = parameters.values_of(event, types, context)
        columns = commands.columns_of(core, plan) if plan is not None else None
        formats = format_codes(event.result_formats, len(columns or ()))
        core.names.add_portal(Portal(event.portal, statement, values, formats))
        self._connection.bind_complete()

    def _describe(self, event: Describe) -> None:
        core = self.core
        if event.kind == "S":
            statement = core.names.statement(event.name)
            core.start(statement.plan)
            self._connection.parameter_description(statement.plan.parameters if statement.plan is not None else ())
            formats: Sequence[int] | None = None
        else:
            portal = core.names.portal(event.name)
            statement, formats = portal.statement, portal.formats
        columns = commands.columns_of(core, statement.plan) if statement.plan is not None else None
        if columns is None:
            self._connection.no_data()
            return
        # A cursor that DECLARE made has no formats of its own: FETCH will have them.
        codes = formats if formats is not None and len(formats) == len(columns) else (TEXT_FORMAT,) * len(columns)
        self._connection.row_description(_fields(columns, codes))

    async def _execute(self, event: Execute) -> None:
        core = self.core
        portal = core.names.portal(event.portal)
        plan = portal.statement.plan
        if plan is None:
            self._connection.empty_query()
            return
        core.start(plan)
        if portal.finished:
            if portal.stream is None:
                raise ObjectNotInPrerequisiteState(f'portal "{portal.name}" cannot be run')
            self._connection.command_complete(portal.stream.source.rowset.tag(0))
            return
        if portal.stream is None:
            result = await self._start_portal(portal, plan)
            if isinstance(result, Done):
                portal.finished = True
                self._say()
                self._connection.command_complete(result.tag)
                return
            portal.source = RowSource(result)
            portal.stream = RowStream(portal.source, portal.formats, core.timezone)
        await self._continue(portal, event.max_rows or None)

    async def _start_portal(self, portal: Portal, plan: Plan) -> Rowset | Done:
        core = self.core
        if plan.command is not None:
            return await commands.run(core, plan, portal.values, self._work)
        core.check_allowed(plan)
        context = core.context()
        types = portal.statement.types
        return await self._work(lambda: core.execution.run(plan, portal.values, context, types, core.cancellation))

    async def _continue(self, portal: Portal, limit: int | None) -> None:
        source, stream = portal.source, portal.stream
        assert source is not None
        assert stream is not None
        self.core.cancellation.watch(source.rowset)
        try:
            rows, ended = await self._send(stream, limit)
        except BaseException:
            portal.finished = True
            raise
        self._say()
        if not ended:
            self._connection.portal_suspended()
            return
        portal.finished = True
        self._connection.command_complete(source.rowset.tag(rows))

    def _close(self, event: Close) -> None:
        if event.kind == "S":
            self.core.names.close_statement(event.name)
        else:
            self.core.names.close_portal(event.name)
        self._connection.close_complete()

    async def _sync(self) -> None:
        try:
            await self.core.finish_implicit(self._work)
        except ConnectionError:
            raise
        except Exception as error:
            self._failed(error)
        self._ready()

    # --- what every message ends with ---

    def _failed(self, error: Exception) -> None:
        """The statement failed: its transaction as well, and the client is told."""
        core = self.core
        condition = core.cancellation.restated(answers.condition(error))
        core.fail()
        self._say()
        self._connection.error(condition)

    def _say(self) -> None:
        """Notices and changed settings, before the answer that they belong to."""
        for notice in self.core.take_notices():
            self._connection.notice(notice.condition, notice.severity)
        self._report()

    def _ready(self) -> None:
        self._report()
        transaction = self.core.transaction
        if self._activity is not None:
            states = {State.BLOCK: "idle in transaction", State.FAILED: "idle in transaction (aborted)"}
            self._activity.state = states.get(transaction.state, "idle")
        self._connection.ready(transaction.status)

    def _active(self, text: str) -> None:
        if self._activity is not None:
            self._activity.state = "active"
            self._activity.query = text[:ACTIVITY_CHARACTERS]
            self._activity.query_started_ns = self._clock.now_ns()

    def _start_timer(self) -> asyncio.Handle:
        """statement_timeout, by a timer: it cancels what runs."""
        core = self.core
        seconds = core.statement_timeout_s
        loop = asyncio.get_running_loop()
        if not seconds:
            core.deadline = None
            timer: asyncio.Handle = loop.call_soon(_nothing)
            timer.cancel()
            return timer
        core.deadline = time.monotonic() + seconds
        return loop.call_later(seconds, core.cancellation.cancel, "canceling statement due to statement timeout")


def _statements(text: str) -> list[Statement]:
    return [parse(fragment) for fragment in split(text)]


def _nothing() -> None:
    pass


def _quietly(close: Callable[[], None]) -> None:
    try:
        close()
    except TsdbError as error:
        logger.info("a portal did not close cleanly: %s", error.message)
    except Exception:
        logger.exception("a portal did not close")


def _client_type(oid: int) -> SqlType | None:
    """What a client says a parameter is; 0, unknown and what we do not know leave it to us."""
    found = BY_OID.get(oid)
    return None if found is None or found == UNKNOWN else found


def _fields(columns: Sequence[ResultColumn], formats: Sequence[int]) -> list[FieldDescription]:
    return [
        FieldDescription(c.name, c.type, code, c.table_oid, c.attnum, c.typmod)
        for c, code in zip(columns, formats, strict=True)
    ]
