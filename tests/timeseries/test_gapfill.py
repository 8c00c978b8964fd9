"""time_bucket_gapfill, locf, interpolate and FILL against a plain model over random points."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.sql.answers import CONTEXT, ask
from tests.sql.memory_view import MemoryView
from tests.timeseries.points import SECOND, START_US, Point, random_points, view_of
from tsdb.errors import TsdbError
from tsdb.sql.query import Queries

MINUTE = 60 * SECOND
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


@dataclass(frozen=True)
class Row:
    """A filled row: ``own`` whether points were in it; the average of their usage and the sum of their n."""

    time: int
    own: bool
    usage: float | None = None
    n: int | None = None


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def filled(points: Sequence[Point], width: int, start: int, finish: int) -> list[Row]:
    """One group's rows: its own buckets, and all from that of ``start`` to before ``finish``."""
    origin = 946_857_600 * SECOND

    def bucket(us: int) -> int:
        return us - (us - origin) % width

    own = {bucket(p.time) for p in points}
    times = own | set(range(bucket(start), finish, width))
    rows = []
    for time_ in sorted(times):
        inside = [p for p in points if bucket(p.time) == time_]
        ns = [p.n for p in inside if p.n is not None]
        usages = [p.usage for p in inside if p.usage is not None]
        rows.append(Row(time_, time_ in own, mean(usages), sum(ns) if ns else None))
    return rows


def locf(rows: Sequence[Row], *, skip_nulls: bool = False, prev: float | None = None) -> list[float | None]:
    made: list[float | None] = []
    value, seen = prev, False
    for row in rows:
        if row.own and not (skip_nulls and row.usage is None):
            value, seen = row.usage, True
        made.append(value if seen or not row.own or skip_nulls else row.usage)
    return made


def line(
    rows: Sequence[Row], value: Callable[[Row], float | None], prev: Row | None, after: Row | None
) -> list[float | None]:
    made: list[float | None] = []
    for index, row in enumerate(rows):
        before = next((r for r in reversed(rows[:index]) if r.own), prev)
        later = next((r for r in rows[index:] if r.own), after)
        if row.own:
            made.append(value(row))
            continue
        y0, y1 = (None if r is None else value(r) for r in (before, later))
        if y0 is None or y1 is None or before is None or later is None:
            made.append(None)
        else:
            made.append(y0 + (y1 - y0) * (row.time - before.time) / (later.time - before.time))
    return made


def near(found: float | None, wanted: float | None) -> bool:
    if found is None or wanted is None:
        return found is wanted
    return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-6)


def by_host(rows: list[tuple]) -> dict[str | None, list[tuple]]:  # type: ignore[type-arg]
    groups: dict[str | None, list[tuple]] = {}  # type: ignore[type-arg]
    for host, *rest in rows:
        groups.setdefault(host, []).append(tuple(rest))
    return groups


