"""EXPLAIN's formats."""

from __future__ import annotations

import psycopg
import pytest


@pytest.fixture
def connection(connection: psycopg.Connection) -> psycopg.Connection:
    connection.execute("CREATE TABLE IF NOT EXISTS explained (time timestamptz, host text TAG, a float8)")
    connection.execute("INSERT INTO explained VALUES (now(), 'x', 1), (now(), 'y', 2)")
    return connection


def test_json_is_one_value_of_type_json_as_in_postgresql(connection: psycopg.Connection) -> None:
    cursor = connection.execute("EXPLAIN (FORMAT JSON) SELECT a FROM explained WHERE host = 'x' AND a > 0.5")
    assert cursor.description is not None
    assert [(column.name, column.type_code) for column in cursor.description] == [("QUERY PLAN", 114)]
    rows = cursor.fetchall()
    assert len(rows) == 1
    (explained,) = rows[0][0]
    assert explained["Plan"]["Node Type"] == "Query in the scan"
    (scan,) = explained["Plan"]["Plans"]
    assert (scan["Relation Name"], scan["Tags"]) == ("explained", ["host"])
    assert "Execution Time" not in explained


def test_json_with_analyze_counts_rows_and_time(connection: psycopg.Connection) -> None:
    row = connection.execute("EXPLAIN (ANALYZE, FORMAT JSON) SELECT a FROM explained WHERE host = 'x'").fetchone()
    assert row is not None
    (explained,) = row[0]
    assert explained["Plan"]["Actual Rows"] >= 1
    assert explained["Execution Time"] > 0
    assert explained["Plan"]["Plans"][0]["Rows Returned"] >= 1


def test_text_is_lines(connection: psycopg.Connection) -> None:
    cursor = connection.execute("EXPLAIN (FORMAT TEXT) SELECT a FROM explained")
    assert cursor.description is not None
    assert cursor.description[0].type_code == 25
    assert len(cursor.fetchall()) > 1


@pytest.mark.parametrize(("name", "sqlstate"), [("XML", "0A000"), ("yaml", "0A000"), ("csv", "22023")])
def test_other_formats_are_refused_by_name(connection: psycopg.Connection, name: str, sqlstate: str) -> None:
    with pytest.raises(psycopg.Error, match=f"(?i){name}") as caught:
        connection.execute(f"EXPLAIN (FORMAT {name}) SELECT 1".encode())
    assert caught.value.sqlstate == sqlstate
