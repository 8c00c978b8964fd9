"""What a refresh of a continuous view reads and writes, wherever its database is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tsdb.model.store import Effect, View


class Held(NamedTuple):
    """A continuous view that one refresh holds where its rows are logged: nobody else's are taken. ``ticket``: a number
    that no other refresh has."""

    view: int
    ticket: int


@dataclass(frozen=True, slots=True)
class Holding:
    """What holding a view says of locations of its database: all that was logged there is applied, what comes later has
    a counter above the asked one. ``counter`` is the highest that there is; by location the epoch in which it is led,
    and the op sequence that is applied."""

    counter: int
    epochs: tuple[tuple[int, int], ...]
    applied: tuple[tuple[int, int], ...]


class Refreshing(Protocol):
    """A refresh of a continuous view: ``view`` has all versions of its source up to ``counter``, and every other one
    has a higher counter."""

    @property
    def view(self) -> View: ...

    @property
    def counter(self) -> int: ...

    def commit(self, effects: Sequence[Effect]) -> None:
        """Rows of the view; they are visible when this returns. Raises, beside what ``Store.commit`` does,
        CannotConnectNow if others look after the database by now."""
        ...

    def advance(self, watermark_ns: int) -> None:
        """Say how far the view's stored buckets go, as the source is in ``view``, durably; those were written before.
        Raises SerializationFailure, CannotConnectNow if others look after the database by now."""
        ...

    def close(self) -> None: ...