@pytest.mark.parametrize("seed", range(12))
def test_filled_rows_are_those_of_the_model(queries: Queries, seed: int) -> None:
    chance = random.Random(seed)
    points = random_points(chance, chance.choice([0, 3, 20, 80]))
    width = chance.choice([1, 3, 7, 10]) * MINUTE
    start = START_US + chance.randrange(-30, 40) * MINUTE + chance.choice([0, 1, -1])
    finish = start + chance.randrange(1, 60) * MINUTE + chance.choice([0, 1, -1])
    inferred = seed % 2 == 0
    if inferred:
        low, high = chance.choice([(">=", 0), (">", 1)]), chance.choice([("<", 0), ("<=", 1)])
        condition = (
            f"WHERE time {low[0]} '{at(start - low[1])}' AND '{at(finish - high[1])}' {high[0].replace('<', '>')} time"
        )
        points_in = [p for p in points if start <= p.time < finish]
        call = f"time_bucket_gapfill('{width // SECOND} seconds', time)"
    else:
        condition, points_in = "", points
        call = f"time_bucket_gapfill('{width // SECOND} seconds', time, '{at(start)}', '{at(finish)}')"
    text = f"""SELECT host, {call} AS t, avg(usage), locf(avg(usage)), locf(avg(usage), -7.5),
            locf(avg(usage), NULL, true), locf(avg(usage), treat_null_as_missing => true, prev => 3),
            interpolate(avg(usage)), interpolate(sum(n)::int8),
            interpolate(avg(usage), (timestamptz '2025-12-31 00:00+00', 5.0::float8), NULL), coalesce(count(*), -1)
        FROM cpu {condition} GROUP BY host, t ORDER BY host, t"""
    view = view_of(points)
    found = by_host(ask(queries, view, text)[1])
    hosts = {p.host for p in points_in}
    assert set(found) == hosts
    early = Row(START_US - 86_400 * SECOND, True, 5.0)
    for host in hosts:
        rows = filled([p for p in points_in if p.host == host], width, start, finish)
        columns = [list(column) for column in zip(*found[host], strict=True)]
        assert columns[0] == [at(r.time) for r in rows]
        wanted: list[list[float | None]] = [
            [r.usage for r in rows],
            locf(rows), locf(rows, prev=-7.5), locf(rows, skip_nulls=True), locf(rows, skip_nulls=True, prev=3),
            line(rows, lambda r: r.usage, None, None), [], line(rows, lambda r: r.usage, early, None),
        ]  # fmt: skip
        for number, values in enumerate(wanted):
            if values:
                assert all(map(near, columns[number + 1], values)), (host, number, columns[number + 1], values)
        whole = line(rows, lambda r: None if r.n is None else float(r.n), None, None)
        for value, exact in zip(columns[7], whole, strict=True):
            assert (value is None) == (exact is None)
            assert value is None or exact is None or abs(value - exact) <= 0.5
        assert [c == -1 for c in columns[9]] == [not r.own for r in rows]


def test_without_other_groups_an_empty_range_is_filled(queries: Queries) -> None:
    text = """SELECT time_bucket_gapfill('1 hour', time) AS t, max(n), locf(max(n)) FROM cpu
        WHERE time >= '2030-01-01' AND time < '2030-01-01 03:00' GROUP BY t ORDER BY t"""
    rows = ask(queries, view_of([]), text)[1]
    assert rows == [(datetime(2030, 1, 1, hour, tzinfo=UTC), None, None) for hour in range(3)]
    grouped = text.replace("max(n), locf(max(n))", "host").replace("GROUP BY t", "GROUP BY t, host")
    assert ask(queries, view_of([]), grouped)[1] == []


ZONES = {
    "Europe/Berlin": ("2026-03-27", "2026-04-01", 5), "America/New_York": ("2026-03-07", "2026-03-10", 3),
    "Australia/Lord_Howe": ("2026-04-03", "2026-04-08", 5), "Asia/Kathmandu": ("2026-03-01", "2026-03-04", 3),
}  # fmt: skip


@pytest.mark.parametrize("zone", ZONES)
def test_filled_days_are_days_of_the_zone(queries: Queries, zone: str) -> None:
    first, last, days = ZONES[zone]
    text = f"""SELECT t AT TIME ZONE '{zone}' FROM (SELECT time_bucket_gapfill('1 day', time, '{zone}',
        timestamp '{first}' AT TIME ZONE '{zone}', timestamp '{last}' AT TIME ZONE '{zone}') AS t
        FROM cpu GROUP BY t) AS s ORDER BY t"""
    start = datetime.fromisoformat(first)
    assert ask(queries, view_of([]), text)[1] == [(start + timedelta(days=d),) for d in range(days)]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("width", ["20 minutes", "1 hour", "3 hours", "1 week", "2 months"])
def test_every_bucket_of_the_range_is_there_once(queries: Queries, zone: str, width: str) -> None:
    """What time_bucket says of each quarter of an hour, no more and no less."""
    first, last, _ = ZONES[zone]
    bounds = f"timestamptz '{first} 03:10+00', timestamptz '{last} 21:20+00'"
    moments = f"generate_series({bounds} - INTERVAL '1 second', INTERVAL '5 minutes')"
    wanted = ask(
        queries, view_of([]), f"SELECT DISTINCT time_bucket('{width}', m, '{zone}') AS t FROM {moments} AS m ORDER BY t"
    )[1]
    text = f"SELECT time_bucket_gapfill('{width}', time, '{zone}', {bounds}) AS t FROM cpu GROUP BY t ORDER BY t"
    assert ask(queries, view_of([]), text)[1] == wanted
    late = ask(queries, view_of([]), text.replace(f"'{width}'", "$1"), (width,))[1]
    assert late == wanted


