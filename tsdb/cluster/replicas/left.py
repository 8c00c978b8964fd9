"""Replicas that left this node: whose records say so on disk, and whose points are still to go.

All locations of an arc are at the same nodes, so its points go as a whole, when none of its replicas is here any more:
at once with those of all of its database, or masked first, and then by compaction, where others of the database stay.
Until then no other replica of that arc begins: it would take their points for its own, or a mask would hide its points.
Locations of an arc of which others are here are cleaned as well if they are *wanted* here again: arcs may have been one
arc meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from tsdb.cluster.replicas.mine import Mine
from tsdb.storage.replica_log import ReplicaLog, ReplicaRecord

Arc = tuple[int, int]
"""(Database, arc of its ring.)"""


class Left:
    """Belongs to the thread of the host. ``stored``: records of the disk whose replicas have not begun."""

    def __init__(self, log: ReplicaLog, here: Mapping[int, Mine]) -> None:
        """``here``: the replicas that this node has."""
        self._log = log
        self._here = here
        found = log.all()
        # Where nobody has said yet is None.
        self._left: dict[int, Arc | None] = {location: None for location, record in found.items() if record.has_left}
        self._stored = {location: record for location, record in found.items() if not record.has_left}
        self._masked: set[int] = set()
        self._wanted: set[int] = set()

    def __contains__(self, location: int) -> bool:
        return location in self._left

    @property
    def known(self) -> Iterable[int]:
        """All locations of which something is on the disk, but for replicas that have begun."""
        return {*self._left, *self._stored}

    def has(self, location: int) -> bool:
        """Whether the disk has a replica of a location that has not begun."""
        return location in self._stored

    def learn(self, batch: Any, location: int, arc: Arc, number: int) -> None:
        """Which replica of a location this node has by the metadata (0: none): one of the disk that is another one has
        left while this node did not run."""
        stored = self._stored.get(location)
        if stored is not None and stored.replica != number:
            self.add(batch, location, arc, number)
        elif location in self._left:
            self._learn(location, arc, number)

    def add(self, batch: Any, location: int, arc: Arc, number: int) -> None:
        """A replica has left; the metadata give this node another one of that number (0: none)."""
        self._log.leave(batch, location)
        self._stored.pop(location, None)
        self._learn(location, arc, number)

    def _learn(self, location: int, arc: Arc, number: int) -> None:
        self._left[location] = arc
        (self._wanted.add if number else self._wanted.discard)(location)

    def take(self, location: int) -> ReplicaRecord | None:
        """What the disk has of a replica that begins."""
        return self._stored.pop(location, None)

    @property
    def leaving(self) -> Collection[int]:
        """Databases whose replicas have all left this node, and whose points have not."""
        return {database for database, _ in self.arcs()} - {mine.database for mine in self._here.values()}

    @property
    def leaving_arcs(self) -> Mapping[Arc, Collection[int]]:
        """The same of arcs, where others of their database are here; with their locations."""
        databases, arcs = self.leaving, {(mine.database, mine.arc) for mine in self._here.values()}
        found: dict[Arc, Collection[int]] = {}
        for at, locations in self.arcs().items():
            gone = locations & self._wanted if at in arcs else locations
            if at[0] not in databases and gone:
                found[at] = gone
        return found

    def is_wanted(self, locations: Collection[int]) -> bool:
        """Whether this node is to have some of them again."""
        return not self._wanted.isdisjoint(locations)

    @property
    def waits(self) -> Collection[int]:
        """Locations of which this node is to have a replica, and cannot yet."""
        return self._wanted & self._left.keys()

    def arcs(self) -> Mapping[Arc, set[int]]:
        """The locations that left, by arc."""
        found: dict[Arc, set[int]] = {}
        for location, arc in self._left.items():
            if arc is not None:
                found.setdefault(arc, set()).add(location)
        return found

    def mask(self, locations: Iterable[int]) -> None:
        """Their points are not visible any more. It is done again after a start."""
        self._masked.update(locations)

    def is_masked(self, locations: Collection[int]) -> bool:
        """Whether all of them are."""
        return self._masked.issuperset(locations)

    def forget_database(self, batch: Any, database: int) -> None:
        """The points of a database that is ``leaving`` go with this batch: it may have replicas here again."""
        self.forget(batch, [at for at, arc in self._left.items() if arc is not None and arc[0] == database])

    def forget(self, batch: Any, locations: Iterable[int]) -> None:
        """Nothing of them is here when ``batch`` is durable."""
        for location in locations:
            if location in self._left or location in self._stored:
                self._log.drop(batch, location)
                self._left.pop(location, None)
                self._stored.pop(location, None)
                self._masked.discard(location)
                self._wanted.discard(location)
