"""Latencies of a query while the server ingests as fast as it can, beside its idle latencies: tsdb alone."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event

from benchmarks import load
from benchmarks.processes import ServerFailed
from benchmarks.queries import BY_NAME, draw
from benchmarks.render import Batches, render
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
    """Writes later and later copies of the dataset while the context is open. In a process of its own: a thread would
    keep the one that asks from its interpreter, and count as the server's time."""

    def __init__(self, system: Tsdb, batches: Batches, workload: Workload, round_: int) -> None:
        self.round = round_
        self.rows_per_second = 0.0
        spawning = multiprocessing.get_context("spawn")
        self._stop = spawning.Event()
        self._told, tells = spawning.Pipe(duplex=False)
        span, rows = workload.end_ns - workload.start_ns, workload.points // len(batches)
        arguments = (system.http_port, batches, span, rows, round_, self._stop, tells)
        self._process = spawning.Process(target=_write, args=arguments, name="ingest", daemon=True)

    def __enter__(self) -> _Ingest:
        self._process.start()
        self._told.recv()  # it has begun
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        try:
            error, self.round, self.rows_per_second = self._told.recv()
        except EOFError:
            error = "the process that writes ended"
        self._process.join()
        if error:
            raise ServerFailed(f"writing while asking: {error}")


def _write(port: int, batches: Batches, span: int, rows: int, round_: int, stop: Event, tells: Connection) -> None:
    """Write until told to stop; tells that the first batch is written and, at the end, (error, round, rows/s)."""
    send, close = load.http_sender(port, f"/write?db={DATABASE}&precision=ns")
    begin, sent, error = time.perf_counter(), 0, ""
    try:
        while not stop.is_set():
            round_ += 1
            for i in range(len(batches)):
                if stop.is_set():
                    break
                send(shifted(batches[i], round_ * span))
                if not sent:
                    tells.send(None)
                sent += rows
    except Exception as failure:
        error = str(failure)
    finally:
        close()
    tells.send((error, round_, sent / (time.perf_counter() - begin)))
