"""The least that has to move, without the solver: by a flow where locations weigh the same, else by trying all."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import combinations

from tsdb.cluster.placement.layout import Layout

_URGENT = -1_000_000


def least_replicas(layout: Layout, low: int, high: int) -> int:
    """How many replicas must move until each node has from ``low`` to ``high``: a flow of least cost.

    From a source to each location goes its replication factor, from there to each node one at most, at cost 1 where no
    replica is; from a node to the sink ``low`` at a price that is always worth it, and the rest up to ``high`` free.
    """
    flow = _Flow(2 + len(layout.locations) + len(layout.nodes))
    source, sink = 0, 1
    node_at = {each.node: 2 + len(layout.locations) + i for i, each in enumerate(layout.nodes)}
    for i, location in enumerate(layout.locations):
        flow.edge(source, 2 + i, location.factor, 0)
        for node, at in node_at.items():
            flow.edge(2 + i, at, 1, 0 if node in location.voters else 1)
    for at in node_at.values():
        flow.edge(at, sink, low, _URGENT)
        flow.edge(at, sink, high - low, 0)
    wanted = sum(each.factor for each in layout.locations)
    amount, cost = flow.send(source, sink)
    assert amount == wanted
    moved, filled = cost % -_URGENT, -(cost // -_URGENT)
    assert filled == low * len(node_at)
    return moved


class _Flow:
    """Successive shortest paths."""

    def __init__(self, count: int) -> None:
        self._out: list[list[int]] = [[] for _ in range(count)]
        self._to: list[int] = []
        self._room: list[int] = []
        self._cost: list[int] = []

    def edge(self, at: int, to: int, room: int, cost: int) -> None:
        for a, b, r, c in ((at, to, room, cost), (to, at, 0, -cost)):
            self._out[a].append(len(self._to))
            self._to.append(b)
            self._room.append(r)
            self._cost.append(c)

    def send(self, source: int, sink: int) -> tuple[int, int]:
        """(amount, cost) of the largest flow of least cost."""
        amount = cost = 0
        while (path := self._path(source, sink)) is not None:
            room = min(self._room[edge] for edge in path)
            for edge in path:
                self._room[edge] -= room
                self._room[edge ^ 1] += room
                cost += room * self._cost[edge]
            amount += room
        return amount, cost

    def _path(self, source: int, sink: int) -> list[int] | None:
        far = [10**15] * len(self._out)
        by = [-1] * len(self._out)
        far[source] = 0
        todo, inside = deque([source]), [False] * len(self._out)
        while todo:
            at = todo.popleft()
            inside[at] = False
            for edge in self._out[at]:
                to = self._to[edge]
                if self._room[edge] and far[at] + self._cost[edge] < far[to]:
                    far[to], by[to] = far[at] + self._cost[edge], edge
                    if not inside[to]:
                        inside[to] = True
                        todo.append(to)
        if by[sink] < 0:
            return None
        path = []
        at = sink
        while at != source:
            path.append(by[at])
            at = self._to[by[at] ^ 1]
        return path


def least_bytes(layout: Layout, off_max: float) -> int:
    """The fewest bytes that must move until no node's bytes are further than ``off_max`` from an equal share.

    All placements are tried, those first that keep most; a branch ends when it cannot become better.
    """
    nodes = [each.node for each in layout.nodes]
    total = sum(each.size_bytes * each.factor for each in layout.locations)
    low, high = total / len(nodes) - off_max, total / len(nodes) + off_max
    order = sorted(layout.locations, key=lambda each: -each.size_bytes)
    best = total + 1

    def choices(at: int) -> list[tuple[int, Sequence[int]]]:
        location = order[at]
        found = [
            (location.size_bytes * len(set(chosen) - set(location.voters)), chosen)
            for chosen in combinations(range(len(nodes)), location.factor)
            for chosen in [tuple(nodes[i] for i in chosen)]
        ]
        return sorted(found)

    every = [choices(at) for at in range(len(order))]
    rest = [sum(each.size_bytes * each.factor for each in order[at:]) for at in range(len(order) + 1)]
    filled = dict.fromkeys(nodes, 0)

    def search(at: int, moved: int) -> None:
        nonlocal best
        if moved >= best or any(x > high for x in filled.values()):
            return
        if sum(max(0.0, low - x) for x in filled.values()) > rest[at]:
            return
        if at == len(order):
            best = moved
            return
        size = order[at].size_bytes
        for cost, chosen in every[at]:
            for node in chosen:
                filled[node] += size
            search(at + 1, moved + cost)
            for node in chosen:
                filled[node] -= size

    search(0, 0)
    return best
