"""A real listener with real sessions on a real node, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.session.raw import RawClient
from tsdb.clock import SystemClock
from tsdb.cluster.node import Node
from tsdb.session import SessionFactory, Sessions
from tsdb.sql.query import Queries
from tsdb.storage.options import Options
from tsdb.wire import Listener


class CountedPool(ThreadPoolExecutor):
    """Counts what it is given."""

    submitted = 0

    def submit(self, *args: Any, **named: Any) -> Future[Any]:
        self.submitted += 1
        return super().submit(*args, **named)


@dataclass
class Server:
    """``connect`` gives a psycopg connection, ``raw`` a client that speaks single messages."""

    node: Node
    listener: Listener
    sessions: Sessions
    pool: CountedPool
    port: int = 0

    def dsn(self, database: str = "tsdb") -> str:
        return f"host=127.0.0.1 port={self.port} user=tester dbname={database} sslmode=disable connect_timeout=10"

    def connect(self, *, autocommit: bool = True, database: str = "tsdb") -> psycopg.Connection:
        return psycopg.connect(self.dsn(database), autocommit=autocommit)

    def raw(self, database: str = "tsdb", **parameters: str) -> RawClient:
        return RawClient("127.0.0.1", self.port, database, parameters)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path: Path = tmp_path_factory.mktemp("node")
    # Some tests count blocks, and those of the server's first second would be compacted at once.
    node = Node.open(path, Options(compaction=False))
    queries = Queries(memory_limit_bytes=1 << 29, threads=2, spill_directory=path / "spill")
    pool = CountedPool(4, "session")
    sessions = Sessions()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop", daemon=True)
    thread.start()
    listener = Listener(SessionFactory(node, queries, pool, SystemClock(), sessions))
    asyncio.run_coroutine_threadsafe(listener.start(), loop).result(10)
    yield Server(node, listener, sessions, pool, listener.port)
    asyncio.run_coroutine_threadsafe(listener.close(0.2), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
    pool.shutdown()
    queries.close()
    node.close()


@pytest.fixture
def connection(server: Server) -> Iterator[psycopg.Connection]:
    with server.connect() as connected:
        yield connected


@pytest.fixture
def raw(server: Server) -> Iterator[RawClient]:
    with server.raw() as client:
        yield client
