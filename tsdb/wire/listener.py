"""The asyncio edge: it accepts TCP connections, owns their sockets and runs one task for each.

A task feeds its ``Connection``, hands each event to the client's ``Session`` and writes what the session answered.
It reads ahead only a little while the session works, and writing waits for a client that reads slowly: neither grows
memory nor holds up anybody else. All decisions about the protocol are in ``tsdb.wire.connection``; all answers are
the session's. The contract between the two is in ``tsdb.wire.contract``.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import cast

from tsdb.errors import AdminShutdown, InternalError, QueryCanceled, StartupError, TooManyConnections, TsdbError
from tsdb.wire.connection import MESSAGE_BYTES_MAX, TLS_HANDSHAKE, Connection, Event
from tsdb.wire.contract import Encryption, Session, SessionFactory
from tsdb.wire.messages import Terminate
from tsdb.wire.startup import CancelRequest, GssRequest, SslRequest, Startup

logger = logging.getLogger(__name__)

# How much unread output may lie in memory for one client, and how much input is read ahead of the session.
_OUTPUT_BYTES_MAX = 1 << 18
_INPUT_AHEAD_BYTES = 1 << 18
_FLUSH_BYTES = 1 << 16
# Connections that have not said who they are: a bound of their own, so that they cannot crowd out CancelRequests.
_STRANGERS_MAX = 256
# How long a statement may still run after its client's last byte.
_ORPHAN_GRACE_S = 1.0
# How long a client has to take what was sent before its connection is cut.
_LAST_WORDS_S = 5.0
# After so many events other connections get a turn, should a session answer them all without ever waiting.
_EVENTS_A_TURN = 64
# The name of the protocol in TLS (IANA's registry of ALPN protocol ids).
ALPN = "postgresql"


@dataclass(frozen=True, slots=True)
class Limits:
    connections_max: int = 100
    message_bytes_max: int = MESSAGE_BYTES_MAX
    startup_timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Tls:
    """``certificate`` is the hash that channel binding uses; None when the certificate has no such hash (Ed25519)."""

    context: ssl.SSLContext
    certificate: bytes | None = None


class Listener:
    """Listens on one address. ``port`` 0 takes any free port; after ``start``, ``port`` says which."""

    def __init__(
        self,
        factory: SessionFactory,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: Limits | None = None,
        tls: Tls | None = None,
        process_ids: range = range(1, 2**31),
    ) -> None:
        """``process_ids``: what sessions are numbered by, one after the other and again from the first."""
        self.factory = factory
        self.host = host
        self.port = port
        self.limits = limits or Limits()
        # What the next handshakes use; may be exchanged at any time.
        self.tls = tls
        self._server: asyncio.Server | None = None
        self._peers: set[_Peer] = set()
        self._by_process_id: dict[int, _Peer] = {}
        self._process_ids = process_ids
        self._last_process_id = process_ids.start - 1

    async def start(self) -> None:
        """Bind and accept. Raises ``StartupError`` if the address cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Peer(self), self.host, self.port)
        except OSError as error:
            raise StartupError(f"cannot listen on {self.host}:{self.port} for SQL: {error.strerror}") from error
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def session_count(self) -> int:
        return len(self._by_process_id)

    def cancel(self, process_id: int, secret_key: int) -> bool:
        """Cancel what that session runs now. False if there is no such session."""
        peer = self._by_process_id.get(process_id)
        keys = (secret_key.to_bytes(8, "big"), peer.secret_key.to_bytes(8, "big")) if peer else (b"", b"-")
        if peer is None or not secrets.compare_digest(*keys):
            return False
        peer.cancel()
        return True

    def terminate(self, process_id: int, error: TsdbError | None = None) -> bool:
        """End a session: what it runs is cancelled, then the client gets ``error`` (57P01). False if unknown."""
        peer = self._by_process_id.get(process_id)
        if peer is None:
            return False
        peer.end(error or AdminShutdown("terminating connection due to administrator command"))
        peer.cancel()
        asyncio.get_running_loop().call_later(_LAST_WORDS_S, peer.disconnect)
        return True

    async def close(self, grace_s: float = 5.0) -> None:
        """Accept no more, end idle sessions with 57P01 at once, let running statements end within ``grace_s``,
        then cancel them, then drop whoever still does not take the answer."""
        if self._server is not None:
            self._server.close()
        for peer in list(self._peers):
            peer.end(AdminShutdown("terminating connection due to administrator command"))
        if await self._all_ended(grace_s):
            return
        for peer in list(self._peers):
            peer.cancel()
        if await self._all_ended(1.0):
            return
        for peer in list(self._peers):
            peer.abort()
        await self._all_ended(1.0)

    async def _all_ended(self, timeout_s: float) -> bool:
        tasks = [peer.task for peer in self._peers if peer.task is not None]
        if not tasks:
            return True
        _, running = await asyncio.wait(tasks, timeout=timeout_s)
        return not running

    # --- for _Peer ---

    def admit(self, peer: _Peer) -> bool:
        """Count a new socket; False when strangers are too many."""
        if len(self._peers) - len(self._by_process_id) >= _STRANGERS_MAX:
            return False
        self._peers.add(peer)
        return True

    def register(self, peer: _Peer) -> int:
        """A process id for a starting session. Raises ``TooManyConnections``."""
        if len(self._by_process_id) >= self.limits.connections_max:
            raise TooManyConnections(
                "sorry, too many clients already", hint=f"At most {self.limits.connections_max} sessions are allowed."
            )
        while True:
            following = self._last_process_id + 1
            self._last_process_id = following if following in self._process_ids else self._process_ids.start
            if self._last_process_id not in self._by_process_id:
                break
        self._by_process_id[self._last_process_id] = peer
        return self._last_process_id

    def forget(self, peer: _Peer) -> None:
        self._peers.discard(peer)
        if self._by_process_id.get(peer.process_id) is peer:
            del self._by_process_id[peer.process_id]


