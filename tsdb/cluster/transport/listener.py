"""The port that other nodes dial: accepts, greets, and hands messages to their receiver."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping

from tsdb.clock import Clock
from tsdb.cluster.transport.connection import Arrived, Connection, Opened
from tsdb.cluster.transport.counts import Counts
from tsdb.cluster.transport.greeting import Identity, Purpose, Refused
from tsdb.cluster.transport.limits import Settings
from tsdb.cluster.transport.link import FAILURES, Link, now_of, open_streams
from tsdb.cluster.transport.tls import NodeTls, certified
from tsdb.errors import ProtocolViolation, StartupError

log = logging.getLogger(__name__)

GREETINGS_MAX = 64
"""Connections that are not known yet; more are closed at once."""
ACCEPTED_AT_ONCE = 16
_NO_HANDLES_WAIT_S = 0.1

Taken = Callable[[Opened, int, Arrived], Awaitable[None]]


class Listener:
    """``members`` are looked at whenever somebody says who he is: they may change. ``take`` gets (who, number of the
    connection, message)."""

    def __init__(
        self,
        me: Identity,
        members: Mapping[int, Identity],
        tls: NodeTls,
        settings: Settings,
        clock: Clock,
        counts: Counts,
        take: Taken,
        on_open: Callable[[Opened], None],
    ) -> None:
        self._me = me
        self._members = members
        self._tls = tls
        self._settings = settings
        self._clock = clock
        self._counts = counts
        self._take = take
        self._on_open = on_open
        self._socket: socket.socket | None = None
        self._serving: set[asyncio.Task[None]] = set()
        # Sockets that nobody looks after yet: a task that is cancelled before it begins closes nothing.
        self._accepted: set[socket.socket] = set()
        self._greeting = 0
        self._session = 0
        self._links: dict[tuple[int, Purpose], Link] = {}

    @property
    def port(self) -> int:
        assert self._socket is not None, "the listener is not started"
        return int(self._socket.getsockname()[1])

    async def start(self, host: str, port: int) -> None:
        """Raises StartupError."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            family, _, _, _, address = found[0]
            self._socket = socket.create_server(address[:2], family=family, backlog=128)
        except OSError as error:
            raise StartupError(f"cannot listen for nodes on {host}:{port}: {error.strerror or error}") from None
        self._socket.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _unlisten(self) -> None:
        assert self._socket is not None
        asyncio.get_running_loop().remove_reader(self._socket)

    def _accept(self) -> None:
        """Take who is waiting. Not by ``sock_accept``: what it has accepted is lost when its task is cancelled."""
        assert self._socket is not None
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("a node could not be accepted: %s", error)
                self._unlisten()
                asyncio.get_running_loop().call_later(_NO_HANDLES_WAIT_S, self._listen)
                return
            if self._greeting + len(self._accepted) >= GREETINGS_MAX:
                self._counts.refusals += 1
                accepted.close()
                continue
            self._accepted.add(accepted)
            task = asyncio.create_task(self._serve(accepted))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, accepted: socket.socket) -> None:
        """One connection from its beginning to its end."""
        self._accepted.discard(accepted)
        self._greeting += 1
        try:
            link, opened = await self._greet(accepted)
        except FAILURES as error:
            self._counts.refusals += 1
            serious = isinstance(error, (Refused, ProtocolViolation))
            (log.warning if serious else log.info)("a node was not let in: %s", str(error) or type(error).__name__)
            return
        finally:
            self._greeting -= 1
        self._counts.accepts += 1
        self._session += 1
        session, key = self._session, (opened.peer.node, opened.purpose)
        before, self._links[key] = self._links.get(key), link
        if before is not None:
            before.connection.bye("a later connection took its place")
            before.wake()
        self._on_open(opened)
        try:
            await link.run(take=lambda message: self._take(opened, session, message))
        except FAILURES as error:
            log.info("the connection of %s ended: %s", opened.peer, str(error) or type(error).__name__)
        finally:
            if self._links.get(key) is link:
                del self._links[key]

    async def _greet(self, accepted: socket.socket) -> tuple[Link, Opened]:
        loop, times = asyncio.get_running_loop(), self._settings.times
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = self._tls.accepting
        try:
            reader, writer = await open_streams(
                lambda factory: loop.connect_accepted_socket(factory, accepted, ssl=context), times
            )
        except BaseException:
            accepted.close()
            raise
        names = certified(writer.get_extra_info("peercert") or {})
        connection = Connection.accept(self._me, self._members, names, now_of(self._clock), self._settings)
        link = Link(connection, reader, writer, self._clock, times, self._counts)
        return link, await link.greet()

    async def drop(self, node: int, why: str) -> None:
        """End a node's connections: it is no member any more, or another one."""
        links = [link for (peer, _), link in self._links.items() if peer == node]
        await asyncio.gather(*(link.stop(why) for link in links))

    async def stop(self, why: str) -> None:
        """Take no more connections, and say good-bye on those that are."""
        if self._socket is not None:
            self._unlisten()
            self._socket.close()
            self._socket = None
        await asyncio.gather(*(link.stop(why) for link in list(self._links.values())))
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        for accepted in self._accepted:
            accepted.close()
