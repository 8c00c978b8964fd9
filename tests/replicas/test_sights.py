"""What is known of the last look at replicas is what a new look finds, whatever has happened to them since."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from tests.replicas.hosts import NODES, World
from tsdb.cluster.metadata.records import REPLICA_BITS
from tsdb.cluster.replicas.rounds import Rounds
from tsdb.cluster.replicas.sights import Sight, Sights

ASKED = ((1,), (1, 2, 3), (2, 4))
WHOLE = (1, 2, 3, 4)


class Engine:
    """Of which views are open."""

    def __init__(self) -> None:
        self.open = 0

    def view(self) -> Engine:
        self.open += 1
        return self

    def close(self) -> None:
        self.open -= 1


def sights_of(world: World, node: int) -> Sights:
    engine: Any = Engine()
    return Sights(engine, world[node].host)


def seen(sight: Sight | None) -> object:
    return None if sight is None else (sight.applied, sight._shown.leads)


class Walk:
    """Writes, leaders that come and go, packets that are lost, replicas that leave and others that come."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.world = World()
        self.world.run()
        self.numbers = 1

    def step(self) -> None:
        world, chance = self.world, self.chance
        without = {chance.choice(NODES)} if chance.random() < 0.3 else set()
        match chance.randrange(6):
            case 0 | 1:
                record = world.records[location := chance.choice(WHOLE)][0]
                world[record.leader].write(location, b"w")
                world[record.leader].turn()
            case 2:
                world.assign(chance.choice(NODES))
                world.tell(*chance.sample(NODES, chance.randint(1, 3)))
            case 3:
                self._move(chance.choice(WHOLE))
            case 4:
                world.run(without=without)
            case _:
                world.tick(chance.randint(1, 4), without=without)

    def _move(self, location: int) -> None:
        """Of three replicas one goes, and two are left; or another one comes where none is."""
        record = self.world.records[location][0]
        there = dict(record.replicas)
        if len(there) == len(NODES):
            node = self.chance.choice([node for node in NODES if node != record.leader])
            del there[node]
        else:
            (node,) = {*NODES} - {*there}
            self.numbers += 1
            there[node] = node << REPLICA_BITS | self.numbers
        self.world.change(location, voters=tuple(sorted(there)), replicas=tuple(sorted(there.items())))
        self.world.tell()


@pytest.mark.parametrize("seed", range(20))
def test_is_what_a_new_look_finds(seed: int) -> None:
    walk = Walk(seed)
    world = walk.world
    known = {node: sights_of(world, node) for node in NODES}
    loop = asyncio.new_event_loop()
    asking = {node: Rounds(node, world[node].host, loop, lambda *_: True) for node in NODES}
    changes = [0, 0]
    last: dict[tuple[int, tuple[int, ...]], tuple[object, object]] = {}
    for _ in range(150):
        walk.step()
        for node in NODES:
            for locations in ASKED:
                found = seen(known[node].see(locations, WHOLE))
                assert found == seen(sights_of(world, node).see(locations, WHOLE))
                question = asking[node]._question_of(locations)
                new = Rounds(node, world[node].host, loop, lambda *_: True)._question_of(locations)
                assert question == new
                before = last.get((node, locations), (found, question))
                changes = [
                    count + (one != other) for count, one, other in zip(changes, before, (found, question), strict=True)
                ]
                last[node, locations] = found, question
    loop.close()
    # It is no walk on the spot.
    assert min(changes) > 30


def test_is_not_seen_while_something_becomes_visible_or_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.run()
    host = world[1].host
    sights = sights_of(world, 1)
    engine: Any = sights._engine
    assert sights.see((1,), WHOLE) is not None
    assert engine.open == 1
    host.version += 1
    assert sights.see((1,), WHOLE) is None
    host.version += 1
    assert sights.see((1,), WHOLE) is not None
    assert engine.open == 2

    def goes(engine: Engine) -> Engine:
        host._forget(2, goes_on=False)
        engine.open += 1
        return engine

    # While a view is opened a replica goes, whose points may not be there any more.
    monkeypatch.setattr(Engine, "view", goes)
    assert sights.see((1, 2), WHOLE) is None
    assert engine.open == 2
    assert sights.see((1, 2), WHOLE) is None
