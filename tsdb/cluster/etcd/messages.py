"""Requests to etcd and its replies, as its JSON gateway has them. No I/O.

Keys and values are base64 in JSON, 64-bit integers come as strings, and what is zero or empty is left out.

Source: etcd 3.4, ``rpc.proto``; the gRPC gateway's mapping is that of protocol buffers' JSON.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tsdb.errors import ProtocolViolation

T_MAX = 200


class KeyValue(msgspec.Struct, frozen=True):
    """A key as it was at a revision: written first, last, under which lease (0: none)."""

    key: bytes
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    lease: int = 0


class Header(msgspec.Struct, frozen=True):
    revision: int = 0
    """Of the whole store, which rises with every change of anything."""


# Requests


class Range(msgspec.Struct, frozen=True, omit_defaults=True):
    """Keys in the half-open [key, range_end), or one. ``revision`` 0: now, linearizable."""

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    serializable: bool = False


class Put(msgspec.Struct, frozen=True, omit_defaults=True):
    key: bytes
    value: bytes
    lease: int = 0


class DeleteRange(msgspec.Struct, frozen=True, omit_defaults=True):
    key: bytes
    range_end: bytes = b""


class Compare(msgspec.Struct, frozen=True, omit_defaults=True):
    """That a key has a value, or was created at a revision (0: it is not there)."""

    key: bytes
    target: str
    result: str = "EQUAL"
    value: bytes | None = None
    create_revision: int | None = None


def has_value(key: bytes, value: bytes) -> Compare:
    return Compare(key, "VALUE", value=value)


def created_at(key: bytes, revision: int) -> Compare:
    return Compare(key, "CREATE", create_revision=revision)


def absent(key: bytes) -> Compare:
    return created_at(key, 0)


class Operation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of a transaction; exactly one field is given."""

    request_range: Range | None = None
    request_put: Put | None = None
    request_delete_range: DeleteRange | None = None


def operation(request: Range | Put | DeleteRange) -> Operation:
    if isinstance(request, Range):
        return Operation(request_range=request)
    return Operation(request_put=request) if isinstance(request, Put) else Operation(request_delete_range=request)


class Transaction(msgspec.Struct, frozen=True):
    """Does ``success`` if everything compares, else ``failure``; all at one revision."""

    compare: tuple[Compare, ...]
    success: tuple[Operation, ...]
    failure: tuple[Operation, ...] = ()


class Grant(msgspec.Struct, frozen=True):
    seconds: int = msgspec.field(name="TTL")


class KeepAlive(msgspec.Struct, frozen=True):
    lease: int = msgspec.field(name="ID")


class Revoke(msgspec.Struct, frozen=True):
    lease: int = msgspec.field(name="ID")


class Authenticate(msgspec.Struct, frozen=True):
    name: str
    password: str

    def __repr__(self) -> str:
        return f"Authenticate({self.name!r})"


class WatchFrom(msgspec.Struct, frozen=True):
    key: bytes
    range_end: bytes
    start_revision: int


class Watch(msgspec.Struct, frozen=True):
    create_request: WatchFrom


# Replies


class Ranged(msgspec.Struct, frozen=True):
    """``count`` keys are in the range, of which ``more`` than these were not asked for."""

    header: Header = Header()
    kvs: tuple[KeyValue, ...] = ()
    more: bool = False
    count: int = 0


class Done(msgspec.Struct, frozen=True):
    header: Header = Header()


class Answered(msgspec.Struct, frozen=True):
    """What one operation of a transaction gave; only of a range it matters."""

    response_range: Ranged | None = None


class Transacted(msgspec.Struct, frozen=True):
    header: Header
    succeeded: bool = False
    responses: tuple[Answered, ...] = ()

    def ranged(self, at: int) -> Ranged:
        """What the range that was operation ``at`` found. Raises ProtocolViolation."""
        found = self.responses[at].response_range if at < len(self.responses) else None
        if found is None:
            raise ProtocolViolation("etcd answered a transaction without the range that it was asked for")
        return found


class Granted(msgspec.Struct, frozen=True):
    lease: int = msgspec.field(name="ID")
    seconds: int = msgspec.field(name="TTL")


class KeptAlive(msgspec.Struct, frozen=True):
    """``seconds`` are 0 for a lease that there is not (any more)."""

    lease: int = msgspec.field(name="ID", default=0)
    seconds: int = msgspec.field(name="TTL", default=0)


class Authenticated(msgspec.Struct, frozen=True):
    token: str


class Event(msgspec.Struct, frozen=True):
    """A change of a key: ``PUT``, which is left out, or ``DELETE``."""

    kv: KeyValue
    type: str = "PUT"


class Watched(msgspec.Struct, frozen=True):
    """``canceled`` with a ``compact_revision``: what was asked for is not kept any more."""

    header: Header = Header()
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    events: tuple[Event, ...] = ()


class Failure(msgspec.Struct, frozen=True):
    """A refusal; ``code`` is gRPC's. In a stream it has other names."""

    message: str = ""
    code: int = 0
    grpc_code: int = 0


class _KeptAliveLine(msgspec.Struct, frozen=True):
    result: KeptAlive | None = None
    error: Failure | None = None


class _WatchedLine(msgspec.Struct, frozen=True):
    result: Watched | None = None
    error: Failure | None = None


_ENCODER = msgspec.json.Encoder()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def encode(request: msgspec.Struct) -> bytes:
    return _ENCODER.encode(request)


def decode(body: bytes, kind: type[msgspec.Struct]) -> Any:
    """A reply of this kind. Raises ProtocolViolation."""
    decoder = _decoders.get(kind)
    if decoder is None:
        # Not strict: numbers of 64 bits are strings.
        decoder = _decoders.setdefault(kind, msgspec.json.Decoder(kind, strict=False))
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation(f"etcd's answer is not the one to this request: {error}: {body[:T_MAX]!r}") from error


def failure_of(body: bytes) -> Failure:
    """A refusal's reason, of whatever was answered."""
    try:
        return msgspec.json.decode(body, type=Failure, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Failure(body[:T_MAX].decode("utf-8", "replace").strip())


def kept_alive(body: bytes) -> KeptAlive | Failure:
    """What a stream of one line says. Raises ProtocolViolation."""
    line = decode(body.partition(b"\n")[0], _KeptAliveLine)
    return _one_of(line.result, line.error)  # type: ignore[no-any-return]


def watched(line: bytes) -> Watched | Failure:
    """One line of a watch. Raises ProtocolViolation."""
    decoded = decode(line, _WatchedLine)
    return _one_of(decoded.result, decoded.error)  # type: ignore[no-any-return]


def _one_of(result: Any, error: Failure | None) -> Any:
    if error is not None:
        return Failure(error.message, error.code or error.grpc_code)
    if result is None:
        raise ProtocolViolation("etcd sent a line with neither a result nor an error")
    return result


def after(prefix: bytes) -> bytes:
    """The first key behind all that begin with ``prefix``, which does not end with 0xff."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
