"""Three nodes on loopback with a database that all have, beside one node alone on the same cores: ingest, queries
at the leader and elsewhere, bytes between nodes, and what a cluster costs that has nothing to do."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import answers, load, sql
from benchmarks.processes import ServerFailed, directory_bytes, used, wait_until_settled
from benchmarks.queries import BY_NAME, Query, draw
from benchmarks.render import Dataset, render
from benchmarks.report import Grid, number, with_spread
from benchmarks.systems.pg_client import PgClient
from benchmarks.systems.tsdb import DATABASE, Tsdb
from benchmarks.tasks.beats import idle_grid
from benchmarks.tasks.ingest import Regrouped
from benchmarks.tasks.nodes import Nodes, three
from benchmarks.tasks.task import OUT, milliseconds, parser, publish, running, say
from benchmarks.workload import generate

PARTS = ("ingest", "queries", "spread", "idle")
ARCS = 4
BATCH = 10_000
SHAPES = ((1, 10_000), (1, 50_000), (4, 10_000), (4, 50_000))
TYPES = (
    "single-groupby-1-1-1", "double-groupby-1", "double-groupby-all", "high-cpu-1", "lastpoint",
    "groupby-orderby-limit",
)  # fmt: skip
LEVELS = ("linearizable", "session", "bounded", "any")
VARIANTS = 10
IDLE_S = 10.0
DATABASES = (0, 1, 8)
POINT_BYTES = 16
"""Of a point that a query reads: its time and its value."""
TARGET = f"/write?db={DATABASE}&precision=ns"
SENT = "transport_bytes_sent_total"


def main(arguments: Sequence[str]) -> int:
    """Run; 0 when measured."""
    options = parser("cluster", __doc__ or "")
    options.add_argument("--hosts", type=int, default=1000)
    options.add_argument("--hours", type=float, default=4.0)
    options.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="(default all)")
    options.add_argument("--runs", type=int, default=3, help="of each ingest, and rounds of queries (default 3)")
    parsed = options.parse_args(arguments)
    dataset = render(generate(parsed.hosts, parsed.hours, 123), OUT, BATCH)
    grids: list[Grid] = []
    if "ingest" in parsed.parts:
        grids.append(_ingest(dataset, parsed.runs, parsed.directory))
    if "queries" in parsed.parts:
        grids += _queries(dataset, parsed.runs, parsed.directory)
    if "spread" in parsed.parts:
        grids.append(_spread(dataset, parsed.runs, parsed.directory))
    if "idle" in parsed.parts:
        grids += [_idle(parsed.directory), idle_grid()]
    remark = (
        f"{dataset.workload.points:,} points of ten fields. One node alone and three nodes with replication factor 3, "
        "all with an fsync before a write is answered; nodes and client share the cores: three nodes do what they do "
        "on the cores that the one has alone. Ratios are medians over rounds of which each measured both."
    )
    return publish("cluster", grids, remark, parsed.markdown)


# Ingest


@dataclass(frozen=True, slots=True)
class Loaded:
    """Points a second; and over all nodes: µs of CPU a point, bytes between them a point."""

    rate: float
    cpu: float
    sent: float = 0.0


def _ingest(dataset: Dataset, runs: int, directory: Path | None) -> Grid:
    points = dataset.workload.points
    alone: dict[tuple[int, int], list[Loaded]] = {}
    shared: dict[tuple[int, int, str], list[Loaded]] = {}
    for run in range(1, runs + 1):
        for workers, size in SHAPES:
            lines = Regrouped(dataset.line_protocol, size)
            say(f"run {run} of {runs}: {workers} × {size:,} lines")
            with running(Tsdb(), directory) as system:
                assert isinstance(system, Tsdb)
                before = used(system.pid()).cpu_s
                seconds = load.over_http(lines, workers, system.http_port, TARGET)
                cpu = used(system.pid()).cpu_s - before
            alone.setdefault((workers, size), []).append(Loaded(points / seconds, cpu / points * 1e6))
            for where in ("leader", "follower", "node of four arcs"):
                shared.setdefault((workers, size, where), []).append(_loaded(lines, workers, where, points, directory))
    rows = []
    for (workers, size, where), those in shared.items():
        singles = alone[workers, size]
        ratios = [each.rate / single.rate for each, single in zip(those, singles, strict=True)]
        rows.append(
            (
                f"{workers} × {size:,} lines to the {where}",
                with_spread([each.rate for each in singles]),
                with_spread([each.rate for each in those]),
                f"{statistics.median(ratios):.2f}",
                f"{statistics.median(each.cpu for each in singles):.2f}",
                f"{statistics.median(each.cpu for each in those):.2f}",
                f"{statistics.median(each.sent for each in those):.0f}",
            )
        )
    header = (
        "what", "one node, points/s", "three, points/s", "ratio", "one node, µs of CPU a point",
        "three, µs of CPU a point", "bytes between nodes a point",
    )  # fmt: skip
    return Grid("Ingest with replication factor 3 (target: a quarter of one node's)", header, rows)


def _loaded(lines: load.Lines, workers: int, where: str, points: int, directory: Path | None) -> Loaded:
    with three(directory) as nodes:
        nodes.replicate(3)
        leader = nodes.replicated()
        if "arcs" in where:
            nodes.spread(ARCS)
        nodes.warm()
        at = leader if where == "leader" else next(place for place in nodes.running if place != leader)
        cpu, sent = _cpu(nodes), nodes.total(SENT)
        seconds = load.over_http(lines, workers, nodes.http_ports[at], TARGET)
        return Loaded(points / seconds, (_cpu(nodes) - cpu) / points * 1e6, (nodes.total(SENT) - sent) / points)


def _cpu(nodes: Nodes) -> float:
    return sum(used(server.pid).cpu_s for server in nodes.running.values())


# Queries


@dataclass(slots=True)
class Asked:
    """One who is asked, and by type what it took: of each round the median; and of each turn how many times as long as
    the first one there, since queries of a type differ, and so does what the machine does meanwhile."""

    name: str
    client: PgClient
    took: dict[str, list[float]] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=dict)


def _queries(dataset: Dataset, runs: int, directory: Path | None) -> list[Grid]:
    say("loading what is asked for")
    with running(Tsdb(), directory) as system, three(directory) as nodes:
        assert isinstance(system, Tsdb)
        nodes.replicate(3)
        leader = nodes.replicated()
        nodes.warm()
        load.over_http(dataset.line_protocol, 2, system.http_port, TARGET)
        load.over_http(dataset.line_protocol, 2, nodes.http_ports[leader], TARGET)
        system.settle()
        _settle(nodes)
        follower = next(place for place in nodes.running if place != leader)
        # It has no replica: what it is asked goes to the leader.
        nodes.start(4, join=leader)
        nodes.warm()
        asked = [Asked("one node", system.connect()), _asked(nodes, leader, "leader", LEVELS[0])]
        asked += [_asked(nodes, follower, "follower", level) for level in LEVELS]
        asked.append(_asked(nodes, 4, "without a replica", LEVELS[0]))
        # Each server as often: one that is asked at all levels in a row has warm caches, and answers in half the time.
        turns = [[asked[0], asked[1], asked[2 + at], asked[-1]] for at in range(len(LEVELS))]
        for name in TYPES:
            say(f"{name} in turns")
            _ask(turns, name, draw(BY_NAME[name], dataset.workload)[:VARIANTS], runs)
        sent = [_sent_by(nodes, asked, name, dataset) for name in TYPES]
        for each in asked:
            each.client.close()
    rows = []
    for name in TYPES:
        single = asked[0].took[name]
        cells = []
        for each in asked[1:]:
            cells.append(f"{number(statistics.median(each.took[name]))} ({statistics.median(each.times[name]):.2f})")
        rows.append((name, number(statistics.median(single)), *cells))
    header = ("query", *(each.name for each in asked))
    sent_header = ("query", "values read", "at a follower", "share", "without a replica", "share")
    return [
        Grid("Queries, ms by libpq (times one node's in the same turn, median; target 1.5)", header, rows),
        Grid(f"Bytes between nodes for a query (share of {POINT_BYTES} for each value; target 1 %)", sent_header, sent),
    ]


def _spread(dataset: Dataset, runs: int, directory: Path | None) -> Grid:
    """The same database at three nodes as a whole, and in arcs at four."""
    say(f"loading what is asked for, also to be spread in {ARCS} arcs")
    with running(Tsdb(), directory) as system, three(directory) as whole, three(directory) as spread:
        assert isinstance(system, Tsdb)
        leaders = {}
        for nodes in (whole, spread):
            nodes.replicate(3)
            leaders[nodes] = nodes.replicated()
            nodes.warm()
            load.over_http(dataset.line_protocol, 2, nodes.http_ports[leaders[nodes]], TARGET)
        load.over_http(dataset.line_protocol, 2, system.http_port, TARGET)
        system.settle()
        _settle(whole)
        spread.start(4, join=1)
        spread.warm()
        seconds = spread.spread(ARCS)
        say(f"the arcs are where they should be after {seconds:.1f} s")
        _settle(spread)
        asked = [
            Asked("one node", system.connect()),
            _asked(whole, leaders[whole], "three, at the leader", LEVELS[0]),
        ]
        asked += [_asked(spread, place, f"four arcs, at node {place}", LEVELS[0]) for place in (1, 4)]
        for name in TYPES:
            say(f"{name} in turns, of {ARCS} arcs too")
            _ask([asked], name, draw(BY_NAME[name], dataset.workload)[:VARIANTS], runs)
        for each in asked:
            each.client.close()
    rows = [(name, *(number(statistics.median(each.took[name])) for each in asked)) for name in TYPES]
    title = f"A database in {ARCS} arcs at four nodes, three replicas: ms by libpq (moved there in {seconds:.1f} s)"
    return Grid(title, ("query", *(each.name for each in asked)), rows)


def _asked(nodes: Nodes, place: int, where: str, level: str) -> Asked:
    client = PgClient(nodes.conninfo(place, DATABASE), sql.TSDB)
    client.execute(f"SET tsdb.read_level = '{level}'")
    return Asked(f"{where}, {level}", client)


def _settle(nodes: Nodes) -> None:
    for place in nodes.running:
        with nodes.connect(place, DATABASE) as connection:
            connection.execute("CHECKPOINT")
            connection.execute("VACUUM")
    wait_until_settled(lambda: directory_bytes(*(nodes.data(place) for place in nodes.running)))


def _ask(turns: Sequence[Sequence[Asked]], name: str, queries: Sequence[Query], runs: int) -> None:
    """Everybody the same, in turns, so that what else the machine does meets all of them."""
    asked = {each.name: each for turn in turns for each in turn}
    _check_equal([*asked.values()], queries[0])
    receiving = {each: [one.client.receiving(query) for query in queries] for each, one in asked.items()}
    for those in receiving.values():
        for receive in those:
            receive()
    for _ in range(runs):
        found: dict[str, list[float]] = {each: [] for each in asked}
        for variant in range(len(queries)):
            for turn in turns:
                took = [milliseconds(receiving[each.name][variant]) for each in turn]
                for each, its in zip(turn, took, strict=True):
                    found[each.name].append(its)
                    each.times.setdefault(name, []).append(its / took[0])
        for who, times in found.items():
            asked[who].took.setdefault(name, []).append(statistics.median(times))


def _check_equal(asked: Sequence[Asked], query: Query) -> None:
    """All answer the same."""
    first: Any = None
    for each in asked:
        answer = each.client.answer(query, "simple", each.client.compile(query, "simple")())
        assert answer is not None
        first = first or answer
        wrong = answers.difference(first, answer, ordered=query.is_ordered)
        if wrong is not None:
            raise ServerFailed(f"{query.type} at {each.name}: {wrong}")


def _sent_by(nodes: Nodes, asked: Sequence[Asked], name: str, dataset: Dataset) -> tuple[str, ...]:
    """At a follower, and at a node without a replica: in frames, without what is sent at any rate, and the rows of
    fragments, which EXPLAIN ANALYZE counts."""
    queries = draw(BY_NAME[name], dataset.workload)[:VARIANTS]
    idle = _sent_while(nodes, lambda: time.sleep(2.0)) / 2.0
    values = statistics.mean(_values_read(query, dataset) for query in queries)
    cells = []
    for where in ("follower", "without a replica"):
        client = next(each.client for each in asked if each.name == f"{where}, {LEVELS[0]}")
        receiving = [client.receiving(query) for query in queries]
        begin = time.perf_counter()
        sent = _sent_while(nodes, lambda: [receive() for receive in receiving])  # noqa: B023 (called at once)
        each = max(0.0, sent - idle * (time.perf_counter() - begin)) / len(queries)
        each += statistics.mean(_fetched(client, query) for query in queries)
        cells += [number(each), f"{100 * each / (values * POINT_BYTES):.2f} %"]
    return name, number(values), *cells


def _fetched(client: PgClient, query: Query) -> int:
    """Bytes of rows that came from other nodes."""
    _, lines = client.explained(query)
    return sum(int(found[1]) for (line,) in lines if (found := re.search(r"From .*: \d+ rows, (\d+) bytes,", line)))


def _sent_while(nodes: Nodes, do: Callable[[], object]) -> float:
    before = nodes.total(SENT)
    do()
    return nodes.total(SENT) - before


def _values_read(query: Query, dataset: Dataset) -> float:
    """Values of points in the query's window, of its hosts."""
    workload = dataset.workload
    ticks = (min(query.end_ns, workload.end_ns) - max(query.start_ns, workload.start_ns)) / workload.interval_ns
    return ticks * (len(query.hosts) or workload.hosts) * len(query.fields)


# Nothing to do


def _idle(directory: Path | None) -> Grid:
    rows = []
    with three(directory) as nodes:
        nodes.replicate(3)
        nodes.warm()
        there = 0
        for count in DATABASES:
            for at in range(there, count):
                nodes.replicated(f"idle{at}")
            there = count
            time.sleep(2.0)
            say(f"{count} databases that nobody uses")
            names = (SENT, "transport_frames_sent_total", "transport_messages_sent_total")
            before, cpu = [nodes.total(name) for name in names], _cpu(nodes)
            time.sleep(IDLE_S)
            after = [nodes.total(name) for name in names]
            rates = [number((b - a) / IDLE_S / 3) for a, b in zip(before, after, strict=True)]
            locations = nodes.metric(1, "replicas")
            rows.append((number(count), number(locations), *rates, f"{(_cpu(nodes) - cpu) / IDLE_S / 3 * 100:.1f} %"))
    header = ("databases", "replicas a node", "bytes/s a node", "frames/s a node", "packets/s a node", "CPU a node")
    return Grid("Three nodes with nothing to do", header, rows)
