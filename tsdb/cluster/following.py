"""Follows what a group commits without being in it: how a router gets the ring map. The edge of ``ClientLearner``.

It knows addresses of members, and follows one at a time, over one connection; when that one says nothing for long it
goes to the next, and goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from tsdb.clock import Clock
from tsdb.cluster.pieces import Begin, End, Piece, Receiving, What, decode
from tsdb.cluster.raft.clients import ClientLearner, Feed, FeedMessage, FeedSnapshot
from tsdb.cluster.raft.entries import Entry, EntryKind, Snapshot
from tsdb.cluster.transport import codec
from tsdb.cluster.transport.connection import Arrived, RoundTrip
from tsdb.cluster.transport.counts import Counts
from tsdb.cluster.transport.dialer import Dialer
from tsdb.cluster.transport.frames import Kind
from tsdb.cluster.transport.greeting import SOMEBODY, Identity, Purpose
from tsdb.cluster.transport.limits import SETTINGS, Settings
from tsdb.cluster.transport.members import Member
from tsdb.cluster.transport.queue import Waiting
from tsdb.cluster.transport.tls import NodeTls
from tsdb.errors import ProgramLimitExceeded, ProtocolViolation

log = logging.getLogger(__name__)

VERSION = 1
TELL_EVERY = 16
"""Pieces of a state after which its sender hears that somebody takes them."""


class Mirror(Protocol):
    """Who keeps what the group keeps."""

    def install(self, snapshot: Snapshot) -> None:
        """Become what a snapshot says."""
        ...

    def apply(self, index: int, command: bytes) -> None:
        """The next command; indexes rise, and those between are none of the state machine's."""
        ...


class Following:
    """``run`` is its task. ``me``: the certificate's name and an id of the process; the cluster may be unknown."""

    def __init__(
        self,
        me: Identity,
        tls: NodeTls,
        addresses: Sequence[tuple[str, int]],
        mirror: Mirror,
        clock: Clock,
        chance: Callable[[], float],
        tick_s: float = 0.1,
        settings: Settings = SETTINGS,
        index: int = 0,
    ) -> None:
        """``index``: what the mirror has already."""
        self._me = me
        self._tls = tls
        self._addresses = dict(enumerate(addresses, 1))
        self._mirror = mirror
        self._clock = clock
        self._chance = chance
        self._tick_s = tick_s
        self._settings = settings
        self._learner = ClientLearner(1, tuple(self._addresses), index)
        self._receiving = Receiving(goes_on=False)
        self._dialer: Dialer | None = None
        self._dialing: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._at = 0
        self._dials = 0
        self._pieces = 0
        self._changed = asyncio.Event()
        self.counts = Counts()

    @property
    def index(self) -> int:
        """How far the mirror is."""
        return self._learner.index

    @property
    def address(self) -> tuple[str, int]:
        """Of the member that is followed now."""
        return self._addresses[self._learner.following]

    async def wait_for(self, index: int) -> None:
        """Until the mirror is at an index."""
        while self.index < index:
            self._changed.clear()
            await self._changed.wait()

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                self._receiving.tick()
                self._send(self._learner.tick())
                await asyncio.sleep(self._tick_s)
        finally:
            self._leave()
            await asyncio.gather(*self._ending, return_exceptions=True)

    def _send(self, messages: Sequence[FeedMessage]) -> None:
        for message in messages:
            if message.to != self._at:
                self._go_to(message.to)
            assert self._dialer is not None, "somebody is dialed"
            # What cannot be sent is said again when nothing comes.
            self._dialer.offer(Waiting(Kind.RAFT, codec.encode(message, VERSION)))

    def _go_to(self, member: int) -> None:
        self._leave()
        self._at = member
        self._dials += 1
        host, port = self._addresses[member]
        self._dialer = Dialer(
            self._me, Member(SOMEBODY, host, port), Purpose.CLIENT, self._tls, self._settings, self._clock,
            self._chance, self.counts, self, partial(self._take, self._dials),
        )  # fmt: skip
        self._dialing = asyncio.create_task(self._dialer.run())

    def _leave(self) -> None:
        if self._dialer is None or self._dialing is None:
            return
        task = asyncio.create_task(_end(self._dialer, self._dialing))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        self._dialer = self._dialing = None

    # What comes

    async def _take(self, dials: int, arrived: Arrived) -> None:
        if dials != self._dials:
            return  # of one that it follows no more
        if arrived.kind is Kind.STREAM:
            found = self._part(arrived.payload)
            if found is None:
                return
            message: Feed | FeedSnapshot = found
        elif arrived.kind is Kind.RAFT:
            message = codec.decode_for_client(arrived.payload, VERSION)
        else:
            raise ProtocolViolation(f"a member sent one that follows it a message {arrived.kind.name}")
        # Members are known by their place in the list of addresses here.
        if isinstance(message, Feed):
            message = Feed(self._at, 1, message.session, message.previous, message.entries)
        else:
            message = FeedSnapshot(self._at, 1, message.session, message.snapshot)
        snapshot, entries, answers = self._learner.step(message)
        if snapshot is not None:
            self._mirror.install(snapshot)
        for entry in entries:
            self._apply(entry)
        self._changed.set()
        self._send(answers)

    def _apply(self, entry: Entry) -> None:
        if entry.kind is EntryKind.NORMAL and entry.body:
            self._mirror.apply(entry.index, entry.body)

    def _part(self, payload: memoryview) -> FeedSnapshot | None:
        assert self._dialer is not None
        part, source = decode(payload), self._dialer.session
        self._learner.heard()
        what: What | None = None
        try:
            if isinstance(part, Begin):
                self._receiving.begin(source, part)
            elif isinstance(part, Piece):
                self._receiving.piece(source, part)
                self._pieces += 1
                if self._pieces % TELL_EVERY == 0:
                    self._send([self._learner.still_there()])
            elif isinstance(part, End):
                found = self._receiving.end(source, part)
                what = found[0] if found is not None else None
        except ProgramLimitExceeded as error:
            raise ProtocolViolation(str(error)) from None
        if what is not None and not isinstance(what, FeedSnapshot):
            raise ProtocolViolation("a member sent one that follows it what is for members")
        return None if what is None else codec.in_range(what, "a member")

    # What the dialer says (``dialer.Owner``)

    def lost(self, peer: int, messages: list[Waiting]) -> None:
        """What was on its way is over: the learner goes on with the next member, or this one."""

    def opened(self, peer: int, purpose: Purpose) -> None:
        """Now it can be asked."""
        self._send([self._learner.begin()])

    def tripped(self, peer: int, trip: RoundTrip) -> None:
        pass


async def _end(dialer: Dialer, dialing: asyncio.Task[None]) -> None:
    await dialer.stop("it follows another one now, or nobody")
    dialing.cancel()
    await asyncio.gather(dialing, return_exceptions=True)
