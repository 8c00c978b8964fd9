"""Small writes that come at the same time are parsed, bound and logged as one: a hundred clients that send a point
each cost little more than one that sends a hundred.

What comes in one turn of the event loop goes as one body, if that is wholly good. While a write of some database,
precision and role is under way, the others like it wait; when it is durable, so do all that waited.
If it is not, nothing of it is written and each goes by itself, so that everybody gets the answer to his own lines.
Lines without a time do not go together: those of two senders would get the same time and be one point. A body with a
quote always goes by itself: a string that its sender left open must not end in another's line.

Middling writes are parsed and logged in about the time in which a sender that was answered makes the next one. So those
who were answered are waited for, a moment: two senders would otherwise take turns, each wait for the sync of the other,
and take the interpreter from one another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import NamedTuple

from tsdb.errors import TsdbError
from tsdb.ingest.outcome import Outcome
from tsdb.ingest.write import WriteRequest

SMALL_BYTES = 4096
# Larger bodies than this go alone: what is shared would be little of their work.
MIDDLE_BYTES = 512 * 1024
BODIES_MAX = 256
# No more go as one: of many writers some are read while those before them are on their way to the disk.
JOINED_BYTES_MAX = 1024 * 1024
# So long at most are senders waited for: of what the event loop's timers can tell apart the least but one.
LINGER_S = 0.002

_Octets = bytes | bytearray
# Write a body for a role; with True nothing of it is written unless all of it is good.
Write = Callable[[WriteRequest, _Octets, int, bool], Awaitable[Outcome]]
_Waiting = tuple[_Octets, "asyncio.Future[Outcome]"]


class Size(Enum):
    """Whether the next write waits for others that are expected."""

    SMALL = auto()
    MIDDLE = auto()


class Alike(NamedTuple):
    """What writes have in common that go as one."""

    loop: asyncio.AbstractEventLoop
    request: WriteRequest
    role: int
    size: Size


def size_class(request: WriteRequest, body: _Octets, encoding: str) -> Size | None:
    """With which others it may go; None for none."""
    if encoding or request.producer is not None or not request.accept_partial:
        return None
    if len(body) > MIDDLE_BYTES or b'"' in body:
        return None
    return Size.SMALL if len(body) <= SMALL_BYTES else Size.MIDDLE


class _Queue:
    """Who waits for the write that is under way; while none is, for others who are ``expected``."""

    def __init__(self) -> None:
        self.waiting: list[_Waiting] = []
        self.expected = 0
        self.timer: asyncio.TimerHandle | None = None

    @property
    def is_complete(self) -> bool:
        """Have all come that are expected, or as much as goes as one?"""
        return len(self.waiting) >= self.expected or sum(len(body) for body, _ in self.waiting) >= JOINED_BYTES_MAX

    def take(self) -> list[_Waiting]:
        """Those who go next."""
        count = bytes_taken = 0
        while count < min(len(self.waiting), BODIES_MAX) and (not count or bytes_taken < JOINED_BYTES_MAX):
            bytes_taken += len(self.waiting[count][0])
            count += 1
        taken = self.waiting[:count]
        del self.waiting[:count]
        return taken


class Together:
    """Each event loop has its own: who waits for another's would not be woken."""

    def __init__(self, write: Write) -> None:
        self._write = write
        # There is one while a write is under way or expected, by what the writes have in common.
        self._queues: dict[Alike, _Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, key: Alike, body: _Octets) -> asyncio.Future[Outcome]:
        """As ``write`` does, for who cannot wait."""
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue()
            key.loop.call_soon(self._ended, key, queue, 0)
        return self._join(key, queue, body)

    def _join(self, key: Alike, queue: _Queue, body: _Octets) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = key.loop.create_future()
        queue.waiting.append((body, future))
        if queue.timer is not None and queue.is_complete:
            self._next(key, queue)
        return future

    async def write(self, request: WriteRequest, body: _Octets, role: int, size: Size = Size.SMALL) -> Outcome:
        """Write a body. Of those that go as one the first is told all points that were written."""
        loop = asyncio.get_running_loop()
        key = Alike(loop, request, role, size)
        queue = self._queues.get(key)
        if queue is not None:
            return await self._join(key, queue, body)
        queue = self._queues[key] = _Queue()
        alone = False
        try:
            # Whatever came in the same turn of the loop goes along.
            await asyncio.sleep(0)
            alone = not queue.waiting
            if alone:
                return await self._write(request, body, role, False)
            future: asyncio.Future[Outcome] = loop.create_future()
            queue.waiting.insert(0, (body, future))
        finally:
            self._ended(key, queue, int(alone))
        return await future

    def _ended(self, key: Alike, queue: _Queue, answered: int) -> None:
        """A write of so many is over: wait for those who may send the next, or go on with those who wait."""
        queue.expected = answered + len(queue.waiting)
        if key.size is Size.SMALL or queue.expected < 2 or queue.is_complete:
            self._next(key, queue)
        else:
            queue.timer = key.loop.call_later(LINGER_S, self._next, key, queue)

    def _next(self, key: Alike, queue: _Queue) -> None:
        timer, queue.timer = queue.timer, None
        if timer is not None:
            timer.cancel()
        taken = queue.take()
        if not taken:
            del self._queues[key]
            return
        task = key.loop.create_task(self._run(key, queue, taken))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, key: Alike, queue: _Queue, taken: Sequence[_Waiting]) -> None:
        try:
            # The answers to those before leave at the end of this turn of the loop: not behind the work for these.
            await asyncio.sleep(0)
            outcomes = await self._outcomes(key, [body for body, _ in taken])
            for (_, future), outcome in zip(taken, outcomes, strict=True):
                if future.done():
                    continue  # who asked was told to stop meanwhile
                if isinstance(outcome, BaseException):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
        finally:
            for _, future in taken:
                future.cancel()  # of this task's own end; the others are done
            self._ended(key, queue, len(taken))

    async def _outcomes(self, key: Alike, bodies: Sequence[_Octets]) -> Sequence[Outcome | BaseException]:
        """Of each body, in order."""
        try:
            together = await self._as_one(key, bodies) if len(bodies) > 1 else None
        except Exception as error:
            # Nobody knows what of it was written, so it is not tried again: all are told.
            return [error] * len(bodies)
        if together is not None:
            return [together, *(replace(together, written=0) for _ in bodies[1:])]
        alone = (self._write(key.request, body, key.role, False) for body in bodies)
        return await asyncio.gather(*alone, return_exceptions=True)

    async def _as_one(self, key: Alike, bodies: Sequence[_Octets]) -> Outcome | None:
        """None: nothing was written."""
        try:
            outcome = await self._write(key.request, b"\n".join(bodies), key.role, True)
        except TsdbError:
            return None
        return outcome if outcome.dropped == 0 else None
