"""A client's session: where the wire protocol, SQL and the store meet.

Words: a *session* is one client's connection after its startup; a *plan* is a statement that is bound; a *rowset* is a
running result; a *portal* is a plan with its parameters' values (a *cursor* is a portal that SQL's DECLARE made); an
*effect* is a batch of points to write or a deletion; a *block* is a transaction between BEGIN and its end.

A message passes through like this:

1. ``session.Session.handle`` takes a wire event on the event loop; ``simple`` and ``extended`` answer it by what
   they share, the ``exchange``. ``core.Core`` says what the transaction allows.
2. ``planning`` plans the statement in a worker thread: queries by ``tsdb.sql.Queries``, INSERT, UPDATE and DELETE by
   their own modules. ``execution`` runs it, DDL by ``schema_changes``; ``utility`` reads what is the session's own,
   ``commands`` does it.
3. Rows are pulled and encoded piece by piece in worker threads (``rowset``, ``work``) and written with back-pressure;
   ``turns`` say whose statement is in a thread, one ``budget`` bounds what all results take: a client that reads slowly
   holds up nobody and fills no memory.
4. Effects are collected in the ``transaction`` (``pending``) and written at its end, or at the end of the message
   (``writing``, ``effects``); ``temporary`` says which tables go then.
   ``stored_rows`` is what DDL asks of rows that are there.
5. ``direct`` runs a single statement for who has no such connection (``tsdb.flight``): its rows stay Arrow batches.
6. Errors become an answer in one place (``answers``); a cancel reaches what runs through its ``cancellation``.

``copying`` answers COPY: rows out are a query's, encoded otherwise; rows in come with many messages and wait in a
``spool`` until the last of them is right.

``settings`` is the table of what can be SET, ``variables`` one session's values; ``portals`` holds names;
``parameters`` hands Bind's values on to queries; ``sessions`` knows who is connected.

Transactions: INSERT, UPDATE and DELETE inside BEGIN … COMMIT are ``pending`` until COMMIT and dropped by ROLLBACK;
statements of the same transaction see them, over the newest data or (REPEATABLE READ) a view that is held, nobody else
does. DDL takes effect at once, with a WARNING inside a block. A savepoint is a reference to what was pending then.

What is not here: the protocol (``tsdb.wire``), the meaning of SQL (``tsdb.sql``), who may connect (``tsdb.server``).
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor

from tsdb.clock import Clock
from tsdb.model.access import Access, Identity
from tsdb.model.store import Store
from tsdb.session.budget import Budget
from tsdb.session.direct import Caller, Direct, Parts
from tsdb.session.session import Session
from tsdb.session.sessions import Activity, Sessions
from tsdb.session.transaction import Limits
from tsdb.session.turns import Turns
from tsdb.sql.query import Queries
from tsdb.wire import Client

__all__ = ["Activity", "Budget", "Caller", "Direct", "Limits", "Session", "SessionFactory", "Sessions", "Turns"]


class SessionFactory:
    """Makes the session of each client: what ``tsdb.wire.Listener`` is given."""

    def __init__(
        self,
        store: Store,
        queries: Queries,
        pool: Executor,
        clock: Clock,
        sessions: Sessions | None = None,
        *,
        budget: Budget | None = None,
        turns: Turns | None = None,
        limits: Limits | None = None,
        rules: Access | None = None,
    ) -> None:
        self._store = store
        self._queries = queries
        self._pool = pool
        self._clock = clock
        self._limits = limits
        self.sessions = sessions or Sessions()
        self._rules = rules or Access()
        self.budget = budget or Budget()
        self.turns = turns or Turns()

    def direct(self, identity: Identity, database: str, caller: Caller, settings: Mapping[str, str]) -> Direct:
        """A single statement of somebody who has shown who it is. Raises what keeps a role out of a database."""
        parts = Parts(
            self._store,
            self._queries,
            self._pool,
            self._clock,
            self.sessions,
            self.budget,
            self.turns,
            self._limits,
        )
        return Direct(parts, identity, database, caller, settings)

    def __call__(self, client: Client) -> Session:
        return Session(
            client,
            self._store,
            self._queries,
            self._pool,
            self._clock,
            self.sessions,
            self._rules,
            self.budget,
            self.turns,
            self._limits,
        )
