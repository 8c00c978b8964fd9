"""A process that is one member of a Raft group, with a real disk and real connections; it is told what to do by lines.

    python -m tests.cluster.transport.raft_process FOLDER NODE PORT…     (the ports of nodes 1, 2, …)

``write CLIENT NUMBER REGISTER VALUE`` proposes, ``read`` prints the registers as a linearizable read, ``status`` how
the member stands. Every answer is a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from tests.cluster.transport.nodes import HOST, identity, tls_of
from tests.sim.disk import Disk
from tests.sim.registers import Registers, Write, command
from tsdb.clock import SystemClock
from tsdb.cluster.raft.entries import Configuration
from tsdb.cluster.raft.messages import Message
from tsdb.cluster.raft.settings import Settings
from tsdb.cluster.raft_driver import Pace, RaftDriver
from tsdb.cluster.raft_store import RaftStore
from tsdb.cluster.transport.limits import SECOND, Times
from tsdb.cluster.transport.limits import Settings as TransportSettings
from tsdb.cluster.transport.members import Member
from tsdb.cluster.transport.transport import LogStream, Transport
from tsdb.storage.rocks import Rocks

GROUP = 1


class Process:
    """The parts of one member."""

    def __init__(self, folder: Path, node: int, rocks: Rocks, pool: ThreadPoolExecutor, voters: int) -> None:
        self.machine = Registers(cast(Disk, rocks))
        store = RaftStore(rocks, GROUP, self.machine)
        if store.log.is_new:
            store.bootstrap(Configuration(tuple(range(1, voters + 1))))
        chance = random.Random()
        self.driver = RaftDriver(
            Settings(node=node), store, self.send, self.open_stream, SystemClock(), pool, chance.randrange,
            Pace(tick_s=0.1),
        )  # fmt: skip
        # Others use the machine as well: who says nothing for a while may only be waiting for its turn.
        patient = TransportSettings(times=Times(silence_ns=5 * SECOND, connect_ns=10 * SECOND, greeting_ns=10 * SECOND))
        name = f"n{node}"
        self.transport = Transport(
            identity(node), tls_of(folder, name), self.driver, SystemClock(), chance.random, patient
        )

    def send(self, message: Message) -> bool:
        return self.transport.send(message)

    async def open_stream(self, peer: int) -> LogStream:
        return await self.transport.open_stream(peer)

    async def answer(self, words: list[str]) -> Any:
        match words:
            case ["write", *numbers]:
                self.driver.propose(command(Write(*map(int, numbers))))
                return "proposed"
            case ["read"]:
                await self.driver.wait_readable()
                return {str(register): value for register, value in self.machine.values.items()}
            case _:
                gauges = self.driver.gauges()
                status = self.driver.status
                return {
                    "leader": status.leader, "term": status.term, "applied": self.driver.applied,
                    "clock": self.driver.clock_state.value, "offset": gauges["clock_offset_seconds"],
                    "dropped": self.transport.counts.dropped,
                }  # fmt: skip


async def serve(folder: Path, node: int, ports: list[int]) -> None:
    data = folder / f"data{node}"
    data.mkdir(exist_ok=True)
    with Rocks.open(data) as rocks, ThreadPoolExecutor(1) as pool:
        process = Process(folder, node, rocks, pool, len(ports))
        await process.transport.start(HOST, ports[node - 1])
        process.transport.set_members(
            Member(identity(number), HOST, port) for number, port in enumerate(ports, 1) if number != node
        )
        driving = asyncio.create_task(process.driver.run())
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await process.answer(line.split())), flush=True)
        driving.cancel()
        await asyncio.wait([driving])
        await process.transport.stop()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), [int(port) for port in sys.argv[3:]]))
