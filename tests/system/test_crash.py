"""kill -9 at random moments: every acknowledged batch is there once, none by half, no sequence twice.

Three kills in CI, fifty nightly.
"""

from __future__ import annotations

import http.client
import random
import threading
from pathlib import Path

import pytest

from tests.fixtures.server import Process, Start

ROWS = 40
DAY_NS = 86_400_000_000_000
TABLE = "CREATE TABLE events (time timestamptz, batch int8, row int8)"


def lines_of(batch: int) -> bytes:
    """A batch over several buckets, so that it goes to several ring locations."""
    return "".join(
        f"events batch={batch}i,row={row}i {DAY_NS + batch * 1_000_000 + row * 400_000_000_000}\n"
        for row in range(ROWS)
    ).encode()


class Writer(threading.Thread):
    """A client that numbers its batches and sends one after the other until the server is gone."""

    def __init__(self, http_port: int, first: int) -> None:
        super().__init__(name="writer")
        self.http_port = http_port
        self.acknowledged = first - 1
        self.refused = ""

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)
        try:
            while True:
                batch = self.acknowledged + 1
                headers = {"X-Tsdb-Producer": "writer", "X-Tsdb-Batch": str(batch)}
                connection.request("POST", "/write?db=tsdb", lines_of(batch), headers)
                response = connection.getresponse()
                body = response.read()
                if response.status != 204:
                    self.refused = f"{response.status} {body.decode()}"
                    return
                self.acknowledged = batch
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()


def check(process: Process, acknowledged: int) -> None:
    """Every acknowledged batch once; the one after it wholly or not at all; every sequence once."""
    with process.connect() as connection:
        rows = connection.execute("SELECT batch, count(*), count(DISTINCT row) FROM events GROUP BY batch").fetchall()
        total, sequences = connection.execute(
            "SELECT count(*), count(DISTINCT s) FROM (SELECT sequence AS s FROM events) x"
        ).fetchall()[0]
    found = {batch: (count, distinct) for batch, count, distinct in rows}
    assert [b for b in range(1, acknowledged + 1) if found.get(b) != (ROWS, ROWS)] == []
    assert found.keys() - range(1, acknowledged + 1) <= {acknowledged + 1}
    assert found.get(acknowledged + 1, (ROWS, ROWS)) == (ROWS, ROWS), "half-written"
    assert total == sequences, "a sequence was used twice"


def crash_again_and_again(start: Start, data: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    flags = ("--head-bytes", "1MiB", "--head-age", "1s")
    acknowledged = 0
    for kill in range(kills):
        process = start(*flags, data=data)
        if kill == 0:
            with process.connect() as connection:
                connection.execute(TABLE)
        else:
            check(process, acknowledged)
        writer = Writer(process.http_port, acknowledged + 1)
        writer.start()
        writer.join(chance.uniform(0.05, 2.0))
        process.kill()
        writer.join(30)
        assert writer.refused == ""
        acknowledged = writer.acknowledged
    process = start(*flags, data=data)
    check(process, acknowledged)
    assert acknowledged > 0
    assert process.stop()[0] == 0
    check(start(*flags, data=data), acknowledged)


def test_what_was_acknowledged_survives_kill_9_three_times(start: Start, tmp_path: Path) -> None:
    crash_again_and_again(start, tmp_path / "data", kills=3, seed=1)


@pytest.mark.nightly
def test_what_was_acknowledged_survives_kill_9_fifty_times(start: Start, tmp_path: Path) -> None:
    crash_again_and_again(start, tmp_path / "data", kills=50, seed=2)
