"""Continuous views as clients meet them: always the plain query's rows, whatever was written, deleted or refreshed."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.session.conftest import Server

QUERY = """SELECT time_bucket('1 hour', time) AS bucket, host, avg(v) AS mean, count(*) AS n, max(v) AS top
           FROM cpu GROUP BY bucket, host"""


@pytest.fixture
def connection(server: Server) -> Iterator[psycopg.Connection]:
    with server.connect() as made:
        made.execute("DROP TABLE IF EXISTS cpu CASCADE")
        made.execute("CREATE TABLE cpu (time timestamptz, host text TAG, v float8, PRIMARY KEY (host, time))")
        made.execute(
            """INSERT INTO cpu SELECT '2026-01-01 00:00+00'::timestamptz + i * interval '7 minutes', 'h' || i % 3, i
               FROM generate_series(0, 99) AS i"""
        )
        yield made
        made.execute("DROP TABLE IF EXISTS cpu CASCADE")


def _rows(connection: psycopg.Connection, query: str) -> list[tuple[object, ...]]:
    return sorted(connection.execute(query).fetchall(), key=repr)


def _same(connection: psycopg.Connection) -> None:
    assert _rows(connection, "SELECT * FROM hourly") == _rows(connection, QUERY)


def _spans(connection: psycopg.Connection) -> list[str]:
    lines = [row[0] for row in connection.execute("EXPLAIN SELECT * FROM hourly").fetchall()]
    return [line.strip() for line in lines if "Spans" in line]


def test_a_view_is_the_plain_query_while_it_is_stored_and_changed(connection: psycopg.Connection) -> None:
    connection.execute(f"CREATE MATERIALIZED VIEW hourly WITH (continuous) AS {QUERY}")
    assert "Spans: before" in _spans(connection)[0]
    _same(connection)
    for change in (
        "INSERT INTO cpu VALUES ('2026-01-01 01:00:01+00', 'late', 5)",
        "INSERT INTO cpu VALUES ('2026-01-01 00:00:00+00', 'h0', 500)",
        "UPDATE cpu SET v = v + 1 WHERE host = 'h1' AND time < '2026-01-01 02:00+00'",
        "DELETE FROM cpu WHERE time BETWEEN '2026-01-01 03:00+00' AND '2026-01-01 04:30+00'",
        "DELETE FROM cpu WHERE host = 'h2'",
        "DELETE FROM cpu WHERE v > 90",
        "INSERT INTO cpu VALUES (now(), 'new', 1)",
        "TRUNCATE cpu",
    ):
        connection.execute(change)
        _same(connection)
        connection.execute("REFRESH MATERIALIZED VIEW hourly")
        _same(connection)
