"""The dry run: what would be done to a layout, step by step, and how long it would take, without doing any of it.

Steps are taken on a copy of the layout as the schedule gives them. A transfer has its part of a node's rate from its
begin to its end (``Limits.transfer_rate``); all else takes no time. Nothing is written to the cluster meanwhile, no
node comes or goes, and loads stay as they are: what really happens is decided again at each step, from what is there
then.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tsdb.cluster.placement.layout import Layout, LocationState
from tsdb.cluster.placement.limits import DEFAULT, DEFAULT_LIMITS, Bounds, Limits
from tsdb.cluster.placement.schedule import Schedule
from tsdb.cluster.placement.solver import Placement, Why, solve
from tsdb.cluster.placement.steps import EPOCHS, Kind, Step, activated, moving, taken


@dataclass(frozen=True, slots=True)
class Move:
    """A replica that comes to a node, in the place of one elsewhere (``giver`` 0: of none), or one that goes
    (``taker`` 0), or a leader that hands over."""

    location: int
    giver: int
    taker: int
    size_bytes: int
    why: Why


@dataclass(frozen=True, slots=True)
class Timed:
    """A step, and the second of the dry run in which it is taken."""

    at_s: float
    step: Step


@dataclass(frozen=True, slots=True)
class Plan:
    """A dry run from ``before`` to ``after``. ``waiting``: locations that are not as they should be at its end, since
    a node that they need is silent or there are too few nodes."""

    before: Layout
    placement: Placement
    moves: tuple[Move, ...]
    steps: tuple[Timed, ...]
    after: Layout
    waiting: tuple[int, ...]
    seconds: float

    @property
    def moved_bytes(self) -> int:
        return sum(each.size_bytes for each in self.moves if each.taker and each.why is not Why.LEADERS)


def dry_run(layout: Layout, bounds: Bounds = DEFAULT, limits: Limits = DEFAULT_LIMITS, *, begun: bool = False) -> Plan:
    """Raises ProgramLimitExceeded."""
    placement = solve(layout, bounds, begun=begun)
    steps, locations = _run(Schedule(layout, placement, bounds, limits), limits)
    after = Layout(layout.nodes, tuple(locations[each.location] for each in layout.locations))
    waiting = tuple(
        each.location
        for each, replicas, leader in zip(after.locations, placement.replicas, placement.leaders, strict=True)
        if set(each.voters) != set(replicas) or each.learners or each.leader != leader or len(replicas) < each.factor
    )
    seconds = steps[-1].at_s if steps else 0.0
    return Plan(layout, placement, tuple(moves(layout, placement)), tuple(steps), after, waiting, seconds)


def moves(layout: Layout, placement: Placement) -> Iterator[Move]:
    """What differs, location by location: what comes and what goes in pairs; then who leads among those that stay."""
    for at, replicas, leader in zip(layout.locations, placement.replicas, placement.leaders, strict=True):
        come = [node for node in replicas if node not in at.voters]
        goes = [node for node in at.voters if node not in replicas]
        # What has no place to go stays: no location has fewer replicas than it should have for the sake of balance.
        spare = max(0, len(at.voters) + len(come) - at.factor)
        goes = goes[:spare]
        for i in range(max(len(come), len(goes))):
            taker = come[i] if i < len(come) else 0
            giver = goes[i] if i < len(goes) else 0
            size = 0 if taker in at.caught_up else at.size_bytes
            why = placement.why.get((at.location, taker), Why.FACTOR)
            yield Move(at.location, giver, taker, size if taker else 0, why)
        if leader and leader != at.leader and leader in at.voters and at.leader in replicas:
            yield Move(at.location, at.leader, leader, 0, Why.LEADERS)


def _run(schedule: Schedule, limits: Limits) -> tuple[list[Timed], dict[int, LocationState]]:
    now = 0.0
    steps: list[Timed] = []
    arriving: list[tuple[float, int, int]] = []
    for at in list(schedule.locations):
        # What is on its way is counted whole: how much of it has come is not in a layout.
        arriving += [(at.size_bytes / limits.transfer_rate, at.location, node) for node in moving(at)]
    heapq.heapify(arriving)
    while True:
        found = schedule.take()
        for step in found:
            at = taken(schedule.at(step.location), step)
            at = activated(at) if step.kind in EPOCHS else at
            steps.append(Timed(now, step))
            if step.kind is Kind.ADD:
                heapq.heappush(arriving, (now + at.size_bytes / limits.transfer_rate, at.location, step.node))
            schedule.put(at)
        if not found:
            if not arriving:
                return steps, {at.location: at for at in schedule.locations}
            now, location, node = heapq.heappop(arriving)
            at = schedule.at(location)
            schedule.put(replace(at, caught_up=at.caught_up | {node}))
