"""Replicas of locations that several nodes have, as the engine sees them: who decides what of their ops is applied.

``tsdb.cluster.replicas`` is one; a node by itself has none. All of it is called in the committer's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from tsdb.storage.rocks import Batch

Frozen = Mapping[int, tuple[int, bytes]]
"""By location: (op sequence through which it is applied, what it is there)."""


@dataclass(frozen=True, slots=True)
class Fed:
    """Something for the replicas that goes the way of an append: it waits for room, and is one of a group."""

    feed: Callable[[Future[Any]], None]


class Hosted(Protocol):
    """The replicas of a node."""

    def turn(self) -> None:
        """Do what is to be done since they were fed: one synced batch for all of them."""
        ...

    def applied(self) -> Mapping[int, int]:
        """By location, the op sequence through which it is applied."""
        ...

    def freeze(self) -> Frozen:
        """What they are now, for the flush of a head that ends here."""
        ...

    def put_flushed(self, batch: Batch, frozen: Frozen) -> None:
        """These points are in blocks when ``batch`` is durable."""
        ...

    def flushed(self, frozen: Frozen) -> None:
        """It is."""
        ...

    def drop(self, batch: Batch, locations: Iterable[int]) -> None:
        """Their database is gone."""
        ...


class Nobody:
    """No replicas."""

    def turn(self) -> None: ...

    def applied(self) -> Mapping[int, int]:
        return {}

    def freeze(self) -> Frozen:
        return {}

    def put_flushed(self, batch: Batch, frozen: Frozen) -> None: ...

    def flushed(self, frozen: Frozen) -> None: ...

    def drop(self, batch: Batch, locations: Iterable[int]) -> None: ...
