"""Pressure: a slow disk, a full one, a flood of clients. Writers wait or are told to come again, queries go on, what
was acknowledged is there in the end.
"""

from __future__ import annotations

import http.client
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fixtures.server import get
from tests.fixtures.waiting import until
from tests.lines.conftest import rows, send
from tsdb.config import load
from tsdb.server import EmbeddedServer, Server
from tsdb.storage import shard
from tsdb.storage.room import DiskRoom

LINES = 2_000
SMALL = 1 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Server]:
    """A server with a head of 1 MiB."""
    settings = {"data": tmp_path / "data", "pg_port": 0, "http_port": 0, "line_tcp_port": 0, "head_bytes": SMALL}
    with EmbeddedServer(load(settings)) as running:
        # On a machine that has never run these kernels they are compiled now: for minutes, in this very process, whose
        # memory and patience are measured here.
        running.warm.result(600)
        rows(running, "SELECT count(*) FROM pg_class")
        yield running


class Disk:
    """``slow`` seconds a sync; ``full``: below half of the reserve."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slow = 0.0
        self.full = False
        synced, takes = shard.Shard.write_durably, DiskRoom.takes_writes

        def slowly(one: shard.Shard, batch: Any) -> None:
            time.sleep(self.slow)
            synced(one, batch)

        monkeypatch.setattr(shard.Shard, "write_durably", slowly)
        monkeypatch.setattr(DiskRoom, "takes_writes", lambda one, heads: takes(one, heads) and not self.full)
        monkeypatch.setattr(DiskRoom, "takes_deletions", lambda _: not self.full)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


class Writer(threading.Thread):
    """Sends bodies until told to stop, each again until it is acknowledged."""

    def __init__(self, server: Server, number: int, stopping: threading.Event) -> None:
        super().__init__(name=f"writer {number}")
        self._server = server
        self._number = number
        self._stopping = stopping
        self.acknowledged = 0
        self.later = 0
        self.failed: object = None

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.http_port, timeout=60)
        while not self._stopping.is_set():
            first = self.acknowledged * LINES
            body = "".join(f"m,w=w{self._number} f={i},g={i}i {first + i}\n" for i in range(LINES))
            connection.request("POST", "/write?db=tsdb", body.encode())
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == 204:
                self.acknowledged += 1
            elif answer.status == 503 and int(answer.headers["Retry-After"]) > 0:
                self.later += 1
                time.sleep(0.05)
            else:
                self.failed = (answer.status, text)
                break
        connection.close()


def _press(server: Server, writers: int, seconds: float) -> list[Writer]:
    stopping = threading.Event()
    threads = [Writer(server, number, stopping) for number in range(writers)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.monotonic()
        rows(server, "SELECT count(*) FROM pg_class")
        assert time.monotonic() - started < 30, "queries should go on"
        time.sleep(0.2)
    stopping.set()
    for thread in threads:
        thread.join(60)
    return threads


def test_writers_wait_for_a_slow_disk_then_come_again_and_all_they_were_told_is_there(
    small: Server, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small.node.engine._committer, "_write_wait", 0.3)
    disk.slow = 0.4
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    threads = _press(small, 12, 4)
    disk.slow = 0.0
    assert [thread.failed for thread in threads if thread.failed] == []
    assert sum(thread.later for thread in threads) > 0, "somebody should have been told to come again"
    acknowledged = sum(thread.acknowledged for thread in threads)
    assert acknowledged > 0
    [(count,)] = rows(small, "SELECT count(*) FROM m")
    assert acknowledged * LINES <= count <= (acknowledged + len(threads)) * LINES
    metrics = get(small.http_port, "/metrics")
    assert "tsdb_writers_refused_total 0.0" not in metrics
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000, "KiB"


def test_a_flood_of_connections_is_served_in_turn(small: Server) -> None:
    threads = _press(small, 200, 2)
    assert [thread.failed for thread in threads if thread.failed] == []
    assert min(thread.acknowledged + thread.later for thread in threads) > 0, "everybody should be answered"
    acknowledged = sum(thread.acknowledged for thread in threads)
    assert rows(small, "SELECT count(*) FROM m") == [(acknowledged * LINES,)]


PATHS = ("/write?db=tsdb", "/api/v2/write?bucket=tsdb", "/api/v3/write_lp?db=tsdb")
STATEMENTS = (
    "INSERT INTO t VALUES (now(), 'b', 2)",
    "UPDATE t SET v = 3",
    "DELETE FROM t",
    "COPY t FROM STDIN",
)


def _run(connection: psycopg.Connection, statement: str) -> None:
    with connection.cursor() as cursor:
        if statement.startswith("COPY"):
            with cursor.copy(statement.encode()) as copy:
                copy.write(b"2026-01-01\tc\t4\n")
        else:
            cursor.execute(statement.encode())


def test_a_full_disk_is_said_on_every_interface_reads_go_on_and_writes_resume(small: Server, disk: Disk) -> None:
    with psycopg.connect(small.pg_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (time timestamptz, k text, v int8, PRIMARY KEY (k, time))")
        connection.execute("INSERT INTO t VALUES ('2026-01-01', 'a', 1)")
        disk.full = True
        for path in PATHS:
            one = http.client.HTTPConnection("127.0.0.1", small.http_port, timeout=30)
            one.request("POST", path, b"m f=1 1")
            answer = one.getresponse()
            text = answer.read().decode()
            assert (answer.status, int(answer.headers["Retry-After"]) > 0) == (503, True), path
            assert "the disk is nearly full: writes are refused until there is space again, reads go on" in text
            one.close()
        for statement in STATEMENTS:
            with pytest.raises(psycopg.errors.DiskFull, match="the disk is nearly full"):
                _run(connection, statement)
        assert connection.execute("SELECT v FROM t").fetchall() == [(1,)]
        numbered = threading.Thread(target=lambda: answers.append(send(small, b"m f=1 5\n")))
        answers: list[bytes] = []
        numbered.start()
        batch = b"# tsdb: producer=p batch=1\nm f=1 6\n# tsdb: end\n"
        assert send(small, batch).startswith(b"503 the disk is nearly full")
        until(lambda: "tsdb_tcp_waits_total 0.0" not in get(small.http_port, "/metrics"))
        disk.full = False
        numbered.join(30)
        assert send(small, batch) == b"204 batch 1: 1 points\n"
        for statement in STATEMENTS:
            _run(connection, statement)
        assert connection.execute("SELECT k, v FROM t").fetchall() == [("c", 4)]
        assert rows(small, "SELECT count(*) FROM m") == [(2,)]


def test_long_bodies_that_fill_all_the_room_there_is_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Each is a point in 26 MiB of comments; there is room for four pieces, and each would like to hold three."""
    room = 32 << 20
    settings = {"data": tmp_path / "data", "pg_port": 0, "http_port": 0, "bodies_bytes_max": room}
    comments = (b"#" + b"x" * 4094 + b"\n") * (26 << 8)
    answers: list[int] = []

    def load_one(server: Server, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
        connection.request("POST", "/write?db=tsdb", comments + b"m v=1 %d" % number)
        answers.append(connection.getresponse().status)
        connection.close()

    with EmbeddedServer(load({**settings, "body_bytes_max": room})) as running:
        loading = [threading.Thread(target=load_one, args=(running, number)) for number in range(4)]
        began = time.monotonic()
        for thread in loading:
            thread.start()
        for thread in loading:
            thread.join()
        assert answers == [204] * 4
        assert time.monotonic() - began < 25
        assert rows(running, "SELECT count(*) FROM m") == [(4,)]
