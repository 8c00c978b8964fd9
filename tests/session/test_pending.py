"""A transaction reads what it has written: against a model, and in the corners that a model does not know."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import errors

from tests.session.conftest import Server

Row = tuple[int, str | None, int | None, int | None]


@dataclass
class Table:
    """Rows (second, host, a, b) as PostgreSQL with this product's merge would keep them."""

    keyed: bool
    rows: list[Row] = field(default_factory=list)

    def insert(self, row: Row) -> None:
        if self.keyed:
            for i, old in enumerate(self.rows):
                if old[:2] == row[:2]:
                    a, b = (new if new is not None else kept for new, kept in zip(row[2:], old[2:], strict=True))
                    self.rows[i] = (*old[:2], a, b)
                    return
        self.rows.append(row)

    def update(self, host: str, a: int | None) -> None:
        self.rows = [(r[0], r[1], a, r[3]) if r[1] == host else r for r in self.rows]

    def add(self, above: int) -> None:
        self.rows = [(r[0], r[1], r[2], (r[3] or 0) + 1) if (r[2] or 0) > above else r for r in self.rows]

    def delete_from(self, second: int, host: str | None) -> None:
        self.rows = [r for r in self.rows if not (r[0] >= second and (host is None or r[1] == host))]

    def delete_value(self, a: int) -> None:
        self.rows = [r for r in self.rows if r[2] != a]


SECONDS = st.integers(0, 4)
HOSTS = st.sampled_from(["x", "y"])
VALUES = st.one_of(st.none(), st.integers(0, 3))
ROWS = st.tuples(SECONDS, st.one_of(st.none(), HOSTS), VALUES, VALUES)
STEPS = st.one_of(
    st.tuples(st.just("insert"), st.lists(ROWS, min_size=1, max_size=4)),
    st.tuples(st.just("update"), HOSTS, VALUES),
    st.tuples(st.just("add"), st.integers(-1, 2)),
    st.tuples(st.just("delete_from"), SECONDS, st.one_of(st.none(), HOSTS)),
    st.tuples(st.just("delete_value"), st.integers(0, 3)),
    st.tuples(st.just("truncate")),
    st.tuples(st.just("savepoint")),
    st.tuples(st.just("rollback_to")),
)
AT = "'2026-01-01'::timestamptz + interval '1 second' * %s"


def do(connection: psycopg.Connection, name: str, model: Table, step: tuple[Any, ...]) -> None:
    """One step on both sides."""
    match step:
        case ("insert", rows):
            rows = [(r[0], r[1] or "x", *r[2:]) for r in rows] if model.keyed else rows  # a key is NOT NULL
            values = ", ".join(f"({AT % r[0]}, {_sql(r[1])}, {_sql(r[2])}, {_sql(r[3])})" for r in rows)
            connection.execute(f"INSERT INTO {name} (time, host, a, b) VALUES {values}")
            for row in rows:
                model.insert(row)
        case ("update", host, a):
            connection.execute(f"UPDATE {name} SET a = {_sql(a)} WHERE host = '{host}'")
            model.update(host, a)
        case ("add", above):
            connection.execute(f"UPDATE {name} SET b = coalesce(b, 0) + 1 WHERE coalesce(a, 0) > {above}")
            model.add(above)
        case ("delete_from", second, host):
            tag = "" if host is None else f" AND host = '{host}'"
            connection.execute(f"DELETE FROM {name} WHERE time >= {AT % second}{tag}")
            model.delete_from(second, host)
        case ("delete_value", a):
            connection.execute(f"DELETE FROM {name} WHERE a = {a}")
            model.delete_value(a)
        case _:
            connection.execute(f"TRUNCATE {name}")
            model.rows = []


def _sql(value: object | None) -> str:
    return "NULL" if value is None else f"'{value}'" if isinstance(value, str) else str(value)


def read(connection: psycopg.Connection, name: str, where: str = "true") -> list[Row]:
    text = f"SELECT extract(epoch FROM time)::int8 - 1767225600, host, a, b FROM {name} WHERE {where}"
    return sorted((tuple(row) for row in connection.execute(text)), key=repr)


