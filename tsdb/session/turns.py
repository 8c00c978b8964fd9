"""Whose statement runs now: so many at a time, and the others wait in the order they came. Nothing here blocks.

What may take long (it reads series, or makes rows of its own) needs a *turn* while it is in a thread: from the start of
a query to its first rows, then for each piece of its rows. Between them, while its client reads, it has none. What is
short (SHOW, BEGIN, the catalog, planning, an INSERT of values) needs none, and there are threads left for it.

A turn cannot be taken away. One that lasts longer than ``long_s`` no longer counts against new ones, up to as many long
ones as short ones: eight statements that run for minutes do not keep everybody else waiting.

    out ──enter──> held ──leave──> out;   no turn is free: waiting ──free──> held
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum, auto

from tsdb.errors import TooManyConnections

LONG_S = 1.0


class State(Enum):
    OUT = auto()
    WAITING = auto()
    HELD = auto()


class NoTurn(Exception):
    """Raised before anything was done: it may be done again when the turn has come. Never reaches a client."""

    def __init__(self, turn: Turn) -> None:
        super().__init__("no turn now")
        self.turn = turn


class Turn:
    """One session's. Any thread may call."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.state = State.OUT
        self.since = 0.0
        self.ready: Callable[[], object] | None = None

    def enter(self) -> None:
        """Before what may take long; again is nothing. Raises NoTurn."""
        if self.state is not State.HELD and not self._turns.enter(self):
            raise NoTurn(self)

    def wait(self, ready: Callable[[], object]) -> None:
        """After NoTurn: ``ready`` is called, in any thread, when the turn has come. Raises TooManyConnections."""
        self._turns.wait(self, ready)

    def leave(self) -> None:
        """It is over, or waits no longer."""
        if self.state is not State.OUT:
            self._turns.leave(self)


class Turns:
    """``limit`` turns, and as many for statements that have lasted longer than ``long_s``; ``waiting_max`` wait."""

    def __init__(
        self,
        limit: int = 8,
        waiting_max: int = 500,
        long_s: float = LONG_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self.waiting_max = waiting_max
        self._long_s = long_s
        self._now = now
        self._lock = threading.Lock()
        self._held: set[Turn] = set()
        self._waiting: deque[Turn] = deque()
        self.refused_count = 0

    def turn(self) -> Turn:
        return Turn(self)

    @property
    def held_count(self) -> int:
        return len(self._held)

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    def look(self) -> None:
        """While somebody waits, again and again: turns become long by time alone."""
        self._admit()

    # --- for turns ---

    def enter(self, turn: Turn) -> bool:
        with self._lock:
            if not self._waiting and self._is_free():
                self._take(turn)
                return True
        return False

    def wait(self, turn: Turn, ready: Callable[[], object]) -> None:
        with self._lock:
            if len(self._waiting) >= self.waiting_max:
                self.refused_count += 1
                raise TooManyConnections(
                    f"{self.waiting_max} statements are waiting for their turn, as many as are allowed",
                    hint="Try again later, or raise waiting_queries or running_queries.",
                )
            turn.state, turn.ready = State.WAITING, ready
            self._waiting.append(turn)
        self._admit()

    def leave(self, turn: Turn) -> None:
        with self._lock:
            if turn.state is State.WAITING:
                self._waiting.remove(turn)
            self._held.discard(turn)
            turn.state, turn.ready = State.OUT, None
        self._admit()

    # --- with the lock ---

    def _is_free(self) -> bool:
        if len(self._held) < self.limit:
            return True
        if len(self._held) >= 2 * self.limit:
            return False
        long_before = self._now() - self._long_s
        return sum(each.since > long_before for each in self._held) < self.limit

    def _take(self, turn: Turn) -> None:
        turn.state, turn.since = State.HELD, self._now()
        self._held.add(turn)

    def _admit(self) -> None:
        admitted: list[Callable[[], object]] = []
        with self._lock:
            while self._waiting and self._is_free():
                turn = self._waiting.popleft()
                self._take(turn)
                if turn.ready is not None:
                    admitted.append(turn.ready)
        for ready in admitted:
            ready()
