"""Copies of locations between nodes: who wants one asks for it, and gets it as a stream of chunks with credit.

``Copying`` is both sides, on the event loop of the group. The receiver asks for all it wants of one database at once,
one database after the other. The sender gives it some locations at a time, if they have much, each time as of another
moment; what is installed follows its logs, and the receiver asks for the rest. A copy that does not come to its end is
given up, nothing of it stays, and it is asked for again: so what is interrupted goes on after the last that was
installed. The sender makes chunks in a few threads, and holds its logs until the receiver follows them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.metadata.state import State
from tsdb.cluster.operations import locations_text, name_of
from tsdb.cluster.replicas.disk import decode_state, encode_state
from tsdb.cluster.replicas.host import Host
from tsdb.cluster.replicas.records import node_of, replica_on
from tsdb.cluster.replication.ops import LocationState
from tsdb.cluster.routing.exchange import SILENT_S, Exchange, NoAnswer, Outgoing
from tsdb.cluster.routing.messages import CopySent, Failed, Part, Reply, SendCopy, error_of
from tsdb.errors import (
    CannotConnectNow,
    InvalidCatalogName,
    ProtocolViolation,
    TooManyConnections,
    TsdbError,
)
from tsdb.model.schema import Database
from tsdb.storage.copies.arriving import Arriving
from tsdb.storage.copies.sending import Tally, chunks_of, points_in
from tsdb.storage.engine import Engine
from tsdb.storage.rate import Rate
from tsdb.storage.view import StorageView

log = logging.getLogger(__name__)

LOOK_S = 0.5
AGAIN_S = 2.0
AGAIN_MAX_S = 60.0
PIECE_POINTS = 8_000_000
"""One copy has about so many, if these are not in fewer locations than one of ``PIECES_MAX`` parts of the ring has:
the sender reads all of its points for each copy."""
PIECES_MAX = 8
SENDING_MAX = 2
"""Copies that a node sends at once."""
SCHEMA_S = 60.0
"""How long the schema of a sender is waited for."""


class Around(Protocol):
    """What a copy rests on beside the engine (``driver.ReplicaDriver``)."""

    host: Host

    def state(self) -> State: ...


class Copying:
    """``run`` asks; ``send`` answers (``routing.answering.Copies``)."""

    def __init__(self, engine: Engine, around: Around, exchange: Exchange, rate: int) -> None:
        """``rate``: bytes a second that all copies from here take together; 0: as many as they can."""
        self._engine = engine
        self._around = around
        self._exchange = exchange
        self._threads = ThreadPoolExecutor(SENDING_MAX, "copies-sent")
        # One thread: what is given up is taken back after the last chunk was taken.
        self._receiving = ThreadPoolExecutor(1, "copies-received")
        self._rate = Rate(rate)
        self._sending = 0
        self.sent = self.received = self.given_up = 0
        self.bytes_sent = self.bytes_received = 0
        self._stopped = False

    def stop(self) -> None:
        """Nothing is waited for any more: before the tasks are cancelled."""
        self._stopped = True

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._receiving.shutdown(wait=True)

    def gauges(self) -> Mapping[str, float]:
        return {
            "replica_copies_sent_total": self.sent,
            "replica_copies_received_total": self.received,
            "replica_copies_given_up_total": self.given_up,
            "replica_copies_sending": self._sending,
            "replica_copy_bytes_sent_total": self.bytes_sent,
            "replica_copy_bytes_received_total": self.bytes_received,
        }

    async def _run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def _received(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._receiving, work, *arguments)

    def waiting(self) -> Collection[int]:
        """Locations of which this node is to have a copy, and cannot yet (``left``). From any thread but the event
        loop's."""
        return self._engine.call(lambda: self._around.host.left.waits)

    # Asking

    async def run(self) -> None:
        wait, before, failed = AGAIN_S, None, (0, 0)
        while True:
            await asyncio.sleep(LOOK_S)
            found = self._wanted(failed)
            if found is None or found != before:
                # Locations come one after the other, and one pass over the sender's blocks is for all of them.
                before = found
                continue
            database, source, wanted = found
            try:
                came = await self._fetch(database, source, wanted)
                # The rest of it at once.
                before = database, source, {at: number for at, number in wanted.items() if at not in came}
                wait = AGAIN_S
            except (TsdbError, NoAnswer, TimeoutError) as error:
                self.given_up += 1
                failed = database, source
                name = name_of(self._around.state(), database)
                log.warning("a copy of %s from node %d was given up: %s", name, source, error)
                await asyncio.sleep(wait)
                wait = min(2 * wait, AGAIN_MAX_S)

    def _wanted(self, failed: tuple[int, int]) -> tuple[int, int, dict[int, int]] | None:
        """A database, a node that has it, and by location the replica of this node that wants a copy from there. Those
        after what has ``failed`` come first: it may be a node that does not come back, and others wait."""
        state, me = self._around.state(), self._engine.node
        found: dict[tuple[int, int], dict[int, int]] = {}
        for location, source in list(self._around.host.wishes.items()):
            record = state.get(LocationRecord, location)
            if record is not None:
                found.setdefault((record.database, node_of(source)), {})[location] = replica_on(record, me)
        if not found:
            return None
        key = min((each for each in found if each > failed), default=min(found))
        return *key, found[key]

    async def _fetch(self, database: int, source: int, wanted: dict[int, int]) -> Collection[int]:
        """The locations that have come. Raises TsdbError, NoAnswer, TimeoutError."""
        started = time.monotonic()
        name = name_of(self._around.state(), database)
        log.info("asking node %d for a copy of %s of %s", source, locations_text(len(wanted)), name)
        arriving = self._engine.arriving()
        chunks = _Chunks()
        number, installed = 0, False
        try:
            question = SendCopy(self._engine.catalog.version, database, tuple(sorted(wanted.items())))
            number = await self._exchange.begin(source, question, chunks)
            sent = await self._take_all(arriving, chunks, number)
            await self._received(arriving.check, sent.chunks, sent.rows, sent.digest)
            states = {location: decode_state(state) for location, state in sent.states}
            if not states:
                raise CannotConnectNow("it has nothing of it any more")
            if not states.keys() <= wanted.keys():
                raise ProtocolViolation("a copy has locations that nobody asked for")
            size = arriving.value_bytes
            done = self._engine.turn(lambda: self._around.host.install(arriving, states, wanted))
            await asyncio.wrap_future(done)
            installed = True
        finally:
            self._exchange.forget(number, stop=True)
            if not installed:
                await asyncio.shield(self._received(arriving.discard))
        self.received += 1
        took = time.monotonic() - started
        log.info(
            "a copy of %s is installed: %s, %d points, %d bytes here, %.1f s", name, locations_text(len(states)),
            sent.rows, size, took,
        )  # fmt: skip
        return states.keys()

    async def _take_all(self, arriving: Arriving, chunks: _Chunks, number: int) -> CopySent:
        place = 0
        while True:
            async with asyncio.timeout(SILENT_S):
                item = await chunks.items.get()
            if isinstance(item, tuple):
                message, chunk = item
                if not len(chunk):
                    continue
                if message.place != place:
                    raise ProtocolViolation(f"chunk {place} of a copy is missing")
                place += 1
                await self._received(self._take, arriving, chunk)
                self.bytes_received += len(chunk)
                self._exchange.more(number, len(chunk))
            elif isinstance(item, CopySent):
                return item
            elif isinstance(item, Exception):
                raise item
            else:
                raise (
                    error_of(item) if isinstance(item, Failed) else ProtocolViolation("a copy ended as another answer")
                )

    def _take(self, arriving: Arriving, chunk: memoryview) -> None:
        end = time.monotonic() + SCHEMA_S
        while arriving.schema_of(chunk) > self._engine.catalog.version:
            if self._stopped or time.monotonic() >= end:
                raise CannotConnectNow("the schema of a copy has not come yet")
            time.sleep(0.02)
        arriving.take(chunk)

    # Answering

    async def send(self, peer: int, question: SendCopy, stream: Outgoing) -> Reply:
        """Raises TsdbError."""
        if self._sending >= SENDING_MAX:
            raise TooManyConnections(f"this node sends {SENDING_MAX} copies already")
        wanted = dict(question.wanted)
        if any(node_of(replica) != peer for replica in wanted.values()):
            raise ProtocolViolation(f"node {peer} asks for a copy for another one")
        self._sending += 1
        view: StorageView | None = None
        try:
            database = self._engine.catalog.databases_by_number.get(question.database)
            if database is None:
                raise InvalidCatalogName(f"database {question.database} does not exist any more")
            view, states = await self._run(self._begin, database, wanted)
            database = view.catalog.databases_by_number.get(question.database, database)
            tally = await self._stream(stream, view, database, states)
            self.sent += 1
            found = tuple((location, encode_state(state)) for location, state in states.items())
            return CopySent(tally.chunks, tally.rows, tally.digest, found)
        finally:
            self._sending -= 1
            if view is not None:
                view.close()
            self._engine.turn(lambda: self._around.host.end_copy(wanted))

    def _begin(self, database: Database, wanted: Mapping[int, int]) -> tuple[StorageView, dict[int, LocationState]]:
        """Between two turns what is applied is what a view has."""
        before = self._engine.view()
        points = points_in(before, database)
        before.close()
        numbers = {each.number for each in database.locations}

        def begin() -> tuple[StorageView, dict[int, LocationState]]:
            host = self._around.host
            most = at_once(points, len(numbers & {*host.locations}), len(numbers))
            return self._engine.view(), host.begin_copy(wanted, most)

        return self._engine.call(begin)

    async def _stream(
        self, stream: Outgoing, view: StorageView, database: Database, states: Mapping[int, LocationState]
    ) -> Tally:
        tally = Tally()
        chunks = chunks_of(view, database, states.keys(), tally)
        try:
            while (chunk := await stream.made(self._next(chunks))) is not None:
                await stream.part(chunk)
                self.bytes_sent += len(chunk)
                await stream.made(asyncio.sleep(self._rate.rest_s(len(chunk), time.monotonic())))
        finally:
            await asyncio.shield(self._run(getattr(chunks, "close", _nothing)))
        return tally

    def _next(self, chunks: Any) -> Awaitable[bytes | None]:
        return self._run(next, chunks, None)


def at_once(points: int, held: int, locations: int) -> int:
    """How many locations one copy has of a database with so many, of which the sender has ``points`` in ``held``."""
    return max(held * PIECE_POINTS // max(points, 1), locations // PIECES_MAX, 1)


class _Chunks:
    """The taker of a copy's parts, on the event loop; its sender's credit bounds them."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[tuple[Part, memoryview] | Reply | Exception] = asyncio.Queue()

    def part(self, message: Part, body: memoryview) -> None:
        self.items.put_nowait((message, body))

    def ended(self, outcome: Reply | Exception) -> None:
        self.items.put_nowait(outcome)


def _nothing() -> None:
    pass
