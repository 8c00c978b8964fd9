"""create_hypertable and its kin through the server, as scripts for TimescaleDB send them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tsdb.server import Server

TABLE = "CREATE TABLE conditions (time timestamptz NOT NULL, location text, temperature float8, seen timestamptz)"


@pytest.fixture
def connection(server: Server) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.pg_url, user="tsdb", autocommit=True) as made:
        yield made


@pytest.fixture
def notices(connection: psycopg.Connection) -> list[str]:
    found: list[str] = []
    connection.add_notice_handler(
        lambda diagnostic: found.append(f"{diagnostic.severity}: {diagnostic.message_primary}")
    )
    return found


def test_a_script_for_timescaledb_runs(connection: psycopg.Connection, notices: list[str]) -> None:
    connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    connection.execute(TABLE)
    notices.clear()
    rows = connection.execute("SELECT create_hypertable('conditions', 'time')").fetchall()
    assert rows[0][0][1:] == ("public", "conditions", "t") or str(rows[0][0]).endswith(",public,conditions,t)")
    assert notices == ['NOTICE: "conditions" is partitioned by time already']
    cursor = connection.execute(
        "SELECT * FROM create_hypertable('public.conditions'::regclass, by_range('time', INTERVAL '1 day'), "
        "if_not_exists => TRUE)"
    )
    assert [c.name for c in cursor.description or ()] == ["hypertable_id", "created"]
    assert [row[1] for row in cursor.fetchall()] == [True]
    cursor = connection.execute(
        "SELECT table_name, created FROM "
        "create_hypertable('conditions', 'time', chunk_time_interval => INTERVAL '1 day')"
    )
    assert cursor.fetchall() == [("conditions", True)]
    assert len(notices) == 3
    connection.execute("SELECT add_dimension('conditions', by_hash('location', 4))")
    connection.execute("SELECT set_chunk_time_interval('conditions', INTERVAL '24 hours')")
    assert notices[3:] == [
        "NOTICE: add_dimension has nothing to do: tags and time decide what is read",
        "NOTICE: set_chunk_time_interval has nothing to do: the width of partitions is not chosen",
    ]
    connection.execute("INSERT INTO conditions VALUES (now(), 'office', 20.5, now())")
    found = connection.execute(
        "SELECT time_bucket('1 hour', time), avg(temperature) FROM conditions GROUP BY 1"
    ).fetchall()
    assert found[0][1] == 20.5


@pytest.mark.parametrize(
    ("text", "sqlstate", "message"),
    [
        ("create_hypertable('nothing', 'time')", "42P01", 'relation "nothing" does not exist'),
        ("create_hypertable('conditions', 'when')", "42703", 'column "when" does not exist'),
        ("create_hypertable('conditions', 'seen')", "22023", '"conditions" cannot be partitioned by "seen"'),
        ("create_hypertable('conditions')", "42883", "function create_hypertable needs a table and its time column"),
        ("create_hypertable('conditions', by_range())", "42883", "function by_range() does not exist"),
        ("create_hypertable(version(), 'time')", "42P01", "does not exist"),
        ("add_retention_policy('conditions', INTERVAL '1 day')", "0A000", "add_retention_policy is not supported"),
        ("drop_chunks('conditions', INTERVAL '1 day')", "0A000", "drop_chunks is not supported"),
    ],
)
def test_wrong_calls_say_what_to_do(connection: psycopg.Connection, text: str, sqlstate: str, message: str) -> None:
    connection.execute(TABLE)
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(f"SELECT {text}")
    assert caught.value.sqlstate == sqlstate
    assert message in str(caught.value)