def test_lookups_before_and_after_may_read_other_series(queries: Queries) -> None:
    minutes = [Point(START_US + m * MINUTE, h, v) for m, h, v in [(2, "a", 10.0), (4, "b", 30.0)]]
    view = view_of([Point(START_US - 2 * MINUTE, "a", 6.0), Point(START_US + 60 * MINUTE, "b", 86.0), *minutes])
    text = f"""SELECT time_bucket_gapfill('1 minute', time) AS t, m.host,
            locf(avg(usage), (SELECT usage FROM cpu AS c WHERE c.host = m.host AND c.time < '{at(START_US)}')),
            interpolate(avg(usage),
                (SELECT (time, usage) FROM cpu AS c WHERE c.host = m.host AND c.time < '{at(START_US)}'),
                (SELECT (c.time, c.usage) FROM cpu AS c
                 WHERE c.host = m.host AND c.time > '{at(START_US + 50 * MINUTE)}'))
        FROM cpu AS m WHERE m.time >= '{at(START_US)}' AND m.time < '{at(START_US + 6 * MINUTE)}'
        GROUP BY t, m.host ORDER BY m.host, t"""
    rows = [(host, carried, between) for _, host, carried, between in ask(queries, view, text)[1]]
    assert rows == [
        ("a", 6.0, 8.0), ("a", 6.0, 9.0), ("a", 10.0, 10.0), ("a", 10.0, None), ("a", 10.0, None), ("a", 10.0, None),
        ("b", None, None), ("b", None, None), ("b", None, None), ("b", None, None), ("b", 30.0, 30.0),
        ("b", 30.0, 31.0),
    ]  # fmt: skip


def test_expressions_and_windows_stand_over_the_filled_rows(queries: Queries) -> None:
    view = view_of([Point(START_US, "a", 1.0, 4), Point(START_US + 3 * MINUTE, "a", 5.0, 8)])
    text = f"""SELECT time_bucket_gapfill('1 minute', time) AS t, coalesce(sum(n), 0) + 1 AS n,
            count(*) OVER () AS rows,
            lag(avg(usage)) OVER (ORDER BY time_bucket_gapfill('1 minute', time)) AS before, round(avg(n), 2)::text
        FROM cpu WHERE time >= '{at(START_US)}' AND time < '{at(START_US + 4 * MINUTE)}' GROUP BY t HAVING count(*) < 9
        ORDER BY coalesce(sum(n), 0) DESC, t LIMIT 3"""
    rows = [row[1:] for row in ask(queries, view, text)[1]]
    assert rows == [(9, 4, None, "8.00"), (5, 4, None, "4.00"), (1, 4, 1.0, None)]


FILLS = {
    "NULL": [4, None, None, 8], "PREV": [4, 4, 4, 8], "PREVIOUS": [4, 4, 4, 8], "LINEAR": [4, 5, 7, 8],
    "-1": [4, -1, -1, 8],
}  # fmt: skip


@pytest.mark.parametrize("fill", FILLS)
def test_fill_says_what_stands_in_empty_buckets(queries: Queries, fill: str) -> None:
    view = view_of([Point(START_US, "a", 1.0, 4), Point(START_US + 3 * MINUTE, "a", 5.0, 8)])
    text = f"""SELECT time_bucket('1 minute', time) AS t, max(n) FROM cpu
        WHERE time >= '{at(START_US)}' AND time < '{at(START_US + 4 * MINUTE)}' GROUP BY t FILL({fill}) ORDER BY t"""
    assert [n for _, n in ask(queries, view, text)[1]] == FILLS[fill]


def test_fill_is_a_name_elsewhere(queries: Queries) -> None:
    view = view_of([Point(START_US, "a", 1.0)])
    assert ask(queries, view, "SELECT host AS fill FROM cpu fill GROUP BY fill.host")[1] == [("a",)]
    assert ask(queries, view, "WITH fill (x) AS (SELECT 1) SELECT x FROM fill GROUP BY x")[1] == [(1,)]


GAPS = "time_bucket_gapfill('1 hour', time)"
BOUNDED = "WHERE time >= '2026-01-01' AND time < '2026-01-02'"


