"""What nodes ask each other: the rows of fragments, over Arrow Flight and in frames; small calls, which go in frames;
and calls while rows are sent. Two processes on loopback with mutual TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.fragments import CALL, HOST, SCAN, Node
from benchmarks.processes import used
from benchmarks.report import Grid
from benchmarks.tasks.task import parser, percentile, publish, say
from tsdb.cluster.authority import issue, make_authority
from tsdb.cluster.routing.remote import RemoteScan
from tsdb.model.store import ScanStatistics

CALLS = 3_000
ROWS = 288_000
FEW_ROWS = 12
RUNS = 15
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Way:
    """How it is done: ``call`` asks something small; ``rows`` reads a fragment to its end, and says how many there
    were; ``server``: the process that answers."""

    call: Callable[[], object]
    rows: Callable[[], int]
    server: int


def main(arguments: Sequence[str]) -> int:
    """Run; 0 when measured."""
    options = parser("transport", __doc__ or "")
    options.add_argument("--rows", type=int, default=ROWS, help="of the fragment (default %(default)s)")
    options.add_argument("--calls", type=int, default=CALLS, help="small ones (default %(default)s)")
    options.add_argument("--runs", type=int, default=RUNS, help="of the fragment (default %(default)s)")
    parsed = options.parse_args(arguments)
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory(dir=parsed.directory) as name:
        folder = Path(name)
        _certificates(folder)
        for title, is_flight in (
            ("Arrow Flight", True),
            ("frames", False),
        ):
            say(title)
            with _opened(folder, FEW_ROWS, is_flight=is_flight) as way:
                few = _fragments(way, FEW_ROWS, parsed.calls)
            with _opened(folder, parsed.rows, is_flight=is_flight) as way:
                many = _fragments(way, parsed.rows, parsed.runs)
                rows.append((title, *few, *many, *_calls(way, parsed.calls)))
    header = (
        "rows go over", f"{FEW_ROWS} rows", "99 %", "CPU", f"{parsed.rows:,} rows", "99 %", "CPU",
        "a call", "99 %", "a call meanwhile", "99 %",
    )  # fmt: skip
    remark = (
        "Two processes with mutual TLS. Fragments: times, a tag and five fields, in batches of 16,384 rows, until "
        f"they are Arrow at the other side, medians of {parsed.calls:,} small and of {parsed.runs} large ones, one "
        f"after the other. Calls go in frames: medians of {parsed.calls:,}; meanwhile: while one large fragment after "
        "the other is sent. CPU is of both processes."
    )
    return publish("transport", [Grid("Between nodes: rows and calls", header, rows)], remark, parsed.markdown)


def _fragments(way: Way, rows: int, runs: int) -> tuple[str, ...]:
    """The median, the 99th percentile, and the CPU of one."""
    for _ in range(runs // 10 + 1):
        found = way.rows()
        assert found == rows, f"{found} of {rows} rows came"
    cpu = _cpu(way)
    took = _times(way.rows, runs)
    return *_shown(took), _time((_cpu(way) - cpu) / runs)


def _calls(way: Way, calls: int) -> tuple[str, ...]:
    """The same of calls, and of calls while rows are sent."""
    for _ in range(calls // 10):
        way.call()
    took = _times(way.call, calls)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            way.rows()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        meanwhile = _times(way.call, calls // 3)
    finally:
        stop.set()
        reader.join()
    return *_shown(took), *_shown(meanwhile)


def _times(call: Callable[[], object], count: int) -> list[float]:
    found = []
    for _ in range(count):
        begin = time.perf_counter()
        call()
        found.append(time.perf_counter() - begin)
    return found


def _shown(took: Sequence[float]) -> tuple[str, str]:
    """The median, and the 99th percentile."""
    return _time(statistics.median(took)), _time(percentile(took, 0.99))


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} µs" if seconds < 2e-3 else f"{seconds * 1e3:,.1f} ms"


def _cpu(way: Way) -> float:
    """Seconds of both processes."""
    return time.process_time() + used(way.server).cpu_s


def _certificates(folder: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    authority = make_authority("benchmark", 100, now)
    (folder / "ca.crt").write_bytes(authority.certificate)
    for name in ("n1", "n2"):
        made = issue(authority, name, [HOST], 10, now)
        (folder / f"{name}.crt").write_bytes(made.certificate)
        (folder / f"{name}.key").touch(0o600)
        (folder / f"{name}.key").write_bytes(made.key)


@contextmanager
def _served(folder: Path, rows: int) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """The other end, and its ports of frames and of Flight."""
    command = [sys.executable, "-m", "benchmarks.fragments", str(folder), str(rows)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        _, frames, flight = server.stdout.readline().split()
        yield server, int(frames), int(flight)
    finally:
        server.kill()
        server.communicate()


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One that runs in a thread, as a node's does."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def _opened(folder: Path, rows: int, *, is_flight: bool) -> Iterator[Way]:
    async def begun(port: int) -> Node:
        node = Node(folder, 2)
        await node.transport.start(HOST, 0)
        node.meet(1, port)
        if is_flight:
            node.fetch(1, flight)
        return node

    with _served(folder, rows) as (server, port, flight), _loop() as loop:

        def done(work: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE_S)

        node: Node = done(begun(port))
        assert server.stdin is not None
        server.stdin.write(f"{node.transport.port}\n")
        server.stdin.flush()

        def read() -> int:
            scan = RemoteScan(node.exchange, 1, SCAN, ScanStatistics(), None)
            scan.start()
            try:
                list(scan.cells())
                return sum(batch.num_rows for batch in scan.batches())
            finally:
                scan.close()

        try:
            done(node.exchange.ask(1, CALL, connect_s=PATIENCE_S))
            yield Way(lambda: done(node.exchange.ask(1, CALL)), read, server.pid)
        finally:
            with contextlib.suppress(TimeoutError):
                done(node.stop())
