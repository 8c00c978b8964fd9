"""One open connection between two nodes: the tasks that read, write and watch it, around the core that decides.

Memory: what is read ahead is bounded by the stream's buffer, what waits to be taken by the credit that was given, what
is written by the socket's buffers and one batch of frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from tsdb.clock import Clock
from tsdb.cluster.transport.connection import Arrived, Connection, Ended, Now, Opened, RoundTrip, Silent, State
from tsdb.cluster.transport.counts import Counts
from tsdb.cluster.transport.frames import Kind, Octets
from tsdb.cluster.transport.greeting import Refused
from tsdb.cluster.transport.limits import KIB, Times
from tsdb.errors import ProtocolViolation

READ_BYTES = 256 * KIB
WRITE_BYTES = 128 * KIB
JOINED_BYTES_MAX = 16 * KIB
# Messages that are taken before other tasks get a turn.
TAKEN_AT_ONCE = 16

FAILURES = (OSError, EOFError, TimeoutError, Refused, ProtocolViolation, Silent)
"""How a connection ends that was not stopped."""

Take = Callable[[Arrived], Awaitable[None]]
TakeAtOnce = Callable[[Arrived], bool]
Refill = Callable[[Connection], None]
Connect = Callable[[Callable[[], asyncio.StreamReaderProtocol]], Awaitable[tuple[Any, asyncio.BaseProtocol]]]


def now_of(clock: Clock) -> Now:
    return Now(time.monotonic_ns(), clock.now_ns())


class Link:
    """A socket with its core. ``greet`` first, then ``run`` until it ends; ``stop`` ends it well."""

    def __init__(
        self,
        connection: Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        clock: Clock,
        times: Times,
        counts: Counts,
    ) -> None:
        self.connection = connection
        self._reader = reader
        self._writer = writer
        self._transport = writer.transport
        self._clock = clock
        self._times = times
        self._counts = counts
        self._wake = asyncio.Event()
        self._refill: Refill | None = None
        self._is_idle = False
        """Nothing waits to be written, nor for the socket."""
        self._take_at_once: TakeAtOnce | None = None
        self._on_trip: Callable[[RoundTrip], None] | None = None
        self._inbox: deque[Arrived] = deque()
        self._arrived = asyncio.Event()
        self._ended = asyncio.Event()
        self._counted = (0, 0)
        self._transport.set_write_buffer_limits(high=WRITE_BYTES)
        _keep_little_unsent(writer)

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def wake_at_once(self) -> None:
        """As ``wake``; it is with the socket when this returns, unless something before it waits for that."""
        may_write = self._is_idle and not self._transport.get_write_buffer_size()
        if not may_write or self._write(self._next_buffers(self._refill)) >= WRITE_BYTES:
            self._wake.set()

    def send_at_once(self, kind: Kind, payload: Octets) -> bool:
        """Send a short message that nothing has to go before; it is with the socket when this returns. False if it is
        long, something is on its way, or there is no credit: then it is for ``refill``."""
        if not self._is_idle or self._transport.get_write_buffer_size():
            return False
        octets = self.connection.send_whole(kind, payload)
        if not octets:
            return False
        if not self._transport.is_closing():
            self._counts.bytes_sent += len(octets)
            self._transport.write(octets)
        return True

    # From the beginning to the end

    async def greet(self) -> Opened:
        """Say who this is and hear who that is. Raises one of ``FAILURES``; the link is closed then."""
        try:
            async with asyncio.timeout(self._times.greeting_ns / 1e9):
                return await self._greet()
        except TimeoutError:
            await self._close(at_once=True)
            raise Silent(f"no greeting in {self._times.greeting_ns / 1e9:g} s") from None
        except asyncio.CancelledError:
            # Others want its place.
            self._ended.set()
            self._transport.abort()
            raise
        except BaseException:
            await self._close()
            raise

    async def _greet(self) -> Opened:
        while True:
            self._write(self._next_buffers(None))
            event = self.connection.next_event(now_of(self._clock))
            if event is not None:
                assert isinstance(event, Opened), "a connection begins with its greeting"
                self._write(self._next_buffers(None))
                return event
            await self._read()

    async def run(
        self,
        take: Take | None = None,
        refill: Refill | None = None,
        on_trip: Callable[[RoundTrip], None] | None = None,
        take_at_once: TakeAtOnce | None = None,
    ) -> None:
        """Carry messages until the connection ends. Raises one of ``FAILURES`` unless it was ended in order.

        ``take`` is given each message; the next one waits until it returns. ``take_at_once`` is offered each before
        that, as soon as it is here, also before earlier ones that wait. ``refill`` hands the core the next message to
        send, if there is one and it may.
        """
        self._refill, self._take_at_once, self._on_trip = refill, take_at_once, on_trip
        tasks = [
            asyncio.create_task(self._reading()),
            asyncio.create_task(self._writing()),
            asyncio.create_task(self._watching()),
        ]
        if take is not None:
            tasks.append(asyncio.create_task(self._taking(take)))
        failed = True
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            failed = False
        except Silent:
            self._counts.silences += 1
            raise
        except ProtocolViolation as violation:
            self._counts.violations += 1
            self.connection.bye(violation.message)
            failed = False
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._close(at_once=failed)

    async def stop(self, why: str) -> None:
        """Say good-bye and wait a little until it is out. ``run`` ends by that."""
        self.connection.bye(why)
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._times.goodbye_ns / 1e9):
                await self._ended.wait()
        await self._close(at_once=True)

    async def refuse(self, why: str) -> None:
        """Say good-bye before it ever ran."""
        self.connection.bye(why)
        await self._close()

    async def _close(self, *, at_once: bool = False) -> None:
        """Last words, and the end of the socket. What cannot be sent in time is not."""
        if not at_once and not self._ended.is_set():
            self._write(self._next_buffers(None))
        self._ended.set()
        self._count()
        if at_once:
            self._transport.abort()
        else:
            self._writer.close()
        try:
            async with asyncio.timeout(self._times.goodbye_ns / 1e9):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._transport.abort()

    # The tasks

    async def _reading(self) -> None:
        protocol = self._transport.get_protocol()
        while True:
            self._look_at_input()
            # While this waits nothing is in the stream's buffer: what comes then need not wait for this task's turn.
            if isinstance(protocol, _Protocol):
                protocol.take = self._came
            try:
                await self._read()
            finally:
                if isinstance(protocol, _Protocol):
                    protocol.take = None

    def _came(self, octets: bytes) -> None:
        try:
            if not self._take_whole(octets):
                self._received(octets)
                self._look_at_input()
        except Exception as error:
            # For the task that reads.
            self._reader.set_exception(error)

    def _take_whole(self, octets: bytes) -> bool:
        """Whether that was one short message, as it is mostly. Raises what takes it."""
        message = self.connection.receive_whole(octets, time.monotonic_ns())
        if message is None:
            return False
        self._counts.bytes_received += len(octets)
        self._take_or_keep(message)
        if self.connection.has_more:
            self._wake.set()
        return True

    def _take_or_keep(self, message: Arrived) -> bool:
        """Whether it was taken at once."""
        self._counts.messages_received += 1
        if self._take_at_once is not None and self._take_at_once(message):
            self.connection.took(message)
            return True
        self._inbox.append(message)
        self._arrived.set()
        return False

    def _look_at_input(self) -> None:
        """Raises ConnectionResetError, ProtocolViolation, Refused."""
        frames, taken, now = self.connection.frames_received, 0, now_of(self._clock)
        while (event := self.connection.next_event(now)) is not None:
            if isinstance(event, Arrived):
                taken += self._take_or_keep(event)
            elif isinstance(event, RoundTrip):
                if self._on_trip is not None:
                    self._on_trip(event)
            elif isinstance(event, Ended):
                raise ConnectionResetError(f"it was ended by the other side: {event.why}")
        # Credit may have come, or a ping.
        if self.connection.frames_received - frames > taken or self.connection.has_more:
            self._wake.set()

    async def _read(self) -> None:
        octets = await self._reader.read(READ_BYTES)
        if not octets:
            raise ConnectionResetError("it was closed by the other side")
        self._received(octets)

    def _received(self, octets: bytes) -> None:
        self._counts.bytes_received += len(octets)
        self.connection.receive(octets)

    async def _writing(self) -> None:
        while True:
            self._wake.clear()
            buffers = self._next_buffers(self._refill)
            if buffers:
                self._write(buffers)
                await self._writer.drain()
            elif self.connection.state is State.CLOSED:
                return
            else:
                self._is_idle = True
                await self._wake.wait()
                self._is_idle = False

    def _next_buffers(self, refill: Refill | None) -> list[Octets]:
        """What is to be sent next, about ``WRITE_BYTES`` of it."""
        buffers: list[Octets] = []
        size = 0
        while size < WRITE_BYTES:
            if refill is not None and not self.connection.sending:
                refill(self.connection)
            part = self.connection.data_to_send()
            if not part:
                break
            buffers += part
            size += sum(len(buffer) for buffer in part)
        return buffers

    def _write(self, buffers: list[Octets]) -> int:
        """How many bytes these are."""
        size = sum(len(buffer) for buffer in buffers)
        if size and not self._transport.is_closing():
            self._counts.bytes_sent += size
            # Each buffer would be a record of TLS.
            self._writer.writelines([b"".join(buffers)] if size <= JOINED_BYTES_MAX else buffers)
        return size

    async def _watching(self) -> None:
        while True:
            await asyncio.sleep(self._times.ping_ns / 2e9)
            self.connection.tick(now_of(self._clock))
            self._count()
            self._wake.set()

    async def _taking(self, take: Take) -> None:
        count = 0
        while True:
            while not self._inbox:
                self._arrived.clear()
                await self._arrived.wait()
            message = self._inbox.popleft()
            await take(message)
            self.connection.took(message)
            self._wake.set()
            count += 1
            if count % TAKEN_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _count(self) -> None:
        sent, received = self.connection.frames_sent, self.connection.frames_received
        self._counts.frames_sent += sent - self._counted[0]
        self._counts.frames_received += received - self._counted[1]
        self._counted = sent, received


class _Protocol(asyncio.StreamReaderProtocol):
    """Knows its transport from the moment that there is one. ``take`` gets what comes, if it is set, and not the
    stream."""

    # uvloop's transports are none of asyncio's classes.
    opened: Any = None
    take: Callable[[bytes], None] | None = None

    def data_received(self, data: bytes) -> None:
        if self.take is not None:
            self.take(data)
        else:
            super().data_received(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.opened = transport
        super().connection_made(transport)


async def open_streams(connect: Connect, times: Times) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams over what ``connect`` opens with a protocol's factory, in time, or else nothing of it stays open.

    asyncio closes what is cancelled just when its handshake is done, but waits for the other side to agree.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_BYTES, loop=loop)
    protocol = _Protocol(reader, loop=loop)
    try:
        async with asyncio.timeout(times.connect_ns / 1e9):
            transport, _ = await connect(lambda: protocol)
    except BaseException:
        if protocol.opened is not None:
            protocol.opened.abort()
        raise
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def _keep_little_unsent(writer: asyncio.StreamWriter) -> None:
    """Keep the kernel from holding megabytes that a ping would have to wait behind, where it can be told."""
    raw = writer.get_extra_info("socket")
    if raw is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, WRITE_BYTES)
