"""Queries as history grows, a scan of all of it, and what DELETE gives back: tsdb alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import psycopg

from benchmarks import load
from benchmarks.processes import MemoryWatch, ServerFailed
from benchmarks.queries import BY_NAME, HOUR_NS, Query, draw
from benchmarks.render import render
from benchmarks.report import Grid, number
from benchmarks.systems.tsdb import DATABASE, Tsdb
from benchmarks.tasks.stream import Shifted
from benchmarks.tasks.task import MIB, OUT, milliseconds, parser, publish, running, say
from benchmarks.workload import FIELDS, SERIES, Workload, generate

HOSTS, PART_HOURS = 1000, 12.0
TYPES = (
    "single-groupby-1-1-1",
    "single-groupby-5-8-1",
    "cpu-max-all-8",
    "double-groupby-1",
    "high-cpu-1",
    "lastpoint",
    "groupby-orderby-limit",
)
DRAWS = 15
SCANS = {
    "all: avg(usage_user)": f"SELECT count(*), avg(usage_user) FROM {SERIES}",
    "bounds: min(time), max(time)": f"SELECT min(time), max(time), count(*) FROM {SERIES}",
    "all points, by DuckDB: count of a > b": f"SELECT count(*) FROM {SERIES} WHERE usage_user > usage_system",
    "all points, by DuckDB: count(DISTINCT a + b) by host": "SELECT hostname, count(DISTINCT usage_user + usage_idle) "
    f"FROM {SERIES} GROUP BY hostname ORDER BY 2 DESC LIMIT 5",
}


@dataclass(slots=True)
class Point:
    """What was measured at one size."""

    rows: int
    latencies_ms: dict[str, float] = field(default_factory=dict)
    disk_bytes: int = 0
    memory_bytes: int = 0
    scan_memory_bytes: int = 0
    load_rows_per_second: float = 0.0


def main(arguments: Sequence[str]) -> int:
    """Run; 0 when measured and right."""
    add = parser("scale", __doc__ or "")
    add.add_argument("--millions", default="10,30,100", help="sizes in million points (default %(default)s)")
    parsed = add.parse_args(arguments)
    sizes = [int(float(text) * 1e6) for text in parsed.millions.split(",")]
    part = generate(HOSTS, PART_HOURS, 123)
    dataset = render(part, OUT, 10_000)
    system = Tsdb()
    points: list[Point] = []
    with running(system, parsed.directory):
        loaded = 0
        for size in sizes:
            point = Point(0)
            begin, before = time.perf_counter(), loaded
            while loaded < size:
                shift = loaded // part.points * (part.end_ns - part.start_ns)
                path = f"/write?db={DATABASE}&precision=ns"
                load.over_http(Shifted(dataset.line_protocol, shift), 2, system.http_port, path)
                loaded += part.points
                say(f"{loaded:,} points")
            point.rows = loaded
            point.load_rows_per_second = (loaded - before) / (time.perf_counter() - begin)
            system.settle()
            point.disk_bytes = system.disk_bytes()
            _ask(system, part, loaded, point)
            points.append(point)
        deleted = _delete(system, part, loaded)
    remark = (
        "The first twelve hours again and again, later; queries over the newest twelve hours, parameters drawn anew; "
        f"medians of {DRAWS} draws. `newest hour` is one host's last hour."
    )
    return publish("scale", [_sizes(points), deleted], remark, parsed.markdown)


def _newest(query: Query, part: Workload, rows: int) -> Query:
    """The query, moved from the first part of the history to the last."""
    shift = (rows // part.points - 1) * (part.end_ns - part.start_ns)
    return replace(query, start_ns=query.start_ns + shift, end_ns=query.end_ns + shift)


def _ask(system: Tsdb, part: Workload, rows: int, point: Point) -> None:
    client = system.connect()
    with MemoryWatch(system.pid(), since_start=False) as watch:
        for name in TYPES:
            drawn = [_newest(query, part, rows) for query in draw(BY_NAME[name], part)]
            runs = [client.compile(drawn[i % len(drawn)], "simple") for i in range(DRAWS + 2)]
            point.latencies_ms[name] = statistics.median([milliseconds(run) for run in runs][2:])
        hour = replace(
            draw(BY_NAME["single-groupby-1-1-1"], part)[0], start_ns=part.end_ns - HOUR_NS, end_ns=part.end_ns
        )
        run = client.compile(_newest(hour, part, rows), "simple")
        point.latencies_ms["newest hour"] = statistics.median([milliseconds(run) for _ in range(DRAWS + 2)][2:])
    point.memory_bytes = watch.peak_bytes
    client.close()
    with psycopg.connect(system.conninfo(), autocommit=True) as connection:
        with MemoryWatch(system.pid(), since_start=False) as watch:
            for name, text in SCANS.items():
                begin = time.perf_counter()
                row = connection.execute(text.encode()).fetchone()
                point.latencies_ms[name] = (time.perf_counter() - begin) * 1000
                assert row is not None
                if name.endswith("avg(usage_user)") and row[0] != rows:
                    raise ServerFailed(f"{row[0]} points, {rows} were written")
        point.scan_memory_bytes = watch.peak_bytes


def _sizes(points: list[Point]) -> Grid:
    header = ("query, ms", *(f"{point.rows / 1e6:.0f} M points" for point in points))
    names = list(points[0].latencies_ms)
    rows = [(name, *(number(point.latencies_ms[name]) for point in points)) for name in names]
    rows.append(("bytes a value", *(f"{point.disk_bytes / point.rows / len(FIELDS):.3f}" for point in points)))
    rows.append(("load, rows/s", *(number(point.load_rows_per_second) for point in points)))
    rows.append(("server's memory at the queries, MiB", *(number(point.memory_bytes / MIB) for point in points)))
    rows.append(("server's memory at the scans, MiB", *(number(point.scan_memory_bytes / MIB) for point in points)))
    return Grid("Growing history", header, rows)


def _delete(system: Tsdb, part: Workload, rows: int) -> Grid:
    middle = part.start_ns + (rows // part.points) * (part.end_ns - part.start_ns) // 2
    border = f"to_timestamp({middle // 10**9})"
    found = []
    steps = (("half of the time", f"time < {border}"), ("a tenth of the hosts", "hostname LIKE 'host\\__1%'"))
    with psycopg.connect(system.conninfo(), autocommit=True) as connection:
        for what, where in steps:
            say(f"DELETE … WHERE {where}")
            bytes_before = system.disk_bytes()
            ((before,),) = connection.execute(f"SELECT count(*) FROM {SERIES}".encode()).fetchall()
            text = f"DELETE FROM {SERIES} WHERE {where}".encode()
            taken = milliseconds(lambda: connection.execute(text))  # noqa: B023
            ((after,),) = connection.execute(f"SELECT count(*) FROM {SERIES}".encode()).fetchall()
            ((left,),) = connection.execute(f"SELECT count(*) FROM {SERIES} WHERE {where}".encode()).fetchall()
            if left:
                raise ServerFailed(f"{left} points are there after DELETE … WHERE {where}")
            seconds = milliseconds(lambda: connection.execute(f"VACUUM {SERIES}".encode())) / 1000
            system.settle()
            ((kept,),) = connection.execute(f"SELECT count(*) FROM {SERIES}".encode()).fetchall()
            if kept != after:
                raise ServerFailed(f"{kept} points after VACUUM, {after} before")
            space = (number(bytes_before / MIB), number(system.disk_bytes() / MIB))
            found.append((what, f"{before - after:,} of {before:,}", number(taken), number(seconds), *space))
    header = ("DELETE of", "points", "ms", "VACUUM, s", "MiB before", "MiB after")
    return Grid("DELETE", header, found)
