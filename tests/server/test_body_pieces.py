"""Long bodies read in pieces: all of it in order, no more than a few pieces in memory, the connection as good after."""

from __future__ import annotations

import hashlib
import random

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tests.server.test_direct_body import (
    BUDGET_BYTES,
    LIMIT,
    Site,
    answer,
    connect,
    digest,
    head,
    leave_in_the_middle,
    serve,
)
from tsdb.http.body import Body
from tsdb.http.head import Head


class Pieces(Site):
    """``/echo`` reads pieces; ``/ignore`` reads one and answers."""

    piece = 100_000

    async def echo(self, request: Request) -> Response:
        body = Body(Head(request.scope), request.receive, self.budget, LIMIT, self.seconds)
        found = hashlib.sha256()
        try:
            async for piece in body.pieces(self.piece):
                found.update(piece)
                body.give_back(len(piece))
            return Response(found.hexdigest())
        except ClientDisconnect:
            self.gone += 1
            return Response(status_code=400)
        finally:
            body.give_back()

    async def ignore(self, request: Request) -> Response:
        body = Body(Head(request.scope), request.receive, self.budget, LIMIT, self.seconds)
        try:
            return Response(str(len(await anext(body.pieces(self.piece), b""))))
        finally:
            body.give_back()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_pieces_of_a_body_come_in_order_and_the_next_request_is_whole(loop: str) -> None:
    site, chance = Pieces(20), random.Random(3)
    sizes = [1, 99_999, 100_000, 100_001, 262_144, 1_000_000, 3_333_333, 0, 5]

    def visit(port: int) -> None:
        client, reader = connect(port)
        with client:
            for size in sizes:
                body = chance.randbytes(size)
                text = head("/echo", size) + body + head("/echo", 3) + b"end"
                at = 0
                while at < len(text):
                    step = chance.choice([7, 60_000, 1_000_000])
                    client.sendall(text[at : at + step])
                    at += step
                assert answer(reader) == digest(body)
                assert answer(reader) == digest(b"end")

    serve(site, visit, loop=loop)
    site.budget.take(BUDGET_BYTES)


def test_bodies_larger_than_the_budget_go_through_it_in_pieces() -> None:
    site = Pieces(20)
    body = random.Random(4).randbytes(3 * BUDGET_BYTES)

    def visit(port: int) -> None:
        client, reader = connect(port)
        with client:
            client.sendall(head("/echo", len(body)) + body)
            assert answer(reader) == digest(body)
            client.sendall(head("/echo", 0, "Transfer-Encoding: chunked\r\n").replace(b"Content-Length: 0\r\n", b""))
            for at in range(0, len(body), 1 << 20):
                part = body[at : at + (1 << 20)]
                client.sendall(b"%x\r\n%b\r\n" % (len(part), part))
            client.sendall(b"0\r\n\r\n")
            assert answer(reader) == digest(body)

    serve(site, visit)
    site.budget.take(BUDGET_BYTES)


def test_who_is_answered_before_the_end_may_go_on() -> None:
    site, body = Pieces(20), bytes(700_000)

    def visit(port: int) -> None:
        client, reader = connect(port)
        with client:
            client.sendall(head("/ignore", len(body)) + body + head("/echo", len(body)) + body)
            assert answer(reader) == (200, "100000")
            assert answer(reader) == digest(body)

    serve(site, visit)
    site.budget.take(BUDGET_BYTES)


def test_a_client_that_goes_between_two_pieces_leaves_nothing() -> None:
    leave_in_the_middle(Pieces(20))
