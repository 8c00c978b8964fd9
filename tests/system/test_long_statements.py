"""Statements that run for long: what is short does not wait for them, and what waits has a bound and an end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.fixtures.server import WARM, Process, Start, get
from tests.fixtures.slow import SlowClient

LONG = "SELECT count(*) FROM generate_series(1, 200000000000) AS g(i) WHERE i % 7 = 3"
PANEL = "SELECT count(*) FROM cpu"


@contextlib.contextmanager
def long_statements(process: Process, count: int) -> Iterator[list[SlowClient]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(SlowClient(process.pg_port, LONG)) for _ in range(count)]


def waits_for(process: Process, event: str, count: int = 1) -> None:
    """Until so many sessions wait for that."""
    until = time.monotonic() + 30
    with process.connect() as connection:
        while time.monotonic() < until:
            found = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = %s AND state = 'active'", (event,)
            ).fetchone()
            if found == (count,):
                return
            time.sleep(0.05)
    raise AssertionError(f"nobody waits for {event}")


def served(start: Start, *flags: str) -> Process:
    process = start(*flags, **WARM)
    assert process.write("cpu,host=a v=1 1000000000")[0] == 204
    process.wait_warm()
    return process


def seconds_of(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def test_short_statements_are_answered_beside_long_ones(start: Start) -> None:
    process = served(start, "--running-queries", "2")
    with long_statements(process, 6), process.connect() as connection:
        waits_for(process, "QueryTurn", 2)  # two, and two that have run for long, have their turns
        for statement in (
            "SHOW TimeZone",
            "SELECT 1",
            "BEGIN; COMMIT",
            "SELECT relname FROM pg_class",
            "INSERT INTO cpu (time, host, v) VALUES (now(), 'b', 2)",
            "CREATE TABLE IF NOT EXISTS made (id int)",
            "SET statement_timeout = '1s'",
        ):
            assert seconds_of(lambda statement=statement: connection.execute(statement)) < 30, statement  # type: ignore[misc]
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(PANEL)


def test_a_few_long_statements_leave_turns_for_others(start: Start) -> None:
    process = served(start, "--running-queries", "2")
    with long_statements(process, 3), process.connect() as connection:
        time.sleep(1.5)
        connection.execute("SET statement_timeout = '60s'")
        assert connection.execute(PANEL).fetchone() == (1,)


def test_what_waits_gets_its_turn_when_one_ends(start: Start) -> None:
    process = served(start, "--running-queries", "1")
    with long_statements(process, 2) as clients, SlowClient(process.pg_port, PANEL) as panel:
        waits_for(process, "QueryTurn")
        metrics = get(process.http_port, "/metrics")
        assert "tsdb_sql_queries_running 2.0\n" in metrics
        assert "tsdb_sql_queries_waiting 1.0\n" in metrics
        clients[0].cancel()
        assert b"SELECT 1" in panel.read_all()[1]


def test_more_than_may_wait_fail_alone(start: Start) -> None:
    process = served(start, "--running-queries", "1", "--waiting-queries", "1")
    with long_statements(process, 3) as clients, process.connect() as connection:
        waits_for(process, "QueryTurn")
        with pytest.raises(psycopg.errors.TooManyConnections):
            connection.execute(PANEL)
        assert connection.execute("SELECT 1").fetchone() == (1,)
        for client in clients:
            client.cancel()
        assert connection.execute(PANEL).fetchone() == (1,)
