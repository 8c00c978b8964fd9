"""Numbered transactions: a producer's name and a number make a retry over SQL harmless."""

from __future__ import annotations

from contextlib import nullcontext

import psycopg
import pytest

from tests.session.conftest import Server

EVENTS = "CREATE TABLE {} (time timestamptz, a int8)"
INSERT = "INSERT INTO {} VALUES ('2026-01-01', 1), ('2026-06-01', 2)"


def count(connection: psycopg.Connection, table: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert found is not None
    return int(found[0])


def test_a_numbered_insert_is_done_once_and_answered_the_same(server: Server) -> None:
    with server.connect() as connection:
        notices: list[str] = []
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        connection.execute(EVENTS.format("once").encode())
        connection.execute("SET tsdb.producer = 'loader a'")
        for _ in range(3):
            connection.execute("SET tsdb.batch = 7")
            assert connection.execute(INSERT.format("once").encode()).statusmessage == "INSERT 0 2"
        assert notices == ['batch 7 of producer "loader a" was applied before'] * 2
        assert count(connection, "once") == 2
        assert connection.execute("SHOW tsdb.batch").fetchone() == ("0",)
        connection.execute(INSERT.format("once").encode())
        assert count(connection, "once") == 4, "a number holds for one transaction"


def test_a_numbered_block_is_one_batch_of_whatever_it_changes(server: Server) -> None:
    with server.connect() as connection:
        connection.execute(EVENTS.format("block").encode())
        connection.execute("CREATE TABLE state (k text PRIMARY KEY, n int8)")
        connection.execute("INSERT INTO state VALUES ('a', 1)")
        for _ in range(2):
            with connection.transaction():
                connection.execute("SET LOCAL tsdb.producer = 'b'; SET LOCAL tsdb.batch = 1")
                connection.execute(INSERT.format("block").encode())
                connection.execute("UPDATE state SET n = n + 1")
                connection.execute("DELETE FROM block WHERE a = 2")
        assert count(connection, "block") == 1
        assert connection.execute("SELECT n FROM state").fetchall() == [(2,)]


def test_what_is_rolled_back_has_no_number(server: Server) -> None:
    with server.connect() as connection:
        connection.execute(EVENTS.format("undone").encode())
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL tsdb.producer = 'c'; SET LOCAL tsdb.batch = 1")
            connection.execute(INSERT.format("undone").encode())
        connection.execute("SET tsdb.producer = 'c'; SET tsdb.batch = 1")
        connection.execute(INSERT.format("undone").encode())
        assert count(connection, "undone") == 2


def test_a_number_that_found_nothing_to_change_is_not_the_next_transactions(server: Server) -> None:
    with server.connect() as connection:
        connection.execute(EVENTS.format("emptied").encode())
        connection.execute(INSERT.format("emptied").encode())
        connection.execute("SET tsdb.producer = 'e'")
        for block in (False, True):
            connection.execute("SET tsdb.batch = 1")
            with connection.transaction() if block else nullcontext():
                connection.execute("DELETE FROM emptied")
            assert connection.execute("SHOW tsdb.batch").fetchone() == ("0",)
            assert count(connection, "emptied") == 0
        connection.execute(INSERT.format("emptied").encode())
        assert count(connection, "emptied") == 2
        connection.execute("SET tsdb.batch = 2")
        with connection.transaction(force_rollback=True):
            connection.execute("DELETE FROM emptied WHERE a = 99")
        assert connection.execute("SHOW tsdb.batch").fetchone() == ("2",), "it has changed nothing"


@pytest.mark.parametrize("form", ["text", "csv"])
def test_copy_has_options_for_it(server: Server, form: str) -> None:
    with server.connect() as connection:
        table = f"copied_{form}"
        connection.execute(EVENTS.format(table).encode())
        statement = f"COPY {table} FROM STDIN WITH (FORMAT {form}, PRODUCER 'copier {form}', BATCH 3)"
        row = "2026-01-0{}\t{}\n" if form == "text" else "2026-01-0{},{}\n"
        for _ in range(3):
            with connection.cursor() as cursor:
                with cursor.copy(statement.encode()) as copy:
                    copy.write("".join(row.format(i, i) for i in range(1, 8)))
                assert cursor.statusmessage == "COPY 7"
        assert count(connection, table) == 7


def test_numbers_are_those_of_http_and_have_its_window(server: Server) -> None:
    with server.connect() as connection:
        connection.execute(EVENTS.format("windowed").encode())
        connection.execute("SET tsdb.producer = 'w'; SET tsdb.batch = 5000")
        connection.execute(INSERT.format("windowed").encode())
        connection.execute("SET tsdb.batch = 4000")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match='batch 4000 of producer "w" is too old'):
            connection.execute(INSERT.format("windowed").encode())
        connection.execute("SET tsdb.batch = 4001")
        connection.execute(INSERT.format("windowed").encode())
        assert count(connection, "windowed") == 4


def test_what_cannot_be_numbered_is_refused(server: Server) -> None:
    with server.connect() as connection:
        connection.execute(EVENTS.format("refused").encode())
        connection.execute("SET tsdb.batch = 1")
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="needs tsdb"):
            connection.execute(INSERT.format("refused").encode())
        connection.execute("SET tsdb.producer = 'r'")
        several = f"{INSERT.format('refused')}; SELECT count(*) FROM refused"
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="needs BEGIN"):
            psycopg.ClientCursor(connection).execute(several.encode())
        for value in ("-1", "x", "9223372036854775808"):
            with pytest.raises(psycopg.errors.InvalidParameterValue):
                connection.execute(f"SET tsdb.batch = '{value}'".encode())
        connection.execute("SET tsdb.batch = 9007199254740993")
        assert connection.execute("SHOW tsdb.batch").fetchone() == ("9007199254740993",)
        connection.execute("SET tsdb.producer = %s" % ("'" + "x" * 65 + "'"))
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="1 to 64 bytes"):
            connection.execute(INSERT.format("refused").encode())
        for options in ("PRODUCER 'x'", "BATCH 1", "PRODUCER 'x', BATCH 0"):
            with pytest.raises(psycopg.errors.InvalidParameterValue):
                connection.execute(f"COPY refused FROM STDIN WITH ({options})".encode())
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="COPY TO"):
            connection.execute("COPY refused TO STDOUT WITH (PRODUCER 'x', BATCH 1)")
        assert count(connection, "refused") == 0
