"""A node's replicas on the event loop of the group: time, messages in and out, and what is asked of the metadata.

The replicas themselves are in the committer's thread (``host``): what happens here is put to them, and a turn of theirs
is asked for if none is waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial

from tsdb.clock import Clock
from tsdb.cluster.metadata.clients import TTL_NS_MIN
from tsdb.cluster.metadata.commands import Action
from tsdb.cluster.metadata.records import NAMES, ClientSession, Interval, LocationRecord, Ring
from tsdb.cluster.metadata.state import Change, State
from tsdb.cluster.operations import locations_text, name_of
from tsdb.cluster.replicas.comparing import Comparing
from tsdb.cluster.replicas.host import Host
from tsdb.cluster.replicas.lead_log import LeadLog
from tsdb.cluster.replicas.marks import Marked
from tsdb.cluster.replicas.moving import Followers, changes, heirs_by_goal, heirs_of
from tsdb.cluster.replicas.ops import point_sequence
from tsdb.cluster.replicas.packets import packets, unpack
from tsdb.cluster.replicas.records import shared_locations, spread_locations
from tsdb.cluster.replicas.refreshing import Shown
from tsdb.cluster.replicas.requests import actions_of
from tsdb.cluster.replicas.rounds import Rounds
from tsdb.cluster.replicas.sharing import Propose, Sharing, beginning
from tsdb.cluster.replication.messages import Message
from tsdb.cluster.replication.ops import WRITES, Op
from tsdb.cluster.replication.record import Diverged, Request
from tsdb.cluster.replication.replica import Counters
from tsdb.errors import AdminShutdown, TsdbError
from tsdb.storage.decoded import Logged
from tsdb.storage.engine import Engine

log = logging.getLogger(__name__)

TICK_S = 0.1
LOOK_TICKS = 10
"""So often is looked whether learners have caught up, and what of this node's points is to go."""
FORGET_TICKS = 600
"""So often is looked whose sessions have ended."""
INBOX_BYTES_MAX = 128 << 20
"""Of messages that wait for the replicas; then peers wait."""
ASKED_MAX = 100_000
"""Requests that wait for the metadata; what is not asked now is asked again later."""


