"""bytea: its text forms, encodings and digests. Source: PostgreSQL 15 manual, 8.4, 9.5; encode.c, varlena.c."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from tsdb.errors import InvalidParameterValue, InvalidTextRepresentation, TsdbError
from tsdb.sql.computed.registry import computed

_ESCAPED = re.compile(r"\\(\\|[0-3][0-7]{2})")
_BASE64_LINE = 76


class ArraySubscriptError(TsdbError):
    sqlstate = "2202E"


@computed("py_bytea", "VARCHAR", result="BLOB")
def of_text(text: str) -> bytes:
    """The octets that a bytea text spells: hex after \\x, else the escape form."""
    if text.startswith("\\x"):
        return unhex(re.sub(r"\s", "", text[2:]))
    if "\\" not in text:
        return text.encode()
    rest = _ESCAPED.sub("", text)
    if "\\" in rest:
        raise InvalidTextRepresentation("invalid input syntax for type bytea")
    parts = _ESCAPED.split(text)
    made = bytearray()
    for index, part in enumerate(parts):
        made += part.encode() if index % 2 == 0 else b"\\" if part == "\\" else bytes([int(part, 8)])
    return bytes(made)


def unhex(text: str) -> bytes:
    wrong = re.search(r"[^0-9A-Fa-f]", text)
    if wrong is not None:
        raise InvalidParameterValue(f'invalid hexadecimal digit: "{wrong[0]}"')
    if len(text) % 2:
        raise InvalidParameterValue("invalid hexadecimal data: odd number of digits")
    return bytes.fromhex(text)


@computed("py_encode", "BLOB", "VARCHAR", result="VARCHAR")
def encode(octets: bytes, encoding: str) -> str:
    kind = encoding.lower()
    if kind == "hex":
        return octets.hex()
    if kind == "base64":
        text = base64.b64encode(octets).decode()
        return "\n".join(text[i : i + _BASE64_LINE] for i in range(0, len(text), _BASE64_LINE))
    if kind == "escape":
        return "".join("\\\\" if b == 92 else chr(b) if 0 < b < 128 else f"\\{b:03o}" for b in octets)
    raise InvalidParameterValue(f'unrecognized encoding: "{encoding}"')


@computed("py_decode", "VARCHAR", "VARCHAR", result="BLOB")
def decode(text: str, encoding: str) -> bytes:
    kind = encoding.lower()
    if kind == "hex":
        return unhex(re.sub(r"\s", "", text))
    if kind == "base64":
        try:
            return base64.b64decode(re.sub(r"\s", "", text), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidParameterValue("invalid base64 end sequence") from None
    if kind == "escape":
        return bytes(of_text("\\\\" + text if text.startswith("\\x") else text))
    raise InvalidParameterValue(f'unrecognized encoding: "{encoding}"')


@computed("py_digest", "BLOB", "VARCHAR", result="BLOB")
def digest(octets: bytes, kind: str) -> bytes:
    """md5, sha224, sha256, sha384 or sha512 of octets."""
    return hashlib.new(kind, octets, usedforsecurity=False).digest()


@computed("py_byte", "BLOB", "BIGINT", result="BIGINT")
def get_byte(octets: bytes, index: int) -> int:
    _check(octets, index)
    return octets[index]


@computed("py_set_byte", "BLOB", "BIGINT", "BIGINT", result="BLOB")
def set_byte(octets: bytes, index: int, value: int) -> bytes:
    _check(octets, index)
    return octets[:index] + bytes([value & 255]) + octets[index + 1 :]


def _check(octets: bytes, index: int) -> None:
    if not 0 <= index < len(octets):
        raise ArraySubscriptError(f"index {index} out of valid range, 0..{len(octets) - 1}")


@computed("py_octets_part", "BLOB", "BIGINT", "BIGINT", result="BLOB")
def part(octets: bytes, start: int, length: int) -> bytes:
    """substring(octets from start for length); a length of -1 is to the end."""
    end = len(octets) + 1 if length < 0 else start + length
    return octets[max(start, 1) - 1 : max(end, 1) - 1]


@computed("py_octets_position", "BLOB", "BLOB", result="BIGINT")
def position(part_: bytes, octets: bytes) -> int:
    return octets.find(part_) + 1
