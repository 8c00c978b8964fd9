"""Who has what, as arrays: the solver's slate. Nodes and locations are indices here.

What a node has is measured twice, in bytes and in load, each so that an average node's share is 1. *Excess* is what it
has beyond its share, below zero where it has less.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tsdb.cluster.placement.arrays import Bools, Floats, Ints
from tsdb.cluster.placement.domains import Domains, Spread
from tsdb.cluster.placement.layout import Layout, LocationState, NodeState
from tsdb.cluster.placement.limits import Bounds
from tsdb.errors import ProgramLimitExceeded

CELLS_MAX = 1 << 28
"""Nodes times locations: a byte each, several times."""


class Filling:
    """Replicas on nodes that may have some: neither draining nor lost. Learners count as replicas, and are *coming*."""

    def __init__(self, layout: Layout, bounds: Bounds) -> None:
        """Raises ProgramLimitExceeded."""
        kept = [each for each in layout.nodes if keeps(each, bounds)]
        if len(kept) * len(layout.locations) > CELLS_MAX:
            raise ProgramLimitExceeded(
                f"a placement is decided for nodes times locations up to {CELLS_MAX}, not for {len(kept)} nodes and "
                f"{len(layout.locations)} locations"
            )
        self.locations = layout.locations
        self.nodes = [each.node for each in kept]
        self.index = {node: i for i, node in enumerate(self.nodes)}
        self.receives: Bools = np.array([each.silence_s <= bounds.silence_s_max for each in kept], np.bool_)
        up = {each.node for each in layout.nodes if each.silence_s <= bounds.silence_s_max}
        self.can_change: Bools = np.array([each.can_change(up) for each in layout.locations], np.bool_)
        self.domains = Domains(kept)
        self._spread_all()
        self._weigh(bounds)
        shape = len(kept), len(layout.locations)
        self.at: Bools = np.zeros(shape, np.bool_)
        self.coming: Bools = np.zeros(shape, np.bool_)
        self.in_zone = np.zeros((self.domains.zone_count, shape[1]), np.int16)
        self.on_machine = np.zeros((self.domains.machine_count, shape[1]), np.int16)
        self.excess: Floats = -self.shares
        self._rooms: Ints = np.full(self.domains.zone_count, int((self.zone_max > 0).sum()), np.int64)
        for i, location in enumerate(layout.locations):
            for node in holders(location):
                if node in self.index:
                    self.put(i, self.index[node])
                    self.coming[self.index[node], i] = node in location.learners

    def _spread_all(self) -> None:
        factors = np.array([each.factor for each in self.locations], np.int64)
        distinct, self._kind = np.unique(factors, return_inverse=True)
        self._spreads: list[Spread] = [self.domains.spread(int(factor)) for factor in distinct]
        self.wanted = self._of_kinds([each.replicas for each in self._spreads])
        self.zone_max = self._of_kinds([each.zone_max for each in self._spreads])
        self.machine_max = self._of_kinds([each.machine_max for each in self._spreads])

    def _of_kinds(self, values: list[int]) -> Ints:
        return np.array(values, np.int64)[self._kind] if values else np.zeros(0, np.int64)

    def _weigh(self, bounds: Bounds) -> None:
        """``weights[measure, location]``, ``shares[measure, node]``, and ``lead_shares[node]`` of all leading."""
        sizes = np.array([max(each.size_bytes, bounds.size_min) for each in self.locations], np.float64)
        loads = np.array([each.load for each in self.locations], np.float64)
        measures = [sizes, loads] if loads.sum() > 0 else [sizes]
        weights = np.array(measures).reshape(len(measures), len(self.locations))
        shares = np.zeros((len(measures), len(self.nodes)))
        self.lead_shares: Floats = np.zeros(len(self.nodes))
        self.leading = _leading(loads)
        for kind, spread in enumerate(self._spreads):
            mine = self._kind == kind
            of_one = self.domains.shares(spread)
            shares += weights[:, mine].sum(axis=1)[:, None] * of_one
            if spread.replicas:
                self.lead_shares += self.leading[mine].sum() * of_one / spread.replicas
        scale = shares.mean(axis=1, keepdims=True) if len(self.nodes) else np.ones((len(measures), 1))
        scale[scale == 0] = 1.0
        self.weights: Floats = weights / scale
        self.shares: Floats = shares / scale

    def put(self, location: int, node: int) -> None:
        self._change(location, node, 1)

    def drop(self, location: int, node: int) -> None:
        self._change(location, node, -1)

    def _change(self, location: int, node: int, sign: int) -> None:
        assert self.at[node, location] == (sign < 0)
        self.at[node, location] = sign > 0
        zone = self.domains.zones[node]
        full = self.in_zone[zone, location] >= self.zone_max[location]
        self.in_zone[zone, location] += sign
        self._rooms[zone] += int(full) - int(self.in_zone[zone, location] >= self.zone_max[location])
        self.on_machine[self.domains.machines[node], location] += sign
        self.excess[:, node] += sign * self.weights[:, location]

    def may_take(self, giver: int, taker: int) -> bool:
        """Whether a node could take anything of another: it is heard of, and in the same zone or in one with room."""
        zones = self.domains.zones
        return bool(self.receives[taker]) and bool(zones[giver] == zones[taker] or self._rooms[zones[taker]])

    def movable(self, giver: int, taker: int) -> npt.NDArray[np.intp]:
        """Locations of one node that may go to another now."""
        rows = self.at[giver] & ~self.at[taker] & ~self.coming[giver] & self.can_change
        zones, machines = self.domains.zones, self.domains.machines
        if zones[giver] != zones[taker]:
            rows &= self.in_zone[zones[taker]] < self.zone_max
        if machines[giver] != machines[taker]:
            rows &= self.on_machine[machines[taker]] < self.machine_max
        return np.flatnonzero(rows)

    def open_to(self, location: int) -> npt.NDArray[np.intp]:
        """Nodes that may get a further replica of a location."""
        zones, machines = self.domains.zones, self.domains.machines
        free = self.receives & ~self.at[:, location]
        free &= self.in_zone[zones, location] < self.zone_max[location]
        free &= self.on_machine[machines, location] < self.machine_max[location]
        return np.flatnonzero(free)

    def crowded(self, location: int) -> npt.NDArray[np.intp]:
        """Nodes whose replica of a location is in a zone or on a machine that has too many of it."""
        zones, machines = self.domains.zones, self.domains.machines
        over = self.in_zone[zones, location] > self.zone_max[location]
        over |= self.on_machine[machines, location] > self.machine_max[location]
        return np.flatnonzero(over & self.at[:, location])

    def amiss(self) -> npt.NDArray[np.intp]:
        """Locations with too few replicas, too many, or too close ones; the heaviest first."""
        wrong = self.at.sum(axis=0) != self.wanted
        if len(self.nodes):
            wrong |= (self.in_zone > self.zone_max).any(axis=0) | (self.on_machine > self.machine_max).any(axis=0)
        rows = np.flatnonzero(wrong)
        return rows[np.argsort(-self.weights[:, rows].sum(axis=0), kind="stable")]


def keeps(node: NodeState, bounds: Bounds) -> bool:
    """Whether a node's replicas may stay there."""
    return not node.draining and node.silence_s <= bounds.lost_after_s


def holders(location: LocationState) -> Iterable[int]:
    return (*location.voters, *location.learners)


def _leading(loads: Floats) -> Floats:
    """What it is to lead each location; all together 1. Half is the same for each and half goes by load."""
    count = max(len(loads), 1)
    even = np.full(len(loads), 1.0 / count)
    return (even + loads / loads.sum()) / 2 if loads.sum() > 0 else even
