"""Dates and times from text, as PostgreSQL reads them (DateStyle ISO, MDY). Pure.

Values: a date is days since 1970-01-01, a time µs since midnight, a timestamp µs since 1970 (timestamptz: UTC).
``infinity`` and ``-infinity`` are INFINITY and -INFINITY.

Source: PostgreSQL 15 manual, 8.5.1 and appendix B; src/backend/utils/adt/datetime.c (DetermineTimeZoneOffset: a local
time that does not exist is read with the offset before the gap, an ambiguous one with the offset after it).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal

from tsdb.datetimes import plain_utc
from tsdb.errors import DatetimeFieldOverflow, InvalidDatetimeFormat, InvalidParameterValue
from tsdb.sql.context import zone_of

UTC_OFFSET = timezone(timedelta(0))
INFINITY = 2**63 - 1
US_PER_DAY = 86_400_000_000
US_PER_SECOND = 1_000_000
MAX_TEXT = 128
# 4713 BC to 294276 AD, as PostgreSQL's timestamps.
TIMESTAMP_MIN_US = -210866803200000000
TIMESTAMP_MAX_US = 9224318016000000000
DATE_MIN, DATE_MAX = -2440588, 2145031948

_MONTHS = dict(
    zip(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), range(1, 13), strict=True)
)
_TIME = (
    r"(?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{1,2})(?:[.,](?P<f>\d*))?)?|"
    r"(?P<h2>\d{2})(?P<m2>\d{2})(?:(?P<s2>\d{2})(?:[.,](?P<f2>\d*))?)?"
)
_ZONE = r"(?:\s*(?P<zone>Z|[+-]\d{1,2}(?::?\d{2}(?::?\d{2})?)?|(?!(?:BC|AD)\b)[A-Za-z][A-Za-z0-9_+\-/]*))?"
_DATES = (
    r"(?P<y>\d{4,6})-(?P<mo>\d{1,2})-(?P<d>\d{1,2})",
    r"(?P<y>\d{4})/(?P<mo>\d{1,2})/(?P<d>\d{1,2})",
    r"(?P<y>\d{4})(?P<mo>\d{2})(?P<d>\d{2})",
    r"(?P<mo>\d{1,2})[/-](?P<d>\d{1,2})[/-](?P<y>\d{4})",
    r"(?P<name>[A-Za-z]{3,9})\.?\s*(?P<d>\d{1,2}),?\s+(?P<y>\d{4})",
    r"(?P<d>\d{1,2})[- ](?P<name>[A-Za-z]{3,9})[- ](?P<y>\d{4})",
    r"(?P<y>\d{4})[- ](?P<name>[A-Za-z]{3,9})[- ](?P<d>\d{1,2})",
)
_BC = r"(?:\s*(?P<bc>BC|AD))?"
_FORMS = tuple(
    re.compile(rf"\s*{date}(?:(?:\s*T|\s+)(?:{_TIME})(?:\s*(?P<ampm>am|pm)\b)?{_ZONE})?{_BC}\s*", re.I)
    for date in _DATES
)
_DATE_ZONE_FORM = re.compile(rf"\s*{_DATES[0]}{_ZONE}\s*", re.I)
_CLOCK_FORM = re.compile(rf"\s*T?(?:{_TIME})(?:\s*(?P<ampm>am|pm)\b)?{_ZONE}\s*", re.I)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC_OFFSET)
_US = timedelta(microseconds=1)
_OFFSET = re.compile(r"([+-])(\d{1,2})(?::?(\d{2}))?(?::?(\d{2}))?")


def read_date(text: str, now_us: int, zone: tzinfo) -> int:
    special = _special(text, now_us, zone, "date")
    if special is not None:
        return special if abs(special) == INFINITY else special // US_PER_DAY
    days, _, _ = _fields(text, "date")
    if not DATE_MIN <= days <= DATE_MAX:
        raise DatetimeFieldOverflow(f'date out of range: "{text}"')
    return days


def read_timestamp(text: str, now_us: int, zone: tzinfo) -> int:
    """A timestamp without time zone: an offset in the text is ignored, as PostgreSQL does."""
    special = _special(text, now_us, zone, "timestamp")
    if special is not None:
        return special
    days, clock_us, _ = _fields(text, "timestamp")
    return _checked(days * US_PER_DAY + clock_us, text)


def read_timestamptz(text: str, now_us: int, zone: tzinfo) -> int:
    plain = plain_utc(text)
    if plain is not None:
        return plain
    special = _special(text, now_us, zone, "timestamp with time zone")
    if special is not None:
        return special if abs(special) == INFINITY else utc_of_local(special, zone)
    days, clock_us, named = _fields(text, "timestamp with time zone")
    local = days * US_PER_DAY + clock_us
    if named is None:
        return _checked(utc_of_local(local, zone), text)
    return _checked(utc_of_local(local, _zone(named, text)), text)


def read_time(text: str) -> int:
    if text.strip().lower() == "allballs":
        return 0
    found = _CLOCK_FORM.fullmatch(text) if len(text) <= MAX_TEXT else None
    if found is None:
        _, clock_us, _ = _fields(text, "time")
        return clock_us
    return _clock(found, text)


def utc_of_local(local_us: int, zone: tzinfo) -> int:
    """The UTC µs of a local time; outside the years 1 to 9999 the zone's offset at the nearer end holds."""
    clamped = max(-62135596800, min(253402214400, local_us // US_PER_SECOND))
    local = datetime(1970, 1, 1) + timedelta(seconds=clamped)
    before, after = local.replace(tzinfo=zone), local.replace(tzinfo=zone, fold=1)
    first, second = before.utcoffset(), after.utcoffset()
    assert first is not None
    assert second is not None
    # A gap makes the second offset larger, an overlap smaller; the gap takes the offset before it.
    offset = second if second < first else first
    return local_us - round(offset.total_seconds()) * US_PER_SECOND


def local_of_utc(us: int, zone: tzinfo) -> int:
    clamped = max(-62135510400, min(253402214400, us // US_PER_SECOND))
    moment = datetime.fromtimestamp(0, UTC_OFFSET) + timedelta(seconds=clamped)
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return us + round(offset.total_seconds()) * US_PER_SECOND


def days_of_civil(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of the proleptic Gregorian calendar; year 0 is 1 BC."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def _special(text: str, now_us: int, zone: tzinfo, name: str) -> int | None:
    """Special words, as local time (infinity as itself); None when the text is none of them."""
    word = text.strip().lower()
    if word in ("infinity", "+infinity"):
        return INFINITY
    if word == "-infinity":
        return -INFINITY
    if word == "epoch":
        return local_of_utc(0, zone) if name == "timestamp with time zone" else 0
    if word == "now":
        return local_of_utc(now_us, zone)
    days = {"today": 0, "tomorrow": 1, "yesterday": -1}.get(word)
    if days is None:
        return None
    return (local_of_utc(now_us, zone) // US_PER_DAY + days) * US_PER_DAY


def _fields(text: str, name: str) -> tuple[int, int, str | None]:
    """(days, µs of the day, time zone as written)."""
    if len(text) <= MAX_TEXT:
        for form in _FORMS:
            found = form.fullmatch(text)
            if found is not None:
                clock = _clock(found, text) if found["h"] or found["h2"] else 0
                return _days(found, text), clock, found["zone"]
        found = _DATE_ZONE_FORM.fullmatch(text)
        if found is not None:
            return _days(found, text), 0, found["zone"]
    raise InvalidDatetimeFormat(f'invalid input syntax for type {name}: "{text[:MAX_TEXT]}"')


def _days(found: re.Match[str], text: str) -> int:
    groups = found.groupdict()
    if groups.get("name"):
        month = _MONTHS.get(groups["name"][:3].lower(), 0)
        if not month:
            raise InvalidDatetimeFormat(f'invalid input syntax for type timestamp: "{text}"')
    else:
        month = int(groups["mo"])
    year, day = int(groups["y"]), int(groups["d"])
    if (groups.get("bc") or "").upper() == "BC":
        year = 1 - year
    elif year == 0:
        raise DatetimeFieldOverflow(f'date/time field value out of range: "{text}"')
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        raise _out_of_range(text)
    days = days_of_civil(year, month, day)
    following = days_of_civil(year + month // 12, month % 12 + 1, 1)
    if days >= following:
        raise _out_of_range(text)
    return days


def _out_of_range(text: str) -> DatetimeFieldOverflow:
    return DatetimeFieldOverflow(f'date/time field value out of range: "{text}"')


def _clock(found: re.Match[str], text: str) -> int:
    hour = int(found["h"] or found["h2"])
    minute = int(found["m"] or found["m2"])
    second = int(found["s"] or found["s2"] or 0)
    fraction = found["f"] or found["f2"] or ""
    if found["ampm"]:
        if not 1 <= hour <= 12:
            raise _out_of_range(text)
        hour = hour % 12 + (12 if found["ampm"].lower() == "pm" else 0)
    micros = int((Decimal("0." + (fraction or "0")) * US_PER_SECOND).to_integral_value(ROUND_HALF_EVEN))
    if hour > 24 or minute > 59 or second > 60 or (hour == 24 and (minute or second or micros)):
        raise _out_of_range(text)
    return ((hour * 60 + minute) * 60 + second) * US_PER_SECOND + micros


def _zone(named: str, text: str) -> tzinfo:
    if named.upper() in ("Z", "UTC", "GMT", "ZULU"):
        return UTC_OFFSET
    offset = _OFFSET.fullmatch(named)
    if offset is None:
        try:
            return zone_of(named)
        except InvalidParameterValue:
            raise InvalidParameterValue(f'time zone "{named}" not recognized') from None
    sign, hours, minutes, seconds = offset.groups()
    if int(hours) > 15 or int(minutes or 0) > 59 or int(seconds or 0) > 59:
        raise InvalidDatetimeFormat(f'time zone displacement out of range: "{text}"')
    delta = timedelta(hours=int(hours), minutes=int(minutes or 0), seconds=int(seconds or 0))
    return timezone(delta if sign == "+" else -delta)


def _checked(us: int, text: str) -> int:
    if not TIMESTAMP_MIN_US <= us <= TIMESTAMP_MAX_US:
        raise DatetimeFieldOverflow(f'timestamp out of range: "{text}"')
    return us
