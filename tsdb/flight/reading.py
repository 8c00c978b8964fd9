"""A DoGet: its statement runs on the server's event loop, its batches go out of a thread of gRPC's.

The next batch is asked for when gRPC has taken the last one, so at most one is in memory here. A client that takes
nothing while others wait for that memory is cut, as the SQL port's clients are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

import pyarrow as pa

from tsdb.errors import QueryCanceled
from tsdb.flight.columns import converted, schema_of
from tsdb.flight.requests import Query
from tsdb.model.access import Identity
from tsdb.model.store import Store
from tsdb.session import Direct, SessionFactory
from tsdb.wire.contract import Encryption

T = TypeVar("T")

_STALLED = "canceling statement because its client took nothing of the result while others waited"


class Reading:
    """One statement of one caller (``tsdb.session.Caller``). Used by one thread but for ``cancel``."""

    def __init__(
        self, store: Store, loop: asyncio.AbstractEventLoop, address: str, server_address: str, tls: bool
    ) -> None:
        self._store = store
        self.address = address
        self.server_address = server_address
        # gRPC does not say which version and cipher a connection has.
        self.encryption = Encryption("TLS", "", 0) if tls else None
        self._loop = loop
        self._direct: Direct | None = None
        self._cancelled: str | None = None
        self._sent_at: float | None = None
        self.rows = 0

    def begin(self, sessions: SessionFactory, who: Identity, query: Query) -> pa.Schema:
        """Run the statement up to its first rows; one without rows has no columns. Raises what is wrong with it."""
        return self._on_loop(self._begin(sessions, who, query)).result()

    async def _begin(self, sessions: SessionFactory, who: Identity, query: Query) -> pa.Schema:
        direct = self._direct = sessions.direct(who, query.database, self, query.settings)
        if self._cancelled is not None:
            direct.cancel(self._cancelled)
        columns = await direct.begin(query.sql, query.parameters)
        if columns is None:
            await self._end()
        return schema_of(columns or (), query.numeric, self._store.catalog.databases.get(query.database))

    def describe(self, sessions: SessionFactory, who: Identity, query: Query) -> pa.Schema:
        """The schema that the statement's result will have."""
        return self._on_loop(self._describe(sessions, who, query)).result()

    async def _describe(self, sessions: SessionFactory, who: Identity, query: Query) -> pa.Schema:
        self._direct = sessions.direct(who, query.database, self, query.settings)
        try:
            columns = await self._direct.describe(query.sql)
            return schema_of(columns or (), query.numeric, self._store.catalog.databases.get(query.database))
        finally:
            await self._end()

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The result's batches in a client's types, each computed when it is asked for."""
        while (direct := self._direct) is not None:
            batch = self._on_loop(direct.next()).result()
            if batch is None:
                return
            self.rows += batch.num_rows
            self._sent_at = time.monotonic()
            yield converted(batch, schema)
            self._sent_at = None
        if self._cancelled is not None:
            raise QueryCanceled(self._cancelled)

    def close(self) -> None:
        """Let go of everything. May be called again."""
        if self._direct is not None:
            self._on_loop(self._end()).result()

    async def _end(self) -> None:
        direct, self._direct = self._direct, None
        if direct is not None:
            await direct.close()

    def cancel(self, reason: str) -> None:
        """From any thread."""
        self._cancelled = self._cancelled or reason
        direct = self._direct
        if direct is not None:
            direct.cancel(reason)

    # --- tsdb.session.Caller ---

    def stalled_s(self) -> float:
        sent_at = self._sent_at
        return 0.0 if sent_at is None else time.monotonic() - sent_at

    def disconnect(self) -> None:
        """On the event loop: the thread waits for gRPC, and so for the client."""
        self.cancel(_STALLED)
        self._sent_at = None
        self._on_loop(self._end())

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)
