"""Latencies of a query while the server ingests as fast as it can, beside its idle latencies: tsdb alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from benchmarks import load
from benchmarks.processes import ServerFailed
from benchmarks.queries import BY_NAME, draw
from benchmarks.render import render
from benchmarks.report import Grid, number
from benchmarks.systems.adapter import Client, LoadWay
from benchmarks.systems.tsdb import DATABASE, LINE_PROTOCOL, Tsdb
from benchmarks.tasks.stream import shifted
from benchmarks.tasks.task import OUT, milliseconds, parser, percentile, publish, running, say
from benchmarks.workload import Workload, generate

TYPES = ("single-groupby-1-1-1", "single-groupby-5-8-1", "double-groupby-1", "lastpoint")
PARTS = (0.5, 0.99)
WARM_UP = 3


def main(arguments: Sequence[str]) -> int:
    """Run; 0 when measured."""
    add = parser("mixed", __doc__ or "")
    add.add_argument("--seconds", type=float, default=20.0, help="of asking, for each query type and state")
    parsed = add.parse_args(arguments)
    workload = generate(1000, 12.0, 123)
    dataset = render(workload, OUT, 10_000)
    system = Tsdb()
    idle: dict[str, list[float]] = {}
    busy: dict[str, list[float]] = {}
    rates: dict[str, float] = {}
    with running(system, parsed.directory):
        system.wait_until_ready()
        system.load(dataset, LoadWay(LINE_PROTOCOL, 2))
        system.settle()
        client = system.connect()
        round_ = 0
        for name in TYPES:
            say(f"{name}: idle")
            idle[name] = _ask(client, name, workload, parsed.seconds / 4)
            say(f"{name}: while ingesting")
            with _Ingest(system, dataset.line_protocol, workload, round_) as ingest:
                busy[name] = _ask(client, name, workload, parsed.seconds)
            rates[name] = ingest.rows_per_second
            round_ = ingest.round
        client.close()
    rows = []
    for name in TYPES:
        cells = [number(percentile(found[name], part)) for found in (idle, busy) for part in PARTS]
        ratio = percentile(busy[name], 0.99) / percentile(idle[name], 0.99)
        rows.append((name, *cells, f"{ratio:.1f}", number(rates[name])))
    header = ("query", "idle: median, ms", "p99", "ingesting: median, ms", "p99", "p99, times idle", "rows/s meanwhile")
    remark = "One connection writes batches of 10,000 rows of later hours, another asks one query after the other."
    return publish("mixed", [Grid("Reads during ingest", header, rows)], remark, parsed.markdown)


def _ask(client: Client, name: str, workload: Workload, seconds: float) -> list[float]:
    runs = [client.compile(query, "simple") for query in draw(BY_NAME[name], workload)]
    for run in runs[:WARM_UP]:
        run()
    found: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        found.append(milliseconds(runs[len(found) % len(runs)]))
    return found


class _Ingest:
    """Writes later and later copies of the dataset while the context is open."""

    def __init__(self, system: Tsdb, batches: load.Lines, workload: Workload, round_: int) -> None:
        self.round = round_
        self.rows_per_second = 0.0
        self._send, self._close = load.http_sender(system.http_port, f"/write?db={DATABASE}&precision=ns")
        self._batches = batches
        self._span = workload.end_ns - workload.start_ns
        self._rows = workload.points // len(batches)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="ingest", daemon=True)

    def __enter__(self) -> _Ingest:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._close()
        if self._error is not None:
            raise ServerFailed(f"writing while asking: {self._error}") from self._error

    def _work(self) -> None:
        begin, sent = time.perf_counter(), 0
        try:
            while not self._stop.is_set():
                self.round += 1
                for i in range(len(self._batches)):
                    if self._stop.is_set():
                        break
                    self._send(shifted(self._batches[i], self.round * self._span))
                    sent += self._rows
        except BaseException as error:
            self._error = error
        self.rows_per_second = sent / (time.perf_counter() - begin)
