"""What users do to a database, on one server and on three that all have it (``tsdb start``, real processes): the same
tags and errors, statement by statement, and the same rows in the end, asked of each node."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.fixtures.server import Process
from tests.fixtures.waiting import until
from tests.group.nodes import Nodes

STATEMENTS = """
CREATE TABLE d (time timestamptz NOT NULL, host text, v float8, note text, n numeric, PRIMARY KEY (time, host))
CREATE TABLE e (time timestamptz NOT NULL, host text, v int)
INSERT INTO d SELECT '2026-01-01'::timestamptz + i * interval '3 min', 'h' || i % 4, i, 'n' || i, i + 0.50 \
FROM generate_series(0, 199) AS g(i)
INSERT INTO e SELECT '2026-01-01'::timestamptz + i % 40 * interval '7 min', 'h' || i % 3, i \
FROM generate_series(0, 99) AS g(i)
INSERT INTO d (time, host, v) VALUES ('2026-01-01', 'h0', 1000)
UPDATE d SET v = v + 1 WHERE v > 150
UPDATE d SET v = NULL, note = 'none' WHERE host = 'h2' AND v < 50
UPDATE d SET note = upper(note) WHERE note LIKE 'n1%'
UPDATE d SET host = 'x' WHERE v BETWEEN 60 AND 70
UPDATE d SET time = time + interval '1 day' WHERE host = 'h1' AND v < 100
UPDATE d SET time = '2026-01-01 00:03+00', host = 'h1' WHERE note = 'n7'
UPDATE d SET v = s.most FROM (SELECT host, max(v) AS most FROM d GROUP BY host) AS s WHERE s.host = d.host AND d.v < 10
UPDATE e SET v = v * 2 WHERE v % 5 = 0
UPDATE e SET host = 'moved', time = time + interval '3 days' WHERE v % 7 = 0
DELETE FROM d WHERE v > 190
DELETE FROM d WHERE n = 30.5 OR note IS NULL
DELETE FROM d WHERE host IN (SELECT host FROM e WHERE v = 1) AND v < 30
DELETE FROM d WHERE time < '2026-01-01 00:30+00' AND host = 'h3'
DELETE FROM e WHERE v > 90
DELETE FROM e WHERE host = 'h1' AND v < 20
DELETE FROM e WHERE time >= '2026-01-01 04:00+00' AND time < '2026-01-01 04:30+00'
UPDATE d SET nothing = 1
UPDATE d SET v = 'x' WHERE v = 61
DELETE FROM nothing WHERE v = 1
CREATE VIEW far AS SELECT * FROM d WHERE v > 100
CREATE MATERIALIZED VIEW hourly AS SELECT host, count(*) AS n FROM d GROUP BY host
ALTER TABLE d ADD COLUMN more float8
UPDATE d SET more = v / 2 WHERE v > 100
ALTER TABLE d RENAME COLUMN note TO remark
UPDATE d SET remark = 'after' WHERE remark = 'none'
ALTER TABLE e DROP COLUMN v
DELETE FROM e WHERE host = 'moved'
TRUNCATE e
INSERT INTO e VALUES ('2026-01-01', 'again'), ('2026-01-01', 'again'), ('2026-02-01', 'late')
DELETE FROM e WHERE host = 'late'
REFRESH MATERIALIZED VIEW hourly
CREATE TABLE r (id int PRIMARY KEY, label text UNIQUE)
INSERT INTO r VALUES (1, 'one'), (2, 'two'), (3, 'three')
INSERT INTO r VALUES (4, 'four'), (2, 'again')
INSERT INTO r VALUES (5, 'one')
INSERT INTO r VALUES (1, 'uno') ON CONFLICT (id) DO UPDATE SET label = excluded.label
INSERT INTO r VALUES (2, 'deux'), (6, 'six') ON CONFLICT DO NOTHING
UPDATE r SET id = 2 WHERE id = 1
UPDATE r SET id = id + 10, label = upper(label)
UPDATE r SET label = 'TWO' WHERE id = 11
UPDATE r SET label = 'TWO', id = 12 WHERE id = 12
DELETE FROM r WHERE label = 'UNO'
INSERT INTO r VALUES (11, 'UNO')
BEGIN; DELETE FROM r; INSERT INTO r VALUES (11, 'UNO'), (12, 'new'); COMMIT
BEGIN; DELETE FROM r WHERE id = 11; INSERT INTO r VALUES (11, 'in its place'); COMMIT
BEGIN; INSERT INTO r VALUES (20, 'twenty'); INSERT INTO r VALUES (20, 'twice'); COMMIT
BEGIN; TRUNCATE r; INSERT INTO r SELECT i, 'l' || i FROM generate_series(1, 5) AS g(i); COMMIT
CREATE ROLE reader LOGIN
GRANT SELECT ON d TO reader
""".replace("\\\n", "")
TABLES = ("d", "e", "far", "hourly", "r")


_numbers = itertools.count()


def statements() -> list[str]:
    return [line for line in STATEMENTS.splitlines() if line]


def done(connection: psycopg.Connection, statement: str) -> str:
    """The tag, or the error's code. A block that has failed ends."""
    try:
        return connection.execute(statement.encode()).statusmessage or ""
    except psycopg.Error as error:
        connection.rollback()
        return f"error {error.sqlstate}"


