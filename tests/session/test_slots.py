"""Slots of a hot series: made and changed by SQL while it is written to, and no point is lost or in two places."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest

from tests.session.conftest import Server
from tsdb.model.change_slots import BUCKETS_AHEAD
from tsdb.model.places import places_in
from tsdb.model.schema import Series, SetSlots, SettleSlots
from tsdb.model.time import BUCKET_NS, NS_PER_SECOND

MADE = "CREATE TABLE {} (time timestamptz, host text TAG, v float8, PRIMARY KEY (host, time))"


@pytest.fixture
def connection(server: Server) -> Iterator[psycopg.Connection]:
    with server.connect() as made:
        yield made


@pytest.fixture
def hot(server: Server, connection: psycopg.Connection) -> Iterator[str]:
    connection.execute(MADE.format("hot"))
    yield "hot"
    connection.execute("DROP TABLE hot")


def series(server: Server, name: str = "hot") -> Series:
    return server.node.catalog.find("tsdb").find(name)


def counts(connection: psycopg.Connection, name: str = "hot") -> tuple[int, float]:
    row = connection.execute(f"SELECT count(*), sum(v) FROM {name}").fetchone()
    assert row is not None
    return row[0], row[1]


def options(connection: psycopg.Connection, name: str = "hot") -> list[str]:
    row = connection.execute("SELECT reloptions FROM pg_class WHERE relname = %s", (name,)).fetchone()
    assert row is not None
    return row[0] or []


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def bucket_of(instant: datetime) -> int:
    return int(instant.timestamp()) * NS_PER_SECOND // BUCKET_NS


def test_a_new_table_has_its_slots_from_the_first_point_on(server: Server, connection: psycopg.Connection) -> None:
    connection.execute(MADE.format("hot") + " WITH (slots = 16)")
    connection.execute(
        "INSERT INTO hot SELECT '2020-01-01'::timestamptz + i * interval '1 second', 'h' || i % 7, i"
        " FROM generate_series(0, 299) AS g(i)"
    )
    seconds = np.arange(300) * NS_PER_SECOND + int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()) * NS_PER_SECOND
    database = server.node.catalog.find("tsdb")
    assert len(places_in(database, series(server).number).cut(database.locations, seconds)) > 8
    assert counts(connection) == (300, sum(range(300)))
    assert connection.execute("UPDATE hot SET v = v + 1 WHERE host = 'h3'").rowcount == 43
    assert connection.execute("DELETE FROM hot WHERE v >= 150").rowcount == 150
    connection.execute("DELETE FROM hot WHERE time < '2020-01-01 00:01:00+00'")
    assert counts(connection)[1] == sum(v for v in (i + (i % 7 == 3) for i in range(60, 300)) if v < 150)
    assert options(connection) == ["slots=16"]
    connection.execute("DROP TABLE hot")


def test_slots_begin_later_than_all_points(server: Server, connection: psycopg.Connection, hot: str) -> None:
    before = now()
    connection.execute("INSERT INTO hot VALUES (%s, 'a', 1)", (before,))
    connection.execute("ALTER TABLE hot SET (slots = 8)")
    (made,) = series(server).slots
    assert made.settled
    assert made.bits == 3
    assert bucket_of(before) + BUCKETS_AHEAD <= made.from_bucket <= bucket_of(now()) + BUCKETS_AHEAD
    later = [now() + timedelta(minutes=30, seconds=i) for i in range(100)]
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO hot VALUES (%s, 'a', %s)", [(at, i) for i, at in enumerate(later)])
        # The same points again: each has its versions in one place, so they merge.
        cursor.executemany("INSERT INTO hot VALUES (%s, 'a', %s)", [(at, i + 1) for i, at in enumerate(later)])
    assert counts(connection) == (101, 1 + sum(range(1, 101)))
    assert options(connection) == ["slots=8"]


def test_slots_that_are_there_are_not_set_again(server: Server, connection: psycopg.Connection, hot: str) -> None:
    connection.execute("ALTER TABLE hot SET (slots = 1)")
    assert series(server).slots == ()
    connection.execute("ALTER TABLE hot SET (slots = 4)")
    before = series(server).slots
    connection.execute("ALTER TABLE hot SET (slots = 4)")
    assert series(server).slots == before
    with pytest.raises(psycopg.Error, match="changed just now") as caught:
        connection.execute("ALTER TABLE hot RESET (slots)")
    assert caught.value.sqlstate == "55000"


def test_points_of_the_future_keep_slots_from_beginning(
    server: Server, connection: psycopg.Connection, hot: str
) -> None:
    connection.execute("INSERT INTO hot VALUES (%s, 'a', 1)", (now() + timedelta(days=1),))
    with pytest.raises(psycopg.Error, match='"hot" has points from') as caught:
        connection.execute("ALTER TABLE hot SET (slots = 8)")
    assert caught.value.sqlstate == "55000"
    assert series(server).slots == (), "the wish is gone"
    assert counts(connection) == (1, 1)
    connection.execute("INSERT INTO hot VALUES (%s, 'a', 2)", (now() + timedelta(days=2),))
    connection.execute("DELETE FROM hot")
    with pytest.raises(psycopg.Error, match="had some that are still on disk: slots hold") as caught:
        connection.execute("ALTER TABLE hot SET (slots = 8)")
    assert caught.value.sqlstate == "55000"
    connection.execute("VACUUM hot")
    connection.execute("ALTER TABLE hot SET (slots = 8)")
    assert [each.bits for each in series(server).slots] == [3]


def test_until_slots_are_settled_nothing_is_written_to_their_buckets(
    server: Server, connection: psycopg.Connection, hot: str
) -> None:
    begin = bucket_of(now()) + 10
    server.node.change(SetSlots("tsdb", "hot", 8, begin))
    first = datetime.fromtimestamp(begin * 300, UTC)
    connection.execute("INSERT INTO hot VALUES (%s, 'a', 1)", (first - timedelta(microseconds=1),))
    with pytest.raises(psycopg.Error, match='slots of "hot" are being changed') as caught:
        connection.execute("INSERT INTO hot VALUES (%s, 'a', 1), (%s, 'a', 1)", (now(), first))
    assert caught.value.sqlstate == "57P03"
    server.node.change(SettleSlots("tsdb", "hot", begin))
    connection.execute("INSERT INTO hot VALUES (%s, 'a', 1), (%s, 'a', 1)", (now(), first))
    assert counts(connection) == (3, 3)


@pytest.mark.parametrize("text", ["0", "3", "512", "-8", "many", "8.0", "99999999999999999999"])
def test_slots_are_a_power_of_two_within_limits(connection: psycopg.Connection, hot: str, text: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(f"ALTER TABLE hot SET (slots = {text})")
    assert caught.value.sqlstate in ("22023", "42601")


def test_a_table_without_a_time_has_no_slots(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.Error, match="has no time column, so it can have no slots"):
        connection.execute("CREATE TABLE timeless (a int) WITH (slots = 8)")
    connection.execute("CREATE TABLE timeless (a int)")
    with pytest.raises(psycopg.Error, match="has no time column, so it can have no slots"):
        connection.execute("ALTER TABLE timeless SET (slots = 8)")
    connection.execute("DROP TABLE timeless")


def test_who_writes_meanwhile_loses_nothing(server: Server, connection: psycopg.Connection, hot: str) -> None:
    """Writers of the present and of the near future, the bucket in which slots begin among it, at the change."""
    begin = bucket_of(now()) + BUCKETS_AHEAD
    written: list[list[int]] = [[], []]
    stop = threading.Event()

    def write(which: int) -> None:
        with server.connect() as mine:
            at = 0
            while not stop.is_set():
                instant = datetime.fromtimestamp((begin - 1 + which) * 300, UTC) + timedelta(seconds=at % 300)
                try:
                    mine.execute("INSERT INTO hot VALUES (%s, %s, 1)", (instant, f"{which}-{at}"))
                except psycopg.errors.CannotConnectNow:
                    continue
                written[which].append(at)
                at += 1

    threads = [threading.Thread(target=write, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    while not (made := series(server).slots) or not made[-1].settled:
        try:
            connection.execute("ALTER TABLE hot SET (slots = 32)")
        except psycopg.errors.ObjectNotInPrerequisiteState:
            connection.execute("DELETE FROM hot WHERE host LIKE '1-%'")
            connection.execute("VACUUM hot")
    stop.set()
    for thread in threads:
        thread.join()
    connection.execute("DELETE FROM hot WHERE host LIKE '1-%'")
    assert counts(connection)[0] == len(written[0])
