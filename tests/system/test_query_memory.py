"""Statements that need more memory than there is: they spill, or fail alone. A real process."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.server import WARM, Process, Start
from tests.fixtures.slow import SlowClient

MIB = 2**20
SPILLS = (
    "SELECT count(*), max(n) FROM (SELECT row_number() OVER (ORDER BY md5(g::text)) AS n"
    " FROM generate_series(1, 1000000) AS g) AS s"
)
SMALL = "SELECT g % 10, count(*) FROM generate_series(1, 20000) AS g GROUP BY 1"
TOO_LARGE = [
    "SELECT length(string_agg(repeat('x', 1000), ',')) FROM generate_series(1, 2000000) AS g",
    "SELECT cardinality(array_agg(md5(g::text))) FROM generate_series(1, 5000000) AS g",
]


class Watch(threading.Thread):
    """The most that lies in a folder while it runs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(name="watch", daemon=True)
        self._folder = folder
        self.most = 0
        self.over = False

    def run(self) -> None:
        while not self.over:
            files = list(self._folder.rglob("*")) if self._folder.exists() else []
            self.most = max(self.most, sum(_size(each) for each in files))
            time.sleep(0.02)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_a_sort_of_more_than_the_memory_spills_to_disk(start: Start, tmp_path: Path) -> None:
    process = start("--query-memory", "64MiB", data=tmp_path / "data", **WARM)
    process.wait_warm()
    watch = Watch(tmp_path / "data" / "spill")
    with process.connect() as connection:
        connection.execute(SMALL)
        before = process.memory_bytes()
        watch.start()
        assert connection.execute(SPILLS.encode()).fetchone() == (1_000_000, 1_000_000)
        watch.over = True
        assert process.memory_bytes() - before < 256 * MIB
    assert watch.most > 8 * MIB


@pytest.mark.parametrize("statement", TOO_LARGE)
def test_what_can_neither_be_held_nor_spilled_fails_alone(start: Start, statement: str) -> None:
    process = start("--query-memory", "128MiB")
    found: Counter[str] = Counter()
    over = threading.Event()

    def ask() -> None:
        with process.connect() as connection:
            while not over.is_set():
                try:
                    connection.execute(SMALL)
                    found["done"] += 1
                except psycopg.Error as error:
                    found[error.sqlstate or "none"] += 1

    others = [threading.Thread(target=ask) for _ in range(2)]
    for each in others:
        each.start()
    with process.connect() as connection, pytest.raises(psycopg.errors.OutOfMemory):
        connection.execute(statement.encode())
    over.set()
    for each in others:
        each.join()
    assert set(found) == {"done"}, found


def _returning(process: Process, rows: int) -> None:
    with process.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS wide (id int PRIMARY KEY, t text)")
        connection.execute("DELETE FROM wide")
        statement = (
            f"INSERT INTO wide SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, {rows}) AS g RETURNING id, t"
        )
        connection.execute(statement.encode())


def test_what_returning_gives_is_bounded(start: Start) -> None:
    process = start("--result-memory", "16MiB")
    _returning(process, 2_000)
    with pytest.raises(psycopg.errors.OutOfMemory):
        _returning(process, 20_000)


def test_inserts_of_queries_share_the_memory_of_results(start: Start) -> None:
    process = start("--result-memory", "16MiB")
    with process.connect() as connection:
        connection.execute("CREATE TABLE wide (id int, t text)")
        connection.execute("INSERT INTO wide SELECT g, repeat('x', 1000) FROM generate_series(1, 1000) AS g")
        statement = "SELECT repeat('x', 900000) FROM generate_series(1, 100)"
        with SlowClient(process.pg_port, statement), SlowClient(process.pg_port, statement):
            time.sleep(1)
            connection.execute("SET statement_timeout = '30s'")
            connection.execute("INSERT INTO wide SELECT id + 1000, t FROM wide")
        assert connection.execute("SELECT count(*) FROM wide").fetchone() == (2000,)
