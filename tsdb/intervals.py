"""Intervals as PostgreSQL reads them from text: months, days and microseconds, kept apart.

    1 year 2 mons -3 days 04:05:06.7      1.5 hours      P1Y2M3DT4H5M6S      @ 1 week ago      90      1-2

Fractions run down: of a year into months, of a month into days of 30, of a day or week into time.

Source: PostgreSQL 15 manual, 8.5.4; src/backend/utils/adt/datetime.c (DecodeInterval, DecodeISO8601Interval).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tsdb.errors import IntervalFieldOverflow, InvalidDatetimeFormat

TEXT_LENGTH_MAX = 256

_US_PER_DAY = 86_400_000_000
# An interval goes through Arrow, which has nanoseconds: its hours are 292 years at most.
US_MAX = (2**63 - 1) // 1000

# Unit → months, days, microseconds of one.
_MONTHS = {"mon": 1, "year": 12, "decade": 120, "century": 1200, "millennium": 12_000}
_DAYS = {"day": 1, "week": 7}
_US = {"us": 1, "ms": 1_000, "second": 1_000_000, "minute": 60_000_000, "hour": 3_600_000_000}

_SPELLINGS = {
    "us": "us usec usecs usecond useconds microsecond microseconds microsecon",
    "ms": "ms msec msecs msecond mseconds millisecond milliseconds millisecon",
    "second": "s sec secs second seconds",
    "minute": "m min mins minute minutes",
    "hour": "h hr hrs hour hours",
    "day": "d day days",
    "week": "w week weeks",
    "mon": "mon mons month months",
    "year": "y yr yrs year years",
    "decade": "dec decs decade decades",
    "century": "c cent century centuries",
    "millennium": "mil mils millennium millennia",
}
_UNITS = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()}

_TOKEN = re.compile(
    r"""\s* (?:
      (?P<time> [+-]? \d+ : \d+ (?: : \d+ (?: \. \d* )? | \. \d+ )? )
    | (?P<years> [+-]? \d+ - \d+ )
    | (?P<number> [+-]? (?: \d+ (?: \. \d* )? | \. \d+ ) )
    | (?P<word> [a-z]+ )
    )""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_ISO = re.compile(r"([+-]?\d+(?:[.,]\d*)?|[+-]?[.,]\d+)([YMWDHS])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Interval:
    months: int
    days: int
    us: int


def parse_interval(text: str) -> Interval:
    """Raises ``InvalidDatetimeFormat`` (22007), or ``IntervalFieldOverflow`` (22015) beyond int32 and int64."""
    total = _Sum()
    stripped = text.strip()
    if not stripped or len(text) > TEXT_LENGTH_MAX:
        raise _syntax(text)
    if stripped[0] == "P":
        _read_iso(stripped[1:], total, text)
    else:
        _read_words(stripped, total, text)
    if abs(total.months) > 2**31 - 1 or abs(total.days) > 2**31 - 1 or abs(total.us) > US_MAX:
        raise IntervalFieldOverflow(f'interval field value out of range: "{text}"')
    return Interval(total.months, total.days, total.us)


class _Sum:
    """The sum of the parts read so far."""

    def __init__(self) -> None:
        self.months = 0
        self.days = 0
        self.us = 0

    def add(self, number: str, unit: str) -> None:
        """Whole part and fraction separately, so that whole numbers stay exact."""
        sign = -1 if number.startswith("-") else 1
        whole_digits, _, fraction_digits = number.lstrip("+-").partition(".")
        whole = sign * int(whole_digits or 0)
        fraction = sign * float("0." + (fraction_digits or "0"))
        if unit in _US:
            self.us += whole * _US[unit] + round(fraction * _US[unit])
        elif unit in _DAYS:
            self.days += whole * _DAYS[unit]
            self._add_days(fraction * _DAYS[unit])
        elif unit == "mon":
            self.months += whole
            self._add_days(fraction * 30)
        else:
            self.months += whole * _MONTHS[unit] + round(fraction * _MONTHS[unit])

    def _add_days(self, days: float) -> None:
        whole = int(days)
        self.days += whole
        self.us += round((days - whole) * _US_PER_DAY)

    def negate(self) -> None:
        self.months, self.days, self.us = -self.months, -self.days, -self.us


def _syntax(text: str) -> InvalidDatetimeFormat:
    shown = text if len(text) <= TEXT_LENGTH_MAX else text[:TEXT_LENGTH_MAX] + "…"
    return InvalidDatetimeFormat(f'invalid input syntax for type interval: "{shown}"')


def _read_words(body: str, total: _Sum, text: str) -> None:
    at = 1 if body[0] == "@" else 0
    pending: str | None = None
    seen: set[str] = set()
    ago = False
    while at < len(body):
        token = _TOKEN.match(body, at)
        if token is None or ago:
            raise _syntax(text)
        at = token.end()
        if token["word"]:
            word = token["word"].lower()
            if word == "ago" and pending is None and seen:
                ago = True
                continue
            unit = _UNITS.get(word)
            if unit is None or pending is None:
                raise _syntax(text)
            _once(unit, seen, text)
            total.add(pending, unit)
            pending = None
        elif token["number"]:
            if pending is not None:
                raise _syntax(text)
            pending = token["number"]
        else:
            if pending is not None:  # "1 02:03:04" is a day and a time
                _once("day", seen, text)
                total.add(pending, "day")
                pending = None
            _read_clock(token["time"] or token["years"], total, seen, text)
        seen.add("")
    if pending is not None:  # a number without a unit is seconds
        _once("second", seen, text)
        total.add(pending, "second")
    if not seen:
        raise _syntax(text)
    if ago:
        total.negate()


def _once(unit: str, seen: set[str], text: str) -> None:
    if unit in seen:
        raise _syntax(text)
    seen.add(unit)


def _read_clock(token: str, total: _Sum, seen: set[str], text: str) -> None:
    """``hh:mm[:ss[.f]]``, ``mm:ss.f`` or ``years-months``; the sign holds for all of it."""
    sign = "-" if token.startswith("-") else ""
    body = token.lstrip("+-")
    if ":" not in body:
        years, months = body.split("-")
        if int(months) > 11:
            raise IntervalFieldOverflow(f'interval field value out of range: "{text}"')
        for unit, number in (("year", years), ("mon", months)):
            _once(unit, seen, text)
            total.add(sign + number, unit)
        return
    parts = body.split(":")
    if len(parts) == 2:
        parts = ["0", *parts] if "." in parts[1] else [*parts, "0"]
    hours, minutes, seconds = parts
    if int(minutes) > 59 or float(seconds or 0) > 60:
        raise IntervalFieldOverflow(f'interval field value out of range: "{text}"')
    for unit, number in (("hour", hours), ("minute", minutes), ("second", seconds)):
        _once(unit, seen, text)
        total.add(sign + number, unit)


_ISO_DATE = {"Y": "year", "M": "mon", "W": "week", "D": "day"}
_ISO_TIME = {"H": "hour", "M": "minute", "S": "second"}


# 0001-02-03, 00010203, or years alone; 04:05:06 or 040506.
_ISO_PLAIN_DATE = re.compile(r"([+-]?\d+)-(\d+)(?:-(\d+))?|(\d{4})(\d{2})(\d{2})|([+-]?\d+)", re.ASCII)
_ISO_PLAIN_TIME = re.compile(r"([+-]?\d+):(\d+)(?::(\d+(?:\.\d*)?))?|(\d{2})(\d{2})(\d{2}(?:\.\d*)?)", re.ASCII)


def _add_parts(total: _Sum, parts: re.Match[str], units: str) -> None:
    numbers = [number for number in parts.groups() if number is not None]
    sign = "-" if numbers[0].startswith("-") else ""
    for number, unit in zip(numbers, units.split(), strict=False):
        total.add(sign + number.lstrip("+-"), unit)


def _read_iso(body: str, total: _Sum, text: str) -> None:
    """ISO 8601: the part after P, with designators, or as a date and a clock."""
    date, separator, time = body.partition("T")
    if not date and not separator:
        raise _syntax(text)
    if (parts := _ISO_PLAIN_DATE.fullmatch(date)) is not None:
        _add_parts(total, parts, "year mon day")
        date = ""
    if (parts := _ISO_PLAIN_TIME.fullmatch(time)) is not None:
        _add_parts(total, parts, "hour minute second")
        time = ""
    for part, units in ((date, _ISO_DATE), (time, _ISO_TIME)):
        at = 0
        while at < len(part):
            token = _ISO.match(part, at)
            if token is None or token[2] not in units:
                raise _syntax(text)
            total.add(token[1].replace(",", "."), units[token[2]])
            at = token.end()
