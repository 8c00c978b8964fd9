"""Which bodies are parsed on the event loop, where they were read, and which in a thread.

A trip to a thread wakes it and waits until the interpreter is free: as long as half of the work for a thousand lines.
So a body goes the short way when others of about its length took little CPU lately. What a body holds is not known
before: one that took long, or would have had to wait (``tsdb.prompt``), sends the next ones to a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tsdb.prompt import MayWait, Run

T = TypeVar("T")

# Of the loop's time for one body. Others of its class are at most twice as long, and may hold more in the same length.
SHORT_S = 0.003
LONG_S = 0.008
SKIPS_MIN, SKIPS_MAX = 8, 256


class Pace:
    """Used on the event loop, but for ``measured``. Threads may disagree for a moment: then a body takes the longer
    way."""

    def __init__(self) -> None:
        # Seconds of CPU of the last body, by the number of bits of its length.
        self._took: dict[int, float] = {}
        self._skips = 0
        self._left = 0

    def measured(self, size: int, work: Callable[[], T]) -> T:
        """Do the work of a body of ``size`` bytes in a thread, and learn from it."""
        busy = -time.thread_time()
        made = work()
        self._took[size.bit_length()] = busy + time.thread_time()
        return made

    def at_once(self, size: int, work: Callable[[], T]) -> T | None:
        """Do the work now if it is short and need not wait; None: nothing has happened."""
        if self._left:
            self._left -= 1
            return None
        bits = size.bit_length()
        if self._took.get(bits, SHORT_S) >= SHORT_S:
            return None
        busy = -time.thread_time()
        try:
            with Run(0):
                return work()
        except MayWait:
            self._back_off()
            return None
        finally:
            took = self._took[bits] = busy + time.thread_time()
            if took > LONG_S:
                self._back_off()
            elif self._skips:
                self._skips -= 1

    def _back_off(self) -> None:
        self._left = self._skips = min(max(SKIPS_MIN, 2 * self._skips), SKIPS_MAX)
