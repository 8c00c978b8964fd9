"""Rings: a database's maps by version. The schema makes the first one, with the database; later ones are commands.

A map holds from a bucket later than every bucket written so far, and older buckets keep theirs (design section 4), so
a key never has versions in two places. That no such bucket was written is known to the leaders of the locations; here
is only what can be told from the maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace as replaced

from msgspec.structs import replace

from tsdb.cluster.metadata import arcs, clients, continuous, counted, locations
from tsdb.cluster.metadata.arcs import ring_of
from tsdb.cluster.metadata.commands import ChangeRing, ChangeSchema, SetGoals, SetReplication, Share
from tsdb.cluster.metadata.members import check_factor, member, set_default_factor
from tsdb.cluster.metadata.records import FROM_THE_START, Goal, Interval, Ring, RingMap
from tsdb.cluster.metadata.state import Draft
from tsdb.errors import (
    InvalidParameterValue,
    ObjectNotInPrerequisiteState,
    ProgramLimitExceeded,
    SerializationFailure,
)
from tsdb.model.catalog import Catalog, Database
from tsdb.model.ring import RING_SIZE
from tsdb.model.schema import Applied, applied

INTERVALS_MAX = 4_096
MAPS_MAX = 1_000


def change_schema(draft: Draft, action: ChangeSchema) -> tuple[int, ...]:
    """Raises what ``tsdb.model.schema.apply`` raises. Gives the catalog's version."""
    done = applied(draft.catalog, action.changes(draft.catalog))
    if done.catalog is not draft.catalog:
        draft.change_catalog(done)
        follow(draft, sorted(done.databases))
        if done.sequences or done.databases:
            counted.forget(draft)
        if done.series or done.databases:
            continuous.forget(draft)
    return (done.catalog.version,)


def follow(draft: Draft, databases: Iterable[int]) -> None:
    """Rings and locations for databases that have come, and none for those that are gone."""
    for number in databases:
        database = draft.catalog.databases_by_number.get(number)
        ring = draft.get(Ring, number)
        if database is None and ring is not None:
            draft.remove(Ring, number)
            arcs.forget_goals(draft, number)
            locations.forget(draft, number)
            clients.forget_producers(draft, number)
        elif database is not None and ring is None:
            draft.put(first_ring(database, draft.group.replication_factor))
            for location in database.locations:
                locations.begin(draft, location.number, number, 1)


def first_ring(database: Database, factor: int) -> Ring:
    intervals = tuple(Interval(each.number, each.low, each.high - 1) for each in database.locations)
    return Ring(database.number, factor, (RingMap(1, FROM_THE_START, intervals),))


def set_replication(draft: Draft, action: SetReplication) -> tuple[int, ...]:
    if action.database == 0:
        set_default_factor(draft, action.factor)
        return ()
    check_factor(action.factor)
    ring = ring_of(draft, action.database)
    if ring.is_shared:
        draft.put(replace(ring, replication_factor=action.factor, shared=True))
    else:
        draft.put(replace(ring, wanted=action.factor))
    return ()


def share(draft: Draft, action: Share) -> tuple[int, ...]:
    """Who has it leads it anew: in an epoch in which nothing was logged yet, and for which it asks nobody."""
    ring = ring_of(draft, action.database)
    if ring.is_shared:
        return ()
    if not ring.wanted:
        raise ObjectNotInPrerequisiteState(f"nobody has asked for database {ring.database} to be shared")
    draft.put(replace(ring, replication_factor=ring.wanted, wanted=0, shared=True))
    locations.begin_shared(draft, ring.database)
    return ()


def set_goals(draft: Draft, action: SetGoals) -> tuple[int, ...]:
    """Raises InvalidCatalogName, UndefinedObject, InvalidParameterValue."""
    for number, nodes in action.goals:
        ring, arc = arcs.ring_of_goal(draft, number)
        factor = ring.wanted or ring.replication_factor
        if not nodes:
            if draft.get(Goal, number) is not None:
                draft.remove(Goal, number)
            continue
        for node in nodes:
            member(draft, node)
        if len(nodes) != factor or len({*nodes}) != factor:
            raise InvalidParameterValue(
                f"arc {arc + 1} of database {ring.database} is to be at {factor} nodes, and not at {nodes}"
            )
        if not ring.is_shared:
            draft.put(replace(ring, wanted=factor))
        draft.put(Goal(number, nodes))
    return ()


def change_ring(draft: Draft, action: ChangeRing) -> tuple[int, ...]:
    ring = ring_of(draft, action.database)
    last = ring.maps[-1]
    if action.version != last.version + 1:
        raise SerializationFailure(
            f"the ring of database {ring.database} has map {last.version}, and map {action.version} was decided on "
            "another state",
            hint="Look again, and decide again.",
        )
    if action.from_bucket <= last.from_bucket:
        raise InvalidParameterValue(
            f"a map holds from a bucket after the last one's, which is {last.from_bucket}, not {action.from_bucket}"
        )
    if len(ring.maps) >= MAPS_MAX:
        raise ProgramLimitExceeded(f"the ring of database {ring.database} has {MAPS_MAX} maps, and no more are kept")
    _check_cover(action.intervals)
    _check_known(ring.database, last.intervals, action.intervals)
    intervals, new = _numbered(draft.catalog, action.intervals)
    ring = replace(ring, maps=(*ring.maps, RingMap(action.version, action.from_bucket, intervals)))
    draft.put(arcs.fitted(draft, ring))
    if new:
        _take_numbers(draft, ring.database, len(new))
    for location in new:
        locations.begin(draft, location, ring.database, action.version)
    for interval in intervals:
        if interval.location not in new:
            record = locations.record_of(draft, interval.location)
            draft.put(replace(record, map_version=action.version))
    return new


def _check_cover(intervals: Sequence[Interval]) -> None:
    if not 1 <= len(intervals) <= INTERVALS_MAX:
        raise InvalidParameterValue(f"a map has 1 to {INTERVALS_MAX} intervals, not {len(intervals)}")
    place = 0
    for interval in intervals:
        if interval.low != place or not place <= interval.last < RING_SIZE:
            raise InvalidParameterValue(f"a map covers the ring without a gap; one does not, at place {place}")
        place = interval.last + 1
    if place != RING_SIZE:
        raise InvalidParameterValue(f"a map covers the ring to its end; one ends at place {place}")


def _check_known(database: int, before: Sequence[Interval], after: Sequence[Interval]) -> None:
    """A location keeps its interval for as long as it has one: its log and its points are of that interval."""
    there = {each.location: each for each in before}
    for interval in after:
        if interval.location and there.get(interval.location) != interval:
            raise InvalidParameterValue(
                f"location {interval.location} has not that interval in the last map of database {database}"
            )
    numbers = [each.location for each in after if each.location]
    if len(set(numbers)) < len(numbers):
        raise InvalidParameterValue("a location has one interval")


def _numbered(catalog: Catalog, intervals: Sequence[Interval]) -> tuple[tuple[Interval, ...], tuple[int, ...]]:
    """The intervals, new ones with their numbers; and these."""
    number = catalog.next_location
    done: list[Interval] = []
    for interval in intervals:
        done.append(interval if interval.location else replace(interval, location=number))
        number += not interval.location
    return tuple(done), tuple(range(catalog.next_location, number))


def _take_numbers(draft: Draft, database: int, count: int) -> None:
    """Locations of all databases have numbers from one row, and the catalog says how far it was given."""
    was = draft.catalog
    now = replaced(was, version=was.version + 1, next_location=was.next_location + count)
    draft.change_catalog(Applied(now, frozenset(), frozenset({database})))
