"""A Raft group in one event loop over real connections: drivers, transports, and disks in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from tests.cluster.transport.nodes import HOST, TIMES, identity, tls_of, until, write_pair
from tests.sim.disk import Disk
from tests.sim.registers import Registers
from tsdb.clock import SystemClock
from tsdb.cluster.raft.entries import Configuration
from tsdb.cluster.raft.messages import Message
from tsdb.cluster.raft.settings import Settings
from tsdb.cluster.raft_driver import Pace, RaftDriver
from tsdb.cluster.raft_store import RaftStore
from tsdb.cluster.transport.limits import Settings as TransportSettings
from tsdb.cluster.transport.members import Member
from tsdb.cluster.transport.transport import LogStream, Transport

GROUP = 1
PACE = Pace(tick_s=0.05, log_bytes_kept=2_000)


class Running:
    """One member: what it keeps, and its tasks."""

    def __init__(self, folder: Path, node: int, voters: int, pool: ThreadPoolExecutor) -> None:
        self.node = node
        disk = Disk()
        RaftStore(disk, GROUP, Registers(disk)).bootstrap(Configuration(tuple(range(1, voters + 1))))
        self.machine = Registers(disk)
        self.store = RaftStore(disk, GROUP, self.machine)
        chance = random.Random(node)
        self.driver = RaftDriver(
            Settings(node=node), self.store, self._send, self._open_stream, SystemClock(), pool, chance.randrange, PACE
        )
        me, settings = identity(node), TransportSettings(times=TIMES)
        self.transport = Transport(me, tls_of(folder, me.name), self.driver, SystemClock(), chance.random, settings)
        self.task: asyncio.Task[None] | None = None

    def _send(self, message: Message) -> bool:
        return self.transport.send(message)

    async def _open_stream(self, peer: int) -> LogStream:
        return await self.transport.open_stream(peer)

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])
            self.task = None
        await self.transport.stop()


class Members:
    def __init__(self, running: list[Running]) -> None:
        self.running = running

    def leader(self) -> Running | None:
        """Whom all that run follow."""
        up = [each for each in self.running if each.task is not None]
        leaders = {each.driver.status.leader for each in up}
        return self.running[leaders.pop() - 1] if len(leaders) == 1 and 0 not in leaders else None

    async def led(self) -> Running:
        await until(lambda: self.leader() is not None)
        leader = self.leader()
        assert leader is not None
        return leader


@asynccontextmanager
async def group(folder: Path, voters: int = 3) -> AsyncIterator[Members]:
    """Members that know each other. There are certificates of two more nodes."""
    for number in range(1, voters + 3):
        write_pair(folder, f"n{number}")
    with ThreadPoolExecutor(2) as pool:
        members = Members([Running(folder, number, voters, pool) for number in range(1, voters + 1)])
        try:
            for each in members.running:
                await each.transport.start(HOST, 0)
            known = [Member(each.transport.me, HOST, each.transport.port) for each in members.running]
            for each in members.running:
                each.transport.set_members(known)
                each.task = asyncio.create_task(each.driver.run())
            yield members
        finally:
            for each in members.running:
                await each.stop()
