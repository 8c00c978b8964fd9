"""Materialized views: made, refreshed and swapped; what a crash leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.ddl.conftest import Run
from tests.session.conftest import Server
from tsdb.cluster.node import Node
from tsdb.model.relations import BUILDING, Definition, path_of
from tsdb.model.schema import LINE_PROTOCOL_TIME, CreateSeries

Refused = Callable[[str], str]


@pytest.fixture
def numbers(run: Run) -> Run:
    run(
        "CREATE TABLE numbers (time timestamptz, n int)",
        "INSERT INTO numbers SELECT '2026-01-01 00:00+00'::timestamptz + (g || ' s')::interval, g"
        " FROM generate_series(1, 1000) g",
    )
    return run


def test_a_materialized_view_is_as_its_query_was_and_refresh_makes_it_new(numbers: Run) -> None:
    numbers(
        "CREATE MATERIALIZED VIEW m AS SELECT time_bucket('5 min', time) AS time, sum(n) AS s FROM numbers GROUP BY 1"
    )
    query = "SELECT time_bucket('5 min', time), sum(n) FROM numbers GROUP BY 1 ORDER BY 1"
    before = numbers(query)
    assert numbers("SELECT * FROM m ORDER BY 1") == before
    numbers("INSERT INTO numbers VALUES ('2026-01-01 00:00:01+00', 5000)")
    assert numbers("SELECT * FROM m ORDER BY 1") == before
    numbers("REFRESH MATERIALIZED VIEW m")
    assert numbers("SELECT * FROM m ORDER BY 1") == numbers(query) != before


def test_without_data_it_cannot_be_read(numbers: Run, refused: Refused) -> None:
    numbers("CREATE MATERIALIZED VIEW IF NOT EXISTS m (a) AS SELECT n FROM numbers WITH NO DATA")
    assert refused("SELECT * FROM m") == "55000"
    numbers("REFRESH MATERIALIZED VIEW CONCURRENTLY m")
    assert numbers("SELECT sum(a) FROM m") == [(500500,)]
    numbers("REFRESH MATERIALIZED VIEW m WITH NO DATA")
    assert refused("SELECT * FROM m") == "55000"


def test_it_is_written_by_refresh_alone_and_dropped_as_what_it_is(numbers: Run, refused: Refused) -> None:
    numbers("CREATE MATERIALIZED VIEW m AS SELECT n FROM numbers")
    assert refused("INSERT INTO m VALUES (1)") == "42809"
    assert refused("DROP TABLE m") == "42809"
    assert refused("DROP TABLE numbers") == "2BP01"
    assert refused("REFRESH MATERIALIZED VIEW numbers") == "42809"
    numbers("ALTER MATERIALIZED VIEW m RENAME TO k", "REFRESH MATERIALIZED VIEW k", "DROP MATERIALIZED VIEW k")
    assert refused("SELECT * FROM k") == "42P01"


def test_views_over_it_follow_every_refresh(numbers: Run) -> None:
    numbers("CREATE MATERIALIZED VIEW m AS SELECT time, n FROM numbers", "CREATE VIEW v AS SELECT max(n) AS n FROM m")
    numbers("INSERT INTO numbers VALUES (now(), 7777)", "REFRESH MATERIALIZED VIEW m", "REFRESH MATERIALIZED VIEW m")
    assert numbers("SELECT n FROM v") == [(7777,)]


def test_a_refresh_that_fails_leaves_the_old_content_and_nothing_else(
    numbers: Run, refused: Refused, server: Server, database: str
) -> None:
    numbers("CREATE MATERIALIZED VIEW m AS SELECT n, 1000 / (5000 - n) AS q FROM numbers")
    numbers("INSERT INTO numbers VALUES (now(), 5000)")
    assert refused("REFRESH MATERIALIZED VIEW m") == "22012"
    assert numbers("SELECT count(*) FROM m") == [(1000,)]
    assert all(s.schema != BUILDING for s in server.node.catalog.find(database).series.values())


def test_readers_see_the_old_or_the_new(numbers: Run, server: Server, database: str) -> None:
    numbers("CREATE TABLE flag (k int PRIMARY KEY, v int)", "INSERT INTO flag VALUES (1, 0)")
    numbers("CREATE MATERIALIZED VIEW m AS SELECT numbers.n, flag.v FROM numbers CROSS JOIN flag")
    seen: set[tuple[int, int, int]] = set()
    stop = threading.Event()

    def read() -> None:
        with server.connect(database=database) as connection:
            while not stop.is_set():
                row = connection.execute("SELECT count(*), min(v), max(v) FROM m").fetchone()
                assert row is not None
                seen.add(tuple(row))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for value in range(1, 6):
            numbers(f"UPDATE flag SET v = {value}", "REFRESH MATERIALIZED VIEW m")
    finally:
        stop.set()
        reader.join()
    assert seen
    assert all(count == 1000 and low == high for count, low, high in seen)


def test_what_a_crash_left_unfinished_is_gone_after_the_next_start(tmp_path: Path) -> None:
    node = Node.open(tmp_path)
    made = CreateSeries("tsdb", "m", (LINE_PROTOCOL_TIME,), keyed=False, definition=Definition("SELECT now() AS time"))
    node.change(made, CreateSeries("tsdb", "1_1", (LINE_PROTOCOL_TIME,), keyed=False, schema=BUILDING))
    node.change(CreateSeries("tsdb", "t", (LINE_PROTOCOL_TIME,), keyed=False, schema="pg_temp_9"))
    assert path_of(BUILDING, "1_1") in node.catalog.find("tsdb").series
    node.close()
    again = Node.open(tmp_path)
    assert set(again.catalog.find("tsdb").series) == {"m"}
    assert again.catalog.find("tsdb").series["m"].definition == made.definition
    again.close()


def test_only_one_session_sees_a_temporary_table_and_it_goes_with_it(server: Server, database: str) -> None:
    with server.connect(database=database) as one, server.connect(database=database) as other:
        one.execute("CREATE TABLE t (a int)")
        one.execute("CREATE TEMP TABLE t (a int, b text)")
        one.execute("INSERT INTO t VALUES (1, 'x')")
        assert one.execute("SELECT * FROM t").fetchall() == [(1, "x")]
        assert other.execute("SELECT * FROM t").fetchall() == []
        with pytest.raises(psycopg.errors.UndefinedTable):
            other.execute("SELECT * FROM pg_temp.t")
    for _ in range(100):
        if all(not s.schema.startswith("pg_temp") for s in server.node.catalog.find(database).series.values()):
            return
        threading.Event().wait(0.05)
    pytest.fail("the temporary table is still there")


@pytest.mark.parametrize("row", ["ROW(1, 'a')", "ARRAY[ROW(1, 'a')]"])
def test_rows_without_a_type_are_no_columns(numbers: Run, refused: Refused, row: str) -> None:
    for kind in ("TABLE", "MATERIALIZED VIEW"):
        assert refused(f"CREATE {kind} r AS SELECT {row} AS y") == "42P16"
        assert refused("SELECT * FROM r") == "42P01"
