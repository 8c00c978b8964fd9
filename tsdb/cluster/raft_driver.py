"""Drives one member of a Raft group: feeds the core with ticks, messages and proposals, and does what its Ready says.

One asyncio task owns the core. Everything that happens waits in an inbox until the core is not at work; what is written
is written in a thread, so that the event loop does not wait for the disk. It is a ``transport.Receiver``: what arrives
from other nodes comes here, and a peer whose messages are not taken in time runs out of credit.

The clocks of the others are compared with this one's by the pings of the transport (``raft.clock_check``).
Not here: what commands mean (``raft_store.StateMachine``), who the members' addresses are.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from tsdb.clock import Clock
from tsdb.cluster import pieces
from tsdb.cluster.dispatch import Arrival, Dispatch, OpenStream
from tsdb.cluster.feeding import Feeding
from tsdb.cluster.raft.changes import Change
from tsdb.cluster.raft.clients import Follow, Followed
from tsdb.cluster.raft.clock_check import ClockCheck
from tsdb.cluster.raft.messages import InstallSnapshot, Message
from tsdb.cluster.raft.node import Node, PeerUnknown, Status
from tsdb.cluster.raft.ready import Ready, Standing
from tsdb.cluster.raft.settings import Settings
from tsdb.cluster.raft.state import ClockState, ProposalDropped, Role
from tsdb.cluster.raft_store import RaftStore
from tsdb.cluster.transport.connection import RoundTrip
from tsdb.cluster.transport.guests import Guest

log = logging.getLogger(__name__)

MIB = 1 << 20
INBOX_MAX = 1000
"""Messages that wait for the core; then peers wait."""
FED_AT_ONCE = 100
_CLOCK_STATES = {ClockState.AGREES: 0, ClockState.DOUBTFUL: 1, ClockState.WRONG: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast time passes for the core, how far clocks may be apart, how much of the log is kept for who is slow."""

    tick_s: float = 0.1
    clock_offset_max_ns: int = 500_000_000
    clock_sample_expires_ns: int = 10_000_000_000
    log_bytes_kept: int = 4 * MIB


PACE = Pace()


