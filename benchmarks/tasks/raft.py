"""The control plane of three nodes on loopback: how long a change of the schema takes and how many bytes, how soon
another leads when the leader is killed, and how long a node takes to catch up, by the log and by a snapshot."""

from __future__ import annotations

import contextlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.processes import ServerFailed, ServerProcess, free_port
from benchmarks.report import Grid
from benchmarks.systems.tsdb import COMPILE_SECONDS_MAX, READY
from benchmarks.tasks.task import MIB, milliseconds, parser, percentile, publish, say

CHANGES = 300
KILLS = 10
VIEWS, VIEW_BYTES = 120, 60_000
IDLE_S = 5.0
PATIENCE_S = 60.0
SOON_S = 0.005


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
        self._tsdb("cluster", "init", "--data", str(self.folder / "data1"))

    def start(self, place: int, join: int | None = None) -> None:
        name = f"n{place}"
        if not (self.folder / f"{name}.crt").exists():
            self._tsdb("cert", "node", name, "--dir", str(self.folder), "--address", "127.0.0.1")
        words = [
            "start", "--data", str(self.folder / f"data{place}"), "--pg-port", "0", "--http-port", "0",
            "--cluster-listen", f"127.0.0.1:{self.ports[place]}", "--cluster-ca", str(self.folder / "ca.crt"),
            "--cluster-cert", str(self.folder / f"{name}.crt"), "--cluster-key", str(self.folder / f"{name}.key"),
        ]  # fmt: skip
        if join is not None:
            words += ["--join", f"127.0.0.1:{self.ports[join]}"]
        server = ServerProcess([sys.executable, "-m", "tsdb", *words], self.folder / f"{name}.log")
        self.running[place] = server
        server.wait_until(lambda: READY.search(server.log.read_text(errors="replace")) is not None, COMPILE_SECONDS_MAX)
        found = READY.search(server.log.read_text(errors="replace"))
        assert found is not None
        self.sql_ports[place], self.http_ports[place] = int(found[2]), int(found[3])

    def kill(self, place: int, how: signal.Signals = signal.SIGKILL) -> None:
        self.running.pop(place).stop(how)

    def end(self) -> None:
        for place in list(self.running):
            self.kill(place)

    def connect(self, place: int) -> psycopg.Connection:
        port = self.sql_ports[place]
        return psycopg.connect(f"host=127.0.0.1 port={port} dbname=tsdb user=tsdb sslmode=disable", autocommit=True)

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

    def leader(self) -> int:
        """The place of the one that leads; 0 for now."""
        return next((place for place in self.running if self.metric(place, "raft_leads") == 1), 0)


@contextlib.contextmanager
def three(directory: Path | None) -> Iterator[Nodes]:
    with tempfile.TemporaryDirectory(prefix="benchmark-raft-", dir=directory) as folder:
        nodes = Nodes(Path(folder))
        try:
            nodes.found()
            nodes.start(1)
            nodes.start(2, join=1)
            nodes.start(3, join=1)
            yield nodes
        finally:
            nodes.end()


def until(is_so: Callable[[], bool]) -> float:
    """Milliseconds until it is so."""
    begin = time.perf_counter()
    while not is_so():
        if time.perf_counter() - begin > PATIENCE_S:
            raise ServerFailed(f"not within {PATIENCE_S:g} s")
        time.sleep(SOON_S)
    return (time.perf_counter() - begin) * 1000


def main(arguments: Sequence[str]) -> int:
    """Run; 0 when measured."""
    options = parser("raft", __doc__ or "")
    options.add_argument("--kills", type=int, default=KILLS, help="of the leader (default %(default)s)")
    parsed = options.parse_args(arguments)
    with three(parsed.directory) as nodes:
        until(lambda: nodes.leader() > 0 and nodes.metric(nodes.leader(), "cluster_voters") == 3)
        rows = _changes(nodes)
        rows += _elections(nodes, parsed.kills)
        rows += _catching_up(nodes)
    grid = Grid("Control plane of three nodes on loopback", ("what", "median", "worst"), rows)
    remark = (
        f"{CHANGES} changes of the schema (CREATE ROLE) by one client, one after the other; the leader is killed by "
        f"kill -9 {parsed.kills} times, with the default times (a tick of 100 ms, an election after 1 to 2 s of "
        "silence). All nodes and the client share the machine."
    )
    return publish("raft", [grid], remark, parsed.markdown)


def _row(what: str, values: Sequence[float], unit: str = "ms") -> tuple[str, ...]:
    return (what, f"{statistics.median(values):,.1f} {unit}", f"{max(values):,.1f} {unit}")


