"""A server with both listeners on, and streams to it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tsdb.config import load
from tsdb.server import EmbeddedServer, Server


@pytest.fixture
def lines_server(tmp_path: Path) -> Iterator[Server]:
    settings = load(
        {"data": tmp_path / "data", "pg_port": 0, "http_port": 0, "line_tcp_port": 0, "line_udp_port": 0,
         "http_socket": tmp_path / "http.sock"}
    )  # fmt: skip
    with EmbeddedServer(settings) as running:
        yield running


def send(server: Server, *pieces: bytes) -> bytes:
    """Send pieces, end the stream, and read what is answered until the server closes."""
    assert server.line_tcp_port is not None
    with closing(socket.create_connection(("127.0.0.1", server.line_tcp_port), timeout=30)) as connection:
        answer = b""
        # A client that is not served is disconnected, maybe before it has sent anything.
        with contextlib.suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answer += part
        return answer


def rows(server: Server, query: str, database: str = "tsdb") -> list[tuple[Any, ...]]:
    url = server.pg_url.rpartition("/")[0] + "/" + database
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()
