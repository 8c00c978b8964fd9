"""What an operator's command, or a node that wants to join, says to a node: one request a connection, one answer.

Each is a length of four bytes and a msgpack array, inside TLS with a certificate of the cluster on both sides
(``transport.tls.OPERATOR_PROTOCOL``). Layout: docs/format/transport.md.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import msgspec

from tsdb import errors
from tsdb.cluster.metadata.commands import NewMember
from tsdb.errors import ProtocolViolation, TsdbError

MESSAGE_BYTES_MAX = 4 << 20
LENGTH = struct.Struct(">I")


class Join(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A new directory asks to be a node. Answered by ``Joined``."""

    member: NewMember


class Status(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Answered by ``Report``."""


class Drain(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A node is given nothing new to hold, or (not ``draining``) may hold parts again."""

    node: int
    draining: bool


class Remove(msgspec.Struct, frozen=True, array_like=True, tag=4):
    node: int
    accept_loss: bool


class Transfer(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Have another voter lead."""

    to: int


class Replicate(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """How many nodes have each database that is created from now on, or one that there is, by its name."""

    factor: int
    database: str = ""


class Check(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Compare the replicas of what the asked node leads of a database, by its name; wait for so many seconds."""

    database: str
    seconds: float


class Rebalance(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Have databases where all nodes have about as much; or (``dry_run``) only say what would be moved."""

    dry_run: bool


class Spread(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Cut a database's ring into so many arcs, each of which may be at nodes of its own."""

    database: str
    arcs: int


class Split(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Cut an arc of a database in two, at the median of what was written to it; ``arc`` from 1 on, 0: that to which
    most was written. ``dry_run``: only say what would be done."""

    database: str
    arc: int
    dry_run: bool


class Merge(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Have an arc of a database and the next one be one; ``arc`` 0: the two to which least was written."""

    database: str
    arc: int
    dry_run: bool


class Peer(msgspec.Struct, frozen=True, array_like=True):
    """Where a node is to be found."""

    node: int
    uuid: bytes
    name: str
    address: str


class Joined(msgspec.Struct, frozen=True, array_like=True, tag=1):
    node: int
    cluster: bytes
    peers: tuple[Peer, ...]


class NodeReport(msgspec.Struct, frozen=True, array_like=True):
    """``match`` and ``silent_s`` are the leader's to say; −1 where they are not known."""

    node: int
    uuid: bytes
    name: str
    addresses: tuple[tuple[str, str], ...]
    role: str
    draining: bool
    locations: int
    leads: int
    match: int = -1
    silent_s: float = -1.0


class Report(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The cluster as one node sees it. ``clock_offset_s``: how far the others' clocks are ahead; None: not known.
    ``replication_factor``: of databases that are created from now on; 0: an older node does not say. ``notes``: what an
    operator should not overlook."""

    node: int
    cluster: bytes
    leader: int
    term: int
    committed: int
    applied: int
    clock_offset_s: float | None
    nodes: tuple[NodeReport, ...]
    replication_factor: int = 0
    notes: tuple[str, ...] = ()


class Done(msgspec.Struct, frozen=True, array_like=True, tag=3):
    text: str


class Checked(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """How many locations the database has; of those that the node leads the ones of which all voters have said what
    they have, and those of them where something differs."""

    node: int
    locations: int
    compared: tuple[int, ...]
    different: tuple[int, ...]


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """``error`` is the class in ``tsdb.errors``."""

    error: str
    message: str
    hint: str | None = None


Request: TypeAlias = Join | Status | Drain | Remove | Transfer | Replicate | Check | Rebalance | Spread | Split | Merge
Response: TypeAlias = Joined | Report | Done | Failed | Checked

_ENCODER = msgspec.msgpack.Encoder()
_REQUEST: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_RESPONSE: msgspec.msgpack.Decoder[Response] = msgspec.msgpack.Decoder(Response)


def encode(message: Request | Response) -> bytes:
    body = _ENCODER.encode(message)
    return LENGTH.pack(len(body)) + body


def length(head: bytes) -> int:
    """Raises ProtocolViolation."""
    (size,) = LENGTH.unpack(head)
    if size > MESSAGE_BYTES_MAX:
        raise ProtocolViolation(f"a message of {size} bytes, and at most {MESSAGE_BYTES_MAX} are taken")
    return int(size)


def decode_request(body: bytes) -> Request:
    """Raises ProtocolViolation."""
    try:
        return _REQUEST.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation(f"a request that this version does not know: {error}") from None


def decode_response(body: bytes) -> Response:
    """Raises ProtocolViolation."""
    try:
        return _RESPONSE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation(f"an answer that this version does not know: {error}") from None


def failed(error: TsdbError) -> Failed:
    return Failed(type(error).__name__, error.message, error.hint)


def error_of(answer: Failed) -> TsdbError:
    kind = getattr(errors, answer.error, None)
    if not (isinstance(kind, type) and issubclass(kind, TsdbError)):
        kind = errors.InternalError
    return kind(answer.message, hint=answer.hint)
