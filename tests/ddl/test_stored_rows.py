"""DDL and the rows that are there: defaults fill them, NOT NULL and UNIQUE look at them, as in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors

from tests.dml.side_by_side import held
from tests.fixtures.postgres import Both, Connection, prepared
from tests.session.conftest import Server

TABLES: list[LiteralString] = ["a", "d", "e"]
SETUP: list[LiteralString] = [
    "CREATE TABLE a (id int PRIMARY KEY, name text, size int)",
    "CREATE TABLE d (time timestamptz NOT NULL, host text, v float8, PRIMARY KEY (time, host))",
    "CREATE TABLE e (time timestamptz NOT NULL, note text)",
    "INSERT INTO a VALUES (1, 'x', 1), (2, 'x', NULL), (3, 'y', 1)",
    "INSERT INTO d SELECT '2026-01-01'::timestamptz + i * interval '1 h', 'h' || i % 4, i"
    " FROM generate_series(0, 99) AS g(i)",
    "INSERT INTO e VALUES ('2026-01-01', 'a'), ('2026-01-01', 'a')",
]
STATEMENTS: list[LiteralString] = [
    "ALTER TABLE a ADD COLUMN k int DEFAULT 5",
    "ALTER TABLE a ADD COLUMN k int NOT NULL DEFAULT 5, ADD COLUMN l text DEFAULT 'a' || 'b', ADD m bool",
    "ALTER TABLE a ADD COLUMN k text",
    "ALTER TABLE a ADD COLUMN k text NOT NULL",
    "ALTER TABLE a ADD COLUMN k numeric(6,2) DEFAULT 1.5",
    "ALTER TABLE a ADD COLUMN k timestamptz DEFAULT '2026-01-01 00:00:00+00'",
    "ALTER TABLE a ADD COLUMN k int[] DEFAULT '{1,2}'",
    "ALTER TABLE a ADD COLUMN k int DEFAULT 1/0",
    "ALTER TABLE a ADD COLUMN k int UNIQUE DEFAULT 7",
    "ALTER TABLE a ADD COLUMN k int UNIQUE",
    "ALTER TABLE a ADD COLUMN IF NOT EXISTS name text DEFAULT 'other'",
    "ALTER TABLE d ADD COLUMN k float8 DEFAULT 0.5",
    "ALTER TABLE d ADD COLUMN k text DEFAULT 'none'",
    "ALTER TABLE d ADD COLUMN k text NOT NULL",
    "ALTER TABLE e ADD COLUMN k int DEFAULT -1",
    "ALTER TABLE a ALTER COLUMN size SET NOT NULL",
    "ALTER TABLE a ALTER COLUMN name SET NOT NULL",
    "ALTER TABLE d ALTER COLUMN v SET NOT NULL",
    "ALTER TABLE a ALTER size SET DEFAULT 4",
    "ALTER TABLE a ADD UNIQUE (name)",
    "ALTER TABLE a ADD CONSTRAINT both_once UNIQUE (name, size)",
    "ALTER TABLE a ADD CONSTRAINT size_once UNIQUE (size)",
    "CREATE UNIQUE INDEX ON a (name)",
    "CREATE UNIQUE INDEX a_once ON a (id, name)",
    "CREATE UNIQUE INDEX a_twice ON a (size DESC)",
]


@pytest.fixture
def both(connection: psycopg.Connection, postgres: Connection) -> Iterator[Both]:
    yield from prepared(connection, postgres, SETUP, ["a", "d", "e"])


@pytest.mark.parametrize("statement", STATEMENTS)
def test_rows_that_are_there_are_filled_or_checked_as_in_postgresql(both: Both, statement: LiteralString) -> None:
    found = []
    for each in both:
        try:
            said: tuple[object, ...] = (each.execute(statement).statusmessage,)
        except psycopg.Error as error:
            diagnostic = error.diag
            said = (
                diagnostic.sqlstate, diagnostic.message_primary, diagnostic.message_detail, diagnostic.table_name,
                diagnostic.column_name, diagnostic.constraint_name,
            )  # fmt: skip
        found.append((said, held(each, TABLES)))
    assert found[0] == found[1]


def test_a_default_that_is_new_each_time_is_new_for_each_row(both: Both) -> None:
    for each in both:
        each.execute("ALTER TABLE a ADD COLUMN k serial, ADD COLUMN r float8 DEFAULT random()")
        counts = each.execute("SELECT count(DISTINCT k), min(k), max(k), count(DISTINCT r) FROM a").fetchone()
        assert counts == (3, 1, 3, 3)
        assert each.execute("INSERT INTO a VALUES (4) RETURNING k").fetchone() == (4,)


def test_rows_of_the_same_transaction_are_filled_too(both: Both) -> None:
    found = []
    for each in both:
        with each.transaction():
            each.execute("INSERT INTO a VALUES (10, 'new', 1)")
            each.execute("ALTER TABLE a ADD COLUMN k int DEFAULT 5")
            each.execute("INSERT INTO a (id) VALUES (11)")
        found.append(held(each, ["a"]))
    assert found[0] == found[1]


def test_what_cannot_be_filled_leaves_no_column(server: Server, both: Both) -> None:
    ours, _ = both
    with pytest.raises(errors.DivisionByZero):
        ours.execute("ALTER TABLE d ADD COLUMN k float8 DEFAULT 1, ADD COLUMN l int DEFAULT 1 / 0")
    columns = [column.name for column in ours.execute("SELECT * FROM d").description or ()]
    assert columns == ["time", "host", "v"]


def test_unique_is_only_remembered_of_a_time_series(both: Both) -> None:
    ours, _ = both
    notices: list[str] = []
    ours.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary or ""))
    ours.execute("ALTER TABLE e ADD UNIQUE (note)")
    ours.execute("CREATE UNIQUE INDEX ON e (note, time)")
    ours.execute("ALTER TABLE a ADD UNIQUE (id, name)")
    assert [notice for notice in notices if "UNIQUE" in notice] == [
        "UNIQUE (note) is accepted but not enforced", "UNIQUE is accepted but not enforced",
    ]  # fmt: skip


@pytest.mark.parametrize("far", ["recent", "stored"])
def test_a_type_that_a_stored_value_is_none_of_changes_nothing(both: Both, far: str) -> None:
    found = []
    for each in both:
        with pytest.raises(errors.InvalidTextRepresentation):
            each.execute("ALTER TABLE e ALTER note TYPE float8 USING note::float8")
        each.execute("INSERT INTO d VALUES ('2026-02-01', 'far', 1e300)")
        for narrower in ("int8", "int4", "int2"):
            with pytest.raises(errors.NumericValueOutOfRange):
                each.execute(f"ALTER TABLE d ALTER v TYPE {narrower}")
        held(each, ["a", "d", "e"])
        if far == "stored":
            each.execute("CHECKPOINT")
        each.execute("DELETE FROM d WHERE host = 'far'")
        each.execute("ALTER TABLE d ALTER v TYPE int4")
        newest = each.execute("SELECT v FROM d ORDER BY time DESC, host LIMIT 1").fetchall()
        assert newest == each.execute("SELECT v FROM d ORDER BY time DESC, host").fetchall()[:1]
        each.execute("UPDATE e SET note = '1.5'")
        each.execute("CHECKPOINT")
        each.execute("VACUUM e")
        each.execute("ALTER TABLE e ALTER note TYPE float8 USING note::float8")
        found.append(held(each, ["a", "d", "e"]))
    assert found[0] == found[1]


def test_a_type_that_has_no_room_for_a_stored_value_changes_nothing(both: Both) -> None:
    found = []
    for each in both:
        for value in ("1e300", "-3.5e38", "1e-60"):
            each.execute(f"INSERT INTO d VALUES ('2026-02-01', 'far', {value})")
            with pytest.raises(errors.NumericValueOutOfRange):
                each.execute("ALTER TABLE d ALTER v TYPE float4")
            each.execute("DELETE FROM d WHERE host = 'far'")
        each.execute("INSERT INTO d VALUES ('2026-02-02', 'far', '-inf'), ('2026-02-03', 'far', 3.25e38)")
        each.execute("INSERT INTO e VALUES ('2026-02-01', 'abcd')")
        for narrower in ("varchar(3)", "char(3)"):
            with pytest.raises(errors.StringDataRightTruncation):
                each.execute(f"ALTER TABLE e ALTER note TYPE {narrower}")
        held(each, ["a", "d", "e"])
        each.execute("ALTER TABLE d ALTER v TYPE float4")
        each.execute("ALTER TABLE e ALTER note TYPE varchar(4)")
        with pytest.raises(errors.StringDataRightTruncation):
            each.execute("INSERT INTO e VALUES ('2026-02-02', 'abcde')")
        found.append(held(each, ["a", "d", "e"]))
    assert found[0] == found[1]


def test_what_was_planned_for_a_change_that_was_refused_is_not_kept(both: Both) -> None:
    for each in both:
        each.execute("INSERT INTO d VALUES ('2026-02-01', 'far', 1e300)")
        with pytest.raises(errors.NumericValueOutOfRange):
            each.execute("ALTER TABLE d ALTER v TYPE int8")
        each.execute("ALTER TABLE d ALTER v TYPE text")
        assert each.execute("SELECT v FROM d WHERE host = 'far'").fetchall() == [("1e+300",)]
