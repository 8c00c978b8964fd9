"""Who may write to which locations now: many at a time, or one that has them for itself. Pure.

What a change rests on must not change between the look at it and its op: who looks waits until nothing is on its way to
its locations, and whoever comes later waits behind it, so that it does not wait for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Turn:
    """One who writes. ``begin`` is called once, when it may; it then tells ``Turns.leave`` when it is done."""

    locations: frozenset[int]
    alone: bool
    begin: Callable[[], None]


class Turns:
    """First come, first served, where two want the same location and one of them wants it for itself."""

    def __init__(self) -> None:
        self._together: dict[int, int] = {}
        self._alone: set[int] = set()
        self._waiting: list[Turn] = []
        self._leaving = False

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    def enter(self, turn: Turn) -> None:
        if self._is_free(turn) and all(turn.locations.isdisjoint(other.locations) for other in self._waiting):
            self._begin(turn)
        else:
            self._waiting.append(turn)

    def leave(self, turn: Turn) -> None:
        """What it has begun is done, or refused; who waited for that begins."""
        if turn.alone:
            self._alone -= turn.locations
        else:
            for location in turn.locations:
                self._together[location] -= 1
                if not self._together[location]:
                    del self._together[location]
        if self._leaving or not self._waiting:
            # Who began just now has left at once: the loop that let it begin goes on.
            return
        self._leaving = True
        try:
            while (found := self._next()) is not None:
                self._begin(found)
        finally:
            self._leaving = False

    def _is_free(self, turn: Turn) -> bool:
        if not self._alone.isdisjoint(turn.locations):
            return False
        return not turn.alone or self._together.keys().isdisjoint(turn.locations)

    def _begin(self, turn: Turn) -> None:
        if turn.alone:
            self._alone |= turn.locations
        else:
            for location in turn.locations:
                self._together[location] = self._together.get(location, 0) + 1
        turn.begin()

    def _next(self) -> Turn | None:
        """The first who may begin, and before whom nobody waits for one of its locations; it waits no more."""
        wanted: set[int] = set()
        for at, turn in enumerate(self._waiting):
            if self._is_free(turn) and wanted.isdisjoint(turn.locations):
                return self._waiting.pop(at)
            wanted |= turn.locations
        return None
