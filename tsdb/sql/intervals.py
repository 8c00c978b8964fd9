"""Intervals: PostgreSQL's text forms in and out, by (months, days, microseconds).

Input takes the postgres, verbose and ISO 8601 spellings (``1 year 2 mons 3 days 04:05:06``, ``@ 1 min ago``,
``P1Y2M3DT4H5M6S``, ``30d``); output is IntervalStyle ``postgres``.

Source: PostgreSQL 15 manual, 8.5.4 and 8.5.5; src/backend/utils/adt/datetime.c (DecodeInterval, EncodeInterval).
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from tsdb.errors import DatetimeFieldOverflow, InvalidDatetimeFormat

US_PER_DAY = 86_400_000_000
US_PER_HOUR = 3_600_000_000
US_PER_MINUTE = 60_000_000
US_PER_SECOND = 1_000_000
DAYS_PER_MONTH = 30
MONTHS_PER_YEAR = 12


class Interval(NamedTuple):
    months: int
    days: int
    microseconds: int

    @property
    def approximate_us(self) -> int:
        """With a month of 30 days and a year of 365.25, as ``extract(epoch from …)`` counts."""
        years, months = divmod(abs(self.months), MONTHS_PER_YEAR)
        days = Fraction(years * 1461, 4) + months * DAYS_PER_MONTH
        return int((days if self.months >= 0 else -days) * US_PER_DAY) + self.days * US_PER_DAY + self.microseconds


# Unit → (months, days, microseconds) of one.
_UNITS: dict[str, tuple[int, int, int]] = {}
for _names, _size in (
    ("us usec usecs microsecond microseconds", (0, 0, 1)),
    ("ms msec msecs millisecond milliseconds", (0, 0, 1000)),
    ("s sec secs second seconds", (0, 0, US_PER_SECOND)),
    ("m min mins minute minutes", (0, 0, US_PER_MINUTE)),
    ("h hr hrs hour hours", (0, 0, US_PER_HOUR)),
    ("d day days", (0, 1, 0)),
    ("w week weeks", (0, 7, 0)),
    ("mon mons month months", (1, 0, 0)),
    ("y yr yrs year years", (12, 0, 0)),
    ("dec decs decade decades", (120, 0, 0)),
    ("c cent century centuries", (1200, 0, 0)),
    ("mil mils millennium millennia", (12000, 0, 0)),
):
    _UNITS.update(dict.fromkeys(_names.split(), _size))

_CLOCK = re.compile(r"([+-]?)(\d+):(\d{1,2})(?::(\d{1,2}(?:\.\d*)?))?")
_QUANTITY = re.compile(r"([+-]?\s*\d*\.?\d+(?:\.(?=\s|$))?)\s*([a-z]+)")
_BARE_SECONDS = re.compile(r"[+-]?\d*\.?\d+")
_ISO = re.compile(r"p(?=.)((?:-?\d+(?:\.\d+)?[ymwd])*)(?:t((?:-?\d+(?:\.\d+)?[hms])+))?", re.ASCII)
_ISO_PART = re.compile(r"(-?\d+(?:\.\d+)?)([a-z])")
_ISO_DATE = {"y": (12, 0, 0), "m": (1, 0, 0), "w": (0, 7, 0), "d": (0, 1, 0)}
_ISO_TIME = {"h": (0, 0, US_PER_HOUR), "m": (0, 0, US_PER_MINUTE), "s": (0, 0, US_PER_SECOND)}


class _Sum:
    """Fractions of a month become days of 30 a month, fractions of a day become time."""

    def __init__(self) -> None:
        self.months = 0
        self.days = 0
        self.us = Fraction(0)

    def add(self, count: Fraction, unit: tuple[int, int, int]) -> None:
        months, days, us = unit
        whole = int(count * months)
        self.months += whole
        in_days = count * days + (count * months - whole) * DAYS_PER_MONTH
        self.days += int(in_days)
        self.us += (in_days - int(in_days)) * US_PER_DAY + count * us

    def value(self, sign: int) -> Interval:
        interval = Interval(sign * self.months, sign * self.days, sign * round(self.us))
        if abs(interval.months) >= 2**31 or abs(interval.days) >= 2**31 or abs(interval.microseconds) >= 2**63:
            raise DatetimeFieldOverflow("interval field value out of range")
        return interval


def parse(text: str) -> Interval:
    """The interval that ``text`` spells. Raises InvalidDatetimeFormat, DatetimeFieldOverflow."""
    if len(text) > 200:
        raise InvalidDatetimeFormat(f'invalid input syntax for type interval: "{text[:40]}…"')
    return _parse(text)


@lru_cache(maxsize=1024)
def _parse(text: str) -> Interval:
    """A panel asks with the same interval each time."""
    rest = text.strip().lower()
    total = _Sum()
    if (iso := _ISO.fullmatch(rest)) is not None:
        for part, units in ((iso[1], _ISO_DATE), (iso[2] or "", _ISO_TIME)):
            for number, letter in _ISO_PART.findall(part):
                total.add(Fraction(number), units[letter])
        return total.value(1)
    sign = 1
    if rest.startswith("@"):
        rest = rest[1:].lstrip()
    if rest.endswith("ago"):
        sign, rest = -1, rest[:-3].rstrip()
    if not rest:
        raise InvalidDatetimeFormat(f'invalid input syntax for type interval: "{text}"')
    while rest:
        rest = _take(total, rest, text).lstrip()
    return total.value(sign)


def _take(total: _Sum, rest: str, text: str) -> str:
    if (clock := _CLOCK.match(rest)) is not None:
        factor = -1 if clock[1] == "-" else 1
        total.add(Fraction(factor * int(clock[2])), (0, 0, US_PER_HOUR))
        total.add(Fraction(factor * int(clock[3])), (0, 0, US_PER_MINUTE))
        total.add(factor * Fraction((clock[4] or "0").rstrip(".")), (0, 0, US_PER_SECOND))
        return rest[clock.end() :]
    if (quantity := _QUANTITY.match(rest)) is not None and quantity[2] in _UNITS:
        total.add(Fraction(quantity[1].replace(" ", "").rstrip(".")), _UNITS[quantity[2]])
        return rest[quantity.end() :]
    if (seconds := _BARE_SECONDS.fullmatch(rest)) is not None:
        total.add(Fraction(seconds[0]), (0, 0, US_PER_SECOND))
        return ""
    raise InvalidDatetimeFormat(f'invalid input syntax for type interval: "{text}"')


def format(interval: Interval) -> str:
    """IntervalStyle ``postgres``."""
    parts: list[str] = []
    before = False
    years = int(interval.months / MONTHS_PER_YEAR)
    for count, unit in ((years, "year"), (interval.months - years * MONTHS_PER_YEAR, "mon"), (interval.days, "day")):
        if count:
            plus = "+" if before and count > 0 else ""
            parts.append(f"{plus}{count} {unit}{'' if count == 1 else 's'}")
            before = count < 0
    us = interval.microseconds
    if us or not parts:
        sign = "-" if us < 0 else "+" if before else ""
        seconds, fraction = divmod(abs(us), US_PER_SECOND)
        tail = f".{fraction:06d}".rstrip("0") if fraction else ""
        parts.append(f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{tail}")
    return " ".join(parts)
