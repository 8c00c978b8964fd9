"""Who is no member and has come all the same: it follows what is committed."""

from __future__ import annotations

from tsdb.cluster.transport.connection import Connection, Opened
from tsdb.cluster.transport.counts import Counts
from tsdb.cluster.transport.frames import Kind, Octets
from tsdb.cluster.transport.limits import Settings
from tsdb.cluster.transport.link import Link
from tsdb.cluster.transport.outbox import Outbox
from tsdb.cluster.transport.queue import Waiting


class Guest:
    """While its connection lasts. ``number`` names it on this node, and is no other guest's after it."""

    def __init__(self, opened: Opened, number: int, link: Link, settings: Settings, counts: Counts) -> None:
        self.identity = opened.peer
        self.purpose = opened.purpose
        self.version = opened.version
        self.number = number
        limits = settings.guest_limits
        self._outbox = Outbox(str(opened.peer), limits.queue_bytes_max, counts)
        self._outbox.open(link)

    def __str__(self) -> str:
        return f"guest {self.number} ({self.identity.name}, {self.identity.uuid}, {self.purpose.name.lower()})"

    def offer(self, kind: Kind, payload: Octets) -> bool:
        """Send it; False if it left or does not read."""
        return self._outbox.offer(Waiting(kind, payload))

    async def send(self, payload: Octets, after_bytes_max: int | None = None) -> None:
        """Send a message of a stream, when there is room, as ``transport.LogStream`` does. Raises StreamBroken."""
        await self._outbox.stream(1, payload, after_bytes_max)

    def refill(self, connection: Connection) -> None:
        """For its link."""
        self._outbox.refill(connection)

    def leave(self) -> None:
        """Its connection ended."""
        self._outbox.close()
