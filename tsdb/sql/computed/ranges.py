"""Ranges: from a text to the one that PostgreSQL prints, and their operators and functions.

A range lies between two *cuts*: ``(value, 0)`` is just before a value, ``(value, 1)`` just behind it, None as a low cut
is before all, as a high cut behind all. Texts hold a bound of ``tstzrange`` in UTC; a session sees it in its zone.

Source: PostgreSQL 15 manual, 8.17 and 9.20; rangetypes.c.
"""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from tsdb.errors import DataError, InvalidTextRepresentation, NumericValueOutOfRange, SqlSyntaxError
from tsdb.sql import datetime_text
from tsdb.sql.computed import order_keys
from tsdb.sql.computed.registry import computed
from tsdb.sql.context import zone_of

_UTC = ZoneInfo("UTC")
_EPOCH = datetime.datetime(1970, 1, 1)
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?\s*")
_BOUND = r'((?:"(?:[^"\\]|\\.|"")*"|\\.|[^"\\,()\[\]])*)'
_RANGE = re.compile(rf"\s*([\[(]){_BOUND},{_BOUND}([\])])\s*", re.DOTALL)

Cut = tuple[Any, int] | None


class RangeBoundsError(DataError):
    sqlstate = "22000"


@dataclass(frozen=True, slots=True)
class Range:
    """Values between two cuts; ``empty`` has none."""

    low: Cut = None
    high: Cut = None
    empty: bool = False


EMPTY = Range(empty=True)


def _integer(low: int, high: int, name: str) -> Callable[[str, ZoneInfo | Any], int]:
    def read(text: str, zone: Any) -> int:
        if re.fullmatch(r"\s*[+-]?\d+\s*", text) is None:
            raise InvalidTextRepresentation(f'invalid input syntax for type {name}: "{text[:200]}"')
        if len(text) > 40 or not low <= int(text) <= high:
            raise NumericValueOutOfRange(f'value "{text.strip()[:50]}" is out of range for type {name}')
        return int(text)

    return read


def _numeric(text: str, zone: Any) -> Decimal:
    if _NUMBER.fullmatch(text) is None:
        raise InvalidTextRepresentation(f'invalid input syntax for type numeric: "{text[:200]}"')
    return Decimal(text.strip())


def _now_us() -> int:
    return time.time_ns() // 1000


def _moment(us: int) -> str:
    try:
        shown = str(_EPOCH + datetime.timedelta(microseconds=us))
    except OverflowError:
        raise DataError("a bound of a range is a date from the year 1 to 9999 here") from None
    return shown.rstrip("0") if "." in shown else shown


# Kind: how a bound is read, how it is shown, and whether values have a next one.
_KINDS: dict[str, tuple[Callable[[str, Any], Any], Callable[..., str], bool]] = {
    "int4range": (_integer(-(2**31), 2**31 - 1, "integer"), str, True),
    "int8range": (_integer(-(2**63), 2**63 - 1, "bigint"), str, True),
    "numrange": (_numeric, lambda v: f"{v:f}", False),
    "daterange": (
        lambda text, zone: datetime_text.read_date(text, _now_us(), zone),
        lambda days: _moment(days * datetime_text.US_PER_DAY)[:10],
        True,
    ),
    "tsrange": (lambda text, zone: datetime_text.read_timestamp(text, _now_us(), zone), _moment, False),
    "tstzrange": (
        lambda text, zone: datetime_text.read_timestamptz(text, _now_us(), zone),
        lambda us: f"{_moment(us)}+00",
        False,
    ),
}
KINDS = tuple(_KINDS)


def read(kind: str, text: str, zone: str = "UTC") -> Range:
    """A range of a text; bounds without a time zone are in ``zone``. Raises 22P02, 22003, 22007, 22000."""
    if text.strip().lower() == "empty":
        return EMPTY
    found = _RANGE.fullmatch(text)
    if found is None:
        raise InvalidTextRepresentation(f'malformed range literal: "{text[:200]}"')
    opening, low_text, high_text, closing = found.groups()
    value, place = _KINDS[kind][0], _UTC if zone == "UTC" else zone_of(zone)
    low = None if low_text == "" else value(_unquoted(low_text), place)
    high = None if high_text == "" else value(_unquoted(high_text), place)
    return of_bounds(kind, low, high, opening + closing)


