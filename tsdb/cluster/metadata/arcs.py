"""Arcs: the parts of a database's ring that are at nodes of their own, and where they are to be.

A ring is cut finer at once: its arcs are where they were, and each goes its own way from then on. To other arcs it goes
when the locations of each of these are at the same nodes. Until then it has arcs that lie in one of the old ones and in
one of the new ones each, and these have goals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec.structs import replace

from tsdb.cluster.metadata.commands import SpreadDatabase
from tsdb.cluster.metadata.records import ARCS_MAX, Goal, LocationRecord, Ring, goal_number
from tsdb.cluster.metadata.state import Draft
from tsdb.errors import (
    InvalidCatalogName,
    InvalidParameterValue,
    SerializationFailure,
)


def ring_of(draft: Draft, database: int) -> Ring:
    """Raises InvalidCatalogName."""
    found = draft.get(Ring, database)
    if found is None:
        raise InvalidCatalogName(f"there is no database {database}")
    return found


def ring_of_goal(draft: Draft, number: int) -> tuple[Ring, int]:
    """And the arc. Raises InvalidCatalogName, and SerializationFailure for an arc that there is not any more."""
    goal = Goal(number, ())
    ring = ring_of(draft, goal.database)
    if goal.arc >= ring.arcs:
        raise SerializationFailure(
            f"the ring of database {ring.database} has {ring.arcs} arcs, and where arc {goal.arc} is to be was decided "
            "on another state",
            hint="Look again, and decide again.",
        )
    return ring, goal.arc


def spread(draft: Draft, action: SpreadDatabase) -> tuple[int, ...]:
    """Gives the number of arcs that there are now."""
    ring = ring_of(draft, action.database)
    intervals = ring.maps[-1].intervals
    if not 1 <= action.arcs <= ARCS_MAX:
        raise InvalidParameterValue(f"a ring has 1 to {ARCS_MAX} arcs, not {action.arcs}")
    if len({ring.arc_of(each, action.arcs) for each in intervals}) < action.arcs:
        raise InvalidParameterValue(
            f"database {ring.database} has {len(intervals)} locations, which cannot be {action.arcs} arcs"
        )
    records = {
        each.location: record for each in intervals if (record := draft.get(LocationRecord, each.location)) is not None
    }
    forget_goals(draft, ring.database)
    wanted = ring.wanted if ring.is_shared else ring.wanted or ring.replication_factor
    if action.arcs % ring.arcs == 0 or _are_together(ring, action.arcs, records):
        draft.put(replace(ring, arcs=action.arcs, arcs_wanted=0, wanted=wanted))
        return (action.arcs,)
    # Equal arcs of two numbers end together where those of a common multiple do; and each location is in one of both.
    finer = min(math.lcm(ring.arcs, action.arcs), len(intervals))
    ring = replace(ring, arcs=finer, arcs_wanted=action.arcs, wanted=wanted)
    draft.put(ring)
    _gather(draft, ring, action.arcs, records)
    return (finer,)


def _are_together(ring: Ring, arcs: int, records: Mapping[int, LocationRecord]) -> bool:
    """Whether the locations of each of so many arcs are at the same nodes and led by one of them. With too few nodes
    there are no goals, and so nobody who brings the leads together."""
    places: dict[int, set[tuple[tuple[int, ...], tuple[int, ...], int]]] = {}
    for interval in ring.maps[-1].intervals:
        if (record := records.get(interval.location)) is not None:
            leader = record.leader if len(record.voters) == ring.replication_factor else 0
            places.setdefault(ring.arc_of(interval, arcs), set()).add((record.voters, record.learners, leader))
    return all(len(each) == 1 for each in places.values())


def _gather(draft: Draft, ring: Ring, arcs: int, records: Mapping[int, LocationRecord]) -> None:
    """All arcs that become one are to be where the first of them is."""
    to: dict[int, LocationRecord] = {}
    for interval in ring.maps[-1].intervals:
        record = records.get(interval.location)
        if record is None or len(record.voters) != ring.replication_factor:
            continue
        at = to.setdefault(ring.arc_of(interval, arcs), record)
        nodes = (at.leader, *(node for node in at.voters if node != at.leader))
        draft.put(Goal(goal_number(ring.database, ring.arc_of(interval)), nodes))


def forget_goals(draft: Draft, database: int) -> None:
    """Of all arcs of a database."""
    for goal in list(draft.all(Goal)):
        if goal.database == database:
            draft.remove(Goal, goal.number)
