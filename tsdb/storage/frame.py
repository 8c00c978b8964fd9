"""Frames: what every small durable value is wrapped in — a magic, a format version, a payload and a checksum.

Without a checksum 96 % of flipped bits in encoded numbers decode to wrong values without an error (measured), so no
value is stored without one. CRC-32 (zlib's, ISO 3309) finds every error in up to 32 neighbouring bits and runs at
more than 1 GB/s; it is computed over everything before it. Diagram: docs/format/frame.md.
"""

from __future__ import annotations

import struct
import zlib

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
    if len(data) < OVERHEAD or data[:MAGIC_BYTES] != magic:
        raise DataCorrupted(f"{what}: not a frame of its kind ({len(data)} bytes)")
    view = memoryview(data)
    if zlib.crc32(view[:-4]) != _CHECKSUM.unpack_from(data, len(data) - 4)[0]:
        raise DataCorrupted(f"{what}: checksum mismatch in {len(data)} bytes")
    if data[MAGIC_BYTES] != version:
        raise DataCorrupted(f"{what}: format version {data[MAGIC_BYTES]}, known is {version}")
    return view[MAGIC_BYTES + 1 : -4]
