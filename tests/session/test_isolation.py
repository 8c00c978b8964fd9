"""What transactions see of each other: snapshots, races that are run again, races that are refused."""

from __future__ import annotations

import contextlib
import gc
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString

import psycopg
import pytest

from tests.session.conftest import Server

WORKERS, TIMES = 4, 15
_numbers = itertools.count(1)
TABLES: list[LiteralString] = [
    "CREATE TABLE counters (id int PRIMARY KEY, n int, note text)",
    "CREATE TABLE events (time timestamptz, n int)",
    "INSERT INTO counters VALUES (1, 0, 'x'), (2, 0, 'y')",
    "INSERT INTO events VALUES ('2026-01-01', 0)",
]


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[[], psycopg.Connection]]:
    """Connections to a database with the tables."""
    name = f"isolation{next(_numbers)}"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    opened: list[psycopg.Connection] = []

    def one() -> psycopg.Connection:
        opened.append(server.connect(database=name))
        return opened[-1]

    for statement in TABLES:
        one().execute(statement)
    yield one
    for each in opened:
        each.close()


def value(connection: psycopg.Connection, query: LiteralString) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    "statements",
    [
        ["BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT * FROM counters"],
        ["BEGIN", "DECLARE c CURSOR FOR SELECT * FROM counters", "FETCH 1 FROM c"],
        ["BEGIN", "UPDATE counters SET n = n + 1 WHERE n >= 0"],
        ["BEGIN", "UPDATE counters SET n = n + 1 WHERE n >= 0", "SELECT 1 / 0"],
        ["UPDATE counters SET n = n + 1 WHERE n >= 0"],
    ],
)
def test_a_client_that_goes_leaves_no_view(
    server: Server, connect: Callable[[], psycopg.Connection], statements: list[LiteralString]
) -> None:
    client = connect()
    client.autocommit = True
    gc.collect()
    gc.disable()  # what only the collector would find stays
    try:
        for statement in statements:
            with contextlib.suppress(psycopg.errors.DivisionByZero):
                client.execute(statement)
        client.pgconn.finish()
        deadline = time.monotonic() + 60
        while server.node.engine.metrics()["views"]:
            assert time.monotonic() < deadline, "a view is held"
            time.sleep(0.01)
    finally:
        gc.enable()


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_repeatable_transaction_reads_one_state(
    connect: Callable[[], psycopg.Connection], level: LiteralString
) -> None:
    ours, theirs = connect(), connect()
    ours.execute("BEGIN ISOLATION LEVEL " + level)
    assert value(ours, "SELECT count(*) FROM events") == 1
    theirs.execute("INSERT INTO events VALUES ('2026-01-02', 1)")
    theirs.execute("UPDATE counters SET n = 9 WHERE id = 1")
    theirs.execute("DROP TABLE IF EXISTS nobody")
    assert value(ours, "SELECT count(*) FROM events") == 1
    assert value(ours, "SELECT n FROM counters WHERE id = 1") == 0
    ours.execute("INSERT INTO events VALUES ('2026-01-03', 2)")
    assert value(ours, "SELECT count(*) FROM events") == 2
    ours.execute("COMMIT")
    assert value(ours, "SELECT count(*) FROM events") == 3
    assert value(ours, "SELECT n FROM counters WHERE id = 1") == 9


def test_read_committed_reads_the_newest_data_in_each_statement(connect: Callable[[], psycopg.Connection]) -> None:
    ours, theirs = connect(), connect()
    ours.execute("BEGIN")
    assert value(ours, "SELECT count(*) FROM events") == 1
    theirs.execute("INSERT INTO events VALUES ('2026-01-02', 1)")
    assert value(ours, "SELECT count(*) FROM events") == 2
    ours.execute("ROLLBACK")


@pytest.mark.parametrize("update", ["UPDATE counters SET n = n + 1", "UPDATE counters SET n = 5", "DELETE FROM events"])
def test_a_repeatable_transaction_is_refused_what_others_have_changed(
    connect: Callable[[], psycopg.Connection], update: LiteralString
) -> None:
    ours, theirs = connect(), connect()
    ours.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    ours.execute("SELECT * FROM counters, events")
    theirs.execute("UPDATE counters SET n = n + 10, note = NULL")
    theirs.execute("UPDATE events SET n = n + 10")
    ours.execute(update)
    with pytest.raises(psycopg.errors.SerializationFailure):
        ours.execute("COMMIT")
    assert value(ours, "SELECT min(n) FROM counters") == 10
    assert value(ours, "SELECT min(n) FROM events") == 10


