"""Bytes a second that are not exceeded for long: how compaction and copies leave room for others. Pure."""

from __future__ import annotations

SLACK_S = 1.0
"""Of what was not used before, so many seconds' worth may be made up for."""


class Rate:
    """``per_second`` bytes; 0: no limit."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._due = 0.0

    def rest_s(self, size: int, now: float) -> float:
        """For how long, after ``size`` bytes at ``now`` (seconds of any clock that does not go back), nothing more."""
        if not self._per_second:
            return 0.0
        self._due = max(self._due, now - SLACK_S) + size / self._per_second
        return max(0.0, self._due - now)
