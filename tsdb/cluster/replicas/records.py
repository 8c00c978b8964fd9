"""Location records of the metadata as the core of replication has them: by replicas instead of nodes."""

from __future__ import annotations

from collections.abc import Mapping

from tsdb.cluster.metadata.records import Interval, LocationRecord, Ring
from tsdb.cluster.metadata.records import node_of as node_of
from tsdb.cluster.metadata.records import replica_on as replica_on
from tsdb.cluster.metadata.state import State
from tsdb.cluster.replicas.ops import PLACE_MAX
from tsdb.cluster.replication.record import Record


def is_shared(ring: Ring | None) -> bool:
    """Whether several nodes have the log of each location of a database, or will have."""
    return ring is not None and ring.is_shared


def intervals_of(ring: Ring) -> Mapping[int, Interval]:
    """By location, those of the newest map."""
    return {each.location: each for each in ring.maps[-1].intervals}


def arc_of_locations(ring: Ring) -> Mapping[int, int]:
    """By location, of the newest map."""
    return {each.location: ring.arc_of(each) for each in ring.maps[-1].intervals}


def spread_locations(state: State) -> Mapping[int, int]:
    """By location, its arc; of databases with one arc none."""
    return {
        location: arc for ring in state.all(Ring) if ring.arcs > 1 for location, arc in arc_of_locations(ring).items()
    }


def own_replica(record: LocationRecord, node: int) -> int:
    """The number of a node's replica; 0: it has none."""
    has = node in record.voters or node in record.learners or node in record.active_voters
    return replica_on(record, node) if has else 0


def core_record(record: LocationRecord, interval: Interval) -> Record:
    def numbers(nodes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(replica_on(record, node) for node in nodes)

    return Record(
        record.location,
        interval.low,
        min(interval.last + 1, PLACE_MAX),
        record.epoch,
        replica_on(record, record.leader) if record.leader else 0,
        numbers(record.voters),
        numbers(record.learners),
        record.active_epoch,
        numbers(record.active_voters),
        record.map_version,
        changed=record.changed,
    )


def shared_locations(state: State) -> Mapping[int, tuple[LocationRecord, Interval]]:
    """All locations that several nodes have, by number."""
    found: dict[int, tuple[LocationRecord, Interval]] = {}
    intervals: dict[int, Mapping[int, Interval]] = {}
    for ring in state.all(Ring):
        if is_shared(ring):
            intervals[ring.database] = intervals_of(ring)
    for record in state.all(LocationRecord):
        interval = intervals.get(record.database, {}).get(record.location)
        if interval is not None:
            found[record.location] = record, interval
    return found
