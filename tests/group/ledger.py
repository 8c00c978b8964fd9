"""What nodes show of the schema is watched all the time: tables that a node has shown are there for ever after."""

from __future__ import annotations

import contextlib
import threading
import time

import psycopg

from tests.fixtures.waiting import until
from tests.group.nodes import Nodes

LOOK_S = 0.2
PLACES = (1, 2, 3)


class Ledger:
    """Tables that were made, and threads that look at each node. Nothing is dropped meanwhile. Use it with ``with``."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self.made: set[str] = set()
        self.looks = 0
        self.gone_back: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(place,)) for place in PLACES]

    def __enter__(self) -> Ledger:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def make(self, connection: psycopg.Connection, name: str) -> float:
        """Make a table; how many seconds that took. It is tried again while the cluster says that nobody leads."""
        begun = time.monotonic()
        while True:
            try:
                connection.execute(f"CREATE TABLE IF NOT EXISTS {name} (time timestamptz, v float8)")
            except (psycopg.errors.CannotConnectNow, psycopg.errors.StatementCompletionUnknown):
                assert time.monotonic() < begun + 60, f"{name} could not be made for a minute"
                continue
            self.made.add(name)
            return time.monotonic() - begun

    def check(self) -> None:
        """All nodes have everything that was made, and none has ever shown less than before."""
        for place in PLACES:
            until(lambda: self._nodes.tables(place) >= self.made)  # noqa: B023
        assert self.gone_back == []

    def _watch(self, place: int) -> None:
        shown: set[str] = set()
        while not self._over.is_set():
            # It is down, or goes down while it is asked.
            with contextlib.suppress(psycopg.Error, KeyError), self._nodes.connect(place) as connection:
                while not self._over.wait(LOOK_S):
                    found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
                    now = {name for (name,) in found.fetchall()}
                    if not shown <= now:
                        self.gone_back.append(f"node {place} shows no {sorted(shown - now)} any more")
                    shown |= now
                    self.looks += 1
            self._over.wait(LOOK_S)


def spread(seconds: list[float]) -> str:
    """The distribution of durations, as a line."""
    ordered = sorted(seconds)
    marks = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    found = ", ".join(f"{name} {ordered[int(share * (len(ordered) - 1) + 0.5)]:.2f}" for name, share in marks.items())
    return f"{len(ordered)} times: {found}, max {ordered[-1]:.2f} s"
