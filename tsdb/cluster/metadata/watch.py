"""Watching: what each command changed, in order, without a gap and without a repetition.

The history is in memory and bounded. It is the same on every node, since it follows from the log, so a watcher may go
on at another one with the index up to which it has seen everything. Who is too far behind, or comes after a restart
with an index from before it, is told so and has to begin with a snapshot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tsdb.cluster.metadata.state import Change

CHANGES_MAX = 65_536


class TooFarBehind(Exception):
    """What a watcher has not seen is not kept any more: it has to take the state at ``index``, and watch from there."""

    def __init__(self, index: int, kept_from: int) -> None:
        super().__init__(f"changes after index {index} are kept from {kept_from} on: take a snapshot")
        self.index = index
        self.kept_from = kept_from


@dataclass(frozen=True, slots=True)
class Event:
    """What the command at ``index`` changed; at least one record."""

    index: int
    changes: tuple[Change, ...]


class History:
    """The latest events, at most ``changes_max`` changes, but for one event that has more."""

    def __init__(self, index: int, changes_max: int = CHANGES_MAX) -> None:
        self._events: deque[Event] = deque()
        self._changes = 0
        self._changes_max = changes_max
        self.begins_after = index
        """Events up to this index are not here."""
        self.index = index
        """The last command's."""

    def add(self, index: int, changes: Sequence[Change]) -> None:
        """The command at ``index`` was applied."""
        assert index > self.index, f"index {index} after {self.index}"
        self.index = index
        if not changes:
            return
        self._events.append(Event(index, tuple(changes)))
        self._changes += len(changes)
        while self._changes > self._changes_max and len(self._events) > 1:
            gone = self._events.popleft()
            self._changes -= len(gone.changes)
            self.begins_after = gone.index

    def restart(self, index: int) -> None:
        """The state is a snapshot's, of ``index``: nothing is known of how it came about."""
        self._events.clear()
        self._changes = 0
        self.begins_after = self.index = index

    def after(self, index: int, changes_max: int) -> list[Event]:
        """The next events after an index, whole ones, of about so many changes. Raises TooFarBehind."""
        if index < self.begins_after:
            raise TooFarBehind(index, self.begins_after)
        found: list[Event] = []
        count = 0
        # From the end: who watches has seen nearly all of it.
        at = len(self._events)
        while at > 0 and self._events[at - 1].index > index:
            at -= 1
        for position in range(at, len(self._events)):
            if count >= changes_max:
                break
            found.append(self._events[position])
            count += len(found[-1].changes)
        return found


class Watch:
    """One watcher's place in the history."""

    def __init__(self, history: History, after: int) -> None:
        self._history = history
        self.seen = after
        """Everything up to this index was taken: where to go on at another node."""

    def take(self, changes_max: int = 1_024) -> list[Event]:
        """What came since; empty if nothing did. Raises TooFarBehind."""
        history = self._history
        events = history.after(self.seen, changes_max)
        if events:
            self.seen = events[-1].index
        else:
            # What changed nothing is seen, too, so that an idle watcher does not fall behind.
            self.seen = max(self.seen, history.index)
        return events
