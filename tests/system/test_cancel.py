"""A cancel ends what runs or waits within 100 ms, with 57014, and hits nothing else. A real process."""

from __future__ import annotations

import contextlib
import os
import random
import select
import threading
import time
from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest

from tests.fixtures.server import WARM, Process
from tests.fixtures.slow import SlowClient
from tests.fixtures.waiting import PATIENCE_S, until
from tests.session.raw import query

# On a machine that does nothing else. Tests run beside others: what counts is that it does not wait for the statement.
SOON_S = float(os.environ.get("CANCEL_WITHIN_S", "5"))
THREADS = 4


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    running = Process(tmp_path_factory.mktemp("cancel") / "data", "--running-queries", str(THREADS), **WARM)
    running.wait_warm()
    for body in range(10):
        lines = "".join(
            f"cpu,host=h{host} a={tick}.5,b={host}i {(body * 200 + tick) * 10_000_000_000}\n"
            for tick in range(200)
            for host in range(200)
        )
        assert running.write(lines)[0] == 204
    with running.connect() as connection:
        connection.execute("CREATE TABLE long (time timestamptz, host text TAG, a float8)")
        # As much as makes its scans last for seconds on a machine that is much faster than ours.
        connection.execute(
            "INSERT INTO long SELECT timestamptz '2020-01-01' + i * interval '1 s', 'h' || i % 20, i * 0.7"
            " FROM generate_series(1, 8000000) AS g(i)"
        )
        connection.execute("CHECKPOINT")
        connection.execute("CREATE TABLE copy (time timestamptz, host text TAG, a float8)")
    yield running
    running.kill()


def cancelled_after_s(client: SlowClient) -> float:
    """Cancel and wait for the error; the seconds that took."""
    started = client.cancel()
    answer = b""
    while b"57014" not in answer:
        part = client.socket.recv(1 << 20)
        assert part, answer
        answer = answer[-1000:] + part
    return time.monotonic() - started


LONG = {
    "cpu": "SELECT count(*) FROM generate_series(1, 20000000000) AS g(i) WHERE i % 7 = 3",
    "join": "SELECT count(*) FROM cpu x, cpu y WHERE x.a + y.a > x.b + y.b",
    "scans": "SELECT sum(a) FROM (" + " UNION ALL ".join(["SELECT a FROM long"] * 90) + ") AS s",
    "sort": "SELECT i FROM generate_series(1, 300000000) AS g(i) ORDER BY i * 7 % 13",
    "sleep": "SELECT pg_sleep(60)",
    "insert": "INSERT INTO copy SELECT now() + i * interval '1 us', 'h', i FROM generate_series(1, 2000000000) AS g(i)",
    "result": "SELECT i, repeat('x', 100) FROM generate_series(1, 2000000000) AS g(i)",
}


@pytest.mark.parametrize("kind", [kind for kind in LONG if kind != "result"])
def test_a_running_statement_ends_soon(process: Process, kind: str) -> None:
    with SlowClient(process.pg_port, LONG[kind]) as client:
        until(lambda: running_count(process))
        time.sleep(0.5)
        assert not select.select([client.socket], [], [], 0)[0], client.socket.recv(300)
        assert cancelled_after_s(client) < SOON_S


def running_count(process: Process) -> int:
    with process.connect() as connection:
        found = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE state = 'active'").fetchone()
    assert found is not None
    return int(found[0]) - 1


def test_a_result_that_its_client_does_not_read_ends_before_it_reads(process: Process) -> None:
    with SlowClient(process.pg_port, LONG["result"]) as client:
        until(lambda: running_count(process))
        time.sleep(0.5)
        started = client.cancel()
        while running_count(process):
            assert time.monotonic() - started < SOON_S
        assert b"57014" in client.read_all()[1]


def wait_events(process: Process) -> set[str]:
    with process.connect() as connection:
        found = connection.execute("SELECT wait_event FROM pg_stat_activity WHERE state = 'active'").fetchall()
    return {str(event) for (event,) in found if event is not None}


