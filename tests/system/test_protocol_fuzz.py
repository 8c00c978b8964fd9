"""What no client should send, to a whole server as a real process: no crash, no hang, no leak, nobody else affected.

Kinds: random bytes, valid messages in any order, messages cut off, wrong lengths, changed bytes. Each connection ends
by a half-close, and the server must answer what it was asked and close within a bound. 20,000 messages here, a million
at night.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fixtures.server import WARM, Process, get
from tests.wire import frontend

MIB = 2**20
CLIENTS = 8
STATEMENTS = [
    "SELECT 1", "SELECT * FROM fuzzed", "SELECT i FROM generate_series(1, 3000) AS g(i)", "SELECT $1::int8 + 1", "",
    "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "ROLLBACK TO a", "SELECT 1/0", "SELEC", ";;", "SELECT 1; SELECT 2",
    "INSERT INTO fuzzed VALUES (now(), 'h', 1)", "INSERT INTO fuzzed VALUES ($1, $2, $3)",
    "DELETE FROM fuzzed", "DELETE FROM fuzzed WHERE f > 1e300", "UPDATE fuzzed SET f = f + 1",
    "DECLARE c CURSOR FOR SELECT * FROM generate_series(1, 5000)", "FETCH 10 FROM c", "CLOSE c", "MOVE ALL IN c",
    "PREPARE p AS SELECT $1::text", "EXECUTE p ('x')", "DEALLOCATE ALL", "SHOW ALL", "SET TimeZone = 'Europe/Berlin'",
    "COPY fuzzed FROM STDIN", "COPY fuzzed TO STDOUT", "COPY fuzzed FROM STDIN (FORMAT binary)", "LISTEN a", "NOTIFY a",
    "DISCARD ALL", "EXPLAIN SELECT * FROM fuzzed", "SELECT * FROM pg_class", "SELECT 'é" + "x" * 500 + "'",
]  # fmt: skip
STARTUP = frontend.startup(user="fuzz", database="tsdb")
Draw = random.Random


def valid(draw: Draw) -> bytes:
    names = ["", "", "s", "c", "é"]
    octets = [None, b"", b"1", b"\0\0\0\1", b"2026-01-01", bytes(8), b"\xff\xfe"]
    text = draw.choice(STATEMENTS)
    oids = [0, 20, 25, 1184, 701, 99999]
    makers: list[Callable[[], bytes]] = [
        lambda: frontend.query(text),
        lambda: frontend.parse(text, draw.choice(names), draw.choices(oids, k=draw.randrange(3))),
        lambda: frontend.bind(
            draw.choices(octets, k=draw.randrange(4)), portal=draw.choice(names), statement=draw.choice(names),
            formats=draw.choice([[], [0], [1], [1, 0]]), results=draw.choice([[], [0], [1], [0, 1]]),
        ),
        lambda: frontend.describe(draw.choice("SP"), draw.choice(names)),
        lambda: frontend.execute(draw.choice(names), draw.choice([0, 1, 100])),
        lambda: frontend.close(draw.choice("SP"), draw.choice(names)),
        lambda: frontend.SYNC,
        lambda: frontend.FLUSH,
        lambda: frontend.copy_data(draw.choice([b"2026-01-01\th\t1\n", b"\\.\n", draw.randbytes(30)])),
        lambda: frontend.COPY_DONE,
        lambda: frontend.message(b"f", b"no more\0"),
    ]  # fmt: skip
    return draw.choice(makers)()


def garbage(draw: Draw) -> bytes:
    return draw.randbytes(draw.randrange(1, 300))


def wrong_length(draw: Draw) -> bytes:
    octets = bytearray(valid(draw))
    length = draw.choice([0, 1, 3, 4, 5, -1, -(2**31), 2**31 - 1, 100 * MIB, len(octets), len(octets) - 2])
    octets[1:5] = struct.pack("!i", length)
    return bytes(octets)


def cut_off(draw: Draw) -> bytes:
    octets = valid(draw)
    return octets[: draw.randrange(len(octets))]


def changed(draw: Draw) -> bytes:
    octets = bytearray(valid(draw))
    for _ in range(draw.randrange(1, 4)):
        octets[draw.randrange(len(octets))] = draw.randrange(256)
    return bytes(octets)


def conversation(draw: Draw, count: int) -> bytes:
    """A startup and ``count`` messages: most conversations have one bad thing, late enough to have done something."""
    bad: Callable[[Draw], bytes] = draw.choice([garbage, wrong_length, cut_off, changed, valid, valid])
    place = draw.randrange(count)
    messages = [bad(draw) if at == place else valid(draw) for at in range(count)]
    start = draw.choice([STARTUP, STARTUP, STARTUP, frontend.SSL_REQUEST + STARTUP, garbage(draw), b""])
    return start + b"".join(messages)


def talk(port: int, octets: bytes, timeout_s: float = 20.0) -> None:
    """Send all, half-close, read to the end. Raises TimeoutError when the server neither answers nor closes."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as client,
        contextlib.suppress(ConnectionError),
    ):
        sender = threading.Thread(target=_send, args=[client, octets])
        sender.start()
        try:
            while client.recv(1 << 16):
                pass
        finally:
            sender.join()


