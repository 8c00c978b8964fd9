"""Layouts to decide on: rings as the metadata begin them, random ones, and what becomes of them step by step."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from tsdb.cluster.metadata.locations import first_nodes
from tsdb.cluster.metadata.records import Member
from tsdb.cluster.placement.layout import Layout, LocationState, NodeState
from tsdb.cluster.placement.steps import EPOCHS, Kind, Step, activated, moving, taken

GIB = 1 << 30


def nodes_of(count: int, zones: int = 1) -> tuple[NodeState, ...]:
    return tuple(NodeState(n, f"z{n % zones}" if zones > 1 else "") for n in range(1, count + 1))


def location_of(number: int, factor: int, voters: Sequence[int], size: int = GIB, load: float = 0.0) -> LocationState:
    at = tuple(sorted(voters))
    return LocationState(number, factor, size, load, voters[0], at, active_voters=at)


def ring_of(
    nodes: Sequence[NodeState],
    factor: int,
    sizes: Sequence[int] = (GIB,) * 32,
    loads: Sequence[float] | None = None,
    extra: Sequence[NodeState] = (),
) -> Layout:
    """A ring on some nodes, placed as a new database's is; then other nodes come."""
    members = [Member(each.node, bytes(16), (), each.zone, 0) for each in nodes]
    locations = [
        location_of(number, factor, first_nodes(number, members, factor), size, loads[number - 1] if loads else 0.0)
        for number, size in enumerate(sizes, 1)
    ]
    return Layout((*nodes, *extra), tuple(locations))


def uneven(seed: int, count: int, low: int = GIB // 4, high: int = 4 * GIB) -> list[int]:
    chance = random.Random(seed)
    return [chance.randint(low, high) for _ in range(count)]


def held(layout: Layout) -> dict[int, int]:
    """Bytes of voters by node."""
    found = {each.node: 0 for each in layout.nodes}
    for location in layout.locations:
        for node in location.voters:
            found[node] += location.size_bytes
    return found


def counts(layout: Layout) -> dict[int, int]:
    return held(Layout(layout.nodes, tuple(replace(each, size_bytes=1) for each in layout.locations)))


def led(layout: Layout) -> dict[int, int]:
    return {each.node: sum(at.leader == each.node for at in layout.locations) for each in layout.nodes}


@dataclass
class Cluster:
    """What the nodes of a cluster do when steps are taken, with a check of each: who has data of what, whole or not.

    ``down`` nodes do nothing and keep their data.
    """

    layout: Layout
    down: frozenset[int] = frozenset()
    data: dict[int, set[int]] = field(default_factory=dict)
    sent_bytes: int = 0
    taken: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.at = {each.location: each for each in self.layout.locations}
        if not self.data:
            self.data = {each.location: {*each.voters, *each.caught_up} for each in self.layout.locations}

    def now(self) -> Layout:
        return Layout(self.layout.nodes, tuple(self.at[each.location] for each in self.layout.locations))

    def take(self, step: Step) -> None:
        """Carry out a step, and fail if it is not safe."""
        before = self.at[step.location]
        assert before.epoch == before.active_epoch, "the epoch before has begun"
        data = self.data[step.location]
        whole = {node for node in before.voters if node in data} - self.down
        after = taken(before, step)
        if step.kind in EPOCHS:
            assert step.epoch == before.epoch + 1
            assert step.leader in step.voters
            assert step.leader not in self.down
            assert set(step.voters) <= data, "who votes has the data"
            assert 2 * len(set(before.voters) - self.down) > len(before.voters), "a majority can promise"
            assert 2 * len(set(step.voters) - self.down) > len(step.voters), "a majority can begin"
        still = {node for node in after.voters if node in data} - self.down
        assert len(still) >= min(before.factor, len(whole)), "a location is never under-replicated by a step"
        assert len(after.voters) >= min(before.factor, len(before.voters))
        assert len({*before.voters} ^ {*after.voters}) <= 2, "one voter at a time"
        if step.kind is Kind.ADD:
            assert step.node not in self.down
            self.sent_bytes += before.size_bytes
        if step.kind is Kind.DROP:
            assert step.node not in before.voters
            assert step.node not in before.learners
            data.discard(step.node)
        self.at[step.location] = after
        self.taken.append(step)

    def activate(self, locations: Iterable[int]) -> None:
        for each in locations:
            self.at[each] = activated(self.at[each])

    def catch_up(self, location: int) -> None:
        at = self.at[location]
        arrived = {node for node in moving(at) if node not in self.down}
        self.data[location] |= arrived
        self.at[location] = replace(at, caught_up=at.caught_up | arrived)

    def inactive(self) -> list[int]:
        return [each.location for each in self.at.values() if each.epoch != each.active_epoch]

    def in_transfer(self) -> list[int]:
        return [each.location for each in self.at.values() if set(moving(each)) - self.down]


def drawn(chance: random.Random) -> Layout:
    """Any cluster: zones and machines, some nodes larger, draining or silent, locations that lie anyhow."""
    zones, machines = chance.randint(1, 4), chance.choice((0, 0, 3, 6))
    nodes = tuple(
        NodeState(
            n,
            f"z{chance.randrange(zones)}",
            f"m{chance.randrange(machines)}" if machines else "",
            chance.choice((0, 100 * GIB, 200 * GIB)),
            chance.random() < 0.1,
            chance.choice((0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 10.0, 1000.0)),
        )
        for n in range(1, chance.randint(1, 9) + 1)
    )
    has_load = chance.random() < 0.6
    locations = []
    for number in range(1, chance.choice((0, 1, 5, 12, 24)) + 1):
        factor = chance.choice((1, 2, 3, 3, 3, 5))
        voters = chance.sample([each.node for each in nodes], min(len(nodes), chance.choice((factor, factor, 1, 4))))
        size = chance.choice((0, chance.randint(0, GIB), chance.randint(0, 4 * GIB)))
        at = location_of(number, factor, voters, size, chance.uniform(0, 1000) if has_load else 0.0)
        others = [each.node for each in nodes if each.node not in voters]
        if others and chance.random() < 0.1:
            learner = chance.choice(others)
            at = replace(at, learners=(learner,), caught_up=frozenset(chance.choice(((), (learner,)))))
        locations.append(at)
    return Layout(nodes, tuple(locations))