def of_bounds(kind: str, low: Any, high: Any, closed: str) -> Range:
    """A range of two values; None: without a bound there. ``closed`` is one of [) [] (] ()."""
    if low is not None and high is not None and low > high:
        raise RangeBoundsError("range lower bound must be less than or equal to range upper bound")
    return _proper(
        kind,
        None if low is None else (low, 0 if closed[0] == "[" else 1),
        None if high is None else (high, 1 if closed[1] == "]" else 0),
    )


def _proper(kind: str, low: Cut, high: Cut) -> Range:
    if _KINDS[kind][2]:
        low = (low[0] + 1, 0) if low is not None and low[1] else low
        high = (high[0] + 1, 0) if high is not None and high[1] else high
    return EMPTY if low is not None and high is not None and low >= high else Range(low, high)


def show(kind: str, of: Range) -> str:
    """The text that PostgreSQL prints (in UTC)."""
    if of.empty:
        return "empty"
    value = _KINDS[kind][1]
    low = "" if of.low is None else _quoted(value(of.low[0]))
    high = "" if of.high is None else _quoted(value(of.high[0]))
    opening = "[" if of.low is not None and of.low[1] == 0 else "("
    return f"{opening}{low},{high}{']' if of.high is not None and of.high[1] == 1 else ')'}"


def _unquoted(text: str) -> str:
    without = re.sub(r'"((?:[^"\\]|\\.|"")*)"', lambda m: m[1].replace('""', '"'), text)
    return re.sub(r"\\(.)", r"\1", without, flags=re.DOTALL)


def _quoted(text: str) -> str:
    return f'"{text}"' if re.search(r"[\s,()\[\]\"\\]", text) else text


# --- functions ---


def _low_first(a: Range, b: Range) -> bool:
    return a.low is None or (b.low is not None and a.low <= b.low)


def _high_last(a: Range, b: Range) -> bool:
    return a.high is None or (b.high is not None and a.high >= b.high)


def _before(a: Range, b: Range) -> bool:
    return a.high is not None and b.low is not None and a.high <= b.low


def _adjacent(a: Range, b: Range) -> bool:
    return (a.high is not None and a.high == b.low) or (b.high is not None and b.high == a.low)


def _overlap(a: Range, b: Range) -> bool:
    return not _before(a, b) and not _before(b, a)


# Of two that are not empty.
_TESTS: dict[str, Callable[[Range, Range], bool]] = {
    "&&": _overlap,
    "<<": _before,
    ">>": lambda a, b: _before(b, a),
    "&<": lambda a, b: _high_last(b, a),
    "&>": lambda a, b: _low_first(b, a),
    "-|-": _adjacent,
}


@computed("py_range_test", "VARCHAR", "VARCHAR", "VARCHAR", "VARCHAR", result="BOOLEAN")
def test(kind: str, symbol: str, left: str, right: str) -> bool:
    """An operator on two ranges that says yes or no."""
    a, b = read(kind, left), read(kind, right)
    if symbol == "@>":
        return b.empty or (not a.empty and _low_first(a, b) and _high_last(a, b))
    return not a.empty and not b.empty and _TESTS[symbol](a, b)


@computed("py_range_has", "VARCHAR", "VARCHAR", "VARCHAR", result="BOOLEAN")
def has(kind: str, text: str, element: str) -> bool:
    """range @> element; a moment is said in UTC."""
    found, value = read(kind, text), _KINDS[kind][0](element, _UTC)
    if found.empty:
        return False
    return (found.low is None or found.low <= (value, 0)) and (found.high is None or found.high >= (value, 1))


@computed("py_range_operation", "VARCHAR", "VARCHAR", "VARCHAR", "VARCHAR", result="VARCHAR")
def operation(kind: str, symbol: str, left: str, right: str) -> str:
    """+ (union), * (intersection), - (difference), and "merge": the smallest range around both."""
    a, b = read(kind, left), read(kind, right)
    if symbol == "-":
        return show(kind, _difference(kind, a, b))
    if symbol == "*":
        return show(kind, _intersection(kind, a, b))
    if a.empty or b.empty:
        return show(kind, b if a.empty else a)
    if symbol == "+" and not (_overlap(a, b) or _adjacent(a, b)):
        raise RangeBoundsError("result of range union would not be contiguous")
    return show(kind, Range(a.low if _low_first(a, b) else b.low, a.high if _high_last(a, b) else b.high))


