"""A server in this process with a few tables, for the tests of the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.fixtures.postgres import Connection
from tsdb.config import load
from tsdb.server import EmbeddedServer

SCHEMA = (
    "CREATE TABLE metrics (time timestamptz NOT NULL, host text NOT NULL, region varchar(20), cpu float8, mem real,"
    " n bigint DEFAULT 7, num numeric(12,3), tags jsonb, arr text[], PRIMARY KEY (time, host))",
    'CREATE TABLE "Odd name" (time timestamptz NOT NULL, "select" text, v float8)',
    "CREATE ROLE reader LOGIN",
    "GRANT SELECT ON metrics TO reader",
)


@contextmanager
def database_of(postgres: Connection, name: str) -> Iterator[Connection]:
    """A database of a real PostgreSQL's that no other tests see."""
    postgres.execute(f"CREATE DATABASE {name}".encode())
    with psycopg.connect(postgres.info.dsn, dbname=name, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = load({"data": tmp_path_factory.mktemp("catalog") / "data", "pg_port": 0, "http_port": 0})
    with EmbeddedServer(settings) as server:
        address = f"host=127.0.0.1 port={server.pg_port} user=tsdb dbname=tsdb"
        with psycopg.connect(address, autocommit=True) as connection:
            for statement in SCHEMA:
                connection.execute(statement.encode())
        yield address


@pytest.fixture
def ours(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection
