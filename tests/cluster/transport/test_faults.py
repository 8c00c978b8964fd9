"""What networks do: nothing answers, connections stand half open, come back, break in the middle."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.transport.nodes import (
    HOST,
    SETTINGS,
    Peer,
    identity,
    run,
    running,
    until,
    write_pair,
)
from tsdb.cluster.raft.messages import Heartbeat
from tsdb.cluster.transport.limits import SECOND, Settings, Times
from tsdb.cluster.transport.members import Member

QUICK = Settings(
    limits=SETTINGS.limits,
    times=Times(
        connect_ns=SECOND, greeting_ns=SECOND, ping_ns=SECOND // 10, silence_ns=SECOND,
        goodbye_ns=SECOND // 2, dial_again_ns=SECOND // 50, dial_again_ns_max=SECOND // 5,
    ),
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("n1", "n2"):
        write_pair(tmp_path, name)
    return tmp_path


class Cable:
    """A TCP proxy; while it is ``cut`` it passes nothing on and tells nobody."""

    def __init__(self, to: int) -> None:
        self._to = to
        self.cut = False
        self.writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def plugged(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._accept, HOST, 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            self.reset()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset(self) -> None:
        """Break what is connected."""
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(HOST, self._to)
        self.writers += [writer, there_writer]
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(self._carry(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while octets := await source.read(1 << 16):
                await self._whole()
                sink.write(octets)
                await sink.drain()
        # Nor that the other end has closed.
        await self._whole()
        sink.close()

    async def _whole(self) -> None:
        while self.cut:  # noqa: ASYNC110 (a test's cable)
            await asyncio.sleep(0.01)


def test_a_connection_that_stands_half_open_is_noticed_by_both_and_made_again(folder: Path) -> None:
    async def test() -> None:
        one, two = Peer(folder, identity(1), QUICK), Peer(folder, identity(2), QUICK)
        async with running(one, two):
            cable = Cable(two.transport.port)
            async with cable.plugged() as port:
                two.transport.set_members([Member(identity(1), HOST, 1)])
                one.transport.set_members([Member(identity(2), HOST, port)])
                await until(lambda: one.transport.is_connected(2))
                cable.cut = True
                await until(lambda: not one.transport._dialers[next(iter(one.transport._dialers))].is_open, 10)
                await until(lambda: one.transport.counts.silences >= 2 and two.transport.counts.silences >= 2, 10)
                await until(lambda: 2 in one.recorder.unreachables)
                assert not one.transport.send(Heartbeat(1, 2, 5, 9))
                cable.cut = False
                await until(lambda: one.transport.is_connected(2))
                await until(lambda: one.transport.send(Heartbeat(1, 2, 5, 9)))
                await until(lambda: two.recorder.messages == [Heartbeat(1, 2, 5, 9)])

    run(test)


def test_connections_that_break_are_made_again_and_nothing_arrives_twice_or_torn(folder: Path) -> None:
    async def test() -> None:
        often = replace(SETTINGS, times=replace(SETTINGS.times, dial_again_ns_max=SECOND // 20))
        one, two = Peer(folder, identity(1), often), Peer(folder, identity(2))
        async with running(one, two):
            cable = Cable(two.transport.port)
            async with cable.plugged() as port:
                two.transport.set_members([Member(identity(1), HOST, 1)])
                one.transport.set_members([Member(identity(2), HOST, port)])
                sent = []
                for number in range(40):
                    await until(lambda: one.transport.is_connected(2))
                    for part in range(20):
                        beat = Heartbeat(1, 2, number, part, bytes(part * 1000))
                        if one.transport.send(beat):
                            sent.append(beat)
                    await asyncio.sleep(0.002 * (number % 3))
                    cable.reset()
                    await until(lambda: not one.transport.is_connected(2))
                await until(lambda: one.transport.is_connected(2))
                last = Heartbeat(1, 2, 99, 0)
                assert one.transport.send(last)
                await until(lambda: bool(two.recorder.messages) and two.recorder.messages[-1] == last)
                arrived = two.recorder.messages[:-1]
                assert len(set(arrived)) == len(arrived)
                assert set(arrived) <= set(sent)
                assert one.transport.counts.connects >= 41

    run(test)


def test_connections_that_end_as_soon_as_they_are_open_are_dialed_later_and_later(folder: Path) -> None:
    """Two copies of a node take each other's place for ever; they did so as fast as they could dial."""

    async def test() -> None:
        slow = replace(SETTINGS, times=replace(SETTINGS.times, dial_again_ns_max=SECOND))
        one, copy, two = (Peer(folder, identity(number), slow) for number in (1, 1, 2))
        async with running(one, copy, two):
            two.transport.set_members([one.member])
            for peer in (one, copy):
                peer.transport.set_members([two.member])
            await asyncio.sleep(2)
            # Nine by each of four, if each wait is as short as can be.
            assert 4 <= two.transport.counts.accepts <= 40

    run(test)


