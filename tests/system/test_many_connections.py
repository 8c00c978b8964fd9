"""Many clients at a time: idle ones cost little, active ones all get their turn, one too many is told so."""

from __future__ import annotations

import contextlib
import resource
import socket
import statistics
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.fixtures.server import WARM, Process
from tests.fixtures.slow import SlowClient
from tests.fixtures.waiting import until

KIB = 1024
MIB = 1024**2
IDLE = 500
ACTIVE = 100
PANEL = (
    "SELECT time_bucket('1 minute', time) AS at, host, avg(a) FROM cpu "
    "WHERE time >= '1970-01-01' AND time < '1970-01-02' AND host = 'h{host}' GROUP BY at, host ORDER BY at"
)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    running = Process(tmp_path_factory.mktemp("many") / "data", **WARM)
    running.wait_warm()
    lines = "".join(
        f"cpu,host=h{host} a={tick}.5 {tick * 10_000_000_000}\n" for tick in range(500) for host in range(100)
    )
    assert running.write(lines)[0] == 204
    yield running
    running.kill()


@pytest.fixture
def files() -> Iterator[None]:
    """As many files as the clients of these tests need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096) if hard == -1 else min(max(soft, 4096), hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def panel(process: Process, host: int) -> float:
    """What one of Grafana's connections does: connect, ask, read, leave. The seconds that took."""
    started = time.monotonic()
    with process.connect() as connection:
        rows = connection.execute(PANEL.format(host=host).encode()).fetchall()
    assert len(rows) == 84
    assert {row[1] for row in rows} == {f"h{host}"}
    return time.monotonic() - started


@pytest.mark.usefixtures("files")
def test_five_hundred_idle_clients_cost_little_and_a_hundred_active_ones_are_served(process: Process) -> None:
    panel(process, 0)
    before = process.memory_bytes()
    idle = [process.connect() for _ in range(IDLE)]
    try:
        for connection in idle:
            connection.execute("SELECT 1")
        each = (process.memory_bytes() - before) / IDLE
        assert each < 400 * KIB, f"{each / KIB:.0f} KiB for each idle client"
        with ThreadPoolExecutor(ACTIVE) as pool:
            took = list(pool.map(lambda host: panel(process, host), range(ACTIVE)))
        assert max(took) < 60
        assert idle[0].execute("SELECT 2").fetchone() == (2,)
    finally:
        for connection in idle:
            connection.close()


def test_a_burst_of_a_hundred_panels_is_answered_fairly(process: Process) -> None:
    """Nobody waits much longer than the whole burst takes, and the last is not served after everybody else twice."""
    for _ in range(2):
        started = time.monotonic()
        with ThreadPoolExecutor(ACTIVE) as pool:
            took = sorted(pool.map(lambda host: panel(process, host), range(ACTIVE)))
        whole = time.monotonic() - started
        assert took[-1] <= whole
    assert took[-1] < 6 * statistics.median(took) + 2


def connects(process: Process) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        process.connect().close()
        return True
    return False


def test_a_client_beyond_connections_max_gets_53300(tmp_path_factory: pytest.TempPathFactory) -> None:
    process = Process(tmp_path_factory.mktemp("few") / "data", "--connections-max", "3")
    kept = [process.connect() for _ in range(3)]
    try:
        with pytest.raises(psycopg.OperationalError, match="too many clients already"):
            process.connect()
        body = struct.pack("!i", 3 << 16) + b"user\0x\0database\0tsdb\0\0"
        with socket.create_connection(("127.0.0.1", process.pg_port), timeout=10) as raw:
            raw.sendall(struct.pack("!i", len(body) + 4) + body)
            assert b"C53300\0" in raw.recv(4096)
        kept.pop().close()
        until(lambda: connects(process))
    finally:
        for connection in kept:
            connection.close()
        process.kill()


def test_slow_readers_do_not_slow_others(process: Process) -> None:
    alone = statistics.median(panel(process, host) for host in range(20))
    big = "SELECT i, 'host' || i, i * 0.5::float8, now() FROM generate_series(1, 3000000) AS g(i)"
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(SlowClient(process.pg_port, big))
        time.sleep(1.5)
        beside = statistics.median(panel(process, host) for host in range(20))
    assert beside < 5 * alone + 0.1, f"{beside * 1000:.0f} ms, alone {alone * 1000:.0f} ms"


def test_a_million_rows_take_little_memory_and_the_first_comes_soon(process: Process) -> None:
    """1,000,000 rows of timestamptz, text, float8 and int8, stored, to a client that reads as fast as it can."""
    for body in range(10):
        lines = "".join(
            f"fetched,host=h{i % 100} v={i}.25,i={i}i {(body * 100_000 + i) * 1_000_000_000}\n" for i in range(100_000)
        )
        assert process.write(lines)[0] == 204
    sql = "SELECT time, host, v, i FROM fetched"
    with process.connect() as connection:
        connection.execute("CHECKPOINT")

    def fetch() -> tuple[float, int]:
        """Seconds to the first bytes, and bytes in all."""
        started = time.monotonic()
        with SlowClient(process.pg_port, sql) as client:
            started = time.monotonic()
            client.socket.recv(1)
            first = time.monotonic() - started
            return first, client.read_all()[0]

    fetch()
    before, most, end = process.memory_bytes(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not end.wait(0.002):
            most = max(most, process.memory_bytes())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        results = [fetch() for _ in range(3)]
    finally:
        end.set()
        watching.join()
    assert all(count > 40_000_000 for _, count in results)
    assert min(first for first, _ in results) < 0.05
    assert most - before < 64 * MIB, f"{(most - before) / MIB:.0f} MiB"
