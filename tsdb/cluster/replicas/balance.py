"""At which nodes arcs of databases should be, so that all nodes have and do about as much: a plan, and the goals of it.
Pure.

The solver of placement decides, with arcs in the place of locations, since each is at the same nodes as a whole. One
that cannot be shared stays where it is, and counts with its bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from tsdb.cluster.metadata.records import ARCS_MAX, Goal, LocationRecord, Member, Ring, goal_number
from tsdb.cluster.metadata.state import State
from tsdb.cluster.placement.layout import Layout, LocationState, NodeState
from tsdb.cluster.placement.limits import Limits
from tsdb.cluster.placement.plan import Plan, dry_run
from tsdb.cluster.replicas.records import arc_of_locations

BUSY_US = 10_000
"""Microseconds of work a second, a hundredth of a core: what makes less is moved for its bytes alone."""
SILENT_S = 60.0
"""Of a node that does not answer: it gets nothing, and what it has is somebody else's to care for."""
TOO_BUSY = 1.25
"""An arc with more than so many times the work that each node would have if all had as much."""


def layout_of(
    state: State, sizes: Mapping[int, int], loads: Mapping[int, int], answers: Callable[[int], bool]
) -> Layout:
    """Of a replica of each database as a whole, as far as they are known: ``sizes``, its bytes, and ``loads``, the
    microseconds of work that it makes in a second."""
    nodes = tuple(
        NodeState(
            each.node, each.zone, each.machine, each.capacity_bytes, each.draining,
            0.0 if answers(each.node) else SILENT_S,
        )
        for each in state.all(Member)
        if not each.gone
    )  # fmt: skip
    rings = {ring.database: ring for ring in state.all(Ring)}
    places = {number: arc_of_locations(ring) for number, ring in rings.items()}
    records: dict[tuple[int, int], list[LocationRecord]] = {}
    for record in state.all(LocationRecord):
        arc = places[record.database].get(record.location, 0)
        records.setdefault((record.database, arc), []).append(record)
    busy = {number: load for number, load in loads.items() if load >= BUSY_US}
    arcs = (
        _arc(
            state, ring, arc, records.get((number, arc), []),
            sizes.get(number, 0), busy.get(number, 0),
        )
        for number, ring in rings.items()
        for arc in range(ring.arcs)
    )  # fmt: skip
    return Layout(nodes, tuple(each for each in arcs if each.voters))


def whole(state: State, node: int, sizes: Mapping[int, int]) -> Mapping[int, int]:
    """From what a node has or does of databases, what it would of all of each."""
    has: Counter[int] = Counter()
    all_of: Counter[int] = Counter()
    for record in state.all(LocationRecord):
        all_of[record.database] += 1
        has[record.database] += node in (*record.voters, *record.learners)
    return {number: size * all_of[number] // has[number] for number, size in sizes.items() if has[number]}


def _arc(state: State, ring: Ring, arc: int, records: list[LocationRecord], size: int, load: int) -> LocationState:
    """As it will be when what is under way is done; with its part of the database's bytes and load."""
    locations = len(ring.maps[-1].intervals)
    number = goal_number(ring.database, arc)
    goal = state.get(Goal, number)
    voters = {node for each in records for node in each.voters}
    leaders = Counter(each.leader for each in records).most_common(1)
    leader = leaders[0][0] if leaders else 0
    if goal is not None:
        voters, leader = {*goal.nodes}, goal.nodes[0]
    learners = {node for each in records for node in each.learners} - voters if goal is None else set()
    factor = ring.wanted or ring.replication_factor
    return LocationState(
        number, factor, size * len(records) // locations, load * len(records) / locations, leader,
        tuple(sorted(voters)), tuple(sorted(learners)),
    )  # fmt: skip


def plan_of(
    state: State, sizes: Mapping[int, int], loads: Mapping[int, int], answers: Callable[[int], bool], limits: Limits
) -> Plan:
    """What a rebalance would do now. Raises ProgramLimitExceeded."""
    return dry_run(layout_of(state, sizes, loads, answers), limits=limits, begun=True)


def too_busy(plan: Plan, state: State) -> Mapping[int, int]:
    """Databases of which an arc makes more work than a node's share, so that no movement makes nodes even: into how
    many equal arcs each would have to be cut for that. What is at all nodes is no more than the share of each."""
    nodes = sum(not each.draining and not each.silence_s for each in plan.before.nodes)
    share = sum(each.load * each.factor for each in plan.before.locations) / max(nodes, 1)
    loads: Counter[int] = Counter()
    for at in plan.before.locations:
        loads[Goal(at.location, ()).database] += round(at.load)
    found: dict[int, int] = {}
    for at in plan.before.locations:
        number = Goal(at.location, ()).database
        ring = state.get(Ring, number)
        if ring is None or at.load <= TOO_BUSY * share:
            continue
        # Of equal arcs that are cut nothing has to come together first.
        arcs = step = 1 if ring.cuts else ring.arcs
        while arcs + step <= ARCS_MAX and loads[number] > share * arcs:
            arcs += step
        if ring.cuts or arcs > ring.arcs:
            found[number] = max(arcs, found.get(number, 0))
    return found


def goals_of(plan: Plan) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """For arcs that are to move or to be led by another node: (``records.goal_number``, nodes), the leader first."""
    found: list[tuple[int, tuple[int, ...]]] = []
    placement = plan.placement
    for at, nodes, leader in zip(plan.before.locations, placement.replicas, placement.leaders, strict=True):
        moves = {*nodes} != {*at.voters} or leader != at.leader
        if moves and leader in nodes and len(nodes) == at.factor:
            found.append((at.location, (leader, *(node for node in nodes if node != leader))))
    return tuple(found)
