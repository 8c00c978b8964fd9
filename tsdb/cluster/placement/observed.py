"""The layout as the group's leader sees it: records, and what the nodes have reported lately.

A location's bytes and load are those that its leader reports; another replica's if the leader has not been heard.
Without any report they are 0, and locations are balanced by count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tsdb.cluster.metadata.records import LocationRecord, Member, Ring
from tsdb.cluster.metadata.soft import Heard, LocationReport
from tsdb.cluster.metadata.state import State
from tsdb.cluster.placement.layout import Layout, LocationState, NodeState

LAG_OPS_MAX = 64
"""How many ops a learner may lack and still count as caught up: it gets them before the next epoch begins."""


def observed(state: State, heard: Mapping[int, Heard], tick: int, since: int, ticks_a_second: float) -> Layout:
    """``heard`` by node, at ``tick``; ``since`` is when this leader began to listen (``SoftState``)."""
    reports = {(node, report.location): report for node, each in heard.items() for report in each.heartbeat.locations}
    holding: dict[int, list[int]] = {}
    for node, location in sorted(reports):
        holding.setdefault(location, []).append(node)
    factors = {ring.database: ring.replication_factor for ring in state.all(Ring)}
    nodes = tuple(
        NodeState(
            each.node,
            each.zone,
            each.machine,
            each.capacity_bytes,
            each.draining,
            (tick - (heard[each.node].tick if each.node in heard else since)) / ticks_a_second,
        )
        for each in state.all(Member)
        if not each.gone
    )
    locations = tuple(
        _location(record, factors[record.database], reports, holding.get(record.location, ()))
        for record in state.all(LocationRecord)
        if record.epoch
    )
    return Layout(nodes, locations)


def _location(
    record: LocationRecord, factor: int, reports: Mapping[tuple[int, int], LocationReport], holding: Iterable[int]
) -> LocationState:
    order = (record.leader, *record.voters)
    leading = next((found for node in order if (found := reports.get((node, record.location)))), None)
    members = {*record.voters, *record.learners, *record.active_voters}
    caught_up = {
        node
        for node in record.learners
        if leading is not None and _has_caught_up(reports.get((node, record.location)), leading)
    }
    return LocationState(
        record.location,
        factor,
        leading.size_bytes if leading is not None else 0,
        leading.load if leading is not None else 0.0,
        record.leader,
        record.voters,
        record.learners,
        frozenset(caught_up),
        tuple(node for node in holding if node not in members),
        record.epoch,
        record.active_epoch,
        record.active_voters,
        record.intent,
    )


def _has_caught_up(report: LocationReport | None, leading: LocationReport) -> bool:
    return (
        report is not None and report.epoch == leading.epoch and report.last_op + LAG_OPS_MAX >= leading.high_watermark
    )
