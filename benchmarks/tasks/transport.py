"""What nodes ask each other: over their own frames, as the product does, and the same over Arrow Flight: small calls,
the rows of a fragment, and calls while rows are sent. Two processes on loopback with mutual TLS."""

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

import pyarrow.flight as fl
import uvloop

from benchmarks.fragments import CALL, HOST, SCAN, Node
from benchmarks.processes import used
from benchmarks.report import Grid
from benchmarks.tasks.task import MIB, median_ms, parser, percentile, publish, say
from tsdb.cluster.authority import issue, make_authority
from tsdb.cluster.routing.remote import RemoteScan
from tsdb.model.store import ScanStatistics

CALLS = 3_000
ROWS = 288_000
RUNS = 15
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Way:
    """How it is done: ``call`` asks something small; ``rows`` reads a fragment to its end, and says how many there were
    and (0: it does not know) in how many bytes; ``server``: the process that answers."""

    call: Callable[[], object]
    rows: Callable[[], tuple[int, int]]
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
        for title, opened in (
            ("frames (as they are)", lambda: _frames(folder, parsed.rows)),
            ("Flight, packed alike", lambda: _flight(folder, parsed.rows, compressed=True)),
            ("Flight, not packed", lambda: _flight(folder, parsed.rows, compressed=False)),
        ):
            say(title)
            with opened() as way:  # type: ignore[no-untyped-call]
                rows.append((title, *_measured(way, parsed.rows, parsed.calls, parsed.runs)))
    header = (
        "over", "a call", "99 %", "CPU a call", f"{parsed.rows:,} rows", "CPU", "bytes",
        "a call meanwhile", "99 %",
    )  # fmt: skip
    remark = (
        f"Two processes with mutual TLS; medians of {parsed.calls:,} calls, one after the other, and of {parsed.runs} "
        "fragments: times, a tag and five fields, in batches of 16,384 rows, until they are Arrow at the other side. "
        "CPU is of both processes. Calls meanwhile: while one fragment after the other is sent."
    )
    return publish("transport", [Grid("Between nodes: frames and Arrow Flight", header, rows)], remark, parsed.markdown)


def _measured(way: Way, rows: int, calls: int, runs: int) -> tuple[str, ...]:
    found, size = way.rows()
    assert found == rows, f"{found} of {rows} rows came"
    for _ in range(calls // 10):
        way.call()
    cpu = _cpu(way)
    took = _times(way.call, calls)
    a_call = (_cpu(way) - cpu) / calls
    cpu = _cpu(way)
    fragment = median_ms(way.rows, runs)
    a_fragment = (_cpu(way) - cpu) / (runs + 1)
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
    return (
        *_micros(took), f"{a_call * 1e6:,.0f} µs", f"{fragment:,.1f} ms", f"{a_fragment * 1e3:,.1f} ms", _mib(size),
        *_micros(meanwhile),
    )  # fmt: skip


def _times(call: Callable[[], object], count: int) -> list[float]:
    found = []
    for _ in range(count):
        begin = time.perf_counter()
        call()
        found.append(time.perf_counter() - begin)
    return found


def _mib(size: int) -> str:
    return f"{size / MIB:.1f} MiB" if size else ""


def _micros(took: Sequence[float]) -> tuple[str, str]:
    """The median, and the 99th percentile."""
    return f"{statistics.median(took) * 1e6:,.0f} µs", f"{percentile(took, 0.99) * 1e6:,.0f} µs"


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
def _served(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The other end, and its port."""
    command = [sys.executable, "-m", "benchmarks.fragments", str(folder), *words]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        _, port = server.stdout.readline().split()
        yield server, int(port)
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
def _frames(folder: Path, rows: int) -> Iterator[Way]:
    async def begun(port: int) -> Node:
        node = Node(folder, 2)
        await node.transport.start(HOST, 0)
        node.meet(1, port)
        return node

    with _served(folder, "frames", str(rows), "True") as (server, port), _loop() as loop:

        def done(work: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE_S)

        node: Node = done(begun(port))
        assert server.stdin is not None
        server.stdin.write(f"{node.transport.port}\n")
        server.stdin.flush()

        def read() -> tuple[int, int]:
            scan = RemoteScan(node.exchange, 1, SCAN, ScanStatistics(), None)
            scan.start()
            try:
                list(scan.cells())
                return sum(batch.num_rows for batch in scan.batches()), scan.share.bytes
            finally:
                scan.close()

        try:
            done(node.exchange.ask(1, CALL, connect_s=PATIENCE_S))
            yield Way(lambda: done(node.exchange.ask(1, CALL)), read, server.pid)
        finally:
            with contextlib.suppress(TimeoutError):
                done(node.stop())


@contextmanager
def _flight(folder: Path, rows: int, *, compressed: bool) -> Iterator[Way]:
    with _served(folder, "flight", str(rows), str(compressed)) as (server, port):
        client = fl.FlightClient(
            f"grpc+tls://{HOST}:{port}", tls_root_certs=(folder / "ca.crt").read_bytes(),
            cert_chain=(folder / "n2.crt").read_bytes(), private_key=(folder / "n2.key").read_bytes(),
        )  # fmt: skip

        def read() -> tuple[int, int]:
            return sum(chunk.data.num_rows for chunk in client.do_get(fl.Ticket(b"scan"))), 0

        with client:
            yield Way(lambda: list(client.do_action(fl.Action("call", b""))), read, server.pid)
