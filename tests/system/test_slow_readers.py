"""Clients that ask for much and read nothing: memory stays bounded, others are served, and those who read get all."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fixtures.server import WARM, Process, Start
from tests.fixtures.slow import SlowClient

MIB = 2**20
NARROW = "SELECT i, 'host' || i, i * 0.5::float8, now() FROM generate_series(1, 600000) AS g(i)"
WIDE = "SELECT repeat('x', 900000) FROM generate_series(1, 100)"
WIDE_BYTES = 100 * 900_000


@contextlib.contextmanager
def slow_clients(process: Process, count: int, sql: str) -> Iterator[list[SlowClient]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(SlowClient(process.pg_port, sql)) for _ in range(count)]


def started(start: Start, *flags: str) -> Process:
    """A server that is warm: its kernels are loaded, and one result of each kind was sent."""
    process = start(*flags, **WARM)
    process.wait_warm()
    with process.connect() as connection:
        connection.execute(NARROW).fetchall()
    return process


def most_memory(process: Process, seconds: float) -> int:
    until, most = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        most = max(most, process.memory_bytes())
        time.sleep(0.02)
    return most


def answer_s(process: Process) -> float:
    begin = time.monotonic()
    with process.connect() as connection:
        assert connection.execute("SELECT 'x' || 42").fetchone() == ("x42",)
    return time.monotonic() - begin


def test_many_clients_that_do_not_read_take_a_few_mebibytes_each(start: Start) -> None:
    process = started(start)
    before = process.memory_bytes()
    with slow_clients(process, 60, NARROW):
        grown = most_memory(process, 3) - before
        assert answer_s(process) < 2
    assert grown < 60 * 6 * MIB, f"{grown / MIB:.0f} MiB"


def test_wide_results_are_sent_one_after_the_other_within_the_bound(start: Start) -> None:
    process = started(start, "--result-memory", "64MiB")
    before = process.memory_bytes()
    with slow_clients(process, 16, WIDE) as clients:
        most = most_memory(process, 3)
        # Two vectors at a time, each as DuckDB's and as ours; 16 of them are 2.9 GB.
        assert most - before < 700 * MIB, f"{(most - before) / MIB:.0f} MiB"
        assert answer_s(process) < 2
        with ThreadPoolExecutor(len(clients)) as pool:
            reading = [pool.submit(client.read_all) for client in clients]
            most = most_memory(process, 2)
            for each in reading:
                count, last = each.result()
                assert count > WIDE_BYTES
                assert b"SELECT 100" in last
    assert most - before < 700 * MIB, f"{(most - before) / MIB:.0f} MiB"


def test_a_client_that_reads_gets_its_result_while_others_that_do_not_are_cut(start: Start) -> None:
    process = started(start, "--result-memory", "16MiB", "--result-stall-timeout", "1s")
    with slow_clients(process, 4, WIDE) as stalled:
        time.sleep(1)
        with SlowClient(process.pg_port, WIDE) as reader:
            assert reader.read_all()[0] > WIDE_BYTES
        with pytest.raises(ConnectionError):
            stalled[0].read_all()
    assert "took nothing of its result" in process.log.read_text()


def test_nobody_is_cut_while_nobody_waits(start: Start) -> None:
    process = started(start, "--result-stall-timeout", "0.1s")
    with slow_clients(process, 1, WIDE) as clients:
        time.sleep(1)
        for client in clients:
            assert client.read_all()[0] > WIDE_BYTES
