"""Clusters of real nodes on loopback, for the tasks that measure them."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from benchmarks import load
from benchmarks.processes import ServerFailed, ServerProcess, free_port
from benchmarks.systems.tsdb import COMPILE_SECONDS_MAX, DATABASE, READY

PATIENCE_S = 60.0
SPREAD_S = 600.0
SOON_S = 0.005
ATTEMPTS = 5


class Nodes:
    """Processes by their place, from 1, with certificates of an authority of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {place: free_port() for place in range(1, 5)}
        self.running: dict[int, ServerProcess] = {}
        self.sql_ports: dict[int, int] = {}
        self.http_ports: dict[int, int] = {}
        self._tsdb("cert", "ca", "--dir", str(folder))

    def _tsdb(self, *words: str) -> None:
        subprocess.run([sys.executable, "-m", "tsdb", *words], check=True, capture_output=True, timeout=PATIENCE_S)

    def found(self) -> None:
        self._tsdb("cluster", "init", "--data", str(self.data(1)))

    def data(self, place: int) -> Path:
        return self.folder / f"data{place}"

    def start(self, place: int, join: int | None = None) -> None:
        """A port that was free may be somebody's by now: then another one is tried."""
        for attempt in range(ATTEMPTS):
            try:
                self._start(place, join)
            except ServerFailed as error:
                if "already in use" not in str(error) or attempt == ATTEMPTS - 1:
                    raise
                self.ports[place] = free_port()
            else:
                return

    def _start(self, place: int, join: int | None) -> None:
        name = f"n{place}"
        if not (self.folder / f"{name}.crt").exists():
            self._tsdb("cert", "node", name, "--dir", str(self.folder), "--address", "127.0.0.1")
        words = ["start", "--data", str(self.data(place)), "--pg-port", "0", "--http-port", "0"]
        words += ["--cluster-listen", f"127.0.0.1:{self.ports[place]}", *self._certificate(place)]
        if join is not None:
            words += ["--join", f"127.0.0.1:{self.ports[join]}"]
        server = ServerProcess([sys.executable, "-m", "tsdb", *words], self.folder / f"{name}.log")
        self.running[place] = server
        server.wait_until(lambda: READY.search(server.log.read_text(errors="replace")) is not None, COMPILE_SECONDS_MAX)
        found = READY.search(server.log.read_text(errors="replace"))
        assert found is not None
        self.sql_ports[place], self.http_ports[place] = int(found[2]), int(found[3])

    def _certificate(self, place: int) -> list[str]:
        own = {"ca": "ca.crt", "cert": f"n{place}.crt", "key": f"n{place}.key"}
        return [word for what, file in own.items() for word in (f"--cluster-{what}", str(self.folder / file))]

    def replicate(self, factor: int) -> None:
        """Databases that are created from now on are at so many nodes."""
        at = ["--at", f"127.0.0.1:{self.ports[1]}", *self._certificate(1)]
        self._tsdb("cluster", "replication", str(factor), *at)

    def spread(self, arcs: int, database: str = DATABASE) -> float:
        """A database's ring is cut into so many arcs, which go to where all nodes have about as much; the seconds."""
        at = ["--at", f"127.0.0.1:{self.ports[1]}", *self._certificate(1)]
        self._tsdb("cluster", "spread", database, str(arcs), *at)
        self._tsdb("cluster", "rebalance", *at)
        text = "SELECT count(*) FROM tsdb.locations WHERE goal IS NOT NULL OR cardinality(learners) > 0"

        def is_done() -> bool:
            with self.connect(1) as connection:
                found = connection.execute(text).fetchone()
            return found is not None and found[0] == 0

        return until(is_done, SPREAD_S) / 1000

    def warm(self) -> None:
        """Until all have their kernels."""
        for place, server in self.running.items():
            server.wait_until(load.answers(self.http_ports[place], "/ready"), COMPILE_SECONDS_MAX)

    def kill(self, place: int, how: signal.Signals = signal.SIGKILL) -> None:
        self.running.pop(place).stop(how)

    def end(self) -> None:
        for place in list(self.running):
            self.kill(place)

    def conninfo(self, place: int, database: str = "tsdb") -> str:
        """For libpq."""
        return f"host=127.0.0.1 port={self.sql_ports[place]} dbname={database} user=tsdb sslmode=disable"

    def connect(self, place: int, database: str = "tsdb") -> psycopg.Connection:
        return psycopg.connect(self.conninfo(place, database), autocommit=True)

    def metric(self, place: int, name: str) -> float:
        """Of ``tsdb_NAME``; NaN when it cannot be asked."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_ports[place]}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            return float("nan")
        found = re.search(rf"^tsdb_{name} (\S+)$", text, re.MULTILINE)
        if found is None:
            raise ServerFailed(f"node {place} has no metric {name}")
        return float(found[1])

    def total(self, name: str) -> float:
        """Of a metric, over all nodes."""
        return sum(self.metric(place, name) for place in self.running)

    def leader(self) -> int:
        """The place of the one that leads the metadata; 0 for now."""
        return next((place for place in self.running if self.metric(place, "raft_leads") == 1), 0)

    def replicated(self, database: str = DATABASE) -> int:
        """A new database that all nodes have, when it takes writes; the place of who leads it."""
        with self.connect(1) as connection:
            connection.execute(f"CREATE DATABASE {database}".encode())
        text = "SELECT DISTINCT leader FROM tsdb.locations WHERE datname = %s"

        def led() -> int:
            with self.connect(1) as connection:
                leaders = connection.execute(text, [database]).fetchall()
            # Nodes have joined in the order of their places.
            return int(leaders[0][0] or 0) if len(leaders) == 1 else 0

        until(lambda: led() > 0)
        leader = led()
        # Of other databases others may lead.
        until(lambda: len(self.running) * self.total("replicas_leading") == self.total("replicas"))
        return leader


@contextlib.contextmanager
def three(directory: Path | None) -> Iterator[Nodes]:
    """Three nodes, of which each has a vote in the metadata."""
    with tempfile.TemporaryDirectory(prefix="benchmark-nodes-", dir=directory) as folder:
        nodes = Nodes(Path(folder))
        try:
            nodes.found()
            nodes.start(1)
            nodes.start(2, join=1)
            nodes.start(3, join=1)
            until(lambda: (leader := nodes.leader()) > 0 and nodes.metric(leader, "cluster_voters") == 3)
            yield nodes
        finally:
            nodes.end()


def until(is_so: Callable[[], bool], seconds: float = PATIENCE_S) -> float:
    """Milliseconds until it is so."""
    begin = time.perf_counter()
    while not is_so():
        if time.perf_counter() - begin > seconds:
            raise ServerFailed(f"not within {seconds:g} s")
        time.sleep(SOON_S)
    return (time.perf_counter() - begin) * 1000
