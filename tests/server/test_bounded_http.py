"""A request's head is bounded in bytes and in time."""

from __future__ import annotations

import socket
import time

import pytest

from tests.fixtures.server import COLD_S
from tsdb.server import Server, bounded_http

# More than what the kernels of both sides keep for a connection.
SENT_MAX = 64 * 1024 * 1024


def _answer(connection: socket.socket) -> bytes:
    connection.settimeout(COLD_S)
    answer = b""
    while chunk := connection.recv(65536):
        answer += chunk
    return answer


def test_a_head_that_never_ends_is_431_and_closed(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.http_port)) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX: ")
        sent = 0
        try:
            while sent < SENT_MAX:
                connection.sendall(b"v" * 16384)
                sent += 16384
        except OSError:
            pass
        assert sent < SENT_MAX


def test_a_head_at_the_limit_is_served_and_its_body_does_not_count(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.http_port)) as connection:
        head = b"POST /write?db=tsdb HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        head += b"X: %s\r\nContent-Length: %d\r\n\r\n"
        body = b"#" * (4 * bounded_http.HEAD_BYTES_MAX)
        connection.sendall(head % (b"v" * (bounded_http.HEAD_BYTES_MAX // 2), len(body)) + body)
        assert _answer(connection).startswith(b"HTTP/1.1 204")


def test_half_a_head_is_408_after_its_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_SECONDS_MAX", 0.2)
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.http_port)) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: loc")
        assert _answer(connection).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - started < 5


def test_a_second_request_on_a_connection_has_its_own_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_SECONDS_MAX", 0.3)
    with socket.create_connection(("127.0.0.1", server.http_port)) as connection:
        connection.settimeout(10)
        for _ in range(3):
            connection.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 204")
            time.sleep(0.4)
