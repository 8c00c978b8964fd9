"""What is HTTP's own on a real socket: chunks, Expect, pipelining, keep-alive, a Unix socket."""

from __future__ import annotations

import gzip
import http.client
import re
import socket
import time
import zlib
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pyarrow as pa
import pytest

from tests.lines.conftest import lines_server, rows
from tsdb.config import load
from tsdb.errors import StartupError
from tsdb.http.body import DIRECT_BYTES_MAX
from tsdb.server import EmbeddedServer, Server

__all__ = ["lines_server"]

HOST = b"Host: localhost\r\n"
CLOSE = b"Connection: close\r\n"


def talk(server: Server, *pieces: bytes, wait_for: bytes = b"") -> bytes:
    """Send pieces; before the second, ``wait_for`` must have come. What is answered until the server closes."""
    with closing(socket.create_connection(("127.0.0.1", server.http_port), timeout=20)) as connection:
        answer = b""
        for piece in pieces:
            connection.sendall(piece)
            while piece is pieces[0] and wait_for not in answer:
                answer += connection.recv(65536)
        while part := connection.recv(65536):
            answer += part
        return answer


def statuses(answer: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d+) ", answer)


def post(path: bytes, body: bytes, *headers: bytes) -> bytes:
    head = b"".join([HOST, *(header + b"\r\n" for header in headers)])
    return b"POST %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (path, head, len(body), body)


def test_the_protocols_own_ways_of_sending_a_body(server: Server) -> None:
    chunked = b"POST /write?db=d HTTP/1.1\r\n" + HOST + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n"
    chunks = b"4\r\nm f=\r\n6\r\n1 1\nm \r\n5;x=y\r\nf=2 2\r\n0\r\n\r\n"
    assert statuses(talk(server, chunked, *(chunks[i : i + 1] for i in range(len(chunks))))) == [b"204"]
    packed = gzip.compress(b"m f=3 3")
    chunked = chunked.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    assert statuses(talk(server, chunked, b"%x\r\n" % len(packed), packed, b"\r\n0\r\n\r\n")) == [b"204"]
    expecting = b"POST /write?db=d HTTP/1.1\r\n" + HOST + CLOSE + b"Content-Length: 7\r\nExpect: 100-continue\r\n\r\n"
    assert statuses(talk(server, expecting, b"m f=4 4", wait_for=b"100 Continue")) == [b"100", b"204"]
    assert rows(server, "SELECT f FROM m ORDER BY f", "d") == [(1.0,), (2.0,), (3.0,), (4.0,)]


def test_a_body_that_is_too_long_is_refused_before_it_is_sent(server: Server) -> None:
    head = b"POST /api/v2/write?bucket=d HTTP/1.1\r\n" + HOST + b"Content-Length: 999999999999\r\n"
    answer = talk(server, head + CLOSE + b"Expect: 100-continue\r\n\r\n")
    assert statuses(answer) == [b"413"]
    assert b'{"code":"request too large","message":"Request Entity Too Large: the limit is 268435456 bytes"}' in answer


def test_bodies_that_are_announced_and_do_not_come_shut_nobody_out(server: Server) -> None:
    announced = b"POST /write?db=d HTTP/1.1\r\n%sContent-Length: %d\r\n\r\nm f=1 1\n" % (HOST, DIRECT_BYTES_MAX)
    with ExitStack() as stack:
        for _ in range(20):
            waiting = stack.enter_context(socket.create_connection(("127.0.0.1", server.http_port), timeout=10))
            waiting.sendall(announced)
        time.sleep(0.3)
        body = b"".join(b"m f=1 %d\n" % i for i in range(20_000))
        assert statuses(talk(server, post(b"/write?db=d", body, b"Connection: close"))) == [b"204"]


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    bodies = [b"m,h=h%d f=%d %d" % (i, i, i) if i % 3 else b"bad" for i in range(60)]
    requests = b"".join(post(b"/write?db=d", body) for body in bodies[:-1]) + post(
        b"/write?db=d", bodies[-1], CLOSE[:-2]
    )
    assert statuses(talk(server, requests)) == [b"204" if i % 3 else b"400" for i in range(60)]
    assert rows(server, "SELECT count(*) FROM m", "d") == [(40,)]


