"""What clients may do wrong: each gets a clear answer and costs nobody else anything."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.fixtures.server import WARM, Process, get, write
from tests.fixtures.waiting import until

STARTUP = struct.pack(">ii", 0, 196608) + b"user\0tsdb\0database\0tsdb\0\0"
STARTUP = struct.pack(">i", len(STARTUP)) + STARTUP[4:]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One server for all of them: what one client does wrong must not matter to the next."""
    settings = ("--startup-timeout", "2s", "--connections-max", "10")
    running = Process(tmp_path_factory.mktemp("hostile") / "data", *settings, **WARM)
    running.wait_warm()
    yield running
    running.kill()


def talk(port: int, sent: bytes, timeout_s: float = 10) -> bytes:
    """Send bytes and read until the server closes."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as client, contextlib.suppress(OSError):
        client.sendall(sent)
        while part := client.recv(65536):
            received += part
    return received


def serves(process: Process) -> bool:
    with process.connect() as connection:
        answer = connection.execute("SELECT 40 + 2").fetchone()
    return answer == (42,) and write(process.http_port, "m f=1 1") == (204, "")


def wait_until_alone(process: Process) -> None:
    """Until the server knows that every client is gone: at once, or nearly."""
    until(lambda: "tsdb_sql_sessions 0.0\n" in get(process.http_port, "/metrics"))


def test_http_on_the_sql_port_is_answered_and_closed(process: Process) -> None:
    answer = talk(process.pg_port, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert answer
    assert b"HTTP" in answer or answer[:1] == b"E"
    assert serves(process)


def test_sql_on_the_http_port_is_answered_and_closed(process: Process) -> None:
    assert talk(process.http_port, STARTUP).startswith(b"HTTP/1.1 400")
    assert serves(process)


def test_garbage_on_the_sql_port_ends_that_connection_alone(process: Process) -> None:
    chance = random.Random(1)
    for _ in range(50):
        talk(process.pg_port, chance.randbytes(chance.randrange(1, 200)), timeout_s=0.2)
    assert serves(process)


def test_garbage_after_the_startup_ends_that_connection_alone(process: Process) -> None:
    chance = random.Random(2)
    for _ in range(50):
        answer = talk(process.pg_port, STARTUP + chance.randbytes(chance.randrange(1, 200)), timeout_s=0.2)
        assert answer[:1] in (b"R", b"E", b"")
    assert serves(process)


def test_a_message_that_claims_two_gigabytes_is_refused_before_it_comes(process: Process) -> None:
    answer = talk(process.pg_port, STARTUP + b"Q" + struct.pack(">i", 2**31 - 1) + b"SELECT 1")
    assert b"FATAL" in answer
    assert serves(process)


def test_a_client_that_says_nothing_is_closed_after_the_startup_timeout(process: Process) -> None:
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", process.pg_port), timeout=30) as silent:
        assert serves(process)
        while silent.recv(1000):
            pass
    assert 1.5 < time.monotonic() - started < 30


def test_a_client_that_stops_reading_does_not_hold_up_others(process: Process) -> None:
    with socket.create_connection(("127.0.0.1", process.pg_port)) as stuck:
        query = b"SELECT i, repeat('x', 1000) FROM generate_series(1, 300000) AS g(i)\0"
        stuck.sendall(STARTUP + b"Q" + struct.pack(">i", len(query) + 4) + query)
        time.sleep(1)
        before = process.memory_bytes()
        assert serves(process)
        time.sleep(0.5)
        assert process.memory_bytes() - before < 200 * 2**20


def test_one_connection_too_many_is_told_so(process: Process) -> None:
    wait_until_alone(process)
    connections = [process.connect() for _ in range(10)]
    with pytest.raises(psycopg.OperationalError, match="too many clients"):
        process.connect()
    for connection in connections:
        connection.close()
    wait_until_alone(process)
    assert serves(process)


def test_an_unknown_database_is_named(process: Process) -> None:
    with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
        psycopg.connect(process.pg_url.replace("/tsdb", "/nowhere"))
    assert serves(process)


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Encoding": "gzip"}, "not gzip", 400),
        ({"Content-Encoding": "rot13"}, "m f=1", 415),
        ({"X-Tsdb-Batch": "1"}, "m f=1 1", 400),
        ({"X-Tsdb-Producer": "p", "X-Tsdb-Batch": "-1"}, "m f=1 1", 400),
        ({"X-Tsdb-Producer": "p", "X-Tsdb-Batch": "1"}, "m f=1", 400),
        ({"Host": "example.com"}, "m f=1 1", 403),
        ({"Origin": "https://example.com"}, "m f=1 1", 403),
        ({}, "m f=" + "9" * 400, 400),
        ({}, "m", 400),
        ({}, "\0\1\2\3", 400),
    ],
)
def test_wrong_writes_get_their_status(process: Process, headers: dict[str, str], body: str, status: int) -> None:
    found, answer = write(process.http_port, body, **headers)
    assert found == status, answer
    assert answer
    assert serves(process)


def test_a_wrong_precision_is_named_and_a_missing_database_is_the_default(process: Process) -> None:
    assert process.write("m f=1 1", "db=tsdb&precision=fortnight") == (
        400,
        '{"error":"invalid precision \\"fortnight\\" (use n, u, ms, s, m or h)"}',
    )
    assert process.write("m f=1 1", "") == (204, "")  # as QuestDB's clients write
    with process.connect() as connection:
        assert connection.execute("SELECT f FROM m").fetchall() == [(1.0,)]


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        ("SELEC 1", "42601"),
        ("SELECT " + "(" * 20_000 + "1" + ")" * 20_000, "54001"),
        ("SELECT nothing FROM m", "42703"),
        ("SELECT * FROM nothing", "42P01"),
        ("SELECT no_such_function(f) FROM m", "42883"),
        ("SELECT 1/0", "22012"),
        ("SELECT " + "9" * 300 + "::int8", "22003"),
        ("SELECT * FROM query('SELECT 1')", "42883"),
        ("SELECT * FROM read_csv('/etc/passwd')", "42883"),
        ("SELECT * FROM '/etc/passwd'", "42P01"),
    ],
)
def test_wrong_statements_get_their_sqlstate(process: Process, statement: str, sqlstate: str) -> None:
    assert process.write("m f=1 1")[0] == 204
    with process.connect() as connection:
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(statement.encode())
        assert caught.value.sqlstate == sqlstate, str(caught.value)[:300]
        assert connection.execute("SELECT count(*) FROM m").fetchone() == (1,)
