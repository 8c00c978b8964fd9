"""Where a COPY's points wait, and the steps in which a large one is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from tests.copy.outcome import Connection, copy_in
from tests.session.conftest import Server
from tsdb.model.points import Points
from tsdb.model.schema import LINE_PROTOCOL_TIME, Catalog, CreateDatabase, CreateSeries, Series, apply
from tsdb.session import effects
from tsdb.session.effects import size_of
from tsdb.session.spool import Spool
from tsdb.sql.dml.modification import Write


@pytest.fixture
def series() -> Series:
    made = CreateSeries("d", "m", (LINE_PROTOCOL_TIME,), keyed=True)
    return apply(Catalog(), [CreateDatabase("d"), made]).find("d").find("m")


def points(series: Series, first: int, rows: int) -> Points:
    times = np.arange(first, first + rows, dtype=np.int64)
    tagsets = [f"tag {i}".encode() for i in range(7)]
    numbers = pa.array([None if i % 5 == 0 else i / 2 for i in range(first, first + rows)])
    texts = pa.array([f"text {i}" for i in range(first, first + rows)])
    return Points(series, times, tagsets, (times % 7).astype(np.int32), {3: numbers, 4: texts})


def same(a: Points, b: Points) -> bool:
    return (
        a.times.tolist() == b.times.tolist()
        and list(a.tagsets) == list(b.tagsets)
        and a.tagset.tolist() == b.tagset.tolist()
        and a.fields == b.fields
    )


def test_points_beyond_the_memory_come_back_from_the_file_after_it_is_closed(tmp_path: Path, series: Series) -> None:
    given = [points(series, i * 100, 100) for i in range(20)]
    spool = Spool(tmp_path / "spill", memory_bytes=3 * size_of(Write(given[0])))
    for batch in given:
        spool.add(batch)
    taken = list(spool.take())
    assert [same(a, b) for a, b in zip(taken, given, strict=True)] == [True] * 20
    assert [type(batch).__name__ for batch in (taken[0], taken[19])] == ["Points", "SpooledPoints"]
    assert list((tmp_path / "spill").iterdir()) == []
    assert same(taken[10].take(np.array([5, 3])), given[10].take(np.array([5, 3])))


def test_what_lies_in_the_file_counts_next_to_nothing(tmp_path: Path, series: Series) -> None:
    spool = Spool(tmp_path, memory_bytes=0)
    spool.add(points(series, 0, 10_000))
    (stored,) = spool.take()
    assert size_of(Write(stored)) < size_of(Write(points(series, 0, 10_000))) / 100


def test_a_large_copy_is_written_in_several_steps(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "STEP_ROWS_MAX", 1000)
    monkeypatch.setattr(effects, "_SMALL_STEP_ROWS", 400)
    connection.execute("DROP TABLE IF EXISTS steps")
    connection.execute("CREATE TABLE steps (time timestamptz, n int)")
    data = "".join(f"2026-01-01 00:00:00+00\t{i}\n" for i in range(200_000)).encode()
    assert copy_in(connection, "COPY steps FROM STDIN", data) == "COPY 200000"
    assert connection.execute("SELECT count(*), sum(n) FROM steps").fetchone() == (200_000, 200_000 * 199_999 // 2)
    connection.execute("DROP TABLE steps")


def test_a_table_that_is_dropped_meanwhile_takes_nothing(server: Server, connection: Connection) -> None:
    connection.execute("DROP TABLE IF EXISTS gone")
    connection.execute("CREATE TABLE gone (time timestamptz, n int)")
    with (
        pytest.raises(psycopg.errors.UndefinedTable, match='relation "gone" does not exist'),
        server.connect() as other,
        other.cursor() as cursor,
        cursor.copy("COPY gone FROM STDIN") as copy,
    ):
        copy.write(b"2026-01-01 00:00:00+00\t1\n")
        connection.execute("DROP TABLE gone")