OFFERS = (
    (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
    (b"Connection: upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
)


@pytest.mark.parametrize("offer", OFFERS)
def test_an_offer_to_upgrade_is_ignored_and_the_body_is_stored(server: Server, offer: tuple[bytes, ...]) -> None:
    """Java's client and ``curl --http2`` make one with each request: what is behind the head is its body."""
    database = f"upgrade{OFFERS.index(offer)}"
    path = b"/write?db=%s" % database.encode()
    long = b"\n".join(b"m f=1 %d" % time for time in range(1000, 21_000))
    offered = b"\r\n".join(offer) + b"\r\n"
    chunked = b"POST %s HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n%s\r\n7\r\nm f=1 4\r\n0\r\n\r\n" % (
        path,
        HOST,
        offered,
    )
    requests = [
        post(path, b"m f=1 1", *offer),
        post(path, b"m f=1 2"),
        post(path, long, *offer),
        chunked,
        b"GET /ping HTTP/1.1\r\n" + HOST + offered + b"\r\n",
        post(path, b"m f=1 5", offer[0] + b", close", *offer[1:]),
    ]
    whole = b"".join(requests)
    assert statuses(talk(server, whole)) == [b"204"] * 6
    assert (
        statuses(talk(server, whole[:30], *(whole[at : at + 4001] for at in range(30, len(whole), 4001))))
        == [b"204"] * 6
    )
    expecting = [*offer[1:], b"Expect: 100-continue", offer[0] + b", close"]
    head, _, body = post(path, b"m f=1 6", *expecting).partition(b"\r\n\r\n")
    assert statuses(talk(server, head + b"\r\n\r\n", body, wait_for=b"100 Continue")) == [b"100", b"204"]
    assert rows(server, "SELECT count(*) FROM m", database) == [(20_005,)]


def test_many_offers_in_one_packet_and_a_tunnel(server: Server) -> None:
    offering = b"GET /ping HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    last = post(b"/write?db=d", b"m f=1 9", b"Connection: close")
    assert statuses(talk(server, offering * 1500 + last)) == [b"204"] * 1501
    assert statuses(talk(server, b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n")) == [b"400"]


def test_a_connection_is_kept_also_after_errors(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=20)
    kept = None
    for body, status in ((b"m f=1 1", 204), (b"bad", 400), (b"m f=1 2", 204)):
        connection.request("POST", "/api/v3/write_lp?db=d", body)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        assert kept in (None, connection.sock), "the connection should be kept"
        kept = connection.sock
    connection.close()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": lambda body: pa.Codec("zstd").compress(body).to_pybytes(),
    "identity": bytes,
}


@pytest.mark.parametrize("path", ["/write?db=d", "/api/v2/write?bucket=d", "/api/v3/write_lp?db=d"])
def test_every_api_takes_every_encoding(server: Server, path: str) -> None:
    for number, (encoding, pack) in enumerate(PACKED.items()):
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=20)
        body = b"".join(b"m,t=%d f=%d %d\n" % (i % 5, i, i + 1000 * number) for i in range(1000))
        connection.request("POST", path, pack(body), {"Content-Encoding": encoding})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (204, b""), encoding
        connection.request("POST", path, b"\0nonsense", {"Content-Encoding": encoding})
        assert connection.getresponse().status == 400, encoding
        connection.close()
    assert rows(server, "SELECT count(*) FROM m", "d") == [(4000,)]


class _Local(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("anything", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def test_a_unix_socket_serves_http_under_any_host(lines_server: Server, tmp_path: Path) -> None:
    connection = _Local(tmp_path / "http.sock")
    connection.request("POST", "/write?db=d", b"m f=1 1")
    assert connection.getresponse().status == 204
    connection.close()
    assert rows(lines_server, "SELECT f FROM m", "d") == [(1.0,)]


def test_a_unix_socket_is_taken_over_from_the_dead_and_not_from_the_living(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    settings = {"pg_port": 0, "http_port": 0, "http_socket": path}
    with EmbeddedServer(load({**settings, "data": tmp_path / "a"})):
        with (
            pytest.raises(StartupError, match="another server listens"),
            EmbeddedServer(load({**settings, "data": tmp_path / "b"})),
        ):
            pass
        connection = _Local(path)
        connection.request("GET", "/ping")
        assert connection.getresponse().status == 204
        connection.close()
    assert not path.exists()


def test_over_a_unix_socket_a_password_is_asked_for_where_it_is_on_the_port(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    settings = {"data": tmp_path / "data", "pg_port": 0, "http_port": 0, "http_socket": path}
    with EmbeddedServer(load({**settings, "loopback_password": True})):
        connection = _Local(path)
        connection.request("POST", "/write?db=d", b"m f=1 1")
        assert connection.getresponse().status == 401
        connection.close()
