"""Types whose values are texts inside and on disk: point, ranges, timetz, inet, cidr, macaddr, money. Their input.

Each takes a text to the one that PostgreSQL prints, so that equal values are equal texts (but for ``numrange``); where
texts do not stand in the values' order, ``order_key`` does. ``ranges``, ``network`` and ``money`` have the larger ones.
Source: PostgreSQL 15 manual, 8.5, 8.8, 8.9; geo_ops.c, date.c, mac.c.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable
from decimal import Decimal

from tsdb.errors import (
    DataError,
    DatetimeFieldOverflow,
    InvalidDatetimeFormat,
    InvalidTextRepresentation,
)
from tsdb.sql import datetime_text
from tsdb.sql.computed import money, network, order_keys, ranges
from tsdb.sql.computed.registry import computed
from tsdb.sql.context import zone_of

_NUMBER = r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?|[+-]?inf(?:inity)?|nan)\s*"
_POINT = re.compile(rf"\s*(?:\({_NUMBER},{_NUMBER}\)|{_NUMBER},{_NUMBER})\s*", re.I)


def _invalid(name: str, text: str, detail: str | None = None) -> InvalidTextRepresentation:
    return InvalidTextRepresentation(f'invalid input syntax for type {name}: "{text[:200]}"', detail=detail)


def point(text: str) -> str:
    found = _POINT.fullmatch(text)
    if found is None:
        raise _invalid("point", text)
    return "({},{})".format(*(float_text(float(part)) for part in found.groups() if part is not None))


def float_text(value: float) -> str:
    """As float8out: the fewest digits that read back, with an exponent from 1e+15 on and below 1e-04."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"inf": "Infinity", "-inf": "-Infinity"}.get(repr(value), "NaN")
    mantissa, _, exponent = repr(value).partition("e")
    if exponent:
        return f"{mantissa}e{exponent}" if int(exponent) >= 15 or int(exponent) < -4 else f"{Decimal(repr(value)):f}"
    if abs(value) >= 1e15:
        shifted = f"{Decimal(mantissa).normalize():e}"
        return re.sub(r"e\+?(\d)$", r"e+0\1", shifted)
    return mantissa.removesuffix(".0")


# --- times, hardware addresses, money ---


def timetz(text: str, zone: str) -> str:
    """A clock and an offset; a text without one is of the session's zone, which has today's offset."""
    found = re.fullmatch(r"(.*?)\s*([+-]\d{1,2}(?::?\d{2}){0,2}|Z|[A-Za-z]+(?:/[A-Za-z_]+)*)?\s*", text, re.DOTALL)
    assert found is not None
    clock, suffix = found[1], found[2]
    if suffix and suffix.lower() in ("am", "pm"):
        clock, suffix = text, None
    try:
        us = datetime_text.read_time(clock)
    except InvalidDatetimeFormat:
        raise _not_timetz(text) from None
    except DatetimeFieldOverflow:
        raise DatetimeFieldOverflow(f'date/time field value out of range: "{text[:100]}"') from None
    return _clock_text(us) + _offset_text(_offset_s(suffix, zone, text))


def _not_timetz(text: str) -> InvalidDatetimeFormat:
    return InvalidDatetimeFormat(f'invalid input syntax for type time with time zone: "{text[:100]}"')


def _offset_s(suffix: str | None, zone: str, text: str) -> int:
    digits = re.fullmatch(r"([+-])(\d{1,2})(?::?(\d{2}))?(?::?(\d{2}))?", suffix or "")
    if digits is not None:
        size = int(digits[2]) * 3600 + int(digits[3] or 0) * 60 + int(digits[4] or 0)
        if size >= 16 * 3600:
            raise DataError(f'time zone displacement out of range: "{text[:100]}"')
        return -size if digits[1] == "-" else size
    if suffix and suffix.upper() not in ("Z", "ZULU", "UTC", "GMT"):
        raise _not_timetz(text)  # which offset a zone has, only a date tells
    offset = datetime.datetime.now(zone_of("UTC" if suffix else zone)).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _clock_text(us: int) -> str:
    seconds, fraction = divmod(us, 1_000_000)
    shown = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{shown}.{fraction:06d}".rstrip("0") if fraction else shown


def _offset_text(seconds: int) -> str:
    size = abs(seconds)
    shown = f"{'-' if seconds < 0 else '+'}{size // 3600:02d}"
    if size % 3600:
        shown += f":{size // 60 % 60:02d}"
    return shown + (f":{size % 60:02d}" if size % 60 else "")