def test_who_is_no_member_any_more_is_not_heard_while_others_are_told_good_bye(folder: Path) -> None:
    async def test() -> None:
        one, two = Peer(folder, identity(1)), Peer(folder, identity(2))
        async with running(one, two):
            cable = Cable(one.transport.port)
            async with cable.plugged() as port:
                one.transport.set_members([two.member])
                two.transport.set_members([Member(identity(1), HOST, port)])
                stream = await two.transport.open_stream(1)
                await until(lambda: one.transport.is_connected(2))
                cable.cut = True
                for _ in range(4):
                    await stream.send(bytes(500_000))
                two.transport.set_members([])
                await asyncio.sleep(0.1)
                for _ in range(20):
                    one.transport.send(Heartbeat(1, 2, 5, 9))
                    await asyncio.sleep(0.02)
                assert two.recorder.messages == []

    run(test)


def test_a_port_that_takes_connections_and_says_nothing_is_given_up_in_time(folder: Path) -> None:
    async def test() -> None:
        with socket.create_server((HOST, 0)) as deaf:
            async with running(Peer(folder, identity(1), QUICK)) as (one,):
                one.transport.set_members([Member(identity(2), HOST, deaf.getsockname()[1])])
                await until(lambda: one.transport.counts.failures >= 4)

    run(test)


@pytest.mark.parametrize(
    ("host", "port"),
    [("nowhere.invalid", 9), ("a" * 70, 9), ("127.0.0.1", 9), ("", 9), ("a\0b", 9), ("127.0.0.1", 70_000)],
)
def test_an_address_where_nobody_is_is_dialed_again(folder: Path, host: str, port: int) -> None:
    async def test() -> None:
        async with running(Peer(folder, identity(1), QUICK)) as (one,):
            one.transport.set_members([Member(identity(2), host, port)])
            await until(lambda: one.transport.counts.failures >= 4)

    run(test)


def test_a_stop_ends_while_a_peer_reads_nothing(folder: Path) -> None:
    async def test() -> None:
        one, two = Peer(folder, identity(1)), Peer(folder, identity(2))
        async with running(one, two):
            cable = Cable(two.transport.port)
            async with cable.plugged() as port:
                two.transport.set_members([Member(identity(1), HOST, 1)])
                one.transport.set_members([Member(identity(2), HOST, port)])
                stream = await one.transport.open_stream(2)
                cable.cut = True
                for _ in range(4):
                    await stream.send(bytes(500_000))
                async with asyncio.timeout(10):
                    await one.transport.stop()
                    await one.transport.stop()
                assert not one.transport.is_connected(2)

    run(test)


def test_a_member_that_moves_is_dialed_at_its_new_address(folder: Path) -> None:
    async def test() -> None:
        one, two = Peer(folder, identity(1)), Peer(folder, identity(2))
        async with running(one, two):
            two.transport.set_members([one.member])
            one.transport.set_members([Member(identity(2), HOST, 9)])
            await until(lambda: one.transport.counts.failures > 0)
            one.transport.set_members([replace(two.member)])
            await until(lambda: one.transport.is_connected(2))

    run(test)
