"""How two nodes make sure of each other before anything else is said: who, which cluster, which protocol version.

The dialer says *hello*, the acceptor answers *welcome* or *refusal*. The layout of these three stays for all versions;
their arrays may only grow at the end. A node is known by its number and its uuid together: the uuid is made with the
data directory, so a node that lost its disk is another one, and is not taken for the node that had promised things.

Pure. The certificate's names come from the edge.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias
from uuid import UUID

import msgspec

from tsdb.errors import ProtocolViolation

MAGIC = b"TSDBNODE"
GREETING_BYTES_MAX = 4096
NAME_MAX = 64
TEXT_MAX = 900

OLDEST_VERSION = 1
NEWEST_VERSION = 1

_HEAD = struct.Struct(">8sBI")
_CHECKSUM = struct.Struct(">I")
HEAD_BYTES = _HEAD.size


class Purpose(IntEnum):
    """What a connection is for. Members have two to each other, so that what is long does not hold up what is urgent.

    One that is no member is a *guest*: nobody knows it but by its certificate, and nobody dials it, so its connection
    carries messages both ways, and nothing but what its purpose is. So does a member's *line*.
    """

    CONTROL = 1
    LOG = 2
    CLIENT = 3
    """One that follows what is committed and is no member: a router."""
    ROUNDS = 4
    """A line (``lines``) of a member: its questions of reads, and their answers back."""


OF_MEMBERS = (Purpose.CONTROL, Purpose.LOG)
OF_GUESTS = (Purpose.CLIENT,)


class Reason(IntEnum):
    """Why a node is refused."""

    VERSION = 1
    CLUSTER = 2
    RECEIVER = 3
    """The one that was dialed is somebody else by now."""
    STRANGER = 4
    """No member has this number."""
    UUID = 5
    """The member of this number is another one."""
    NAME = 6
    """The certificate is another node's."""
    ROOM = 7
    """There are as many guests as there may be."""


class Refused(Exception):
    """One of the two will not talk to the other; dialing again changes nothing before somebody changes something."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a node is: its cluster, its number there, what its directory says, and the name in its certificate."""

    cluster: UUID
    node: int
    uuid: UUID
    name: str

    def __str__(self) -> str:
        return f"node {self.node} ({self.name}, {self.uuid})"


NOT_KNOWN = UUID(int=0)
"""A cluster or a node that a guest has not heard of yet."""
SOMEBODY = Identity(NOT_KNOWN, 0, NOT_KNOWN, "")
"""Who is dialed by a guest that knows an address and nothing else."""


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """The last three are what the dialer takes, as in ``Welcome``; members take nothing but over their lines."""

    oldest: int
    newest: int
    purpose: Purpose
    cluster: UUID
    sender: int
    sender_uuid: UUID
    sender_name: str
    to: int
    to_uuid: UUID
    frame_bytes_max: int = 0
    message_bytes_max: int = 0
    window: int = 0


class Welcome(msgspec.Struct, frozen=True, array_like=True):
    """``frame_bytes_max``, ``message_bytes_max`` and ``window`` are what the acceptor takes.

    ``cluster`` and ``node`` tell a guest who it is that answers.
    """

    version: int
    uuid: UUID
    name: str
    frame_bytes_max: int
    message_bytes_max: int
    window: int
    cluster: UUID = NOT_KNOWN
    node: int = 0


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    reason: Reason
    text: str


Greeting: TypeAlias = Hello | Welcome | Refusal
_KINDS: dict[int, type[Greeting]] = {1: Hello, 2: Welcome, 3: Refusal}
_NUMBERS = {type_: number for number, type_ in _KINDS.items()}
_ENCODER = msgspec.msgpack.Encoder()
_DECODERS = {number: msgspec.msgpack.Decoder(type_) for number, type_ in _KINDS.items()}


def encode(greeting: Greeting) -> bytes:
    body = _ENCODER.encode(greeting)
    assert len(body) <= GREETING_BYTES_MAX, "a greeting is short"
    octets = _HEAD.pack(MAGIC, _NUMBERS[type(greeting)], len(body)) + body
    return octets + _CHECKSUM.pack(zlib.crc32(octets))


def length_of(octets: bytes | bytearray) -> int | None:
    """How long the greeting is that begins here; None as long as that is not known. Raises ProtocolViolation."""
    if not MAGIC.startswith(octets[: len(MAGIC)]):
        raise ProtocolViolation(
            f"this port speaks the protocol between nodes, which begins with {MAGIC!r}",
            detail=f"It began with {bytes(octets[: len(MAGIC)])!r}.",
        )
    if len(octets) < HEAD_BYTES:
        return None
    _, number, length = _HEAD.unpack_from(octets)
    if number not in _KINDS or length > GREETING_BYTES_MAX:
        raise ProtocolViolation(f"a greeting of kind {number} and {length} bytes is not one")
    return HEAD_BYTES + int(length) + _CHECKSUM.size


