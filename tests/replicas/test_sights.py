"""What is known of the last look at replicas is what a new look finds, whatever has happened to them since."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import msgspec
import pytest

from tests.replicas.hosts import NODES, World
from tsdb.cluster.metadata.records import REPLICA_BITS
from tsdb.cluster.replicas.rounds import Agreed, Rounds
from tsdb.cluster.replicas.sights import Sight, Sights, _Shown

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


LEADS = {1: (3, 5), 2: (0, 0)}
APPLIED = {1: (3, 7), 2: (2, 9)}


@pytest.mark.parametrize(
    ("led", "followed", "is_enough"),
    [
        ({1: 3}, {}, True),
        # It leads another epoch, and none.
        ({1: 4}, {}, False),
        ({1: 2}, {}, False),
        ({2: 2}, {}, False),
        ({}, {2: (2, 9)}, True),
        ({}, {2: (2, 8)}, True),
        # Of its leader's epoch nothing is visible, or not all that is committed.
        ({}, {2: (3, 9)}, False),
        ({}, {2: (2, 10)}, False),
        # It has just gone.
        ({}, {4: (1, 1)}, False),
        ({1: 3}, {2: (2, 9)}, True),
        ({1: 3}, {2: (2, 10)}, False),
        ({1: 4}, {2: (2, 9)}, False),
    ],
)
def test_what_is_shown_is_enough_where_it_has_all_that_a_round_was_about(
    led: dict[int, int], followed: dict[int, tuple[int, int]], *, is_enough: bool
) -> None:
    view: Any = Engine()
    assert Sight(view, _Shown(0, LEADS, APPLIED), lambda _: None).is_enough(Agreed(led, followed)) is is_enough


def test_who_leads_an_epoch_of_which_nothing_is_visible_has_not_all() -> None:
    view: Any = Engine()
    for applied, is_enough in (({1: (3, 5)}, True), ({1: (2, 9)}, False), ({}, False)):
        assert Sight(view, _Shown(0, LEADS, applied), lambda _: None).is_enough(Agreed({1: 3}, {})) is is_enough


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
                new = Rounds(node, world[node].host, loop, lambda *_: True)
                assert question == new._question_of(locations)
                places = msgspec.msgpack.encode([(each, node << REPLICA_BITS | 1, 1) for each in locations])
                assert asking[node]._asked_for(1, places) == new._asked_for(1, places)
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
