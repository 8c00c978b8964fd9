"""The pace: how compaction leaves room for others. A rate in bytes a second, and rests while others are at work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tsdb.storage.rate import Rate

# While others are at work, it rests so many times as long as it has worked.
REST = 3
REST_SECONDS_MAX = 0.5


class Interrupted(Exception):
    """Compaction was asked to stop: nothing refers to what it wrote since its last swap."""


class Pace:
    """One thread's. ``busy`` says whether others are at work; ``stopped`` ends every wait."""

    def __init__(self, rate: int, busy: Callable[[], bool], stopped: threading.Event) -> None:
        self._rate = Rate(rate)
        self._busy = busy
        self._stopped = stopped
        self._since = 0.0
        self.hurried = False

    def check(self) -> None:
        """Raises Interrupted."""
        if self._stopped.is_set():
            raise Interrupted("compaction is stopped")

    def begin(self) -> None:
        """Work begins now."""
        self._since = time.monotonic()

    def worked(self, size: int) -> None:
        """Wait as becomes ``size`` bytes, read and written since the last time. Raises Interrupted."""
        now = time.monotonic()
        rest = 0.0 if self.hurried else self._rate.rest_s(size, now)
        if self._busy():
            rest = max(rest, min((now - self._since) * (1 if self.hurried else REST), REST_SECONDS_MAX))
        if rest > 0:
            self._stopped.wait(rest)
        self.check()
        self.begin()