@settings(max_examples=40, deadline=None)
@given(st.booleans(), st.lists(ROWS, max_size=5), st.lists(STEPS, max_size=12), st.booleans())
def test_a_transaction_reads_its_own_changes_and_commits_the_same(
    server: Server, keyed: bool, before: list[Row], steps: list[tuple[Any, ...]], commit: bool
) -> None:
    key = ", PRIMARY KEY (host, time)" if keyed else ""
    with server.connect() as connection, server.connect() as other:
        connection.execute("DROP TABLE IF EXISTS own")
        connection.execute(f"CREATE TABLE own (time timestamptz, host text TAG, a int8, b int8{key})")
        model = Table(keyed)
        for row in before:
            do(connection, "own", model, ("insert", [row]))
        committed = deepcopy(model)
        connection.execute("BEGIN")
        saved = deepcopy(model)
        connection.execute("SAVEPOINT s")
        for step in steps:
            if step[0] == "savepoint":
                connection.execute("SAVEPOINT s")
                saved = deepcopy(model)
            elif step[0] == "rollback_to":
                connection.execute("ROLLBACK TO s")
                model = deepcopy(saved)
            else:
                do(connection, "own", model, step)
            assert read(connection, "own") == sorted(model.rows, key=repr)
            assert read(connection, "own", "a > 1 AND host = 'x'") == sorted(
                (r for r in model.rows if r[1] == "x" and (r[2] or 0) > 1), key=repr
            )
            assert read(other, "own") == sorted(committed.rows, key=repr)
            counted = connection.execute("SELECT count(*) FROM own WHERE host = 'x'").fetchone()
            assert counted == (sum(r[1] == "x" for r in model.rows),)
        connection.execute("COMMIT" if commit else "ROLLBACK")
        expected = sorted((model if commit else committed).rows, key=repr)
        assert read(connection, "own") == read(other, "own") == expected


@pytest.fixture
def table(connection: psycopg.Connection) -> Iterator[str]:
    connection.execute("DROP TABLE IF EXISTS seen")
    connection.execute("CREATE TABLE seen (id int8 PRIMARY KEY, name text)")
    yield "seen"
    connection.execute("DROP TABLE IF EXISTS seen")


def test_pending_rows_have_no_sequence_yet(connection: psycopg.Connection, table: str) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO seen VALUES (1, 'a'), (2, 'b')")
        found = connection.execute("SELECT sequence FROM seen ORDER BY id").fetchall()
        assert found == [(-1,), (-2,)]
    assert connection.execute("SELECT min(sequence) > 0 FROM seen").fetchone() == (True,)


def test_conflicts_are_found_among_pending_rows(connection: psycopg.Connection, table: str) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO seen VALUES (1, 'a')")
        connection.execute("INSERT INTO seen VALUES (1, 'z'), (2, 'b') ON CONFLICT DO NOTHING")
        assert connection.execute("SELECT id, name FROM seen ORDER BY id").fetchall() == [(1, "a"), (2, "b")]
    assert connection.execute("SELECT id, name FROM seen ORDER BY id").fetchall() == [(1, "a"), (2, "b")]


def test_a_cursor_reads_what_was_pending_when_it_was_declared(connection: psycopg.Connection, table: str) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO seen VALUES (1, 'a')")
        connection.execute("DECLARE c CURSOR FOR SELECT name FROM seen ORDER BY id")
        connection.execute("UPDATE seen SET name = 'changed'")
        assert connection.execute("FETCH ALL FROM c").fetchall() == [("a",)]


def test_a_row_that_came_and_went_is_never_written(server: Server, connection: psycopg.Connection, table: str) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO seen VALUES (1, 'a')")
        connection.execute("DELETE FROM seen WHERE name = 'a'")
    assert server.node.statistics(server.node.catalog.databases["tsdb"].series["seen"]).rows == 0


def test_what_others_write_meanwhile_is_merged(server: Server, connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE met (time timestamptz, id int, name text, PRIMARY KEY (id, time))")
    with server.connect() as other, connection.transaction():
        connection.execute("INSERT INTO met VALUES ('2026-01-01', 1, 'mine')")
        other.execute("INSERT INTO met VALUES ('2026-01-01', 1, 'theirs'), ('2026-01-01', 2, 'theirs')")
        found = connection.execute("SELECT id, name FROM met ORDER BY id").fetchall()
        assert found == [(1, "mine"), (2, "theirs")]
    connection.execute("DROP TABLE met")


def test_a_table_that_is_dropped_takes_its_pending_rows_along(connection: psycopg.Connection, table: str) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO seen VALUES (1, 'a')")
        connection.execute("DROP TABLE seen")
    with pytest.raises(errors.UndefinedTable):
        connection.execute("SELECT * FROM seen")


def test_many_small_statements_stay_cheap(connection: psycopg.Connection, table: str) -> None:
    with connection.transaction():
        for i in range(300):
            connection.execute("INSERT INTO seen VALUES (%s, %s)", (i, str(i)))
            if i % 3 == 0:
                connection.execute("UPDATE seen SET name = name || '!' WHERE id = %s", (i,))
        assert connection.execute("SELECT count(*), sum(id)::int8 FROM seen").fetchone() == (300, 44850)
    assert connection.execute("SELECT count(*) FROM seen WHERE name LIKE '%!'").fetchone() == (100,)
