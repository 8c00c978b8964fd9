"""At which nodes databases should be, so that all nodes have about as much: a plan, and the goals of it. Pure.

The solver of placement decides, with whole databases in the place of locations, since a replicated database is at the
same nodes as a whole. One that cannot be shared stays where it is, and counts with its bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from tsdb.cluster.metadata.records import Goal, LocationRecord, Member, Ring
from tsdb.cluster.metadata.state import State
from tsdb.cluster.placement.layout import Layout, LocationState, NodeState
from tsdb.cluster.placement.limits import Limits
from tsdb.cluster.placement.plan import Plan, dry_run

SILENT_S = 60.0
"""Of a node that does not answer: it gets nothing, and what it has is somebody else's to care for."""


def layout_of(state: State, sizes: Mapping[int, int], answers: Callable[[int], bool]) -> Layout:
    """``sizes``: the bytes of a replica of each database, as far as they are known."""
    nodes = tuple(
        NodeState(
            each.node, each.zone, each.machine, each.capacity_bytes, each.draining,
            0.0 if answers(each.node) else SILENT_S,
        )
        for each in state.all(Member)
        if not each.gone
    )  # fmt: skip
    records: dict[int, list[LocationRecord]] = {}
    for record in state.all(LocationRecord):
        records.setdefault(record.database, []).append(record)
    databases = (_database(state, ring, records.get(ring.database, []), sizes) for ring in state.all(Ring))
    return Layout(nodes, tuple(each for each in databases if each.voters))


def _database(state: State, ring: Ring, records: list[LocationRecord], sizes: Mapping[int, int]) -> LocationState:
    """As it will be when what is under way is done."""
    goal = state.get(Goal, ring.database)
    voters = {node for each in records for node in each.voters}
    leaders = Counter(each.leader for each in records).most_common(1)
    leader = leaders[0][0] if leaders else 0
    if goal is not None:
        voters, leader = {*goal.nodes}, goal.nodes[0]
    learners = {node for each in records for node in each.learners} - voters if goal is None else set()
    return LocationState(
        ring.database, ring.wanted or ring.replication_factor, sizes.get(ring.database, 0), 0.0, leader,
        tuple(sorted(voters)), tuple(sorted(learners)),
    )  # fmt: skip


def plan_of(state: State, sizes: Mapping[int, int], answers: Callable[[int], bool], limits: Limits) -> Plan:
    """What a rebalance would do now. Raises ProgramLimitExceeded."""
    return dry_run(layout_of(state, sizes, answers), limits=limits, begun=True)


def goals_of(plan: Plan) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """For databases that are to move or to be led by another node: (database, nodes), the leader first."""
    found: list[tuple[int, tuple[int, ...]]] = []
    placement = plan.placement
    for at, nodes, leader in zip(plan.before.locations, placement.replicas, placement.leaders, strict=True):
        moves = {*nodes} != {*at.voters} or leader != at.leader
        if moves and leader in nodes and len(nodes) == at.factor:
            found.append((at.location, (leader, *(node for node in nodes if node != leader))))
    return tuple(found)
