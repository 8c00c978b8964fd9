"""Kernels that write dates, times, timestamps and intervals in PostgreSQL's ISO text form.

    2026-11-21 01:56:06.104756+00      0044-03-15 BC      infinity      1 mon -1 days +02:03:00

Times are int64 microseconds, dates int32 days, both since 1970 UTC in the proleptic Gregorian calendar. Infinity is
the largest integer; minus infinity is the smallest (PostgreSQL) or the negative of the largest (DuckDB).

Source: PostgreSQL 15, src/backend/utils/adt/datetime.c (EncodeDateOnly, EncodeDateTime, EncodeInterval);
Howard Hinnant, "chrono-compatible low-level date algorithms" (civil_from_days).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.kernels import borrowing, copy, inlined, kernel, store_word
from tsdb.wire.digits import MINUS, Bytes, Lengths, put_fraction, put_padded, put_signed, put_unsigned, two_digits

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

DATE_WIDTH = 16
TIME_WIDTH = 16
TIMESTAMP_WIDTH = 48
INTERVAL_WIDTH = 96

_US_PER_DAY = 86_400_000_000
_US_PER_MINUTE = 60_000_000
# The longest date and the longest offset, and more.
_DATE_BYTES = 32
_SUFFIX_BYTES = 16
# Between two digits each, as a word: "00:00:00".
_COLONS = np.uint64(58 << 16 | 58 << 40)
_INT64_MAX = 2**63 - 1
_INT32_MAX = 2**31 - 1
_CYCLE_US = 146_097 * _US_PER_DAY

_DASH = MINUS
_COLON = 58
_SPACE = 32
_PLUS = 43


@borrowing
def civil(days: int) -> tuple[int, int, int]:
    """Year (0 is 1 BC), month and day of a day since 1970."""
    shifted = days + 719_468
    era = shifted // 146_097
    day_of_era = shifted - era * 146_097
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    return year, month, day


@inlined
def _put_date(out: Bytes, at: int, year: int, month: int, day: int) -> int:
    shown = year if year > 0 else 1 - year
    if shown < 10_000:
        at = put_padded(out, at, shown, 4)
    else:
        at = put_unsigned(out, at, np.uint64(shown))
    out[at] = _DASH
    put_padded(out, at + 1, month, 2)
    out[at + 3] = _DASH
    return put_padded(out, at + 4, day, 2)


@inlined
def _put_bc(out: Bytes, at: int, year: int) -> int:
    if year > 0:
        return at
    out[at], out[at + 1], out[at + 2] = _SPACE, 66, 67
    return at + 3


@inlined
def _put_infinity(out: Bytes, at: int, negative: bool) -> int:
    if negative:
        out[at] = _DASH
        at += 1
    # infinity
    out[at], out[at + 1], out[at + 2], out[at + 3] = 105, 110, 102, 105
    out[at + 4], out[at + 5], out[at + 6], out[at + 7] = 110, 105, 116, 121
    return at + 8


@inlined
def _put_time(out: Bytes, at: int, us: int) -> int:
    """A time of day in [0, 24:00:00]."""
    seconds = np.uint64(us) // np.uint64(1_000_000)
    rest = np.uint32(np.uint64(us) - seconds * np.uint64(1_000_000))
    small = np.uint32(seconds)
    hours = small // np.uint32(3600)
    small -= hours * np.uint32(3600)
    minutes = small // np.uint32(60)
    small -= minutes * np.uint32(60)
    word = _COLONS | np.uint64(two_digits(hours)) | np.uint64(two_digits(minutes)) << np.uint64(24)
    store_word(out, at, word | np.uint64(two_digits(small)) << np.uint64(48))
    return put_fraction(out, at + 8, rest)


@inlined
def _put_offset(out: Bytes, at: int, offset_s: int) -> int:
    """``+00``, ``-03:30`` or ``+00:19:32``: what is zero at the end is left out."""
    out[at] = _PLUS if offset_s >= 0 else _DASH
    seconds = abs(offset_s)
    at = put_padded(out, at + 1, seconds // 3600, 2)
    if seconds % 3600:
        out[at] = _COLON
        at = put_padded(out, at + 1, seconds // 60 % 60, 2)
    if seconds % 60:
        out[at] = _COLON
        at = put_padded(out, at + 1, seconds % 60, 2)
    return at


@borrowing
def format_dates(values: Int32s, out: Bytes, lengths: Lengths) -> None:
    for i in range(len(values)):
        start = i * DATE_WIDTH
        days = int(np.int64(values[i]))
        if days >= _INT32_MAX or days <= -_INT32_MAX:
            lengths[i] = _put_infinity(out, start, days < 0) - start
            continue
        year, month, day = civil(days)
        lengths[i] = _put_bc(out, _put_date(out, start, year, month, day), year) - start


@borrowing
def format_times(values: Int64s, out: Bytes, lengths: Lengths) -> None:
    for i in range(len(values)):
        start = i * TIME_WIDTH
        us = min(max(values[i], 0), _US_PER_DAY)
        lengths[i] = _put_time(out, start, us) - start


@borrowing
def _offset_index(transitions: Int64s, us: int, hint: int) -> int:
    """How many transitions lie at or before ``us``. ``hint`` is the last answer: rows tend to be near each other."""
    count = len(transitions)
    if (hint == 0 or transitions[hint - 1] <= us) and (hint == count or us < transitions[hint]):
        return hint
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if transitions[middle] <= us:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def format_timestamps(
    values: Int64s, transitions: Int64s, offsets_s: Int64s, end_us: int, with_offset: bool, out: Bytes, lengths: Lengths
) -> None:
    """timestamptz in the zone given by its table (``tsdb.zones.Zone``), or timestamp: one offset of 0, not shown.

    The date is kept while the day is the same, which it mostly is, and so is the offset.
    """
    hint, suffix_hint, suffix_length = 0, -1, 0
    suffix = np.empty(_SUFFIX_BYTES, np.uint8)
    date = np.empty(_DATE_BYTES, np.uint8)
    last_day = np.int64(-(2**62))
    date_length, year = 0, 0
    for i in range(len(values)):
        start = i * TIMESTAMP_WIDTH
        us = values[i]
        if us == _INT64_MAX or us <= -_INT64_MAX:
            lengths[i] = _put_infinity(out, start, us < 0) - start
            continue
        looked_up = us
        if us >= end_us:
            looked_up = us - ((us - end_us) // _CYCLE_US + 1) * _CYCLE_US
        hint = _offset_index(transitions, looked_up, hint)
        offset = offsets_s[hint]
        # Whole days and the rest first: adding the offset to the extreme values would overflow.
        day = us // _US_PER_DAY
        rest = us - day * _US_PER_DAY + offset * 1_000_000
        if rest < 0:
            rest += _US_PER_DAY
            day -= 1
        elif rest >= _US_PER_DAY:
            rest -= _US_PER_DAY
            day += 1
        if day != last_day:
            last_day = day
            year, month, day_of_month = civil(day)
            date_length = _put_date(date, 0, year, month, day_of_month) + 1
            date[date_length - 1] = _SPACE
        if hint != suffix_hint:
            suffix_hint = hint
            suffix_length = _put_offset(suffix, 0, offset) if with_offset else 0
        copy(date, 0, out, start, date_length)
        at = _put_time(out, start + date_length, rest)
        copy(suffix, 0, out, at, suffix_length)
        lengths[i] = _put_bc(out, at + suffix_length, year) - start


@inlined
def _put_unit(out: Bytes, at: int, value: int, unit: int, before: bool, first: bool) -> int:
    """One part of an interval: ``unit`` 0 year, 1 mon, 2 day. ``before``: the part before it is negative."""
    if not first:
        out[at] = _SPACE
        at += 1
    if before and value > 0:
        out[at] = _PLUS
        at += 1
    at = put_signed(out, at, np.int64(value))
    out[at] = _SPACE
    if unit == 0:
        out[at + 1], out[at + 2], out[at + 3], out[at + 4] = 121, 101, 97, 114
        at += 5
    elif unit == 1:
        out[at + 1], out[at + 2], out[at + 3] = 109, 111, 110
        at += 4
    else:
        out[at + 1], out[at + 2], out[at + 3] = 100, 97, 121
        at += 4
    if value != 1:
        out[at] = 115
        at += 1
    return at


@inlined
def _put_interval_time(out: Bytes, at: int, us: int, before: bool, first: bool) -> int:
    if not first:
        out[at] = _SPACE
        at += 1
    if us < 0:
        out[at] = _DASH
        at += 1
    elif before:
        out[at] = _PLUS
        at += 1
    magnitude = abs(us)
    seconds = magnitude // 1_000_000
    hours = seconds // 3600
    if hours < 100:
        at = put_padded(out, at, hours, 2)
    else:
        at = put_unsigned(out, at, np.uint64(hours))
    out[at] = _COLON
    put_padded(out, at + 1, seconds // 60 % 60, 2)
    out[at + 3] = _COLON
    put_padded(out, at + 4, seconds % 60, 2)
    return put_fraction(out, at + 6, magnitude % 1_000_000)


@borrowing
def format_intervals(months: Int32s, days: Int32s, us: Int64s, out: Bytes, lengths: Lengths) -> None:
    """IntervalStyle postgres."""
    for i in range(len(months)):
        start = i * INTERVAL_WIDTH
        at = start
        before = False
        total = int(np.int64(months[i]))
        years = abs(total) // 12
        rest = abs(total) - years * 12
        if total < 0:
            years, rest = -years, -rest
        parts = (years, rest, int(np.int64(days[i])))
        for unit in range(3):
            value = parts[unit]
            if value != 0:
                at = _put_unit(out, at, value, unit, before, at == start)
                before = value < 0
        if at == start or us[i] != 0:
            at = _put_interval_time(out, at, us[i], before, at == start)
        lengths[i] = at - start
