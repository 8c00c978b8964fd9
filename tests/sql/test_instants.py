"""Instants as dashboards write them are read by a short way: the same values and errors as by the long one."""

from __future__ import annotations

import random
from zoneinfo import ZoneInfo

import pytest

from tsdb.errors import TsdbError
from tsdb.sql.datetime_text import read_timestamptz

ZONE = ZoneInfo("Europe/Berlin")
YEARS = (0, 1, 1582, 1969, 1970, 2000, 2016, 2024, 9999)
FRACTIONS = ("", ".1", ".000", ".123", ".1234", ".123456", ".999999", ".1234567", ".")
ZONES = ("Z", "z", "+00", "+00:00", "+0000", "-00", "-00:00", "+01", " Z", " UTC", "", "+00:00:00")


def outcome(text: str) -> int | str:
    try:
        return read_timestamptz(text, 0, ZONE)
    except TsdbError as error:
        return f"{type(error).__name__}: {error.message.replace(' ', '')}"


def drawn(chance: random.Random) -> str:
    date = f"{chance.choice(YEARS):04}-{chance.randrange(14):02}-{chance.randrange(33):02}"
    clock = f"{chance.randrange(26):02}:{chance.choice((0, 9, 59, 60)):02}:{chance.choice((0, 30, 59, 60)):02}"
    return f"{date}{chance.choice(' T')}{clock}{chance.choice(FRACTIONS)}{chance.choice(ZONES)}"


@pytest.mark.parametrize("seed", range(3))
def test_the_short_way_reads_what_the_long_way_reads(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(3_000):
        text = drawn(chance)
        # A space in front is for the long way only.
        assert outcome(text) == outcome(" " + text), text


def test_a_known_instant() -> None:
    assert read_timestamptz("2016-01-01T05:32:11.123Z", 0, ZONE) == 1_451_626_331_123_000
    assert read_timestamptz("2016-01-01 05:32:11.123456+00:00", 0, ZONE) == 1_451_626_331_123_456
