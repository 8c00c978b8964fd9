"""Hosts through random crashes, losses, flushes and epochs: what was acknowledged by a majority is everywhere, once, in
one order; what by fewer is, or every node says that it was taken back."""

from __future__ import annotations

import random

import pytest

from tests.replicas.hosts import NODES, World
from tsdb.cluster.replicas.packets import unpack
from tsdb.cluster.replication.clients import ALL, QUORUM, Answer, Fate, Written

STEPS = 120


class Run:
    """One seed is one run. A crash comes between two turns: inside of one nothing but the disk's batch counts."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = World(self.chance.randint(1, 3), kept_bytes=1 << 30)
        self.told: dict[bytes, list[Answer]] = {}
        self.acks: dict[bytes, int] = {}
        self.reverted = 0
        self.loss = self.chance.choice([0.0, 0.1, 0.4])
        self.number = 0
        self.cut = 0

    def step(self) -> None:
        world, chance = self.world, self.chance
        if chance.random() < 0.05:
            self.cut = 0
        match chance.choices(
            ["deliver", "tick", "write", "crash", "assign", "cut", "flush", "tell", "ask"],
            [12, 6, 6, 1, 0.5, 0.5, 1, 2, 2],
        )[0]:
            case "deliver":
                chance.shuffle(world.network)
                for _ in range(min(len(world.network), 6)):
                    self._deliver(*world.network.pop())
            case "tick":
                world[chance.choice(NODES)].tick()
            case "write":
                self._write()
            case "crash":
                world[chance.choice(NODES)].crash()
            case "assign":
                world.assign(chance.choice(NODES))
            case "cut":
                self._cut()
            case "flush":
                node = world[chance.choice(NODES)]
                node.flush(*node.freeze())
            case "tell":
                world.tell(chance.choice(NODES))
            case "ask":
                requests, world.requests = world.requests, []
                for request in requests:
                    if chance.random() >= self.loss:
                        world._asked(request, without=[n for n in NODES if chance.random() < 0.5])

    def _cut(self) -> None:
        """A leader whom nobody hears any more takes writes for a while, and others go on without it."""
        record = self.chance.choice([*self.world.records.values()])[0]
        self.cut = record.leader
        for _ in range(self.chance.randint(1, 3)):
            self._write()
        self.world[self.cut].turn()
        others = [node for node in NODES if node != self.cut]
        self.world.assign(self.chance.choice(others))
        self.world.tell(*others)

    def _deliver(self, sender: int, to: int, packet: bytes) -> None:
        if self.chance.random() < self.loss or self.cut in (sender, to):
            return
        if self.chance.random() < 0.1:
            self.world.network.insert(0, (sender, to, packet))
        process = self.world[to]
        process.host.step(unpack(packet, sender, to))
        process.turn()

    def _write(self) -> None:
        location = self.chance.choice([*self.world.records])
        record = self.world.records[location][0]
        # Most often where it is led.
        node = record.leader if self.chance.random() < 0.8 else self.chance.choice(NODES)
        self.number += 1
        body = b"%d at %d" % (self.number, location)
        self.acks[body] = acks = self.chance.choice([QUORUM, QUORUM, ALL, 0, 1, 2])
        self.told[body] = self.world[node].write(location, body, patience=self.chance.randint(0, 5), acks=acks)
        if self.chance.random() < 0.7:
            self.world[node].turn()

    def heal(self) -> None:
        """Everybody is there and hears everything, until all have the same."""
        world = self.world
        for _ in range(60):
            world.tell()
            world.tick()
        ends = [[*world[node].host.log_ends().values()] for node in NODES]
        assert ends[0] == ends[1] == ends[2]
        assert all(applied == last for _, last, _, applied in ends[0])

    def check(self) -> None:
        written = {body: told[0] for body, told in self.told.items() if told and isinstance(told[0], Written)}
        safe = [body for body, answer in written.items() if self.acks[body] not in (0, 1)]
        assert all(len(told) <= 1 for told in self.told.values())
        for location in self.world.records:
            rows = self.world.visible(location)
            assert rows[0] == rows[1] == rows[2]
            assert len(rows[0]) == len(set(rows[0]))
            mine = {body: answer for body, answer in written.items() if body.endswith(b"at %d" % location)}
            assert {*mine} & {*safe} <= {*rows[0]}
            for body, answer in mine.items():
                fates = {self.world[node].host.confirm(location, answer.epoch, answer.sequence) for node in NODES}
                assert fates == {Fate.COMMITTED if body in rows[0] else Fate.REVERTED}
                self.reverted += body not in rows[0]


def run(seed: int) -> Run:
    run = Run(seed)
    for _ in range(STEPS):
        run.step()
    run.heal()
    run.check()
    return run


@pytest.mark.parametrize("seed", range(40))
def test_what_was_acknowledged_is_everywhere_once(seed: int) -> None:
    run(seed)


def test_the_runs_acknowledge_much_and_lose_some() -> None:
    """Or they would show nothing."""
    runs = [run(seed) for seed in range(8)]
    told = [told for each in runs for told in each.told.values()]
    written = sum(bool(each) and isinstance(each[0], Written) for each in told)
    assert len(told) > written > len(told) / 10
    assert sum(each.reverted for each in runs) > 0


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(0, 4_000, 400))
def test_many_runs(first: int) -> None:
    for seed in range(first, first + 400):
        run(seed)
