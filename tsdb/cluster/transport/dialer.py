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
from tsdb.cluster.transport.connection import Connection, Opened, RoundTrip
from tsdb.cluster.transport.counts import Counts
from tsdb.cluster.transport.frames import Octets
from tsdb.cluster.transport.greeting import OF_MEMBERS, Identity, Purpose, Refused
from tsdb.cluster.transport.limits import Settings
from tsdb.cluster.transport.link import FAILURES, Link, Take, TakeAtOnce, now_of, open_streams
from tsdb.cluster.transport.members import Member
from tsdb.cluster.transport.outbox import Outbox
from tsdb.cluster.transport.queue import Waiting
from tsdb.cluster.transport.tls import NodeTls, certified
from tsdb.errors import ProtocolViolation

log = logging.getLogger(__name__)


class Owner(Protocol):
    """Who hears what became of messages. Called from the event loop, never from within ``offer``."""

    def lost(self, peer: int, messages: list[Waiting]) -> None:
        """They waited when their connection ended, or were on their way."""
        ...

    def opened(self, peer: int, purpose: Purpose) -> None: ...

    def tripped(self, peer: int, trip: RoundTrip) -> None: ...


class Dialer:
    """``run`` is its task. ``offer`` drops what has no room, ``stream`` waits for room. ``take``: of a guest, and
    ``take_at_once`` of a line."""

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
        take: Take | None = None,
        take_at_once: TakeAtOnce | None = None,
    ) -> None:
        answered = take is not None or take_at_once is not None
        assert answered is (purpose not in OF_MEMBERS), "guests and lines alone are answered over what they dialed"
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
        self._take, self._take_at_once = take, take_at_once
        self._outbox = Outbox(str(peer.identity), settings.limits_of(purpose).queue_bytes_max, counts)
        self.version = 0
        self._nudged = asyncio.Event()
        self._told = ""

    @property
    def is_open(self) -> bool:
        return self._outbox.is_open

    @property
    def session(self) -> int:
        """Counts connections: what belongs to an earlier one is over."""
        return self._outbox.session

    @property
    def waiting_bytes(self) -> int:
        return self._outbox.waiting_bytes

    def offer(self, message: Waiting) -> bool:
        """As ``Outbox.offer``."""
        return self._outbox.offer(message)

    def offer_at_once(self, payload: Octets) -> bool:
        """As ``Outbox.offer_at_once``."""
        return self._outbox.offer_at_once(payload)

    async def next_session(self) -> int:
        """The number of the connection that is open, as soon as there is one."""
        return await self._outbox.next_session()

    async def stream(self, session: int, payload: Octets, after_bytes_max: int | None = None) -> None:
        """Send a message of a log stream (``Outbox.stream``). Raises StreamBroken, ProgramLimitExceeded."""
        await self._outbox.stream(session, payload, after_bytes_max)

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
        if self._outbox.link is not None:
            await self._outbox.link.stop(why)

    async def _attempt(self) -> int:
        """One connection from its beginning to its end; how long to wait before the next one."""
        try:
            link, opened = await dial(
                self._me, self.peer, self._purpose, self._tls, self._settings, self._clock, self._counts
            )
        except FAILURES as error:
            self._counts.failures += 1
            self._tell(error)
            return self._back_off.last_ns() if isinstance(error, Refused) else self._back_off.next_ns()
        self._told = ""
        self._counts.connects += 1
        self.version = opened.version
        self._outbox.open(link)
        log.info("connected to %s for %s", self.peer.identity, self._purpose.name.lower())
        self._owner.opened(self.peer.identity.node, self._purpose)
        began_ns = time.monotonic_ns()
        try:
            await link.run(self._take, self._outbox.refill, self._tripped, self._take_at_once)
        except FAILURES as error:
            log.info("the connection to %s ended: %s", self.peer.identity, _text(error))
        finally:
            self._owner.lost(self.peer.identity.node, self._outbox.close())
        if time.monotonic_ns() - began_ns > self._settings.times.dial_again_ns_max:
            self._back_off.reset()
        return self._back_off.next_ns()

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


async def dial(
    me: Identity, peer: Member, purpose: Purpose, tls: NodeTls, settings: Settings, clock: Clock, counts: Counts
) -> tuple[Link, Opened]:
    """A connection that has greeted. Raises one of ``FAILURES``."""
    loop = asyncio.get_running_loop()
    context = tls.dialing
    try:
        reader, writer = await open_streams(
            lambda factory: loop.create_connection(factory, peer.host, peer.port, ssl=context), settings.times
        )
    except (ValueError, OverflowError) as error:
        raise OSError(f"nobody can be at {peer.host!r}, port {peer.port}: {error}") from None
    names = certified(writer.get_extra_info("peercert") or {})
    connection = Connection.dial(me, peer.identity, purpose, names, now_of(clock), settings)
    link = Link(connection, reader, writer, clock, settings.times, counts)
    return link, await link.greet()


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
