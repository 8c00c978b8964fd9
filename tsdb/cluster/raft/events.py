"""What happened to a node's term, vote, leadership and members, and why: one event each, for logs and for tests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class EventKind(Enum):
    STARTED = "started"
    TERM = "term"
    """A new term began here; ``peer`` is who brought it."""
    VOTE = "vote"
    """A vote was given to ``peer``."""
    VOTE_REFUSED = "vote refused"
    CAMPAIGN = "campaign"
    LEADER = "leader"
    """This node leads."""
    FOLLOWS = "follows"
    """``peer`` is the leader; nobody if it is 0."""
    STEPPED_DOWN = "stepped down"
    CONFIGURATION = "configuration"
    SNAPSHOT = "snapshot"
    TRANSFER = "transfer"
    DROPPED = "dropped"
    """A proposal was not taken."""


@dataclass(frozen=True, slots=True)
class Event:
    node: int
    kind: EventKind
    term: int
    peer: int
    cause: str

    def __str__(self) -> str:
        peer = f" {self.peer}" if self.peer else ""
        return f"node {self.node} term {self.term}: {self.kind.value}{peer}: {self.cause}"


Listener: TypeAlias = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener that does nothing."""


class EventLog:
    """A listener that keeps the latest events, and counts those that it had to forget."""

    def __init__(self, kept_max: int = 1000) -> None:
        self._events: deque[Event] = deque(maxlen=kept_max)
        self.forgotten = 0

    def __call__(self, event: Event) -> None:
        if len(self._events) == self._events.maxlen:
            self.forgotten += 1
        self._events.append(event)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)
