"""The control plane of three nodes on loopback: how long a change of the schema takes and how many bytes, how soon
another leads when the leader is killed, and how long a node takes to catch up, by the log and by a snapshot."""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Sequence
from functools import partial

from benchmarks.report import Grid
from benchmarks.tasks.nodes import Nodes, three, until
from benchmarks.tasks.task import MIB, milliseconds, parser, percentile, publish, say

CHANGES = 300
KILLS = 10
VIEWS, VIEW_BYTES = 120, 60_000
IDLE_S = 5.0


def main(arguments: Sequence[str]) -> int:
    """Run; 0 when measured."""
    options = parser("raft", __doc__ or "")
    options.add_argument("--kills", type=int, default=KILLS, help="of the leader (default %(default)s)")
    parsed = options.parse_args(arguments)
    with three(parsed.directory) as nodes:
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
    idle = nodes.total("transport_bytes_sent_total")
    time.sleep(IDLE_S)
    idle_rate = (nodes.total("transport_bytes_sent_total") - idle) / IDLE_S
    for who, place in (("leader", leader), ("follower", follower)):
        say(f"changes at the {who}")
        with nodes.connect(place) as connection:
            before, begin = nodes.total("transport_bytes_sent_total"), time.perf_counter()
            roles = [f"CREATE ROLE {who}_{number}".encode() for number in range(CHANGES)]
            took = [milliseconds(partial(connection.execute, each)) for each in roles]
            elapsed = time.perf_counter() - begin
            sent = (nodes.total("transport_bytes_sent_total") - before - idle_rate * elapsed) / CHANGES
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
