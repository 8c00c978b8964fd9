"""What a node starts to talk to the others: a port, two connections to each member, and lines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeAlias

from tsdb.clock import Clock
from tsdb.cluster.raft.clients import FeedMessage, Follow, Followed
from tsdb.cluster.raft.messages import Message
from tsdb.cluster.transport import codec
from tsdb.cluster.transport.connection import Arrived, Opened, RoundTrip
from tsdb.cluster.transport.counts import Counts
from tsdb.cluster.transport.dialer import Dialer
from tsdb.cluster.transport.frames import Kind, Octets
from tsdb.cluster.transport.greeting import OF_MEMBERS, Identity, Purpose
from tsdb.cluster.transport.guests import Guest
from tsdb.cluster.transport.limits import CONTROL_MESSAGE_BYTES_MAX, SETTINGS, Settings
from tsdb.cluster.transport.lines import Lines
from tsdb.cluster.transport.listener import Listener, Operated
from tsdb.cluster.transport.members import Member
from tsdb.cluster.transport.queue import Waiting
from tsdb.cluster.transport.tls import NodeTls
from tsdb.errors import ProtocolViolation, StartupError

log = logging.getLogger(__name__)

CERTIFICATE_CHECK_S = 5.0

AtOnce: TypeAlias = Callable[[int, memoryview], bool]
"""Given a peer and what it says, whether that is done with. It may be called in the middle of whatever does not wait.
Raises ProtocolViolation."""


Answer: TypeAlias = Callable[[int, memoryview], bytes]
"""Given a peer and what it asks over its line, the answer. As ``AtOnce``."""


class Receiver(Protocol):
    """Who gets what arrives. All of it is called from the event loop."""

    async def raft(self, message: Message) -> None:
        """A message for this node. Until it returns its sender's credit is used up by it."""
        ...

    async def stream(self, peer: int, session: int, payload: memoryview) -> None:
        """The next message of a peer's log stream; another ``session`` is another stream."""
        ...

    def unreachable(self, peer: int) -> None:
        """Raft messages to it were lost: what ``raft.node.Node.report_unreachable`` is for."""
        ...

    def round_trip(self, peer: int, trip: RoundTrip) -> None:
        """A ping was answered: what ``raft.clock_check.ClockCheck.sample`` is for."""
        ...

    async def client(self, guest: Guest, message: Follow | Followed) -> None:
        """Of one that follows what is committed; it is answered by ``Transport.feed`` and ``Guest.send``."""
        ...

    def client_left(self, guest: Guest) -> None: ...


class LogStream:
    """Messages to one peer, in order and without loss until it is broken (``outbox.StreamBroken``)."""

    def __init__(self, dialer: Dialer, session: int) -> None:
        self._dialer = dialer
        self.session = session
        """Which of the connections to that peer it is."""

    async def send(self, payload: Octets, after_bytes_max: int | None = None) -> None:
        """Returns when there was room for it in the queue, behind so many bytes at most.

        Raises StreamBroken, ProgramLimitExceeded.
        """
        await self._dialer.stream(self.session, payload, after_bytes_max)


