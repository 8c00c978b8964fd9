"""Bodies that go from the socket into one array: whole however they come, and the connection is as good as before."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tsdb.errors import OutOfMemory
from tsdb.http.body import CLAIMED_SHARE, DIRECT_BYTES_MAX, DIRECT_BYTES_MIN, Body, Budget
from tsdb.http.head import Head
from tsdb.http.request import BadRequest
from tsdb.server.web import Web

BUDGET_BYTES = 8 << 20
LIMIT = 64 << 20


class Site:
    """An application that answers a body with its hash; ``direct`` counts bodies that came directly."""

    def __init__(self, seconds: float) -> None:
        self.budget = Budget(BUDGET_BYTES)
        self.seconds = seconds
        self.direct = self.gone = 0

    async def echo(self, request: Request) -> Response:
        body = Body(Head(request.scope), request.receive, self.budget, LIMIT, self.seconds)
        try:
            found = await body.read()
            self.direct += isinstance(found, bytearray)
            answer = hashlib.sha256(found).hexdigest()
            body.done()
            return Response(answer)
        except OutOfMemory:
            return Response("no room", status_code=503)
        except BadRequest as error:
            return Response(error.message, status_code=error.status)
        except ClientDisconnect:
            self.gone += 1
            return Response(status_code=400)
        finally:
            body.give_back()

    async def ignore(self, request: Request) -> Response:
        return Response("not read")


def serve(site: Site, visit: Callable[[int], None], *, loop: str = "uvloop") -> None:
    """Run ``visit`` in a thread, with the port."""

    async def main() -> None:
        web = Web("127.0.0.1", 0)
        web.bind()
        routes = [Route("/echo", site.echo, methods=["POST"]), Route("/ignore", site.ignore, methods=["POST"])]
        await web.start(Starlette(routes=routes), 1)
        try:
            await asyncio.to_thread(visit, web.port)
        finally:
            await web.stop()

    run: Callable[[Coroutine[Any, Any, None]], None] = uvloop.run if loop == "uvloop" else asyncio.run
    run(main())


def head(path: str, length: int, more: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def answer(reader: Any) -> tuple[int, str]:
    status = int(reader.readline().split()[1])
    length = 0
    while (line := reader.readline().strip().lower()) != b"":
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return status, reader.read(length).decode()


def connect(port: int) -> tuple[socket.socket, Any]:
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, client.makefile("rb")


def digest(body: bytes) -> tuple[int, str]:
    return 200, hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_bodies_of_any_length_come_whole_one_after_the_other(loop: str) -> None:
    site, chance = Site(20), random.Random(7)
    sizes = [0, 1, 300, DIRECT_BYTES_MIN - 1, DIRECT_BYTES_MIN, 70_000, 262_144, 300_001, 3_000_000, 5, 900_000]

    def visit(port: int) -> None:
        client, reader = connect(port)
        with client:
            for size in sizes:
                body = chance.randbytes(size)
                client.sendall(head("/echo", size) + body)
                assert answer(reader) == digest(body)

    serve(site, visit, loop=loop)
    # What is more than its share of the budget comes the ordinary way.
    most = BUDGET_BYTES // CLAIMED_SHARE
    assert site.direct == sum(DIRECT_BYTES_MIN <= size <= most for size in sizes)


def test_requests_sent_ahead_are_answered_in_order() -> None:
    site, chance = Site(20), random.Random(8)
    bodies = [chance.randbytes(size) for size in (100_000, 10, 500_000, 200_000, 0, 60_000)]

    def visit(port: int) -> None:
        client, reader = connect(port)
        with client:
            text = b"".join(head("/echo", len(body)) + body for body in bodies)
            for _ in range(3):
                client.sendall(text)
                for body in bodies:
                    assert answer(reader) == digest(body)

    serve(site, visit)


def test_pieces_of_any_size_are_put_together() -> None:
    site, chance = Site(20), random.Random(9)

    def visit(port: int) -> None:
        client, reader = connect(port)
        with client:
            for _ in range(6):
                body = chance.randbytes(chance.randrange(DIRECT_BYTES_MIN, 400_000))
                text = head("/echo", len(body)) + body
                at = 0
                while at < len(text):
                    step = chance.choice([1, 10, 1000, 50_000, 200_000])
                    client.sendall(text[at : at + step])
                    at += step
                    time.sleep(chance.choice([0, 0, 0.002]))
                assert answer(reader) == digest(body)

    serve(site, visit)
    assert site.direct == 6


def test_the_server_asks_for_a_body_that_waits_to_be_asked() -> None:
    body = bytes(200_000)

    def visit(port: int) -> None:
        client, reader = connect(port)
        with client:
            client.sendall(head("/echo", len(body), "Expect: 100-continue\r\n"))
            assert reader.readline().split()[1] == b"100"
            assert reader.readline() == b"\r\n"
            client.sendall(body)
            assert answer(reader) == digest(body)

    serve(Site(20), visit)


def test_a_body_that_is_refused_does_not_spoil_the_next() -> None:
    site, small, large = Site(20), bytes(100_000), bytes(BUDGET_BYTES + 1)

    def visit(port: int) -> None:
        client, reader = connect(port)
        with client:
            client.sendall(head("/ignore", len(small)) + small + head("/echo", len(small)) + small)
            assert answer(reader) == (200, "not read")
            assert answer(reader) == digest(small)
            client.sendall(head("/echo", len(large)) + large)
            assert answer(reader) == (503, "no room")
            client.sendall(head("/echo", len(small)) + small)
            assert answer(reader) == digest(small)
            client.sendall(head("/echo", LIMIT + 1))
            assert answer(reader)[0] == 413

    serve(site, visit)
    site.budget.take(BUDGET_BYTES)


def test_a_slow_body_is_refused_and_its_rest_is_thrown_away() -> None:
    site, body = Site(0.3), bytes(500_000)

    def visit(port: int) -> None:
        client, reader = connect(port)
        with client:
            client.sendall(head("/echo", len(body)) + body[:100_000])
            assert answer(reader)[0] == 503
            client.sendall(body[100_000:] + head("/ignore", 0))
            assert answer(reader) == (200, "not read")
            # Slow, but not too slow, even if a busy machine is late by a second.
            site.seconds = 1.5
            client.sendall(head("/echo", len(body)))
            for at in range(0, len(body), 70_000):
                client.sendall(body[at : at + 70_000])
                time.sleep(0.25)
            assert answer(reader) == digest(body)

    serve(site, visit)
    site.budget.take(BUDGET_BYTES)


def leave_in_the_middle(site: Site) -> None:
    """A client goes when a third of its body is sent; the site hears of it and has all its budget."""

    def visit(port: int) -> None:
        client, reader = connect(port)
        client.sendall(head("/echo", 1_000_000) + bytes(300_000))
        time.sleep(0.1)
        # The socket is closed when its file is, too.
        reader.close()
        client.close()
        until = time.monotonic() + 60
        while site.gone == 0 and time.monotonic() < until:
            time.sleep(0.01)

    serve(site, visit)
    assert site.gone == 1
    site.budget.take(BUDGET_BYTES)


def test_a_client_that_goes_in_the_middle_leaves_nothing() -> None:
    leave_in_the_middle(Site(20))


def test_a_body_larger_than_one_array_comes_in_pieces() -> None:
    site, body = Site(20), bytes(DIRECT_BYTES_MAX + 1)
    site.budget = Budget(2 * len(body))

    def visit(port: int) -> None:
        client, reader = connect(port)
        with client:
            client.sendall(head("/echo", len(body)) + body)
            assert answer(reader) == digest(body)

    serve(site, visit)
    assert site.direct == 0