class _Peer(asyncio.Protocol):
    """One socket and its task. To its session it is the ``Client``."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._limits = listener.limits
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._busy = False
        self._ending: TsdbError | None = None
        self._eof = False
        self._lost = False
        self._reading_paused = False
        self._input = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._startup_timer: asyncio.TimerHandle | None = None
        self._unsent = (0, 0.0)
        self.task: asyncio.Task[None] | None = None
        self.connection = Connection(message_bytes_max=self._limits.message_bytes_max)
        self.process_id = 0
        self.secret_key = secrets.randbits(32)
        self.address = ""
        self.server_address = ""
        self.encryption: Encryption | None = None
        self.encrypted = False
        self.certificate: bytes | None = None
        # A client that begins with TLS itself: what came before its handshake was handed on.
        self._client_hello: bytearray | None = None
        self._heard = False

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        self._transport = transport
        if not self._listener.admit(self):
            transport.abort()
            return
        name = transport.get_extra_info("peername")
        self.address = f"{name[0]}:{name[1]}" if name else "local"
        own = transport.get_extra_info("sockname")
        self.server_address = f"{own[0]}:{own[1]}" if own else ""
        transport.set_write_buffer_limits(high=_OUTPUT_BYTES_MAX)
        _keep_alive(transport.get_extra_info("socket"))
        loop = asyncio.get_running_loop()
        self._startup_timer = loop.call_later(self._limits.startup_timeout_s, self._startup_expired)
        self.task = loop.create_task(self._run(), name=f"sql client {self.address}")

    def data_received(self, data: bytes) -> None:
        if not self._heard and data[0] == TLS_HANDSHAKE and self._listener.tls is not None:
            self._client_hello = bytearray()
        self._heard = True
        if self._client_hello is not None:
            self._client_hello += data
        else:
            self.connection.receive(data)
        self._input.set()
        if self._busy and self.connection.buffered_bytes > _INPUT_AHEAD_BYTES and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """What was asked before is still answered, but a long statement is not finished for nobody: a client that
        is gone looks the same as one that only stopped sending (PostgreSQL: client_connection_check_interval)."""
        self._eof = True
        self._input.set()
        if self._busy:
            asyncio.get_running_loop().call_later(_ORPHAN_GRACE_S, self.cancel)
        # A TLS transport cannot be half open.
        return not self.encrypted

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._eof = True
        self._input.set()
        self._writable.set()
        if self._busy:
            self.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # --- Client ---

    async def flush(self) -> None:
        octets = self.connection.data_to_send()
        if self._lost or self._transport is None:
            raise ConnectionResetError("the client is gone")
        if octets:
            self._transport.write(octets)
        await self._writable.wait()
        if self._lost:
            raise ConnectionResetError("the client is gone")

    @property
    def blocked(self) -> bool:
        return not self._writable.is_set()

    def stalled_s(self) -> float:
        unsent = self._transport.get_write_buffer_size() if self._transport is not None and not self._lost else 0
        now = asyncio.get_running_loop().time()
        if not unsent or unsent != self._unsent[0]:
            self._unsent = (unsent, now)
        return now - self._unsent[1]

    def terminate(self, error: TsdbError) -> None:
        self._listener.terminate(self.process_id, error)

    # --- for the listener ---

    def cancel(self) -> None:
        if self._session is not None and (self._busy or self.connection.copying_in):
            self._session.cancel()

    def end(self, error: TsdbError) -> None:
        """End as soon as nothing is running."""
        if self._ending is None:
            self._ending = error
        self._input.set()

    def disconnect(self) -> None:
        """Cut the connection; a session that waits for its client to read sees that it is gone."""
        if self._transport is not None:
            self._transport.abort()

    def abort(self) -> None:
        self.disconnect()
        if self.task is not None:
            self.task.cancel()

    # --- the task ---

    async def _run(self) -> None:
        try:
            await self._serve()
        except ConnectionError:
            pass
        except TsdbError as error:
            logger.info("connection of %s ends: %s", self.address, error.message)
            self.connection.fatal(error)
        except Exception:
            logger.exception("the session of %s failed", self.address)
            self.connection.fatal(InternalError("internal error: the session ends"))
        finally:
            await self._finish()

    async def _serve(self) -> None:
        turn = 0
        while True:
            if self._ending is not None:
                raise self._ending
            if self._client_hello is not None:
                await self._begin_with_tls()
            event = self.connection.next_event()
            if event is None:
                if not await self._more_input():
                    return
                continue
            if isinstance(event, Terminate):
                return
            await self._dispatch(event)
            if self.connection.output_bytes >= _FLUSH_BYTES:
                await self.flush()
            turn += 1
            if turn % _EVENTS_A_TURN == 0:
                await asyncio.sleep(0)

    async def _more_input(self) -> bool:
        """Send what is pending and wait for input. False when the connection is over."""
        if self.connection.output_bytes:
            await self.flush()
        if self.connection.closed or self._eof:
            return False
        if self.connection.servers_turn:
            raise RuntimeError("the session left a message unanswered")
        self._input.clear()
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
        if self._ending is None:
            await self._input.wait()
        return True

    async def _dispatch(self, event: Event) -> None:
        if isinstance(event, GssRequest):
            self.connection.refuse_encryption()
        elif isinstance(event, SslRequest):
            await self._answer_ssl()
        elif isinstance(event, CancelRequest):
            self._listener.cancel(event.process_id, event.secret_key)
        else:
            await self._hand_over(event)

    async def _hand_over(self, event: Event) -> None:
        if self._session is None:
            assert isinstance(event, Startup)
            self.process_id = self._listener.register(self)
            self._session = self._listener.factory(self)
        self._busy = True
        try:
            await self._session.handle(event)
        finally:
            self._busy = False
        if self._startup_timer is not None and self.connection.idle:
            self._startup_timer.cancel()
            self._startup_timer = None

    async def _answer_ssl(self) -> None:
        tls = self._listener.tls
        if tls is None or self.encrypted:
            self.connection.refuse_encryption()
            return
        self.connection.accept_encryption()
        await self.flush()
        await self._encrypt(tls, self._handshake(tls))

    async def _begin_with_tls(self) -> None:
        """TLS from the first byte, without an SSLRequest (PostgreSQL 17 manual, 54.2.11): only with its ALPN name, so
        that no client of another protocol is talked into sending us its bytes (ALPACA)."""
        tls = self._listener.tls
        if tls is None:
            raise ConnectionResetError("TLS was switched off meanwhile")
        handshake = asyncio.ensure_future(self._handshake(tls))
        # Its first step puts the TLS protocol onto the transport and stops reading; what came before goes in just
        # before reading goes on, both of which it has only asked for yet.
        await asyncio.sleep(0)
        hello, self._client_hello = self._client_hello, None
        asyncio.get_running_loop().call_soon(self._hand_on, bytes(hello or b""))
        await self._encrypt(tls, handshake)
        assert self._transport is not None
        if self._transport.get_extra_info("ssl_object").selected_alpn_protocol() != ALPN:
            raise ConnectionResetError("a client began with TLS, but not for PostgreSQL")

    def _hand_on(self, octets: bytes) -> None:
        assert self._transport is not None
        protocol = cast(asyncio.BufferedProtocol, self._transport.get_protocol())
        while octets and not self._transport.is_closing():
            room = memoryview(protocol.get_buffer(len(octets)))
            count = min(len(room), len(octets))
            room[:count] = octets[:count]
            protocol.buffer_updated(count)
            octets = octets[count:]

    def _handshake(self, tls: Tls) -> Awaitable[asyncio.Transport | None]:
        assert self._transport is not None
        return asyncio.get_running_loop().start_tls(
            self._transport,
            self,
            tls.context,
            server_side=True,
            ssl_handshake_timeout=self._limits.startup_timeout_s,
        )

    async def _encrypt(self, tls: Tls, handshake: Awaitable[asyncio.Transport | None]) -> None:
        try:
            transport = await handshake
        except OSError as error:  # ssl.SSLError is one
            raise ConnectionResetError(f"TLS handshake failed: {error}") from error
        if transport is None:
            raise ConnectionResetError("the client left during the TLS handshake")
        transport.set_write_buffer_limits(high=_OUTPUT_BYTES_MAX)
        self._transport = transport
        self.encrypted = True
        self.certificate = tls.certificate
        name, version, bits = transport.get_extra_info("cipher") or ("", "", 0)
        version = transport.get_extra_info("ssl_object").version() or version
        self.encryption = Encryption(version, name, bits)

    def _startup_expired(self) -> None:
        self.end(QueryCanceled("canceling authentication due to timeout"))

    async def _finish(self) -> None:
        """Send the last words, let the session release what it holds, close the socket."""
        if self._startup_timer is not None:
            self._startup_timer.cancel()
        try:
            if self._session is not None:
                await self._session.close()
        except Exception:
            logger.exception("the session of %s did not close", self.address)
        finally:
            self._listener.forget(self)
            self._hang_up()

    def _hang_up(self) -> None:
        """Close the socket once the client has taken what is left, or after a while."""
        if self._transport is None:
            return
        if not self._lost:
            self._transport.write(self.connection.data_to_send())
            if self._transport.get_write_buffer_size():
                asyncio.get_running_loop().call_later(_LAST_WORDS_S, self.disconnect)
        self._transport.close()


def _keep_alive(connected: socket.socket | None) -> None:
    """Let the kernel find out that a silent client's machine is gone (two minutes)."""
    if connected is None or connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
