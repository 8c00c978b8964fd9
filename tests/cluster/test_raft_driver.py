"""The driver of a Raft member: three in one loop agree; their clocks are compared, and who is wrong does not lead."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

import pytest

from tests.sim.disk import Disk
from tests.sim.registers import Registers, Write, command
from tsdb.clock import ManualClock
from tsdb.cluster import pieces
from tsdb.cluster.raft.entries import Configuration
from tsdb.cluster.raft.messages import Heartbeat, Message
from tsdb.cluster.raft.settings import Settings
from tsdb.cluster.raft.state import ClockState
from tsdb.cluster.raft_driver import INBOX_MAX, Pace, RaftDriver
from tsdb.cluster.raft_store import RaftStore
from tsdb.cluster.transport.connection import RoundTrip
from tsdb.cluster.transport.outbox import StreamBroken

GROUP = 1
MS = 1_000_000
VOTERS = (1, 2, 3)
PACE = Pace(tick_s=0.02, log_bytes_kept=2000)


class Group:
    """Drivers that reach each other by calls; who is ``away`` gets and sends nothing."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.cuts: list[int] = []
        """Streams, the next one first, that break after so many messages."""
        self.parts: list[pieces.Part] = []
        self.sessions = 0
        self.clock = ManualClock(10**18)
        self.away: set[int] = set()
        self.machines: dict[int, Registers] = {}
        self.drivers: dict[int, RaftDriver] = {}
        self.stores: dict[int, RaftStore] = {}
        self._passing: set[asyncio.Task[None]] = set()
        for node in VOTERS:
            disk = Disk()
            RaftStore(disk, GROUP, Registers(disk)).bootstrap(Configuration(VOTERS))
            self.machines[node] = Registers(disk)
            self.stores[node] = RaftStore(disk, GROUP, self.machines[node])
            self.drivers[node] = RaftDriver(
                Settings(node=node), self.stores[node], self.send, partial(self.open_stream, node), self.clock, pool,
                random.Random(node).randrange, PACE,
            )  # fmt: skip

    def send(self, message: Message) -> bool:
        if self.away & {message.to, message.sender}:
            return False
        task = asyncio.create_task(self.drivers[message.to].raft(message))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)
        return True

    async def open_stream(self, by: int, to: int) -> Stream:
        while self.away & {by, to}:  # noqa: ASYNC110 (as long as a test wants)
            await asyncio.sleep(0.01)
        self.sessions += 1
        return Stream(self, by, to, self.sessions)

    def leader(self) -> int:
        """Whom all who are there follow; 0 if they do not agree."""
        leaders = {self.drivers[node].status.leader for node in VOTERS if node not in self.away}
        return leaders.pop() if len(leaders) == 1 else 0

    def trips(self, node: int, ahead_ms: dict[int, int]) -> None:
        """Pings of a node that took 2 ms, answered by clocks that are so far ahead of its own."""
        now = self.clock.now_ns()
        for peer, ahead in ahead_ms.items():
            trip = RoundTrip(2 * MS, now - 2 * MS, now - MS + ahead * MS, now)
            self.drivers[node].round_trip(peer, trip)


class Stream:
    """Of one member to another."""

    def __init__(self, group: Group, by: int, to: int, session: int) -> None:
        self._group = group
        self._by = by
        self._to = to
        self._session = session
        self._left: int | None = None

    async def send(self, payload: bytes, after_bytes_max: int | None = None) -> None:
        await asyncio.sleep(0)
        part = pieces.decode(payload)
        if self._left is None and isinstance(part, pieces.Begin):
            self._left = self._group.cuts.pop(0) if self._group.cuts else 1_000_000
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise StreamBroken("cut")
        if self._group.away & {self._by, self._to}:
            raise StreamBroken("away")
        self._group.parts.append(part)
        await self._group.drivers[self._to].stream(self._by, self._session, memoryview(payload))


@asynccontextmanager
async def running() -> AsyncIterator[Group]:
    with ThreadPoolExecutor(2) as pool:
        group = Group(pool)
        tasks = [asyncio.create_task(driver.run()) for driver in group.drivers.values()]
        try:
            yield group
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert [error for error in ended if not isinstance(error, asyncio.CancelledError)] == []


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (anything may be waited for)
            await asyncio.sleep(0.01)


def test_what_one_proposes_all_apply_and_a_read_shows_it() -> None:
    async def test() -> None:
        async with running() as group:
            await until(group.leader)
            for node in VOTERS:
                group.drivers[node].propose(command(Write(node, 1, node, node * 10)))
            await until(lambda: len(group.machines[group.leader() or 1].values) == 3)
            for node in VOTERS:
                async with asyncio.timeout(60):
                    await group.drivers[node].wait_readable()
                assert group.machines[node].values == {1: 10, 2: 20, 3: 30}

    asyncio.run(test())


