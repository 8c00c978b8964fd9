"""Which steps are taken now: those that are ready, with so many transfers at once from each node and to each node.

It is fed with locations as they are, and drained of steps. To begin anew (after a crash, with a new placement) is to
make another one and feed it with all.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping

from tsdb.cluster.placement.layout import Layout, LocationState, NodeState
from tsdb.cluster.placement.limits import DEFAULT, DEFAULT_LIMITS, Bounds, Limits
from tsdb.cluster.placement.solver import Placement, Why
from tsdb.cluster.placement.steps import EPOCHS, Kind, Step, moving, next_step

_Waiting = tuple[tuple[int, int], int, int, Step]
_URGENCY = {reason: i for i, reason in enumerate(Why)}


class Schedule:
    """The steps from a layout to its placement."""

    def __init__(self, layout: Layout, placement: Placement, bounds: Bounds, limits: Limits) -> None:
        self._limits = limits
        self._up = up_of(layout.nodes, bounds)
        self._wanted = {
            each.location: (replicas, leader)
            for each, replicas, leader in zip(layout.locations, placement.replicas, placement.leaders, strict=True)
        }
        self._why: Mapping[tuple[int, int], Why] = placement.why
        self._order = {key: i for i, key in enumerate(placement.why)}
        self._at: dict[int, LocationState] = {}
        self._sending: Counter[int] = Counter()
        self._receiving: Counter[int] = Counter()
        self._ready: dict[int, Step] = {}
        self._transfers: dict[int, dict[int, list[_Waiting]]] = {}
        self._step: dict[int, Step] = {}
        self._pushed = 0
        for location in layout.locations:
            self.put(location)

    def at(self, location: int) -> LocationState:
        """A location as it was fed last."""
        return self._at[location]

    @property
    def locations(self) -> Iterable[LocationState]:
        return self._at.values()

    def put(self, at: LocationState) -> None:
        """A location as it is now."""
        before = self._at.get(at.location)
        if before is not None:
            self._count(before, -1)
        self._at[at.location] = at
        self._count(at, 1)
        self._ready.pop(at.location, None)
        self._step.pop(at.location, None)
        step = next_step(at, *self._wanted[at.location], self._up)
        if step is None:
            return
        self._step[at.location] = step
        if step.kind is Kind.ADD:
            self._pushed += 1
            entry = self._urgency(at, step), at.location, self._pushed, step
            heapq.heappush(self._transfers.setdefault(at.leader, {}).setdefault(step.node, []), entry)
        else:
            self._ready[at.location] = step

    def _count(self, at: LocationState, sign: int) -> None:
        for node in moving(at):
            self._sending[at.leader] += sign
            self._receiving[node] += sign

    def _urgency(self, at: LocationState, step: Step) -> tuple[int, int]:
        """The fewer voters are up, the sooner; then by what for, and in the solver's order."""
        key = at.location, step.node
        up = sum(node in self._up for node in at.voters)
        return up * len(_URGENCY) + _URGENCY[self._why.get(key, Why.BYTES)], self._order.get(key, 0)

    def take(self) -> list[Step]:
        """Steps to be taken now. Whoever takes them feeds their locations again, as they are then."""
        found: list[Step] = []
        epochs = 0
        for location in sorted(self._ready):
            step = self._ready[location]
            epochs += step.kind in EPOCHS
            if step.kind not in EPOCHS or epochs <= self._limits.epochs_max:
                found.append(step)
        found += self._adds()
        for step in found:
            self._ready.pop(step.location, None)
        return found

    def _adds(self) -> list[Step]:
        """The most urgent transfers for which both nodes have room."""
        found: list[Step] = []
        sending, receiving = Counter(self._sending), Counter(self._receiving)
        room, most = self._limits.transfers_max - self._sending.total(), self._limits.transfers_a_node_max
        heads = [
            (*waiting[0][:2], sender, receiver)
            for sender in self._transfers
            if sending[sender] < most
            for receiver in list(self._transfers[sender])
            if receiving[receiver] < most and (waiting := self._waiting(sender, receiver))
        ]
        heapq.heapify(heads)
        while heads and len(found) < room:
            _, location, sender, receiver = heapq.heappop(heads)
            if sending[sender] >= most or receiving[receiver] >= most:
                continue
            entry = heapq.heappop(self._transfers[sender][receiver])
            found.append(entry[-1])
            # Not lost if it is not taken: it is fed again then.
            del self._step[location]
            sending[sender] += 1
            receiving[receiver] += 1
            if waiting := self._waiting(sender, receiver):
                heapq.heappush(heads, (*waiting[0][:2], sender, receiver))
        return found

    def _waiting(self, sender: int, receiver: int) -> list[_Waiting]:
        """What waits for a transfer between two nodes, without what has changed meanwhile."""
        waiting = self._transfers[sender][receiver]
        while waiting and self._step.get(waiting[0][1]) is not waiting[0][-1]:
            heapq.heappop(waiting)
        if not waiting:
            del self._transfers[sender][receiver]
        return waiting


def up_of(nodes: Iterable[NodeState], bounds: Bounds) -> frozenset[int]:
    """The nodes that can do something now."""
    return frozenset(each.node for each in nodes if each.silence_s <= bounds.silence_s_max)


def next_steps(
    layout: Layout, placement: Placement, bounds: Bounds = DEFAULT, limits: Limits = DEFAULT_LIMITS
) -> list[Step]:
    """The steps to be taken now, from nothing but the layout: transfers that are under way are in it."""
    return Schedule(layout, placement, bounds, limits).take()
