"""Lines: questions of another event loop to other nodes, and their answers back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.transport.nodes import PATIENCE_S, Peer, identity, introduce, run, running, until, write_pair
from tests.cluster.transport.nodes import SETTINGS as NODE_SETTINGS
from tests.cluster.transport.pair import SETTINGS, START, ConnectionPair
from tsdb.clock import SystemClock
from tsdb.cluster.transport.connection import Arrived
from tsdb.cluster.transport.counts import Counts
from tsdb.cluster.transport.frames import Kind
from tsdb.cluster.transport.greeting import Purpose
from tsdb.cluster.transport.limits import KIB, SECOND
from tsdb.cluster.transport.lines import Lines
from tsdb.cluster.transport.link import Link
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
        asker.lines._end(2)
        assert not asker.lines.is_open(2)
        await asker.opened(2)
        await asker.lines.stop()

    on_three(folder, test)


def test_a_line_that_was_open_is_not_when_the_other_side_has_gone(folder: Path) -> None:
    async def test(peers: list[Peer]) -> None:
        asker = Asker(peers[0])
        await asker.opened(2, 3)
        # An earlier line to it has ended just now.
        asker.lines.lost(2, [])
        assert asker.lines.is_open(2)
        await peers[1].transport.stop()
        await until(lambda: not asker.lines.is_open(2))
        assert not asker.lines.offer(2, b"gone")
        assert asker.lines.is_open(3)
        await asker.lines.stop()

    on_three(folder, test)


def test_credit_for_short_questions_and_answers_comes_back_as_they_are_taken(folder: Path) -> None:
    # Nothing else wakes who would give it.
    times = replace(NODE_SETTINGS.times, ping_ns=600 * SECOND, silence_ns=3600 * SECOND)
    quiet = replace(NODE_SETTINGS, times=times)
    count = 3 * quiet.limits_of(Purpose.ROUNDS).window // (12 * KIB)

    async def whole() -> None:
        peers = [Peer(folder, identity(1), quiet), Peer(folder, identity(2), quiet, answer=loud)]
        async with running(*peers):
            await introduce(*peers)
            asker = Asker(peers[0])
            await asker.opened(2)
            for number in range(count):
                assert asker.lines.offer(2, b"%012d" % number * KIB)
                await until(lambda: len(asker.said) > number)  # noqa: B023
            await asker.lines.stop()

    run(whole, on_uvloop=True)


def test_credit_for_what_is_taken_at_once_comes_back_where_nothing_is_answered(folder: Path) -> None:
    times = replace(NODE_SETTINGS.times, ping_ns=600 * SECOND, silence_ns=3600 * SECOND)
    quiet = replace(NODE_SETTINGS, times=times)
    count = 3 * quiet.limits_of(Purpose.LOG).window // (12 * KIB)
    taken: list[int] = []

    def take(_: int, payload: memoryview) -> bool:
        taken.append(len(payload))
        return True

    async def whole() -> None:
        peers = [Peer(folder, identity(1), quiet), Peer(folder, identity(2), quiet, at_once=take)]
        async with running(*peers):
            await introduce(*peers)
            async with asyncio.timeout(PATIENCE_S):
                for number in range(count):
                    assert peers[0].transport.offer(2, bytes(12 * KIB))
                    while len(taken) <= number:  # noqa: ASYNC110 (each turn may be it)
                        await asyncio.sleep(0)

    run(whole, on_uvloop=True)


class Socket:
    """As a stream's writer and its transport."""

    def __init__(self) -> None:
        self.transport = self
        self.waiting = 0
        self.written: list[bytes] = []

    def set_write_buffer_limits(self, high: int) -> None: ...

    def get_extra_info(self, name: str) -> None: ...

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return False

    def write(self, octets: bytes) -> None:
        self.written.append(octets)


def test_what_is_short_is_written_at_once_only_where_nothing_waits_for_the_socket() -> None:
    pair, written = ConnectionPair().opened(), Socket()
    reader: Any = None
    writer: Any = written
    link = Link(pair.dialer, reader, writer, SystemClock(), SETTINGS.times, Counts())
    # Before it runs, and while it writes.
    assert not link.send_at_once(Kind.STREAM, b"a")
    link._is_idle = True
    assert link.send_at_once(Kind.STREAM, b"b")
    written.waiting = 1
    assert not link.send_at_once(Kind.STREAM, b"c")
    written.waiting = 0
    assert not link.send_at_once(Kind.STREAM, bytes(100))
    assert link.send_at_once(Kind.STREAM, b"d")
    (first, second) = pair.feed(pair.acceptor, b"".join(written.written), START)
    assert [bytes(each.payload) for each in (first, second) if isinstance(each, Arrived)] == [b"b", b"d"]


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
