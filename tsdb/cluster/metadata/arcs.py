"""Arcs: the parts of a database's ring that are at nodes of their own, and where they are to be.

A ring is cut finer at once: its arcs are where they were, and each goes its own way from then on. To other arcs it goes
when the locations of each of these are at the same nodes. Until then it has parts of both, each in one of the old ones
and in one of the new ones, and these have goals.
"""

from __future__ import annotations

from bisect import bisect_right
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
            f"the ring of database {ring.database} has {ring.arcs} arcs, and where arc {goal.arc + 1} is to be was "
            "decided on another state",
            hint="Look again, and decide again.",
        )
    return ring, goal.arc


def spread(draft: Draft, action: SpreadDatabase) -> tuple[int, ...]:
    """Gives the number of arcs that there are now."""
    ring = ring_of(draft, action.database)
    wanted = _wanted(ring, action)
    records = {
        each.location: record
        for each in ring.maps[-1].intervals
        if (record := draft.get(LocationRecord, each.location)) is not None
    }
    before = ring
    if not ring.is_shared:
        ring = replace(ring, wanted=ring.wanted or ring.replication_factor)
    finer = tuple(sorted({*ring.begins, *wanted}))
    # Of arcs that were on their way to become others goals are those of the others.
    goals = {} if ring.arcs_wanted else _goals(draft, ring)
    forget_goals(draft, ring.database)
    if finer == wanted or _are_together(ring, wanted, records):
        arcs, cuts = _as_kept(ring, wanted)
        ring = replace(ring, arcs=arcs, cuts=cuts, arcs_wanted=0, cuts_wanted=())
        _put(draft, ring, before)
        _go_on(draft, ring, goals)
        return (arcs,)
    # Each part lies in one of the arcs that there were, and in one of those that there are to be.
    (arcs, cuts), (arcs_wanted, cuts_wanted) = _as_kept(ring, finer), _as_kept(ring, wanted)
    ring = replace(ring, arcs=arcs, cuts=cuts, arcs_wanted=arcs_wanted, cuts_wanted=cuts_wanted)
    _put(draft, ring, before)
    _gather(draft, ring, wanted, records, goals)
    return (arcs,)


def _put(draft: Draft, ring: Ring, before: Ring) -> None:
    """One that stays as it was is not changed: others have taken decisions on it."""
    if ring != before:
        draft.put(ring)


def _goals(draft: Draft, ring: Ring) -> dict[int, tuple[int, ...]]:
    """By location, where its arc is to be."""
    found: dict[int, tuple[int, ...]] = {}
    for interval in ring.maps[-1].intervals:
        goal = draft.get(Goal, goal_number(ring.database, ring.arc_of(interval)))
        if goal is not None:
            found[interval.location] = goal.nodes
    return found


def _go_on(draft: Draft, ring: Ring, goals: Mapping[int, tuple[int, ...]]) -> None:
    """An arc whose locations all were on their way to the same nodes still is."""
    wanted: dict[int, set[tuple[int, ...]]] = {}
    for interval in ring.maps[-1].intervals:
        wanted.setdefault(ring.arc_of(interval), set()).add(goals.get(interval.location, ()))
    for arc, places in wanted.items():
        if len(places) == 1 and (nodes := places.pop()):
            draft.put(Goal(goal_number(ring.database, arc), nodes))


def _wanted(ring: Ring, action: SpreadDatabase) -> tuple[int, ...]:
    """Where the arcs are to begin, but the first. Raises InvalidParameterValue."""
    if not 1 <= action.arcs <= ARCS_MAX:
        raise InvalidParameterValue(f"a ring has 1 to {ARCS_MAX} arcs, not {action.arcs}")
    intervals = ring.maps[-1].intervals
    wanted = action.cuts or ring.even(action.arcs)
    places = {each.low for each in intervals[1:]}
    if len(wanted) != action.arcs - 1 or sorted(places.intersection(wanted)) != [*wanted]:
        raise InvalidParameterValue(
            f"database {ring.database} has {len(intervals)} locations, which cannot be {action.arcs} arcs"
            + f" that begin at {action.cuts}: each begins with a location" * bool(action.cuts)
        )
    return wanted


def _as_kept(ring: Ring, begins: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """(arcs, cuts) of a ring with such arcs: equal ones have no cuts."""
    arcs = len(begins) + 1
    return arcs, () if begins == ring.even(arcs) else begins


def _are_together(ring: Ring, wanted: tuple[int, ...], records: Mapping[int, LocationRecord]) -> bool:
    """Whether the locations of each arc that is to be are at the same nodes and led by one of them. With too few nodes
    there are no goals, and so nobody who brings the leads together."""
    places: dict[int, set[tuple[tuple[int, ...], tuple[int, ...], int]]] = {}
    for interval in ring.maps[-1].intervals:
        if (record := records.get(interval.location)) is not None:
            leader = record.leader if len(record.voters) == ring.replication_factor else 0
            arc = bisect_right(wanted, interval.low)
            places.setdefault(arc, set()).add((record.voters, record.learners, leader))
    return all(len(each) == 1 for each in places.values())


def _gather(
    draft: Draft,
    ring: Ring,
    wanted: tuple[int, ...],
    records: Mapping[int, LocationRecord],
    goals: Mapping[int, tuple[int, ...]],
) -> None:
    """All parts of an arc that is to be go where the first of them is, or was on its way to."""
    to: dict[int, tuple[int, ...]] = {}
    for interval in ring.maps[-1].intervals:
        at = records.get(interval.location)
        if at is None or len(at.voters) != ring.replication_factor:
            continue
        here = (at.leader, *(node for node in at.voters if node != at.leader))
        nodes = to.setdefault(bisect_right(wanted, interval.low), goals.get(interval.location, here))
        draft.put(Goal(goal_number(ring.database, ring.arc_of(interval)), nodes))


def fitted(draft: Draft, ring: Ring) -> Ring:
    """A ring with another map: its arcs begin where locations do, and those are forgotten that do not any more."""
    arcs, cuts = _as_kept(ring, ring.begins)
    if (arcs, cuts, 0) == (ring.arcs, ring.cuts, ring.arcs_wanted):
        return ring
    forget_goals(draft, ring.database)
    return replace(ring, arcs=arcs, cuts=cuts, arcs_wanted=0, cuts_wanted=())


def forget_goals(draft: Draft, database: int) -> None:
    """Of all arcs of a database."""
    for goal in list(draft.all(Goal)):
        if goal.database == database:
            draft.remove(Goal, goal.number)