def _changes(nodes: Nodes) -> list[tuple[str, ...]]:
    leader = nodes.leader()
    follower = next(place for place in nodes.running if place != leader)
    rows: list[tuple[str, ...]] = []
    idle = _sent(nodes)
    time.sleep(IDLE_S)
    idle_rate = (_sent(nodes) - idle) / IDLE_S
    for who, place in (("leader", leader), ("follower", follower)):
        say(f"changes at the {who}")
        with nodes.connect(place) as connection:
            before, begin = _sent(nodes), time.perf_counter()
            roles = [f"CREATE ROLE {who}_{number}".encode() for number in range(CHANGES)]
            took = [milliseconds(partial(connection.execute, each)) for each in roles]
            elapsed = time.perf_counter() - begin
            sent = (_sent(nodes) - before - idle_rate * elapsed) / CHANGES
        late = percentile(took, 0.99)
        rows.append(
            (
                f"a change of the schema at the {who} (worst: 99 %)",
                f"{statistics.median(took):,.1f} ms",
                f"{late:,.1f} ms",
            )
        )
        rows.append((f"bytes between nodes a change at the {who}", f"{sent:,.0f}", ""))
    rows.append(("bytes a second between nodes with nothing to do", f"{idle_rate:,.0f}", ""))
    return rows


def _sent(nodes: Nodes) -> float:
    return sum(nodes.metric(place, "transport_bytes_sent_total") for place in nodes.running)


def _elections(nodes: Nodes, kills: int) -> list[tuple[str, ...]]:
    elected: list[float] = []
    changed: list[float] = []
    returned: list[float] = []
    for number in range(kills):
        say(f"kill {number + 1} of {kills}")
        until(lambda: nodes.leader() > 0)
        leader = nodes.leader()
        left = next(place for place in nodes.running if place != leader)
        with nodes.connect(left) as connection:
            begin = time.perf_counter()
            nodes.kill(leader)
            elected.append(until(lambda: nodes.leader() > 0))
            connection.execute(f"CREATE ROLE after_{number}".encode())
            changed.append((time.perf_counter() - begin) * 1000)
        nodes.start(leader)
        returned.append(until(lambda: _is_equal(nodes, leader)))  # noqa: B023 (called at once)
    return [
        _row("until another leads, after kill -9", elected),
        _row("until the schema is changed again", changed),
        _row("from ready until it has what it missed", returned),
    ]


def _is_equal(nodes: Nodes, place: int) -> bool:
    leader = nodes.leader()
    return leader > 0 and nodes.metric(place, "raft_applied_index") >= nodes.metric(leader, "raft_committed_index")


def _catching_up(nodes: Nodes) -> list[tuple[str, ...]]:
    """One is away while the schema grows by more than is kept of the log."""
    say(f"{VIEWS} views of {VIEW_BYTES:,} bytes")
    until(lambda: nodes.leader() > 0)
    leader = nodes.leader()
    away = next(place for place in nodes.running if place != leader)
    nodes.kill(away, signal.SIGTERM)
    took: list[float] = []
    with nodes.connect(leader) as connection:
        for number in range(VIEWS):
            text = f"CREATE VIEW view_{number} AS SELECT '{chr(97 + number % 26) * VIEW_BYTES}' AS t"
            took.append(milliseconds(partial(connection.execute, text.encode())))
    before = nodes.metric(leader, "raft_snapshot_bytes_sent_total")
    begin = time.perf_counter()
    nodes.start(away)
    started = (time.perf_counter() - begin) * 1000
    until(lambda: _is_equal(nodes, away))
    caught_up = (time.perf_counter() - begin) * 1000
    size = (nodes.metric(leader, "raft_snapshot_bytes_sent_total") - before) / MIB
    milliseconds_sent = 1000 * nodes.metric(leader, "raft_snapshot_seconds")
    rows = [
        _row(f"a change of {VIEW_BYTES:,} bytes", took),
        (f"a snapshot of {size:.1f} MiB, sent and put together", f"{milliseconds_sent:,.1f} ms", ""),
        ("a node that needs it, from its start until it is ready", f"{started:,.0f} ms", ""),
        ("the same, until it has everything", f"{caught_up:,.0f} ms", ""),
    ]
    begin = time.perf_counter()
    nodes.start(4, join=leader)
    until(lambda: _is_equal(nodes, 4))
    rows.append(
        ("a new node, from its start until it has everything", f"{(time.perf_counter() - begin) * 1000:,.0f} ms", "")
    )
    return rows
