"""The file of a hint: a comment line of line protocol with what is known of it, then its lines as they were sent."""

from __future__ import annotations

import zlib
from dataclasses import replace

import msgspec

from tsdb.errors import DataCorrupted
from tsdb.model.hints import Hint

_MAGIC = b"# tsdb hint 1 "
_CHECKSUM_DIGITS = 8
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Hint)

Octets = bytes | bytearray | memoryview


def described(hint: Hint, body: Octets) -> Hint:
    """The hint with the size and the checksum of its lines."""
    return replace(hint, body_bytes=len(body), checksum=zlib.crc32(body))


def head_of(hint: Hint) -> bytes:
    """The first line, with its newline: JSON escapes those of names and reasons."""
    json = _encoder.encode(hint)
    return b"%b%08x %b\n" % (_MAGIC, zlib.crc32(json), json)


def hint_of(head: bytes) -> Hint:
    """The hint of a first line. Raises DataCorrupted."""
    start = len(_MAGIC) + _CHECKSUM_DIGITS + 1
    json = head[start:-1]
    if not (head.startswith(_MAGIC) and head.endswith(b"\n")):
        raise DataCorrupted("it does not begin like a hint")
    if head[len(_MAGIC) : start] != b"%08x " % zlib.crc32(json):
        raise DataCorrupted("its first line is damaged")
    try:
        return _decoder.decode(json)
    except msgspec.MsgspecError as error:
        raise DataCorrupted(f"its first line cannot be read: {error}") from error


def body_of(octets: bytes) -> bytes:
    """What comes after the first line."""
    return octets[octets.find(b"\n") + 1 :]


def check_body(hint: Hint, body: Octets) -> None:
    """Raises DataCorrupted."""
    if len(body) != hint.body_bytes or zlib.crc32(body) != hint.checksum:
        raise DataCorrupted("its lines are damaged")
