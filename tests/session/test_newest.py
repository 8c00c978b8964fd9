"""Newest first over a real server: with a transaction's own changes, views, and what EXPLAIN says of it."""

from __future__ import annotations

import random
from typing import Any

import psycopg
import pytest

STATEMENTS = (
    "SELECT DISTINCT ON (host) host, time, a, b FROM latest ORDER BY host, time DESC",
    "SELECT DISTINCT ON (host) host, time, a, b FROM latest WHERE time < '2026-01-01 00:20:00Z' "
    "ORDER BY host, time DESC",
    "SELECT host, last(a, time), last(b, time), max(time) FROM latest GROUP BY host ORDER BY host",
    "SELECT host, first(a, time), min(time) FROM latest WHERE host <> 'h1' GROUP BY host ORDER BY host",
    "SELECT max(time) FROM latest WHERE host = 'h2'",
    "SELECT time, host, a, b FROM latest ORDER BY time DESC, host LIMIT 4",
    "SELECT time, host, a, b FROM latest ORDER BY time, host DESC LIMIT 3 OFFSET 2",
    "SELECT time, a FROM latest WHERE host = 'h0' ORDER BY time DESC LIMIT 2",
    "SELECT DISTINCT host FROM latest ORDER BY host",
    "SELECT t.host, c.time, c.a FROM (SELECT DISTINCT host FROM latest) AS t, LATERAL (SELECT * FROM latest WHERE "
    "host = t.host ORDER BY time DESC LIMIT 2) AS c ORDER BY 1, 2",
    "SELECT DISTINCT ON (h) h, t, a FROM latest_view ORDER BY h, t DESC",
)


@pytest.fixture
def connection(connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    connection.execute("DROP TABLE IF EXISTS latest CASCADE")
    connection.execute(
        "CREATE TABLE latest (time timestamptz, host text TAG, rack text TAG, a int8, b text, "
        "PRIMARY KEY (host, rack, time))"
    )
    connection.execute("CREATE VIEW latest_view AS SELECT time AS t, host AS h, a FROM latest WHERE host <> 'h3'")
    return connection


def change(connection: psycopg.Connection[Any], chance: random.Random) -> None:
    time = f"2026-01-01 00:{chance.randrange(40):02}:00Z"
    host = f"h{chance.randrange(4)}"
    statement, values = chance.choice((
        ("INSERT INTO latest (time, host, rack, a, b) VALUES (%s, %s, 'r', %s, %s)",
         (time, host, chance.randrange(100), chance.choice((None, "x", "y")))),
        ("INSERT INTO latest (time, host, rack, a) VALUES (%s, %s, 'r', %s)", (time, host, chance.randrange(100))),
        ("INSERT INTO latest (time, host, rack, a) VALUES (%s, %s, 'r', %s)", (time, host, chance.randrange(100))),
        ("UPDATE latest SET a = a + 1 WHERE time >= %s AND host = %s", (time, host)),
        ("UPDATE latest SET b = 'u' WHERE time = (SELECT max(time) FROM latest WHERE host = %s) AND host = %s",
         (host, host)),
        ("DELETE FROM latest WHERE time = (SELECT max(time) FROM latest WHERE host = %s) AND host = %s", (host, host)),
        ("DELETE FROM latest WHERE time > %s AND host = %s AND a > 50", (time, host)),
        ("DELETE FROM latest WHERE time < %s AND host = %s", (time, host)),
    ))  # fmt: skip
    connection.execute(statement, values)


def answers(connection: psycopg.Connection[Any]) -> list[list[tuple[Any, ...]]]:
    return [connection.execute(statement).fetchall() for statement in STATEMENTS]


@pytest.mark.parametrize("seed", range(3))
def test_a_transaction_sees_its_own_newest_rows(connection: psycopg.Connection[Any], seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(12):
        change(connection, chance)
    for _ in range(4):
        with connection.transaction(force_rollback=chance.random() < 0.3):
            for _ in range(chance.randrange(1, 5)):
                change(connection, chance)
                few = answers(connection)
                connection.execute("SET LOCAL tsdb.prune = off")
                assert few == answers(connection)
                connection.execute("SET LOCAL tsdb.prune = on")


def test_explain_names_the_rows_that_are_asked_for(connection: psycopg.Connection[Any]) -> None:
    connection.execute("INSERT INTO latest (time, host, rack, a) VALUES (now(), 'h1', 'r', 1), (now(), 'h2', 'r', 2)")

    def lines(statement: str) -> str:
        return "\n".join(row[0] for row in connection.execute(f"EXPLAIN {statement}"))

    assert "Newest first: 1 row of each host\n" in lines(STATEMENTS[0])
    assert "Newest first: 4 rows\n" in lines(STATEMENTS[5])
    assert "Oldest first: 5 rows\n" in lines(STATEMENTS[6])
    analyzed = lines("(ANALYZE) " + STATEMENTS[0])
    assert "newest_first" in analyzed
    assert "by newest first, " in analyzed
    connection.execute("SET tsdb.prune = off")
    try:
        assert "first:" not in lines(STATEMENTS[0])
    finally:
        connection.execute("RESET tsdb.prune")