def decode(octets: bytes) -> Greeting:
    """The greeting that is all of ``octets``. Raises ProtocolViolation."""
    if zlib.crc32(octets[: -_CHECKSUM.size]) != _CHECKSUM.unpack_from(octets, len(octets) - _CHECKSUM.size)[0]:
        raise ProtocolViolation("the checksum of a greeting does not hold")
    try:
        said = _DECODERS[octets[len(MAGIC)]].decode(octets[HEAD_BYTES : -_CHECKSUM.size])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation(f"a greeting cannot be read: {error}") from None
    name = said.sender_name if isinstance(said, Hello) else said.name if isinstance(said, Welcome) else ""
    if len(name) > NAME_MAX:
        raise ProtocolViolation(f"a node's name of {len(name)} characters; {NAME_MAX} are allowed")
    return said


def hello(
    me: Identity, peer: Identity, purpose: Purpose, versions: tuple[int, int], takes: tuple[int, int, int] = (0, 0, 0)
) -> Hello:
    return Hello(*versions, purpose, me.cluster, me.node, me.uuid, me.name, peer.node, peer.uuid, *takes)


def judge(
    said: Hello, me: Identity, members: Mapping[int, Identity], certified: Collection[str], versions: tuple[int, int]
) -> tuple[int, Identity]:
    """The protocol version to speak with who said that, and who it is. Raises Refused, with a text for both sides."""
    oldest, newest = versions
    version = min(newest, said.newest)
    if version < max(oldest, said.oldest):
        raise Refused(
            Reason.VERSION,
            f"node {said.sender} speaks protocol versions {said.oldest} to {said.newest}, "
            f"node {me.node} {oldest} to {newest}: upgrade the older one",
        )
    guest = said.purpose in OF_GUESTS
    who = f"node {said.sender} ({said.sender_name}, {said.sender_uuid})"
    if said.cluster != me.cluster and not (guest and said.cluster == NOT_KNOWN):
        raise Refused(Reason.CLUSTER, f"{who} is of cluster {said.cluster}, and {me} of cluster {me.cluster}")
    somebody = guest and (said.to, said.to_uuid) == (SOMEBODY.node, SOMEBODY.uuid)
    if (said.to, said.to_uuid) != (me.node, me.uuid) and not somebody:
        raise Refused(Reason.RECEIVER, f"{who} looks for node {said.to} ({said.to_uuid}), and this is {me}")
    return version, _guest(said, me, certified) if guest else _member(said, who, me, members, certified)


def _member(
    said: Hello, who: str, me: Identity, members: Mapping[int, Identity], certified: Collection[str]
) -> Identity:
    member = members.get(said.sender)
    if member is None:
        raise Refused(Reason.STRANGER, f"{who} is no member of the cluster that {me} knows")
    if said.sender_uuid != member.uuid:
        raise Refused(
            Reason.UUID,
            f"{who} says that it is {member}: a node that lost its data joins again as a new one",
        )
    check_name(said.sender_name, member, certified)
    return member


def _guest(said: Hello, me: Identity, certified: Collection[str]) -> Identity:
    """Whatever number it says that it has is not believed: it is no member."""
    guest = Identity(me.cluster, 0, said.sender_uuid, said.sender_name)
    check_name(said.sender_name, guest, certified)
    return guest


def check_name(said: str, member: Identity, certified: Collection[str]) -> None:
    """Whether somebody is who the membership says, by its certificate. Raises Refused."""
    if said != member.name or said not in certified:
        names = ", ".join(sorted(certified)) or "no node"
        raise Refused(Reason.NAME, f"{member} came as {said!r} with a certificate of {names}")


def accept(answer: Welcome, peer: Identity, certified: Collection[str], versions: tuple[int, int]) -> Identity:
    """Who answered, if it is the one that was dialed. Raises Refused, ProtocolViolation."""
    if peer.uuid == NOT_KNOWN:
        if peer.cluster not in (NOT_KNOWN, answer.cluster):
            raise Refused(Reason.CLUSTER, f"a node of cluster {peer.cluster} was dialed, and this is {answer.cluster}")
        peer = Identity(answer.cluster, answer.node, answer.uuid, answer.name)
    if answer.uuid != peer.uuid:
        raise Refused(Reason.UUID, f"{peer} was dialed, and {answer.uuid} answered")
    check_name(answer.name, peer, certified)
    if not versions[0] <= answer.version <= versions[1]:
        raise ProtocolViolation(f"{peer} chose protocol version {answer.version}, which was not offered")
    return peer
