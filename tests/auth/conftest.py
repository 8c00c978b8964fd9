"""A server that asks everybody for a password, with a superuser ``tsdb`` that has one; and one that asks nobody."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import psycopg
import pytest

from tests.fixtures.postgres import cluster, programs
from tsdb.config import load
from tsdb.server import EmbeddedServer
from tsdb.server.server import Server

ADMIN_PASSWORD = "correct horse"


@dataclass
class Running:
    server: Server
    password: str | None = ADMIN_PASSWORD

    def connect(self, user: str = "tsdb", password: str | None = ADMIN_PASSWORD, **more: object) -> psycopg.Connection:
        named: dict[str, object] = {
            "host": "127.0.0.1", "port": self.server.pg_port, "user": user, "dbname": "tsdb", "connect_timeout": 30,
            **more,
        }  # fmt: skip
        if password is not None:
            named["password"] = password
        return psycopg.connect(**named, autocommit=True)  # type: ignore[arg-type]

    def run(self, *statements: str) -> None:
        """As the superuser."""
        with self.connect(password=self.password) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@contextmanager
def running(data: Path, password: str | None = ADMIN_PASSWORD, **settings: object) -> Iterator[Running]:
    variables = {} if password is None else {"TSDB_ADMIN_PASSWORD": password}
    with patch.dict(os.environ, variables):
        made = load({"data": data, "pg_port": 0, "http_port": 0, **settings})
        with EmbeddedServer(made) as server:
            yield Running(server, password)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("guarded") / "data", loopback_password="true") as server:
        yield server


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("open") / "data", None) as server:
        yield server


Denied = Callable[[psycopg.Connection, str], str]


@pytest.fixture
def denied() -> Denied:
    """The message with which a statement is refused for want of a privilege."""

    def run(connection: psycopg.Connection, statement: str) -> str:
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
            connection.execute(statement.encode())
        return str(caught.value.diag.message_primary)

    return run


@pytest.fixture(scope="module")
def postgres_roles() -> Iterator[psycopg.Connection | None]:
    """A real PostgreSQL with the roles and tables of ``filled``; None where there is none."""
    binaries = programs()
    if binaries is None:
        yield None
        return
    with cluster(binaries) as address, psycopg.connect(address, autocommit=True) as connection:
        for statement in (
            "CREATE ROLE readers", "CREATE USER owner", "CREATE USER reader IN ROLE readers",
            "CREATE TABLE cpu (time timestamptz, host text, usage float8)", "CREATE DATABASE tsdb",
        ):  # fmt: skip
            connection.execute(statement.encode())
        yield connection