class RaftDriver:
    """``run`` is its task, until it is cancelled or the disk fails (FatalStorageError: then the process must end)."""

    def __init__(
        self,
        settings: Settings,
        store: RaftStore,
        send: Callable[[Message], bool],
        open_stream: OpenStream,
        clock: Clock,
        pool: Executor,
        chance: Callable[[int], int],
        pace: Pace = PACE,
    ) -> None:
        """``send`` and ``open_stream`` are ``Transport``'s; ``chance(n)`` draws a number below n."""
        self._store = store
        self._node = Node(settings, store, chance, store.applied)
        self._send = send
        self._clock = clock
        self._pool = pool
        self._pace = pace
        self._inbox: deque[Callable[[], None]] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._ticks = 0
        self._check = ClockCheck(pace.clock_offset_max_ns, pace.clock_sample_expires_ns)
        self.clock_state = ClockState.DOUBTFUL
        # Reads of an earlier life must not be answered for this one's.
        self._life = chance(1 << 62)
        self._reads: dict[bytes, asyncio.Future[int | None]] = {}
        self._read_count = 0
        self._applied = asyncio.Event()
        # Snapshots go over log streams.
        self._dispatch = Dispatch(store, open_stream, self._put, self._node.report_snapshot)
        self._arrival = Arrival(self._node.status.node, open_stream)
        self._feeding = Feeding(self._node, store)
        self.dropped = 0
        """Proposals and messages that the core did not take."""

    @property
    def status(self) -> Status:
        """How the member stands; between two steps of it."""
        return self._node.status

    @property
    def has_leader(self) -> bool:
        """Whether this member follows somebody whom it hears, or leads and is heard by a majority."""
        return self._node.has_leader

    @property
    def applied(self) -> int:
        """The index that the state machine has come to."""
        return self._store.applied

    # What comes from other nodes (``transport.Receiver``)

    async def raft(self, message: Message) -> None:
        await self._has_room()
        self._put(lambda: self._node.step(message))

    async def _has_room(self) -> None:
        while len(self._inbox) >= INBOX_MAX:
            self._room.clear()
            await self._room.wait()

    async def stream(self, peer: int, session: int, payload: memoryview) -> None:
        """Parts of snapshots, from one that leads, and what members say of those that are sent from here."""
        part = pieces.decode(payload)
        if isinstance(part, pieces.Have):
            self._dispatch.heard(peer, part)
            return
        message = self._arrival.take(peer, session, part)
        if message is not None:
            await self.raft(message)

    def unreachable(self, peer: int) -> None:
        self._put(lambda: self._node.report_unreachable(peer))

    def round_trip(self, peer: int, trip: RoundTrip) -> None:
        self._check.sample(peer, trip.sent_ns, trip.peer_ns, trip.received_ns)

    async def client(self, guest: Guest, message: Follow | Followed) -> None:
        await self._has_room()
        self._put(lambda: self._feeding.step(guest, message))

    def client_left(self, guest: Guest) -> None:
        self._put(lambda: self._feeding.forget(guest))

    # What this node wants

    def propose(self, command: bytes) -> None:
        """Have a command appended. It may be lost: who needs to know looks at what the state machine has applied."""
        self._put(lambda: self._node.propose(command))

    def propose_change(self, change: Change) -> None:
        """Have the members changed. It may be lost as well, and is refused while another change is under way."""
        self._put(lambda: self._node.propose_change(change))

    def campaign(self) -> None:
        """Begin an election now, if this node may: who has the only vote need not wait for its time."""
        self._put(self._node.campaign)

    async def wait_readable(self) -> None:
        """Until the state machine has everything that was committed anywhere before this was asked (read index).

        It asks again until it gets an answer, and at once when somebody else leads: the caller has a deadline.
        """
        loop = asyncio.get_running_loop()
        index = None
        while index is None:
            self._read_count += 1
            context = b"%d.%d" % (self._life, self._read_count)
            self._reads[context] = loop.create_future()
            self._put(lambda asked=context: self._node.read_index(asked))  # type: ignore[misc]
            try:
                async with asyncio.timeout(10 * self._pace.tick_s):
                    index = await self._reads[context]
            except TimeoutError:
                continue
            finally:
                del self._reads[context]
        while self._store.applied < index:
            self._applied.clear()
            await self._applied.wait()

    def transfer_leadership(self, to: int) -> None:
        """Ask the leader to hand over to a member."""
        self._put(lambda: self._node.transfer_leadership(to))

    # The task

    async def run(self) -> None:
        ticking = asyncio.create_task(self._ticking())
        try:
            while True:
                self._wake.clear()
                self._feed()
                while self._node.has_ready():
                    await self._carry_out(self._node.ready())
                    self._feed()
                self._feeding.send()
                if not self._inbox:
                    await self._wake.wait()
        finally:
            ticking.cancel()
            await asyncio.wait([ticking])
            await self._feeding.stop()
            await asyncio.gather(self._dispatch.stop(), self._arrival.stop())

    async def _ticking(self) -> None:
        while True:
            await asyncio.sleep(self._pace.tick_s)
            self._put(self._tick)

    def _tick(self) -> None:
        self._ticks += 1
        self._node.tick()
        self._dispatch.tick(self._ticks)
        self._arrival.tick()
        self._feeding.tick(self._ticks)
        if self._ticks % 10 == 0:
            self._compare_clocks()
            self._truncate()

    def _put(self, work: Callable[[], None]) -> None:
        self._inbox.append(work)
        self._wake.set()

    def _feed(self) -> None:
        """Hand the core what waits for it, some of it."""
        for _ in range(min(len(self._inbox), FED_AT_ONCE)):
            try:
                self._inbox.popleft()()
            except (ProposalDropped, PeerUnknown) as error:
                self.dropped += 1
                log.debug("not taken: %s", error)
        self._room.set()

    async def _carry_out(self, ready: Ready) -> None:
        """In the order of the fields: what is sent later rests on what is written before."""
        loop = asyncio.get_running_loop()
        for message in ready.messages_at_once:
            if isinstance(message, InstallSnapshot):
                self._dispatch.begin(message)
            else:
                self._send(message)
        if ready.state is not None or ready.entries or ready.snapshot is not None:
            await loop.run_in_executor(
                self._pool, self._store.write, ready.state, ready.entries, ready.snapshot, ready.must_sync
            )
        for message in ready.messages:
            self._send(message)
        if ready.committed:
            await loop.run_in_executor(self._pool, self._store.apply, self._node, ready.committed)
        self._node.advance()
        for read in ready.read_states:
            waiting = self._reads.get(read.context)
            if waiting is not None and not waiting.done():
                waiting.set_result(read.index)
        self._applied.set()
        if ready.standing is not None:
            # Who was asked what is readable may not be there to answer.
            for asked in self._reads.values():
                if not asked.done():
                    asked.set_result(None)
            log.info("%s, in term %d", _standing_text(ready.standing), self.status.term)

    def _truncate(self) -> None:
        """Forget what everybody has, and more of it where somebody is too far behind."""
        kept = self._pace.log_bytes_kept
        if self._store.log.byte_count > kept:
            live = [progress.match for node, progress in self.status.members.items() if node != self.status.node]
            self._store.log.truncate(self._ticks, live, kept)

    # Clocks

    def _compare_clocks(self) -> None:
        status = self.status
        voters = status.configuration.all_voters()
        state = self._check.state(status.node, voters, self._clock.now_ns())
        if state is not self.clock_state:
            offset = self._check.offset_ns(status.node, voters, self._clock.now_ns())
            level = logging.WARNING if state is ClockState.WRONG else logging.INFO
            ahead = "of too few is known" if offset is None else f"is {-offset / 1e9:+.3f} s from the others'"
            log.log(level, "this node's clock %s: %s", ahead, state.value)
        self.clock_state = state
        self._node.set_clock(state)

    def gauges(self) -> Mapping[str, float]:
        """Metrics by name. The offset is how far the median of the voters' clocks is ahead; NaN while unknown."""
        status = self.status
        offset = self._check.offset_ns(status.node, status.configuration.all_voters(), self._clock.now_ns())
        return {
            "raft_term": status.term,
            "raft_leads": float(status.role is Role.LEADER),
            "raft_committed_index": status.committed,
            "raft_applied_index": self.applied,
            "raft_log_bytes": self._store.log.byte_count,
            "raft_dropped_total": self.dropped,
            "raft_clients": len(self._feeding),
            "raft_snapshots_sending": self._dispatch.sending_count,
            "raft_snapshot_bytes_sent_total": self._dispatch.bytes_sent,
            "raft_snapshot_seconds": self._dispatch.last_s,
            "raft_snapshot_bytes_arrived": self._arrival.byte_count,
            "clock_offset_seconds": float("nan") if offset is None else offset / 1e9,
            "clock_state": _CLOCK_STATES[self.clock_state],
        }


def _standing_text(standing: Standing) -> str:
    """For the log: who leads the metadata."""
    if standing.role is Role.LEADER:
        return "this node leads the metadata"
    if standing.leader:
        return f"node {standing.leader} leads the metadata"
    asks = "" if standing.role is Role.FOLLOWER else ": this node asks the others for their votes"
    return f"nobody leads the metadata{asks}"
