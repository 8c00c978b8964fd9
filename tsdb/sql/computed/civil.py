"""Days as civil dates in the proleptic Gregorian calendar, for all years PostgreSQL has. Pure integers.

Years are astronomical: 0 is 1 BC. Source: datetime.c (j2date, date2isoweek, date2isoyear).
"""

from __future__ import annotations

JULIAN_OF_1970 = 2_440_588


def civil(days: int) -> tuple[int, int, int]:
    """(year, month, day) of days since 1970-01-01."""
    z = days + 719_468
    era, of_era = divmod(z, 146_097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day


def days_of(year: int, month: int, day: int) -> int:
    """The inverse of ``civil``; months and days may overflow."""
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in_month(year: int, month: int) -> int:
    return 29 if month == 2 and is_leap(year) else (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


def iso_week(days: int) -> tuple[int, int]:
    """(ISO year, ISO week) of a day."""
    weekday = (days + 3) % 7
    year = civil(days - weekday + 3)[0]
    return year, (days - weekday + 3 - days_of(year, 1, 1)) // 7 + 1


def first_of_iso_week(year: int, week: int) -> int:
    """The Monday of an ISO week."""
    fourth = days_of(year, 1, 4)
    return fourth - (fourth + 3) % 7 + (week - 1) * 7
