"""A million rows × (timestamptz, text, float8, int8) to libpq: what a C client gets, beside PostgreSQL."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import psycopg
from psycopg import pq

from benchmarks.processes import MemoryWatch, ServerFailed, memory_bytes
from benchmarks.report import Grid, number, with_spread
from benchmarks.systems.adapter import System
from benchmarks.systems.postgres import Postgres
from benchmarks.systems.tsdb import Tsdb
from benchmarks.tasks.task import MIB, parser, publish, running, say

ROWS = 1_000_000
STATEMENT = b"SELECT time, name, f, i FROM fetched"
FIRST_ROWS = 15
_FILL = """INSERT INTO fetched SELECT timestamptz '2026-01-01' + n * interval '1 second', 'host_' || (n % 1000),
    n * 0.37 + 0.001, n * 7 FROM generate_series(0, {last}) AS g(n)"""


def main(arguments: Sequence[str]) -> int:
    """Run; 0 when measured."""
    add = parser("fetch", __doc__ or "")
    add.add_argument("--runs", type=int, default=7)
    add.add_argument("--rows", type=int, default=ROWS)
    parsed = add.parse_args(arguments)
    rows = []
    for system in (Tsdb(), Postgres()):
        if system.missing():
            say(str(system.missing()))
            continue
        with running(system, parsed.directory):
            rows += _measure(system, parsed.rows, parsed.runs)
    header = ("system", "format", "rows/s", "first row, ms", "server's memory grows by, MiB")
    title = f"{parsed.rows:,} rows × 4 columns to libpq, median of {parsed.runs} runs (least–most)"
    remark = "PQexec and the first row of single-row mode, over TCP on loopback; memory as the most seen beyond idle."
    return publish("fetch", [Grid(title, header, rows)], remark, parsed.markdown)


def _measure(system: System, rows: int, runs: int) -> list[tuple[str, ...]]:
    assert isinstance(system, (Tsdb, Postgres))
    conninfo = system.conninfo("tsdb") if isinstance(system, Tsdb) else system.conninfo()
    with psycopg.connect(conninfo, autocommit=True) as connection:
        key = "" if isinstance(system, Postgres) else ", PRIMARY KEY (time)"
        connection.execute(f"CREATE TABLE fetched (time timestamptz, name text, f float8, i int8{key})".encode())
        connection.execute(_FILL.format(last=rows - 1).encode())
        connection.execute(b"VACUUM fetched" if isinstance(system, Postgres) else b"CHECKPOINT")
    found: list[tuple[str, ...]] = []
    for name, code in (("text", 0), ("binary", 1)):
        say(f"{system.name}: {name}")
        idle = memory_bytes(system.pid())
        with psycopg.connect(conninfo, autocommit=True) as connection:
            whole(connection.pgconn, code, rows)
            with MemoryWatch(system.pid(), since_start=False) as watch:
                rates = [rows / whole(connection.pgconn, code, rows) for _ in range(runs)]
            first = statistics.median(first_row_ms(connection.pgconn, code) for _ in range(FIRST_ROWS))
        grows = max(0, watch.peak_bytes - idle) / MIB
        found.append((system.name, name, with_spread(rates), number(first), number(grows)))
    return found


def whole(connection: pq.abc.PGconn, code: int, rows: int) -> float:
    """Seconds until libpq has the whole result."""
    begin = time.perf_counter()
    result = connection.exec_params(STATEMENT, [], result_format=code)
    seconds = time.perf_counter() - begin
    if result.status != pq.ExecStatus.TUPLES_OK or result.ntuples != rows:
        raise ServerFailed(f"{result.ntuples} rows: {result.error_message.decode()}")
    return seconds


def first_row_ms(connection: pq.abc.PGconn, code: int) -> float:
    """Milliseconds until the first row is there; the rest is read and thrown away."""
    begin = time.perf_counter()
    connection.send_query_params(STATEMENT, [], result_format=code)
    connection.set_single_row_mode()
    connection.get_result()
    taken = (time.perf_counter() - begin) * 1000
    connection.get_cancel().cancel()
    while connection.get_result() is not None:
        pass
    return taken
