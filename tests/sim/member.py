"""One node of the simulated world: a process that drives the core, on a machine with a disk and a clock."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING

from tests.sim.disk import Disk
from tests.sim.odds import TICK
from tsdb.cluster.pieces import Receiving
from tsdb.cluster.raft.entries import Configuration
from tsdb.cluster.raft.messages import Applied, Apply, Message, Store, Stored
from tsdb.cluster.raft.node import Node, PeerUnknown
from tsdb.cluster.raft.ready import Ready
from tsdb.cluster.raft.state import ProposalDropped
from tsdb.cluster.raft_store import RaftStore

if TYPE_CHECKING:
    from tests.sim.world import World

GROUP = 1


class Crashed(Exception):
    """The process is gone in the middle of its work."""


class Member:
    """A machine and, while it is up, the process on it. Events of an earlier ``life`` are void."""

    def __init__(self, world: World, node: int) -> None:
        self.world = world
        self.id = node
        self.disk = Disk()
        self.life = 0
        self.up = False
        self.gone = False
        """Its disk was lost, so it never comes back under this id."""
        drift = world.odds.drift
        self.tick_length = TICK * world.chance.uniform(1 - drift, 1 + drift)
        self.asynchronous = bool(world.odds.settings["asynchronous"])

    # Life

    def bootstrap(self, configuration: Configuration) -> None:
        """The group begins, with this member in it."""
        RaftStore(self.disk, GROUP, self.world.machine(self.disk)).bootstrap(configuration)

    def start(self) -> None:
        if self.up or self.gone:
            return
        self.life += 1
        self.up = True
        self.busy = False
        self.waiting: deque[Message] = deque()
        self.stores: deque[Store] = deque()
        self.applies: deque[Apply] = deque()
        self.storing = self.applying = False
        self.receiving = Receiving(patience_ticks=self.world.odds.forget_ticks)
        self.machine = self.world.machine(self.disk)
        self.store = RaftStore(self.disk, GROUP, self.machine)
        settings = self.world.odds.settings_of(self.id)
        self.node = Node(settings, self.store, self.world.chance.randrange, applied=self.store.applied)
        self.world.checks.started(self)
        self.world.later(self.world.chance.uniform(0, self.tick_length), self._tick, self)

    def crash(self) -> None:
        """The process dies and what it had not synced is lost, or some of it."""
        if self.up:
            self.up = False
            self.life += 1
            self.disk.crash(self.world.chance)

    def _tick(self) -> None:
        self.receiving.tick()
        if not self.busy:
            self._feed(self.node.tick)
        self.world.later(self.tick_length, self._tick, self)

    # In

    def receive(self, message: Message) -> None:
        if not self.up:
            return
        if self.busy:
            self.waiting.append(message)
            return
        self._feed(lambda: self._step(message))

    def ask(self, what: object) -> bool:
        """Do something with the node, for a client; False if it did not take it."""
        assert callable(what)
        if not self.up or self.busy:
            return False
        taken = True
        try:
            what()
        except ProposalDropped:
            taken = False
        self._feed(lambda: None)
        return taken

    def snapshot_ended(self, to: int, arrived: bool) -> None:
        """What became of a snapshot."""
        if self.busy:
            self.world.later(TICK, lambda: self.snapshot_ended(to, arrived), self)
        else:
            self._feed(lambda: self.node.report_snapshot(to, arrived))

    def _step(self, message: Message | Stored | Applied) -> None:
        # As a process would: counted and forgotten.
        with contextlib.suppress(ProposalDropped, PeerUnknown):
            self.node.step(message)

    def _feed(self, work: object) -> None:
        assert callable(work)
        try:
            work()
            self.world.checks.stepped(self)
            self._drain()
        except Crashed:
            self.crash()

    # Out

    def _drain(self) -> None:
        while self.up and not self.busy and self.node.has_ready():
            ready = self.node.ready()
            self._carry_out(ready)
        if self.up and not self.busy and self.waiting:
            self.world.later(0, self._next_waiting, self)

    def _next_waiting(self) -> None:
        if self.waiting and not self.busy:
            message = self.waiting.popleft()
            self._feed(lambda: self._step(message))

    def _carry_out(self, ready: Ready) -> None:
        self.world.send(self, ready.messages_at_once)
        for read in ready.read_states:
            self.world.read_is_at(self, read.context, read.index)
        if self.asynchronous:
            if ready.store is not None:
                self.stores.append(ready.store)
                self._begin_store()
            if ready.apply is not None:
                self.applies.append(ready.apply)
                self._begin_apply()
            return
        self._write(ready.state, ready.entries, ready.snapshot, ready.must_sync)
        slow = self.world.slowness()
        if slow:
            self.busy = True
            self.world.later(slow, lambda: self._finish_feed(ready), self)
        else:
            self._finish(ready)

    def _finish_feed(self, ready: Ready) -> None:
        self.busy = False
        self._feed(lambda: self._finish(ready))

    def _finish(self, ready: Ready) -> None:
        self.world.send(self, ready.messages)
        self._apply(ready.committed)
        self.node.advance()
        self.world.checks.stepped(self)

    def _write(self, state: object, entries: object, snapshot: object, sync: bool) -> None:
        odds = self.world.odds_now("crash_in_write")
        if odds and self.world.chance.random() < odds:
            raise Crashed
        self.store.write(state, entries, snapshot, sync)  # type: ignore[arg-type]
        if odds and self.world.chance.random() < odds:
            raise Crashed

    def _apply(self, entries: tuple[object, ...]) -> None:
        if entries:
            self.store.apply(self.node, entries)  # type: ignore[arg-type]
            self.world.checks.applied(self)
            self.world.has_applied(self)

    # The two workers of an asynchronous node

    def _begin_store(self) -> None:
        if self.stores and not self.storing:
            self.storing = True
            self.world.later(self.world.slowness(), lambda: self._feed(self._end_store), self)

    def _end_store(self) -> None:
        store = self.stores.popleft()
        self.storing = False
        was = self.store.log.state or (0, 0, 0)
        voted = store.state is not None and (store.state.term, store.state.vote) != was[:2]
        self._write(store.state, store.entries, store.snapshot, bool(store.entries) or voted)
        for reply in store.replies:
            if reply.to == self.id:
                self.world.checks.said_to_itself(self, reply)
                self._step(reply)
            else:
                self.world.send(self, (reply,))  # type: ignore[arg-type]
        if store.snapshot is not None:
            self.world.has_applied(self)
        self._begin_store()

    def _begin_apply(self) -> None:
        if self.applies and not self.applying:
            self.applying = True
            self.world.later(self.world.slowness(), lambda: self._feed(self._end_apply), self)

    def _end_apply(self) -> None:
        apply = self.applies.popleft()
        self.applying = False
        self._apply(apply.entries)
        self._step(apply.reply)
        self._begin_apply()
