"""Which nodes should have replicas of each location, and who should lead it, with as few changes as can be.

1. *Mend*: of replicas that are too many or too close together the one goes whose node has most beyond its share, and
   where one is missing it comes to the node that has least. What is on a node that drains or is lost counts as missing.
2. *Balance*, if some node is too far off its share: single replicas go from nodes that have too much to nodes that have
   too little, those first that mend most for each byte that is moved; in small clusters, some then by something smaller
   (``cheaper``).
3. *Leaders* (``leaders``): moved without moving a byte.

A replica that is on its way (a learner) counts as there and is not moved again; then there is one too many, and the
one on the fullest node of the others goes. So a decision that is taken again halfway, with nothing to go by but the
records, goes on where it was.

What cannot be moved now, since its leader is silent, is not moved for balance: a plan of which a part never comes would
be done and undone for ever.

Equal layouts have equal placements. Nothing that is moved for balance comes back unless the world changes (``Bounds``):
each move lowers the sum of squared excesses by more than a margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from tsdb.cluster.placement.arrays import Floats
from tsdb.cluster.placement.cheaper import Cheaper
from tsdb.cluster.placement.filling import Filling, keeps
from tsdb.cluster.placement.layout import Layout, LocationState, NodeState
from tsdb.cluster.placement.leaders import choose_leaders
from tsdb.cluster.placement.limits import DEFAULT, Bounds

CANDIDATES_MAX = 256
"""Replicas of a node that are looked at for one move."""
PARTNERS_MAX = 16
"""Nodes that are tried as the other side of one move: those that are best for it."""
AT_ONCE = 16
"""Moves between two nodes after one look, where both are further than that from their shares."""


class Why(Enum):
    """Why something is moved, as the plan says it; the urgent reasons first."""

    LOST = "a node is lost"
    DRAIN = "a node drains"
    SPREAD = "replicas are too close"
    FACTOR = "replication factor"
    BYTES = "balance of bytes"
    LOAD = "balance of load"
    LEADERS = "balance of leaders"


@dataclass(frozen=True, slots=True)
class Placement:
    """For each location of a layout, in its order: nodes, sorted, and the leader among them (0: nobody can).

    ``why`` by (location, node) that is to get a replica, in an order in which each makes things better. ``is_even``:
    nothing was beyond the trigger, nothing was moved for balance.
    """

    replicas: tuple[tuple[int, ...], ...]
    leaders: tuple[int, ...]
    why: dict[tuple[int, int], Why]
    is_even: bool


def solve(layout: Layout, bounds: Bounds = DEFAULT, *, begun: bool = False) -> Placement:
    """The placement that a layout should become. ``begun``: go on to ``aim`` although no node is beyond ``trigger``.

    Raises ProgramLimitExceeded.
    """
    filling = Filling(layout, bounds)
    why: dict[tuple[int, int], Why] = {}
    _mend(filling, why, {each.node: each for each in layout.nodes}, bounds)
    is_even = not begun and not _beyond(filling, bounds.trigger)
    if not is_even:
        before = filling.at.copy()
        _Balance(filling, why, bounds).run()
        Cheaper(filling, before, why).run()
    leaders = choose_leaders(filling, bounds, begun=not is_even)
    nodes = np.array(filling.nodes, np.int64)
    replicas = tuple(tuple(nodes[filling.at[:, i]].tolist()) for i in range(len(layout.locations)))
    there = {(each.location, node) for each in layout.locations for node in each.voters}
    return Placement(replicas, leaders, {key: why[key] for key in why if key not in there}, is_even)


def _beyond(filling: Filling, part: float) -> bool:
    over = np.abs(filling.excess) > part * filling.shares
    # A silent node gets nothing, so that it has too little is nothing to begin for.
    return bool((over & (filling.receives | (filling.excess > 0))).any())


# Mend


def _mend(filling: Filling, why: dict[tuple[int, int], Why], nodes: dict[int, NodeState], bounds: Bounds) -> None:
    for i in filling.amiss():
        location = filling.locations[i]
        reason = _reason(location, nodes, bounds)
        while len(crowded := filling.crowded(i)):
            filling.drop(i, _fullest(filling, i, crowded))
            reason = min(reason, Why.SPREAD, key=_URGENCY.__getitem__)
        while len(there := np.flatnonzero(filling.at[:, i])) > filling.wanted[i]:
            filling.drop(i, _fullest(filling, i, there))
        for _ in range(int(filling.wanted[i]) - len(there)):
            free = filling.open_to(i)
            if not len(free):
                break
            node = int(free[np.argmin(_cost(filling, i, free))])
            filling.put(i, node)
            why[location.location, filling.nodes[node]] = reason


_URGENCY = {reason: i for i, reason in enumerate(Why)}


def _reason(location: LocationState, nodes: dict[int, NodeState], bounds: Bounds) -> Why:
    """Why a location lacks replicas."""
    gone = [nodes.get(node) for node in location.voters]
    if any(node is None or node.silence_s > bounds.lost_after_s for node in gone):
        return Why.LOST
    return Why.DRAIN if any(node is not None and not keeps(node, bounds) for node in gone) else Why.FACTOR


def _cost(filling: Filling, i: int, nodes: npt.NDArray[np.intp]) -> Floats:
    """How much worse the balance is for another replica on each of some nodes."""
    found: Floats = filling.weights[:, i] @ filling.excess[:, nodes]
    return np.round(found, 12)


def _fullest(filling: Filling, i: int, nodes: npt.NDArray[np.intp]) -> int:
    settled = nodes[~filling.coming[nodes, i]]
    nodes = settled if len(settled) else nodes
    return int(nodes[np.argmax(_cost(filling, i, nodes))])


# Balance


class _Balance:
    """Moves, one after the other, until all nodes are within the aim or nothing helps."""

    def __init__(self, filling: Filling, why: dict[tuple[int, int], Why], bounds: Bounds) -> None:
        self._filling = filling
        self._why = why
        self._aim = bounds.aim
        self._margin = 1.0 + bounds.reluctance
        self._stuck = np.zeros(filling.excess.shape, np.bool_)

    def run(self) -> None:
        for _ in range(2 * int(self._filling.at.sum()) + 1):
            worst = self._worst()
            if worst is None:
                return
            measure, node = worst
            if not self._move_for(measure, node):
                self._stuck[measure, node] = True

    def _worst(self) -> tuple[int, int] | None:
        """(measure, node) that is furthest beyond the aim and not given up."""
        filling = self._filling
        beyond = np.abs(filling.excess) - self._aim * filling.shares
        beyond[self._stuck | (~filling.receives & (filling.excess < 0))] = 0.0
        measure, node = divmod(int(np.argmax(beyond)), beyond.shape[1]) if beyond.size else (0, 0)
        return (measure, node) if beyond.size and beyond[measure, node] > 1e-9 else None

    def _move_for(self, measure: int, node: int) -> bool:
        """Move one replica from a node that has too much, or to one that has too little, if that is good enough."""
        excess = self._filling.excess[measure]
        gives = excess[node] > 0
        tries = 0
        for other in np.argsort(excess if gives else -excess, kind="stable").tolist():
            if (excess[other] >= excess[node]) if gives else (excess[other] <= excess[node]):
                return False
            giver, taker = (node, other) if gives else (other, node)
            if self._filling.may_take(giver, taker):
                if self._move(measure, giver, taker):
                    return True
                tries += 1
                if tries == PARTNERS_MAX:
                    return False
        return False

    def _move(self, measure: int, giver: int, taker: int) -> bool:
        filling = self._filling
        rows = filling.movable(giver, taker)
        if len(rows) > CANDIDATES_MAX:
            rows = rows[np.linspace(0, len(rows) - 1, CANDIDATES_MAX).astype(np.intp)]
        weights = filling.weights[:, rows]
        high, low = filling.excess[:, [giver]], filling.excess[:, [taker]]
        good = (weights * (high - low - self._margin * weights)).sum(axis=0) > 1e-12
        if not good.any():
            return False
        rows, weights = rows[good], weights[:, good]
        # What excesses lose for each byte that moves: no move beyond a share where one up to it would do.
        less = np.abs(high) - np.abs(high - weights) + np.abs(low) - np.abs(low + weights)
        worth = np.round(less.sum(axis=0) / weights[0], 2)
        order = rows[np.lexsort((rows, -weights.sum(axis=0), -worth))]
        far = bool((np.minimum(high, -low) > AT_ONCE * weights.max(axis=1, keepdims=True)).all())
        for best in order[: AT_ONCE if far else 1].tolist():
            filling.drop(best, giver)
            filling.put(best, taker)
            self._note(measure, best, giver, taker)
        self._stuck[:, [giver, taker]] = False
        return True

    def _note(self, measure: int, i: int, giver: int, taker: int) -> None:
        location, nodes = self._filling.locations[i].location, self._filling.nodes
        before = self._why.pop((location, nodes[giver]), None)
        # What has no load goes for its bytes, also from a node that has too much load.
        loaded = measure > 0 and bool(self._filling.weights[measure, i] > 0)
        self._why[location, nodes[taker]] = before or (Why.LOAD if loaded else Why.BYTES)
