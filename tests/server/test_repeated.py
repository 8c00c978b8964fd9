"""Requests that repeat the last one's head go past the parser to who asked for them; all others do not."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import uvloop
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from tests.server.test_direct_body import answer, connect
from tsdb.http.body import Answer, Direct, offered
from tsdb.http.head import Head
from tsdb.server import Server
from tsdb.server.web import Web


class Site:
    """Answers with the hash of path and body; what repeats a request to ``/again`` is taken, ``taken`` counts it."""

    def __init__(self, delay: Callable[[], float] = lambda: 0.0) -> None:
        self.taken = self.parsed = 0
        self.begun = threading.Event()
        self.delay = delay
        self.refuses = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.parsed += 1
        direct = offered(Head(scope))
        assert direct is not None
        if scope["path"] == "/again":
            self.ask(direct, scope["path"])
        await PlainTextResponse(digest(scope["path"], body))(scope, receive, send)

    def ask(self, direct: Direct, path: str) -> None:
        def take(body: bytes, answer: Answer) -> bool:
            if self.refuses:
                return False
            self.taken += 1
            self.begun.set()

            def done() -> None:
                text = digest(path, body).encode()
                answer(200, b"content-length: %d\r\n" % len(text), text)

            asyncio.get_running_loop().call_later(self.delay(), done)
            return True

        direct.again(take)


def digest(path: str, body: bytes) -> str:
    return hashlib.sha256(path.encode() + b"\0" + body).hexdigest()


def serve(site: Site, visit: Callable[[int], None], *, stops_early: bool = False) -> None:
    """Run ``visit`` in a thread, with the port; the server stops when it is done, or already with what it waits for."""

    async def main() -> None:
        web = Web("127.0.0.1", 0)
        web.bind()
        await web.start(site, 5)
        visiting = asyncio.create_task(asyncio.to_thread(visit, web.port))
        if stops_early:
            await asyncio.to_thread(site.begun.wait)
        else:
            await visiting
        await web.stop()
        await visiting

    uvloop.run(main())


def request(path: str, body: bytes, more: str = "", length: str = "Content-Length") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{length}: {len(body)}\r\n{more}\r\n".encode() + body


def chunked(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:5], body[5:]) if part) + b"0\r\n\r\n"


def some(chance: random.Random) -> tuple[str, bytes, bytes]:
    """A request: path, body, all of it."""
    body = chance.randbytes(chance.choice([0, 1, 9, 10, 10, 10, 10, 99, 100, 3000]))
    path = "/again" if chance.random() < 0.8 else "/other"
    odd = chance.random()
    if odd < 0.05:
        return path, body, chunked(path, body)
    if odd < 0.1:
        return path, body, request(path, body, "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n")
    if odd < 0.15:
        return path, body, request(path, body, "X-More: 1\r\n")
    if odd < 0.2:
        return path, body, request(path, body, length="content-length")
    return path, body, request(path, body)


@pytest.mark.parametrize("seed", range(6))
def test_all_are_answered_in_order_whoever_takes_them(seed: int) -> None:
    """Sent one by one, ahead, and cut anywhere."""
    chance = random.Random(seed)
    site = Site(lambda: random.choice([0.0, 0.0, 0.002]))

    def visit(port: int) -> None:
        client, reader = connect(port)
        with client:
            for _ in range(60):
                ahead = [some(chance) for _ in range(chance.choice([1, 1, 1, 2, 3, 30]))]
                data = b"".join(whole for _, _, whole in ahead)
                cuts = sorted(chance.randrange(len(data)) for _ in range(chance.choice([0, 0, 1, 4])))
                for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                    client.sendall(data[start:end])
                for path, body, _ in ahead:
                    assert answer(reader) == (200, digest(path, body))

    serve(site, visit)
    assert site.taken > 3
    assert site.parsed > 60


def test_what_is_not_taken_goes_the_ordinary_way() -> None:
    site = Site()

    def visit(port: int) -> None:
        client, reader = connect(port)
        with client:
            for number in range(10):
                site.refuses = number % 2 == 0
                client.sendall(request("/again", b"%d" % number))
                assert answer(reader) == (200, digest("/again", b"%d" % number))

    serve(site, visit)
    assert (site.taken, site.parsed) == (5, 5)


def test_another_connection_and_another_head_are_not_known() -> None:
    site = Site()

    def visit(port: int) -> None:
        for more in ("Authorization: a\r\n", "Authorization: b\r\n", "Connection: close\r\n"):
            client, reader = connect(port)
            with client:
                client.sendall(request("/again", b"1", more))
                answer(reader)
        client, reader = connect(port)
        with client:
            for more in ("Authorization: a\r\n", "Authorization: b\r\n", "Authorization: a\r\n", ""):
                client.sendall(request("/again", b"1", more))
                answer(reader)

    serve(site, visit)
    assert site.taken == 0


def test_what_is_under_way_is_answered_when_the_server_stops() -> None:
    site = Site(lambda: 0.3)
    found: list[Any] = []

    def visit(port: int) -> None:
        client, reader = connect(port)
        with client:
            client.sendall(request("/again", b"1"))
            answer(reader)
            client.sendall(request("/again", b"2"))
            found.extend([answer(reader), reader.read()])

    serve(site, visit, stops_early=True)
    assert found == [(200, digest("/again", b"2")), b""]
    assert site.taken == 1


def test_who_sends_much_ahead_is_not_read_from_until_he_is_answered() -> None:
    site = Site(lambda: 0.2)
    body = bytes(3000)

    def visit(port: int) -> None:
        client, reader = connect(port)
        with client:
            client.sendall(request("/again", body))
            answer(reader)
            client.sendall(request("/again", body))
            site.begun.wait()
            with ThreadPoolExecutor(1) as pool:
                sending = pool.submit(client.sendall, request("/other", body) * 3000)
                assert answer(reader) == (200, digest("/again", body))
                for _ in range(3000):
                    assert answer(reader) == (200, digest("/other", body))
                sending.result()

    serve(site, visit)
    assert site.taken == 1


def test_points_of_many_who_write_one_after_the_other_are_there(server: Server) -> None:
    """Bad lines are answered to who sent them."""

    def write(writer: int) -> None:
        client, reader = connect(server.http_port)
        with client:
            for number in range(60):
                line = f"m,w=w{writer} v={'x' if number % 20 == 7 else number}i {10**18 + number}".encode()
                client.sendall(request("/write?db=repeated", line))
                status, text = answer(reader)
                assert status == (400 if number % 20 == 7 else 204), text
                assert ("unable to parse" in text) == (status == 400)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(write, range(20)))
    with psycopg.connect(server.pg_url.rpartition("/")[0] + "/repeated") as connection:
        rows = connection.execute("SELECT w, count(*), sum(v) FROM m GROUP BY w").fetchall()
    assert {(count, total) for _, count, total in rows} == {(57, sum(range(60)) - 7 - 27 - 47)}
    assert len(rows) == 20


def test_a_cut_connection_leaves_nothing_behind() -> None:
    site = Site(lambda: 0.05)

    def visit(port: int) -> None:
        for _ in range(5):
            client, reader = connect(port)
            client.sendall(request("/again", b"1"))
            answer(reader)
            client.sendall(request("/again", b"2"))
            client.shutdown(socket.SHUT_RDWR)
            client.close()

    serve(site, visit)
    assert site.taken <= 5
