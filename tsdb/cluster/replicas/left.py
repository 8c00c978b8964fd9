"""Replicas that left this node: whose records say so on disk, and whose points are still to go.

All locations of a database are at the same nodes, so its points go as a whole, when none of its replicas is here any
more. Until then no other replica of that database begins: it would take their points for its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tsdb.storage.replica_log import ReplicaLog, ReplicaRecord

UNKNOWN = 0


class Left:
    """Belongs to the thread of the host. ``stored``: records of the disk whose replicas have not begun."""

    def __init__(self, log: ReplicaLog) -> None:
        self._log = log
        found = log.all()
        self._left = {location: UNKNOWN for location, record in found.items() if record.has_left}
        self._stored = {location: record for location, record in found.items() if not record.has_left}

    def __contains__(self, location: int) -> bool:
        return location in self._left

    @property
    def known(self) -> Iterable[int]:
        """All locations of which something is on the disk, but for replicas that have begun."""
        return {*self._left, *self._stored}

    def has(self, location: int) -> bool:
        """Whether the disk has a replica of a location that has not begun."""
        return location in self._stored

    def learn(self, batch: Any, location: int, database: int, number: int) -> None:
        """Which replica of a location this node has by the metadata (0: none): one of the disk that is another one has
        left while this node did not run."""
        stored = self._stored.get(location)
        if stored is not None and stored.replica != number:
            self.add(batch, location, database)
        elif location in self._left:
            self._left[location] = database

    def add(self, batch: Any, location: int, database: int) -> None:
        self._log.leave(batch, location)
        self._stored.pop(location, None)
        self._left[location] = database

    def take(self, location: int) -> ReplicaRecord | None:
        """What the disk has of a replica that begins."""
        return self._stored.pop(location, None)

    def databases(self) -> Mapping[int, set[int]]:
        """Those with points that are still to go, and which of their locations left."""
        found: dict[int, set[int]] = {}
        for location, database in self._left.items():
            if database != UNKNOWN:
                found.setdefault(database, set()).add(location)
        return found

    def forget(self, batch: Any, locations: Iterable[int]) -> None:
        """Nothing of them is here when ``batch`` is durable."""
        for location in locations:
            if location in self._left or location in self._stored:
                self._log.drop(batch, location)
                self._left.pop(location, None)
                self._stored.pop(location, None)
