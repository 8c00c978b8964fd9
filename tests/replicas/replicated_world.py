"""Three nodes in one process that all have a database, and SQL at each of them: each statement goes to any."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

import psycopg

from tests.fixtures.waiting import until
from tests.group.together import Together
from tests.queries.world import SCHEMA, World
from tests.routing.spread import SqlPorts
from tsdb.cluster.group.control import Done, Replicate
from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.node import Node
from tsdb.model.schema import CreateDatabase

PLACES = (1, 2, 3)


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

    def _open(self) -> None:
        if not hasattr(self, "_together"):
            self.directory.mkdir(parents=True)
            self._together = Together(self.directory, self.options)
            self._ports = SqlPorts(self.directory)
            begun(self._together)
            self._together.nodes[1].change(CreateDatabase(self.name))
        else:
            with ThreadPoolExecutor(len(PLACES)) as pool:
                list(pool.map(self._together.start, PLACES))
        self._at = Random(self.random.random())
        self._connect()
        if not self.steps:
            self._connections[1].execute(SCHEMA.encode())
            self._wait(lambda node: "events" in node.catalog.find(self.name).series)

    def _connect(self) -> None:
        """To every node, when all of them know the same leader."""
        self._wait(lambda node: self.name in node.catalog.databases and bool(leader_of(node, self.name)))
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
        """The leader goes, another one leads, and it comes back."""
        self._disconnect()
        leader = leader_of(next(iter(self._together.nodes.values())), self.name)
        self._together.stop(leader)
        self._wait(lambda node: leader_of(node, self.name) not in (0, leader))
        self._together.start(leader)
        self._connect()

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
