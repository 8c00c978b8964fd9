"""Dates and times as PostgreSQL reads them from text, exact beyond what Python's ``datetime`` can hold.

    parse_timestamptz("2026-11-21 01:56:06.104756298Z", context) -> Timestamptz(us=…)

Values are integers since 1970 UTC: ``Timestamptz(us)``, ``Timestamp(us)``, ``Date(days)``, and ``Time(us)`` since
midnight. Infinity is ``US_INFINITY`` (``DAYS_INFINITY``), minus infinity ``US_MINUS_INFINITY``.

Understood: ISO 8601 dates with a space or T before the time, compact forms (20261121T015606), slashes and month names
in the order month, day, year, two-digit years, days of a year (2026-325), Julian days (J2451187), AM and PM, BC,
offsets, zone names and common abbreviations, ``now``, ``today``, ``tomorrow``, ``yesterday``, ``epoch``, ``infinity``,
``allballs``. Seconds round to microseconds as PostgreSQL rounds them. Not understood: other orders than DateStyle
"ISO, MDY".

The parser sees tokens from left to right and fills ``_Fields``; what is set twice or fits nowhere is
``InvalidDatetimeFormat`` (22007), what no calendar or type holds ``DatetimeFieldOverflow`` (22008).

Source: PostgreSQL 15 manual, 8.5.1 and appendix B.1; src/backend/utils/adt/datetime.c (DecodeDateTime).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tsdb.errors import (
    DatetimeFieldOverflow,
    InvalidDatetimeFormat,
    InvalidTimeZoneDisplacementValue,
    TsdbError,
)
from tsdb.zones import Zone, fixed, zone

US_PER_SECOND = 1_000_000
US_PER_DAY = 86_400 * US_PER_SECOND

US_INFINITY = 2**63 - 1
US_MINUS_INFINITY = -(2**63)
DAYS_INFINITY = 2**31 - 1
DAYS_MINUS_INFINITY = -(2**31)

# 4714-11-24 BC is Julian day 0, where PostgreSQL's calendar begins. Its end (294276) lies just beyond int64
# microseconds since 1970, so ours is the last value before infinity; dates reach 5874897-12-31.
US_MIN = -210_866_803_200 * US_PER_SECOND
US_MAX = US_INFINITY - 1
DAYS_MIN = -2_440_588
DAYS_MAX = 2_145_042_905

TEXT_LENGTH_MAX = 160


_PLAIN_UTC = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3}(?:[0-9]{3})?)?(?:Z|[+]00(?::00)?)"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Timestamptz:
    us: int


@dataclass(frozen=True, slots=True)
class Timestamp:
    us: int


@dataclass(frozen=True, slots=True)
class Date:
    days: int


@dataclass(frozen=True, slots=True)
class Time:
    us: int


@dataclass(frozen=True, slots=True)
class Context:
    """What a text may refer to: the session's zone, the time of its transaction; and the codec of its bytes."""

    zone: Zone
    now_us: int
    codec: str = "utf-8"


def days_from_civil(year: int, month: int, day: int) -> int:
    """Days since 1970 of a proleptic Gregorian date; year 0 is 1 BC (Hinnant, days_from_civil)."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


def days_in_month(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def plain_utc(text: str) -> int | None:
    """2016-01-01T05:32:11.123Z, as dashboards and drivers write instants, at a fifth of the cost; None for others."""
    if _PLAIN_UTC.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment - _EPOCH) // _US


def parse_timestamptz(text: str, context: Context) -> Timestamptz:
    """A local time without a zone is read in the session's zone."""
    plain = plain_utc(text)
    if plain is not None:
        return Timestamptz(plain)
    fields = _parse(text, "timestamp with time zone", context)
    if fields.special_us is not None:
        return Timestamptz(fields.special_us)
    local = _local_us(fields, text)
    return Timestamptz(_in_range(_utc(local, fields.zone or context.zone, text), text))


def parse_timestamp(text: str, context: Context) -> Timestamp:
    """A zone in the text is read and ignored, as PostgreSQL does."""
    fields = _parse(text, "timestamp without time zone", context)
    if fields.special_us is not None:
        return Timestamp(_local(fields, context))
    return Timestamp(_in_range(_local_us(fields, text), text))


def parse_date(text: str, context: Context) -> Date:
    """The day of a date or timestamp."""
    fields = _parse(text, "date", context)
    if fields.special_us == US_INFINITY:
        return Date(DAYS_INFINITY)
    if fields.special_us == US_MINUS_INFINITY:
        return Date(DAYS_MINUS_INFINITY)
    days = fields.days if fields.special_us is None else _local(fields, context) // US_PER_DAY
    if days is None:
        raise _syntax("date", text)
    if not DAYS_MIN <= days <= DAYS_MAX:
        raise DatetimeFieldOverflow(f'date out of range: "{text}"')
    return Date(days)


