"""Sends the state to members that are behind the log, and takes it from the one that leads: edges of ``pieces``.

While a state is on its way the log after it is pinned, as long as something of it arrives from time to time. What is
cut goes on where it was when there is a connection again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from tsdb.cluster.pieces import SNAPSHOT_BYTES_MAX, Begin, End, Have, Part, Piece, Receiving, Sending, encode
from tsdb.cluster.raft.messages import InstallSnapshot
from tsdb.cluster.raft_store import RaftStore
from tsdb.cluster.transport import codec
from tsdb.cluster.transport.outbox import StreamBroken
from tsdb.errors import ProgramLimitExceeded, ProtocolViolation

log = logging.getLogger(__name__)

PIN_TICKS = 300
"""The log is pinned for so long after something has arrived."""
PATIENCE_S = 10.0
"""For a connection, and for an answer."""
ATTEMPTS = 5
"""Connections over which nothing more arrives, one after the other, before the sending is given up."""
AFTER_BYTES = 1 << 20
"""Of a snapshot that wait for the connection: what else goes over it does not wait for all of the snapshot."""


class Stream(Protocol):
    """In order and without loss until it is broken (StreamBroken)."""

    async def send(self, payload: bytes, after_bytes_max: int | None = None) -> None: ...


OpenStream = Callable[[int], Awaitable[Stream]]


class Dispatch:
    """What is sent, by member. ``begin``, ``tick`` and ``ended`` belong to the core's turn, ``put`` gets to it."""

    def __init__(
        self,
        store: RaftStore,
        open_stream: OpenStream,
        put: Callable[[Callable[[], None]], None],
        ended: Callable[[int, bool], None],
        patience_s: float = PATIENCE_S,
    ) -> None:
        """``ended(member, whether it has it)`` is ``Node.report_snapshot``."""
        self._store = store
        self._open_stream = open_stream
        self._put = put
        self._ended = ended
        self._patience_s = patience_s
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._answers: dict[int, asyncio.Queue[Have]] = {}
        self._moved: set[str] = set()
        self._now = 0
        self._count = 0
        self.bytes_sent = 0
        self.last_s = 0.0
        """How long the last one took that arrived."""

    @property
    def sending_count(self) -> int:
        """Members that a state is on its way to."""
        return len(self._tasks)

    def begin(self, message: InstallSnapshot) -> None:
        """Send the state as it is now, in place of what was on its way to that member."""
        self._stop(message.to)
        self._count += 1
        name = f"member {message.to}, {self._count}"
        snapshot, frozen = self._store.begin_snapshot(name, self._now, self._now + PIN_TICKS)
        what = msgspec.structs.replace(message, snapshot=snapshot)
        self._tasks[message.to] = asyncio.create_task(self._run(name, what, frozen))

    def _stop(self, member: int) -> None:
        task = self._tasks.pop(member, None)
        if task is not None:
            task.cancel()
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)

    async def stop(self) -> None:
        """Nothing more is sent."""
        for member in list(self._tasks):
            self._stop(member)
        await asyncio.gather(*self._stopping, return_exceptions=True)

    def tick(self, now: int) -> None:
        """``now`` in ticks: what moves keeps the log."""
        self._now = now
        moved, self._moved = self._moved, set()
        for name in moved:
            self._store.renew_snapshot(name, now + PIN_TICKS)

    def heard(self, peer: int, have: Have) -> None:
        """A member says what it has."""
        answers = self._answers.get(peer)
        if answers is not None and not answers.full():
            answers.put_nowait(have)

    async def _run(self, name: str, what: InstallSnapshot, frozen: Callable[[], bytes]) -> None:
        arrived = False
        try:
            body = await asyncio.get_running_loop().run_in_executor(None, frozen)
            if len(body) > SNAPSHOT_BYTES_MAX:
                log.error("a state of %d bytes is not sent; %d are allowed", len(body), SNAPSHOT_BYTES_MAX)
            else:
                begin = time.monotonic()
                arrived = await self._send(name, what.to, Sending(what, body))
                self.last_s = time.monotonic() - begin if arrived else self.last_s
        finally:
            task = asyncio.current_task()
            self._put(lambda: self._end(name, what.to, arrived, task))

    def _end(self, name: str, member: int, arrived: bool, task: asyncio.Task[None] | None) -> None:
        arrived = self._store.end_snapshot(name, arrived)
        # Or a later one is on its way.
        if self._tasks.get(member) is task:
            del self._tasks[member]
            self._ended(member, arrived)

    async def _send(self, name: str, member: int, sending: Sending) -> bool:
        """Whether all of it arrived."""
        failures, furthest = 0, -1
        while failures < ATTEMPTS:
            answers = self._answers[member] = asyncio.Queue(8)
            try:
                has = await self._attempt(name, member, sending, answers)
            except KeyError:
                return False  # no member any more
            except (StreamBroken, TimeoutError) as error:
                failures += 1
                log.info("a snapshot of %d bytes for node %d was cut: %s", sending.size, member, error)
                continue
            if has == sending.size:
                return True
            failures = failures + 1 if has <= furthest else 0
            furthest = max(has, furthest)
        return False

    async def _attempt(self, name: str, member: int, sending: Sending, answers: asyncio.Queue[Have]) -> int:
        """How much the member says that it has after all of it was sent."""
        async with asyncio.timeout(self._patience_s):
            stream = await self._open_stream(member)
            await stream.send(sending.begin())
            sending.resume(await _answer(answers, sending))
        while (part := sending.next()) is not None:
            async with asyncio.timeout(self._patience_s):
                await stream.send(part, AFTER_BYTES)
            self._moved.add(name)
            self.bytes_sent += len(part)
        async with asyncio.timeout(self._patience_s):
            return await _answer(answers, sending)


async def _answer(answers: asyncio.Queue[Have], sending: Sending) -> int:
    while True:
        have = await answers.get()
        if have.digest == sending.digest:
            return have.size


class Arrival:
    """What comes: one snapshot at a time. ``take`` gives the message when its snapshot is whole."""

    def __init__(self, node: int, open_stream: OpenStream, receiving: Receiving | None = None) -> None:
        self._node = node
        self._open_stream = open_stream
        self._receiving = receiving or Receiving()
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def byte_count(self) -> int:
        return self._receiving.byte_count

    def tick(self) -> None:
        self._receiving.tick()

    def take(self, peer: int, session: int, part: Part) -> InstallSnapshot | None:
        """Raises ProtocolViolation."""
        source = (peer, session)
        try:
            if isinstance(part, Begin):
                if not isinstance(part.what, InstallSnapshot):
                    raise ProtocolViolation(f"node {peer} sent a member what is for clients")
                codec.check(part.what, peer, self._node)
                self._answer(peer, self._receiving.begin(source, part))
            elif isinstance(part, Piece):
                self._receiving.piece(source, part)
            elif isinstance(part, End):
                found = self._receiving.end(source, part)
                if found is not None:
                    what, have = found
                    self._answer(peer, have)
                    assert isinstance(what, InstallSnapshot), "as it began"
                    return what
        except ProgramLimitExceeded as error:
            raise ProtocolViolation(str(error)) from None
        return None

    def _answer(self, peer: int, have: Have) -> None:
        task = asyncio.create_task(self._send(peer, have))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _send(self, peer: int, have: Have) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                stream = await self._open_stream(peer)
                await stream.send(encode(have))
        except (StreamBroken, TimeoutError, KeyError) as error:
            log.info("node %d does not hear how much of its snapshot is here: %s", peer, error)

    async def stop(self) -> None:
        for task in list(self._answering):
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
