"""Lines: questions of another event loop to other nodes, and their answers back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.transport.nodes import PATIENCE_S, Peer, identity, introduce, run, running, until, write_pair
from tsdb.cluster.transport.lines import Lines
from tsdb.errors import ProtocolViolation


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("n1", "n2", "n3"):
        write_pair(tmp_path, name)
    return tmp_path


class Asker:
    """Of node 1, on the running event loop: the lines, and what came over them."""

    def __init__(self, peer: Peer) -> None:
        self.said: list[tuple[int, bytes]] = []
        self.lines: Lines = peer.transport.lines(self._said)

    def _said(self, peer: int, payload: memoryview) -> None:
        if bytes(payload) == b"never":
            raise ProtocolViolation("that is no answer")
        self.said.append((peer, bytes(payload)))

    async def opened(self, *nodes: int) -> None:
        await until(lambda: all(self.lines.is_open(node) for node in nodes))


def loud(peer: int, payload: memoryview) -> bytes:
    return bytes(payload) + b"!"


def on_three(folder: Path, test: Callable[[list[Peer]], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        peers = [Peer(folder, identity(1)), *(Peer(folder, identity(number), answer=loud) for number in (2, 3))]
        async with running(*peers):
            await introduce(*peers)
            await test(peers)

    run(whole, on_uvloop=True)


def test_a_question_is_on_its_way_at_once_from_any_loop_and_its_answer_comes_back(folder: Path) -> None:
    heard = threading.Event()

    def answer(peer: int, payload: memoryview) -> bytes:
        heard.set()
        return loud(peer, payload)

    async def ask(peer: Peer) -> list[tuple[int, bytes]]:
        asker = Asker(peer)
        await asker.opened(2, 3)
        for number in range(3):
            heard.clear()
            assert asker.lines.offer(2, b"%d" % number)
            # While this loop does nothing else.
            assert heard.wait(PATIENCE_S)
        await until(lambda: len(asker.said) == 3)
        await asker.lines.stop()
        return asker.said

    async def test(peers: list[Peer]) -> None:
        peers[1].transport._answer = answer
        said = await asyncio.get_running_loop().run_in_executor(None, lambda: asyncio.run(ask(peers[0])))
        assert said == [(2, b"0!"), (2, b"1!"), (2, b"2!")]
        assert [peer.recorder.streams for peer in peers] == [[], [], []]
        gauges = peers[0].transport.gauges()
        assert gauges["transport_messages_sent_total"] == peers[0].transport.counts.messages_sent + 3

    on_three(folder, test)


def test_who_is_not_reached_yet_is_dialed_and_not_asked(folder: Path) -> None:
    async def test(peers: list[Peer]) -> None:
        asker = Asker(peers[0])
        assert not asker.lines.offer(2, b"who?")
        assert not asker.lines.is_open(2)
        assert not asker.lines.is_open(9)
        await asker.opened(2)
        assert asker.lines.offer(2, b"there")
        await until(lambda: asker.said == [(2, b"there!")])
        await asker.lines.stop()
        assert not asker.lines.offer(2, b"gone")
        for _ in range(10):
            assert not asker.lines.is_open(2)
            await asyncio.sleep(0.02)

    on_three(folder, test)


def test_the_line_to_who_is_no_member_any_more_ends_and_is_not_dialed_again(folder: Path) -> None:
    async def test(peers: list[Peer]) -> None:
        asker = Asker(peers[0])
        await asker.opened(2, 3)
        peers[0].transport.set_members([peers[0].member, peers[2].member])
        await until(lambda: not asker.lines.is_open(2))
        accepts = peers[1].transport.counts.accepts
        for _ in range(10):
            assert not asker.lines.is_open(2)
            assert asker.lines.is_open(3)
            await asyncio.sleep(0.02)
        assert peers[1].transport.counts.accepts == accepts
        peers[0].transport.set_members([peer.member for peer in peers])
        await asker.opened(2)
        await asker.lines.stop()

    on_three(folder, test)


def test_who_is_asked_what_it_does_not_answer_and_who_hears_no_answer_end_the_line(folder: Path) -> None:
    async def test(peers: list[Peer]) -> None:
        asker = Asker(peers[0])
        peers[1].transport._answer = None
        peers[2].transport._answer = lambda *_: b"never"
        await asker.opened(2, 3)
        assert asker.lines.offer(2, b"?")
        await until(lambda: peers[1].transport.counts.violations == 1)
        assert asker.lines.offer(3, b"?")
        await until(lambda: peers[0].transport.gauges()["transport_violations_total"] == 1)
        assert asker.said == []
        # It is there again soon.
        await asker.opened(2, 3)
        await asker.lines.stop()

    on_three(folder, test)
