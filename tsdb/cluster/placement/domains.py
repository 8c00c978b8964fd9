"""Zones and machines: how far apart replicas can be, and what each node's share is when they are.

Nodes lie in machines and machines in zones. Of a location's replicas no two are on one node; no zone has more of them
than it must, and then no machine. With three zones and three replicas each zone has one; with two zones one has two,
on two machines if it has these. These sets are a laminar matroid: a set that keeps the rules can be grown to its full
size in any order, and nothing has to be taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from tsdb.cluster.placement.arrays import Floats, Ints
from tsdb.cluster.placement.layout import NodeState

_HALVINGS = 80


@dataclass(frozen=True, slots=True)
class Spread:
    """How many replicas a location can have, and how many of them are in one zone and on one machine at most."""

    replicas: int
    zone_max: int
    machine_max: int


class Domains:
    """Zones and machines of some nodes, in the order of these; all by index."""

    def __init__(self, nodes: Sequence[NodeState]) -> None:
        zones: dict[str, int] = {}
        machines: dict[tuple[int, str, int], int] = {}
        zone_of, machine_of, zone_of_machine = [], [], []
        for each in nodes:
            zone = zones.setdefault(each.zone, len(zones))
            key = zone, each.machine, 0 if each.machine else each.node
            if key not in machines:
                zone_of_machine.append(zone)
            zone_of.append(zone)
            machine_of.append(machines.setdefault(key, len(machines)))
        self.zones: Ints = np.array(zone_of, np.int64)
        self.machines: Ints = np.array(machine_of, np.int64)
        self.zone_of_machine: Ints = np.array(zone_of_machine, np.int64)
        self.zone_count = len(zones)
        self.machine_count = len(machines)
        self.weights = _weights(nodes)

    def spread(self, factor: int) -> Spread:
        """Of a location that should have so many replicas. Fewer when there are fewer nodes."""
        replicas = min(factor, len(self.zones))
        in_zone = np.bincount(self.zones, minlength=1)
        zone_max = _least(lambda most: int(np.minimum(most, in_zone).sum()), replicas)
        on_machine = np.bincount(self.machines, minlength=1)
        machine_max = _least(lambda most: int(self._in_zones(np.minimum(most, on_machine), zone_max).sum()), replicas)
        return Spread(replicas, zone_max, machine_max)

    def _in_zones(self, of_machines: npt.NDArray[np.generic], zone_max: int) -> Floats:
        return np.minimum(np.bincount(self.zone_of_machine, of_machines, minlength=self.zone_count), zone_max)

    def shares(self, spread: Spread) -> Floats:
        """The replicas of one location that each node has on average: even by capacity, as far as the rules allow.

        Each node gets its weight times a level, at most 1; where that is more than a zone or a machine may have, its
        level is lower and that of the others rises.
        """
        if not len(self.zones):
            return np.zeros(0)

        zones = partial(self._zones_at, spread)
        level = self._level(lambda at: float(zones(at).sum()), spread.replicas)
        shares = np.zeros(len(self.zones))
        for zone in range(self.zone_count):
            inside = self.zone_of_machine == zone
            low = self._level(partial(self._inside, spread.machine_max, inside), spread.zone_max, level)
            for machine in np.flatnonzero(inside):
                nodes = self.machines == machine
                shares[nodes] = self._on_machine(self.weights[nodes], spread.machine_max, low)
        return shares

    def _machines_at(self, machine_max: int, which: npt.NDArray[np.bool_], level: float) -> Floats:
        of_nodes = np.minimum(1.0, level * self.weights)
        return np.minimum(np.bincount(self.machines, of_nodes), machine_max)[which]

    def _inside(self, machine_max: int, which: npt.NDArray[np.bool_], level: float) -> float:
        return float(self._machines_at(machine_max, which, level).sum())

    def _zones_at(self, spread: Spread, level: float) -> Floats:
        every = np.ones(self.machine_count, np.bool_)
        return self._in_zones(self._machines_at(spread.machine_max, every, level), spread.zone_max)

    def _on_machine(self, weights: Floats, most: int, level: float) -> Floats:
        lower = self._level(lambda at: float(np.minimum(1.0, at * weights).sum()), most, level)
        return np.minimum(1.0, lower * weights)

    def _level(self, total: Callable[[float], float], wanted: float, high: float | None = None) -> float:
        """The level at which a rising total is what is wanted; at most ``high``."""
        high = 1.0 / float(self.weights.min()) if high is None else high
        if total(high) <= wanted:
            return high
        low = 0.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if total(middle) < wanted:
                low = middle
            else:
                high = middle
        return high


def _least(total: Callable[[int], int], wanted: int) -> int:
    most = 1
    while total(most) < wanted:
        most += 1
    return most


def _weights(nodes: Sequence[NodeState]) -> Floats:
    """Capacities; who does not say is as large as the others are on average."""
    known = [each.capacity_bytes for each in nodes if each.capacity_bytes]
    mean = sum(known) / len(known) if known else 1.0
    return np.array([(each.capacity_bytes or mean) / mean for each in nodes], np.float64)
