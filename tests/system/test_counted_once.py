"""kill -9 while sessions count: a sequence gives no number twice, and columns that count have each value once.

Three kills in CI, thirty nightly.
"""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.server import Process, Start


class Counter(threading.Thread):
    """A client that takes numbers by nextval() and by INSERT, and remembers what it was told."""

    def __init__(self, process: Process) -> None:
        super().__init__(name="counter")
        self._process = process
        self.given: list[int] = []
        self.inserted: list[int] = []

    def run(self) -> None:
        try:
            with self._process.connect() as connection:
                while True:
                    rows = connection.execute("SELECT nextval('s') FROM generate_series(1, 3)").fetchall()
                    self.given += [row[0] for row in rows]
                    row = connection.execute("INSERT INTO t (v) VALUES (1) RETURNING id").fetchone()
                    assert row is not None
                    self.inserted.append(row[0])
        except psycopg.OperationalError:
            return


def count_and_kill(start: Start, data: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    given: list[int] = []
    inserted: list[int] = []
    for kill in range(kills):
        process = start(data=data)
        if kill == 0:
            with process.connect() as connection:
                connection.execute("CREATE SEQUENCE s")
                connection.execute("CREATE TABLE t (id bigserial PRIMARY KEY, v int)")
        counters = [Counter(process) for _ in range(3)]
        for counter in counters:
            counter.start()
        until = time.monotonic() + 60
        while not all(counter.inserted for counter in counters) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(chance.random() / 2)
        process.kill()
        for counter in counters:
            counter.join(20)
            given += counter.given
            inserted += counter.inserted
    assert len(given) > kills
    assert len(set(given)) == len(given), "nextval() gave a number twice"
    assert len(set(inserted)) == len(inserted), "a serial column gave a number twice"
    process = start(data=data)
    with process.connect() as connection:
        stored = [row[0] for row in connection.execute("SELECT id FROM t").fetchall()]
        row = connection.execute("SELECT nextval('s'), nextval('t_id_seq')").fetchone()
    assert set(inserted) <= set(stored)
    assert row is not None
    assert row[0] > max(given)
    assert row[1] > max(stored)


def test_no_number_is_given_twice_across_kills(start: Start, tmp_path: Path) -> None:
    count_and_kill(start, tmp_path / "data", kills=3, seed=1)


@pytest.mark.nightly
def test_no_number_is_given_twice_across_many_kills(start: Start, tmp_path: Path) -> None:
    count_and_kill(start, tmp_path / "data", kills=30, seed=2)
