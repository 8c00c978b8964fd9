"""Types whose values are texts inside and on disk: point, ranges, timetz, inet, cidr, money. Their input functions.

Each takes a text to the one that PostgreSQL prints, so that equal values are equal texts; in an order they do not
stand (``coercion.check_ordered``). Source: PostgreSQL 15 manual, 8.2, 8.5, 8.8, 8.9, 8.17; cash.c, geo_ops.c,
rangetypes.c, network.c, date.c.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
import time
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

from tsdb.errors import (
    DataError,
    DatetimeFieldOverflow,
    InvalidDatetimeFormat,
    InvalidTextRepresentation,
    NumericValueOutOfRange,
)
from tsdb.sql import datetime_text
from tsdb.sql.computed.registry import computed
from tsdb.sql.context import zone_of

_UTC = ZoneInfo("UTC")
_NUMBER = r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?|[+-]?inf(?:inity)?|nan)\s*"
_POINT = re.compile(rf"\s*(?:\({_NUMBER},{_NUMBER}\)|{_NUMBER},{_NUMBER})\s*", re.I)


class RangeBoundsError(DataError):
    sqlstate = "22000"


def _invalid(name: str, text: str, detail: str | None = None) -> InvalidTextRepresentation:
    return InvalidTextRepresentation(f'invalid input syntax for type {name}: "{text[:200]}"', detail=detail)


def point(text: str) -> str:
    found = _POINT.fullmatch(text)
    if found is None:
        raise _invalid("point", text)
    return "({},{})".format(*(_float_text(float(part)) for part in found.groups() if part is not None))


def _float_text(value: float) -> str:
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


# --- ranges ---


def _integer(low: int, high: int, name: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        if re.fullmatch(r"\s*[+-]?\d+\s*", text) is None:
            raise _invalid(name, text)
        if len(text) > 40 or not low <= int(text) <= high:
            raise NumericValueOutOfRange(f'value "{text.strip()[:50]}" is out of range for type {name}')
        return int(text)

    return read


def _numeric(text: str) -> Decimal:
    if re.fullmatch(_NUMBER, text) is None or "n" in text.lower():
        raise _invalid("numeric", text)
    return Decimal(text.strip())


def _date(text: str) -> int:
    return datetime_text.read_date(text, time.time_ns() // 1000, _UTC)


def _timestamp(text: str) -> int:
    return datetime_text.read_timestamp(text, time.time_ns() // 1000, _UTC)


_EPOCH = datetime.datetime(1970, 1, 1)


def _date_text(days: int) -> str:
    return _moment(days * datetime_text.US_PER_DAY)[:10]


def _timestamp_text(us: int) -> str:
    return _moment(us)


def _moment(us: int) -> str:
    try:
        shown = str(_EPOCH + datetime.timedelta(microseconds=us))
    except OverflowError:
        raise DataError("a bound of a range is a date from the year 1 to 9999 here") from None
    return shown.rstrip("0") if "." in shown else shown


# Subtype: how a bound is read, how it is shown, and whether values have a next one.
_SUBTYPES: dict[str, tuple[Callable[[str], object], Callable[..., str], bool]] = {
    "int4range": (_integer(-(2**31), 2**31 - 1, "integer"), str, True),
    "int8range": (_integer(-(2**63), 2**63 - 1, "bigint"), str, True),
    "numrange": (_numeric, lambda v: f"{v:f}", False),
    "daterange": (_date, _date_text, True),
    "tsrange": (_timestamp, _timestamp_text, False),
}
_BOUND = r'((?:"(?:[^"\\]|\\.|"")*"|\\.|[^"\\,()\[\]])*)'
_RANGE = re.compile(rf"\s*([\[(]){_BOUND},{_BOUND}([\])])\s*", re.DOTALL)


def range_of(kind: str, text: str) -> str:
    read, show, discrete = _SUBTYPES[kind]
    if text.strip().lower() == "empty":
        return "empty"
    found = _RANGE.fullmatch(text)
    if found is None:
        raise InvalidTextRepresentation(f'malformed range literal: "{text[:200]}"')
    opening, low_text, high_text, closing = found.groups()
    low = None if low_text == "" else read(_unquoted(low_text))
    high = None if high_text == "" else read(_unquoted(high_text))
    if low is not None and high is not None and low > high:  # type: ignore[operator]
        raise RangeBoundsError("range lower bound must be less than or equal to range upper bound")
    with_low, with_high = opening == "[" and low is not None, closing == "]" and high is not None
    if discrete:
        if low is not None and not with_low:
            low, with_low = low + 1, True  # type: ignore[operator]
        if high is not None and with_high:
            high, with_high = high + 1, False  # type: ignore[operator]
    bounded = low is not None and high is not None
    if bounded and (low > high or (low == high and not (with_low and with_high))):  # type: ignore[operator]
        return "empty"
    shown = ["" if bound is None else _quoted(show(bound)) for bound in (low, high)]
    return f"{'[' if with_low else '('}{shown[0]},{shown[1]}{']' if with_high else ')'}"


def _unquoted(text: str) -> str:
    without = re.sub(r'"((?:[^"\\]|\\.|"")*)"', lambda m: m[1].replace('""', '"'), text)
    return re.sub(r"\\(.)", r"\1", without, flags=re.DOTALL)


def _quoted(text: str) -> str:
    return f'"{text}"' if re.search(r"[\s,()\[\]\"\\]", text) else text


# --- times, addresses, money ---


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


def inet(text: str) -> str:
    try:
        found = ipaddress.ip_interface(text.strip())
    except ValueError:
        raise _invalid("inet", text) from None
    shown = _address(found.ip)
    return shown if found.network.prefixlen == found.max_prefixlen else f"{shown}/{found.network.prefixlen}"


def _address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(address) if mapped is None else f"::ffff:{mapped}"


def cidr(text: str) -> str:
    try:
        found = ipaddress.ip_interface(text.strip())
    except ValueError:
        raise _invalid("cidr", text) from None
    if found.ip != found.network.network_address:
        raise InvalidTextRepresentation(
            f'invalid cidr value: "{text.strip()[:200]}"', detail="Value has bits set to right of mask."
        )
    return f"{_address(found.ip)}/{found.network.prefixlen}"


_MONEY = re.compile(r"\s*(\()?\s*([+-])?\s*\$?\s*([+-])?\s*(\d[\d,]*(?:\.\d*)?|\.\d+)\s*(\))?\s*")


def money(text: str) -> str:
    """Dollars and cents, as with lc_monetary C."""
    found = _MONEY.fullmatch(text)
    if found is None or (found[1] is None) != (found[5] is None) or (found[2] and found[3]):
        raise _invalid("money", text)
    cents = int((Decimal(found[4].replace(",", "")) * 100).quantize(Decimal(1), ROUND_HALF_UP))
    if found[1] or "-" in (found[2], found[3]):
        cents = -cents
    if not -(2**63) <= cents < 2**63:
        raise NumericValueOutOfRange(f'value "{text.strip()[:50]}" is out of range for type money')
    return f"{'-' if cents < 0 else ''}${abs(cents) // 100:,}.{abs(cents) % 100:02d}"


_READERS: dict[str, Callable[[str], str]] = {"point": point, "inet": inet, "cidr": cidr, "money": money}


@computed("py_text_input", "VARCHAR", "VARCHAR", "VARCHAR", result="VARCHAR")
def read(typname: str, text: str, zone: str) -> str:
    """The text that a value of a type prints as. Raises 22P02, 22003, 22007 …"""
    if typname in _SUBTYPES:
        return range_of(typname, text)
    if typname == "timetz":
        return timetz(text, zone)
    return _READERS[typname](text)