def test_a_result_whose_next_rows_wait_while_its_client_does_not_read_ends(process: Process) -> None:
    with contextlib.ExitStack() as stack:
        slow = stack.enter_context(SlowClient(process.pg_port, LONG["result"]))
        time.sleep(0.5)
        # All turns are taken, those for statements that last long too.
        for _ in range(2 * THREADS):
            stack.enter_context(SlowClient(process.pg_port, LONG["sleep"]))
            time.sleep(0.3)
        deadline = time.monotonic() + PATIENCE_S
        while "QueryTurn" not in wait_events(process):
            slow.socket.recv(1 << 16)
            assert time.monotonic() < deadline
        time.sleep(0.5)
        started = slow.cancel()
        while "QueryTurn" in wait_events(process):
            assert time.monotonic() - started < SOON_S
        assert b"57014" in slow.read_all()[1]
        slow.socket.sendall(query("SELECT 41 + 1"))
        assert b"42" in slow.read_all()[1]


def test_what_waits_for_its_turn_ends_soon_and_so_do_those_that_have_one(process: Process) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(SlowClient(process.pg_port, LONG["sleep"])) for _ in range(2 * THREADS + 3)]
        until(lambda: running_count(process) == len(clients))
        for client in reversed(clients):
            assert cancelled_after_s(client) < SOON_S


def test_what_waits_for_memory_ends_soon(tmp_path_factory: pytest.TempPathFactory) -> None:
    process = Process(tmp_path_factory.mktemp("crowded") / "data", "--result-memory", "16MiB")
    wide = "SELECT repeat('x', 900000) FROM generate_series(1, 100)"
    try:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(SlowClient(process.pg_port, wide)) for _ in range(4)]
            time.sleep(2)
            waiting = [client for client in clients if not select.select([client.socket], [], [], 0)[0]]
            assert waiting
            for client in waiting:
                assert cancelled_after_s(client) < SOON_S
    finally:
        process.kill()


def test_a_cancel_with_a_wrong_key_does_nothing(process: Process) -> None:
    with SlowClient(process.pg_port, "SELECT pg_sleep(0.5)") as client:
        client.secret_key ^= 1
        client.cancel()
        assert b"SELECT 1" in client.read_all()[1]


def hit_nothing_else(process: Process, seconds: float) -> Counter[str]:
    """Statements that fail by themselves beside ones that are cancelled at random moments: what each answered."""
    found: Counter[str] = Counter()
    end = time.monotonic() + seconds

    def run(kind: str, connection: psycopg.Connection, statement: str) -> None:
        try:
            connection.execute(statement.encode())
        except psycopg.Error as error:
            found[f"{kind} {error.sqlstate}"] += 1
        else:
            found[f"{kind} done"] += 1

    def fail() -> None:
        with process.connect() as connection:
            while time.monotonic() < end:
                run("zero", connection, "SELECT 1/0")
                run("zero", connection, "SELECT 1/(i - 5000) FROM generate_series(1, 10000) AS g(i)")

    def cancel(seed: int) -> None:
        chance = random.Random(seed)
        with process.connect() as connection:
            while time.monotonic() < end:
                late = threading.Timer(chance.random() * 0.02, connection.cancel)
                late.start()
                run("cancelled", connection, "SELECT count(*) FROM generate_series(1, 5000000) AS g(i) WHERE i % 7 = 3")
                late.join()
                # The cancel was answered before this began.
                run("zero", connection, "SELECT 1/0")

    def time_out() -> None:
        with process.connect() as connection:
            while time.monotonic() < end:
                connection.execute("SET statement_timeout = '5ms'")
                run("timed", connection, "SELECT count(*) FROM generate_series(1, 50000000) AS g(i) WHERE i % 7 = 3")
                connection.execute("SET statement_timeout = 0")
                run("zero", connection, "SELECT 1/0")

    threads = [threading.Thread(target=each) for each in (fail, fail, time_out)]
    threads += [threading.Thread(target=cancel, args=[seed]) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def check_nothing_else(found: Counter[str]) -> None:
    assert set(found) <= {"zero 22012", "cancelled 57014", "cancelled done", "timed 57014"}, found
    assert found["zero 22012"] > 20
    assert found["cancelled 57014"] > 0


def test_a_cancel_and_a_timeout_hit_their_statement_alone(process: Process) -> None:
    check_nothing_else(hit_nothing_else(process, 4))


@pytest.mark.nightly
def test_a_cancel_and_a_timeout_hit_their_statement_alone_for_minutes(process: Process) -> None:
    check_nothing_else(hit_nothing_else(process, 240))
