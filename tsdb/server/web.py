"""The HTTP port: uvicorn on the server's own event loop, started and stopped by it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from tsdb.errors import StartupError
from tsdb.server.bounded_http import HttpConnection

KEEP_ALIVE_S = 75
BACKLOG = 1024


class Web:
    """Serves one ASGI application. ``port`` 0 takes any free one; after ``bind``, ``port`` says which. ``path``: of a
    Unix socket that serves it, too."""

    def __init__(self, host: str, port: int, path: Path | None = None) -> None:
        self.host = host
        self.port = port
        self.path = path
        self._local: socket.socket | None = None
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
        if self.path is not None:
            self._local = _local_socket(self.path)

    async def start(self, app: ASGIApp, grace_s: float, tls: ssl.SSLContext | None = None) -> None:
        """Answer requests, by HTTPS alone with ``tls``. ``grace_s``: what running requests get to end at a stop."""
        assert self._socket is not None, "bind comes first"
        config = uvicorn.Config(
            app,
            loop="none",
            http=HttpConnection,  # type: ignore[arg-type]  # any protocol does
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
        sockets = [self._socket] if self._local is None else [self._socket, self._local]
        self._task = asyncio.create_task(self._uvicorn.serve(sockets), name="http")
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
        else:
            for taken in (self._socket, self._local):
                if taken is not None:
                    taken.close()
        if self._local is not None and self.path is not None:
            self.path.unlink(missing_ok=True)


def _local_socket(path: Path) -> socket.socket:
    """A Unix socket that listens at ``path``, in the place of one that nobody listens to any more.

    Everybody on the machine may open it, as with PostgreSQL's: who may do what is asked for there as on the port.
    """
    taken = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
                if other.connect_ex(str(path)) == 0:
                    raise StartupError(f"another server listens at {path}")
            path.unlink()
        taken.bind(str(path))
        path.chmod(0o777)
        taken.listen(BACKLOG)
    except OSError as error:
        taken.close()
        raise StartupError(f"cannot listen at {path} for HTTP: {error.strerror or error}") from None
    except StartupError:
        taken.close()
        raise
    taken.setblocking(False)
    return taken


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: the process's signals are the command line's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
