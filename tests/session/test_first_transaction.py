"""A node's very first transactions: nothing was ever written, so what was looked at has the counter 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import UniqueViolation

from tsdb.config import load
from tsdb.server import EmbeddedServer

Connect = Callable[[], psycopg.Connection]


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    """Sessions of a server that is new."""
    with EmbeddedServer(load({"data": tmp_path / "data", "pg_port": 0, "http_port": 0})) as server:
        yield lambda: psycopg.connect(f"host=127.0.0.1 port={server.pg_port} user=tsdb dbname=tsdb", autocommit=True)


def test_a_row_is_inserted_and_updated_in_the_first_transaction(connect: Connect) -> None:
    with connect() as session:
        session.execute("CREATE TABLE items (id int PRIMARY KEY, name text, code int UNIQUE)")
        with session.transaction():
            session.execute("INSERT INTO items VALUES (1, 'a', 10), (2, 'b', 20)")
            session.execute("UPDATE items SET name = 'z' WHERE id = 1")
            session.execute("DELETE FROM items WHERE id = 2")
            session.execute("INSERT INTO items VALUES (2, 'c', 20)")
        assert session.execute("SELECT * FROM items ORDER BY id").fetchall() == [(1, "z", 10), (2, "c", 20)]


def test_the_second_of_two_first_transactions_with_one_key_is_refused(connect: Connect) -> None:
    with connect() as one, connect() as other:
        one.execute("CREATE TABLE items (id int PRIMARY KEY, name text)")
        for session, name in ((one, "one"), (other, "other")):
            session.execute("BEGIN")
            session.execute("INSERT INTO items VALUES (1, %s)", [name])
        one.execute("COMMIT")
        with pytest.raises(UniqueViolation):
            other.execute("COMMIT")
        assert one.execute("SELECT * FROM items").fetchall() == [(1, "one")]
