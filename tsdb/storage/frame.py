"""Frames: what every small durable value is wrapped in — a magic, a format version, a payload and a checksum.

Without a checksum 96 % of flipped bits in encoded numbers decode to wrong values without an error (measured), so no
value is stored without one. CRC-32 (zlib's, ISO 3309) finds every error in up to 32 neighbouring bits and runs at
more than 1 GB/s; it is computed over everything before it. Diagram: docs/format/frame.md.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection

from tsdb.errors import DataCorrupted

MAGIC_BYTES = 2
OVERHEAD = MAGIC_BYTES + 1 + 4

_CHECKSUM = struct.Struct(">I")


def seal(magic: bytes, version: int, *parts: bytes) -> bytes:
    """The frame around the concatenation of ``parts``."""
    body = b"".join((magic, bytes((version,)), *parts))
    return body + _CHECKSUM.pack(zlib.crc32(body))


def unseal(data: bytes, magic: bytes, version: int, what: str) -> memoryview:
    """The payload of a frame, as a view of ``data``. ``what`` names the value in the error.

    Raises DataCorrupted on a wrong magic, an unknown version or a checksum that does not hold.
    """
    return unseal_any(data, magic, (version,), what)[1]


def unseal_any(data: bytes, magic: bytes, versions: Collection[int], what: str) -> tuple[int, memoryview]:
    """(version, payload) of a frame that may have one of several versions; else as ``unseal``."""
    if len(data) < OVERHEAD or data[:MAGIC_BYTES] != magic:
        raise DataCorrupted(f"{what}: not a frame of its kind ({len(data)} bytes)")
    view = memoryview(data)
    if zlib.crc32(view[:-4]) != _CHECKSUM.unpack_from(data, len(data) - 4)[0]:
        raise DataCorrupted(f"{what}: checksum mismatch in {len(data)} bytes")
    if data[MAGIC_BYTES] not in versions:
        raise DataCorrupted(f"{what}: format version {data[MAGIC_BYTES]}, known is {max(versions)}")
    return data[MAGIC_BYTES], view[MAGIC_BYTES + 1 : -4]