def rows(connection: psycopg.Connection, table: str) -> list[tuple[Any, ...]]:
    return sorted(connection.execute(f"SELECT * FROM {table}".encode()).fetchall(), key=repr)


class Three:
    """A cluster whose databases are on all of its nodes, and the database ``shared``."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes

    def connect(self, place: int, database: str = "shared") -> psycopg.Connection:
        url = self.nodes.running[place].pg_url.rpartition("/")[0]
        return psycopg.connect(f"{url}/{database}", connect_timeout=10, autocommit=True)

    def made(self, arcs: int) -> str:
        """A new database; its arcs, if there are several, are led by several nodes."""
        nodes, database = self.nodes, f"made{next(_numbers)}"
        nodes.sql(2, f"CREATE DATABASE {database}")
        for place in (1, 2, 3):
            until(lambda: nodes.sql(place, f"SELECT 1 FROM pg_database WHERE datname = '{database}'"))  # noqa: B023
        text = f"SELECT DISTINCT leader, goal FROM tsdb.locations WHERE datname = '{database}'"
        until(lambda: len(nodes.sql(1, text)) == 1)
        if arcs > 1:
            assert f"has {arcs} arcs" in nodes.done("cluster", "spread", database, str(arcs), at=1)
            assert "on their way" in nodes.done("cluster", "rebalance", at=3)
            until(lambda: len(found := nodes.sql(1, text)) > 1 and all(goal is None for _, goal in found))
        return database

    def leader(self) -> int:
        text = "SELECT DISTINCT leader FROM tsdb.locations WHERE datname = 'shared'"
        ((leader,),) = until(lambda: x if len(x := self.nodes.sql(min(self.nodes.running), text)) == 1 else [])
        return int(leader)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    nodes = Nodes(tmp_path_factory.mktemp("three"))
    try:
        nodes.begin()
        assert "3 replicas" in nodes.done("cluster", "replication", "3", at=1)
        nodes.sql(2, "CREATE DATABASE shared")
        three = Three(nodes)
        for place in (1, 2, 3):
            until(lambda: nodes.sql(place, "SELECT 1 FROM pg_database WHERE datname = 'shared'"))  # noqa: B023
        yield three
    finally:
        nodes.end()


@pytest.mark.parametrize("arcs", [1, 4])
def test_the_same_statements_leave_the_same_rows_on_one_server_and_on_three(
    three: Three, tmp_path: Path, arcs: int
) -> None:
    database = three.made(arcs)
    alone = Process(tmp_path / "alone")
    connections = [three.connect(place, database) for place in (1, 2, 3)]
    try:
        with alone.connect() as one:
            # Roles are of the whole cluster.
            for at, statement in enumerate(each.replace("reader", f"reader_of_{database}") for each in statements()):
                # Each goes to another node, which knows what was made at the one before.
                assert done(one, statement) == done(connections[at % 3], statement), statement
            for connection in connections:
                for table in TABLES:
                    assert rows(connection, table) == rows(one, table), table
    finally:
        alone.kill()
        for connection in connections:
            connection.close()


def test_a_transaction_is_there_as_a_whole(three: Three) -> None:
    with three.connect(1) as connection, three.connect(2) as other:
        connection.execute("CREATE TABLE moves (time timestamptz NOT NULL, host text, v int)")
        connection.execute("INSERT INTO moves VALUES ('2026-01-01', 'a', 1), ('2026-01-01', 'b', 2)")
        with connection.transaction():
            connection.execute("UPDATE moves SET v = v + 10 WHERE host = 'a'")
            connection.execute("DELETE FROM moves WHERE v = 2")
            connection.execute("INSERT INTO moves VALUES ('2026-01-01', 'c', 3)")
            assert len(rows(other, "moves")) == 2
        assert [(host, v) for _, host, v in rows(other, "moves")] == [("a", 11), ("c", 3)]


def test_of_two_that_change_a_row_one_is_told_to_try_again(three: Three) -> None:
    with three.connect(1) as connection, three.connect(2) as first, three.connect(3) as second:
        connection.execute("CREATE TABLE counted (time timestamptz NOT NULL, host text, v int)")
        connection.execute("INSERT INTO counted VALUES ('2026-01-01', 'a', 1)")
        with pytest.raises(errors.SerializationFailure), second.transaction():
            second.execute("UPDATE counted SET v = v + 1")
            first.execute("UPDATE counted SET v = v + 1")
        assert [v for _, _, v in rows(connection, "counted")] == [2]


@pytest.mark.parametrize("where", ["", "WHERE id = 1", "WHERE label = 'one'"])
def test_a_key_is_free_when_its_row_goes_with_the_same_commit(three: Three, where: str) -> None:
    """Whatever others write meanwhile, unless it is that key."""
    with three.connect(1) as connection, three.connect(2) as first, three.connect(3) as second:
        connection.execute("CREATE TABLE IF NOT EXISTS places (id int PRIMARY KEY, label text UNIQUE)")
        connection.execute("TRUNCATE places")
        connection.execute("INSERT INTO places VALUES (1, 'one')")
        with first.transaction():
            first.execute(f"DELETE FROM places {where}".encode())
            first.execute("INSERT INTO places VALUES (1, 'one')")
            second.execute("INSERT INTO places VALUES (2, 'two')")
        if not where:
            # A DELETE of all rows is of those that are there at COMMIT, as on a single server.
            assert rows(connection, "places") == [(1, "one")]
            return
        assert rows(connection, "places") == [(1, "one"), (2, "two")]
        with first.transaction():
            first.execute("UPDATE places SET id = 3 WHERE id = 1")
            second.execute("UPDATE places SET label = 'deux' WHERE id = 2")
        assert rows(connection, "places") == [(2, "deux"), (3, "one")]
        with pytest.raises(errors.UniqueViolation), first.transaction():
            first.execute("UPDATE places SET id = 4 WHERE id = 3")
            second.execute("INSERT INTO places VALUES (4, 'four')")
        assert rows(connection, "places") == [(2, "deux"), (3, "one"), (4, "four")]


def test_a_continuous_view_is_stored_by_who_leads_and_read_at_every_node(three: Three) -> None:
    query = "SELECT time_bucket('1 hour', time) AS bucket, host, sum(v) AS v FROM read GROUP BY bucket, host"
    connections = [three.connect(place) for place in (1, 2, 3)]
    leader = three.leader()
    follower = connections[leader % 3]
    try:
        follower.execute("CREATE TABLE read (time timestamptz NOT NULL, host text TAG, v int)")
        follower.execute(
            """INSERT INTO read SELECT '2026-01-01'::timestamptz + i * interval '7 min', 'h' || i % 3, i
               FROM generate_series(0, 499) AS g(i)"""
        )
        text = f"CREATE MATERIALIZED VIEW kept WITH (continuous, refresh_interval = '1 second') AS {query}"
        follower.execute(text.encode())

        def dirty(connection: psycopg.Connection) -> Any:
            look = "SELECT watermark, dirty FROM tsdb.continuous_aggregates WHERE relname = 'kept'"
            return connection.execute(look).fetchone()

        for statement in (
            "INSERT INTO read VALUES ('2026-01-01 03:01+00', 'h1', 1000)",
            "DELETE FROM read WHERE v BETWEEN 100 AND 120",
            "UPDATE read SET v = 0 WHERE time < '2026-01-01 01:00+00'",
        ):
            follower.execute(statement.encode())
            for connection in connections:
                connection.execute("REFRESH MATERIALIZED VIEW kept")
                assert rows(connection, "kept") == rows(connection, f"({query}) AS q")
                until(lambda: (now := dirty(connection))[0] is not None and not now[1])  # noqa: B023
                assert rows(connection, "kept") == rows(connection, f"({query}) AS q")
        before = rows(follower, "kept")
        # It is taken anywhere; of others the floor rises within a minute.
        connections[leader - 1].execute("ALTER TABLE read SET (retention = '1 day')")
        for connection in connections:
            until(lambda: not rows(connection, "read"))  # noqa: B023
            assert rows(connection, "kept") == before
            assert rows(connection, "tsdb.continuous_aggregates")
        connections[leader - 1].execute("DROP MATERIALIZED VIEW kept")
        until(lambda: not dirty(follower))
    finally:
        for connection in connections:
            connection.close()


def test_of_many_who_take_a_key_at_all_nodes_one_gets_it(three: Three) -> None:
    with three.connect(1) as connection:
        connection.execute("CREATE TABLE taken (id int PRIMARY KEY, who text)")
    got: list[tuple[int, str]] = []
    meeting = threading.Barrier(6)

    def take(who: str, place: int) -> None:
        with three.connect(place) as connection:
            for id in range(10):
                meeting.wait(60)
                try:
                    connection.execute("INSERT INTO taken VALUES (%s, %s)", (id, who))
                except (errors.UniqueViolation, errors.SerializationFailure):
                    continue
                got.append((id, who))

    taking = [threading.Thread(target=take, args=(f"w{at}", 1 + at % 3)) for at in range(6)]
    for thread in taking:
        thread.start()
    for thread in taking:
        thread.join(120)
    with three.connect(2) as connection:
        assert rows(connection, "taken") == sorted(got)
    assert [id for id, _ in sorted(got)] == [*range(10)]


def test_what_is_counted_by_many_is_counted_once_each_also_when_the_leader_is_killed(three: Three) -> None:
    """Each adds 1 again and again, through another node; a sum that was answered counts, one that may be there may. The
    row has no key: each time it is taken away and written anew, by one op."""
    with three.connect(1) as connection:
        connection.execute("CREATE TABLE sums (time timestamptz NOT NULL, host text, v int)")
        connection.execute("INSERT INTO sums VALUES ('2026-01-01', 'a', 0)")
    leader = three.leader()
    places = [place for place in (1, 2, 3) if place != leader]
    counted, unknown = [0, 0], [0, 0]
    killed = threading.Event()

    def add(at: int) -> None:
        connection = three.connect(places[at])
        after = 0
        while after < 10:
            try:
                connection.execute("UPDATE sums SET v = v + 1")
                counted[at] += 1
                after += killed.is_set()
            except (errors.SerializationFailure, errors.CannotConnectNow):
                continue
            except errors.StatementCompletionUnknown:
                unknown[at] += 1
        connection.close()

    adding = [threading.Thread(target=add, args=(at,)) for at in range(2)]
    for thread in adding:
        thread.start()
    until(lambda: min(counted) >= 5)
    three.nodes.kill(leader)
    killed.set()
    for thread in adding:
        thread.join(120)
    three.nodes.start(leader)
    for place in (1, 2, 3):
        with three.connect(place) as connection:
            ((_, _, value),) = rows(connection, "sums")
        assert sum(counted) <= value <= sum(counted) + sum(unknown)
