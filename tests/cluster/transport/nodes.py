"""Nodes with real sockets and certificates, and a receiver that writes down what it gets."""

from __future__ import annotations

import asyncio
import datetime
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import uvloop

from tests.cluster.transport.pair import CLUSTER
from tsdb.clock import SystemClock
from tsdb.cluster.authority import Issued, issue, make_authority
from tsdb.cluster.raft.clients import Follow, Followed
from tsdb.cluster.raft.messages import Message
from tsdb.cluster.transport.connection import RoundTrip
from tsdb.cluster.transport.greeting import Identity, Purpose
from tsdb.cluster.transport.guests import Guest
from tsdb.cluster.transport.limits import KIB, MIB, SECOND, Limits, Settings, Times
from tsdb.cluster.transport.members import Member
from tsdb.cluster.transport.tls import NodeTls
from tsdb.cluster.transport.transport import Answer, AtOnce, Transport

HOST = "127.0.0.1"
# Deadlines that a busy machine keeps.
TIMES = Times(
    connect_ns=5 * SECOND, greeting_ns=5 * SECOND, ping_ns=SECOND // 10, silence_ns=2 * SECOND,
    goodbye_ns=SECOND, dial_again_ns=SECOND // 50, dial_again_ns_max=SECOND // 4,
)  # fmt: skip
SETTINGS = Settings(
    limits={
        Purpose.CONTROL: Limits(message_bytes_max=64 * KIB, window=256 * KIB, queue_bytes_max=256 * KIB),
        Purpose.LOG: Limits(message_bytes_max=MIB, window=4 * MIB, queue_bytes_max=2 * MIB),
    },
    times=TIMES,
)
AUTHORITY = make_authority("test", 100, datetime.datetime.now(datetime.UTC))
PATIENCE_S = 30


def write_pair(folder: Path, name: str, authority: Issued = AUTHORITY, *, days: int = 10) -> None:
    """``NAME.crt``, ``NAME.key`` and ``ca.crt``; of ``days`` below 0 a certificate that has expired."""
    folder.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    if days < 0:
        now, days = now - datetime.timedelta(days=50), 1
    made = issue(authority, name, [HOST], days, now)
    (folder / f"{name}.key").touch(0o600)
    (folder / f"{name}.key").write_bytes(made.key)
    (folder / f"{name}.crt").write_bytes(made.certificate)
    (folder / "ca.crt").write_bytes(AUTHORITY.certificate)


def tls_of(folder: Path, name: str) -> NodeTls:
    return NodeTls(folder / f"{name}.crt", folder / f"{name}.key", folder / "ca.crt")


class Recorder:
    """A receiver; while ``gate`` is closed it takes nothing."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.streams: list[tuple[int, int, bytes]] = []
        self.unreachables: list[int] = []
        self.trips: dict[int, RoundTrip] = {}
        self.clients: list[tuple[Guest, Follow | Followed]] = []
        self.left: list[Guest] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def raft(self, message: Message) -> None:
        await self.gate.wait()
        self.messages.append(message)

    async def stream(self, peer: int, session: int, payload: memoryview) -> None:
        await self.gate.wait()
        self.streams.append((peer, session, bytes(payload)))

    def unreachable(self, peer: int) -> None:
        self.unreachables.append(peer)

    def round_trip(self, peer: int, trip: RoundTrip) -> None:
        self.trips[peer] = trip

    async def client(self, guest: Guest, message: Follow | Followed) -> None:
        self.clients.append((guest, message))

    def client_left(self, guest: Guest) -> None:
        self.left.append(guest)


def identity(number: int, **changes: Any) -> Identity:
    """Of node ``number``, but for some of it."""
    return replace(Identity(CLUSTER, number, UUID(int=number), f"n{number}"), **changes)


class Peer:
    """A node of the tests: its transport, and what it has received."""

    def __init__(
        self,
        folder: Path,
        me: Identity,
        settings: Settings = SETTINGS,
        at_once: AtOnce | None = None,
        answer: Answer | None = None,
    ) -> None:
        self.recorder = Recorder()
        chance = random.Random(me.node)
        tls, clock = tls_of(folder, me.name), SystemClock()
        self.transport = Transport(
            me, tls, self.recorder, clock, chance.random, settings, at_once=at_once, answer=answer
        )

    @property
    def member(self) -> Member:
        return Member(self.transport.me, HOST, self.transport.port)


@asynccontextmanager
async def running(*peers: Peer, port: int = 0) -> AsyncIterator[tuple[Peer, ...]]:
    """Peers that listen and do not know each other yet."""
    try:
        for peer in peers:
            await peer.transport.start(HOST, port)
        yield peers
    finally:
        await asyncio.gather(*(peer.transport.stop() for peer in peers))


async def introduce(*peers: Peer) -> None:
    """Everybody knows everybody, and is connected."""
    for peer in peers:
        peer.transport.set_members([other.member for other in peers])
    for peer in peers:
        for other in peers:
            if other is not peer:
                await until(lambda a=peer, b=other: a.transport.is_connected(b.transport.me.node))  # type: ignore[misc]


async def until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (anything may be waited for)
            await asyncio.sleep(0.01)


def run(test: Callable[[], Coroutine[Any, Any, None]], *, on_uvloop: bool = False) -> None:
    """Run a test on a loop of its own, and find no task left behind."""

    async def whole() -> None:
        await test()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if on_uvloop else None) as runner:
        runner.run(whole())
