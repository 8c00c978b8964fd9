"""Lines: a connection to each other node over which questions of reads go out and their answers come back, for the
event loop on which these reads run. So nothing of a round waits for another thread of the node that asks.

One is dialed when it is asked for the first time, and then kept as other connections are. Whoever finds none open goes
another way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from tsdb.cluster.transport.connection import RoundTrip
from tsdb.cluster.transport.dialer import Dialer
from tsdb.cluster.transport.frames import Octets
from tsdb.cluster.transport.greeting import Purpose
from tsdb.cluster.transport.members import Member
from tsdb.cluster.transport.queue import Waiting


class Lines:
    """Made and used on one event loop, but for ``forget``. ``member``: who a node is and where, as it is known now;
    ``dialer``: to it. Implements ``dialer.Owner``: what is lost is asked again by nobody."""

    def __init__(self, member: Callable[[int], Member | None], dialer: Callable[[Member, Lines], Dialer]) -> None:
        self._member = member
        self._dialer = dialer
        self._loop = asyncio.get_running_loop()
        self._dialed: dict[int, tuple[Dialer, asyncio.Task[None]]] = {}
        self._open: set[int] = set()
        """Of these, where that is known."""
        self._ending: set[asyncio.Task[None]] = set()
        self._stopped = False

    def is_open(self, node: int) -> bool:
        """Whether it can be asked now. If it was not asked before, it is dialed."""
        if node in self._open:
            return True
        found = self._dialed.get(node)
        if found is None and not self._stopped:
            member = self._member(node)
            if member is not None:
                dialer = self._dialer(member, self)
                self._dialed[node] = dialer, self._loop.create_task(dialer.run())
        if found is None or not found[0].is_open:
            return False
        self._open.add(node)
        return True

    def offer(self, node: int, payload: Octets) -> bool:
        """Send it, or drop it."""
        found = self._dialed.get(node)
        return found is not None and found[0].offer_at_once(payload)

    def forget(self, node: int) -> None:
        """It is no member any more, or another one, or somewhere else. From any thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end, node)

    def _end(self, node: int) -> None:
        self._open.discard(node)
        found = self._dialed.pop(node, None)
        if found is not None:
            found[1].cancel()
            self._ending.add(found[1])
            found[1].add_done_callback(self._ending.discard)

    async def stop(self) -> None:
        """Close all, for good."""
        self._stopped = True
        for node in [*self._dialed]:
            self._end(node)
        await asyncio.gather(*self._ending, return_exceptions=True)

    # What dialers say

    def lost(self, peer: int, messages: list[Waiting]) -> None:
        self._open.discard(peer)

    def opened(self, peer: int, purpose: Purpose) -> None: ...

    def tripped(self, peer: int, trip: RoundTrip) -> None: ...
