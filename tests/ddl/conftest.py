"""DDL is tested through the whole (``tests.session.conftest``), each test in a database of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.session.conftest import Server, server

__all__ = ["server"]

_numbers = itertools.count(1)
Run = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def database(server: Server) -> str:
    name = f"ddl{next(_numbers)}"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return name


@pytest.fixture
def connection(server: Server, database: str) -> Iterator[psycopg.Connection]:
    with server.connect(database=database) as connected:
        yield connected


@pytest.fixture
def run(connection: psycopg.Connection) -> Run:
    """Execute statements, the last one's rows."""

    def execute(*statements: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for statement in statements:
            cursor = connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description is not None else []
        return rows

    return execute


@pytest.fixture
def refused(connection: psycopg.Connection) -> Callable[[str], str]:
    """The SQLSTATE of a statement that fails."""

    def execute(statement: str) -> str:
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(statement.encode())
        return caught.value.sqlstate or ""

    return execute
