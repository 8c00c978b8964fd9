"""The edges between buckets: no bucket of time_bucket reaches across one, in any zone, around any change of clocks."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from tests.sql import samples
from tests.sql.answers import ask
from tsdb import zones
from tsdb.model.continuous import Buckets, Continuous, whole, without
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.sql.bind.datetimes import BUCKET_ORIGIN_US
from tsdb.sql.bind.time_bucket import MONTH_ORIGIN_US
from tsdb.sql.query import Queries

MINUTE = 60 * 1_000_000
DAY = 1440 * MINUTE
YEAR = 365 * DAY
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Tehran", "Africa/Casablanca")
WIDTHS = (
    (0, 7 * MINUTE), (0, 15 * MINUTE), (0, 60 * MINUTE), (0, 7 * 60 * MINUTE), (0, DAY), (0, 7 * DAY), (0, 10 * DAY),
    (1, 0), (3, 0), (12, 0),
)  # fmt: skip


@pytest.fixture(scope="module")
def queries() -> Iterator[Queries]:
    made = Queries(memory_limit_bytes=1 << 28, threads=1)
    yield made
    made.close()


def _instants(random: Random, zone: str) -> list[int]:
    """µs, most of them near a change of clocks."""
    near = [0] if not zone else [int(us) for us in zones.zone(zone).transitions_us if -20 * YEAR < us < 60 * YEAR]
    made = []
    for _ in range(60):
        at = random.choice(near) if random.random() < 0.8 else random.randrange(-40 * YEAR, 70 * YEAR)
        made += [at + random.choice([-1, 0, 1, random.randrange(-3 * DAY, 3 * DAY)]) for _ in range(3)]
    return made


def _starts(queries: Queries, bucket: Continuous, instants: list[int]) -> list[int]:
    width = f"{bucket.months} months" if bucket.months else f"{bucket.width_us} microseconds"
    options = f", \"offset\" => '{bucket.offset_us} microseconds'" + (
        f", timezone => '{bucket.zone}'" if bucket.zone else ""
    )
    lists = ", ".join(f"({us})" for us in instants)
    time = "timestamptz 'epoch' + us * interval '1 microsecond'"
    text = f"""SELECT extract(epoch FROM time_bucket('{width}', {time}{options})) * 1000000
               FROM (VALUES {lists}) AS v(us)"""
    return [int(row[0]) for row in ask(queries, samples.view(5), text)[1]]


@pytest.mark.parametrize("zone", ["", *ZONES])
def test_no_bucket_reaches_across_an_edge(queries: Queries, zone: str) -> None:
    random = Random(zone)
    for months, width in WIDTHS:
        origin = MONTH_ORIGIN_US if months else BUCKET_ORIGIN_US
        shift = random.choice([0, 0, 2 * MINUTE, -90 * MINUTE])
        bucket = Continuous(months, width, origin, shift, zone)
        buckets, instants = Buckets(bucket), _instants(random, zone)
        units: dict[int, tuple[int, int]] = {}
        for us, start in zip(instants, _starts(queries, bucket, instants), strict=True):
            low, high = buckets.low(us * 1000), buckets.high(us * 1000 + 1)
            assert low <= start * 1000 <= us * 1000 < high, (bucket, us)
            assert buckets.low(low) == low == buckets.high(low), (bucket, us)
            assert units.setdefault(start, (low, high)) == (low, high), (bucket, us)
            assert high - low <= (2 * max(width, 31 * DAY * months) + 6 * DAY) * 1000, bucket
            if not zone:
                assert low == start * 1000


def test_spans_are_whole_and_what_is_left_is_the_rest() -> None:
    hours = Buckets(Continuous(0, 60 * MINUTE, BUCKET_ORIGIN_US))
    hour = 3600 * 10**9
    dirty = whole(
        [(5 * hour + 1, 5 * hour + 2), (6 * hour, 6 * hour + 1), (9 * hour - 1, 30 * hour)], hours, 0, 10 * hour
    )
    assert dirty == ((5 * hour, 7 * hour), (8 * hour, 10 * hour))
    assert without(0, 10 * hour, dirty) == ((0, 5 * hour), (7 * hour, 8 * hour))
    assert whole([(NS_MIN, NS_MAX)], hours, NS_MIN, 3 * hour) == ((NS_MIN, 3 * hour),)
    assert without(NS_MIN, 3 * hour, ((NS_MIN, 3 * hour),)) == ()
    assert hours.low(NS_MIN) == NS_MIN
    assert hours.high(NS_MAX) == NS_MAX
