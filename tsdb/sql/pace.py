"""How long the statements of one plan took lately: whether the next one is short enough for the event loop.

How long a statement will take is not known before, but statements of one kind (a dashboard's panel, with other hosts
and times) are much alike, and what a scan looks at is known before it reads. So the first ones run in a thread and are
measured; the next that looks at hardly more parts than those did runs at once. One that was held up, or had to be run
again in a thread, sends the next ones there: twice as many each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tsdb.prompt import MayWait, Run, Validations

T = TypeVar("T")

# As long as Python lets one thread run while others want to (sys.getswitchinterval), of its own time.
SHORT_S = 0.005
# By the clock: others held it up.
HELD_UP_S = 0.025
SKIPPED_MAX = 256
# After one that kept others waiting, at least.
SKIPPED_LONG = 8


class Pace:
    """Of one plan. Threads may disagree for a moment: then a statement runs in a thread that need not."""

    def __init__(self) -> None:
        self._parts = -1
        self._skips = 0
        self._left = 0

    def parts_max(self) -> int | None:
        """The parts of series that the next statement may look at where it must not wait; None: not at all."""
        if self._left:
            self._left -= 1
            return None
        return self._parts + self._parts // 4 + 1 if self._parts >= 0 else None

    def measured(self, function: Callable[[], T]) -> T:
        """Run a statement in a thread, and learn from it."""
        busy = -time.thread_time()
        with Run() as run:
            made = function()
        self._learn(run, busy + time.thread_time())
        return made

    def at_once(self, function: Callable[[], T], parts_max: int, validations: Validations | None = None) -> T:
        """Run a statement that must not wait. Raises MayWait: then nothing has happened. Where ``validations`` are
        given, what comes of it holds if these come true."""
        began, busy = time.perf_counter(), -time.thread_time()
        run = Run(parts_max, validations)
        try:
            with run:
                made = function()
        except MayWait:
            self._backed_off()
            raise
        except Exception:
            if busy + time.thread_time() > SHORT_S:
                self._learn(run, busy + time.thread_time())
                self._backed_off(SKIPPED_LONG)
            raise
        busy += time.thread_time()
        self._learn(run, busy)
        if busy > SHORT_S or time.perf_counter() - began > HELD_UP_S:
            self._backed_off(SKIPPED_LONG)
        elif self._skips:
            # One by one: of a kind that is long now and then few of the long ones hold up others.
            self._skips -= 1
        return made

    def was_void(self) -> None:
        """What one gave that ran at once was not valid, and it had to be run again in a thread."""
        self._backed_off()

    def _learn(self, run: Run, busy_s: float) -> None:
        if busy_s <= SHORT_S:
            self._parts = max(self._parts, run.parts)
        else:
            # Fewer than these, with what ``parts_max`` adds, until a short one has looked at as many.
            self._parts = min(self._parts, run.parts * 3 // 4 - 1)

    def _backed_off(self, least: int = 1) -> None:
        self._skips = min(SKIPPED_MAX, max(least, 2 * self._skips))
        self._left = self._skips
