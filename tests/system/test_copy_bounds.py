"""COPY of much: a cancel ends it mid-way, and the server's memory stays flat. A real process."""

from __future__ import annotations

import time

import psycopg
import pytest

from tests.fixtures.server import Process, Start
from tests.fixtures.slow import SlowClient

MIB = 2**20
MANY = "COPY (SELECT i, 'host' || i % 100, i * 0.5 FROM generate_series(1, 200000000) AS g(i)) TO STDOUT"


def test_a_cancel_ends_a_copy_to_mid_way(start: Start) -> None:
    process = start()
    with SlowClient(process.pg_port, MANY) as client:
        read = 0
        while read < 4 * MIB:
            read += len(client.socket.recv(1 << 16))
        client.cancel()
        started = time.monotonic()
        count, last = client.read_all()
        assert time.monotonic() - started < 20
        assert b"57014" in last
        assert count < 256 * MIB
    with process.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_copy_from_that_is_cancelled_leaves_nothing(start: Start) -> None:
    process = start()
    with process.connect() as connection:
        connection.execute("CREATE TABLE many (id int, t text)")
        with (
            pytest.raises(psycopg.errors.QueryCanceled),
            connection.cursor() as cursor,
            cursor.copy("COPY many FROM STDIN") as copy,
        ):
            for part in range(300):
                copy.write(b"".join(b"%d\tsome text\n" % (part * 1000 + i) for i in range(1000)))
                if part == 150:
                    connection.cancel()
                    time.sleep(0.5)
        assert connection.execute("SELECT count(*) FROM many").fetchone() == (0,)


def _grown(process: Process, rows: int) -> int:
    """By how much the server's memory was more, at most, during a COPY of so many rows."""
    before = most = process.memory_bytes()
    row = b"2026-01-01 00:00:%02d.%06d+00\thost_%d\t%d.5\n"
    with (
        process.connect() as connection,
        connection.cursor() as cursor,
        cursor.copy("COPY flat FROM STDIN") as copy,
    ):
        for first in range(0, rows, 10_000):
            numbers = range(first, first + 10_000)
            copy.write(b"".join(row % (i // 100_000 % 60, i % 1_000_000, i % 100, i % 1000) for i in numbers))
            most = max(most, process.memory_bytes())
    return max(most, process.memory_bytes()) - before


@pytest.mark.nightly
def test_memory_during_a_copy_of_three_million_rows_is_that_of_one_of_half_a_million(start: Start) -> None:
    process = start("--head-bytes", "64MiB")
    with process.connect() as connection:
        connection.execute("CREATE TABLE flat (time timestamptz, host text TAG, v float8)")
    first = _grown(process, 500_000)
    more = _grown(process, 3_000_000)
    assert more - first < 128 * MIB, (first // MIB, more // MIB)
