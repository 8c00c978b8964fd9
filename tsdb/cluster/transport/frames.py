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
_WHOLE = struct.Struct(">2sBBII")
HEAD_BYTES = _HEAD.size
CHECKSUM_BYTES = _CHECKSUM.size
OVERHEAD = HEAD_BYTES + CHECKSUM_BYTES
LENGTH_BYTES = _LENGTH.size
WHOLE_OVERHEAD = OVERHEAD + LENGTH_BYTES
"""What a frame has around a message that it holds as a whole."""

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


def whole(kind: Kind, payload: Octets) -> bytes:
    """A message in one frame: as ``first_frame``, in one buffer."""
    size = len(payload)
    octets = _WHOLE.pack(MAGIC, kind, Flag.FIRST, LENGTH_BYTES + size, size) + payload
    return octets + _CHECKSUM.pack(zlib.crc32(octets))


def read_whole(octets: bytes) -> tuple[Kind, memoryview] | None:
    """The message whose only frame these octets are; None if they are anything else, or not right."""
    if len(octets) < WHOLE_OVERHEAD:
        return None
    magic, kind, flags, length, size = _WHOLE.unpack_from(octets)
    if flags != Flag.FIRST or magic != MAGIC or length != LENGTH_BYTES + size or len(octets) != OVERHEAD + length:
        return None
    found, view = _KINDS.get(kind), memoryview(octets)
    (checksum,) = _CHECKSUM.unpack_from(octets, len(octets) - CHECKSUM_BYTES)
    if found not in MESSAGES or checksum != zlib.crc32(view[:-CHECKSUM_BYTES]):
        return None
    return found, view[_WHOLE.size : -CHECKSUM_BYTES]


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
