"""Intervals: PostgreSQL's text forms in (``tsdb.intervals``) and out, by (months, days, microseconds).

Output is IntervalStyle ``postgres``. Source: PostgreSQL 15 manual, 8.5.5; src/backend/utils/adt/datetime.c
(EncodeInterval).
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from tsdb.errors import InvalidDatetimeFormat
from tsdb.intervals import parse_interval

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


def parse(text: str) -> Interval:
    """The interval that ``text`` spells. Raises InvalidDatetimeFormat, IntervalFieldOverflow."""
    if len(text) > 200:
        raise InvalidDatetimeFormat(f'invalid input syntax for type interval: "{text[:40]}…"')
    return _parse(text)


@lru_cache(maxsize=1024)
def _parse(text: str) -> Interval:
    """A panel asks with the same interval each time."""
    found = parse_interval(text)
    return Interval(found.months, found.days, found.us)


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
