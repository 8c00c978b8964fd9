"""Connections of which nobody knows yet whose they are: few at once, and no one keeps others out by saying nothing."""

from __future__ import annotations

from collections import Counter
from typing import Generic, TypeVar

T = TypeVar("T")


class Strangers(Generic[T]):
    """At most ``count_max``, each from some place. Where there is one too many, the oldest one of the place that has
    most of them goes: who stalls is pushed out by those who come, and a place that sends many pushes out its own."""

    def __init__(self, count_max: int) -> None:
        assert count_max > 0
        self._max = count_max
        # The oldest first.
        self._places: dict[T, str] = {}
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, stranger: T, place: str) -> T | None:
        """Who must go, if there is no room for both."""
        self._places[stranger] = place
        self._counts[place] += 1
        if len(self._places) <= self._max:
            return None
        most = max(self._counts.values())
        oldest = next(each for each, where in self._places.items() if self._counts[where] == most)
        self.remove(oldest)
        return oldest

    def remove(self, stranger: T) -> None:
        """It is known now, or gone; perhaps it went before."""
        place = self._places.pop(stranger, None)
        if place is None:
            return
        self._counts[place] -= 1
        if not self._counts[place]:
            del self._counts[place]
