"""What one side of a connection has to send: a bounded queue, and the connection that is open now, if there is one."""

from __future__ import annotations

import asyncio

from tsdb.cluster.transport.connection import Connection
from tsdb.cluster.transport.counts import Counts
from tsdb.cluster.transport.frames import Kind, Octets
from tsdb.cluster.transport.link import Link
from tsdb.cluster.transport.queue import SendQueue, Waiting
from tsdb.errors import ProgramLimitExceeded


class StreamBroken(Exception):
    """A stream's connection ended: what was sent last may be lost, and the next stream begins anew."""


class Outbox:
    """``offer`` drops what has no room, ``stream`` waits for room; ``refill`` is for the link."""

    def __init__(self, to: str, bytes_max: int, counts: Counts) -> None:
        self._to = to
        self._counts = counts
        self._queue = SendQueue(bytes_max)
        self._in_hand: Waiting | None = None
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self.link: Link | None = None
        self.session = 0
        """Counts connections: what belongs to an earlier one is over."""

    def open(self, link: Link) -> None:
        self.link = link
        self.session += 1
        self._changed.set()

    def close(self) -> list[Waiting]:
        """The connection ended. What waited, and what was on its way."""
        self.link = None
        lost = self._queue.clear()
        if self._in_hand is not None:
            lost.insert(0, self._in_hand)
            self._in_hand = None
        self._changed.set()
        return lost

    @property
    def is_open(self) -> bool:
        return self.link is not None

    @property
    def waiting_bytes(self) -> int:
        return self._queue.byte_count

    @property
    def message_bytes_max(self) -> int:
        """The longest message that the other side takes; 0 without a connection."""
        return self.link.connection.message_bytes_max if self.link is not None else 0

    def offer(self, message: Waiting) -> bool:
        """Send it after what waits already; False if there is no connection or no room."""
        link = self.link
        if link is None or len(message.payload) > self.message_bytes_max or not self._queue.put(message):
            return False
        link.wake()
        return True

    def offer_at_once(self, payload: Octets) -> bool:
        """As ``offer`` of a message of a stream, but before the event loop's next turn."""
        link = self.link
        if link is None:
            return False
        if not self._queue.byte_count and link.send_at_once(Kind.STREAM, payload):
            self._counts.messages_sent += 1
            return True
        if not self.offer(Waiting(Kind.STREAM, payload)):
            return False
        link.wake_at_once()
        return True

    async def next_session(self) -> int:
        """The number of the connection that is open, as soon as there is one."""
        while self.link is None:
            await self._wait_for_change()
        return self.session

    async def stream(self, session: int, payload: Octets, after_bytes_max: int | None = None) -> None:
        """Send a message of a stream, when there is room: behind so many bytes at most, if they are given.

        Raises StreamBroken, ProgramLimitExceeded.
        """
        message = Waiting(Kind.STREAM, payload)
        # Those who wait get their turn in the order they came.
        async with self._turn:
            while True:
                if self.link is None or session != self.session:
                    raise StreamBroken(f"the connection to {self._to} ended")
                if len(payload) > self.message_bytes_max:
                    raise ProgramLimitExceeded(
                        f"a message of {len(payload)} bytes for {self._to}, which takes {self.message_bytes_max}"
                    )
                if (after_bytes_max is None or self.waiting_bytes <= after_bytes_max) and self.offer(message):
                    return
                await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def refill(self, connection: Connection) -> None:
        """Hand the core the next message. The one before it is in the socket's hands by now."""
        if self._in_hand is not None:
            self._in_hand = None
            self._counts.messages_sent += 1
        first = self._queue.first
        if first is not None and connection.may_send(len(first.payload)):
            self._in_hand = self._queue.take()
            connection.send(first.kind, first.payload)
            self._changed.set()
