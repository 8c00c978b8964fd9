"""Values of Bind for queries: checked by PostgreSQL's input rules, handed on as the text that every type reads.

``tsdb.wire.parameters`` and ``tsdb.sql`` are strangers to each other; here a value of the one becomes a value of the
other. A text parameter goes on as it came, once it is known to be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tsdb import encodings
from tsdb.datetimes import (
    DAYS_INFINITY,
    DAYS_MINUS_INFINITY,
    US_INFINITY,
    US_MINUS_INFINITY,
    US_PER_DAY,
    Context,
    Date,
    Time,
    Timestamp,
    Timestamptz,
)
from tsdb.intervals import Interval
from tsdb.types import SqlType
from tsdb.wire import BINARY_FORMAT, Bind, format_codes
from tsdb.wire.parameters import decode_parameters


def values_of(bind: Bind, types: Sequence[SqlType], context: Context) -> list[object | None]:
    """The values for ``Queries.run``. Raises DataError and ProtocolViolation as ``decode_parameters`` does."""
    decoded = decode_parameters(bind, types, context)
    codes = format_codes(bind.parameter_formats, len(types))
    values: list[object | None] = []
    for raw, value, code in zip(bind.parameters, decoded, codes, strict=True):
        if raw is None or value is None:
            values.append(None)
        elif code == BINARY_FORMAT:
            values.append(plain(value))
        else:
            values.append(encodings.decoded(raw, context.codec))
    return values


def plain(value: object) -> object:
    """What queries and COPY take: a number, a text or bytes as they are; everything else as its text."""
    if isinstance(value, Timestamptz | Timestamp):
        return _instant(value.us, "+00" if isinstance(value, Timestamptz) else "")
    if isinstance(value, Date):
        return _date(value.days)
    if isinstance(value, Time):
        return _clock(value.us)
    if isinstance(value, Interval):
        return f"{value.months} mons {value.days} days {value.us} us"
    if isinstance(value, list):
        return _array(value)
    return value


def _array(items: list[Any]) -> str:
    parts: list[str] = []
    for item in items:
        if item is None:
            parts.append("NULL")
        elif isinstance(item, list):
            parts.append(_array(item))
        else:
            parts.append('"' + _text(item).replace("\\", "\\\\").replace('"', '\\"') + '"')
    return "{" + ",".join(parts) + "}"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    shown = plain(value)
    return repr(shown) if isinstance(shown, float) else str(shown)


def _instant(us: int, suffix: str) -> str:
    if us in (US_INFINITY, US_MINUS_INFINITY):
        return "infinity" if us > 0 else "-infinity"
    days, rest = divmod(us, US_PER_DAY)
    date = _date(days)
    bc = " BC" if date.endswith(" BC") else ""
    return f"{date.removesuffix(' BC')} {_clock(rest)}{suffix}{bc}"


def _clock(us: int) -> str:
    seconds, fraction = divmod(us, 1_000_000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}"


def _date(days: int) -> str:
    if days in (DAYS_INFINITY, DAYS_MINUS_INFINITY):
        return "infinity" if days > 0 else "-infinity"
    # Civil from days, proleptic Gregorian: the year begins in March, so that the leap day is its last.
    shifted = days + 719_468
    era, day_of_era = divmod(shifted, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    return f"{year:04d}-{month:02d}-{day:02d}" if year > 0 else f"{1 - year:04d}-{month:02d}-{day:02d} BC"
