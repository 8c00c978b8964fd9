"""The binary form of types whose values are texts inside (``tsdb.types.TEXT_FORMS``), both ways, a value at a time.

Source: PostgreSQL 15, point_recv (geo_ops.c), range_recv (rangetypes.c), network_recv (network.c), timetz_recv
(date.c), cash_recv (cash.c).
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from tsdb.datetimes import Context, parse_date, parse_timestamp
from tsdb.errors import InvalidBinaryRepresentation
from tsdb.wire.decimal_text import numeric_octets
from tsdb.zones import Zone, zone

PG_EPOCH_US = 946_684_800_000_000
PG_EPOCH_DAYS = 10_957
_EMPTY, _LOW_INCLUSIVE, _HIGH_INCLUSIVE, _LOW_INFINITE, _HIGH_INFINITE = 1, 2, 4, 8, 16
_AF_INET = 2
_UTC = Context(zone("UTC"), 0)
_EPOCH = datetime(1970, 1, 1)


def _wrong(typname: str) -> InvalidBinaryRepresentation:
    return InvalidBinaryRepresentation(f"incorrect binary data format in bind parameter of type {typname}")


# --- bounds of ranges ---

_BOUND_OCTETS: dict[str, Callable[[str], bytes]] = {
    "int4range": lambda text: struct.pack("!i", int(text)),
    "int8range": lambda text: struct.pack("!q", int(text)),
    "numrange": numeric_octets,
    "daterange": lambda text: struct.pack("!i", parse_date(text, _UTC).days - PG_EPOCH_DAYS),
    "tsrange": lambda text: struct.pack("!q", parse_timestamp(text, _UTC).us - PG_EPOCH_US),
    "tstzrange": lambda text: struct.pack("!q", _utc_us(text) - PG_EPOCH_US),
}
_BOUND = r'("(?:[^"\\]|\\.|"")*"|[^",()\[\]]*)'
_RANGE = re.compile(rf"([\[(]){_BOUND},{_BOUND}([\])])")


def _utc_us(text: str) -> int:
    """A bound of a tstzrange as it is inside: in UTC, with its offset."""
    return parse_timestamp(text.removesuffix("+00"), _UTC).us


def range_in_zone(text: str, zone: Zone) -> str:
    """A tstzrange as a client of a time zone reads it."""

    def local(found: re.Match[str]) -> str:
        us = _utc_us(found[1])
        offset = zone.offset_s(us)
        shown = str(_EPOCH + timedelta(microseconds=us, seconds=offset))
        return f'"{shown.rstrip("0") if "." in shown else shown}{_offset_text(offset)}"'

    return re.sub(r'"([^"]*)"', local, text)


def _offset_text(seconds: int) -> str:
    size = abs(seconds)
    minutes = f":{size // 60 % 60:02d}" if size % 3600 else ""
    return f"{'-' if seconds < 0 else '+'}{size // 3600:02d}{minutes}"


def _range_octets(typname: str, text: str) -> bytes:
    if text == "empty":
        return bytes([_EMPTY])
    found = _RANGE.fullmatch(text)
    assert found is not None, text
    low, high = found[2].strip('"'), found[3].strip('"')
    flags = _LOW_INCLUSIVE * (found[1] == "[") | _HIGH_INCLUSIVE * (found[4] == "]")
    flags |= _LOW_INFINITE * (low == "") | _HIGH_INFINITE * (high == "")
    parts = [_BOUND_OCTETS[typname](bound) for bound in (low, high) if bound]
    return bytes([flags]) + b"".join(struct.pack("!i", len(part)) + part for part in parts)


# --- other types ---


def _point_octets(text: str) -> bytes:
    return struct.pack("!dd", *(float(part) for part in text.strip("()").split(",")))


def _inet_octets(text: str, *, is_cidr: bool) -> bytes:
    found = ipaddress.ip_interface(text)
    octets = found.ip.packed
    family = _AF_INET if found.version == 4 else _AF_INET + 1
    return bytes([family, found.network.prefixlen, is_cidr, len(octets)]) + octets


def _inet_text(data: bytes, *, is_cidr: bool) -> str:
    if len(data) not in (8, 20) or data[0] != (_AF_INET if len(data) == 8 else _AF_INET + 1):
        raise _wrong("cidr" if is_cidr else "inet")
    return f"{ipaddress.ip_address(data[4:])}/{data[1]}"


_TIMETZ = struct.Struct("!qi")


def _timetz_octets(text: str) -> bytes:
    found = re.fullmatch(r"(\d\d):(\d\d):(\d\d)(?:\.(\d+))?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?", text)
    assert found is not None, text
    us = (int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3])) * 1_000_000 + int((found[4] or "").ljust(6, "0"))
    offset = int(found[6]) * 3600 + int(found[7] or 0) * 60 + int(found[8] or 0)
    return _TIMETZ.pack(us, offset if found[5] == "-" else -offset)


def _timetz_text(data: bytes) -> str:
    if len(data) != _TIMETZ.size:
        raise _wrong("time with time zone")
    us, west = _TIMETZ.unpack(data)
    seconds, fraction = divmod(us, 1_000_000)
    size = abs(west)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}"
    return f"{clock}{'-' if west > 0 else '+'}{size // 3600:02d}:{size // 60 % 60:02d}:{size % 60:02d}"


def _money_octets(text: str) -> bytes:
    return struct.pack("!q", int(Decimal(re.sub(r"[$,]", "", text)) * 100))


def _point_text(data: bytes) -> str:
    if len(data) != 16:
        raise _wrong("point")
    return "({!r},{!r})".format(*struct.unpack("!dd", data))


def _money_text(data: bytes) -> str:
    if len(data) != 8:
        raise _wrong("money")
    return str(Decimal(struct.unpack("!q", data)[0]).scaleb(-2))


def _macaddr_text(data: bytes) -> str:
    if len(data) != 6:
        raise _wrong("macaddr")
    return data.hex(":")


_OCTETS: dict[str, Callable[[str], bytes]] = {
    "point": _point_octets,
    "timetz": _timetz_octets,
    "money": _money_octets,
    "macaddr": lambda text: bytes.fromhex(text.replace(":", "")),
    "inet": lambda text: _inet_octets(text, is_cidr=False),
    "cidr": lambda text: _inet_octets(text, is_cidr=True),
}
_TEXTS: dict[str, Callable[[bytes], str]] = {
    "point": _point_text,
    "timetz": _timetz_text,
    "money": _money_text,
    "macaddr": _macaddr_text,
    "inet": lambda data: _inet_text(data, is_cidr=False),
    "cidr": lambda data: _inet_text(data, is_cidr=True),
}


def octets_of(typname: str, text: str) -> bytes:
    """A value's binary form, from the text that PostgreSQL prints of it."""
    return _OCTETS[typname](text) if typname in _OCTETS else _range_octets(typname, text)


