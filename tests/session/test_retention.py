"""What retention does to the clients of SQL: older rows are gone at once, and what would be older is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.session.conftest import Server

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=40)


@pytest.fixture
def connection(server: Server) -> Iterator[psycopg.Connection]:
    with server.connect() as made:
        yield made


def _count(connection: psycopg.Connection, table: str) -> int:
    row = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
    assert row is not None
    return int(row[0])


def test_setting_a_retention_hides_older_rows_at_once_and_for_good(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE kept (time timestamptz, host text TAG, v float8, PRIMARY KEY (host, time))")
    connection.execute("INSERT INTO kept VALUES (%s, 'a', 1), (%s, 'a', 2)", (OLD, NOW))
    connection.execute("ALTER TABLE kept SET (retention = '30 days')")
    assert connection.execute("SELECT v FROM kept").fetchall() == [(2.0,)]
    connection.execute("ALTER TABLE kept RESET (retention)")
    assert _count(connection, "kept") == 1
    connection.execute("DROP TABLE kept")


@pytest.mark.parametrize("made", ["WITH (retention = '30 days')", "later"])
def test_rows_below_the_floor_are_refused_by_every_statement_that_writes(
    connection: psycopg.Connection, made: str
) -> None:
    options = "" if made == "later" else made
    connection.execute(
        f"CREATE TABLE recent (time timestamptz, host text TAG, v float8, PRIMARY KEY (host, time)) {options}"
    )
    if made == "later":
        connection.execute("ALTER TABLE recent SET (retention = '30 days')")
    connection.execute("INSERT INTO recent VALUES (%s, 'a', 1)", (NOW,))
    refused = [
        ("INSERT INTO recent VALUES (%s, 'a', 1)", (OLD,)),
        ("INSERT INTO recent VALUES (%s, 'a', 1), (%s, 'b', 1)", (NOW, OLD)),
        ("INSERT INTO recent VALUES (%s, 'a', 1) ON CONFLICT (host, time) DO UPDATE SET v = excluded.v", (OLD,)),
        ("UPDATE recent SET time = %s", (OLD,)),
    ]
    for statement, values in refused:
        with pytest.raises(psycopg.Error, match="points beyond retention policy") as caught:
            connection.execute(statement, values)
        assert caught.value.sqlstate == "22008"
    with (
        pytest.raises(psycopg.Error, match="points beyond retention policy"),
        connection.cursor() as cursor,
        cursor.copy("COPY recent FROM STDIN") as copy,
    ):
        copy.write_row((OLD, "a", 1.0))
    assert _count(connection, "recent") == 1
    connection.execute("DROP TABLE recent")


def test_a_materialized_view_has_a_retention_of_its_own(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE raw (time timestamptz, v float8)")
    connection.execute("INSERT INTO raw VALUES (%s, 1), (%s, 2)", (OLD, NOW))
    connection.execute("CREATE MATERIALIZED VIEW stored AS SELECT time, v FROM raw")
    connection.execute("ALTER MATERIALIZED VIEW stored SET (retention = '30 days')")
    assert (_count(connection, "raw"), _count(connection, "stored")) == (2, 1)
    connection.execute("REFRESH MATERIALIZED VIEW stored")
    assert _count(connection, "stored") == 1
    connection.execute("ALTER MATERIALIZED VIEW stored RESET (retention)")
    with pytest.raises(psycopg.Error, match="no time column"):
        connection.execute("CREATE MATERIALIZED VIEW one AS SELECT 1 AS a")
        connection.execute("ALTER MATERIALIZED VIEW one SET (retention = '30 days')")
    connection.execute("DROP MATERIALIZED VIEW one")
    connection.execute("DROP TABLE raw CASCADE")
