"""Dates, times and zones beyond the golden tables (tests/wire/golden): the present, and agreement with zoneinfo."""

from __future__ import annotations

import contextlib
import datetime
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdb.datetimes import (
    Context,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    days_from_civil,
    parse_date,
    parse_time,
    parse_timestamp,
    parse_timestamptz,
)
from tsdb.errors import InvalidDatetimeFormat, InvalidParameterValue, TsdbError
from tsdb.intervals import Interval, parse_interval
from tsdb.zones import CYCLE_US, zone

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
# 2026-11-20 23:30:00 UTC, a day later in Berlin.
NOW_US = 1_795_217_400_000_000
BERLIN = Context(zone("Europe/Berlin"), NOW_US)


def test_now_is_the_transactions_time() -> None:
    assert parse_timestamptz("now", BERLIN) == Timestamptz(NOW_US)
    assert parse_timestamp("now", BERLIN) == Timestamp(NOW_US + HOUR_US)
    assert parse_time("NOW", BERLIN) == Time(HOUR_US // 2)
    assert parse_date("now", BERLIN) == Date(days_from_civil(2026, 11, 21))


def test_today_is_the_sessions_day() -> None:
    today = days_from_civil(2026, 11, 21)
    assert parse_date("today", BERLIN) == Date(today)
    assert parse_date("yesterday", BERLIN) == Date(today - 1)
    assert parse_timestamptz("tomorrow 12:00", BERLIN) == Timestamptz((today + 1) * DAY_US + 11 * HOUR_US)


@given(st.dates())
def test_days_agree_with_datetime(day: datetime.date) -> None:
    assert days_from_civil(day.year, day.month, day.day) == (day - datetime.date(1970, 1, 1)).days


NAMES = sorted(zoneinfo.available_timezones())


@given(st.sampled_from(NAMES), st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2499, 1, 1)))
@settings(deadline=None, max_examples=150)
def test_offsets_agree_with_zoneinfo(name: str, at: datetime.datetime) -> None:
    at = at.replace(microsecond=0, tzinfo=datetime.UTC)
    offset = at.astimezone(zoneinfo.ZoneInfo(name)).utcoffset()
    assert offset is not None
    us = int(at.timestamp()) * 1_000_000
    assert zone(name).offset_s(us) == offset.total_seconds()
    # A whole cycle later the calendar is the same, and so is the rule, once there is nothing but the rule.
    if at.year >= 2101:
        assert zone(name).offset_s(us + 7 * CYCLE_US) == offset.total_seconds()


@given(st.sampled_from(NAMES), st.integers(-(10**10), 10**10))
@settings(deadline=None, max_examples=150)
def test_a_local_time_goes_back_to_one_of_its_utc_times(name: str, second: int) -> None:
    table = zone(name)
    us = second * 1_000_000
    local = us + table.offset_s(us) * 1_000_000
    back = table.utc_us(local)
    assert back + table.offset_s(back) * 1_000_000 == local


def test_skipped_and_repeated_hours_are_read_as_postgresql_reads_them() -> None:
    spring = parse_timestamptz("2026-03-29 02:30", BERLIN)
    assert spring == parse_timestamptz("2026-03-29 02:30+01", BERLIN)
    autumn = parse_timestamptz("2026-10-25 02:30", BERLIN)
    assert autumn == parse_timestamptz("2026-10-25 02:30+01", BERLIN)


@pytest.mark.parametrize("name", ["Nowhere/Land", "", "+25:99", "../etc/passwd", "posix", "x" * 1000, "\0"])
def test_unknown_zones_are_refused(name: str) -> None:
    with pytest.raises(InvalidParameterValue):
        zone(name)


@pytest.mark.parametrize(
    ("name", "offset"),
    [
        ("utc", 0),
        ("+05:30", 19_800),
        ("-3", -10_800),
        ("<-07>+07", -25_200),
        ("<+05:30>-05:30", 19_800),
        ("EST", -18_000),
    ],
)
def test_offsets_are_zones_too(name: str, offset: int) -> None:
    assert zone(name).offset_s(0) == offset


def test_seconds_round_to_microseconds() -> None:
    assert parse_timestamptz("1970-01-01 00:00:00.0000014Z", BERLIN) == Timestamptz(1)
    assert parse_timestamptz("1970-01-01 00:00:00.0000016Z", BERLIN) == Timestamptz(2)
    assert parse_timestamptz("1969-12-31 23:59:59.9999999Z", BERLIN) == Timestamptz(0)


@given(st.text(max_size=40))
@settings(max_examples=500)
def test_any_text_is_a_value_or_an_error_of_ours(text: str) -> None:
    for read in (parse_timestamptz, parse_timestamp, parse_date, parse_time):
        with contextlib.suppress(TsdbError):
            read(text, BERLIN)


INTEGERS = st.integers(-(2**31) + 1, 2**31 - 1)


@given(INTEGERS, INTEGERS, st.integers(-(2**52), 2**52))
def test_intervals_in_words_are_exact(months: int, days: int, us: int) -> None:
    text = f"{months} mons {days} days {us // 1_000_000} seconds {us % 1_000_000} us"
    assert parse_interval(text) == Interval(months, days, us)


@pytest.mark.parametrize("text", ["", "P", "1 fortnight", "day", "1 day 2 days", "1 2 3", "@", "ago"])
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(InvalidDatetimeFormat):
        parse_interval(text)
