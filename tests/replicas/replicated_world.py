"""Nodes in one process that have a database, and SQL at each of them: each statement goes to any. Three that have all
of it, or four in its arcs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random

import psycopg

from tests.fixtures.waiting import until
from tests.group.together import Together
from tests.queries.world import KEYS, SCHEMA, SPAN, START, STEP, World
from tests.routing.spread import SqlPorts
from tsdb.cluster.group.control import Done, Replicate, Spread
from tsdb.cluster.metadata.commands import SetGoals
from tsdb.cluster.metadata.records import Goal, LocationRecord, goal_number
from tsdb.cluster.node import Node
from tsdb.model.schema import CreateDatabase, SetSlots, SettleSlots

PLACES = (1, 2, 3)
ARCS = 4


def begun(together: Together) -> None:
    """Three nodes that vote, and databases are on all of them from now on."""
    together.found()
    for place in PLACES:
        together.start(place, join=1 if place > 1 else None)
    until(lambda: together.roles(1) == dict.fromkeys(PLACES, "voter"))
    assert isinstance(together.ask(1, Replicate(3)), Done)


def leader_of(node: Node, name: str) -> int:
    """Who leads all of a database in an epoch that is active, as a node knows it; 0: nobody does."""
    number = node.catalog.find(name).number
    records = [each for each in node.metadata.all(LocationRecord) if each.database == number]
    leaders = {each.leader for each in records if each.active_epoch == each.epoch}
    return leaders.pop() if len(leaders) == 1 and len(records) > 0 else 0


class ReplicatedWorld(World):
    """The same as on one node, and who leads changes between the statements."""

    name = "shared"
    places: tuple[int, ...] = PLACES

    def _open(self) -> None:
        if not hasattr(self, "_together"):
            self.directory.mkdir(parents=True)
            self._together = Together(self.directory, self.options)
            self._ports = SqlPorts(self.directory)
            begun(self._together)
            self._together.nodes[1].change(CreateDatabase(self.name))
            self._begin()
        else:
            with ThreadPoolExecutor(len(self.places)) as pool:
                list(pool.map(self._together.start, self.places))
        self._at = Random(self.random.random())
        self._connect()
        if not self.steps:
            self._connections[1].execute(SCHEMA.encode())
            self._prepare(self._together.nodes[1])
            version = self._together.nodes[1].catalog.version
            self._wait(lambda node: node.catalog.version >= version)

    def _begin(self) -> None:
        """The database is there."""

    def _prepare(self, node: Node) -> None:
        """Its tables are there."""

    def _is_led(self, node: Node) -> bool:
        """Whether a node knows who leads all of it."""
        return bool(leader_of(node, self.name))

    def _connect(self) -> None:
        """To every node, when all of them know the same leader."""
        self._wait(lambda node: self.name in node.catalog.databases and self._is_led(node))
        nodes = self._together.nodes
        self._connections = {place: self._ports.connect(nodes[place], self.name) for place in nodes}
        # Of fewer than a majority nothing is visible at once.
        for connection in self._connections.values():
            connection.execute(f"SET tsdb.acks = '{self._at.choice(['default', 'all', '2', '3'])}'")

    def _wait(self, look: Callable[[Node], bool]) -> None:
        for node in self._together.nodes.values():
            until(lambda: look(node))  # noqa: B023

    @property
    def connection(self) -> psycopg.Connection:
        """Of any node."""
        return self._at.choice([*self._connections.values()])

    @connection.setter
    def connection(self, _: psycopg.Connection) -> None:
        """There are three."""

    def step(self) -> None:
        if self.random.random() < 0.15:
            self.steps.append("fail over")
            self.fail_over()
        else:
            super().step()

    def fail_over(self) -> None:
        """Who leads goes, another one leads, and it comes back."""
        self._disconnect()
        leader = self._leader()
        self._together.stop(leader)
        self._wait(lambda node: self._is_led_without(node, leader))
        self._together.start(leader)
        self._connect()

    def _leader(self) -> int:
        return leader_of(next(iter(self._together.nodes.values())), self.name)

    def _is_led_without(self, node: Node, leader: int) -> bool:
        return leader_of(node, self.name) not in (0, leader)

    def _disconnect(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._ports.shut()

    def _close(self) -> None:
        self._disconnect()
        for place in list(self._together.nodes):
            self._together.stop(place)

    def close(self) -> None:
        super().close()
        self._ports.close()


class SpreadWorld(ReplicatedWorld):
    """Four nodes and four arcs, each at three of them and led by another one, that move between the statements."""

    places = (1, 2, 3, 4)

    def _open(self) -> None:
        self.options = replace(self.options, compaction_quiet=0.0)
        super()._open()

    def _begin(self) -> None:
        self._together.start(4, join=1)
        self._wait(lambda node: self._together.roles(1).get(4) is not None and self.name in node.catalog.databases)
        node = self._together.nodes[1]
        assert isinstance(self._together.ask(2, Spread(self.name, ARCS)), Done)
        self._move(node, [tuple((arc + each) % 4 + 1 for each in range(3)) for arc in range(ARCS)])

    def _move(self, node: Node, nodes: Sequence[tuple[int, ...]]) -> None:
        number = node.catalog.find(self.name).number
        goals = tuple((goal_number(number, arc), each) for arc, each in enumerate(nodes))
        node.agreement.propose(SetGoals(goals))
        self._wait(lambda node: not [*node.metadata.all(Goal)])

    def _is_led(self, node: Node) -> bool:
        records = self._records(node)
        return bool(records) and all(each.active_epoch == each.epoch for each in records)

    def _records(self, node: Node) -> list[LocationRecord]:
        number = node.catalog.find(self.name).number
        return [each for each in node.metadata.all(LocationRecord) if each.database == number]

    def _leader(self) -> int:
        return self._at.choice(self.places)

    def _is_led_without(self, node: Node, leader: int) -> bool:
        return self._is_led(node) and all(each.leader != leader for each in self._records(node))

    def step(self) -> None:
        if self.random.random() < 0.1:
            self.steps.append("move arcs")
            self._move(self._together.nodes[1], [tuple(self._at.sample(self.places, 3)) for _ in range(ARCS)])
        else:
            super().step()


class SlottedWorld(SpreadWorld):
    """Slots of all tables begin in the middle of the time in which points are, and there are others from later on."""

    def _prepare(self, node: Node) -> None:
        for name in KEYS:
            for part, slots in enumerate((8, 32), 1):
                begin = int((START + SPAN * part // 3 * STEP).timestamp()) // 300
                node.change(SetSlots(self.name, name, slots, begin))
                node.change(SettleSlots(self.name, name, begin))
