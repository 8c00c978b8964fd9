"""How fast points come in: connections and sizes of batches, gzip, new tag sets, COPY, single points; and beside the
peers that are installed what a value costs: CPU, bytes on disk and bytes written."""

from __future__ import annotations

import selectors
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import load
from benchmarks.processes import ServerFailed, has_children, used
from benchmarks.render import Batches, Dataset, render
from benchmarks.report import NAMES, Grid, number, with_spread
from benchmarks.systems import SYSTEMS, System
from benchmarks.systems.tsdb import Tsdb
from benchmarks.tasks.task import OUT, parser, publish, running, say
from benchmarks.workload import FIELDS, generate

BATCH, START_S = 10_000, 1_767_225_600
SHAPES = (
    (1, 1_000), (1, 10_000), (1, 50_000), (2, 1_000), (2, 10_000), (2, 50_000), (8, 1_000), (8, 10_000), (8, 50_000),
)  # fmt: skip
WRITERS = 100
COSTS = (
    "system", "by", "rows/s", "CPU s for a million values", "bytes a value", "bytes written a value", "amplification",
)  # fmt: skip


class Regrouped:
    """The lines of other batches in batches of ``size`` lines; ``most``: of them in whole batches."""

    def __init__(self, batches: load.Lines, size: int, most: int | None = None) -> None:
        text = b"".join(batches[i] for i in range(len(batches)))
        ends = np.flatnonzero(np.frombuffer(text, np.uint8) == 10) + 1
        inner = ends[size - 1 :: size].tolist()
        self._text = memoryview(text)
        offsets = [0, *inner, *([len(text)] if inner[-1:] != [len(text)] else [])]
        self._offsets = offsets if most is None else offsets[: max(1, most // size) + 1]
        self.count = len(ends) if most is None else min(len(ends), max(1, most // size) * size)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> memoryview:
        return self._text[self._offsets[index] : self._offsets[index + 1]]


def new_tagsets(count: int) -> list[memoryview]:
    """Batches of lines of which each has a tag set of its own."""
    found = []
    for first in range(0, count, BATCH):
        ids = range(first, min(count, first + BATCH))
        lines = (f"req,host=host-{i:07},region=eu-{i % 7},dc=dc-{i % 40},app=a{i % 1000} v={i}i\n" for i in ids)
        found.append(memoryview("".join(lines).encode()))
    return found


def main(arguments: Sequence[str]) -> int:
    """Run; 0 when measured."""
    add = parser("ingest", __doc__ or "")
    add.add_argument("--hosts", type=int, default=1000)
    add.add_argument("--hours", type=float, default=4.0)
    add.add_argument("--tagsets", type=int, default=500_000, help="new ones that are written (default %(default)s)")
    add.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help="whose costs are measured")
    add.add_argument("--peer-points", type=int, default=300_000, help="of a shape for a peer (default %(default)s)")
    add.add_argument("--runs", type=int, default=3, help="of each shape (default %(default)s)")
    add.add_argument("--seconds", type=float, default=5.0, help="of single points (default %(default)s)")
    parsed = add.parse_args(arguments)
    dataset = render(generate(parsed.hosts, parsed.hours, 123), OUT, BATCH)
    points = dataset.workload.points

    kinds = [SYSTEMS[name] for name in parsed.systems]
    takers = [kind for kind in kinds if kind().missing() is None and kind().write_at() is not None]

    def measured(what: str, run: Callable[[Any], float], among: Sequence[type[System]] = (Tsdb,)) -> tuple[str, ...]:
        """One row: of each system the median of the runs."""
        cells = []
        for kind in takers:
            rates = []
            for _ in range(parsed.runs if kind in among else 0):
                with running(kind(), parsed.directory) as system:
                    rates.append(run(system))
                say(f"{kind.name}: {what}: {number(rates[-1])}")
            cells.append(with_spread(rates) if rates else "")
        return what, *cells

    def by_lines(workers: int, size: int) -> Callable[[System], float]:
        def run(system: System) -> float:
            lines = Regrouped(dataset.line_protocol, size, None if isinstance(system, Tsdb) else parsed.peer_points)
            return lines.count / load.over_http(lines, workers, *_write_at(system))

        return run

    new = new_tagsets(parsed.tagsets)

    def by_new_tagsets(system: System) -> float:
        # InfluxDB refuses more than 100,000 values of a tag.
        batches = new if isinstance(system, Tsdb) else new[:9]
        points_sent: int = min(parsed.tagsets, len(batches) * BATCH)
        return points_sent / load.over_http(batches, 2, *_write_at(system))

    rows = [measured(f"cpu, {w} × {size:,} lines", by_lines(w, size), takers) for w, size in SHAPES]
    rows.append(measured("cpu, 2 × 10,000 lines, gzip", lambda s: points / _by_gzip(s, dataset.line_protocol)))
    rows.append(measured("cpu, COPY csv, 2 × 10,000 rows", lambda s: points / s.load_by_copy(dataset.csv, 2)))
    rows.append(measured("cpu, COPY text, 2 × 10,000 rows", lambda s: points / _by_text(s, dataset.csv)))
    rows.append(measured("new tag sets, 2 × 10,000", by_new_tagsets, takers))
    rows.append(measured(f"single points, {WRITERS} connections", lambda s: _single(s, parsed.seconds), takers))
    costs = [row for name in parsed.systems for row in _costs(SYSTEMS[name], dataset, parsed.directory)]
    remark = (
        f"Points a second (median of {parsed.runs} runs, least and most), each run into an empty directory, "
        "acknowledged when they are on disk (VictoriaMetrics: in memory); client and server share the cores. A peer "
        f"gets {parsed.peer_points:,} points of a shape. Costs are the server's from an empty directory until all is "
        "loaded and settled; written are the bytes it had written to disk, and the amplification is these over those "
        "that are there in the end."
    )
    tables = [Grid("Ingest", ("what", *(NAMES[kind.name] for kind in takers)), rows), Grid("Costs", COSTS, costs)]
    return publish("ingest", tables, remark, parsed.markdown)


def _costs(kind: type[System], dataset: Dataset, directory: Path | None) -> Iterator[tuple[str, ...]]:
    """What loading costs one system, by each of its ways; nothing of one that cannot run or runs in this process."""
    if kind().missing() is not None:
        return
    for way in kind().load_ways((2,)):
        say(f"{kind.name}: {way}")
        with running(kind(), directory) as system:
            pid = system.pid()
            if pid is None:
                return
            begin, alone = used(pid), not has_children(pid)
            seconds = system.load(dataset, way)
            system.settle()
            cost, size = used(pid).since(begin), system.disk_bytes()
        points = dataset.workload.points
        values = points * len(FIELDS)
        written = (f"{cost.written / values:.2f}", f"{cost.written / size:.1f}") if alone else ("–", "–")
        cpu = f"{cost.cpu_s / values * 1e6:.2f}"
        yield NAMES[kind.name], str(way), number(points / seconds), cpu, f"{size / values:.3f}", *written


def _write_at(system: System) -> tuple[int, str]:
    found = system.write_at()
    assert found is not None, "only who takes line protocol is asked"
    return found


def _by_gzip(system: System, batches: Batches) -> float:
    packed = [memoryview(zlib.compress(batches[i], 6, wbits=31)) for i in range(len(batches))]
    return load.over_http(packed, 2, *_write_at(system), "Content-Encoding: gzip\r\n")


def _by_text(system: Tsdb, batches: Batches) -> float:
    """No value of the workload has a comma, a tab or a backslash in it."""
    texts = [memoryview(bytes(batches[i]).replace(b",", b"\t")) for i in range(len(batches))]
    return system.load_by_copy(texts, 2, "text")


def _single(system: System, seconds: float) -> float:
    """Points a second: ``WRITERS`` connections, each with one point under way at a time."""
    selector = selectors.DefaultSelector()
    writers = [_Writer(i, *_write_at(system)) for i in range(WRITERS)]
    for writer in writers:
        selector.register(writer.socket, selectors.EVENT_READ, writer)
        writer.send()
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for key, _ in selector.select(1.0):
            key.data.answered()
    took = time.perf_counter() - begin
    for writer in writers:
        writer.socket.close()
    return sum(writer.acknowledged for writer in writers) / took


class _Writer:
    """One connection that writes a point, waits for the answer and writes the next."""

    def __init__(self, index: int, port: int, target: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.acknowledged = 0
        self._target = target
        self._index = index
        self._answer = b""

    def send(self) -> None:
        line = f"single,writer=w{self._index} v={self.acknowledged}i {START_S * 10**9 + self.acknowledged}\n"
        head = f"POST {self._target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(line)}\r\n\r\n"
        self.socket.sendall((head + line).encode())

    def answered(self) -> None:
        """Something has come: if it is the whole answer, the next point goes out."""
        self._answer += self.socket.recv(65_536)
        if not self._answer.endswith(b"\r\n\r\n"):
            return
        if not self._answer.startswith(b"HTTP/1.1 204"):
            raise ServerFailed(f"a point was answered {self._answer[:300]!r}")
        self._answer = b""
        self.acknowledged += 1
        self.send()
