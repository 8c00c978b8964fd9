"""One that is no member gets what is committed from any member: all of it, once, in order, whoever stops meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from tests.cluster.transport.members import Members, Running, group
from tests.cluster.transport.nodes import HOST, SETTINGS, run, tls_of, until
from tests.sim.registers import Write, command
from tsdb.clock import SystemClock
from tsdb.cluster import pieces
from tsdb.cluster.following import Following
from tsdb.cluster.raft.entries import Snapshot
from tsdb.cluster.transport.greeting import NOT_KNOWN, Identity

ROUTER = Identity(NOT_KNOWN, 0, UUID(int=0xF0), "n4")


class Mirror:
    """Registers, by what is fed."""

    def __init__(self) -> None:
        self.values: dict[int, int] = {}
        self.done: dict[int, int] = {}
        self.at = 0
        self.installs = 0

    def install(self, snapshot: Snapshot) -> None:
        assert snapshot.index > self.at
        self.at = snapshot.index
        self.values, self.done = msgspec.msgpack.decode(snapshot.body, type=tuple[dict[int, int], dict[int, int]])
        self.installs += 1

    def apply(self, index: int, body: bytes) -> None:
        assert index > self.at
        self.at = index
        write = msgspec.msgpack.decode(body, type=Write)
        if write.number > self.done.get(write.client, 0):
            self.done[write.client] = write.number
            self.values[write.register] = write.value


@asynccontextmanager
async def followed(folder: Path, members: Members, mirror: Mirror, index: int = 0) -> AsyncIterator[Following]:
    addresses = [(HOST, each.transport.port) for each in members.running]
    following = Following(
        ROUTER, tls_of(folder, "n4"), addresses, mirror, SystemClock(), random.Random(4).random, 0.05, SETTINGS, index
    )
    task = asyncio.create_task(following.run())
    try:
        yield following
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def written(leader: Running, first: int, last: int) -> None:
    for number in range(first, last + 1):
        leader.driver.propose(command(Write(7, number, number % 50, number)))
    await until(lambda: leader.machine.done.get(7) == last)


def followed_by(members: Members, following: Following) -> Running:
    return next(each for each in members.running if each.transport.port == following.address[1])


def test_a_router_follows_from_member_to_member(tmp_path: Path) -> None:
    async def test() -> None:
        mirror = Mirror()
        async with group(tmp_path) as members, followed(tmp_path, members, mirror) as following:
            leader = await members.led()
            await written(leader, 1, 20)
            await until(lambda: mirror.done.get(7) == 20)
            # Even the first members begin with a state of theirs.
            assert mirror.installs == 1
            for last in (40, 60):
                gone = followed_by(members, following)
                if last == 40 or gone is leader:
                    await gone.stop()
                    leader = await members.led()
                await written(leader, last - 19, last)
                await until(lambda last=last: mirror.done.get(7) == last)  # type: ignore[misc]
            assert mirror.values == leader.machine.values
            assert mirror.installs == 1
            assert followed_by(members, following).task is not None
            assert sum(each.driver.gauges()["raft_clients"] for each in members.running if each.task is not None) >= 1

    run(test)


def test_a_router_that_was_away_for_long_gets_the_state_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces.Sending.__init__, "__defaults__", (20,))

    async def test() -> None:
        mirror = Mirror()
        async with group(tmp_path) as members:
            leader = await members.led()
            async with followed(tmp_path, members, mirror) as following:
                await written(leader, 1, 10)
                await following.wait_for(leader.driver.applied)
                index = following.index
            at = mirror.at
            await written(leader, 11, 300)
            for each in members.running:
                await until(lambda each=each: each.store.log.first_index > index + 1)  # type: ignore[misc]
            async with followed(tmp_path, members, mirror, index) as following:
                await until(lambda: mirror.done.get(7) == 300)
                await written(leader, 301, 310)
                await until(lambda: mirror.done.get(7) == 310)
            assert mirror.values == leader.machine.values
            assert mirror.installs == 2
            assert mirror.at > at
            await until(lambda: not any(each.driver.gauges()["raft_clients"] for each in members.running))

    run(test)
