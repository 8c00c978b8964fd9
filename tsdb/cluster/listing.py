"""What the cluster's metadata says of nodes and locations, for who only looks (``tsdb.model.store``)."""

from __future__ import annotations

from uuid import UUID

from tsdb.cluster.metadata.records import Goal, Interval, LocationRecord, Member, Ring, goal_number
from tsdb.cluster.metadata.state import State
from tsdb.cluster.replicas.records import arc_of_locations
from tsdb.model.cluster import ClusterLocation, ClusterMember


def cluster_members(state: State) -> list[ClusterMember]:
    """By node; not those that are gone."""
    return [
        ClusterMember(
            each.node,
            each.name,
            str(UUID(bytes=each.uuid)),
            tuple(f"{purpose} {address}" for purpose, address in each.addresses),
            each.zone,
            each.capacity_bytes,
            each.draining,
        )
        for each in state.all(Member)
        if not each.gone
    ]


def cluster_locations(state: State) -> list[ClusterLocation]:
    """By location, of all databases."""
    intervals: dict[int, Interval] = {}
    for ring in state.all(Ring):
        for each in ring.maps:
            intervals.update((interval.location, interval) for interval in each.intervals)
    goals = {each.number: each.nodes for each in state.all(Goal)}
    arcs = {ring.database: arc_of_locations(ring) for ring in state.all(Ring)}
    databases = state.catalog.databases_by_number
    return [
        ClusterLocation(
            record.location,
            databases[record.database].name,
            intervals[record.location].low,
            intervals[record.location].last,
            record.map_version,
            record.epoch,
            record.leader or None,
            record.voters,
            record.learners,
            record.active_epoch,
            record.active_voters,
            record.intent.name.lower(),
            goals.get(goal_number(record.database, arcs[record.database].get(record.location, 0)), ()),
            arcs[record.database].get(record.location, 0),
        )
        for record in state.all(LocationRecord)
    ]
