"""Small writes that come at the same time are parsed, bound and logged as one: a hundred clients that send a point
each cost little more than one that sends a hundred.

While a write of some database, precision and role is under way, the others like it wait; when it is durable, all that
waited go as one body, if that is wholly good. If it is not, nothing of it is written and each goes by itself, so that
everybody gets the answer to his own lines. Lines without a time do not go together: those of two senders would get the
same time and be one point. A body with a quote always goes by itself: a string that its sender left open must not end
in another's line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from tsdb.errors import TsdbError
from tsdb.ingest.outcome import Outcome
from tsdb.ingest.write import WriteRequest

SMALL_BYTES = 4096
BODIES_MAX = 256

# Write a body for a role; with True nothing of it is written unless all of it is good.
Write = Callable[[WriteRequest, bytes, int, bool], Awaitable[Outcome]]
_Waiting = tuple[bytes, "asyncio.Future[Outcome]"]


class _Alike(NamedTuple):
    """What writes have in common that go as one."""

    loop: asyncio.AbstractEventLoop
    request: WriteRequest
    role: int


def is_small(request: WriteRequest, body: bytes | bytearray, encoding: str) -> bool:
    """May it go with others?"""
    plain = not encoding and request.producer is None and request.accept_partial
    return plain and len(body) <= SMALL_BYTES and b'"' not in body


class Together:
    """Each event loop has its own: who waits for another's would not be woken."""

    def __init__(self, write: Write) -> None:
        self._write = write
        # Who waits for the write that is under way, by what they have in common.
        self._waiting: dict[_Alike, list[_Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def write(self, request: WriteRequest, body: bytes, role: int) -> Outcome:
        """Write a small body. Of those that go as one the first is told all points that were written."""
        loop = asyncio.get_running_loop()
        key = _Alike(loop, request, role)
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = []
            try:
                return await self._write(request, body, role, False)
            finally:
                self._next(key)
        future: asyncio.Future[Outcome] = loop.create_future()
        waiting.append((body, future))
        return await future

    def _next(self, key: _Alike) -> None:
        waiting = self._waiting.pop(key)
        if waiting:
            self._waiting[key] = waiting[BODIES_MAX:]
            task = key.loop.create_task(self._run(key, waiting[:BODIES_MAX]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, key: _Alike, taken: Sequence[_Waiting]) -> None:
        try:
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
            self._next(key)

    async def _outcomes(self, key: _Alike, bodies: Sequence[bytes]) -> Sequence[Outcome | BaseException]:
        """Of each body, in order."""
        try:
            together = await self._as_one(key, bodies) if len(bodies) > 1 else None
        except Exception as error:
            # Nobody knows what of it was written, so it is not tried again: all are told.
            return [error] * len(bodies)
        if together is not None:
            return [together, *(Outcome(0) for _ in bodies[1:])]
        alone = (self._write(key.request, body, key.role, False) for body in bodies)
        return await asyncio.gather(*alone, return_exceptions=True)

    async def _as_one(self, key: _Alike, bodies: Sequence[bytes]) -> Outcome | None:
        """None: nothing was written."""
        try:
            outcome = await self._write(key.request, b"\n".join(bodies), key.role, True)
        except TsdbError:
            return None
        return outcome if outcome.dropped == 0 else None
