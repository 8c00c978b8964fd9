"""time_bucket against a plain model: offsets, origins, months, and local time on days that clocks are changed."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.sql.answers import CONTEXT, ask
from tests.timeseries.points import Point, view_of
from tsdb.errors import TsdbError
from tsdb.sql.query import Queries

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONDAY, JANUARY = datetime(2000, 1, 3), datetime(2000, 1, 1)
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Havana")
# Around each zone's changes of clocks in 2025 and 2026, and days without any.
DAYS = ("2025-03-09", "2025-03-30", "2025-04-06", "2025-10-05", "2025-10-26", "2025-11-02", "2026-02-28", "2026-03-08")
Label = Callable[[datetime], datetime]


def by_width(width: timedelta, origin: datetime = MONDAY) -> Label:
    return lambda local: local - (local - origin) % width


def by_months(months: int, origin: datetime = JANUARY) -> Label:
    def label(local: datetime) -> datetime:
        first = origin.year * 12 + origin.month - 1
        month = local.year * 12 + local.month - 1
        month -= (month - first) % months
        return datetime(month // 12, month % 12 + 1, 1)

    return label


WIDTHS: dict[str, tuple[Label, timedelta]] = {
    "5 minutes": (by_width(timedelta(minutes=5)), timedelta(minutes=1)),
    "20 minutes": (by_width(timedelta(minutes=20)), timedelta(minutes=1)),
    "1 hour": (by_width(timedelta(hours=1)), timedelta(minutes=5)),
    "2 hours": (by_width(timedelta(hours=2)), timedelta(minutes=5)),
    "3 hours": (by_width(timedelta(hours=3)), timedelta(minutes=5)),
    "1 day": (by_width(timedelta(days=1)), timedelta(minutes=15)),
    "1 week": (by_width(timedelta(days=7)), timedelta(minutes=15)),
    "1 month": (by_months(1), timedelta(minutes=15)),
}


def begin_of(instant: datetime, zone: ZoneInfo, label: Label, step: timedelta, *, whole_days: bool) -> datetime:
    """Walks back: to the bucket's own local time, or to the last instant before another bucket."""
    at = instant

    def local(moment: datetime) -> datetime:
        return moment.astimezone(zone).replace(tzinfo=None)

    own = label(local(at))
    while label(local(at - step)) == own and (whole_days or local(at) != own):
        at -= step
    return at


