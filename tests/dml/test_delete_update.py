"""DELETE, UPDATE and TRUNCATE against a dictionary of rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any, LiteralString, NamedTuple

import psycopg
import pytest
from psycopg import errors

from tests.session.conftest import Server
from tsdb.storage.rows import COUNTER_MASK

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Row(NamedTuple):
    time: dt.datetime
    host: str | None
    rack: int | None
    v: float | None
    note: str | None


ROWS = [
    Row(
        START + dt.timedelta(minutes=i),
        None if i % 7 == 6 else f"h{i % 3}",
        i % 2,
        None if i % 5 == 4 else i / 2,
        f"n{i}",
    )
    for i in range(40)
]


@pytest.fixture(params=["keyed", "log"])
def table(connection: psycopg.Connection, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    if request.param == "keyed":
        connection.execute(
            "CREATE TABLE d (time timestamptz, host text, rack int, v float8, note text, PRIMARY KEY (time, rack))"
        )
        connection.execute("ALTER TABLE d ALTER time SET NOT NULL")
    else:
        connection.execute("CREATE TABLE d (time timestamptz, host text TAG, rack int TAG, v float8, note text)")
    connection.cursor().executemany("INSERT INTO d VALUES (%s, %s, %s, %s, %s)", ROWS)
    yield connection
    connection.execute("DROP TABLE d")


def found(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT time, host, rack, v, note FROM d ORDER BY time, note").fetchall()


def minute(number: float) -> dt.datetime:
    return START + dt.timedelta(minutes=number)


CONDITIONS: list[tuple[LiteralString, Callable[[Row], bool]]] = [
    ("time < '2026-01-01 00:10'", lambda r: r.time < minute(10)),
    ("time >= '2026-01-01 00:10+00' AND time <= '2026-01-01 00:20+00'", lambda r: minute(10) <= r.time <= minute(20)),
    ("time BETWEEN '2026-01-01 00:10' AND '2026-01-01 00:20'", lambda r: minute(10) <= r.time <= minute(20)),
    ("time = '2026-01-01 00:07'", lambda r: r.time == minute(7)),
    ("time > now() - interval '100 years'", lambda r: True),
    ("host = 'h1'", lambda r: r.host == "h1"),
    ("host <> 'h1'", lambda r: r.host is not None and r.host != "h1"),
    ("host IN ('h0', 'h2') AND time > '2026-01-01 00:30'", lambda r: r.host in ("h0", "h2") and r.time > minute(30)),
    ("host NOT IN ('h0', 'h2')", lambda r: r.host is not None and r.host not in ("h0", "h2")),
    ("host IS NULL", lambda r: r.host is None),
    ("host IS NOT NULL", lambda r: r.host is not None),
    ("NOT (host IS NULL)", lambda r: r.host is not None),
    ("host = NULL", lambda r: False),
    ("rack = 1", lambda r: r.rack == 1),
    ("v > 10", lambda r: r.v is not None and r.v > 10),
    ("v IS NULL OR host = 'h2'", lambda r: r.v is None or r.host == "h2"),
    ("host = 'h1' AND v < 5", lambda r: r.host == "h1" and r.v is not None and r.v < 5),
    ("time > (SELECT max(time) FROM d) - interval '5 min'", lambda r: r.time > minute(34)),
    ("note LIKE 'n1%' AND time > '2026-01-01 00:12'", lambda r: str(r.note).startswith("n1") and r.time > minute(12)),
    ("date_trunc('hour', time) = '2026-01-01'", lambda r: True),
    ("time > '2030-01-01'", lambda r: False),
    ("time < to_timestamp(1767225600 + 600)", lambda r: r.time < minute(10)),
    ("host LIKE '_0' AND time < '2026-01-01 00:10'", lambda r: r.host == "h0" and r.time < minute(10)),
    ("host NOT LIKE 'h0%'", lambda r: r.host in ("h1", "h2")),
    ("host ~ '[12]$' AND host !~ '2'", lambda r: r.host == "h1"),
    ("host ILIKE 'nope%'", lambda r: False),
]


@pytest.mark.parametrize(("condition", "holds"), CONDITIONS, ids=[c for c, _ in CONDITIONS])
def test_delete_removes_exactly_what_the_condition_selects(
    table: psycopg.Connection, condition: LiteralString, holds: Callable[[Row], bool]
) -> None:
    gone = [row for row in ROWS if holds(row)]
    assert table.execute("SELECT count(*) FROM d WHERE " + condition).fetchall() == [(len(gone),)]
    cursor = table.execute("DELETE FROM d WHERE " + condition)
    assert cursor.statusmessage == f"DELETE {len(gone)}"
    assert found(table) == [row for row in ROWS if not holds(row)]


@pytest.mark.parametrize(("condition", "holds"), CONDITIONS, ids=[c for c, _ in CONDITIONS])
def test_update_changes_exactly_what_the_condition_selects(
    table: psycopg.Connection, condition: LiteralString, holds: Callable[[Row], bool]
) -> None:
    changed = [row for row in ROWS if holds(row)]
    cursor = table.execute("UPDATE d SET v = coalesce(v, 0) + 100, note = NULLIF(note, 'n3') WHERE " + condition)
    assert cursor.statusmessage == f"UPDATE {len(changed)}"
    expected = [
        row._replace(v=(row.v or 0) + 100, note=None if row.note == "n3" else row.note) if holds(row) else row
        for row in ROWS
    ]
    assert sorted(found(table)) == sorted(tuple(row) for row in expected)


def test_parameters_are_conditions_like_literals(table: psycopg.Connection) -> None:
    assert table.execute("DELETE FROM d WHERE time < %s AND host = %s", (minute(10), "h1")).rowcount == 3
    assert table.execute("DELETE FROM d WHERE v = %s AND host = %s", (1.0, "h2")).rowcount == 1
    assert table.execute("UPDATE d SET v = %s WHERE note = %s", (5, "n39")).rowcount == 1
    assert table.execute("SELECT v FROM d WHERE note = 'n39'").fetchall() == [(5.0,)]


def test_what_is_written_after_a_delete_stays(table: psycopg.Connection) -> None:
    table.execute("DELETE FROM d")
    table.execute("INSERT INTO d VALUES (%s, 'h0', 0, 7, 'new')", (minute(0),))
    assert found(table) == [(minute(0), "h0", 0, 7.0, "new")]


def test_returning_sees_old_rows_of_delete_and_new_rows_of_update(table: psycopg.Connection) -> None:
    assert table.execute("DELETE FROM d WHERE note = 'n2' RETURNING v * 2 AS twice, host").fetchall() == [(2.0, "h2")]
    cursor = table.execute("UPDATE d SET v = v + 1 WHERE note = 'n3' RETURNING v, note, v * 10")
    assert cursor.fetchall() == [(2.5, "n3", 25.0)]
    cursor = table.execute("UPDATE d AS x SET v = NULL WHERE x.note = 'n5' RETURNING *")
    assert cursor.fetchall() == [(minute(5), "h2", 1, None, "n5")]


def test_truncate_empties_tables(table: psycopg.Connection) -> None:
    assert table.execute("TRUNCATE TABLE d").statusmessage == "TRUNCATE TABLE"
    assert found(table) == []


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("DELETE FROM nope", errors.UndefinedTable),
        ("DELETE FROM d WHERE nope = 1", errors.UndefinedColumn),
        ("UPDATE d SET nope = 1", errors.UndefinedColumn),
        ("UPDATE d SET time = now(), time = now()", errors.SyntaxError),
        ("UPDATE d SET v = 1, v = 2", errors.SyntaxError),
        ("UPDATE d SET v = 1 FROM d AS x WHERE v = 1", errors.AmbiguousColumn),
        ("UPDATE d SET v = 'x' || note", errors.DatatypeMismatch),
        ("TRUNCATE nope", errors.UndefinedTable),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    table: psycopg.Connection, statement: LiteralString, error: type[Exception]
) -> None:
    with pytest.raises(error):
        table.execute(statement)
    assert len(found(table)) == len(ROWS)


def test_an_update_whose_write_is_refused_deletes_nothing(table: psycopg.Connection, server: Server) -> None:
    before = table.execute("SELECT count(*), min(note), max(note) FROM d").fetchone()
    log = server.node.engine._shard.log
    counter, log.counter = log.counter, COUNTER_MASK
    try:
        with pytest.raises(errors.ProgramLimitExceeded, match="has given all"):
            table.execute("UPDATE d SET note = repeat('x', 100), v = NULL")
    finally:
        log.counter = counter
    assert table.execute("SELECT count(*), min(note), max(note) FROM d").fetchone() == before


def test_of_two_open_transactions_that_change_a_row_the_second_fails_as_a_whole(
    table: psycopg.Connection, server: Server
) -> None:
    with server.connect() as other:
        statements: list[LiteralString] = ["UPDATE d SET v = NULL WHERE note = 'n3'", "DELETE FROM d WHERE note = 'n3'"]
        for statement in statements:
            table.execute("BEGIN; UPDATE d SET v = NULL, note = 'first' WHERE note = 'n2'")
            other.execute("BEGIN; INSERT INTO d (time, host, rack, note) VALUES (now(), 'h', 5, 'mine')")
            other.execute("UPDATE d SET v = NULL, note = 'second' WHERE note = 'n2'")
            other.execute(statement)
            table.execute("COMMIT")
            with pytest.raises(errors.SerializationFailure):
                other.execute("COMMIT")
            there = other.execute("SELECT note FROM d WHERE note IN ('first', 'second', 'mine')").fetchall()
            assert there == [("first",)]
            assert len(found(table)) == len(ROWS)
            table.execute("UPDATE d SET note = 'n2' WHERE note = 'first'")


def test_a_row_that_was_deleted_is_not_updated_back_into_being(table: psycopg.Connection, server: Server) -> None:
    with server.connect() as other:
        other.execute("BEGIN; UPDATE d SET v = 7 WHERE note = 'n2'")
        table.execute("DELETE FROM d WHERE note = 'n2'")
        with pytest.raises(errors.SerializationFailure):
            other.execute("COMMIT")
        assert len(found(table)) == len(ROWS) - 1
