"""DDL through psycopg: what is created is there for the next statement of everybody."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from tests.session.conftest import Server


def messages(connection: psycopg.Connection, statement: str) -> list[tuple[str | None, str | None]]:
    """The notices that a statement brings: (SQLSTATE, text)."""
    found: list[tuple[str | None, str | None]] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        found.append((diagnostic.sqlstate, diagnostic.message_primary))

    connection.add_notice_handler(note)
    connection.execute(statement)
    connection.remove_notice_handler(note)
    return found


def test_tables_come_and_go(server: Server, connection: psycopg.Connection) -> None:
    cursor = connection.execute("CREATE TABLE ddl_a (time timestamptz, host text TAG, v float8)")
    assert cursor.statusmessage == "CREATE TABLE"
    assert "ddl_a" in server.node.catalog.databases["tsdb"].series
    with pytest.raises(errors.DuplicateTable):
        connection.execute("CREATE TABLE ddl_a (x int)")
    assert messages(connection, "CREATE TABLE IF NOT EXISTS ddl_a (x int)") == [
        ("42P07", 'relation "ddl_a" already exists, skipping')
    ]
    connection.execute("ALTER TABLE ddl_a ADD COLUMN w int DEFAULT 3, DROP COLUMN v")
    assert list(server.node.catalog.databases["tsdb"].series["ddl_a"].by_name) == ["time", "host", "w"]
    assert connection.execute("DROP TABLE ddl_a").statusmessage == "DROP TABLE"
    with pytest.raises(errors.UndefinedTable):
        connection.execute("DROP TABLE ddl_a")


def test_client_min_messages_silences_notices(connection: psycopg.Connection) -> None:
    connection.execute("SET client_min_messages = warning")
    assert messages(connection, "DROP TABLE IF EXISTS nope") == []


def test_ddl_in_a_block_warns_that_it_stays(server: Server, connection: psycopg.Connection) -> None:
    connection.execute("BEGIN")
    assert messages(connection, "CREATE TABLE ddl_b (time timestamptz)")[0][0] == "25001"
    connection.execute("ROLLBACK")
    assert "ddl_b" in server.node.catalog.databases["tsdb"].series
    connection.execute("DROP TABLE ddl_b")


def test_a_database_in_use_is_not_dropped(server: Server, connection: psycopg.Connection) -> None:
    connection.execute("CREATE DATABASE ddl_db")
    with server.connect(database="ddl_db") as other:
        with pytest.raises(errors.ObjectInUse, match="accessed by other users"):
            connection.execute("DROP DATABASE ddl_db")
        with pytest.raises(errors.ObjectInUse, match="currently open"):
            other.execute("DROP DATABASE ddl_db")
        with pytest.raises(errors.UndefinedTable):
            other.execute("DROP TABLE nope")
    connection.execute("DROP DATABASE ddl_db")
    with pytest.raises(psycopg.OperationalError, match='database "ddl_db" does not exist'):
        server.connect(database="ddl_db")
    with pytest.raises(errors.ActiveSqlTransaction), connection.transaction():
        connection.execute("CREATE DATABASE ddl_db")


def test_sessions_are_listed(server: Server, connection: psycopg.Connection) -> None:
    connection.execute("SET application_name = 'lister'")
    found = [s for s in server.sessions.listing() if s.application_name() == "lister"]
    assert len(found) == 1
    assert (found[0].user, found[0].database, found[0].state) == ("tester", "tsdb", "idle")
    assert found[0].query.startswith("SET application_name")