_MAC = re.compile(
    r"\s*(?:{0}([:-]){0}\1{0}\1{0}\1{0}\1{0}|{1}[:-]{1}|{2}[.-]{2}[.-]{2}|{0}{0}{0}{0}{0}{0})\s*".replace(
        "{1}", "[0-9a-f]{6}").replace("{2}", "[0-9a-f]{4}").replace("{0}", "[0-9a-f]{2}"), re.I
)  # fmt: skip


def macaddr(text: str) -> str:
    if _MAC.fullmatch(text) is None:
        raise _invalid("macaddr", text)
    digits = re.sub(r"[^0-9a-f]", "", text.lower())
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


_READERS: dict[str, Callable[[str], str]] = {
    "point": point, "inet": network.inet, "cidr": network.cidr, "money": money.read, "macaddr": macaddr,
}  # fmt: skip


@computed("py_text_input", "VARCHAR", "VARCHAR", "VARCHAR", result="VARCHAR")
def read(typname: str, text: str, zone: str) -> str:
    """The text that a value of a type prints as. Raises 22P02, 22003, 22007 …"""
    if typname in ranges.KINDS:
        return ranges.show(typname, ranges.read(typname, text, zone))
    if typname == "timetz":
        return timetz(text, zone)
    return _READERS[typname](text)


def _clock_of(text: str) -> tuple[int, int]:
    """(µs of the day, seconds east of Greenwich) of a timetz."""
    found = re.fullmatch(r"([\d:.]+)([+-].*)", text)
    assert found is not None
    return datetime_text.read_time(found[1]), _offset_s(found[2], "UTC", text)


@computed("py_timetz_plus", "VARCHAR", "BIGINT", result="VARCHAR")
def timetz_plus(text: str, us: int) -> str:
    """timetz + interval: the clock goes round."""
    clock, offset = _clock_of(text)
    return _clock_text((clock + us) % datetime_text.US_PER_DAY) + _offset_text(offset)


@computed("py_timetz_in_zone", "VARCHAR", "VARCHAR", result="VARCHAR")
def timetz_in_zone(text: str, zone: str) -> str:
    """timetz AT TIME ZONE, by the offset that the zone has today."""
    clock, offset = _clock_of(text)
    there = _offset_s(None, zone, text)
    return _clock_text((clock + (there - offset) * 1_000_000) % datetime_text.US_PER_DAY) + _offset_text(there)


@computed("py_timetz_field", "VARCHAR", "VARCHAR", result="BIGINT")
def timetz_field(unit: str, text: str) -> int:
    """epoch in µs, and the parts of the time zone."""
    clock, offset = _clock_of(text)
    if unit == "epoch":
        return clock - offset * 1_000_000
    hours, rest = divmod(abs(offset), 3600)
    size = {"timezone": abs(offset), "timezone_hour": hours, "timezone_minute": rest // 60}[unit]
    return size if offset >= 0 else -size


def _timetz_key(text: str) -> bytes:
    clock, offset = _clock_of(text)
    return order_keys.of_integer(clock - offset * 1_000_000) + order_keys.of_integer(-offset)


@computed("py_order_key", "VARCHAR", "VARCHAR", result="BLOB")
def order_key(typname: str, text: str) -> bytes:
    """Octets in the order of a type's values."""
    if typname in ranges.KINDS:
        return ranges.order_key(typname, text)
    if typname in ("inet", "cidr"):
        return network.order_key(text)
    return order_keys.of_integer(money.cents(text)) if typname == "money" else _timetz_key(text)


# --- points ---


def _coordinates(text: str) -> tuple[float, float]:
    x, y = text[1:-1].split(",")
    return float(x), float(y)


def _point_text(x: float, y: float) -> str:
    return f"({float_text(x)},{float_text(y)})"


@computed("py_point", "DOUBLE", "DOUBLE", result="VARCHAR")
def point_of(x: float, y: float) -> str:
    return _point_text(x, y)


@computed("py_point_part", "VARCHAR", "BIGINT", result="DOUBLE")
def point_part(text: str, index: int) -> float | None:
    """point[0] and point[1]."""
    return _coordinates(text)[index] if index in (0, 1) else None


@computed("py_point_distance", "VARCHAR", "VARCHAR", result="DOUBLE")
def distance(left: str, right: str) -> float:
    return math.dist(_coordinates(left), _coordinates(right))


@computed("py_point_operation", "VARCHAR", "VARCHAR", "VARCHAR", result="VARCHAR")
def point_operation(symbol: str, left: str, right: str) -> str:
    """+ and - move a point."""
    (a, b), (c, d) = _coordinates(left), _coordinates(right)
    return _point_text(a + c, b + d) if symbol == "+" else _point_text(a - c, b - d)