def _send(client: socket.socket, octets: bytes) -> None:
    with contextlib.suppress(OSError):
        client.sendall(octets)
        client.shutdown(socket.SHUT_WR)


def fuzz(port: int, seed: int, messages: int) -> None:
    """By some clients at a time. Raises what a client raises."""

    def one(number: int) -> None:
        draw = random.Random(f"{seed}.{number}")
        talk(port, conversation(draw, draw.randrange(1, 40)))

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(one, range(messages // 20)))


@contextlib.contextmanager
def witness(process: Process) -> Iterator[list[float]]:
    """Another session that asks all the time: how long each answer took."""
    took: list[float] = []
    end = threading.Event()

    def ask() -> None:
        with process.connect() as connection:
            while not end.wait(0.05):
                started = time.monotonic()
                assert connection.execute("SELECT count(*), 'w' FROM witnessed").fetchone() == (100, "w")
                took.append(time.monotonic() - started)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield took
        finally:
            end.set()
        asking.result(30)


def open_files(process: Process) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def wait_until_alone(process: Process) -> None:
    for _ in range(100):
        metrics = get(process.http_port, "/metrics")
        if "tsdb_sql_sessions 0.0\n" in metrics and "tsdb_views 0.0\n" in metrics:
            assert "tsdb_sql_result_bytes 0.0\n" in metrics
            assert "tsdb_sql_results_waiting 0.0\n" in metrics
            return
        time.sleep(0.1)
    raise AssertionError("sessions or views of clients that are gone are still there:\n" + metrics)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    settings = ("--startup-timeout", "10s", "--head-bytes", "16MiB")
    running = Process(tmp_path_factory.mktemp("fuzz") / "data", *settings, **WARM)
    running.wait_warm()
    with running.connect() as connection:
        connection.execute("CREATE TABLE fuzzed (time timestamptz, host text TAG, f float8)")
    assert running.write("".join(f"witnessed,host=h{i} f=1 {i}\n" for i in range(100)))[0] == 204
    fuzz(running.pg_port, 0, 2_000)  # what is loaded or cached at first is no leak
    wait_until_alone(running)
    yield running
    running.kill()


def check(process: Process, seed: int, messages: int, grown_max: int) -> None:
    memory, files = process.memory_bytes(), open_files(process)
    with witness(process) as took:
        fuzz(process.pg_port, seed, messages)
    assert process.popen.poll() is None, "the server is gone"
    assert took
    assert max(took) < 20, f"another session waited {max(took):.1f} s"
    wait_until_alone(process)
    assert open_files(process) <= files + 20
    grown = process.memory_bytes() - memory
    assert grown < grown_max, f"{grown / MIB:.0f} MiB more memory after {messages} messages"
    log = process.log.read_text()
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:5000]


def test_twenty_thousand_messages_cost_nobody_anything(process: Process) -> None:
    check(process, 1, 20_000, 200 * MIB)


@pytest.mark.nightly
def test_a_million_messages_cost_nobody_anything(process: Process) -> None:
    check(process, random.randrange(2**32), 1_000_000, 400 * MIB)
