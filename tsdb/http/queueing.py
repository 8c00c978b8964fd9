"""Numbered bodies that may wait at this node, as hints, while nobody leads their database.

A body goes the way of all others first. Only when that ends without anybody who leads, at its deadline, it is queued.
While batches of its producer wait already it goes behind them, so that what a producer has sent one after the other is
stored in that order: at once if the last try to deliver one has failed, else after a wait for those before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tsdb.clock import Clock
from tsdb.errors import CannotConnectNow, StatementCompletionUnknown, TsdbError
from tsdb.ingest.faults import Limits
from tsdb.ingest.hints.delivery import examine
from tsdb.ingest.hints.queue import HintQueue, NotQueued
from tsdb.ingest.outcome import Outcome
from tsdb.ingest.write import WriteRequest, digest_of
from tsdb.model import authorization
from tsdb.model.store import Store

BEHIND_S = 10.0
"""How long a body waits for those of its producer that are before it."""
_LOOK_S = 0.02
_QUEUED = Outcome(0, queued=True)


class Queueing:
    """``queue`` None: this node queues nothing. ``refuses`` says why it takes no more, if it does not."""

    def __init__(
        self, store: Store, clock: Clock, limits: Limits, queue: HintQueue | None, refuses: Callable[[], str]
    ) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        self._queue = queue
        self._refuses = refuses
        # Each is synced for itself, and so they are taken in one after the other.
        self._thread = ThreadPoolExecutor(1, "queue")

    async def write(
        self, wanted: WriteRequest, body: bytes | bytearray, role: int, store: Callable[[], Awaitable[Outcome]]
    ) -> Outcome:
        """What ``store`` gives, or that the body is queued. Raises its errors, InsufficientPrivilege, and
        ObjectNotInPrerequisiteState for a number under which another body waits."""
        producer, database = wanted.producer, self._store.catalog.databases.get(wanted.database)
        queue = self._queue
        if queue is not None and producer is not None and database is not None:
            # What waits there is nothing to be told to who has no right to the database.
            authorization.check_connect(self._store.catalog, role, database)
            if queue.has_of(database.number, producer.name):
                digest = await asyncio.get_running_loop().run_in_executor(self._thread, digest_of, wanted, body)
                if queue.find(database.number, producer.name, producer.batch, digest) is not None:
                    return _QUEUED
            if await self._is_behind(queue, database.number, producer.name):
                why = CannotConnectNow(f'batches of producer "{producer.name}" before this one wait at this node')
                return await self._queued(wanted, body, role, why)
        try:
            return await store()
        except (CannotConnectNow, StatementCompletionUnknown) as error:
            return await self._queued(wanted, body, role, error)

    async def _is_behind(self, queue: HintQueue, database: int, producer: str) -> bool:
        """Whether others of the producer still wait, after as long a wait as there is reason for."""
        loop = asyncio.get_running_loop()
        end = loop.time() + BEHIND_S
        while queue.has_of(database, producer):
            if queue.is_stuck(database) or loop.time() >= end:
                return True
            await asyncio.sleep(_LOOK_S)
        return False

    async def _queued(self, wanted: WriteRequest, body: bytes | bytearray, role: int, error: TsdbError) -> Outcome:
        """Raises the error, with why it is not queued."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._take, wanted, body, role)
        except NotQueued as why:
            error.message = f"{error.message}; it was not queued: {why}"
            error.args = (error.message,)
            raise error from None
        return _QUEUED

    def _take(self, wanted: WriteRequest, body: bytes | bytearray, role: int) -> None:
        """Raises NotQueued, and what speaks against the body."""
        if self._queue is None:
            raise NotQueued("this node queues nothing (hints_bytes_max is 0)")
        why = self._refuses()
        if why:
            raise NotQueued(why)
        hint = examine(self._store, replace(wanted, queue=False), body, self._clock.now_ns(), self._limits, role)
        self._queue.take(hint, body)