def test_a_table_that_a_repeatable_transaction_makes_is_there(connect: Callable[[], psycopg.Connection]) -> None:
    ours = connect()
    ours.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    ours.execute("SELECT * FROM counters")
    ours.execute("CREATE TABLE made (id int PRIMARY KEY)")
    ours.execute("INSERT INTO made VALUES (1), (2)")
    assert value(ours, "SELECT count(*) FROM made") == 2
    ours.execute("COMMIT")


def test_a_table_that_is_dropped_meanwhile_is_still_read(connect: Callable[[], psycopg.Connection]) -> None:
    ours, theirs = connect(), connect()
    ours.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    assert value(ours, "SELECT count(*) FROM events") == 1
    theirs.execute("DROP TABLE events")
    assert value(ours, "SELECT count(*) FROM events") == 1
    ours.execute("COMMIT")
    with pytest.raises(psycopg.errors.UndefinedTable):
        ours.execute("SELECT * FROM events")


@pytest.mark.parametrize(
    ("update", "arguments"),
    [
        ("UPDATE counters SET n = n + 1 WHERE id = 1", None),
        ("UPDATE counters SET n = n + %s WHERE id = %s", (1, 1)),
        ("UPDATE counters SET n = n + 1, note = NULL WHERE id = 1", None),
        ("INSERT INTO counters (id, n) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = counters.n + excluded.n", None),
        ("UPDATE events SET n = n + 1", None),
    ],
)
def test_no_count_of_many_sessions_is_lost(
    connect: Callable[[], psycopg.Connection], update: LiteralString, arguments: tuple[int, ...] | None
) -> None:
    connections = [connect() for _ in range(WORKERS)]

    def count(connection: psycopg.Connection) -> int:
        done = 0
        for _ in range(TIMES):
            try:
                done += connection.execute(update, arguments).rowcount
            except psycopg.errors.SerializationFailure:
                continue
        return done

    with ThreadPoolExecutor(WORKERS) as pool:
        counted = sum(pool.map(count, connections))
    table: LiteralString = "events" if "events" in update else "counters"
    assert value(connections[0], "SELECT max(n) FROM " + table) == counted
    assert counted > WORKERS * TIMES // 2


def test_of_many_who_claim_a_job_one_gets_it(connect: Callable[[], psycopg.Connection]) -> None:
    connections = [connect() for _ in range(WORKERS)]
    connections[0].execute("CREATE TABLE jobs (id int PRIMARY KEY, owner int)")
    connections[0].execute("INSERT INTO jobs SELECT g, NULL FROM generate_series(1, 20) g")

    def claim(worker: int) -> int:
        won = 0
        for job in range(1, 21):
            statement: LiteralString = "UPDATE jobs SET owner = %s WHERE id = %s AND owner IS NULL"
            won += connections[worker].execute(statement, (worker, job)).rowcount
        return won

    with ThreadPoolExecutor(WORKERS) as pool:
        assert sum(pool.map(claim, range(WORKERS))) == 20


def test_of_two_blocks_that_count_the_later_is_refused(connect: Callable[[], psycopg.Connection]) -> None:
    ours, theirs = connect(), connect()
    for each in (ours, theirs):
        each.execute("BEGIN")
        each.execute("UPDATE counters SET n = n + 1 WHERE id = 1")
    ours.execute("COMMIT")
    with pytest.raises(psycopg.errors.SerializationFailure):
        theirs.execute("COMMIT")
    assert value(ours, "SELECT n FROM counters WHERE id = 1") == 1


def test_of_two_blocks_that_set_without_looking_the_later_wins(connect: Callable[[], psycopg.Connection]) -> None:
    ours, theirs = connect(), connect()
    for number, each in enumerate((ours, theirs)):
        each.execute("BEGIN")
        each.execute("UPDATE counters SET n = %s WHERE id = 1", (number,))
    ours.execute("COMMIT")
    theirs.execute("COMMIT")
    assert value(ours, "SELECT n FROM counters WHERE id = 1") == 1


def test_a_row_may_be_changed_twice_in_a_block(connect: Callable[[], psycopg.Connection]) -> None:
    ours = connect()
    ours.execute("BEGIN")
    for _ in range(3):
        ours.execute("UPDATE counters SET n = n + 1")
    ours.execute("COMMIT")
    assert value(ours, "SELECT min(n) FROM counters") == 3
