"""Clients of a replicated database that do what operating.md says: what may not be done is sent again, elsewhere.

One writes all the time and one reads all the time, until they are stopped; both note what such a client would notice.
"""

from __future__ import annotations

import http.client
import itertools
import threading
import time

import psycopg

from tests.fixtures.server import COLD_S, Process
from tests.fixtures.waiting import until
from tests.group.nodes import Nodes

START_NS = 1_767_225_600_000_000_000
MINUTE_NS = 60_000_000_000
ROWS = 10
"""Of one write, each in a bucket of five minutes of its own, so that several locations get some."""
PAUSE_S = 0.01
AGAIN = ("57P01", "57P03", "40003")


class Clients:
    """A context: both run inside of it, with a pause after each write and each read. ``noticed``: what no retry has
    helped against."""

    def __init__(self, nodes: Nodes, table: str, pause_s: float = PAUSE_S) -> None:
        self._pause_s = pause_s
        self.nodes = nodes
        self.table = table
        self.noticed: list[str] = []
        self.acknowledged = 0
        """The writes 1 to this one."""
        self.again = 0
        self.reads = 0
        self._begun_at: dict[int, float] = {}
        self._done_at: dict[int, float] = {}
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._write_all, self._read_all)]

    def __enter__(self) -> Clients:
        writer, reader = self._threads
        writer.start()
        # With the first point there is a table.
        until(lambda: self.acknowledged or self.noticed, COLD_S)
        reader.start()
        until(lambda: self.reads or self.noticed)
        assert not self.noticed, self.noticed
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)

    def _process(self, turn: int) -> Process:
        processes = [*self.nodes.running.values()]
        return processes[turn % len(processes)]

    def _write_all(self) -> None:
        turn = 0
        for number in itertools.count(1):
            lines = "\n".join(
                f"{self.table} v={number * ROWS + at}i {START_NS + (number * ROWS + at) * 5 * MINUTE_NS}"
                for at in range(ROWS)
            )
            while not self._stopping.is_set():
                turn += 1
                self._begun_at[number] = time.monotonic()
                try:
                    status, said = self._process(turn).write(lines, "db=shared")
                except (OSError, http.client.HTTPException):
                    status, said = 503, ""
                if status == 204:
                    self._done_at[number] = time.monotonic()
                    self.acknowledged = number
                    break
                if status != 503:
                    self.noticed.append(f"write {number}: {status} {said}")
                    return
                self.again += 1
                self._stopping.wait(PAUSE_S)
            if self._stopping.wait(self._pause_s):
                return

    def _read_all(self) -> None:
        turn = 0
        while not self._stopping.is_set():
            turn += 1
            known = self.acknowledged * ROWS
            url = self._process(turn).pg_url.rpartition("/")[0] + "/shared"
            try:
                with psycopg.connect(url, connect_timeout=10, autocommit=True) as connection:
                    for _ in range(20):
                        known = self.acknowledged * ROWS
                        ((rows, different),) = connection.execute(
                            f"SELECT count(*), count(DISTINCT v) FROM {self.table}"
                        ).fetchall()
                        if rows < known or rows != different:
                            self.noticed.append(f"{rows} rows, {different} different, {known} acknowledged before")
                        self.reads += 1
                        self._stopping.wait(self._pause_s)
            except psycopg.OperationalError as error:
                # Without a code there was no connection, or none any more.
                if error.sqlstate not in (None, *AGAIN):
                    self.noticed.append(f"read: {error.sqlstate} {error}")
            except psycopg.Error as error:
                if error.sqlstate not in AGAIN:
                    self.noticed.append(f"read: {error.sqlstate} {error}")
                    return

    def wait(self, seconds: float) -> None:
        """They go on for so long."""
        self._stopping.wait(seconds)

    def waited_s(self, since: float) -> float:
        """From that moment until a write was acknowledged that has begun later."""
        first = until(lambda: [each for each, at in [*self._done_at.items()] if self._begun_at[each] > since])
        return min(self._done_at[each] for each in first) - since

    def check(self) -> None:
        """After the end: each acknowledged point is there once, and nothing that was not sent."""
        assert not self.noticed, self.noticed[:5]
        place = min(self.nodes.running)
        url = self.nodes.running[place].pg_url.rpartition("/")[0] + "/shared"

        def look() -> list[int]:
            try:
                with psycopg.connect(url, connect_timeout=10, autocommit=True) as connection:
                    return [v for (v,) in connection.execute(f"SELECT v FROM {self.table} ORDER BY time").fetchall()]
            except psycopg.OperationalError:
                return []

        found = until(look)
        assert len(found) == len({*found})
        acknowledged = range(ROWS, (self.acknowledged + 1) * ROWS)
        assert {*acknowledged} <= {*found} <= {*acknowledged, *range(acknowledged.stop, acknowledged.stop + ROWS)}
