"""When to try again: later each time, and not all at the same time. Pure; chance is handed in."""

from __future__ import annotations

from collections.abc import Callable


class BackOff:
    """Waits that double from ``first_ns`` up to ``last_ns``; of each, the second half is left to chance."""

    def __init__(self, first_ns: int, last_ns: int, chance: Callable[[], float]) -> None:
        """``chance`` draws from [0, 1)."""
        self._first = first_ns
        self._last = last_ns
        self._chance = chance
        self._next = first_ns

    def next_ns(self) -> int:
        wait, self._next = self._next, min(2 * self._next, self._last)
        return wait // 2 + int(self._chance() * (wait - wait // 2))

    def last_ns(self) -> int:
        """The longest wait at once: what is wrong will not be right soon."""
        self._next = self._last
        return self.next_ns()

    def reset(self) -> None:
        """It went well for a while."""
        self._next = self._first