class NodeCounters(Counters):
    """The counters that the engine gives to points of this node as well."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.node = engine.node

    @property
    def last(self) -> int:
        return self._engine.last_counter

    @last.setter
    def last(self, counter: int) -> None:
        self._engine.raise_counter(counter)


class ReplicaDriver:
    """``offer(node, packet)`` sends it or drops it; ``propose`` has the metadata changed. Both on the event loop."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        offer: Callable[[int, bytes], bool],
        propose: Propose,
        state: Callable[[], State],
        abort: Callable[[str], None],
        log_bytes: int,
        marker_s: float,
        check_s: float,
        producer_s: float,
    ) -> None:
        """Raises DataCorrupted."""
        self._engine = engine
        self._clock = clock
        self._loop = loop
        self._offer = offer
        self._propose = propose
        self._state = state
        self._abort = abort
        self._log_bytes = log_bytes
        self._inbox: deque[tuple[int, list[Message]]] = deque()
        self._inbox_bytes = 0
        self._room = asyncio.Event()
        self._turning = False
        self._ticks_due = 0
        self._requests: dict[tuple[type, int], Request] = {}
        self._asked = asyncio.Event()
        self.packets_dropped = 0
        self._ticks = 0
        self._leaving: Collection[int] = ()
        self._leaving_arcs: Mapping[tuple[int, int], Collection[int]] = {}
        self._followers: Followers = {}
        self.host: Host
        self._lead_log = LeadLog(engine.node)
        self.shown = Shown(engine, lambda location: self.host.find(location))
        self._sharing = Sharing(engine, state, propose, max(int(producer_s * 10**9), TTL_NS_MIN))
        self.comparing = Comparing(engine, clock, lambda: self.host, marker_s, check_s)
        engine.call(self._begin)
        self.rounds = Rounds(engine.node, self.host, loop, offer)

    def _begin(self) -> None:
        self.host = Host(
            self._engine.records,
            self._engine.node,
            NodeCounters(self._engine),
            self,
            kept_bytes=self._log_bytes,
            own=lambda record, database: beginning(self._engine, self._state(), record, database),
        )
        self._engine.host(self.host, ())
        self.told(self._state(), ())

    # What the metadata say, in the committer's thread

    def told(self, state: State, changes: Sequence[Change]) -> None:
        """What was applied; with nothing: at a start, and after a snapshot."""
        self.shown.told(state, changes)
        if not changes or any(change.name == NAMES[Ring] for change in changes):
            self._sharing.stop(state)
        if changes and all(change.name not in (NAMES[LocationRecord], NAMES[Ring]) for change in changes):
            if self.host.locations:
                self._turn_soon()
            return
        shared = shared_locations(state)
        if changes:
            changed = {change.number for change in changes if change.name == NAMES[LocationRecord]}
            self._lead_log.look({number: shared[number][0] if number in shared else None for number in changed})
            rings = {change.number for change in changes if change.name == NAMES[Ring]}
            shared = {at: known for at, known in shared.items() if at in changed or known[0].database in rings}
        else:
            self._lead_log.start(record for record, _ in shared.values())
            self._drop_unknown(shared)
        self._learn(state, shared)
        if shared:
            self._turn_soon()

    def _learn(self, state: State, shared: Mapping[int, tuple[LocationRecord, Interval]]) -> None:
        self._engine.host(self.host, self.host.learn(shared, spread_locations(state)))

    def _drop_unknown(self, known: Mapping[int, object]) -> None:
        gone = [location for location in self.host.known if location not in known]
        if gone:
            batch = self._engine.records.batch()
            self.host.drop(batch, gone)
            self._engine.records.write(batch, sync=False)

    def _turn_soon(self) -> None:
        self._loop.call_soon_threadsafe(self._turn)

    # The tasks, on the event loop

    async def run(self) -> None:
        tasks = [asyncio.create_task(each) for each in (self._ask_metadata(), self._look(), self.comparing.run())]
        try:
            while True:
                await asyncio.sleep(TICK_S)
                for task in tasks:
                    if task.done():
                        task.result()
                if self.host.known:
                    self._ticks_due += 1
                    self._turn()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def arrived(self, peer: int, payload: memoryview) -> None:
        """A packet of another node. Until it returns its sender's credit is used up by it. Raises ProtocolViolation."""
        messages = unpack(payload, peer, self._engine.node)
        while self._inbox_bytes and self._inbox_bytes + len(payload) > INBOX_BYTES_MAX:
            self._room.clear()
            await self._room.wait()
        self._inbox.append((len(payload), messages))
        self._inbox_bytes += len(payload)
        self._turn()

    def _turn(self) -> None:
        """One at a time is asked for; what comes meanwhile is for the next."""
        if self._turning:
            return
        self._turning = True
        inbox, self._inbox = self._inbox, deque()
        # After a pause there is no use in ticks for all of it.
        ticks, self._ticks_due = min(self._ticks_due, 1), 0
        done = self._engine.turn(lambda: self._feed(inbox, ticks))
        size = sum(each for each, _ in inbox)
        done.add_done_callback(lambda future: self._turned_elsewhere(future, size))

    def _feed(self, inbox: Iterable[tuple[int, list[Message]]], ticks: int) -> None:
        """In the committer's thread."""
        self.host.wake()
        for _, messages in inbox:
            self.host.step(messages)
        self.shown.look()
        if ticks:
            self.host.tick(self._clock.now_ns())
            self._ticks += 1
            if self._ticks % LOOK_TICKS == 0:
                self._leaving, self._followers = self.host.left.leaving, self.host.followers()
                self._leaving_arcs = self.host.left.leaving_arcs
            if self._ticks % FORGET_TICKS == 0:
                state = self._state()
                sessions = state.tables[ClientSession]
                self.host.forget_clients(lambda client: client in sessions, state.group.applied)

    def _turned_elsewhere(self, future: Future[None], size: int) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._turned, future, size)

    def _turned(self, future: Future[None], size: int) -> None:
        error = future.exception()
        if error is not None and not isinstance(error, AdminShutdown):
            log.error("a turn of the replicas failed", exc_info=error)
            self._abort(f"the replicas of this node failed: {type(error).__name__}: {error}")
        self._turning = False
        self._inbox_bytes -= size
        self._room.set()
        if self._inbox or self._ticks_due:
            self._turn()

    # ``around.Surroundings``, in the committer's thread

    def state(self) -> State:
        return self._state()

    def schema(self) -> int:
        return self._engine.catalog.version

    def apply(self, ops: Sequence[tuple[int, Op]]) -> None:
        self._engine.apply(
            [
                Logged(
                    f"op {op.sequence} of location {location}", op.kind, point_sequence(op), op.rows, op.body, location
                )
                for location, op in ops
                if op.kind in WRITES
            ]
        )
        self.shown.look()

    def marked(self, marks: Sequence[Marked]) -> None:
        self.comparing.marked(marks)

    def send(self, messages: Sequence[Message]) -> None:
        if messages:
            self._loop.call_soon_threadsafe(self._send, packets(messages))

    def ask(self, requests: Sequence[Request]) -> None:
        for request in requests:
            if isinstance(request, Diverged):
                self.comparing.differs(request)
        self._loop.call_soon_threadsafe(self._take_requests, requests)

    # On the event loop

    def _send(self, by_node: Mapping[int, Sequence[bytes]]) -> None:
        for node, those in by_node.items():
            for packet in those:
                if not self._offer(node, packet):
                    self.packets_dropped += 1

    def _take_requests(self, requests: Sequence[Request]) -> None:
        for request in requests:
            if len(self._requests) < ASKED_MAX:
                self._requests[type(request), request.location] = request
        self._asked.set()

    async def _ask_metadata(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            requests, self._requests = self._requests, {}
            for action in actions_of(self._state(), requests.values()):
                await self._try_to(action)

    async def _try_to(self, action: Action) -> None:
        try:
            await self._propose(action)
        except TsdbError as error:
            log.info("the metadata have refused a change that this node asked for: %s", error.message)

    async def _look(self) -> None:
        """What only this node has becomes shared; voters of what is led here come and go; points of replicas that left
        this node go."""
        while True:
            await asyncio.sleep(LOOK_TICKS * TICK_S)
            if self._lead_log.has_news:
                self._engine.turn(lambda: self._lead_log.say(self._state()))
            await self._sharing.look()
            found = changes(self._state(), self._engine.node, self._followers)
            heirs = heirs_by_goal(self._state(), self._engine.node, self._followers)
            self._followers = {}
            if heirs:
                self._engine.turn(partial(self.host.hand_over, heirs))
            for action in found:
                await self._try_to(action)
            for database in self._leaving:
                await self._loop.run_in_executor(None, self._forget_points, database)
            for (database, _), locations in self._leaving_arcs.items():
                await self._loop.run_in_executor(None, self._forget_arc, database, locations)
            self._leaving, self._leaving_arcs = (), {}

    def _forget_points(self, database: int) -> None:
        """In a thread of its own. What is in a head is flushed first, or it would come back with the next flush."""
        try:
            self._engine.flush()
            self._engine.turn(lambda: self._points_go(database)).result()
        except AdminShutdown:
            return

    def _points_go(self, database: int) -> None:
        """In the committer's thread. If it cannot be now, it is tried again."""
        if database not in self.host.left.leaving:
            return
        if self._engine.forget_points(database, lambda batch: self.host.left.forget_database(batch, database)):
            log.info("the points of %s are gone from this node", name_of(self._state(), database))
            self._learn_again(database)

    def _learn_again(self, database: int) -> None:
        state = self._state()
        shared = {number: known for number, known in shared_locations(state).items() if known[0].database == database}
        self._learn(state, shared)

    def _forget_arc(self, database: int, locations: Collection[int]) -> None:
        """In a thread of its own: their points are masked, and gone when compaction has carried that out."""
        try:
            self._engine.turn(lambda: self._arc_goes(database, locations)).result()
        except AdminShutdown:
            return

    def _arc_goes(self, database: int, locations: Collection[int]) -> None:
        """In the committer's thread."""
        left = self.host.left
        if locations not in left.leaving_arcs.values():
            return
        if not left.is_masked(locations):
            self._engine.mask_locations(database, locations)
            left.mask(locations)
        if left.is_wanted(locations):
            self._engine.hurry_masks(database, locations)
        if not self._engine.is_masked(database, locations):
            batch = self._engine.records.batch()
            left.forget(batch, locations)
            self._engine.records.write(batch, sync=True)
            log.info("%s of %s have left this node", locations_text(len(locations)), name_of(self._state(), database))
            self._learn_again(database)

    # On the event loop

    async def hand_over(self, answering: Collection[int]) -> Collection[int]:
        """Have locations that are led here led by others, who are among those that answer, in two stages. Which they
        are, also while they are on their way: some at a time."""
        heirs: dict[int, int] = {}

        def begin() -> None:
            heirs.update(heirs_of(self._state(), self._engine.node, self.host.followers(), answering))
            self.host.hand_over(heirs)

        await asyncio.wrap_future(self._engine.turn(begin))
        return heirs.keys()

    def gauges(self) -> Mapping[str, float]:
        """Metrics by name."""
        found = self._engine.call(self.host.gauges)
        return {**found, **self.comparing.gauges(), "replica_packets_dropped_total": self.packets_dropped}
