"""The UDP listener: datagrams stored together, dropped and counted when they are too many."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import numpy as np

from tsdb.errors import StartupError, TsdbError
from tsdb.ingest.stream import whole_lines
from tsdb.lines.writer import LineWriter

BATCH_DATAGRAMS = 5_000
BATCH_BYTES = 1 << 20
BATCH_SECONDS = 1.0
# What waits while a batch is being stored; more is dropped.
WAITING_BYTES_MAX = 8 << 20
RECEIVE_BUFFER_BYTES = 4 << 20
# What a datagram takes that waits by itself, beside its bytes.
_ALONE_BYTES = 256


class UdpLines(asyncio.DatagramProtocol):
    """Listens on one address. ``port`` 0 takes any free port; after ``start``, ``port`` says which."""

    def __init__(self, writer: LineWriter, host: str, port: int) -> None:
        self._writer = writer
        self._host = host
        self.port = port
        self._inode = 0
        self._kernel_dropped = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: dict[int, bytearray] = {}
        self._alone: list[tuple[int, bytes]] = []
        self._bytes = 0
        self._datagrams = 0
        self._due: asyncio.TimerHandle | None = None
        self._storing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind and receive. Raises StartupError."""
        loop = asyncio.get_running_loop()
        try:
            family, kind, _, _, address = socket.getaddrinfo(self._host, self.port, type=socket.SOCK_DGRAM)[0]
            taken = socket.socket(family, kind)
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            taken.bind(address)
        except OSError as error:
            why = f"cannot listen on {self._host}:{self.port} for line protocol over UDP: {error.strerror}"
            raise StartupError(why) from None
        taken.setblocking(False)
        self.port = taken.getsockname()[1]
        self._inode = os.fstat(taken.fileno()).st_ino
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=taken)

    async def stop(self, grace_s: float) -> None:
        """Receive no more, store what has come, for ``grace_s`` at most."""
        if self._transport is not None:
            self.dropped()
            self._inode = 0
            self._transport.close()
        if self._storing is None:
            self._store()
        while self._storing is not None:
            done, _ = await asyncio.wait({self._storing}, timeout=grace_s)
            if not done:
                self._storing.cancel()
                return

    def dropped(self) -> int:
        """Datagrams dropped here and by the kernel, whose buffer was full."""
        if self._inode:
            self._kernel_dropped = _dropped_by_kernel(self._inode)
        return self._writer.counts.dropped + self._kernel_dropped

    # ---- asyncio.DatagramProtocol

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        counts = self._writer.counts
        counts.datagrams += 1
        try:
            role = self._writer.role_of(str(address[0]))
        except TsdbError as error:
            counts.dropped += 1
            self._writer.tell(str(address[0]), error.message)
            return
        if self._bytes + len(data) > WAITING_BYTES_MAX:
            counts.dropped += 1
            return
        lines = data if data.endswith(b"\n") else data + b"\n"
        if whole_lines(np.frombuffer(lines, np.uint8)) == len(lines):
            self._waiting.setdefault(role, bytearray()).extend(lines)
        else:
            # Its quotes are not balanced: the lines of others must not get into its strings.
            self._alone.append((role, lines))
            self._bytes += _ALONE_BYTES
        self._bytes += len(lines)
        self._datagrams += 1
        if self._storing is None:
            if self._bytes >= BATCH_BYTES or self._datagrams >= BATCH_DATAGRAMS:
                self._store()
            elif self._due is None:
                self._due = asyncio.get_running_loop().call_later(BATCH_SECONDS, self._store)

    def error_received(self, error: Exception) -> None:
        self._writer.tell("", str(error))

    # ---- storing

    def _store(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if not self._datagrams:
            return
        bodies = [*self._waiting.items(), *((role, bytearray(lines)) for role, lines in self._alone)]
        self._waiting, self._alone, self._bytes, self._datagrams = {}, [], 0, 0
        self._storing = asyncio.ensure_future(self._write(bodies))
        self._storing.add_done_callback(self._stored)

    async def _write(self, bodies: list[tuple[int, bytearray]]) -> None:
        request = self._writer.options.request
        for role, body in bodies:
            try:
                await self._writer.write_patiently(body, request, role, "")
            except Exception:
                continue  # it is counted and logged; the lines of others are theirs

    def _stored(self, task: asyncio.Task[None]) -> None:
        self._storing = None
        if not task.cancelled():
            task.exception()
            self._store()


def _dropped_by_kernel(inode: int) -> int:
    """The column ``drops`` of the socket in /proc/net/udp (Linux); 0 where there is none."""
    for name in ("udp", "udp6"):
        try:
            rows = Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            words = row.split()
            if len(words) > 12 and words[9] == str(inode):
                return int(words[12])
    return 0
