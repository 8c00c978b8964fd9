"""Short queries run where their message was read: the same answers, and nothing there that may wait."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.session.conftest import Server
from tsdb.prompt import MayWait, Run, is_prompt, may_wait, reads
from tsdb.sql.instance import Instance
from tsdb.sql.pace import HELD_UP_S, SHORT_S, Pace
from tsdb.storage.keys import state_key
from tsdb.storage.rocks import Rocks

KINDS = (
    "SELECT time_bucket('1 minute', time) AS minute, max(v) FROM short WHERE host = '{host}' AND time >= '{low}' "
    "AND time < '{high}' GROUP BY minute ORDER BY minute",
    "SELECT host, count(*), avg(v) FROM short WHERE time >= '{low}' AND time < '{high}' GROUP BY host ORDER BY host",
    "SELECT * FROM short WHERE host IN ('{host}', 'h3') AND v > 20.0 AND time >= '{low}'",
    "SELECT time, host, v, w FROM short WHERE host = '{host}' AND time < '{high}' ORDER BY time DESC LIMIT 3",
    "SELECT DISTINCT ON (host) host, time, v, w FROM short WHERE time < '{high}' ORDER BY host, time DESC",
    "SELECT time, v FROM short WHERE host = '{host}' AND v > {value}",
    "SELECT time_bucket('1 minute', time) AS minute, max(v) FROM short WHERE time < '{high}' GROUP BY minute "
    "ORDER BY minute DESC LIMIT 2",
)
PANEL = KINDS[0]


@pytest.fixture
def connection(connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    connection.execute("DROP TABLE IF EXISTS short")
    connection.execute(
        "CREATE TABLE short (time timestamptz, host text TAG, v float8, w text, PRIMARY KEY (host, time))"
    )
    insert(connection, 1, 400)
    return connection


def insert(connection: psycopg.Connection[Any], first: int, last: int) -> None:
    connection.execute(
        "INSERT INTO short SELECT '2026-01-01 00:00:00Z'::timestamptz + i * interval '10 seconds', 'h' || i % 5, "
        f"(i * 7919) % 101, CASE WHEN i % 3 = 0 THEN 'w' || i END FROM generate_series({first}, {last}) AS i"
    )


def drawn(kind: str, chance: random.Random) -> str:
    low, high = sorted(chance.randrange(70) for _ in range(2))
    return kind.format(
        host=f"h{chance.randrange(6)}",
        low=f"2026-01-01 00:{low % 60:02}:00Z",
        high=f"2026-01-01 01:{high % 60:02}:05Z",
        value=chance.randrange(100),
    )


def ask(connection: psycopg.Connection[Any], text: str, *, prepare: bool = False) -> list[tuple[Any, ...]]:
    return connection.execute(text.encode(), prepare=prepare).fetchall()


def fewest_trips(server: Server, connection: psycopg.Connection[Any], texts: list[str], *, prepare: bool) -> int:
    """To the pool, of all of them: a busy machine may make one of them long."""
    trips = []
    for text in texts:
        before = server.pool.submitted
        ask(connection, text, prepare=prepare)
        trips.append(server.pool.submitted - before)
    return min(trips)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prepare", [False, True])
def test_a_query_like_short_ones_needs_no_thread(
    server: Server, connection: psycopg.Connection[Any], kind: str, prepare: bool
) -> None:
    chance = random.Random(kind)
    text = drawn(kind, chance)
    texts = [text] * 20 if prepare else [drawn(kind, chance) for _ in range(20)]
    for text in texts[:8]:
        ask(connection, text, prepare=prepare)
    assert fewest_trips(server, connection, texts, prepare=prepare) == 0


@pytest.mark.parametrize("seed", range(2))
def test_answers_are_those_of_duckdb_over_all_rows(connection: psycopg.Connection[Any], seed: int) -> None:
    chance = random.Random(seed)
    first = 401
    for _ in range(12):
        if chance.random() < 0.15:
            connection.execute("CHECKPOINT")
        if chance.random() < 0.3:
            insert(connection, first, first + 30)
            first += 31
        if chance.random() < 0.2:
            connection.execute(f"DELETE FROM short WHERE host = 'h1' AND v < {chance.randrange(20)}")
        text = drawn(chance.choice(KINDS), chance)
        found = [ask(connection, text) for _ in range(3)]
        connection.execute("SET tsdb.prune = off")
        plain = ask(connection, text)
        connection.execute("RESET tsdb.prune")
        assert [sorted(map(repr, each)) for each in found] == [sorted(map(repr, plain))] * 3, text


def test_what_is_only_on_disk_is_read_in_a_thread(server: Server, connection: psycopg.Connection[Any]) -> None:
    chance = random.Random(0)
    for _ in range(8):
        ask(connection, drawn(PANEL, chance))
    connection.execute("CHECKPOINT")
    text = PANEL.format(host="h2", low="2026-01-01 00:00:00Z", high="2026-01-01 01:00:00Z")
    before = server.pool.submitted
    rows = ask(connection, text)
    assert server.pool.submitted > before
    assert rows == ask(connection, text)
    assert rows


def test_a_statement_that_fails_at_once_fails_as_in_a_thread(connection: psycopg.Connection[Any]) -> None:
    text = "SELECT time, v FROM short WHERE host = 'h1' AND v > 10"
    for _ in range(6):
        ask(connection, text)
    connection.execute("ALTER TABLE short DROP COLUMN v")
    with pytest.raises(psycopg.errors.UndefinedColumn):
        ask(connection, text)
    connection.execute("ALTER TABLE short ADD COLUMN v float8")
    assert all(row[1] is None for row in ask(connection, "SELECT time, v FROM short WHERE host = 'h1'"))


def test_a_transaction_reads_what_it_has_written(connection: psycopg.Connection[Any]) -> None:
    text = "SELECT count(*), max(v) FROM short WHERE host = 'h1' AND time < '2027-01-01'"
    for _ in range(6):
        count, _ = ask(connection, text)[0]
    with connection.transaction(force_rollback=True):
        insert(connection, 1001, 1001)
        assert ask(connection, text)[0][0] == count + 1
    assert ask(connection, text)[0][0] == count


def test_many_queries_of_one_client_leave_the_loop_to_others(
    server: Server, connection: psycopg.Connection[Any]
) -> None:
    chance = random.Random(1)
    for _ in range(8):
        ask(connection, drawn(PANEL, chance))
    with server.connect() as other, connection.pipeline() as pipeline:
        asked = [connection.execute(drawn(PANEL, chance).encode()) for _ in range(100)]
        pipeline.sync()
        for _ in range(5):
            assert ask(other, "SHOW timezone")
        assert all(cursor.fetchall() is not None for cursor in asked)


# --- what decides ---


def busy(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def run_of(parts: int, seconds: float = 0.0) -> None:
    reads(parts)
    busy(seconds)


def test_nothing_runs_at_once_before_one_was_measured() -> None:
    assert Pace().parts_max() is None


def test_more_parts_than_those_of_short_runs_go_to_a_thread() -> None:
    pace = Pace()
    pace.measured(lambda: run_of(8))
    most = pace.parts_max()
    assert most is not None
    assert 8 <= most < 16
    pace.at_once(lambda: run_of(8), most)
    with pytest.raises(MayWait):
        pace.at_once(lambda: run_of(100), most)


def test_a_long_run_is_no_example() -> None:
    pace = Pace()
    pace.measured(lambda: run_of(8, 3 * SHORT_S))
    assert pace.parts_max() is None


def run_one(pace: Pace, parts: int, seconds: float) -> bool:
    """Whether it ran at once."""
    most = pace.parts_max()
    if most is None or parts > most:
        pace.measured(lambda: run_of(parts, seconds))
        return False
    pace.at_once(lambda: run_of(parts, seconds), most)
    return True


@pytest.mark.parametrize("seconds", [1.5 * SHORT_S, 2 * HELD_UP_S])
def test_of_a_kind_that_is_long_now_and_then_few_long_ones_run_at_once(seconds: float) -> None:
    pace, chance = Pace(), random.Random(5)
    drawn = [chance.choice([0.0, seconds]) for _ in range(120)]
    at_once = [run_one(pace, 40, each) for each in drawn]
    assert sum(at for at, each in zip(at_once, drawn, strict=True) if each) <= 8


@pytest.mark.parametrize("parts", [0, 1, 2, 3, 4, 5, 8, 100, 1000])
def test_after_a_long_one_as_many_parts_go_to_a_thread(parts: int) -> None:
    pace = Pace()
    assert not run_one(pace, parts, 0.0)
    assert not run_one(pace, 2000, 2 * SHORT_S)
    assert run_one(pace, parts, 0.0)
    pace.measured(lambda: run_of(parts, 2 * SHORT_S))
    assert not run_one(pace, parts, 0.0)
    assert run_one(pace, parts, 0.0)


def test_one_that_fails_late_is_long_as_well() -> None:
    pace = Pace()
    pace.measured(lambda: run_of(4))

    def fails() -> None:
        run_of(4, 2 * SHORT_S)
        raise ZeroDivisionError

    most = pace.parts_max()
    assert most is not None
    with pytest.raises(ZeroDivisionError):
        pace.at_once(fails, most)
    assert pace.parts_max() is None


def test_after_those_that_had_to_wait_more_and_more_go_to_a_thread() -> None:
    pace = Pace()
    pace.measured(lambda: run_of(1))
    sent = []
    for _ in range(4):
        with pytest.raises(MayWait):
            pace.at_once(may_wait, 1)
        count = 0
        while pace.parts_max() is None:
            count += 1
        sent.append(count)
    assert sent == [1, 2, 4, 8]
    for _ in range(8):
        pace.at_once(lambda: run_of(1), 1)
    with pytest.raises(MayWait):
        pace.at_once(may_wait, 1)
    assert [pace.parts_max() for _ in range(2)] == [None, 2]


def test_who_must_not_wait_reads_no_disk_and_asks_no_duckdb(tmp_path: Path) -> None:
    instance = Instance(1 << 26, 1, None)
    with Rocks.open(tmp_path) as rocks:
        key = state_key("format")
        with Run(parts_max=10):
            assert is_prompt()
            for waits in (
                lambda: rocks.get("state", key),
                lambda: rocks.get_many("state", [key]),
                lambda: rocks.scan("state"),
                lambda: rocks.write(rocks.batch(), sync=False),
                lambda: instance.take("UTC"),
            ):
                with pytest.raises(MayWait):
                    waits()
        assert not is_prompt()
        with Run():
            assert rocks.get("state", key)
    instance.close()
