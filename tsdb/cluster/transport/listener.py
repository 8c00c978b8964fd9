"""The port that other nodes dial: accepts, greets, and hands messages to their receiver.

Who has not shown a certificate yet, and who has and has not greeted, are bounded each for itself (``strangers``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Protocol

from tsdb.clock import Clock
from tsdb.cluster.transport.connection import Arrived, Connection, Opened
from tsdb.cluster.transport.counts import Counts
from tsdb.cluster.transport.greeting import OF_GUESTS, Identity, Purpose, Refused
from tsdb.cluster.transport.guests import Guest
from tsdb.cluster.transport.limits import Settings
from tsdb.cluster.transport.link import FAILURES, Link, now_of, open_streams
from tsdb.cluster.transport.outbox import Outbox
from tsdb.cluster.transport.strangers import Strangers
from tsdb.cluster.transport.tls import OPERATOR_PROTOCOL, NodeTls, asked_for, certified
from tsdb.errors import ProtocolViolation, StartupError

log = logging.getLogger(__name__)

ACCEPTED_AT_ONCE = 16
_NO_HANDLES_WAIT_S = 0.1
Operated = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[None]]
"""Answers an operator: the streams, and the name in his certificate."""
_OUSTED = "others came while it said nothing"


class Host(Protocol):
    """Who hears what comes in."""

    async def member_said(self, opened: Opened, session: int, message: Arrived) -> None:
        """``session`` numbers connections."""
        ...

    def member_said_at_once(self, opened: Opened, message: Arrived) -> bool:
        """Whether that was all there is to do with it. It may come before what waits for ``member_said``."""
        ...

    def member_asked(self, opened: Opened, message: Arrived) -> bytes:
        """The answer to what came over a line. Raises ProtocolViolation."""
        ...

    async def guest_said(self, guest: Guest, message: Arrived) -> None: ...

    def accepted(self, opened: Opened) -> None:
        """A member has dialed this node."""
        ...

    def guest_left(self, guest: Guest) -> None: ...


class Listener:
    """``members`` are looked at whenever somebody says who he is: they may change."""

    def __init__(
        self,
        me: Identity,
        members: Mapping[int, Identity],
        tls: NodeTls,
        settings: Settings,
        clock: Clock,
        counts: Counts,
        host: Host,
        operated: Operated | None = None,
    ) -> None:
        self._me = me
        self._members = members
        self._tls = tls
        self._settings = settings
        self._clock = clock
        self._counts = counts
        self._host = host
        self._operated = operated
        self._socket: socket.socket | None = None
        self._serving: set[asyncio.Task[None]] = set()
        # Sockets that nobody looks after yet: a task that is cancelled before it begins closes nothing.
        self._accepted: set[socket.socket] = set()
        # Without a certificate, by address; with one and without a greeting, by its names.
        self._unproven: Strangers[asyncio.Task[None]] = Strangers(settings.greetings_max)
        self._ungreeted: Strangers[asyncio.Task[None]] = Strangers(settings.greetings_max)
        self._session = 0
        self._links: dict[tuple[int, Purpose], Link] = {}
        self._guests: dict[Guest, Link] = {}
        self._full: set[Purpose] = set()

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
            self._accepted.add(accepted)
            task = asyncio.create_task(self._serve(accepted))
            self._serving.add(task)
            task.add_done_callback(lambda done, its=accepted: self._served(done, its))  # type: ignore[misc]
            self._oust(self._unproven.add(task, _place_of(accepted)))

    def _oust(self, task: asyncio.Task[None] | None) -> None:
        if task is not None:
            self._counts.refusals += 1
            task.cancel(_OUSTED)

    def _served(self, task: asyncio.Task[None], accepted: socket.socket) -> None:
        self._serving.discard(task)
        self._unproven.remove(task)
        self._ungreeted.remove(task)
        if accepted in self._accepted:
            self._accepted.discard(accepted)
            accepted.close()

    async def _serve(self, accepted: socket.socket) -> None:
        """One connection from its beginning to its end."""
        self._accepted.discard(accepted)
        try:
            reader, writer = await self._secure(accepted)
            if asked_for(writer) == OPERATOR_PROTOCOL:
                await self._operate(reader, writer)
                return
            link, opened = await self._greet(reader, writer)
        except FAILURES as error:
            self._counts.refusals += 1
            why = str(error) or type(error).__name__
            if isinstance(error, (Refused, ProtocolViolation)):
                log.warning("a node was not let in: %s", why)
            else:
                log.info("a connection ended before it had said which node it is: %s", why)
            return
        self._counts.accepts += 1
        self._session += 1
        try:
            if opened.purpose in OF_GUESTS:
                await self._serve_guest(link, opened, self._session)
            elif opened.purpose is Purpose.ROUNDS:
                await self._serve_line(link, opened)
            else:
                await self._serve_member(link, opened, self._session)
        except FAILURES as error:
            log.info("the connection of %s ended: %s", opened.peer, str(error) or type(error).__name__)

    async def _serve_member(self, link: Link, opened: Opened, session: int) -> None:
        with self._known(link, opened):
            await link.run(
                take=lambda message: self._host.member_said(opened, session, message),
                take_at_once=lambda message: self._host.member_said_at_once(opened, message),
            )

    async def _serve_line(self, link: Link, opened: Opened) -> None:
        outbox = Outbox(str(opened.peer), self._settings.limits_of(opened.purpose).queue_bytes_max, self._counts)
        outbox.open(link)

        def answer(message: Arrived) -> bool:
            # One that is not read is dropped: who asks goes on without it.
            outbox.offer_at_once(self._host.member_asked(opened, message))
            return True

        with self._known(link, opened):
            try:
                await link.run(refill=outbox.refill, take_at_once=answer)
            finally:
                outbox.close()

    @contextlib.contextmanager
    def _known(self, link: Link, opened: Opened) -> Iterator[None]:
        """As the member's only connection for its purpose."""
        key = opened.peer.node, opened.purpose
        before, self._links[key] = self._links.get(key), link
        if before is not None:
            before.connection.bye("a later connection took its place")
            before.wake()
        self._host.accepted(opened)
        try:
            yield
        finally:
            if self._links.get(key) is link:
                del self._links[key]

    async def _serve_guest(self, link: Link, opened: Opened, session: int) -> None:
        guest = Guest(opened, session, link, self._settings, self._counts)
        self._guests[guest] = link
        self._count_guests()
        try:
            await link.run(take=lambda message: self._host.guest_said(guest, message), refill=guest.refill)
        finally:
            guest.leave()
            del self._guests[guest]
            self._count_guests()
            self._host.guest_left(guest)

    def _count_guests(self) -> None:
        if len(self._guests) < self._settings.clients_max:
            self._full.discard(Purpose.CLIENT)
        else:
            self._full.add(Purpose.CLIENT)

    async def _secure(self, accepted: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """TLS, in which the other has shown a certificate of the authority."""
        task = asyncio.current_task()
        assert task is not None
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
        self._unproven.remove(task)
        self._oust(self._ungreeted.add(task, " ".join(sorted(certified(writer.get_extra_info("peercert") or {})))))
        return reader, writer

    async def _operate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        names = certified(writer.get_extra_info("peercert") or {})
        try:
            if self._operated is not None and len(names) == 1:
                await self._operated(reader, writer, names[0])
        except (OSError, EOFError, TimeoutError) as error:
            # Who has its answer hangs up without waiting for a farewell.
            log.debug("the connection of the operator %s ended: %s", names[0], str(error) or type(error).__name__)
        finally:
            writer.transport.abort()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[Link, Opened]:
        task = asyncio.current_task()
        assert task is not None
        names = certified(writer.get_extra_info("peercert") or {})
        connection = Connection.accept(
            self._me, self._members, names, now_of(self._clock), self._settings, full=self._full
        )
        link = Link(connection, reader, writer, self._clock, self._settings.times, self._counts)
        opened = await link.greet()
        self._ungreeted.remove(task)
        return link, opened

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
        links = [*self._links.values(), *self._guests.values()]
        await asyncio.gather(*(link.stop(why) for link in links))
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


def _place_of(accepted: socket.socket) -> str:
    with contextlib.suppress(OSError):
        return str(accepted.getpeername()[0])
    return ""
