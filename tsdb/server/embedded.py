"""A server in a thread of its own, for programs that want one inside: the demo and tests."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType

import uvloop

from tsdb.config import Settings
from tsdb.server.server import Server


class EmbeddedServer:
    """``with EmbeddedServer(settings) as server:`` serves inside the block; errors of the start are raised there."""

    def __init__(self, settings: Settings) -> None:
        self.server = Server(settings)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tsdb server")

    def __enter__(self) -> Server:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result()
        except BaseException:
            self._end()
            raise
        return self.server

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result()
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
