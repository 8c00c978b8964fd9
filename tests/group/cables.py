"""The network between nodes on loopback: a TCP proxy before each of them, that knows who dialed and may hold all up.

What is held up arrives when the cut is over, late, if its connection is still there: as what TCP sends again does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

HOST = "127.0.0.1"
ESTABLISHED = "01"


class Cables:
    """``cut`` is the pairs (from, to) between which nothing passes now. ``pids``: of the nodes' processes, by place."""

    def __init__(self, pids: Callable[[], Mapping[int, int]]) -> None:
        self.cut: frozenset[tuple[int, int]] = frozenset()
        self._pids = pids
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def plug(self, place: int, front: int, back: int) -> None:
        """Who connects to port ``front`` is connected to the node ``place``, which listens at ``back``."""
        started = asyncio.start_server(partial(self._accept, place, back), HOST, front)
        self._servers.append(asyncio.run_coroutine_threadsafe(started, self._loop).result())

    def end(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, place: int, back: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialer = dialer_of(writer.get_extra_info("peername")[1], self._pids())
        try:
            there_reader, there_writer = await asyncio.open_connection(HOST, back)
        except OSError:
            writer.transport.abort()
            return
        self._carry((dialer, place), reader, there_writer)
        self._carry((place, dialer), there_reader, writer)

    def _carry(self, way: tuple[int, int], source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._carrying(way, source, sink))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carrying(self, way: tuple[int, int], source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                while octets := await source.read(1 << 16):
                    while way in self.cut:  # noqa: ASYNC110 (a cable: whoever mends it tells nobody)
                        await asyncio.sleep(0.02)
                    sink.write(octets)
                    await sink.drain()
        finally:
            sink.close()


def dialer_of(port: int, pids: Mapping[int, int]) -> int:
    """The place of the process that has the connection from this port; 0: none of them."""
    inode = None
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1].endswith(f":{port:04X}") and words[3] == ESTABLISHED:
            inode = words[9]
    return next((place for place, pid in pids.items() if f"socket:[{inode}]" in sockets(pid)), 0)


def sockets(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for each in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(each.path))
    return found
