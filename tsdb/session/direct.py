"""One statement without a connection of the SQL port: its columns, then its rows as Arrow batches. Arrow Flight runs
statements so; turns, the budget of results, timeouts, privileges and pg_stat_activity are those of any session.

    direct = Direct(…, identity, database, caller)
    await direct.begin(text, ("42",))          columns, or None for a statement without rows
    while (batch := await direct.next()) is not None: …
    await direct.close()                       always

All of it on the event loop; ``cancel`` may come from any thread. The statement is a transaction of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import pyarrow as pa

from tsdb import datetimes
from tsdb.clock import Clock
from tsdb.errors import FeatureNotSupported, SqlSyntaxError, TsdbError
from tsdb.model import authorization
from tsdb.model.access import Identity
from tsdb.model.store import Store
from tsdb.session import answers, commands, parameters
from tsdb.session.budget import Budget, Owner
from tsdb.session.core import Core
from tsdb.session.planning import Plan
from tsdb.session.rowset import Done, Rowset
from tsdb.session.sessions import Activity, Sessions
from tsdb.session.transaction import Limits
from tsdb.session.turns import Turns
from tsdb.session.utility import Checkpoint, RefreshContinuous, Show, ShowTokens, Vacuum
from tsdb.session.work import WaitEvent, Work
from tsdb.sql.query import Queries
from tsdb.sql.result import ResultColumn
from tsdb.sql.statement import Statement, Utility, parse, split
from tsdb.wire import TEXT_FORMAT, Bind
from tsdb.wire.contract import Encryption
from tsdb.zones import zone

ACTIVITY_CHARACTERS = 1024
TERMINATED = "terminating the statement due to administrator command"
# Utility statements that need nothing of a session that lasts.
_ALONE = Show | ShowTokens | Vacuum | Checkpoint | RefreshContinuous


class Caller(Owner, Protocol):
    """Who asked for the statement, and takes its rows."""

    address: str
    server_address: str
    encryption: Encryption | None


@dataclass(frozen=True, slots=True)
class Parts:
    """What the statements of a server share."""

    store: Store
    queries: Queries
    pool: Executor
    clock: Clock
    sessions: Sessions
    budget: Budget
    turns: Turns
    limits: Limits | None


class Direct:
    """Raises when it is made what keeps a role out of a database, or a setting that is wrong."""

    def __init__(
        self, parts: Parts, identity: Identity, database: str, caller: Caller, settings: Mapping[str, str]
    ) -> None:
        self._parts = parts
        sessions = parts.sessions
        others = sum(each.role == identity.role for each in sessions.listing())
        authorization.check_connection(parts.store.catalog, identity, database, others)
        self._work = Work(parts.pool, parts.budget, parts.turns, lambda: self._core.cancellation, self._waits)
        process_id = sessions.next_number()
        self._core = Core(
            parts.store,
            parts.queries,
            parts.clock,
            identity=identity,
            database=database,
            process_id=process_id,
            sessions=sessions,
            wake=_nothing,
            release=_nothing,
            budget=parts.budget,
            turn=self._work.turn,
            owner=caller,
            limits=parts.limits,
        )
        self._core.begin_with(identity.role, database)
        for name, value in settings.items():
            self._core.variables.set_start(name, value)
        self._rowset: Rowset | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._activity = self._listed(caller, identity)
        sessions.add(self._activity)

    def _listed(self, caller: Caller, identity: Identity) -> Activity:
        core, now_ns = self._core, self._parts.clock.now_ns()
        return Activity(
            core.process_id,
            identity.name,
            core.database,
            caller.address,
            now_ns,
            lambda: core.variables.get("application_name"),
            cancel=self.cancel,
            terminate=partial(self.cancel, TERMINATED),
            transaction_started_us=lambda: core.transaction.started_us if core.transaction.open else 0,
            state="active",
            state_changed_ns=now_ns,
            role=identity.role,
            server_address=caller.server_address,
            encryption=caller.encryption,
        )

    def _waits(self, event: WaitEvent | None) -> None:
        self._activity.wait_event = event

    def cancel(self, reason: str = "canceling statement due to user request") -> None:
        """From any thread: what runs fails with QueryCanceled soon."""
        self._core.cancellation.cancel(reason)

    async def begin(self, text: str, values: Sequence[str | None] = ()) -> tuple[ResultColumn, ...] | None:
        """Run the one statement in ``text`` up to its first rows; ``values`` are its parameters in PostgreSQL's text
        form. A statement that writes is durable and visible when this returns. None: it has no rows."""
        self._start_timer()
        self._activity.query = text[:ACTIVITY_CHARACTERS]
        self._activity.query_started_ns = self._parts.clock.now_ns()
        try:
            statement = await self._work(partial(_only, text))
            plan, result = await self._run(statement, values)
            if isinstance(result, Done):
                await self._core.finish_implicit(self._work)
                return None
            self._rowset = result
            if plan.modification is not None:
                await self._core.finish_implicit(self._work)
            self._core.cancellation.watch(result)
            return result.columns
        except Exception as error:
            raise self._failed(error) from None

    async def describe(self, text: str) -> tuple[ResultColumn, ...] | None:
        """The columns that a statement will have; it does not run."""
        try:
            statement = await self._work(partial(_only, text))
            self._core.start()
            context = self._core.context()
            plan = await self._work(lambda: self._core.execution.plan(statement, context))
            return commands.columns_of(self._core, plan)
        except Exception as error:
            raise self._failed(error) from None

    async def _run(self, statement: Statement, values: Sequence[str | None]) -> tuple[Plan, Rowset | Done]:
        core = self._core
        if isinstance(statement, Utility):
            context = core.context()
            plan = await self._work(lambda: core.execution.plan(statement, context))
            if not isinstance(plan.command, _ALONE):
                raise FeatureNotSupported(
                    f"{statement.verb} needs a session that lasts", hint="Connect to the SQL port for it."
                )
            core.start(plan)
            return plan, await commands.run(core, plan, (), self._work)
        core.start()
        context = core.context()

        def plan_and_run() -> tuple[Plan, Rowset | Done]:
            plan = core.execution.plan(statement, context)
            core.check_allowed(plan)
            found = self._values(plan, values)
            return plan, core.execution.run(plan, found, context, (), core.cancellation, alone=True)

        return await self._work(plan_and_run)

    def _values(self, plan: Plan, values: Sequence[str | None]) -> list[object | None]:
        """Parameters by the rules of Bind."""
        plan.require_types()
        core = self._core
        context = datetimes.Context(zone(core.timezone), core.context().now_us, core.codec)
        octets = tuple(None if value is None else value.encode() for value in values)
        return parameters.values_of(Bind("", "", (TEXT_FORMAT,), octets, ()), plan.parameters, context)

    async def next(self) -> pa.RecordBatch | None:
        """The next rows in the form of queries; None: there are no more."""
        rowset = self._rowset
        assert rowset is not None, "begin comes first, and gives columns"
        cancellation = self._core.cancellation

        def step() -> pa.RecordBatch | None:
            cancellation.check()
            return rowset.next()

        try:
            while True:
                batch = await self._work(step)
                if batch is None:
                    await self._core.finish_implicit(self._work)
                    return None
                if batch.num_rows:
                    return batch
        except Exception as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> TsdbError:
        core = self._core
        condition = core.cancellation.restated(answers.condition(error))
        core.fail()
        condition.__traceback__ = condition.__cause__ = condition.__context__ = None
        return condition

    async def close(self) -> None:
        """Let go of everything. May be called again; waits for what runs in a thread."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        core, rowset = self._core, self._rowset
        core.cancellation.watch(None)
        await self._work.ended()
        if rowset is not None:
            self._work.later(rowset.close)
        core.fail()
        core.transaction.end()
        core.execution.writing.release()
        with contextlib.suppress(TsdbError, RuntimeError):
            await self._work(lambda: core.execution.temporary.drop(core.context()))
        core.messages.close()
        self._parts.sessions.remove(core.process_id)

    def _start_timer(self) -> None:
        core = self._core
        seconds = core.statement_timeout_s
        if seconds:
            core.deadline = time.monotonic() + seconds
            cancel = partial(core.cancellation.cancel, "canceling statement due to statement timeout")
            self._timer = asyncio.get_running_loop().call_later(seconds, cancel)


def _only(text: str) -> Statement:
    statements = [parse(fragment) for fragment in split(text)]
    if len(statements) != 1:
        raise SqlSyntaxError(f"there are {len(statements)} statements: exactly one is run at a time")
    return statements[0]


def _nothing(*_: Any) -> None:
    pass
