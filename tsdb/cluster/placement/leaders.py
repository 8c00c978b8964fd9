"""Who leads: among a location's replicas, so that nodes lead about as much as they hold, with few changes.

To lead is work of its own (ordering ops, asking followers, answering reads), half of it the same for each location and
half by its load. A leader stays unless its replica goes or its node leads too much. Where no location of a node that
leads too much can go straight to one that leads too little, it goes by way of others: each node on the path hands one
over to the next.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tsdb.cluster.placement.arrays import Floats
from tsdb.cluster.placement.filling import Filling
from tsdb.cluster.placement.limits import Bounds

PATH_MAX = 4
NOBODY = -1


def choose_leaders(filling: Filling, bounds: Bounds, *, begun: bool) -> tuple[int, ...]:
    """The node that should lead each location; 0 where there is none. ``begun``: whatever the trigger says."""
    leading = _Leading(filling)
    leading.fill()
    if begun or leading.is_beyond(bounds.trigger):
        leading.balance(bounds)
    return tuple(0 if node == NOBODY else filling.nodes[node] for node in leading.leader.tolist())


class _Leading:
    def __init__(self, filling: Filling) -> None:
        self._at = filling.at
        self._weights = filling.leading
        self._shares = filling.lead_shares
        self._may = filling.receives
        at = [filling.index.get(each.leader, NOBODY) for each in filling.locations]
        self.leader = np.array(at, np.int64)
        for i in np.flatnonzero(self.leader != NOBODY):
            if not self._at[self.leader[i], i]:
                self.leader[i] = NOBODY
        led = self.leader != NOBODY
        mine = np.bincount(self.leader[led], self._weights[led], minlength=len(self._shares))
        self._excess: Floats = mine - self._shares

    def fill(self) -> None:
        """Leaders for those that have none: the heaviest first, to the replica whose node leads least."""
        without = np.flatnonzero(self.leader == NOBODY)
        for i in without[np.argsort(-self._weights[without], kind="stable")]:
            nodes = np.flatnonzero(self._at[:, i])
            able = nodes[self._may[nodes]]
            nodes = able if len(able) else nodes
            if len(nodes):
                self._hand(int(i), int(nodes[np.argmin(np.round(self._excess[nodes], 12))]))

    def is_beyond(self, part: float) -> bool:
        return bool((np.abs(self._excess) > part * self._shares).any())

    def balance(self, bounds: Bounds) -> None:
        if not len(self._excess):
            return
        stuck = np.zeros(len(self._excess), np.bool_)
        for _ in range(2 * len(self.leader) + 1):
            beyond = np.where(stuck, 0.0, self._excess - bounds.aim * self._shares)
            node = int(np.argmax(beyond))
            if beyond[node] <= 1e-12:
                return
            if self._lighten(node, bounds.reluctance):
                stuck[:] = False
            else:
                stuck[node] = True

    def _lighten(self, node: int, reluctance: float) -> bool:
        """Let a node lead one location less, if some other can be found that should lead one more."""
        before: dict[int, tuple[int, int]] = {}
        todo = deque([(node, 0)])
        while todo:
            giver, depth = todo.popleft()
            for taker, i in self._heirs(giver):
                if taker == node or taker in before:
                    continue
                before[taker] = giver, i
                if self._shift(node, taker, before, reluctance):
                    return True
                if depth + 1 < PATH_MAX:
                    todo.append((taker, depth + 1))
        return False

    def _heirs(self, giver: int) -> list[tuple[int, int]]:
        """(node, lightest location that it could lead instead); those that lead least first."""
        mine: npt.NDArray[np.intp] = np.flatnonzero(self.leader == giver)
        if not len(mine):
            return []
        mine = mine[np.argsort(self._weights[mine], kind="stable")]
        there = self._at[:, mine]
        takers = np.flatnonzero(there.any(axis=1) & self._may)
        first = there.argmax(axis=1)
        order = takers[np.argsort(self._excess[takers], kind="stable")]
        return [(int(taker), int(mine[first[taker]])) for taker in order if taker != giver]

    def _shift(self, node: int, last: int, before: dict[int, tuple[int, int]], reluctance: float) -> bool:
        """Hand one over along a path, if squared excesses become less by enough."""
        path = [last]
        while path[-1] != node:
            path.append(before[path[-1]][0])
        after = {each: float(self._excess[each]) for each in path}
        for taker, giver in pairwise(path):
            weight = float(self._weights[before[taker][1]])
            after[giver] -= weight
            after[taker] += weight
        less = sum(float(self._excess[each]) ** 2 - value**2 for each, value in after.items())
        if less <= 2 * reluctance * float(self._weights[before[last][1]]) ** 2:
            return False
        for taker, _ in pairwise(path):
            self._hand(before[taker][1], taker)
        return True

    def _hand(self, i: int, taker: int) -> None:
        giver = int(self.leader[i])
        if giver != NOBODY:
            self._excess[giver] -= self._weights[i]
        self._excess[taker] += self._weights[i]
        self.leader[i] = taker
