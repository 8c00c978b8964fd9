"""Kernels that read COPY's fields as values: integers, floats, ISO times.

Each reads only the usual spellings; a row that it does not know for sure is listed in ``odd`` (the count is returned),
to be read by the type's own rules. NULL rows (an end of -1) are passed over.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.kernels import borrowing
from tsdb.sql.copy.cut_kernels import Bytes, Int32s, Int64s, octet_at

Floats = npt.NDArray[np.float64]

# Powers of ten that a float64 has exactly.
_POWERS = 10.0 ** np.arange(23)
_EXACT = 1 << 53
_DAY_US = 86_400_000_000
_DAYS_IN_MONTH = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)


@borrowing
def read_integers(octets: Bytes, starts: Int32s, ends: Int32s, low: int, high: int, out: Int64s, odd: Int32s) -> int:
    count = 0
    for i in range(len(starts)):
        end = ends[i]
        if end < 0:
            continue
        at = starts[i]
        negative = at < end and octets[at] == 45
        if at < end and (negative or octets[at] == 43):
            at += 1
        value = 0
        good = 0 < end - at <= 18
        while good and at < end:
            digit = octet_at(octets, at) - 48
            good = 0 <= digit <= 9
            value = value * 10 + digit
            at += 1
        if negative:
            value = -value
        if good and low <= value <= high:
            out[i] = value
        else:
            odd[count] = i
            count += 1
    return count


@borrowing
def _exponent(octets: Bytes, at: int, end: int) -> int:
    """The number after an e, up to the end; 1000 if it is none or long."""
    negative = at < end and octets[at] == 45
    if at < end and (negative or octets[at] == 43):
        at += 1
    if not 0 < end - at <= 2:
        return 1000
    value = 0
    while at < end:
        digit = octet_at(octets, at) - 48
        if not 0 <= digit <= 9:
            return 1000
        value = value * 10 + digit
        at += 1
    return -value if negative else value


@borrowing
def read_floats(octets: Bytes, starts: Int32s, ends: Int32s, out: Floats, odd: Int32s) -> int:
    """Decimal numbers whose digits and power of ten are exact in float64: one rounding gives the nearest."""
    count = 0
    for i in range(len(starts)):
        end = ends[i]
        if end < 0:
            continue
        at = starts[i]
        negative = at < end and octets[at] == 45
        if at < end and (negative or octets[at] == 43):
            at += 1
        value = 0
        digits = 0
        power = 0
        point = False
        good = end > at
        while good and at < end:
            octet = octets[at]
            if 48 <= octet <= 57:
                value = value * 10 + octet_at(octets, at) - 48
                digits += 1
                good = value < _EXACT
                if point:
                    power -= 1
            elif octet == 46 and not point:
                point = True
            elif octet in (69, 101):
                power += _exponent(octets, at + 1, end)
                break
            else:
                good = False
            at += 1
        if good and digits > 0 and -22 <= power <= 22:
            number = np.float64(value)
            number = number / _POWERS[-power] if power < 0 else number * _POWERS[power]
            out[i] = -number if negative else number
        else:
            odd[count] = i
            count += 1
    return count


@borrowing
def _number(octets: Bytes, at: int, digits: int) -> int:
    """The number of so many digits; -1 if they are none."""
    value = 0
    for k in range(at, at + digits):
        digit = octet_at(octets, k) - 48
        if not 0 <= digit <= 9:
            return -1
        value = value * 10 + digit
    return value


@borrowing
def read_date(octets: Bytes, at: int) -> int:
    """Days since 1970 of the ``YYYY-MM-DD`` at ``at``, of which ten octets are there; -(2**40) if it is none."""
    wrong = -(1 << 40)
    if octets[at + 4] != 45 or octets[at + 7] != 45:
        return wrong
    year, month, day = _number(octets, at, 4), _number(octets, at + 5, 2), _number(octets, at + 8, 2)
    if year < 1 or not 1 <= month <= 12 or not 1 <= day <= _DAYS_IN_MONTH[month]:
        return wrong
    if month == 2 and day == 29 and (year % 4 != 0 or (year % 100 == 0 and year % 400 != 0)):
        return wrong
    # Days from civil: the year begins in March, so that the leap day is its last.
    shifted = year - 1 if month <= 2 else year
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@borrowing
def read_dates(octets: Bytes, starts: Int32s, ends: Int32s, out: Int32s, odd: Int32s) -> int:
    count = 0
    for i in range(len(starts)):
        if ends[i] < 0:
            continue
        days = read_date(octets, starts[i]) if ends[i] - starts[i] == 10 else -(1 << 40)
        if days == -(1 << 40):
            odd[count] = i
            count += 1
        else:
            out[i] = days
    return count


@borrowing
def _zone_us(octets: Bytes, at: int, end: int) -> int:
    """Microseconds east of UTC of ``Z``, ``+HH``, ``+HHMM`` or ``+HH:MM`` up to the end; -1 if it is none of them."""
    if end - at == 1 and octets[at] | 32 == 122:
        return 0
    colon = 1 if end - at == 6 and octets[at + 3] == 58 else 0
    if end - at - colon not in (3, 5) or octets[at] not in (43, 45):
        return -1
    hours = _number(octets, at + 1, 2)
    minutes = _number(octets, at + 3 + colon, 2) if end - at > 3 else 0
    if not 0 <= hours <= 15 or not 0 <= minutes <= 59:
        return -1
    offset = (hours * 60 + minutes) * 60_000_000
    return -offset if octets[at] == 45 else offset


@borrowing
def read_timestamps(
    octets: Bytes, starts: Int32s, ends: Int32s, zoned: bool, out: Int64s, local: npt.NDArray[np.bool_], odd: Int32s
) -> int:
    """``YYYY-MM-DD HH:MM:SS[.ffffff][zone]`` (or a T between) as µs since 1970; ``local[i]``: no zone was said.

    ``zoned``: the zone counts (timestamptz). For a timestamp, which leaves a zone out, a row with one is odd.
    """
    count = 0
    for i in range(len(starts)):
        at, end = starts[i], ends[i]
        if end < 0:
            continue
        good = end - at >= 19 and octets[at + 10] in (32, 84) and octets[at + 13] == 58 and octets[at + 16] == 58
        us = 0
        if good:
            days = read_date(octets, at)
            hours, minutes = _number(octets, at + 11, 2), _number(octets, at + 14, 2)
            seconds = _number(octets, at + 17, 2)
            good = days != -(1 << 40) and 0 <= hours <= 23 and 0 <= minutes <= 59 and 0 <= seconds <= 59
            us = days * _DAY_US + ((hours * 60 + minutes) * 60 + seconds) * 1_000_000
            at += 19
        if good and at < end and octets[at] == 46:
            unit = 100_000
            at += 1
            while at < end and 48 <= octets[at] <= 57:
                good = good and unit > 0
                us += (octet_at(octets, at) - 48) * unit
                unit //= 10
                at += 1
        local[i] = at == end
        if good and at < end:
            offset = _zone_us(octets, at, end)
            good = zoned and offset != -1
            us -= offset
        if good:
            out[i] = us
        else:
            local[i] = False
            odd[count] = i
            count += 1
    return count


@borrowing
def gather(octets: Bytes, starts: Int32s, ends: Int32s, offsets: Int32s, out: Bytes) -> None:
    """The fields' octets one after the other, field i at ``offsets[i]``."""
    for i in range(len(starts)):
        to = offsets[i] - starts[i]
        for k in range(starts[i], ends[i]):
            out[to + k] = octets[k]


@borrowing
def equal_to(octets: Bytes, starts: Int32s, ends: Int32s, text: Bytes, out: npt.NDArray[np.bool_]) -> None:
    """Whether each field is exactly ``text``."""
    for i in range(len(starts)):
        same = ends[i] - starts[i] == len(text)
        k = 0
        while same and k < len(text):
            same = octets[starts[i] + k] == text[k]
            k += 1
        out[i] = same
