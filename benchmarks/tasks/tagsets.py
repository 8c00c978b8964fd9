"""A series of a million tag sets: ingest, bytes of memory a tag set, look-ups by tag: tsdb alone."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from benchmarks import load
from benchmarks.processes import memory_bytes
from benchmarks.report import Grid, number
from benchmarks.systems.tsdb import DATABASE, Tsdb
from benchmarks.tasks.task import MIB, median_ms, milliseconds, parser, publish, running, say

GROUPS, BATCH, START_S = 1000, 10_000, 1_767_225_600
QUERIES = {
    "one tag set by its id": "SELECT count(*), max(v) FROM wide WHERE id = 'id-{some}'",
    "a thousandth, by another tag": "SELECT count(*), max(v) FROM wide WHERE kind = 'k7'",
    "SELECT DISTINCT kind (1,000 values)": "SELECT DISTINCT kind FROM wide",
    "SELECT DISTINCT id (all)": "SELECT count(*) FROM (SELECT DISTINCT id FROM wide) AS ids",
    "max by kind": "SELECT kind, max(v) FROM wide GROUP BY kind",
    "the newest hundred points": "SELECT * FROM wide ORDER BY time DESC LIMIT 100",
}


class _Lines:
    """Batches of one point a tag set, made when they are asked for."""

    def __init__(self, count: int, second: int) -> None:
        self._count, self._second = count, second

    def __len__(self) -> int:
        return -(-self._count // BATCH)

    def __getitem__(self, index: int) -> memoryview:
        ids = range(index * BATCH, min(self._count, (index + 1) * BATCH))
        text = "".join(f"wide,id=id-{i},kind=k{i % GROUPS} v={i}i {START_S + self._second}\n" for i in ids)
        return memoryview(text.encode())


def main(arguments: Sequence[str]) -> int:
    """Run; 0 when measured."""
    add = parser("tagsets", __doc__ or "")
    add.add_argument("--count", type=int, default=1_000_000)
    parsed = add.parse_args(arguments)
    count, system = parsed.count, Tsdb()
    rows: list[tuple[str, ...]] = []
    with running(system, parsed.directory):
        path = f"/write?db={DATABASE}&precision=s"
        load.over_http(_Lines(1, 0), 1, system.http_port, path)
        idle = memory_bytes(system.pid())
        for second, what in enumerate(("new tag sets", "known tag sets", "known tag sets"), 1):
            say(f"writing {count:,} points of {what}")
            seconds = load.over_http(_Lines(count, second), 2, system.http_port, path)
            rows.append((f"write {count:,} points of {what}, rows/s", number(count / seconds)))
        rows.append(("memory a tag set with its points in the head, bytes", number(_grown(system, idle) / count)))
        system.settle()
        rows.append(("memory a tag set, flushed, bytes", number(_grown(system, idle) / count)))
        rows.append(("on disk, MiB", number(system.disk_bytes() / MIB)))
        with psycopg.connect(system.conninfo(), autocommit=True) as connection:
            for what, text in QUERIES.items():
                say(what)
                statement = text.format(some=count // 3).encode()
                cold = milliseconds(lambda: connection.execute(statement).fetchall())  # noqa: B023
                warm = median_ms(lambda: connection.execute(statement).fetchall(), 5)  # noqa: B023
                rows.append((f"{what}, ms (the first time)", f"{number(warm)} ({number(cold)})"))
    remark = "Each tag set has three points, a second apart; the memory is what the process grew by."
    return publish("tagsets", [Grid(f"{count:,} tag sets", ("", "measured"), rows)], remark, parsed.markdown)


def _grown(system: Tsdb, idle: int) -> int:
    return memory_bytes(system.pid()) - idle
