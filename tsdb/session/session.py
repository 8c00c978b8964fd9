"""One client's session: wire events in, answers out. What blocks runs in the pool, never on the event loop.

``simple`` answers simple queries, ``extended`` the messages of the extended protocol, both by an ``exchange``. The
decisions are in ``core``, ``commands`` and ``execution``; see the package.

Source: PostgreSQL 15 manual, 55.2 (message flow).
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Executor

from tsdb.clock import Clock
from tsdb.errors import AdminShutdown, TsdbError
from tsdb.model import authorization
from tsdb.model.access import Access, Identity
from tsdb.model.store import Store
from tsdb.session import extended, simple
from tsdb.session.authentication import Login
from tsdb.session.budget import Budget
from tsdb.session.cancellation import Cancellation
from tsdb.session.core import Core
from tsdb.session.exchange import Exchange
from tsdb.session.sessions import Activity, Sessions
from tsdb.session.transaction import Limits
from tsdb.session.turns import Turns
from tsdb.sql.query import Queries
from tsdb.wire import Bind, Client, Describe, Event, Execute, Malformed, Parse, Query, Startup, Sync

TERMINATED = "terminating connection due to administrator command"


class Session:
    """Implements ``tsdb.wire.Session``. One event at a time; ``cancel`` may come in between."""

    def __init__(
        self,
        client: Client,
        store: Store,
        queries: Queries,
        pool: Executor,
        clock: Clock,
        sessions: Sessions,
        rules: Access,
        budget: Budget,
        turns: Turns,
        limits: Limits | None = None,
    ) -> None:
        self._client = client
        self._store = store
        self._queries = queries
        self._clock = clock
        self._sessions = sessions
        self._budget = budget
        self._limits = limits
        self._login = Login(client, store, clock, rules)
        self._asked: Startup | None = None
        self._exchange = Exchange(client, pool, clock, budget, turns)
        self._core: Core | None = None
        # The last message made an Execute ready: a cancel that came with it is that statement's.
        self._preparing = False

    # --- tsdb.wire.Session ---

    async def handle(self, event: Event) -> None:
        if self._core is None:
            await self._log_in(event)
            return
        exchange, core = self._exchange, self._core
        if exchange.incoming is not None:  # one statement, one cancellation, many messages
            await exchange.incoming.receive(event)
            return
        if not (self._preparing and isinstance(event, Bind | Describe | Execute)):
            core.cancellation = Cancellation()
        self._preparing = isinstance(event, Parse | Bind | Describe)
        exchange.busy()
        try:
            if isinstance(event, Query):
                await simple.answer(exchange, event.text)
            elif isinstance(event, Sync):
                await extended.sync(exchange)
            elif isinstance(event, Malformed) and exchange.connection.servers_turn:
                exchange.failed(event.error)
                exchange.ready()
            else:
                await extended.answer(exchange, event)
        finally:
            core.deadline = None

    def cancel(self) -> None:
        if self._core is not None:
            self._core.cancellation.cancel()

    async def close(self) -> None:
        self.cancel()
        self._exchange.busy()
        await self._exchange.work.ended()
        if self._exchange.incoming is not None:
            self._exchange.incoming.discard()
        if self._core is not None:
            core = self._core
            core.fail()
            core.transaction.end()
            core.execution.writing.release()
            core.names.clear()
            core.cancellation = Cancellation()
            with contextlib.suppress(TsdbError, RuntimeError):
                await self._exchange.work(lambda: core.execution.temporary.drop(core.context()))
            self._core.messages.close()
        self._sessions.remove(self._client.process_id)

    # --- startup ---

    async def _log_in(self, event: Event) -> None:
        if isinstance(event, Startup):
            self._asked = event
            identity = await self._login.begin(event)
        else:
            identity = await self._login.answer(event)
        if identity is not None:
            assert self._asked is not None
            if self._asked.database not in self._store.catalog.databases:
                # Another node may have made it just now.
                await asyncio.to_thread(self._store.catch_up)
            self._start(self._asked, identity)

    def _start(self, event: Startup, identity: Identity) -> None:
        """The session of somebody who has said who it is. Raises what keeps a role out of a database."""
        client = self._client
        others = sum(each.role == identity.role for each in self._sessions.listing())
        authorization.check_connection(self._store.catalog, identity, event.database, others)
        core = Core(
            self._store,
            self._queries,
            self._clock,
            identity=identity,
            database=event.database,
            process_id=client.process_id,
            sessions=self._sessions,
            wake=self._exchange.deliver,
            release=self._exchange.release,
            budget=self._budget,
            turn=self._exchange.work.turn,
            owner=client,
            limits=self._limits,
        )
        core.begin_with(identity.role, event.database)
        for name, value in (*event.parameters.items(), *event.settings):
            core.variables.set_start(name, value)
        self._core = self._exchange.core = core
        loop = asyncio.get_running_loop()
        self._exchange.activity = Activity(
            client.process_id,
            event.user,
            event.database,
            client.address,
            self._clock.now_ns(),
            lambda: core.variables.get("application_name"),
            role=identity.role,
            cancel=self.cancel,
            terminate=lambda: _on_loop(loop, client, AdminShutdown(TERMINATED)),
            transaction_started_us=lambda: core.transaction.started_us if core.transaction.open else 0,
            state_changed_ns=self._clock.now_ns(),
            server_address=client.server_address,
            encryption=client.encryption,
        )
        self._sessions.add(self._exchange.activity)
        client.connection.authentication_ok()
        self._exchange.report()
        client.connection.backend_key_data(client.process_id, client.secret_key)
        client.connection.ready("I")


def _on_loop(loop: asyncio.AbstractEventLoop, client: Client, error: TsdbError) -> None:
    loop.call_soon_threadsafe(client.terminate, error)
