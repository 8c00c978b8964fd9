"""What a host's replicas rest on: ``driver.ReplicaDriver``, and what a copy brings."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from tsdb.cluster.replicas.marks import Marked
from tsdb.cluster.replication.messages import Message
from tsdb.cluster.replication.ops import Op
from tsdb.cluster.replication.record import Request


class Copied(Protocol):
    """The points of a copy that has come: ``tsdb.storage.copies.arriving.Arriving``."""

    def check_tagsets(self) -> None:
        """Raises SerializationFailure if it has to come again."""
        ...

    def lacks_deletions(self, database: int, counter: int, locations: Collection[int]) -> None:
        """What was deleted in these locations of that database up to that counter is not in it, nor what that was."""
        ...

    def put(self, batch: Any) -> None:
        """What makes them real, into the batch that says so."""
        ...

    def installed(self) -> None:
        """It is durable."""
        ...


class Surroundings(Protocol):
    """What a host's replicas rest on. All of it is called in the thread of the host."""

    def schema(self) -> int:
        """The version of the schema that this node has applied."""
        ...

    def apply(self, ops: Sequence[tuple[int, Op]]) -> None:
        """Make (location, op) visible, all at once: they are committed."""
        ...

    def marked(self, marks: Sequence[Marked]) -> None:
        """All that was applied is visible, and of these replicas nothing after a marker is."""

    def send(self, messages: Sequence[Message]) -> None:
        """Each may be lost."""
        ...

    def ask(self, requests: Sequence[Request]) -> None:
        """Have the metadata asked; it may be forgotten."""
        ...
