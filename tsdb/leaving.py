"""Waiting that ends with its statement: who waits for other nodes asks whether the statement of its thread still runs.

    with Statement(is_cancelled):
        …                             deep below, ``result_of(future)``

A thread that runs no statement, or none that may end, waits as it always does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import TypeAlias, TypeVar

from tsdb.errors import QueryCanceled

T = TypeVar("T")

IsLeft: TypeAlias = Callable[[], bool]
"""Whether nobody waits for a statement any more: it was cancelled, or its time is over. From any thread."""

LOOK_S = 0.05


def never() -> bool:
    return False


class Statement:
    """What this thread does meanwhile is of a statement that may be left."""

    def __init__(self, is_left: IsLeft) -> None:
        self._is_left = is_left
        self._outer: IsLeft = never

    def __enter__(self) -> None:
        self._outer, _own.is_left = _own.is_left, self._is_left

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _own.is_left = self._outer


class _Own(threading.local):
    def __init__(self) -> None:
        self.is_left: IsLeft = never


_own = _Own()


def here() -> IsLeft:
    """Of this thread's statement: for others who wait for it."""
    return _own.is_left


def left() -> QueryCanceled:
    """The session knows for what reason, and says that instead."""
    return QueryCanceled("canceling statement due to user request")


def result_of(future: Future[T], seconds: float | None = None) -> T:
    """As ``future.result``. Raises QueryCanceled when this thread's statement is left meanwhile: what becomes of the
    future is the caller's affair."""
    is_left = _own.is_left
    if is_left is never:
        return future.result(seconds)
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        wait_s = LOOK_S if end is None else max(0.0, min(LOOK_S, end - time.monotonic()))
        try:
            return future.result(wait_s)
        except TimeoutError:
            # One of the future's own is what it ended with.
            if future.done() or (end is not None and time.monotonic() >= end):
                raise
        if is_left():
            raise left()
