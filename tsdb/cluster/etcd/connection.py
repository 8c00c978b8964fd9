"""One HTTP connection to one member of etcd: the only place here that knows sockets. It belongs to one thread."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterator

from tsdb.cluster.etcd.address import Endpoint
from tsdb.errors import ProtocolViolation

REPLY_BYTES_MAX = 64 << 20
LINE_BYTES_MAX = 4 << 20
# What a broken, silent or foreign peer raises.
BROKEN = (OSError, http.client.HTTPException)


class Connection:
    """Connects with the first request. Raises one of ``BROKEN`` then or later: then it is of no more use."""

    def __init__(self, endpoint: Endpoint, tls: ssl.SSLContext | None) -> None:
        self.endpoint = endpoint
        if tls is None:
            self._http = http.client.HTTPConnection(endpoint.host, endpoint.port)
        else:
            self._http = http.client.HTTPSConnection(endpoint.host, endpoint.port, context=tls)

    def allow(self, seconds: float) -> None:
        """How long anything may take from now on until something comes."""
        self._http.timeout = seconds
        if self._http.sock is not None:
            self._http.sock.settimeout(seconds)

    def post(self, path: str, body: bytes, token: str) -> tuple[int, bytes]:
        """(HTTP status, body)"""
        with self._sent(path, body, token) as response:
            found = response.read(REPLY_BYTES_MAX + 1)
            if len(found) > REPLY_BYTES_MAX:
                raise ProtocolViolation(f"etcd at {self.endpoint} answers with more than {REPLY_BYTES_MAX} bytes")
            return response.status, found

    def lines(self, path: str, body: bytes, token: str) -> Iterator[tuple[int, bytes]]:
        """(HTTP status, line), as they come; it ends when the other side ends it."""
        with self._sent(path, body, token) as response:
            while line := response.readline(LINE_BYTES_MAX + 1):
                if len(line) > LINE_BYTES_MAX:
                    raise ProtocolViolation(f"etcd at {self.endpoint} sends a line of more than {LINE_BYTES_MAX} bytes")
                if line.strip():
                    yield response.status, line

    @contextlib.contextmanager
    def _sent(self, path: str, body: bytes, token: str) -> Iterator[http.client.HTTPResponse]:
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = token
        self._http.request("POST", f"/v3/{path}", body, headers)
        response = self._http.getresponse()
        try:
            yield response
        finally:
            response.close()

    def wake(self) -> None:
        """From another thread: whoever waits for this connection gets its end."""
        opened = self._http.sock
        if opened is not None:
            with contextlib.suppress(OSError):
                # Not TLS's shutdown, which is not for two threads.
                socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def close(self) -> None:
        self._http.close()