def parse_time(text: str, context: Context) -> Time:
    """The time of day of a time or timestamp; 24:00:00 is one."""
    fields = _parse(text, "time without time zone", context)
    if fields.special_us is not None:
        if not fields.special_is_now:
            raise _syntax("time without time zone", text)
        return Time(_local(fields, context) % US_PER_DAY)
    if fields.time_us is None:
        raise _syntax("time without time zone", text)
    return Time(fields.time_us)


class _Fields:
    """What the tokens have said so far."""

    __slots__ = ("bc", "day", "days", "half", "month", "special_is_now", "special_us", "time_us", "year", "zone")

    def __init__(self) -> None:
        self.year: str | None = None
        self.month: int | None = None
        self.day: int | None = None
        self.days: int | None = None
        self.time_us: int | None = None
        self.half: str | None = None
        self.bc: bool | None = None
        self.zone: Zone | None = None
        self.special_us: int | None = None
        self.special_is_now = False


_TOKEN = re.compile(
    r"""[\s,]* (?:
      (?P<ymd> (?: \d{1,7} - (?: \d{1,2} | [a-z]{3,9} ) | [a-z]{3,9} - \d{1,2} ) - \d{1,7} )
    | (?P<ordinal> \d{4} [.-] \d{3} (?!\d) )
    | (?P<julian> j \d{1,9} (?!\d) )
    | (?P<slashes> \d{1,7} [/.] \d{1,2} [/.] \d{1,7} )
    | (?P<time> \d{1,9} : \d{1,2} (?: : \d{1,2} (?: \. \d* )? )? )
    | (?P<compact> \d{4,} \. \d* | \d{6} (?!\d) | \d{8} (?!\d) )
    | (?P<number> \d{1,7} (?![\d:]) )
    | (?P<offset> [+-] \d{1,2} (?: : \d{2} (?: : \d{2} )? | \d{2} (?: \d{2} )? )? (?!\d) )
    | (?P<word> [a-z] [a-z_]* (?: / [a-z0-9_+-]+ )* (?: [+-]\d{1,2} (?!\d) )? )
    )""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_DATE_TO_TIME = re.compile(r"(?<=\d)[tT](?=\d)")

_MONTH_NAMES = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_MONTHS = {
    name[:length]: number
    for number, name in enumerate(_MONTH_NAMES, 1)
    for length in {3, 4 if name == "september" else 3, len(name)}
}
_WEEKDAYS = frozenset({
    "sun", "sunday", "mon", "monday", "tue", "tues", "tuesday", "wed", "weds", "wednesday", "thu", "thur", "thurs",
    "thursday", "fri", "friday", "sat", "saturday",
})  # fmt: skip
# From PostgreSQL's timezone/tznames/Default, hours east of Greenwich.
_ABBREVIATIONS = {
    "z": 0, "utc": 0, "gmt": 0, "uct": 0, "zulu": 0, "wet": 0, "west": 1, "bst": 1, "cet": 1, "cest": 2, "met": 1,
    "mest": 2, "eet": 2, "eest": 3, "ist": 2, "msk": 3, "jst": 9, "kst": 9, "aest": 10, "nzst": 12, "nzdt": 13,
    "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7, "akst": -9, "akdt": -8,
    "hst": -10, "ast": -4, "adt": -3,
}  # fmt: skip


def _syntax(type_name: str, text: str) -> InvalidDatetimeFormat:
    return InvalidDatetimeFormat(f'invalid input syntax for type {type_name}: "{text}"')


def _overflow(text: str) -> DatetimeFieldOverflow:
    return DatetimeFieldOverflow(f'date/time field value out of range: "{text}"')


def _parse(text: str, type_name: str, context: Context) -> _Fields:
    fields = _Fields()
    if len(text) > TEXT_LENGTH_MAX:
        raise _syntax(type_name, text[:TEXT_LENGTH_MAX] + "…")
    rest = text.strip()
    if rest.lower() in ("infinity", "-infinity"):
        fields.special_us = US_MINUS_INFINITY if rest.startswith("-") else US_INFINITY
        return fields
    rest = _DATE_TO_TIME.sub(" ", rest)
    at = 0
    while at < len(rest):
        token = _TOKEN.match(rest, at)
        if token is None or token.lastgroup is None:
            raise _syntax(type_name, text)
        at = token.end()
        _READERS[token.lastgroup](fields, token[token.lastgroup], type_name, text, context)
    _finish(fields, type_name, text)
    return fields


def _unset(value: Any, type_name: str, text: str) -> None:
    if value is not None:
        raise _syntax(type_name, text)


def _read_date(fields: _Fields, token: str, type_name: str, text: str, _: Context) -> None:
    for value in (fields.year, fields.month, fields.day, fields.days):
        _unset(value, type_name, text)
    first, second, third = re.split(r"[-/.]", token)
    if not second.isdigit():
        month = _MONTHS.get(second.lower())
        if month is None:
            raise _syntax(type_name, text)
        fields.month = month
        fields.year, day = (first, third) if len(first) > 2 else (third, first)
    elif not first.isdigit():
        month = _MONTHS.get(first.lower())
        if month is None:
            raise _syntax(type_name, text)
        fields.month, day, fields.year = month, second, third
    elif len(first) > 2:
        fields.year, fields.month, day = first, int(second), third
    else:
        fields.month, day, fields.year = int(first), second, third
    if len(day) > 2:
        raise _overflow(text)
    fields.day = int(day)


def _read_ordinal(fields: _Fields, token: str, type_name: str, text: str, _: Context) -> None:
    """A year and a day of it, from 1."""
    for value in (fields.year, fields.month, fields.day, fields.days):
        _unset(value, type_name, text)
    first = days_from_civil(int(token[:4]), 1, 1)
    fields.days = first + int(token[5:]) - 1
    if not first <= fields.days < days_from_civil(int(token[:4]) + 1, 1, 1):
        raise _overflow(text)


def _read_julian(fields: _Fields, token: str, type_name: str, text: str, _: Context) -> None:
    for value in (fields.year, fields.month, fields.day, fields.days):
        _unset(value, type_name, text)
    fields.days = int(token[1:]) + DAYS_MIN


def _read_time(fields: _Fields, token: str, type_name: str, text: str, _: Context) -> None:
    _unset(fields.time_us, type_name, text)
    hours, minutes, *seconds = token.split(":")
    whole, _point, fraction = (seconds[0] if seconds else "0").partition(".")
    fields.time_us = _time_us(int(hours), int(minutes), int(whole), fraction, text)


def _time_us(hours: int, minutes: int, seconds: int, fraction: str, text: str) -> int:
    us = fraction_us(fraction)
    # A second of 60 is a leap second; 24:00:00 is the end of the day (datetime.c, ValidateTime).
    total = ((hours * 60 + minutes) * 60 + seconds) * US_PER_SECOND + us
    if minutes > 59 or seconds > 60 or hours > 24 or (hours == 24 and total > US_PER_DAY):
        raise _overflow(text)
    return total


def fraction_us(digits: str) -> int:
    """Microseconds of a fraction of a second given by its digits, rounded as PostgreSQL does (rint of a float8)."""
    return round(float("0." + (digits or "0")) * 1e6)


def _read_compact(fields: _Fields, token: str, type_name: str, text: str, _: Context) -> None:
    """yyyymmdd, yymmdd, then hhmmss[.f] or hhmm."""
    digits, _point, fraction = token.partition(".")
    if fields.year is None and type_name != "time without time zone" and not fraction:
        _unset(fields.month, type_name, text)
        fields.year, fields.month, fields.day = digits[:-4], int(digits[-4:-2]), int(digits[-2:])
        return
    _unset(fields.time_us, type_name, text)
    if len(digits) == 6:
        fields.time_us = _time_us(int(digits[:2]), int(digits[2:4]), int(digits[4:]), fraction, text)
    elif len(digits) == 4 and not fraction:
        fields.time_us = _time_us(int(digits[:2]), int(digits[2:]), 0, "", text)
    else:
        raise _syntax(type_name, text)


def _read_number(fields: _Fields, token: str, type_name: str, text: str, context: Context) -> None:
    """Day or year beside a month's name; a time without colons behind a date."""
    if len(token) == 4 and (fields.year is not None or type_name == "time without time zone"):
        _read_compact(fields, token, type_name, text, context)
    elif len(token) > 2:
        _unset(fields.year, type_name, text)
        fields.year = token
    elif fields.day is None and fields.days is None:
        fields.day = int(token)
    else:
        _unset(fields.year, type_name, text)
        fields.year = token


def _read_offset(fields: _Fields, token: str, type_name: str, text: str, _: Context) -> None:
    _unset(fields.zone, type_name, text)
    if fields.time_us is None and fields.year is None and fields.days is None:
        raise _syntax(type_name, text)
    digits = token[1:].replace(":", "")
    hours, minutes, seconds = (int(digits[k : k + 2] or 0) for k in (0, 2, 4))
    if hours > 15 or minutes > 59 or seconds > 59:
        raise InvalidTimeZoneDisplacementValue(f'time zone displacement out of range: "{text}"')
    offset = (hours * 60 + minutes) * 60 + seconds
    fields.zone = fixed(token, -offset if token[0] == "-" else offset)


def _read_word(fields: _Fields, token: str, type_name: str, text: str, context: Context) -> None:
    word = token.lower()
    if word in _MONTHS:
        _unset(fields.month, type_name, text)
        fields.month = _MONTHS[word]
    elif word in ("am", "pm"):
        _unset(fields.half, type_name, text)
        fields.half = word
    elif word in ("bc", "ad"):
        _unset(fields.bc, type_name, text)
        fields.bc = word == "bc"
    elif word in _SPECIAL:
        _read_special(fields, word, type_name, text, context)
    elif word not in _WEEKDAYS:
        _read_zone(fields, token, type_name, text)


_SPECIAL = frozenset({"now", "epoch", "today", "tomorrow", "yesterday", "allballs"})


def _read_special(fields: _Fields, word: str, type_name: str, text: str, context: Context) -> None:
    if word == "allballs":
        _unset(fields.time_us, type_name, text)
        fields.time_us, fields.zone = 0, fixed("UTC", 0)
        return
    for value in (fields.year, fields.month, fields.day, fields.days, fields.special_us):
        _unset(value, type_name, text)
    if word in ("now", "epoch"):
        fields.special_us = context.now_us if word == "now" else 0
        fields.special_is_now = word == "now"
        return
    local = context.now_us + context.zone.offset_s(context.now_us) * US_PER_SECOND
    fields.days = local // US_PER_DAY + {"today": 0, "tomorrow": 1, "yesterday": -1}[word]


def _read_zone(fields: _Fields, token: str, type_name: str, text: str) -> None:
    _unset(fields.zone, type_name, text)
    hours = _ABBREVIATIONS.get(token.lower())
    if hours is not None:
        fields.zone = fixed(token, hours * 3600)
        return
    try:
        fields.zone = zone(token)
    except TsdbError:
        # A word with a slash is a zone that nobody knows; any other is not part of a date at all (DecodeDateTime).
        if "/" in token:
            raise
        raise _syntax(type_name, text) from None


_READERS = {
    "ymd": _read_date,
    "slashes": _read_date,
    "ordinal": _read_ordinal,
    "julian": _read_julian,
    "time": _read_time,
    "compact": _read_compact,
    "number": _read_number,
    "offset": _read_offset,
    "word": _read_word,
}


def _finish(fields: _Fields, type_name: str, text: str) -> None:
    """Put the parts together and check them against each other and the calendar."""
    if fields.special_us is not None:
        if fields.time_us is not None:
            raise _syntax(type_name, text)
        return
    if fields.half is not None:
        fields.time_us = _twelve_hours(fields, type_name, text)
    if fields.days is None and (fields.year is not None or fields.month is not None or fields.day is not None):
        if fields.year is None or fields.month is None or fields.day is None:
            raise _syntax(type_name, text)
        fields.days = _civil_days(fields.year, fields.month, fields.day, fields.bc or False, text)
    elif fields.bc is not None:
        raise _syntax(type_name, text)
    if fields.days is None and not (type_name.startswith("time ") and fields.time_us is not None):
        raise _syntax(type_name, text)


def _twelve_hours(fields: _Fields, type_name: str, text: str) -> int:
    if fields.time_us is None:
        raise _syntax(type_name, text)
    hour_us = 3600 * US_PER_SECOND
    if fields.time_us >= 13 * hour_us:
        raise _overflow(text)
    return fields.time_us % (12 * hour_us) + (12 * hour_us if fields.half == "pm" else 0)


def _civil_days(year_text: str, month: int, day: int, bc: bool, text: str) -> int:
    year = int(year_text)
    if bc:
        year = 1 - year
        if year > 0:
            raise _overflow(text)
    elif len(year_text) <= 2:
        year += 2000 if year < 70 else 1900
    elif year == 0:
        raise _overflow(text)
    if not 1 <= month <= 12:
        raise DatetimeFieldOverflow(
            f'date/time field value out of range: "{text}"', hint='Perhaps you need a different "datestyle" setting.'
        )
    if not 1 <= day <= days_in_month(year, month):
        raise _overflow(text)
    return days_from_civil(year, month, day)


def _local_us(fields: _Fields, text: str) -> int:
    assert fields.days is not None
    return fields.days * US_PER_DAY + (fields.time_us or 0)


def _local(fields: _Fields, context: Context) -> int:
    """``now`` as the session's local time; the other special values are the same with and without a zone."""
    assert fields.special_us is not None
    if not fields.special_is_now:
        return fields.special_us
    return fields.special_us + context.zone.offset_s(fields.special_us) * US_PER_SECOND


def _utc(local_us: int, in_zone: Zone, text: str) -> int:
    _in_range(local_us, text)
    return in_zone.utc_us(local_us)


def _in_range(us: int, text: str) -> int:
    if not US_MIN <= us <= US_MAX:
        raise DatetimeFieldOverflow(f'timestamp out of range: "{text}"')
    return us
