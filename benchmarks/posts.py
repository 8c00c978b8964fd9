"""POSTs over one kept connection with as little work as can be: client and server share the cores.

The body goes out as it is, behind the head in one call; of the answer no more is read than a measurement needs.
"""

from __future__ import annotations

import re
import socket
import struct
from typing import NamedTuple

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: *([\d.]+)\r\n", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)


class Answer(NamedTuple):
    """``retry_after`` in seconds, 0 if the server does not say."""

    status: int
    body: bytes
    retry_after: float


class Posts:
    """``headers`` are lines of their own; a connection that the server closed is opened anew."""

    def __init__(self, port: int, target: str, headers: str = "", seconds_max: int = 600) -> None:
        self._port = port
        self._seconds_max = seconds_max
        self._head = f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}Content-Length: ".encode()
        self._socket: socket.socket | None = None

    def post(self, body: bytes | memoryview) -> Answer:
        """Send a body and wait for the answer."""
        if self._socket is None:
            self._socket = self._connected()
        head = b"%b%d%b" % (self._head, len(body), _END)
        rest = [memoryview(head), memoryview(body)]
        while rest:
            sent = self._socket.sendmsg(rest)
            while rest and sent >= len(rest[0]):
                sent -= len(rest.pop(0))
            if rest:
                rest[0] = rest[0][sent:]
        return self._answer(self._socket)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        found = socket.create_connection(("127.0.0.1", self._port))
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A time-out of Python's own costs a poll for each call.
        limit = struct.pack("ll", self._seconds_max, 0)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        return found

    def _answer(self, connection: socket.socket) -> Answer:
        come = b""
        while _END not in come:
            come += _received(connection)
        head, _, body = come.partition(_END)
        head += b"\r\n"
        status, length = int(head[9:12]), _LENGTH.search(head)
        if status != 204:
            while length is not None and len(body) < int(length[1]):
                body += _received(connection)
        if _CLOSES.search(head):
            self.close()
        retry_after = _RETRY_AFTER.search(head)
        return Answer(status, body, float(retry_after[1]) if retry_after is not None else 0.0)


def _received(connection: socket.socket) -> bytes:
    found = connection.recv(65_536)
    if not found:
        raise ConnectionResetError("the server closed the connection without an answer")
    return found