@pytest.mark.parametrize(
    ("text", "sqlstate", "message"),
    [
        (f"{GAPS} FROM cpu GROUP BY 1", "22023", "could not infer start from WHERE clause"),
        (f"{GAPS} FROM cpu WHERE time > now() GROUP BY 1", "22023", "could not infer finish"),
        (f"time_bucket_gapfill('1 h', time + '1 s') FROM cpu {BOUNDED} GROUP BY 1", "22023", "ts needs to refer"),
        (f"{GAPS} FROM cpu {BOUNDED}", "0A000", "no top level time_bucket_gapfill"),
        ("locf(avg(usage)) FROM cpu", "0A000", "locf can only be used with time_bucket_gapfill"),
        (f"time_bucket_gapfill('1 us', time) FROM cpu {BOUNDED} GROUP BY 1", "54000", "more than 5000000 buckets"),
        (f"time_bucket_gapfill('-1 h', time) FROM cpu {BOUNDED} GROUP BY 1", "22023", "period must be greater than 0"),
        ("time_bucket_gapfill('1 h', time, now() + NULL, now()) FROM cpu GROUP BY 1", "22023", "start cannot be NULL"),
        ("time_bucket_gapfill('1 h', time, time, now()) FROM cpu GROUP BY 1", "22023", "must be simple expressions"),
        ("time_bucket_gapfill('1 h', host) FROM cpu GROUP BY 1", "42883", "time_bucket_gapfill(interval, text)"),
        (f"{GAPS}, usage FROM cpu {BOUNDED} GROUP BY 1", "42803", 'column "cpu.usage" must'),
        (f"{GAPS}, interpolate(max(host)) FROM cpu {BOUNDED} GROUP BY 1", "42883", "interpolate(text)"),
        (f"{GAPS}, locf(locf(max(n))) FROM cpu {BOUNDED} GROUP BY 1", "0A000", "cannot be nested"),
        (f"{GAPS}, interpolate(max(n), 3) FROM cpu {BOUNDED} GROUP BY 1", "22023", "2 elements"),
        (f"time_bucket('1 h', time), max(host) FROM cpu {BOUNDED} GROUP BY 1 FILL(LINEAR)", "42804", "needs numbers"),
        ("host FROM cpu GROUP BY host FILL(PREV)", "0A000", "FILL needs time_bucket in GROUP BY"),
        (f"time_bucket('1 h', time), max(n) FROM cpu {BOUNDED} GROUP BY 1 FILL(1, 2)", "42601", "FILL takes one of"),
    ],
)  # fmt: skip
def test_wrong_calls_say_what_to_do(queries: Queries, text: str, sqlstate: str, message: str) -> None:
    with pytest.raises(TsdbError) as caught:
        ask(queries, view_of([Point(START_US, "a", 1.0)]), f"SELECT {text}")
    assert caught.value.sqlstate == sqlstate
    assert message in str(caught.value)


def test_a_thousand_hosts_are_filled_in_little_time(queries: Queries) -> None:
    """720,000 rows: what filling costs beside the grouping itself, in CPU time."""
    chance = random.Random(1)
    points = [
        Point(START_US + m * MINUTE, f"host_{h}", 1.0) for h in range(1000) for m in range(720) if chance.random() < 0.5
    ]
    view: MemoryView = view_of(points)
    view.batch_rows = 65_536
    where = f"WHERE time >= '{at(START_US)}' AND time < '{at(START_US + 720 * MINUTE)}' GROUP BY t, host"
    rows = f"SELECT time_bucket('1 minute', time) AS t, host, avg(usage) AS v FROM cpu {where}"
    plain = f"SELECT count(*), count(v) FROM ({rows}) AS s"
    gapped = plain.replace("time_bucket(", "time_bucket_gapfill(")
    carried = gapped.replace("avg(usage)", "locf(avg(usage))")
    assert ask(queries, view, gapped)[1] == [(720_000, len(points))]
    costs = {}
    for text in (plain, gapped, carried):
        taken = []
        for _ in range(3):
            begun = time.process_time()
            ask(queries, view, text, context=CONTEXT)
            taken.append(time.process_time() - begun)
        costs[text] = sorted(taken)[1]
    assert max(costs[gapped], costs[carried]) - costs[plain] < 0.5
