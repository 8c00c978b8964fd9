"""Who leads what, as this node knows it now: what a router asks before it sends anything.

A map may be old. Then the asked node says so, and who leads by what it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from tsdb.cluster.led import Leaders, locations_in_range
from tsdb.cluster.routing.messages import Led
from tsdb.errors import CannotConnectNow
from tsdb.model.ring import Location, intervals_of
from tsdb.model.schema import Database, Series
from tsdb.model.store import ScanRequest, TimeRange


class RingMap:
    """``node`` is this one."""

    def __init__(self, leaders: Leaders, node: int) -> None:
        self._leaders = leaders
        self.node = node

    @property
    def all_here(self) -> bool:
        """Whether nobody else leads anything: then nothing else of this is asked."""
        return self._leaders.all_here

    def leader_of(self, location: Location) -> int:
        """Raises CannotConnectNow where nobody leads."""
        leader = self._leaders.leader_of(location.number)
        if not leader:
            raise CannotConnectNow(
                f"location {location.number} has no node that leads it", hint="Which nodes run? tsdb cluster status."
            )
        return leader

    def leads(self, location: Location) -> bool:
        """Whether this node leads it."""
        return self._leaders.leader_of(location.number) == self.node

    def home_of(self, database: Database) -> int:
        """The node that has what a database has once: sequences, and, if no other has it, how far its continuous views
        are stored."""
        return self.leader_of(database.locations[0])

    def replica_in(self, location: Location, is_there: Callable[[int], bool], turn: int) -> int:
        """Who is asked for what may be old: the leader if it is there, another node that has a vote and is, the
        ``turn``-th of them; or else the leader. Raises CannotConnectNow where nobody leads and nobody is there."""
        leader = self._leaders.leader_of(location.number)
        if leader == self.node or (leader and is_there(leader)):
            return leader
        there = [node for node in self._leaders.voters_of(location.number) if node != self.node and is_there(node)]
        return there[turn % len(there)] if there else self.leader_of(location)

    def is_shared(self, database: Database) -> bool:
        """Whether several nodes have it, or are to."""
        return database.number in self._leaders.shared

    def is_spread(self, database: Database) -> bool:
        """Whether parts of it are at nodes of their own."""
        return database.number in self._leaders.spread

    def has_replica(self, location: Location) -> bool:
        """Whether this node has a vote in it."""
        return self._leaders.has_replica(location.number)

    def led(self, locations: Sequence[Location]) -> tuple[Led, ...]:
        return tuple(Led(each.number, self._leaders.epoch_of(each.number)) for each in locations)

    def replicas_of(self, location: int) -> int:
        return self._leaders.replica_count(location)

    def replicated(self, database: Database) -> bool:
        """Whether several nodes have it."""
        return self._leaders.replicated(database)

    def others_may_lead(self, location: int) -> bool:
        """Whether it has replicas at other nodes than its leader, or may have them soon."""
        return self._leaders.others_may_lead(location)

    def restricted(self, request: ScanRequest, database: Database, locations: Collection[Location]) -> ScanRequest:
        """A request for the points of these locations alone: as it is where this node has no others in its range."""
        if len(locations) == len(database.locations) or not self._leaders.replicated(database):
            return request
        numbers = {each.number for each in locations}
        there = locations_in_range(database, request.series, request.range)
        if all(each.number in numbers for each in there):
            return request
        return replace(request, ring=intervals_of(locations))

    def nodes_in_range(self, database: Database, series: Series, span: TimeRange) -> dict[int, list[Location]]:
        """Who leads the locations that may hold points of a series in a range."""
        if self._leaders.has(database):
            return {self.node: list(database.locations)}
        return by_node(locations_in_range(database, series, span), self.leader_of)


def by_node(locations: Sequence[Location], leader_of: Callable[[Location], int]) -> dict[int, list[Location]]:
    found: dict[int, list[Location]] = {}
    for location in locations:
        found.setdefault(leader_of(location), []).append(location)
    return found