class Transport:
    """All connections of a node. ``chance`` draws from [0, 1), for the waits between dials."""

    def __init__(
        self,
        me: Identity,
        tls: NodeTls,
        receiver: Receiver,
        clock: Clock,
        chance: Callable[[], float],
        settings: Settings = SETTINGS,
        operated: Operated | None = None,
        at_once: AtOnce | None = None,
        answer: Answer | None = None,
    ) -> None:
        """``operated`` answers operators; without it they are sent away. ``at_once`` is offered each message of a log
        stream as soon as it is here, also before earlier ones that still wait for the receiver. ``answer``: over
        lines."""
        if tls.name != me.name:
            raise StartupError(f"the certificate is of node {tls.name}, and this is {me.name}")
        self.me = me
        self.counts = Counts()
        # Of other threads.
        self._lines: list[tuple[Lines, Counts]] = []
        self._tls = tls
        self._receiver = receiver
        self._at_once = at_once
        self._answer = answer
        self._clock = clock
        self._chance = chance
        self._settings = settings
        self._members: dict[int, Member] = {}
        self._identities: dict[int, Identity] = {}
        self._dialers: dict[tuple[int, Purpose], Dialer] = {}
        self._tasks: dict[Dialer, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._renewal: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._listener = Listener(me, self._identities, tls, settings, clock, self.counts, self, operated)

    # Life

    async def start(self, host: str, port: int) -> None:
        """Listen; members are dialed as soon as they are known. Raises StartupError."""
        await self._listener.start(host, port)
        self._renewal = asyncio.create_task(self._renew())

    @property
    def port(self) -> int:
        return self._listener.port

    def set_members(self, members: Iterable[Member]) -> None:
        """Who is there, and where; this node may be among them. Who is not any more, or another one, is cut off.

        Nobody is dialed after ``stop``: what is applied meanwhile may still tell of members.
        """
        if self._is_stopped:
            return
        wanted = {member.identity.node: member for member in members if member.identity.node != self.me.node}
        for node, member in list(self._members.items()):
            if wanted.get(node) != member:
                self._forget(node, "it is no member under this identity and address any more")
        for node, member in wanted.items():
            if node not in self._members:
                self._members[node] = member
                self._identities[node] = member.identity
                self._dial(member)

    async def stop(self) -> None:
        """Say good-bye and close everything, for good. Can be called again."""
        self._is_stopped = True
        if self._renewal is not None:
            self._renewal.cancel()
        for node in list(self._members):
            self._forget(node, "the node is stopped")
        await asyncio.gather(*self._ending, self._listener.stop("the node is stopped"), return_exceptions=True)

    def _dial(self, member: Member) -> None:
        for purpose in OF_MEMBERS:
            dialer = Dialer(
                self.me, member, purpose, self._tls, self._settings, self._clock, self._chance, self.counts, self
            )
            self._dialers[member.identity.node, purpose] = dialer
            self._tasks[dialer] = asyncio.create_task(dialer.run())

    def _forget(self, node: int, why: str) -> None:
        del self._members[node], self._identities[node]
        self.counts.round_trip_ns.pop(node, None)
        for lines, _ in self._lines:
            lines.forget(node)
        dialers = [self._dialers.pop((node, purpose)) for purpose in OF_MEMBERS]
        ending = asyncio.create_task(self._end(node, dialers, why))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _end(self, node: int, dialers: list[Dialer], why: str) -> None:
        ends = (self._listener.drop(node, why), *(dialer.stop(why) for dialer in dialers))
        await asyncio.gather(*ends, return_exceptions=True)
        tasks = [self._tasks.pop(dialer) for dialer in dialers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(CERTIFICATE_CHECK_S)
            self._tls.reload_if_changed()

    # Out

    def send(self, message: Message) -> bool:
        """Send one of Raft's messages to the node that it is for; False if it was dropped, and counted."""
        sent = self._offer(message)
        if not sent:
            self._dropped(message.to)
        return sent

    def _offer(self, message: Message) -> bool:
        control = self._dialers.get((message.to, Purpose.CONTROL))
        if control is None or not control.is_open:
            return False
        payload = codec.encode(message, control.version)
        waiting = Waiting(Kind.RAFT, payload)
        if len(payload) <= CONTROL_MESSAGE_BYTES_MAX:
            return control.offer(waiting)
        long = self._dialers[message.to, Purpose.LOG]
        return long.is_open and long.version == control.version and long.offer(waiting)

    async def open_stream(self, peer: int) -> LogStream:
        """A log stream to a member, as soon as it is connected. Raises KeyError for a node that is none."""
        dialer = self._dialers[peer, Purpose.LOG]
        return LogStream(dialer, await dialer.next_session())

    def session(self, peer: int) -> int:
        """The log stream to a member that is open now; 0 if there is none."""
        dialer = self._dialers.get((peer, Purpose.LOG))
        return dialer.session if dialer is not None and dialer.is_open else 0

    def offer(self, peer: int, payload: Octets) -> bool:
        """Send a message of the log stream that may be lost; False if there is no connection or no room."""
        dialer = self._dialers.get((peer, Purpose.LOG))
        return dialer is not None and dialer.offer_at_once(payload)

    def lines(self, said: Callable[[int, memoryview], None]) -> Lines:
        """Lines of the running event loop, which may be another one than this one's. ``said`` is given what each peer
        says there; it raises ProtocolViolation."""
        counts = Counts()

        def dialer(member: Member, owner: Lines) -> Dialer:
            def take(message: Arrived) -> bool:
                said(member.identity.node, message.payload)
                return True

            return Dialer(
                self.me, member, Purpose.ROUNDS, self._tls, self._settings, self._clock, self._chance, counts, owner,
                take_at_once=take,
            )  # fmt: skip

        lines = Lines(self._members.get, dialer)
        self._lines.append((lines, counts))
        return lines

    def is_connected(self, peer: int) -> bool:
        """Whether messages can be sent to it."""
        return all(
            (dialer := self._dialers.get((peer, purpose))) is not None and dialer.is_open for purpose in OF_MEMBERS
        )

    def gauges(self) -> Mapping[str, float]:
        """Metrics by name."""
        open_ = [dialer for dialer in self._dialers.values() if dialer.is_open]
        return {
            **self.counts.gauges([counts for _, counts in self._lines]),
            "transport_connections": len(open_),
            "transport_certificate_seconds_left": self._tls.seconds_left(self._clock.now_ns() / 1e9),
            "transport_waiting_bytes": sum(dialer.waiting_bytes for dialer in open_),
        }

    # What dialers say (``dialer.Owner``)

    def lost(self, peer: int, messages: list[Waiting]) -> None:
        if peer not in self._members:
            return
        for message in messages:
            if message.kind is Kind.RAFT:
                self._dropped(peer)
        self._soon(self._receiver.unreachable, peer)

    def opened(self, peer: int, purpose: Purpose) -> None:
        log.debug("node %d can be reached for %s", peer, purpose.name)

    def tripped(self, peer: int, trip: RoundTrip) -> None:
        self._receiver.round_trip(peer, trip)

    def _dropped(self, peer: int) -> None:
        self.counts.dropped += 1
        self._soon(self._receiver.unreachable, peer)

    @staticmethod
    def _soon(call: Callable[..., None], *arguments: object) -> None:
        """Not from within ``send``: its caller may be in the middle of a Ready."""
        asyncio.get_running_loop().call_soon(call, *arguments)

    @staticmethod
    def feed(guest: Guest, message: FeedMessage) -> bool:
        """Send to one that follows; False if it left, or does not read and has no room."""
        return guest.offer(Kind.RAFT, codec.encode(message, guest.version))

    # What the listener says (``listener.Host``)

    def accepted(self, opened: Opened) -> None:
        """Who dials is there: no need to wait with dialing it."""
        dialer = self._dialers.get((opened.peer.node, opened.purpose))
        if dialer is not None:
            dialer.nudge()

    async def member_said(self, opened: Opened, session: int, message: Arrived) -> None:
        peer = opened.peer.node
        if message.kind is Kind.STREAM:
            await self._receiver.stream(peer, session, message.payload)
        else:
            await self._receiver.raft(codec.decode(message.payload, opened.version, peer, self.me.node))

    def member_said_at_once(self, opened: Opened, message: Arrived) -> bool:
        if self._at_once is None or message.kind is not Kind.STREAM:
            return False
        return self._at_once(opened.peer.node, message.payload)

    def member_asked(self, opened: Opened, message: Arrived) -> bytes:
        if self._answer is None or message.kind is not Kind.STREAM:
            raise ProtocolViolation(f"{opened.peer} asks over a line what this node does not answer")
        return self._answer(opened.peer.node, message.payload)

    async def guest_said(self, guest: Guest, message: Arrived) -> None:
        if message.kind is not Kind.RAFT:
            raise ProtocolViolation(f"{guest} sent a message {message.kind.name}, which is not for it to send")
        await self._receiver.client(guest, codec.decode_of_client(message.payload, guest.version))

    def guest_left(self, guest: Guest) -> None:
        self._receiver.client_left(guest)
