"""Three nodes in one process, each of which leads a third of a database's locations, and SQL at each of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import psycopg

from tests.fixtures.waiting import until
from tests.group.together import OPTIONS, Together
from tests.queries.world import SCHEMA, World
from tsdb.clock import SystemClock
from tsdb.cluster.metadata.commands import Activate, Assign, Assignment
from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.node import Node
from tsdb.session import SessionFactory, Sessions
from tsdb.sql.query import Queries
from tsdb.storage.options import Options
from tsdb.wire import Listener


def spread(together: Together, name: str = "tsdb") -> None:
    """Give each node a share of a database that has no points yet."""
    node = together.nodes[1]
    places = sorted(together.nodes)
    records = {each.location: each for each in node.metadata.all(LocationRecord)}
    wanted = [
        Assignment(each.number, records[each.number].epoch + 1, leader, (leader,))
        for at, each in enumerate(node.catalog.find(name).locations)
        if (leader := together.nodes[places[at % len(places)]].engine.node) != records[each.number].leader
    ]
    node.agreement.propose(Assign(tuple(wanted)))
    node.agreement.propose(Activate(tuple((each.location, each.epoch) for each in wanted)))
    for other in together.nodes.values():
        until(lambda: not other.leads_all(other.catalog.find(name)))  # noqa: B023


class SqlPorts:
    """A listener for each node, on one event loop."""

    def __init__(self, directory: Path) -> None:
        self.queries = Queries(memory_limit_bytes=1 << 28, threads=2, spill_directory=directory / "spill")
        self._pool = ThreadPoolExecutor(8, "session")
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="loop", daemon=True)
        self._thread.start()
        self._open: dict[Node, Listener] = {}

    def connect(self, node: Node, database: str = "tsdb") -> psycopg.Connection:
        listener = self._open.get(node)
        if listener is None:
            made = SessionFactory(node, self.queries, self._pool, SystemClock(), Sessions())
            listener = self._open[node] = Listener(made)
            asyncio.run_coroutine_threadsafe(listener.start(), self.loop).result(10)
        where = f"host=127.0.0.1 port={listener.port} user=tester dbname={database} sslmode=disable"
        return psycopg.connect(where, autocommit=True)

    def shut(self) -> None:
        for listener in self._open.values():
            asyncio.run_coroutine_threadsafe(listener.close(0.2), self.loop).result(10)
        self._open.clear()

    def close(self) -> None:
        self.shut()
        asyncio.run_coroutine_threadsafe(_cancel_the_rest(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        self._pool.shutdown()
        self.queries.close()


async def _cancel_the_rest() -> None:
    """As ``asyncio.run`` does: nodes that go on have lines to each other, of this loop."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@contextlib.contextmanager
def three(folder: Path, options: Options = OPTIONS) -> Iterator[tuple[Together, SqlPorts]]:
    """Three nodes, the database ``tsdb`` spread over them."""
    together = Together(folder, options)
    ports = SqlPorts(folder)
    try:
        together.found()
        for place in (1, 2, 3):
            together.start(place, join=1 if place > 1 else None)
        # While the third has no vote, two can do without nobody.
        until(lambda: together.roles(1) == {1: "voter", 2: "voter", 3: "voter"})
        spread(together)
        yield together, ports
    finally:
        ports.close()
        together.end()


class SpreadWorld(World):
    """The same as on one node, and each statement goes to any of three."""

    def _open(self) -> None:
        if not hasattr(self, "_together"):
            self.directory.mkdir(parents=True)
            self._together = Together(self.directory, self.options)
            self._ports = SqlPorts(self.directory)
            self._together.found()
            for place in (1, 2, 3):
                self._together.start(place, join=1 if place > 1 else None)
            spread(self._together)
        else:
            with ThreadPoolExecutor(3) as pool:
                list(pool.map(self._together.start, (1, 2, 3)))
        self._connections = [self._ports.connect(self._together.nodes[place]) for place in (1, 2, 3)]
        self._at = Random(self.random.random())
        if not self.steps:
            self._connections[0].execute(SCHEMA.encode())
            for place in (2, 3):
                until(lambda: "events" in self._together.nodes[place].catalog.find("tsdb").series)  # noqa: B023

    @property
    def connection(self) -> psycopg.Connection:
        """Of any node."""
        return self._at.choice(self._connections)

    @connection.setter
    def connection(self, _: psycopg.Connection) -> None:
        """There are three."""

    def _close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._ports.shut()
        for place in (1, 2, 3):
            self._together.stop(place)

    def close(self) -> None:
        super().close()
        self._ports.close()
