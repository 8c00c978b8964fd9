"""Small writes that come at the same time are parsed, bound and logged as one: a hundred clients that send a point
each cost little more than one that sends a hundred.

What comes in one turn of the event loop goes as one body, if that is wholly good. While a write of some database,
precision and role is under way, the others like it wait; when it is durable (middling ones: when it is parsed and on
its way to the disk), so do all that waited.
If it is not, nothing of it is written and each goes by itself, so that everybody gets the answer to his own lines.
Lines without a time do not go together: those of two senders would get the same time and be one point. A body with a
quote always goes by itself: a string that its sender left open must not end in another's line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from functools import partial
from typing import NamedTuple

from tsdb.errors import TsdbError
from tsdb.ingest.outcome import Outcome
from tsdb.ingest.write import WriteRequest

SMALL_BYTES = 4096
# Larger bodies than this go alone: what is shared would be little of their work.
MIDDLE_BYTES = 512 * 1024
BODIES_MAX = 256
# No more go as one: of many writers some are parsed while those before them are on their way to the disk and those
# after them are read. If all went as one, each step would wait for the one before.
JOINED_BYTES_MAX = 1024 * 1024

_Octets = bytes | bytearray
# Write a body for a role; with True nothing of it is written unless all of it is good. Calls back, unless that is None,
# when all of it is on its way to the disk.
Write = Callable[[WriteRequest, _Octets, int, bool, Callable[[], None] | None], Awaitable[Outcome]]
_Waiting = tuple[_Octets, "asyncio.Future[Outcome]"]


class Size(Enum):
    """How long the next write waits: small ones until the disk has what is under way, so that many come together; with
    middling ones the next are parsed meanwhile."""

    SMALL = auto()
    MIDDLE = auto()


class _Alike(NamedTuple):
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


class _Turn:
    """What is under way; the next may begin when it ends, which is once."""

    def __init__(self, size: Size, end: Callable[[], None]) -> None:
        self._end: Callable[[], None] | None = end
        self.handed_on = self.end if size is Size.MIDDLE else None

    def end(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            end()


class Together:
    """Each event loop has its own: who waits for another's would not be woken."""

    def __init__(self, write: Write) -> None:
        self._write = write
        # Who waits for the write that is under way, by what they have in common.
        self._waiting: dict[_Alike, list[_Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def write(self, request: WriteRequest, body: _Octets, role: int, size: Size = Size.SMALL) -> Outcome:
        """Write a body. Of those that go as one the first is told all points that were written."""
        loop = asyncio.get_running_loop()
        key = _Alike(loop, request, role, size)
        waiting = self._waiting.get(key)
        future: asyncio.Future[Outcome] = loop.create_future()
        if waiting is not None:
            waiting.append((body, future))
            return await future
        waiting = self._waiting[key] = []
        turn = _Turn(size, partial(self._next, key))
        try:
            # Whatever came in the same turn of the loop goes along.
            await asyncio.sleep(0)
            if not waiting:
                return await self._write(request, body, role, False, turn.handed_on)
            waiting.insert(0, (body, future))
        finally:
            turn.end()
        return await future

    def _next(self, key: _Alike) -> None:
        waiting = self._waiting.pop(key)
        if not waiting:
            return
        count = bytes_taken = 0
        while count < min(len(waiting), BODIES_MAX) and (not count or bytes_taken < JOINED_BYTES_MAX):
            bytes_taken += len(waiting[count][0])
            count += 1
        self._waiting[key] = waiting[count:]
        task = key.loop.create_task(self._run(key, waiting[:count]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, key: _Alike, taken: Sequence[_Waiting]) -> None:
        turn = _Turn(key.size, partial(self._next, key))
        try:
            outcomes = await self._outcomes(key, [body for body, _ in taken], turn)
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
            turn.end()

    async def _outcomes(self, key: _Alike, bodies: Sequence[_Octets], turn: _Turn) -> Sequence[Outcome | BaseException]:
        """Of each body, in order."""
        try:
            together = await self._as_one(key, bodies, turn) if len(bodies) > 1 else None
        except Exception as error:
            # Nobody knows what of it was written, so it is not tried again: all are told.
            return [error] * len(bodies)
        if together is not None:
            return [together, *(Outcome(0, token=together.token) for _ in bodies[1:])]
        alone = (self._write(key.request, body, key.role, False, turn.handed_on) for body in bodies)
        return await asyncio.gather(*alone, return_exceptions=True)

    async def _as_one(self, key: _Alike, bodies: Sequence[_Octets], turn: _Turn) -> Outcome | None:
        """None: nothing was written."""
        try:
            outcome = await self._write(key.request, b"\n".join(bodies), key.role, True, turn.handed_on)
        except TsdbError:
            return None
        return outcome if outcome.dropped == 0 else None
