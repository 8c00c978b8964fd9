"""Keeps a connection to one peer open, for one purpose, and sends over it what waits in its queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Protocol

from tsdb.clock import Clock
from tsdb.cluster.transport.backoff import BackOff
from tsdb.cluster.transport.connection import Connection, RoundTrip
from tsdb.cluster.transport.counts import Counts
from tsdb.cluster.transport.frames import Kind, Octets
from tsdb.cluster.transport.greeting import Identity, Purpose, Refused
from tsdb.cluster.transport.limits import Settings
from tsdb.cluster.transport.link import FAILURES, Link, now_of, open_streams
from tsdb.cluster.transport.members import Member
from tsdb.cluster.transport.queue import SendQueue, Waiting
from tsdb.cluster.transport.tls import NodeTls, certified
from tsdb.errors import ProgramLimitExceeded, ProtocolViolation

log = logging.getLogger(__name__)


class StreamBroken(Exception):
    """A log stream's connection ended: what was sent last may be lost, and the next stream begins anew."""


class Owner(Protocol):
    """Who hears what became of messages. Called from the event loop, never from within ``offer``."""

    def sent(self, peer: int, message: Waiting) -> None: ...

    def lost(self, peer: int, messages: list[Waiting]) -> None:
        """They waited when their connection ended, or were on their way."""
        ...

    def opened(self, peer: int, purpose: Purpose) -> None: ...

    def tripped(self, peer: int, trip: RoundTrip) -> None: ...


class Dialer:
    """``run`` is its task. ``offer`` drops what has no room, ``stream`` waits for room."""

    def __init__(
        self,
        me: Identity,
        peer: Member,
        purpose: Purpose,
        tls: NodeTls,
        settings: Settings,
        clock: Clock,
        chance: Callable[[], float],
        counts: Counts,
        owner: Owner,
    ) -> None:
        self._me = me
        self.peer = peer
        self._purpose = purpose
        self._tls = tls
        self._settings = settings
        self._clock = clock
        self._counts = counts
        self._owner = owner
        times = settings.times
        self._back_off = BackOff(times.dial_again_ns, times.dial_again_ns_max, chance)
        self._queue = SendQueue(settings.limits[purpose].queue_bytes_max)
        self._link: Link | None = None
        self._in_hand: Waiting | None = None
        self.session = 0
        """Counts connections: what belongs to an earlier one is over."""
        self.version = 0
        self._nudged = asyncio.Event()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._told = ""

    @property
    def is_open(self) -> bool:
        return self._link is not None

    @property
    def waiting_bytes(self) -> int:
        return self._queue.byte_count

    @property
    def message_bytes_max(self) -> int:
        """The longest message that the peer takes; 0 without a connection."""
        return self._link.connection.message_bytes_max if self._link is not None else 0

    def offer(self, message: Waiting) -> bool:
        """Send it after what waits already; False if there is no connection or no room."""
        link = self._link
        if link is None or len(message.payload) > self.message_bytes_max or not self._queue.put(message):
            return False
        link.wake()
        return True

    async def next_session(self) -> int:
        """The number of the connection that is open, as soon as there is one."""
        while self._link is None:
            await self._wait_for_change()
        return self.session

    async def stream(self, session: int, payload: Octets) -> None:
        """Send a message of a log stream, when there is room. Raises StreamBroken, ProgramLimitExceeded."""
        message = Waiting(Kind.STREAM, payload)
        # Those who wait get their turn in the order they came.
        async with self._turn:
            while True:
                if self._link is None or session != self.session:
                    raise StreamBroken(f"the connection to {self.peer.identity} ended")
                if len(payload) > self.message_bytes_max:
                    raise ProgramLimitExceeded(
                        f"a message of {len(payload)} bytes for {self.peer.identity}, which takes "
                        f"{self.message_bytes_max}"
                    )
                if self.offer(message):
                    return
                await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def nudge(self) -> None:
        """The peer is there: dial now instead of later."""
        self._nudged.set()

    async def run(self) -> None:
        """Dial, and dial again, until it is cancelled."""
        while True:
            self._nudged.clear()
            opened = self.session
            wait_ns = await self._attempt()
            if self.session > opened:
                # It was there, and what ended the connection may end the next one as soon: no nudge makes that better.
                await asyncio.sleep(wait_ns / 1e9)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_ns / 1e9):
                    await self._nudged.wait()

    async def stop(self, why: str) -> None:
        if self._link is not None:
            await self._link.stop(why)

    async def _attempt(self) -> int:
        """One connection from its beginning to its end; how long to wait before the next one."""
        try:
            link = await self._dial()
        except FAILURES as error:
            self._counts.failures += 1
            self._tell(error)
            return self._back_off.last_ns() if isinstance(error, Refused) else self._back_off.next_ns()
        began_ns = time.monotonic_ns()
        try:
            await link.run(refill=self._refill, on_trip=self._tripped)
        except FAILURES as error:
            log.info("the connection to %s ended: %s", self.peer.identity, _text(error))
        finally:
            self._lost()
        if time.monotonic_ns() - began_ns > self._settings.times.dial_again_ns_max:
            self._back_off.reset()
        return self._back_off.next_ns()

    async def _dial(self) -> Link:
        times = self._settings.times
        loop = asyncio.get_running_loop()
        host, port, context = self.peer.host, self.peer.port, self._tls.dialing
        try:
            reader, writer = await open_streams(
                lambda factory: loop.create_connection(factory, host, port, ssl=context), times
            )
        except (ValueError, OverflowError) as error:
            raise OSError(f"nobody can be at {self.peer.host!r}, port {self.peer.port}: {error}") from None
        names = certified(writer.get_extra_info("peercert") or {})
        connection = Connection.dial(
            self._me, self.peer.identity, self._purpose, names, now_of(self._clock), self._settings
        )
        link = Link(connection, reader, writer, self._clock, times, self._counts)
        opened = await link.greet()
        self._told = ""
        self._counts.connects += 1
        self.version = opened.version
        self.session += 1
        self._link = link
        self._changed.set()
        log.info("connected to %s for %s", self.peer.identity, self._purpose.name.lower())
        self._owner.opened(self.peer.identity.node, self._purpose)
        return link

    def _refill(self, connection: Connection) -> None:
        """Hand the core the next message. The one before it is in the socket's hands by now."""
        if self._in_hand is not None:
            sent, self._in_hand = self._in_hand, None
            self._counts.messages_sent += 1
            self._owner.sent(self.peer.identity.node, sent)
        first = self._queue.first
        if first is not None and connection.may_send(len(first.payload)):
            self._in_hand = self._queue.take()
            connection.send(first.kind, first.payload)
            self._changed.set()

    def _lost(self) -> None:
        self._link = None
        lost = self._queue.clear()
        if self._in_hand is not None:
            lost.insert(0, self._in_hand)
            self._in_hand = None
        self._changed.set()
        self._owner.lost(self.peer.identity.node, lost)

    def _tripped(self, trip: RoundTrip) -> None:
        self._counts.round_trip(self.peer.identity.node, trip.duration_ns)
        self._owner.tripped(self.peer.identity.node, trip)

    def _tell(self, error: BaseException) -> None:
        """Log why there is no connection, once for each reason."""
        text = _text(error)
        if text != self._told:
            self._told = text
            serious = isinstance(error, (Refused, ProtocolViolation))
            where = f"{self.peer.host}:{self.peer.port}"
            (log.warning if serious else log.info)("no connection to %s at %s: %s", self.peer.identity, where, text)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
