"""A client that sends single messages and shows the answers as they come: for the order of messages."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence
from types import TracebackType

NAMES = {
    b"R": "Authentication", b"S": "ParameterStatus", b"K": "BackendKeyData", b"Z": "ReadyForQuery",
    b"T": "RowDescription", b"D": "DataRow", b"C": "CommandComplete", b"I": "EmptyQueryResponse",
    b"1": "ParseComplete", b"2": "BindComplete", b"3": "CloseComplete", b"n": "NoData", b"s": "PortalSuspended",
    b"t": "ParameterDescription", b"E": "ErrorResponse", b"N": "NoticeResponse",
    b"G": "CopyInResponse", b"H": "CopyOutResponse", b"d": "CopyData", b"c": "CopyDone",
}  # fmt: skip


def cstring(text: str) -> bytes:
    return text.encode() + b"\0"


def message(letter: bytes, body: bytes = b"") -> bytes:
    return letter + struct.pack("!i", len(body) + 4) + body


def query(text: str) -> bytes:
    return message(b"Q", cstring(text))


def parse(text: str, name: str = "", oids: Sequence[int] = ()) -> bytes:
    return message(b"P", cstring(name) + cstring(text) + struct.pack(f"!h{len(oids)}i", len(oids), *oids))


def bind(
    values: Sequence[bytes | None] = (),
    *,
    portal: str = "",
    statement: str = "",
    formats: Sequence[int] = (),
    results: Sequence[int] = (),
) -> bytes:
    body = cstring(portal) + cstring(statement) + struct.pack(f"!h{len(formats)}h", len(formats), *formats)
    body += struct.pack("!h", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message(b"B", body + struct.pack(f"!h{len(results)}h", len(results), *results))


def describe(kind: str, name: str = "") -> bytes:
    return message(b"D", kind.encode() + cstring(name))


def execute(portal: str = "", rows: int = 0) -> bytes:
    return message(b"E", cstring(portal) + struct.pack("!i", rows))


def close(kind: str, name: str = "") -> bytes:
    return message(b"C", kind.encode() + cstring(name))


SYNC = message(b"S")
FLUSH = message(b"H")


class Refused(Exception):
    """The server ended the connection with an error."""


class RawClient:
    """``parameters`` go into the startup packet; ``status`` is what ParameterStatus said."""

    def __init__(self, host: str, port: int, database: str, parameters: Mapping[str, str]) -> None:
        self._socket = socket.create_connection((host, port), timeout=20)
        self._buffer = b""
        self.status: dict[str, str] = {}
        self.key = (0, 0)
        pairs = {"user": "tester", "database": database, **parameters}
        body = struct.pack("!i", 3 << 16) + b"".join(cstring(k) + cstring(v) for k, v in pairs.items()) + b"\0"
        self._socket.sendall(struct.pack("!i", len(body) + 4) + body)
        try:
            self.startup = self._until("ReadyForQuery")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, *messages: bytes) -> None:
        self._socket.sendall(b"".join(messages))

    def ask(self, *messages: bytes) -> list[str]:
        """Send and show all answers up to ReadyForQuery."""
        self.send(*messages)
        return self._until("ReadyForQuery")

    def simple(self, text: str) -> list[str]:
        return self.ask(query(text))

    def read(self, count: int) -> list[str]:
        """The next answers."""
        return [self._next() for _ in range(count)]

    def _until(self, name: str) -> list[str]:
        shown: list[str] = []
        while True:
            shown.append(self._next())
            if shown[-1].startswith(name):
                return shown

    def _octets(self, count: int) -> bytes:
        while len(self._buffer) < count:
            more = self._socket.recv(1 << 16)
            if not more:
                raise Refused("the connection is over")
            self._buffer += more
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _next(self) -> str:
        letter = self._octets(1)
        (length,) = struct.unpack("!i", self._octets(4))
        return self._show(letter, self._octets(length - 4))

    def _show(self, letter: bytes, body: bytes) -> str:
        name = NAMES[letter]
        if letter == b"S":
            key, value, _ = body.split(b"\0")
            self.status[key.decode()] = value.decode()
            return f"{name} {key.decode()}={value.decode()}"
        if letter == b"K":
            self.key = struct.unpack("!II", body)
            return name
        if letter in (b"C", b"Z"):
            return f"{name} {body.rstrip(bytes(1)).decode()}"
        if letter in (b"E", b"N"):
            fields = {part[:1].decode(): part[1:].decode() for part in body.split(b"\0") if part}
            return f"{name} {fields['S']} {fields['C']} {fields['M']}" + (f" @{fields['P']}" if "P" in fields else "")
        if letter == b"D":
            return f"{name} {_row(body)}"
        if letter == b"T":
            return f"{name} {_columns(body)}"
        if letter == b"t":
            return f"{name} {list(struct.unpack('!' + 'I' * ((len(body) - 2) // 4), body[2:]))}"
        return name


def _row(body: bytes) -> str:
    values: list[str] = []
    at = 2
    for _ in range(struct.unpack("!h", body[:2])[0]):
        (length,) = struct.unpack("!i", body[at : at + 4])
        at += 4
        if length < 0:
            values.append("NULL")
            continue
        raw = body[at : at + length]
        values.append(raw.decode() if all(32 <= each < 127 for each in raw) else raw.hex())
        at += length
    return "|".join(values)


def _columns(body: bytes) -> str:
    names: list[str] = []
    at = 2
    for _ in range(struct.unpack("!h", body[:2])[0]):
        end = body.index(b"\0", at)
        _, _, oid, _, _, code = struct.unpack("!IhIhih", body[end + 1 : end + 19])
        names.append(f"{body[at:end].decode()}:{oid}" + ("/b" if code else ""))
        at = end + 19
    return ",".join(names)
