"""Queries over the wire: formats, parameters, portals, transactions, cancel — by psycopg and by single messages."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.fixtures.waiting import until
from tests.session.conftest import Server
from tests.session.raw import FLUSH, SYNC, RawClient, bind, close, describe, execute, parse, query
from tsdb.session import extended

SERIES = "SELECT g FROM generate_series(1, 5) AS t(g)"
ENDLESS = (
    "SELECT count(*) FROM generate_series(1, 1000000) AS a(x), generate_series(1, 1000000) AS b(y) WHERE x * y % 7 = 8"
)


def is_running(server: Server, text: str) -> bool:
    return any((each.state, each.query) == ("active", text) for each in server.sessions.listing())


@pytest.fixture
def points(connection: psycopg.Connection) -> Iterator[psycopg.Connection]:
    connection.execute("CREATE TABLE q (time timestamptz, host text TAG, v float8)")
    yield connection
    connection.execute("DROP TABLE q")


# --- single messages ---


def test_a_simple_query_is_described_in_text(raw: RawClient) -> None:
    assert raw.simple("SELECT 1 AS one, NULL::text AS nothing") == [
        "RowDescription one:23,nothing:25", "DataRow 1|NULL", "CommandComplete SELECT 1", "ReadyForQuery I",
    ]  # fmt: skip


def test_an_error_says_where_it_is(raw: RawClient) -> None:
    assert raw.simple("SELECT 1; SELECT nope") == [
        "RowDescription ?column?:23", "DataRow 1", "CommandComplete SELECT 1",
        'ErrorResponse ERROR 42703 column "nope" does not exist @18', "ReadyForQuery I",
    ]  # fmt: skip


def test_parameters_are_described_with_their_types(raw: RawClient) -> None:
    answers = raw.ask(parse("SELECT $1::int + 1 AS n, $2::text", "s"), describe("S", "s"), SYNC)
    assert answers[:3] == ["ParseComplete", "ParameterDescription [23, 25]", "RowDescription n:23,text:25"]
    assert raw.ask(bind([b"41", b"x"], statement="s", results=[1, 0]), describe("P"), execute(), SYNC) == [
        "BindComplete", "RowDescription n:23/b,text:25", "DataRow 0000002a|x", "CommandComplete SELECT 1",
        "ReadyForQuery I",
    ]  # fmt: skip
    assert (
        raw.ask(bind([struct.pack("!i", 1), None], statement="s", formats=[1, 0]), execute(), SYNC)[1]
        == "DataRow 2|NULL"
    )
    assert "08P01" in raw.ask(bind([b"1"], statement="s"), SYNC)[0]
    assert "22P02" in raw.ask(bind([b"x", b""], statement="s"), SYNC)[0]
    assert "08P01" in raw.ask(bind([b"1", b""], statement="s", results=[1, 0, 1]), SYNC)[0]


def test_a_row_limit_suspends_the_portal_and_execution_goes_on(raw: RawClient) -> None:
    assert raw.ask(parse(SERIES), bind(), execute(rows=2), execute(rows=2), execute(rows=2), execute(rows=2), SYNC) == [
        "ParseComplete", "BindComplete", "DataRow 1", "DataRow 2", "PortalSuspended", "DataRow 3", "DataRow 4",
        "PortalSuspended", "DataRow 5", "CommandComplete SELECT 1", "CommandComplete SELECT 0", "ReadyForQuery I",
    ]  # fmt: skip


def test_a_portal_lives_through_sync_inside_a_block_only(raw: RawClient) -> None:
    raw.simple("BEGIN")
    assert raw.ask(parse(SERIES), bind(portal="c"), execute("c", 2), SYNC)[-2:] == [
        "PortalSuspended",
        "ReadyForQuery T",
    ]
    assert raw.ask(execute("c", 2), SYNC)[:2] == ["DataRow 3", "DataRow 4"]
    assert raw.ask(execute("c"), SYNC)[:2] == ["DataRow 5", "CommandComplete SELECT 1"]
    assert raw.simple("COMMIT")[-1] == "ReadyForQuery I"
    assert "34000" in raw.ask(execute("c"), SYNC)[0]
    assert raw.ask(parse(SERIES), bind(portal="d"), execute("d", 2), SYNC)[-2] == "PortalSuspended"
    assert "34000" in raw.ask(execute("d"), SYNC)[0]


def test_flush_sends_what_is_pending_without_ending_the_batch(raw: RawClient) -> None:
    raw.send(parse(SERIES, "f"), describe("S", "f"), FLUSH)
    assert raw.read(3) == ["ParseComplete", "ParameterDescription []", "RowDescription g:23"]
    raw.send(bind(statement="f"), execute(rows=1), FLUSH)
    assert raw.read(3) == ["BindComplete", "DataRow 1", "PortalSuspended"]
    assert raw.ask(execute(), close("S", "f"), SYNC)[-3:] == [
        "CommandComplete SELECT 4",
        "CloseComplete",
        "ReadyForQuery I",
    ]


def test_a_statement_is_bound_anew_when_its_table_changes(raw: RawClient) -> None:
    raw.simple("CREATE TABLE again (time timestamptz, v float8)")
    raw.ask(parse("SELECT v FROM again", "s"), SYNC)
    raw.simple("ALTER TABLE again ADD COLUMN w int; INSERT INTO again (v) VALUES (1.5)")
    assert raw.ask(bind(statement="s"), execute(), SYNC)[1] == "DataRow 1.5"
    raw.simple("ALTER TABLE again ALTER v TYPE text")
    assert "0A000 cached plan must not change result type" in raw.ask(bind(statement="s"), execute(), SYNC)[1]
    raw.simple("DROP TABLE again")
    assert "42P01" in raw.ask(bind(statement="s"), execute(), SYNC)[1]


# --- psycopg ---


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("prepare", [False, True])
def test_parameters_come_back(connection: psycopg.Connection, binary: bool, prepare: bool) -> None:
    cursor = connection.cursor(binary=binary)
    for i in range(3):
        cursor.execute("SELECT %s::int + 1, %s::text, %s::float8", (i, "ü", 0.5), prepare=prepare)
        assert cursor.fetchall() == [(i + 1, "ü", 0.5)]


def test_large_results_are_streamed_in_order(points: psycopg.Connection) -> None:
    points.execute(
        "INSERT INTO q SELECT timestamptz '2026-01-01' + g * interval '1 s', 'h' || g % 3, g"
        " FROM generate_series(1, 200000) AS t(g)"
    )
    with points.cursor() as cursor:
        cursor.execute("SELECT v FROM q ORDER BY v")
        assert [row[0] for row in cursor] == list(range(1, 200001))
    for i, row in enumerate(points.cursor().stream("SELECT v, host, time FROM q ORDER BY v")):
        if i == 2:
            assert row[:2] == (3.0, "h0")
            break


def test_named_cursors_fetch_on_the_server(connection: psycopg.Connection) -> None:
    with connection.transaction(), connection.cursor(name="c") as cursor:
        cursor.execute("SELECT g, g * %s FROM generate_series(1, 100) AS t(g)", (2,))
        assert cursor.description is not None
        assert cursor.fetchmany(3) == [(1, 2), (2, 4), (3, 6)]
        cursor.scroll(7)
        assert cursor.fetchone() == (11, 22)
        assert len(cursor.fetchall()) == 89
    with connection.cursor(name="h", withhold=True) as held:
        held.execute("SELECT g FROM generate_series(1, 10) AS t(g)")
        held.itersize = 4
        assert [row[0] for row in held] == list(range(1, 11))


def test_a_pipeline_runs_many_statements_at_once(points: psycopg.Connection) -> None:
    with points.pipeline():
        cursors = [points.execute("SELECT %s::int", (i,)) for i in range(20)]
        points.execute("INSERT INTO q VALUES (now(), 'a', 1)")
        assert [cursor.fetchone() for cursor in cursors] == [(i,) for i in range(20)]
        count = points.execute("SELECT count(*) FROM q")
    assert count.fetchone() == (1,)


def test_an_error_in_a_pipeline_drops_the_whole_batch(points: psycopg.Connection) -> None:
    with pytest.raises(errors.DivisionByZero), points.pipeline():
        points.execute("INSERT INTO q VALUES (now(), 'a', 1)")
        points.execute("SELECT 1 / 0")
    assert points.execute("SELECT count(*) FROM q").fetchone() == (0,)


def test_a_transaction_is_written_at_commit_and_dropped_by_rollback(server: Server, points: psycopg.Connection) -> None:
    with server.connect(autocommit=False) as writer:
        writer.execute("INSERT INTO q VALUES (now(), 'a', 1)")
        writer.execute("INSERT INTO q VALUES (now(), 'b', 2)")
        assert points.execute("SELECT count(*) FROM q").fetchone() == (0,)
        writer.rollback()
        writer.execute("INSERT INTO q VALUES (now(), 'c', 3)")
        with pytest.raises(errors.UndefinedColumn), writer.transaction():
            writer.execute("INSERT INTO q VALUES (now(), 'd', 4)")
            writer.execute("SELECT nope")
        writer.commit()
        assert points.execute("SELECT host FROM q").fetchall() == [("c",)]
        writer.execute("DELETE FROM q")
        writer.execute("INSERT INTO q VALUES (now(), 'e', 5)")
        writer.commit()
    assert points.execute("SELECT host FROM q").fetchall() == [("e",)]


def test_statements_of_one_message_see_each_other_and_fail_together(points: psycopg.Connection) -> None:
    cursor = points.execute("INSERT INTO q VALUES (now(), 'a', 1); SELECT count(*) FROM q")
    assert cursor.nextset()
    assert cursor.fetchone() == (1,)
    with pytest.raises(errors.NumericValueOutOfRange):
        points.execute("INSERT INTO q VALUES (now(), 'b', 1); INSERT INTO q VALUES ('now', 'c', 1e400)")
    assert points.execute("SELECT count(*) FROM q").fetchone() == (1,)


def test_a_read_only_transaction_refuses_writes(points: psycopg.Connection) -> None:
    points.execute("BEGIN READ ONLY")
    with pytest.raises(errors.ReadOnlySqlTransaction, match="cannot execute INSERT in a read-only transaction"):
        points.execute("INSERT INTO q VALUES (now(), 'a', 1)")
    points.execute("ROLLBACK")


def test_now_stands_still_in_a_transaction_and_follows_the_time_zone(connection: psycopg.Connection) -> None:
    with connection.transaction():
        first = connection.execute("SELECT now()").fetchone()
        time.sleep(0.01)
        assert connection.execute("SELECT now()").fetchone() == first
    connection.execute("SET TIME ZONE 'Europe/Berlin'")
    assert connection.execute("SELECT '2026-07-01 12:00'::timestamptz::text").fetchone() == ("2026-07-01 12:00:00+02",)
    connection.execute("SET TIME ZONE -7")
    result = connection.execute("SELECT timestamptz '2026-07-01 12:00'").pgresult
    assert result is not None
    assert result.get_value(0, 0) == b"2026-07-01 12:00:00-07"


def test_prepare_and_execute_in_sql(connection: psycopg.Connection) -> None:
    connection.execute("PREPARE p (int, text) AS SELECT $1 + 1 AS n, upper($2) AS t")
    assert connection.execute("EXECUTE p (1 + 1, 'a,b')").fetchall() == [(3, "A,B")]
    with pytest.raises(errors.SyntaxError, match="wrong number of parameters"):
        connection.execute("EXECUTE p (1)")
    connection.execute("DEALLOCATE p")
    with pytest.raises(errors.InvalidSqlStatementName):
        connection.execute("EXECUTE p (1, 'a')")
    connection.execute("DISCARD ALL")


# --- cancel ---


# PQcancel of psycopg keeps the GIL, and the server is in this process: hence cancel_safe.
def test_a_running_query_is_cancelled(server: Server) -> None:
    with server.connect() as connection:
        started = time.monotonic()
        with (
            ThreadPoolExecutor(1) as pool,
            pytest.raises(errors.QueryCanceled, match="canceling statement due to user request"),
        ):
            running = pool.submit(connection.execute, ENDLESS)
            until(lambda: is_running(server, ENDLESS))
            connection.cancel_safe()
            running.result()
        assert time.monotonic() - started < 30
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_cancel_between_the_messages_of_a_statement_is_that_statements(
    server: Server, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = extended._bind

    def cancelled(*arguments: Any) -> None:
        bound(*arguments)
        assert server.listener.cancel(*raw.key)

    statement = parse(ENDLESS), bind(), describe("P"), execute()
    with monkeypatch.context() as patched:
        patched.setattr(extended, "_bind", cancelled)
        answers = raw.ask(*statement, SYNC)
        assert answers[-2].startswith("ErrorResponse ERROR 57014 canceling statement due to user request")
        # And of none that follows.
        assert raw.ask(parse("SELECT 1"), bind(), SYNC)[-1] == "ReadyForQuery I"
    assert raw.ask(bind(), execute(), SYNC)[1] == "DataRow 1"


def test_a_cancel_that_comes_too_late_hits_nothing(server: Server) -> None:
    with server.connect() as connection:
        connection.execute("SELECT 1")
        connection.cancel_safe()
        time.sleep(0.1)
        assert connection.execute("SELECT 2").fetchone() == (2,)


def test_statement_timeout_ends_a_statement(connection: psycopg.Connection) -> None:
    connection.execute("SET statement_timeout = '200ms'")
    with pytest.raises(errors.QueryCanceled, match="canceling statement due to statement timeout"):
        connection.execute(ENDLESS)
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_client_that_leaves_takes_its_query_with_it(server: Server) -> None:
    client = server.raw()
    client.send(query(ENDLESS))
    until(lambda: is_running(server, ENDLESS))
    client.__exit__(None, None, None)
    until(lambda: not is_running(server, ENDLESS))


def test_a_slow_reader_holds_up_nobody(server: Server, connection: psycopg.Connection) -> None:
    with server.raw() as slow:
        slow.send(query("SELECT g, repeat('x', 1000) FROM generate_series(1, 1000000) AS t(g)"))
        assert slow.read(2)[1].startswith("DataRow 1|xxx")
        for _ in range(5):
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_prepared_statement_reads_its_literals_by_the_settings_that_hold(connection: psycopg.Connection) -> None:
    text = "SELECT '2020-01-01'::timestamptz = '2020-01-01 00:00+00'::timestamptz, current_setting('TimeZone')"
    assert connection.execute(text, prepare=True).fetchone() == (True, "UTC")
    connection.execute("SET TimeZone = 'Europe/Berlin'")
    assert connection.execute(text, prepare=True).fetchone() == (False, "Europe/Berlin")


def test_prepare_names_types_and_execute_takes_expressions(connection: psycopg.Connection) -> None:
    connection.execute("PREPARE p (int[], numeric(10, 2), unknown) AS SELECT $1, $2, $3::int + 1")
    found = connection.execute("EXECUTE p (ARRAY[1, 2], 1.5 * 2, '3')").fetchone()
    assert found == ([1, 2], Decimal("3.00"), 4)
    shown = connection.execute("SELECT name, parameter_types, from_sql FROM pg_prepared_statements WHERE from_sql")
    assert shown.fetchall() == [("p", ["integer[]", "numeric", "integer"], True)]
    with pytest.raises(errors.SyntaxError, match="wrong number of parameters"):
        connection.execute("EXECUTE p (1)")


def test_modes_of_a_transaction_come_before_its_queries(connection: psycopg.Connection) -> None:
    connection.execute("BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY")
    connection.execute("COMMIT AND CHAIN")
    assert connection.execute("SHOW transaction_isolation").fetchone() == ("serializable",)
    assert connection.execute("SHOW transaction_read_only").fetchone() == ("on",)
    connection.execute("SELECT 1")
    with pytest.raises(errors.ActiveSqlTransaction, match="read-write mode must be set before any query"):
        connection.execute("SET TRANSACTION READ WRITE")
    connection.execute("ROLLBACK")
    connection.execute("BEGIN; SELECT 1")
    with pytest.raises(errors.ActiveSqlTransaction, match="must be called before any query"):
        connection.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    connection.execute("ROLLBACK")


def test_a_window_is_ordered_by_arithmetic_that_may_fail(connection: psycopg.Connection) -> None:
    text = "SELECT row_number() OVER (PARTITION BY g % 2 ORDER BY g * 1.5::float8 / 2 + 1) FROM generate_series(1, 4) g"
    assert sorted(connection.execute(text).fetchall()) == [(1,), (1,), (2,), (2,)]
    for sql in ("1e300::float8 * (g * 1e300::float8)", "g / (g - g)::float8", "1e308::float8 + g * 1e308::float8"):
        with pytest.raises((errors.NumericValueOutOfRange, errors.DivisionByZero)):
            connection.execute(f"SELECT {sql} FROM generate_series(1, 1) g")
