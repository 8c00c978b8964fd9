"""A client's side of the protocol, as far as tests need it: messages to bytes, the server's bytes to messages."""

from __future__ import annotations

from collections.abc import Sequence

from tsdb.wire.connection import Connection


def message(letter: bytes, body: bytes = b"") -> bytes:
    return letter + (len(body) + 4).to_bytes(4, "big") + body


def zero(text: str) -> bytes:
    return text.encode() + b"\0"


def packet(body: bytes) -> bytes:
    """A packet without a type, with its length."""
    return (len(body) + 4).to_bytes(4, "big") + body


SSL_REQUEST = packet((80877103).to_bytes(4, "big"))
GSSENC_REQUEST = packet((80877104).to_bytes(4, "big"))


def cancel_request(process_id: int, secret_key: int) -> bytes:
    return packet((80877102).to_bytes(4, "big") + process_id.to_bytes(4, "big") + secret_key.to_bytes(4, "big"))


def startup(minor: int = 0, **parameters: str) -> bytes:
    """Parameter names with a leading ``pq_`` become ``_pq_.``"""
    pairs = b"".join(
        zero(name.replace("pq_", "_pq_.", 1) if name.startswith("pq_") else name) + zero(value)
        for name, value in parameters.items()
    )
    return packet((0x30000 + minor).to_bytes(4, "big") + pairs + b"\0")


def query(text: str) -> bytes:
    return message(b"Q", zero(text))


def parse(text: str, name: str = "", oids: Sequence[int] = ()) -> bytes:
    body = zero(name) + zero(text) + len(oids).to_bytes(2, "big")
    return message(b"P", body + b"".join(oid.to_bytes(4, "big") for oid in oids))


def _codes(codes: Sequence[int]) -> bytes:
    return len(codes).to_bytes(2, "big") + b"".join(code.to_bytes(2, "big") for code in codes)


def bind(
    parameters: Sequence[bytes | None] = (),
    *,
    portal: str = "",
    statement: str = "",
    formats: Sequence[int] = (),
    results: Sequence[int] = (),
) -> bytes:
    body = zero(portal) + zero(statement) + _codes(formats) + len(parameters).to_bytes(2, "big")
    for value in parameters:
        body += b"\xff\xff\xff\xff" if value is None else len(value).to_bytes(4, "big") + value
    return message(b"B", body + _codes(results))


def describe(kind: str, name: str = "") -> bytes:
    return message(b"D", kind.encode() + zero(name))


def execute(portal: str = "", max_rows: int = 0) -> bytes:
    return message(b"E", zero(portal) + max_rows.to_bytes(4, "big"))


def close(kind: str, name: str = "") -> bytes:
    return message(b"C", kind.encode() + zero(name))


def copy_data(data: bytes) -> bytes:
    return message(b"d", data)


SYNC = message(b"S")
FLUSH = message(b"H")
COPY_DONE = message(b"c")
TERMINATE = message(b"X")


def split(octets: bytes) -> list[tuple[str, bytes]]:
    """The server's messages: type letter and body."""
    messages = []
    at = 0
    while at < len(octets):
        length = int.from_bytes(octets[at + 1 : at + 5], "big")
        messages.append((octets[at : at + 1].decode("latin-1"), octets[at + 5 : at + 1 + length]))
        assert at + 1 + length <= len(octets), "a message is cut off"
        at += 1 + length
    return messages


def letters(connection: Connection) -> str:
    """The types of the messages that the server has collected."""
    return "".join(letter for letter, _ in split(connection.data_to_send()))


def error_fields(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by their letters."""
    assert body.endswith(b"\0\0")
    return {field[:1].decode(): field[1:].decode() for field in body[:-2].split(b"\0")}


def connected(**limits: int) -> Connection:
    """A server's connection that has authenticated its client and is idle."""
    connection = Connection(**limits)
    connection.receive(startup(user="ada", database="tsdb"))
    assert connection.next_event() is not None
    connection.authentication_ok()
    connection.ready("I")
    connection.data_to_send()
    return connection
