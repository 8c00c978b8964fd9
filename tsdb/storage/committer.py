"""The committer: the one thread through which everything that changes a node's data goes, in order.

Any thread submits *appends* (ops for the log) and *calls* (functions: a schema change, the end of a flush). The
committer takes all appends that waited while the last group was written and hands them on as one group (group
commit); calls run between groups. So no state behind it needs a lock.

Memory is bounded here: an append is admitted when queued ops and heads together have room for it; otherwise its
writer waits, and is refused with OutOfMemory when the disk does not follow in time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from tsdb import prompt
from tsdb.errors import AdminShutdown, OutOfMemory, ProgramLimitExceeded

T = TypeVar("T")
R = TypeVar("R")


def _answer() -> Future[Any]:
    """A future that cannot be cancelled: who gives up waiting (a cancelled task) does not undo what is under way."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


@dataclass(slots=True)
class Pending(Generic[T]):
    """What waits in the queue: ``work`` is an append, or None for a ``call``."""

    work: T | None
    call: Callable[[], Any] | None
    bytes: int
    future: Future[Any] = field(default_factory=_answer)


class Committer(Generic[T]):
    """``commit`` gets groups of appends and answers their futures; ``tick`` runs at least every ``tick_seconds``.

    ``press`` is called when a writer begins to wait for room.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Pending[T]]], None],
        tick: Callable[[], None],
        press: Callable[[], None],
        abort: Callable[[str], None],
        *,
        memory_bytes: int,
        queue_bytes: int,
        group_bytes: int,
        write_wait: float,
        tick_seconds: float = 1.0,
    ) -> None:
        self._commit = commit
        self._tick = tick
        self._press = press
        self._abort = abort
        self._memory_bytes = memory_bytes
        self._queue_bytes = queue_bytes
        self._group_bytes = group_bytes
        self._write_wait = write_wait
        self._tick_seconds = tick_seconds
        self._queue: deque[Pending[T]] = deque()
        self._queued_bytes = 0
        self._head_bytes = 0
        self._closed = False
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._drained = threading.Condition(lock)
        self._thread = threading.Thread(target=self._run, name="tsdb-committer", daemon=True)
        self.writers_waited = 0
        self.writers_refused = 0

    def start(self) -> None:
        self._thread.start()

    @property
    def queued_bytes(self) -> int:
        return self._queued_bytes

    def submit(self, work: T, size: int, *, alone: bool = False) -> Future[Any]:
        """Queue an append of ``size`` bytes; waits for room, or raises MayWait. Its errors come by the future.

        One that is larger than the queue is refused, unless it may go ``alone``.
        """
        pending: Pending[T] = Pending(work, None, size)
        if size > self._queue_bytes and not alone:
            pending.future.set_exception(
                ProgramLimitExceeded(
                    f"a write of {size} bytes is larger than the write queue of {self._queue_bytes} bytes",
                    hint="Send smaller batches.",
                )
            )
            return pending.future
        with self._filled:
            refusal = self._wait_for_room(size)
            if refusal is None:
                self._queue.append(pending)
                self._queued_bytes += size
                self._filled.notify()
        if refusal is not None:
            pending.future.set_exception(refusal)
        return pending.future

    def call(self, function: Callable[[], R]) -> Future[R]:
        """Run ``function`` between groups; its result or error is the future's."""
        pending: Pending[T] = Pending(None, function, 0)
        with self._filled:
            if self._closed:
                pending.future.set_exception(AdminShutdown("the storage engine is closed"))
                return pending.future
            self._queue.append(pending)
            self._filled.notify()
        return pending.future

    def set_head_bytes(self, size: int) -> None:
        """How large live and frozen heads are now."""
        with self._drained:
            self._head_bytes = size
            self._drained.notify_all()

    def close(self) -> None:
        """Finish what is queued, then stop. Later submissions are refused."""
        with self._filled:
            self._closed = True
            self._filled.notify_all()
            self._drained.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def _wait_for_room(self, size: int) -> Exception | None:
        if not self._has_room(size):
            prompt.may_wait()
            self.writers_waited += 1
            self._queue.append(Pending(None, self._press, 0))
            self._filled.notify()
            self._drained.wait_for(lambda: self._closed or self._has_room(size), self._write_wait)
        if self._closed:
            return AdminShutdown("the storage engine is closed")
        if self._has_room(size):
            return None
        self.writers_refused += 1
        return OutOfMemory(
            "the node's memory for recent points is full and the disk does not follow",
            detail=f"{self._head_bytes + self._queued_bytes} of {self._memory_bytes} bytes are in use.",
            hint="Try again later.",
        )

    def _has_room(self, size: int) -> bool:
        if self._queued_bytes and self._queued_bytes + size > self._queue_bytes:
            return False
        used = self._head_bytes + self._queued_bytes
        # A write larger than all the memory there is goes alone.
        return used == 0 or used + size <= self._memory_bytes

    def _run(self) -> None:
        due = time.monotonic() + self._tick_seconds
        while True:
            taken = self._take(due - time.monotonic())
            if taken is None:
                return
            if taken:
                self._serve(taken)
                taken.clear()  # or the wait for the next would hold its bodies, and the views it was made from
            if time.monotonic() >= due:
                self._guarded(self._tick)
                due = time.monotonic() + self._tick_seconds

    def _take(self, timeout: float) -> list[Pending[T]] | None:
        """A group of appends, or one call; empty at the timeout, None when closed and drained."""
        with self._filled:
            if not self._queue and not self._closed:
                self._filled.wait(max(0.0, timeout))
            if not self._queue:
                return None if self._closed else []
            if self._queue[0].call is not None:
                return [self._queue.popleft()]
            group: list[Pending[T]] = []
            size = 0
            while self._queue and self._queue[0].call is None and (not group or size < self._group_bytes):
                group.append(self._queue.popleft())
                size += group[-1].bytes
            return group

    def _serve(self, taken: list[Pending[T]]) -> None:
        first = taken[0]
        if first.call is not None:
            try:
                result = first.call()
            except BaseException as error:
                first.future.set_exception(error)
            else:
                first.future.set_result(result)
            return
        self._guarded(lambda: self._commit(taken))
        with self._drained:
            self._queued_bytes -= sum(pending.bytes for pending in taken)
            self._drained.notify_all()

    def _guarded(self, work: Callable[[], None]) -> None:
        """``work`` answers what is wrong with an append by its future; what it raises means a broken invariant."""
        try:
            work()
        except BaseException as error:
            self._abort(f"the committer failed: {type(error).__name__}: {error}")
            raise
