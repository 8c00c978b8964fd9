"""The HTTP port: uvicorn on the server's own event loop, started and stopped by it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from tsdb.errors import StartupError
from tsdb.server.bounded_http import BoundedHttp

KEEP_ALIVE_S = 75
BACKLOG = 1024


class Web:
    """Serves one ASGI application. ``port`` 0 takes any free one; after ``bind``, ``port`` says which."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._socket: socket.socket | None = None
        self._uvicorn: _Uvicorn | None = None
        self._task: asyncio.Task[None] | None = None

    def bind(self) -> None:
        """Take the port without answering yet. Raises StartupError."""
        try:
            family, kind, proto, _, address = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            taken = socket.socket(family, kind, proto)
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
            # Linux lets two sockets bind one port with SO_REUSEADDR as long as none listens.
            taken.listen(BACKLOG)
        except OSError as error:
            raise StartupError(f"cannot listen on {self.host}:{self.port} for HTTP: {error.strerror}") from None
        taken.setblocking(False)
        self._socket = taken
        self.port = taken.getsockname()[1]

    async def start(self, app: ASGIApp, grace_s: float, tls: ssl.SSLContext | None = None) -> None:
        """Answer requests, by HTTPS alone with ``tls``. ``grace_s``: what running requests get to end at a stop."""
        assert self._socket is not None, "bind comes first"
        config = uvicorn.Config(
            app,
            loop="none",
            http=BoundedHttp,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(grace_s)),
            backlog=BACKLOG,
            ssl_context_factory=None if tls is None else lambda config, default: tls,
        )
        self._uvicorn = _Uvicorn(config)
        self._task = asyncio.create_task(self._uvicorn.serve([self._socket]), name="http")
        while not self._uvicorn.started:
            if self._task.done():
                self._task.result()
                raise StartupError(f"HTTP did not start on {self.host}:{self.port}")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Accept no more, let running requests end within their grace, drop the rest."""
        if self._uvicorn is not None and self._task is not None:
            self._uvicorn.should_exit = True
            await self._task
        elif self._socket is not None:
            self._socket.close()


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: the process's signals are the command line's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
