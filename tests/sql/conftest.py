"""What the tests of SQL share: one DuckDB instance for all of them; a session here and one on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.fixtures.postgres import Connection
from tsdb.config import load
from tsdb.server import EmbeddedServer
from tsdb.sql.query import Queries


@pytest.fixture(scope="session")
def queries() -> Iterator[Queries]:
    made = Queries(memory_limit_bytes=1 << 30, threads=2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[psycopg.Connection]:
    """A session of a server of its own."""
    settings = load({"data": tmp_path_factory.mktemp("ours") / "data", "pg_port": 0, "http_port": 0})
    with EmbeddedServer(settings) as server:
        dsn = f"host=127.0.0.1 port={server.pg_port} user=tsdb dbname=tsdb"
        with psycopg.connect(dsn, autocommit=True) as connection:
            yield connection


@pytest.fixture(scope="module")
def theirs(postgres: Connection) -> Iterator[Connection]:
    """A session of PostgreSQL in a database of its own."""
    postgres.execute("CREATE DATABASE theirs")
    connection: Connection
    with psycopg.connect(postgres.info.dsn, dbname="theirs", autocommit=True) as connection:
        yield connection
    postgres.execute("DROP DATABASE theirs")