def test_a_read_waits_while_nobody_can_answer_it() -> None:
    async def test() -> None:
        async with running() as group:
            await until(group.leader)
            alone = group.leader()
            group.away = set(VOTERS) - {alone}
            reading = asyncio.create_task(group.drivers[alone].wait_readable())
            await asyncio.sleep(0.5)
            assert not reading.done(), "a leader without a majority knows nothing of what is committed"
            group.away = set()
            async with asyncio.timeout(60):
                await reading

    asyncio.run(test())


def test_the_log_is_truncated_and_who_was_away_gets_a_snapshot() -> None:
    async def test() -> None:
        async with running() as group:
            await until(group.leader)
            away = 1 + group.leader() % 3
            group.away = {away}
            leads = group.leader()
            for number in range(1, 200):
                group.drivers[leads].propose(command(Write(7, number, number % 5, number)))
            await until(lambda: group.machines[leads].done.get(7) == 199)
            await until(lambda: group.stores[leads].log.byte_count <= PACE.log_bytes_kept)
            assert group.stores[leads].log.first_index > group.stores[away].log.last_index
            group.away = set()
            await until(lambda: group.machines[away].values == group.machines[leads].values)

    asyncio.run(test())


def test_a_snapshot_that_is_cut_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces.Sending.__init__, "__defaults__", (10,))

    async def test() -> None:
        async with running() as group:
            await until(group.leader)
            away = 1 + group.leader() % 3
            group.away = {away}
            leads = group.leader()
            for number in range(1, 200):
                group.drivers[leads].propose(command(Write(7, number, number, number)))
            await until(lambda: group.machines[leads].done.get(7) == 199)
            await until(lambda: group.stores[leads].log.first_index > group.stores[away].log.last_index)
            group.parts.clear()
            group.cuts = [5, 0, 1, 40]
            group.away = set()
            await until(lambda: group.machines[away].values == group.machines[leads].values)
            assert group.cuts == []
            begins = {part.digest: part.size for part in group.parts if isinstance(part, pieces.Begin)}
            assert len(begins) == 1, "one state was sent"
            sent = [part.offset for part in group.parts if isinstance(part, pieces.Piece)]
            assert sent == list(range(0, next(iter(begins.values())), 10)), "each piece once"
            driver = group.drivers[leads]
            await until(lambda: driver.gauges()["raft_snapshots_sending"] == 0)
            assert driver.gauges()["raft_snapshot_bytes_sent_total"] > 0
            # Nothing is pinned any more.
            assert group.stores[leads].log._pins == {}

    asyncio.run(test())


@pytest.mark.parametrize(
    ("ahead_ms", "state"),
    [(0, ClockState.AGREES), (249, ClockState.AGREES), (-300, ClockState.DOUBTFUL), (450, ClockState.WRONG)],
)
def test_clocks_are_compared_by_round_trips(ahead_ms: int, state: ClockState) -> None:
    async def test() -> None:
        async with running() as group:
            driver = group.drivers[2]
            assert driver.clock_state is ClockState.DOUBTFUL, "before anything is known"
            group.trips(2, {1: ahead_ms, 3: ahead_ms})
            await until(lambda: driver.clock_state is state)
            gauges = driver.gauges()
            assert gauges["clock_offset_seconds"] == ahead_ms / 1000
            assert gauges["clock_state"] == [*ClockState].index(state)
            # Samples age; and one clock that is wrong is not the median of three.
            group.clock.time_ns += 60 * 10**9
            await until(lambda: driver.clock_state is ClockState.DOUBTFUL)
            group.trips(2, {1: 10_000, 3: 0})
            await until(lambda: driver.clock_state is ClockState.AGREES)

    asyncio.run(test())


def test_a_leader_whose_clock_is_wrong_hands_over(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with running() as group:
            await until(group.leader)
            leads = group.leader()
            others = [node for node in VOTERS if node != leads]
            group.trips(leads, dict.fromkeys(others, -2000))
            await until(lambda: group.leader() not in (0, leads))
            assert group.drivers[leads].clock_state is ClockState.WRONG

    asyncio.run(test())
    assert "this node's clock is +2.000 s from the others': wrong" in caplog.text


def test_peers_wait_when_the_core_is_behind() -> None:
    async def test() -> None:
        with ThreadPoolExecutor(1) as pool:
            driver = Group(pool).drivers[1]
            for _ in range(INBOX_MAX):
                await driver.raft(Heartbeat(2, 1, 2, 1))
            more = asyncio.create_task(driver.raft(Heartbeat(2, 1, 2, 1)))
            await asyncio.sleep(0.05)
            assert not more.done()
            task = asyncio.create_task(driver.run())
            async with asyncio.timeout(60):
                await more
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(test())
