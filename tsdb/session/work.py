"""Where a session's blocking work runs: in the pool that all sessions share, in its turn, within the budget of
results. A query whose kind has lately been short runs on the event loop instead, as long as it need not wait.

What waits, for a turn, a thread, memory or another node, is cancelled at once; what runs is cancelled by the target of
its ``Cancellation``, and what waits for other nodes deep below asks itself (``tsdb.leaving``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar

from tsdb.errors import TsdbError
from tsdb.leaving import Statement
from tsdb.prompt import MayWait, Validations
from tsdb.session.budget import Budget, Claim, Crowded
from tsdb.session.cancellation import Cancellation
from tsdb.session.patience import NotYet
from tsdb.session.turns import NoTurn, Turn, Turns
from tsdb.sql.pace import SHORT_S, Pace

logger = logging.getLogger(__name__)

T = TypeVar("T")

# How often a session that waits looks at what it waits for: clients that hold memory and do not read, turns that last.
_LOOK_S = 0.25
# pg_stat_activity's wait_event_type and wait_event.
WaitEvent = tuple[str, str]
FOR_TURN: WaitEvent = ("Extension", "QueryTurn")
FOR_MEMORY: WaitEvent = ("Extension", "ResultMemory")
# No node says for longer whether what was read is valid; then it is read again where that may be waited for.
_VALID_S = 1.0
FOR_NODE: WaitEvent = ("Extension", "AnotherNode")


class Work:
    """``await work(function)`` runs it in a thread. ``cancellation`` says which message it belongs to; ``waits`` is
    told what for, and None when that is over."""

    def __init__(
        self,
        pool: Executor,
        budget: Budget,
        turns: Turns,
        cancellation: Callable[[], Cancellation],
        waits: Callable[[WaitEvent | None], None],
    ) -> None:
        self._pool = pool
        self._budget = budget
        self._turns = turns
        self.turn = turns.turn()
        self._cancellation = cancellation
        self._waits = waits
        self._running: Future[Any] | None = None
        # For how long statements of this session have kept the event loop from others.
        self._kept_s = 0.0

    async def __call__(self, function: Callable[[], T]) -> T:
        """Run what blocks. Raises what it raises, QueryCanceled if it was cancelled before it ran."""
        while True:
            try:
                return await self._in_thread(function)
            except Crowded as crowded:
                await self._wait_for(crowded.claim, self._budget.cut_stalled, FOR_MEMORY)
            except NoTurn as without:
                await self._wait_for(without.turn, self._turns.look, FOR_TURN)
            except NotYet as refused:
                await self._pause(refused.seconds)

    async def at_pace(self, pace: Pace | None, function: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        """As a call; ``function`` runs a query that has not begun, and ``pace`` says whether it may run here.

        With ``undo``, which lets go of what it has made, it may read what has to be validated before that is given.
        """
        parts_max = pace.parts_max() if pace is not None else None
        if pace is None or parts_max is None:
            return await self(function if pace is None else partial(pace.measured, function))
        if self._kept_s > SHORT_S:
            self._kept_s = 0.0
            await asyncio.sleep(0)
        validations: Validations | None = None if undo is None else []
        made: list[T] = []
        began = time.perf_counter()
        try:
            made.append(pace.at_once(function, parts_max, validations))
        except (MayWait, Crowded, NoTurn):
            pass
        except Exception:
            if not validations:
                raise
            # With all there is it may be another error, or none.
        finally:
            self.turn.leave()
            self._kept_s += time.perf_counter() - began
        if made and (undo is None or not validations or await self._holds(pace, validations, partial(undo, made[0]))):
            return made[0]
        return await self(partial(pace.measured, function))

    async def _holds(self, pace: Pace, validations: Validations, undo: Callable[[], None]) -> bool:
        """Whether what was made may be given. Raises QueryCanceled."""
        valid = False
        try:
            valid = await self._are_valid(validations)
        finally:
            if not valid:
                self.later(undo)
        if not valid:
            pace.was_void()
        return valid

    async def _are_valid(self, validations: Validations) -> bool:
        """Raises QueryCanceled."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _VALID_S
        if any(each.holds is None for each in validations):
            # What has come meanwhile is heard in the loop's next turn, and then there is nothing to wait for.
            await asyncio.sleep(0)
        while validations:
            validation = validations.pop()
            if validation.holds is None:
                said = _Said()
                validation.when_said(said.tell_from_any_thread)
                await self._within(said, end - loop.time())
            if not validation.holds:
                return False
        return True

    async def _in_thread(self, function: Callable[[], T]) -> T:
        cancellation = self._cancellation()

        def run() -> T:
            try:
                with Statement(cancellation.is_cancelled):
                    return function()
            finally:
                self.turn.leave()

        self._running = submitted = self._pool.submit(run)
        cancellation.wait(submitted.cancel)
        try:
            # A task that is cancelled leaves, but the thread goes on, and ``ended`` waits for it.
            return await asyncio.wrap_future(submitted)
        except asyncio.CancelledError:
            if submitted.cancelled():
                self.turn.leave()
                cancellation.check()
            raise
        finally:
            cancellation.waited(submitted.cancel)
            if submitted.done():
                self._running = None  # a future keeps its error's traceback, and that the statement's view

    async def _wait_for(self, awaited: Claim | Turn, look: Callable[[], None], event: WaitEvent) -> None:
        """Until a claim has entered, or a turn has come. Raises QueryCanceled, TooManyConnections."""
        loop = asyncio.get_running_loop()
        entered = loop.create_future()
        cancellation = self._cancellation()

        def ready() -> None:
            if not entered.done():
                entered.set_result(None)

        awaited.wait(lambda: loop.call_soon_threadsafe(ready))
        cancellation.wait(entered.cancel)
        self._waits(event)
        try:
            while not (await asyncio.wait([entered], timeout=_LOOK_S))[0]:
                look()
            cancellation.check()
        except BaseException:
            awaited.leave()
            raise
        finally:
            self._waits(None)
            cancellation.waited(entered.cancel)

    async def _pause(self, seconds: float) -> None:
        """Raises QueryCanceled."""
        await self._within(_Said(), seconds)

    async def _within(self, said: _Said, seconds: float) -> None:
        """Wait for another node, for so long. Raises QueryCanceled."""
        cancellation = self._cancellation()
        leave = said.tell_from_any_thread
        cancellation.wait(leave)
        self._waits(FOR_NODE)
        timer = said.loop.call_later(seconds, said.tell)
        try:
            await said.future
            cancellation.check()
        finally:
            timer.cancel()
            self._waits(None)
            cancellation.waited(leave)

    async def ended(self) -> None:
        """Until nothing of this session runs in a thread."""
        if self._running is not None and not self._running.done():
            loop, ended = asyncio.get_running_loop(), asyncio.Event()
            self._running.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
            await ended.wait()

    def later(self, close: Callable[[], None]) -> None:
        """Close in the pool, once the thread that may still be reading has returned; nobody waits for it."""
        running = self._running
        if running is None or running.done():
            self._pool.submit(_quietly, close)
        else:
            running.add_done_callback(lambda _: self._pool.submit(_quietly, close))


class _Said:
    """What a session waits for on the event loop: one turn of it after it is told, where ``asyncio.wait`` and
    ``wrap_future`` take three."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()

    def _runs_here(self) -> bool:
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def tell(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    def tell_from_any_thread(self) -> None:
        if self._runs_here():
            self.tell()
            return
        # Nobody waits on a loop that has stopped.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.tell)


def _quietly(close: Callable[[], None]) -> None:
    try:
        close()
    except TsdbError as error:
        logger.info("a portal did not close cleanly: %s", error.message)
    except Exception:
        logger.exception("a portal did not close")
