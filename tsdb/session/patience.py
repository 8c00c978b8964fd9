"""How long a statement waits for another node to answer, where the one that should does not.

Nobody holds a thread or a turn meanwhile: ``NotYet`` goes up to ``work``, which waits on the event loop and then has
the step done again.
"""

from __future__ import annotations

import time

from tsdb.errors import CannotConnectNow
from tsdb.prompt import may_wait
from tsdb.session.cancellation import Cancellation

WAIT_S = 10.0
FIRST_S = 0.025
LONGEST_S = 0.2


class NotYet(Exception):
    """Another node may answer soon: the same is to be done again after ``seconds``. Never reaches a client."""

    def __init__(self, seconds: float) -> None:
        super().__init__("another node may answer soon")
        self.seconds = seconds


class Patience:
    """Of what one message of a client asks for: ``WAIT_S`` from the first refusal."""

    def __init__(self, cancellation: Cancellation) -> None:
        self.cancellation = cancellation
        self._end: float | None = None
        self._pause = FIRST_S

    def refused(self, error: CannotConnectNow) -> Exception:
        """What is to be raised: ``NotYet``, or the error where trying again is no use, or not any more. Raises
        MayWait, QueryCanceled."""
        if not error.passes:
            return error
        may_wait()
        self.cancellation.check()
        now = time.monotonic()
        self._end = self._end or now + WAIT_S
        if now + self._pause >= self._end:
            return error
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_S)
        return NotYet(pause)
