"""Who leads how much, and who of several that can is to lead next, so that all lead about as much. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import mmh3

from tsdb.cluster.metadata.records import LocationRecord, Ring, goal_number
from tsdb.cluster.metadata.state import State
from tsdb.cluster.replicas.records import arc_of_locations


class Leads:
    """What each node leads by the records, with what it was given here since."""

    def __init__(self, state: State) -> None:
        rings = {ring.database: ring for ring in state.all(Ring)}
        self._arcs = {number: arc_of_locations(ring) for number, ring in rings.items() if ring.arcs > 1}
        self._all: Counter[int] = Counter()
        self._of_arc: Counter[tuple[int, int]] = Counter()
        for record in state.all(LocationRecord):
            self._count(record, record.leader, 1)

    def _count(self, record: LocationRecord, node: int, by: int) -> None:
        self._all[node] += by
        self._of_arc[self._arc(record), node] += by

    def _arc(self, record: LocationRecord) -> int:
        return goal_number(record.database, self._arcs.get(record.database, {}).get(record.location, 0))

    def give(self, record: LocationRecord, nodes: Collection[int]) -> int:
        """A location goes to one of these nodes: to who leads most of its arc, since who leads all of it can answer
        for all of it; then to who leads least; then by an order that is another one for each arc."""
        arc = self._arc(record)
        heir = min(nodes, key=lambda node: (-self._of_arc[arc, node], self._all[node], rank(arc, node)))
        self._count(record, record.leader, -1)
        self._count(record, heir, 1)
        return heir


def rank(number: int, node: int) -> int:
    """Another order of nodes for each arc (``records.goal_number``)."""
    return mmh3.hash(f"{number} {node}", signed=False)