def text_of(typname: str, data: bytes, bound: Callable[[str, bytes], str]) -> str:
    """A text that the type's input function reads; ``bound`` gives the text of a subtype's binary value. Raises
    InvalidBinaryRepresentation."""
    if typname in _TEXTS:
        return _TEXTS[typname](data)
    return _range_text(typname, data, bound)


_SUBTYPES = {"int4range": "int4", "int8range": "int8", "numrange": "numeric", "daterange": "date",
             "tsrange": "timestamp", "tstzrange": "timestamptz"}  # fmt: skip


def _range_text(typname: str, data: bytes, bound: Callable[[str, bytes], str]) -> str:
    if not data or data[0] & ~31:
        raise _wrong(typname)
    flags, at = data[0], 1
    if flags & _EMPTY:
        return "empty"
    texts = []
    for infinite in (_LOW_INFINITE, _HIGH_INFINITE):
        if flags & infinite:
            texts.append("")
            continue
        length = int.from_bytes(data[at : at + 4], "big", signed=True)
        if not 0 <= length <= len(data) - at - 4:
            raise _wrong(typname)
        texts.append(f'"{bound(_SUBTYPES[typname], data[at + 4 : at + 4 + length])}"')
        at += 4 + length
    if at != len(data):
        raise _wrong(typname)
    return f"{'[' if flags & _LOW_INCLUSIVE else '('}{texts[0]},{texts[1]}{']' if flags & _HIGH_INCLUSIVE else ')'}"
