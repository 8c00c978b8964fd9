"""The frames of a connection between nodes: head, payload, checksum. Pure; docs/format/transport.md has the picture.

A message is one frame or several: the first says how long the message is, so that its receiver refuses it or makes
room for it once. Frames are short, so that a ping between them does not wait for long.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum, IntFlag
from typing import NamedTuple

from tsdb.errors import ProtocolViolation

MAGIC = b"Tf"

_HEAD = struct.Struct(">2sBBI")
_CHECKSUM = struct.Struct(">I")
_LENGTH = struct.Struct(">I")
HEAD_BYTES = _HEAD.size
CHECKSUM_BYTES = _CHECKSUM.size
OVERHEAD = HEAD_BYTES + CHECKSUM_BYTES
LENGTH_BYTES = _LENGTH.size

FRAME_BYTES_MAX = 256 << 10
"""The longest payload that a frame has, and that a node takes."""

Octets = bytes | bytearray | memoryview


class Kind(IntEnum):
    RAFT = 1
    """A message of the metadata group (``codec``)."""
    STREAM = 2
    """A message of a log stream; what it means is known to those who use the stream."""
    CREDIT = 3
    """How much the other side may have sent by now, from the beginning."""
    PING = 4
    PONG = 5
    BYE = 6
    """The connection ends, and why."""


MESSAGES = frozenset({Kind.RAFT, Kind.STREAM})
_KINDS = {int(kind): kind for kind in Kind}


class Flag(IntFlag):
    FIRST = 1
    """The first frame of a message: its payload begins with the length of the message."""


NO_FLAGS = Flag(0)


class Head(NamedTuple):
    kind: Kind
    flags: Flag
    length: int


def frame(kind: Kind, *parts: Octets, flags: Flag = NO_FLAGS) -> list[Octets]:
    """The frame around the parts, as buffers to be sent one after the other; nothing of them is copied."""
    head = _HEAD.pack(MAGIC, kind, flags, sum(len(part) for part in parts))
    checksum = zlib.crc32(head)
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return [head, *parts, _CHECKSUM.pack(checksum)]


def first_frame(kind: Kind, length: int, part: Octets) -> list[Octets]:
    """The first frame of a message of so many octets."""
    return frame(kind, _LENGTH.pack(length), part, flags=Flag.FIRST)


def read_head(octets: Octets, payload_bytes_max: int) -> Head:
    """The head at the beginning of ``octets``, which hold one. Raises ProtocolViolation."""
    magic, kind, flags, length = _HEAD.unpack_from(octets)
    if magic != MAGIC:
        raise ProtocolViolation(f"a frame between nodes begins with {MAGIC!r}, and this is {bytes(magic)!r}")
    if kind not in _KINDS:
        raise ProtocolViolation(f"a frame has the unknown kind {kind}")
    if flags and (flags != Flag.FIRST or kind not in MESSAGES):
        raise ProtocolViolation(f"a frame {Kind(kind).name} has the unknown flags {flags:#x}")
    if length > payload_bytes_max:
        raise ProtocolViolation(f"a frame of {length} bytes; {payload_bytes_max} are allowed")
    return Head(_KINDS[kind], Flag.FIRST if flags else NO_FLAGS, length)


def check(octets: memoryview) -> None:
    """Whether the whole frame is what was sent. Raises ProtocolViolation."""
    (expected,) = _CHECKSUM.unpack_from(octets, len(octets) - CHECKSUM_BYTES)
    if zlib.crc32(octets[:-CHECKSUM_BYTES]) != expected:
        raise ProtocolViolation(f"the checksum of a frame of {len(octets)} bytes does not hold")


def message_length(payload: memoryview) -> int:
    """The length of the message that a first frame announces. Raises ProtocolViolation."""
    if len(payload) < LENGTH_BYTES:
        raise ProtocolViolation("the first frame of a message does not say how long the message is")
    return int(_LENGTH.unpack_from(payload)[0])
