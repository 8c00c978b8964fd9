"""The world changes while steps are taken: nodes fall silent and come back, drain, are lost and join, loads shift."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.placement.layouts import GIB, Cluster, nodes_of, ring_of, uneven
from tsdb.cluster.placement.layout import Layout, NodeState
from tsdb.cluster.placement.limits import Bounds, Limits
from tsdb.cluster.placement.schedule import next_steps, up_of
from tsdb.cluster.placement.solver import solve

BOUNDS = Bounds()
LIMITS = Limits(transfers_a_node_max=2)
SILENCES = {"up": 0.0, "down": 60.0, "lost": 1e6}


class World:
    """A cluster whose nodes come and go. What watches over failures is here, too: a leader that is down gives way to a
    voter that is up, if a majority is."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        nodes = nodes_of(self.chance.randint(3, 6), zones=self.chance.choice((1, 3)))
        factor = self.chance.choice((2, 3, 3))
        layout = ring_of(nodes, factor, uneven(seed, 12), [self.chance.uniform(1, 100) for _ in range(12)])
        self.cluster = Cluster(layout)
        self.changes = 0

    @property
    def nodes(self) -> tuple[NodeState, ...]:
        return self.cluster.layout.nodes

    def _set(self, nodes: list[NodeState]) -> None:
        self.cluster.layout = Layout(tuple(nodes), self.cluster.layout.locations)
        self.cluster.down = frozenset(each.node for each in nodes) - up_of(nodes, BOUNDS)
        self.changes += 1

    def happen(self) -> None:
        """Something; never so much that more than one node is silent."""
        nodes = list(self.nodes)
        at = self.chance.randrange(len(nodes))
        silent = [i for i, each in enumerate(nodes) if each.silence_s]
        kind = self.chance.randrange(6)
        if kind == 0 and not silent:
            nodes[at] = replace(nodes[at], silence_s=SILENCES["down"])
        elif kind == 1 and silent:
            nodes[silent[0]] = replace(nodes[silent[0]], silence_s=SILENCES[self.chance.choice(("up", "lost", "up"))])
        elif kind == 2 and len(nodes) > 3:
            nodes[at] = replace(nodes[at], draining=not nodes[at].draining)
        elif kind == 3 and len(nodes) < 9:
            nodes.append(NodeState(len(nodes) + 1, f"z{self.chance.randrange(3)}"))
        elif kind == 4:
            for number, location in self.cluster.at.items():
                load = location.load * self.chance.choice((0.3, 1, 3))
                self.cluster.at[number] = replace(location, load=load, size_bytes=self.chance.randint(1, 2 * GIB))
        else:
            return
        self._set(nodes)

    def elect(self) -> None:
        up = up_of(self.nodes, BOUNDS)
        for number, at in self.cluster.at.items():
            able = [node for node in at.voters if node in up]
            if at.leader not in up and 2 * len(able) > len(at.voters):
                self.cluster.at[number] = replace(at, leader=able[0], epoch=at.epoch + 1)

    def decide(self) -> int:
        """Decide anew and take some of the steps; how many there were."""
        now = self.cluster.now()
        steps = next_steps(now, solve(now, BOUNDS), BOUNDS, LIMITS)
        self.chance.shuffle(steps)
        for step in steps[: self.chance.randint(1, 12)]:
            self.cluster.take(step)
        return len(steps)

    def arrive(self, odds: float) -> None:
        up = up_of(self.nodes, BOUNDS)
        for number in self.cluster.inactive():
            voters = self.cluster.at[number].voters
            if self.chance.random() < odds and 2 * sum(node in up for node in voters) > len(voters):
                self.cluster.activate([number])
        for number in self.cluster.in_transfer():
            if self.chance.random() < odds:
                self.cluster.catch_up(number)


@pytest.mark.parametrize("seed", range(30))
def test_no_step_is_unsafe_whatever_happens_and_in_the_end_all_is_well(seed: int) -> None:
    """``Cluster.take`` checks each step. A node that is lost comes back in the end, as one that may hold data again."""
    world = World(seed)
    for _ in range(60):
        if world.chance.random() < 0.3:
            world.happen()
        world.elect()
        world.decide()
        world.arrive(0.5)
    world._set([replace(each, silence_s=0.0, draining=False) for each in world.nodes])
    for _ in range(400):
        world.elect()
        if not world.decide() and not world.cluster.inactive() and not world.cluster.in_transfer():
            break
        world.arrive(1.0)
    else:
        raise AssertionError("it never ends")
    for at in world.cluster.now().locations:
        assert len(at.voters) == at.factor
        assert not at.learners
        assert world.cluster.data[at.location] == set(at.voters)
    assert world.changes > 1