def _intersection(kind: str, a: Range, b: Range) -> Range:
    if a.empty or b.empty or not _overlap(a, b):
        return EMPTY
    return _proper(kind, b.low if _low_first(a, b) else a.low, b.high if _high_last(a, b) else a.high)


def _difference(kind: str, a: Range, b: Range) -> Range:
    if a.empty or b.empty or not _overlap(a, b):
        return a
    left, right = not _low_first(b, a), not _high_last(b, a)
    if left and right:
        raise RangeBoundsError("result of range difference would not be contiguous")
    if left:
        return _proper(kind, a.low, b.low)
    return _proper(kind, b.high, a.high) if right else EMPTY


@computed("py_range_bound", "VARCHAR", "VARCHAR", "VARCHAR", result="VARCHAR")
def bound(kind: str, side: str, text: str) -> str | None:
    """lower() and upper(): the bound's text, in UTC; None for none."""
    found = read(kind, text)
    cut = found.low if side == "low" else found.high
    return None if cut is None else _KINDS[kind][1](cut[0])


@computed("py_range_is", "VARCHAR", "VARCHAR", "VARCHAR", result="BOOLEAN")
def is_(kind: str, what: str, text: str) -> bool:
    """isempty, lower_inc, upper_inc, lower_inf, upper_inf."""
    found = read(kind, text)
    if what == "isempty" or found.empty:
        return found.empty and what == "isempty"
    if what.endswith("_inf"):
        return (found.low if what == "lower_inf" else found.high) is None
    if what == "lower_inc":
        return found.low is not None and found.low[1] == 0
    return found.high is not None and found.high[1] == 1


@computed("py_range", "VARCHAR", "VARCHAR", "VARCHAR", "VARCHAR", result="VARCHAR", strict=False)
def made(kind: str, low: str | None, high: str | None, closed: str | None) -> str:
    """The constructors int4range(low, high, '[)') and its like; moments are said in UTC."""
    if closed is None:
        raise DataError("range constructor flags argument must not be null")
    if closed not in ("[)", "[]", "(]", "()"):
        error = SqlSyntaxError("invalid range bound flags", hint='Valid values are "[]", "[)", "(]", and "()".')
        raise error
    value = _KINDS[kind][0]
    bounds = [None if text is None else value(text, _UTC) for text in (low, high)]
    return show(kind, of_bounds(kind, bounds[0], bounds[1], closed))


@computed("py_range_in_zone", "VARCHAR", "VARCHAR", result="VARCHAR")
def in_zone(text: str, zone: str) -> str:
    """A tstzrange as a session of the zone sees it."""
    place = zone_of(zone)

    def shown(us: int) -> str:
        local = datetime_text.local_of_utc(us, place)
        return _moment(local) + _offset_text((local - us) // 1_000_000)

    of = read("tstzrange", text)
    if of.empty:
        return "empty"
    low = "" if of.low is None else f'"{shown(of.low[0])}"'
    high = "" if of.high is None else f'"{shown(of.high[0])}"'
    return f"{'[' if of.low is not None and not of.low[1] else '('}{low},{high}{']' if of.high and of.high[1] else ')'}"


def _offset_text(seconds: int) -> str:
    size = abs(seconds)
    shown = f"{'-' if seconds < 0 else '+'}{size // 3600:02d}"
    return shown + (f":{size // 60 % 60:02d}" if size % 3600 else "")


def order_key(kind: str, text: str) -> bytes:
    """Octets in the order of ranges: the empty one first, then by the low bound, then by the high one."""
    found = read(kind, text)
    if found.empty:
        return b"\0"
    low = b"\0" if found.low is None else b"\1" + _cut_key(found.low)
    high = b"\2" if found.high is None else b"\1" + _cut_key(found.high)
    return b"\1" + low + high


def _cut_key(cut: tuple[Any, int]) -> bytes:
    value, side = cut
    whole = order_keys.of_decimal(value) if isinstance(value, Decimal) else order_keys.of_integer(value)
    return whole + bytes([side])
