"""What a refresh of a continuous view reads and writes, wherever its database is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tsdb.model.store import Effect, View


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
