"""What the listener and a session owe each other. The session (``tsdb.session``) implements ``Session``.

The listener calls, on its event loop and one after the other for each client:

1.  ``factory(client)`` when the startup packet is there; then ``handle(Startup)``. The session asks for a password
    (``client.connection.authentication_…``; the answers come as further events) or sends ``authentication_ok``,
    ``parameter_status`` …, ``backend_key_data(client.process_id, client.secret_key)`` and ``ready("I")``. To refuse
    the client it raises a ``TsdbError``: the listener sends it as FATAL and closes.
2.  ``handle(event)`` for every event in its order. It answers by the methods of ``client.connection``, which collect
    bytes; the listener sends them when no further event is there (so Flush needs nothing, and pipelined answers
    share a packet). A session that produces much calls ``await client.flush()`` after each chunk: it waits while
    the client reads slowly and raises ``ConnectionResetError`` when the client is gone, which the session lets pass.
      * ``Query``: answer everything up to ``ready(status)`` before returning, unless ``copy_in_response`` was sent:
        then return, and take CopyData …, CopyDone or CopyFail as the next events; after the last go on with the
        statements that are left, up to ``ready``.
      * ``Parse, Bind, Describe, Execute, Close``: one answer each, no ``ready``. After ``connection.error`` the
        connection skips everything up to ``Sync`` by itself. Execute may send ``copy_in_response``, as above.
      * ``Sync``: end the implicit transaction, then ``ready(status)``.
      * ``Malformed``: raise ``event.error`` where a statement's error would be raised: for the state it counts as the
        message it should have been (a Query needs ``ready``: ask ``connection.servers_turn``).
      * ``Flush``: nothing to do.
    Errors of statements are the session's to answer (``connection.error``). An exception that leaves ``handle`` ends
    the connection: a ``TsdbError`` goes to the client as FATAL, any other is logged and sent as XX000 without text.
3.  ``close()`` once, at the end, whatever the reason: roll back, release cursors. It may not write.

``cancel()`` is called from elsewhere *while* ``handle`` runs (a CancelRequest on another connection, shutdown, a
vanished client), or between the messages of a COPY FROM: it must return at once and make the running statement fail
with ``QueryCanceled`` soon. It is never called while nothing runs, and a cancel that comes too late must not hit the
next statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tsdb.errors import TsdbError
from tsdb.wire.connection import Connection, Event


@dataclass(frozen=True, slots=True)
class Encryption:
    """TLS of a connection, as pg_stat_ssl shows it."""

    version: str
    cipher: str
    bits: int


class Client(Protocol):
    """One connected client, as its session sees it."""

    @property
    def connection(self) -> Connection: ...

    @property
    def process_id(self) -> int:
        """Unique among the live sessions of this process, positive."""
        ...

    @property
    def secret_key(self) -> int:
        """What a CancelRequest must know: 32 random bits."""
        ...

    @property
    def address(self) -> str:
        """``host:port`` of the client."""
        ...

    @property
    def server_address(self) -> str:
        """``host:port`` that the client connected to."""
        ...

    @property
    def encryption(self) -> Encryption | None:
        """How TLS encrypts; None without it."""
        ...

    @property
    def encrypted(self) -> bool:
        """Whether TLS is on."""
        ...

    @property
    def certificate(self) -> bytes | None:
        """The hash of the server's certificate that TLS uses (RFC 5929, tls-server-end-point), for channel binding."""
        ...

    @property
    def blocked(self) -> bool:
        """Whether ``flush`` would wait for the client to read."""
        ...

    def stalled_s(self) -> float:
        """How long the client has taken nothing of what was sent, seen by the calls of this; 0 if all is sent."""
        ...

    def disconnect(self) -> None:
        """Cut the connection at once; what was not taken is lost."""
        ...

    def terminate(self, error: TsdbError) -> None:
        """End the session: what it runs is cancelled, then the client gets ``error`` as FATAL. On the event loop."""
        ...

    async def flush(self) -> None:
        """Send what ``connection`` has collected; wait while too much is unsent. Raises ``ConnectionResetError``."""
        ...


class Session(Protocol):
    """One client's session; see the module's text for what each call owes."""

    async def handle(self, event: Event) -> None: ...

    def cancel(self) -> None: ...

    async def close(self) -> None: ...


class SessionFactory(Protocol):
    def __call__(self, client: Client) -> Session: ...
