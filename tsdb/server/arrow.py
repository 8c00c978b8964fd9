"""Arrow Flight as the settings want it: on loopback by default, with the login of HTTP and the sessions of SQL."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from tsdb.clock import Clock
from tsdb.config import Settings, is_loopback
from tsdb.errors import InvalidPassword, StartupError
from tsdb.http.authentication import Authentication, Unauthorized, credentials
from tsdb.model.access import Access, Identity
from tsdb.model.store import Store
from tsdb.ports import why_taken
from tsdb.server.tls import Certificates
from tsdb.session import SessionFactory
from tsdb.sql.query import Queries

if TYPE_CHECKING:
    from tsdb.flight.bearer import Bearers
    from tsdb.flight.listener import Listener, Parts

log = logging.getLogger(__name__)

# How long a new listener tries to take the port of the one before.
_RENEWAL_S = 10.0
_STOPPED = "terminating the statement because the server is stopping"
_RENEWED = "terminating the statement because the server's certificate has changed"


class Arrow:
    """The Flight listener, if it has a port. ``start`` and ``stop`` on the event loop."""

    def __init__(self) -> None:
        self._listener: Listener | None = None
        self._parts: Parts | None = None
        self._bearers: Bearers | None = None
        self._host = ""
        self._renewal: asyncio.Task[None] | None = None

    async def start(
        self,
        settings: Settings,
        store: Store,
        queries: Queries,
        sessions: SessionFactory,
        clock: Clock,
        pool: Executor,
        rules: Access,
        certificates: Certificates | None,
    ) -> None:
        """Raises StartupError."""
        port = _wanted(settings)
        if port is None:
            return
        # Not before it is known to be wanted: gRPC takes a tenth of a second to load.
        from tsdb.flight.bearer import Bearers
        from tsdb.flight.listener import HANDSHAKE, Parts
        from tsdb.flight.writing import WriteOptions

        loop = asyncio.get_running_loop()
        login = Login(Authentication(store, clock, pool, rules, "flight"), loop)
        self._parts = Parts(
            store,
            queries,
            sessions,
            clock,
            pool,
            loop,
            login,
            WriteOptions(settings.message_bytes_max, settings.create_database_on_write),
            settings.host if is_loopback(settings.host) else HANDSHAKE,
            settings.flight_streams_max,
        )
        self._bearers = Bearers(store, clock)
        self._host = settings.host
        try:
            self._listener = self._serve(port, certificates)
        except StartupError as error:
            # Another server has taken it since it was looked at.
            if "flight_port" in settings.model_fields_set:
                raise
            log.warning("Arrow Flight is off: %s; flight_port says another port", error)

    def _serve(self, port: int, certificates: Certificates | None) -> Listener:
        import pyarrow as pa

        from tsdb.flight.listener import Listener

        assert self._parts is not None
        assert self._bearers is not None
        try:
            return Listener(
                self._parts, self._host, port, None if certificates is None else certificates.pem, self._bearers
            )
        except (OSError, pa.ArrowException) as error:
            raise StartupError(f"cannot listen on {self._host}:{port} for Arrow Flight: {error}") from None

    def renew(self, certificates: Certificates) -> None:
        """Take a new certificate: gRPC reads one only when it starts, so a new listener takes the port of the old."""
        old, self._listener = self._listener, None
        if old is not None:
            loop = asyncio.get_running_loop()
            self._renewal = loop.create_task(asyncio.to_thread(self._replace, old, certificates))

    def _replace(self, old: Listener, certificates: Certificates) -> None:
        port = old.port
        threading.Thread(target=old.end, args=[_RENEWED], name="flight-end", daemon=True).start()
        until = time.monotonic() + _RENEWAL_S
        while True:
            try:
                self._listener = self._serve(port, certificates)
                return
            except StartupError:
                if time.monotonic() > until:
                    log.exception("Arrow Flight is off: its port could not be taken again with the new certificate")
                    return
                time.sleep(0.05)

    async def stop(self, grace_s: float) -> None:
        """Cancel what runs; clients get ``grace_s`` to take their errors."""
        if self._renewal is not None:
            await asyncio.wait([self._renewal])
        listener, self._listener = self._listener, None
        if listener is None:
            return
        # A daemon: gRPC waits for clients that do not read, and the end of the process does not.
        ending = threading.Thread(target=listener.end, args=[_STOPPED], name="flight-end", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, grace_s)

    @property
    def port(self) -> int | None:
        return None if self._listener is None else self._listener.port

    def gauges(self) -> Mapping[str, float]:
        listener = self._listener
        if listener is None:
            return {}
        counts = listener.counts
        return {
            "flight_streams": len(listener.calls),
            "flight_streams_refused": listener.calls.refused_count,
            "flight_calls": counts.calls,
            "flight_failures": counts.failures,
            "flight_rows_written": counts.rows_written,
            "flight_rows_sent": counts.rows_sent,
        }


class Login:
    """HTTP's login for threads that are not the event loop's."""

    def __init__(self, authentication: Authentication, loop: asyncio.AbstractEventLoop) -> None:
        self._authentication = authentication
        self._loop = loop

    def __call__(self, host: str, authorization: str | None) -> Identity:
        """The role of a call. Raises InvalidPassword, InsufficientPrivilege."""
        try:
            given = credentials({} if authorization is None else {"authorization": authorization}, {})
            return asyncio.run_coroutine_threadsafe(self._authentication.identify(host, given), self._loop).result()
        except Unauthorized as error:
            raise InvalidPassword(error.message) from None


def _wanted(settings: Settings) -> int | None:
    """The port to listen on. The default is left alone where others could reach it, and where it is taken: a second
    server on a machine must not fail for a port that nobody asked for. Raises StartupError."""
    port, asked = settings.flight_port, "flight_port" in settings.model_fields_set
    if port is None or (not asked and not is_loopback(settings.host)):
        return None
    why = why_taken(settings.host, port)
    if why is None:
        return port
    if asked:
        raise StartupError(f"cannot listen on {settings.host}:{port} for Arrow Flight: {why}")
    log.warning("Arrow Flight is off: port %d is taken; flight_port says another one", port)
    return None