def us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_bucket_in_a_zone_begins_where_its_clocks_say(queries: Queries, zone: str, width: str) -> None:
    label, step = WIDTHS[width]
    chance = random.Random(zone + width)
    whole_days = "minutes" not in width and "hour" not in width
    instants = []
    for day in DAYS:
        start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(hours=14)
        instants += [
            start + step * chance.randrange(timedelta(hours=42) // step)
            for _ in range(12 if step.seconds < 1800 else 2)
        ]
    view = view_of([Point(us(i), "a", None) for i in instants])
    text = f"SELECT time, time_bucket('{width}', time, '{zone}') FROM cpu"
    for found_time, found in ask(queries, view, text)[1]:
        wanted = begin_of(found_time, ZoneInfo(zone), label, step, whole_days=whole_days)
        assert found == wanted, (zone, width, found_time)


def test_the_hour_that_comes_twice_is_two_buckets(queries: Queries) -> None:
    times = [datetime(2025, 10, 25, 23, 30, tzinfo=UTC) + timedelta(hours=h) for h in range(4)]
    view = view_of([Point(us(t), "a", None) for t in times])
    rows = ask(queries, view, "SELECT time_bucket('1 hour', time, 'Europe/Berlin') AS at FROM cpu ORDER BY at")[1]
    assert [at.astimezone(ZoneInfo("Europe/Berlin")).strftime("%H:%M%z") for (at,) in rows] == [
        "01:00+0200", "02:00+0200", "02:00+0100", "03:00+0100",
    ]  # fmt: skip


def random_times(chance: random.Random, count: int = 60) -> list[datetime]:
    return [EPOCH + timedelta(microseconds=chance.randrange(-(10**15), 2 * 10**15)) for _ in range(count)]


CALLS: dict[str, Label] = {
    "'7 minutes', time": by_width(timedelta(minutes=7)),
    "'1 week', time": by_width(timedelta(days=7)),
    "'1.5 seconds', time": by_width(timedelta(seconds=1.5)),
    "'2 hours', time, INTERVAL '30 minutes'": by_width(timedelta(hours=2), MONDAY + timedelta(minutes=30)),
    "'2 hours', time, INTERVAL '-1 day -5 seconds'": by_width(
        timedelta(hours=2), MONDAY - timedelta(days=1, seconds=5)
    ),
    "'5 days', time, timestamptz '2021-02-03 04:05:06+00'": by_width(timedelta(days=5), datetime(2021, 2, 3, 4, 5, 6)),
    "'5 days', time, origin => '2021-02-03'": by_width(timedelta(days=5), datetime(2021, 2, 3)),
    "'1 hour', time, \"offset\" => '10 minutes', origin => '2021-02-03'": by_width(
        timedelta(hours=1), datetime(2021, 2, 3, 0, 10)
    ),
    "'5 months', time": by_months(5),
    "'1 year', time": by_months(12),
    "'7 months', time, timestamptz '1999-03-01 00:00+00'": by_months(7, datetime(1999, 3, 1)),
    "'1 day', time, 'UTC'": by_width(timedelta(days=1)),
    "'1 day', time, timezone => 'UTC', \"offset\" => '6 hours'": by_width(
        timedelta(days=1), MONDAY + timedelta(hours=6)
    ),
    "bucket_width => '1 hour', ts => time": by_width(timedelta(hours=1)),
    "'1 day', time, NULL, '2001-05-01 07:00+00', NULL": by_width(timedelta(days=1), datetime(2001, 5, 1, 7)),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_offsets_and_origins_shift_buckets(queries: Queries, call: str) -> None:
    view = view_of([Point(us(t), "a", None) for t in random_times(random.Random(call))])
    for time, found in ask(queries, view, f"SELECT time, time_bucket({call}) FROM cpu")[1]:
        assert found == CALLS[call](time.replace(tzinfo=None)).replace(tzinfo=UTC), time


@pytest.mark.parametrize("width", ["5 minutes", "2 hours", "1 week", "3 months"])
def test_a_width_that_is_known_late_gives_the_same_buckets(queries: Queries, width: str) -> None:
    view = view_of([Point(us(t), "a", None) for t in random_times(random.Random(width))])
    for rest in ("", ", 'Europe/Berlin'", ", timestamptz '2001-02-03 00:30+00'"):
        text = f"SELECT time, time_bucket({{}}, time{rest}) FROM cpu ORDER BY time"
        late = ask(queries, view, text.format("$1"), (width,))[1]
        assert late == ask(queries, view, text.format(f"'{width}'"))[1]


def test_dates_and_timestamps_keep_their_types(queries: Queries) -> None:
    columns, rows = ask(
        queries,
        view_of([]),
        "SELECT time_bucket('1 month', date '2026-02-17'), time_bucket('1 week', date '2026-02-17'), "
        "time_bucket('1 hour', timestamp '2026-02-17 10:59:59'), time_bucket(10, 37), time_bucket(10, -37, 3)",
    )
    assert [c.type.name for c in columns] == ["date", "date", "timestamp without time zone", "bigint", "bigint"]
    assert [str(v) for v in rows[0]] == ["2026-02-01", "2026-02-16", "2026-02-17 10:00:00", "30", "-37"]


def test_the_sessions_time_zone_does_not_matter(queries: Queries) -> None:
    view = view_of([Point(us(t), "a", None) for t in random_times(random.Random(1))])
    other = CONTEXT.__class__("tsdb", now_us=CONTEXT.now_us, settings={"timezone": "Australia/Lord_Howe"})
    for call in ("'1 day', time", "'1 month', time", "'1 day', time, 'Asia/Kathmandu'"):
        text = f"SELECT time_bucket({call}) FROM cpu ORDER BY time"
        assert ask(queries, view, text, context=other)[1] == ask(queries, view, text)[1]


@pytest.mark.parametrize(
    ("call", "sqlstate", "message"),
    [
        ("time_bucket('1 month 1 day', time)", "22023", "month intervals cannot have day or time component"),
        ("time_bucket('0 hours', time)", "22023", "period must be greater than 0"),
        ("time_bucket('-1 hour', time)", "22023", "period must be greater than 0"),
        ("time_bucket('1 hour', time, 'Mars/Olympus')", "22023", 'time zone "Mars/Olympus" not recognized'),
        ("time_bucket('1 hour', host)", "42883", "function time_bucket(interval, text) does not exist"),
        ("time_bucket('1 hour')", "42883", "function time_bucket needs a width and a time"),
        ("time_bucket('1 hour', time, zone => 'UTC')", "42883", "function time_bucket has no argument zone"),
        ("time_bucket(0, n)", "22023", "period must be greater than 0"),
        ("time_bucket('1 day', time, INTERVAL '1 month')", "0A000", "an offset of months is not supported"),
    ],
)
def test_wrong_calls_say_what_to_do(queries: Queries, call: str, sqlstate: str, message: str) -> None:
    with pytest.raises(TsdbError) as caught:
        ask(queries, view_of([]), f"SELECT {call} FROM cpu")
    assert caught.value.sqlstate == sqlstate
    assert message in str(caught.value)


@pytest.mark.parametrize("width", ["1 month 1 day", "0 hours", "-3 months"])
def test_a_wrong_width_is_found_when_it_is_known(queries: Queries, width: str) -> None:
    view = view_of([Point(0, "a", None)])
    for zone in ("", ", 'Europe/Berlin'"):
        with pytest.raises(TsdbError) as caught:
            ask(queries, view, f"SELECT time_bucket($1, time{zone}) FROM cpu", (width,))
        assert caught.value.sqlstate == "22023"


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
@pytest.mark.parametrize(
    "more", ["'1 day', x", "'1 month', x", "'1 week', x, 'Europe/Berlin'", "$1, x", "$1, x, 'Europe/Berlin'"]
)
def test_an_infinite_time_is_a_bucket_of_its_own(queries: Queries, kind: str, more: str) -> None:
    rows = f"(VALUES (1, {kind} 'infinity'), (2, '-infinity'), (3, NULL)) AS t (n, x)"
    text = f"SELECT time_bucket({more})::text FROM {rows} ORDER BY n"
    for width in ("1 day", "1 month") if "$1" in more else ("",):
        found = ask(queries, view_of([]), text, (width,) if width else ())[1]
        assert found == [("infinity",), ("-infinity",), (None,)]
