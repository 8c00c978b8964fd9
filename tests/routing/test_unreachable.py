"""Nodes that cannot be reached when they are asked, or while they are answered: ``tsdb.cluster.routing.exchange``."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from tsdb.cluster.routing.exchange import Answers, Exchange, Outgoing, Stream
from tsdb.cluster.routing.messages import Answer, Ask, Done, Failed, LookAtSizes, Question, Reply, decode, encode
from tsdb.cluster.transport.frames import Octets
from tsdb.errors import CannotConnectNow

ASKER = 2


class Sent:
    """A stream that keeps what it gets."""

    session = 1

    def __init__(self) -> None:
        self.payloads: list[Octets] = []
        self.came = asyncio.Event()

    async def send(self, payload: Octets, after_bytes_max: int | None = None) -> None:
        self.payloads.append(payload)
        self.came.set()


class Paths:
    """To a node that cannot be reached at the first time, and then can."""

    def __init__(self, why: Exception) -> None:
        self._why: Exception | None = why
        self.stream = Sent()

    async def open_stream(self, peer: int) -> Stream:
        if self._why is not None:
            why, self._why = self._why, None
            raise why
        return self.stream

    def session(self, peer: int) -> int:
        return 1


class Parts:
    """Answers with a part."""

    async def answer(self, peer: int, question: Question, body: memoryview, stream: Outgoing) -> tuple[Reply, Octets]:
        await stream.part(b"part")
        return Done(), b""

    def left(self, peer: int) -> None:
        pass


@pytest.mark.parametrize("why", [TimeoutError(), KeyError(ASKER)])
def test_who_cannot_be_reached_while_it_is_answered_may_ask_again(
    why: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    paths = Paths(why)

    async def ask() -> None:
        exchange = Exchange(paths, asyncio.get_running_loop(), str)
        exchange.answers = cast(Answers, Parts())
        await exchange.received(ASKER, 1, memoryview(encode(Ask(7, LookAtSizes(), 0))))
        await paths.stream.came.wait()

    asyncio.run(ask())
    (payload,) = paths.stream.payloads
    answer, _ = decode(memoryview(bytes(payload)))
    assert isinstance(answer, Answer)
    assert isinstance(answer.reply, Failed)
    assert answer.reply.error == "CannotConnectNow"
    assert not caplog.records


def test_who_is_not_connected_is_waited_for_for_as_long_as_who_asks_says() -> None:
    class Nowhere(Paths):
        async def open_stream(self, peer: int) -> Stream:
            await asyncio.Event().wait()
            raise AssertionError

    async def ask() -> None:
        exchange = Exchange(Nowhere(KeyError()), asyncio.get_running_loop(), str)
        async with asyncio.timeout(60):
            await exchange.ask(ASKER, LookAtSizes(), seconds=3600, connect_s=0.01)

    with pytest.raises(CannotConnectNow):
        asyncio.run(ask())
