"""lttb against a plain implementation of the paper, with all columns of the rows it keeps."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from tests.sql.answers import ask
from tests.timeseries.points import SECOND, START_US, Point, random_points, view_of
from tsdb.errors import TsdbError
from tsdb.sql.query import Queries

Pair = tuple[int, float]


def downsampled(points: Sequence[Pair], wanted: int) -> list[Pair]:
    """Steinarsson's algorithm as he wrote it."""
    if wanted >= len(points):
        return list(points)
    if wanted == 2:
        return [points[0], points[-1]]
    every = (len(points) - 2) / (wanted - 2)
    made = [points[0]]
    for i in range(wanted - 2):
        following = points[math.floor((i + 1) * every) + 1 : min(math.floor((i + 2) * every) + 1, len(points))]
        x = sum(p[0] - points[0][0] for p in following) / len(following)
        y = sum(p[1] for p in following) / len(following)
        bucket = points[math.floor(i * every) + 1 : math.floor((i + 1) * every) + 1]
        x0, y0 = made[-1][0] - points[0][0], made[-1][1]
        made.append(max(bucket, key=lambda p: abs((x0 - x) * (p[1] - y0) - (x0 - (p[0] - points[0][0])) * (y - y0))))
    return [*made, points[-1]]


def pairs(points: Sequence[Point]) -> list[Pair]:
    return sorted((p.time, p.usage) for p in points if p.usage is not None and math.isfinite(p.usage))


def distinct_times(points: Sequence[Point]) -> list[Point]:
    return list({(p.host, p.time): p for p in points}.values())


@pytest.mark.parametrize("wanted", [2, 3, 4, 10, 50, 1000])
def test_the_points_are_those_of_the_paper(queries: Queries, wanted: int) -> None:
    chance = random.Random(wanted)
    for count in (0, 1, 3, 30, 400):
        points = distinct_times(random_points(chance, count, nan=True))
        query = "SELECT *, time_ns FROM cpu WHERE host = 'a'"
        text = f"SELECT time_ns / 1000, usage FROM lttb(({query}), time, usage, {wanted})"
        found = ask(queries, view_of(points), text)[1]
        assert found == downsampled(pairs([p for p in points if p.host == "a"]), wanted)


def test_each_group_is_thinned_by_itself_and_keeps_its_columns(queries: Queries) -> None:
    points = distinct_times(random_points(random.Random(5), 300))
    found = ask(
        queries, view_of(points), "SELECT time, usage, n, host, region FROM lttb(cpu, time, usage, 12, host) AS p"
    )[1]
    rows = {(p.host, p.time): p for p in points}
    for host in ("a", "b", "c", None):
        own = [r for r in found if r[3] == host]
        wanted = downsampled(pairs([p for p in points if p.host == host]), 12)
        assert [r[1] for r in own] == [value for _, value in wanted]
        assert [r[2] for r in own] == [rows[host, time].n for time, _ in wanted]


def test_the_toolkits_unnest_gives_time_and_value(queries: Queries) -> None:
    points = distinct_times(random_points(random.Random(6), 200))
    text = "SELECT time, value FROM unnest((SELECT lttb(time, usage, 9) FROM cpu WHERE host = 'b'))"
    columns, found = ask(queries, view_of(points), text)
    assert [c.name for c in columns] == ["time", "value"]
    assert [value for _, value in found] == [v for _, v in downsampled(pairs([p for p in points if p.host == "b"]), 9)]


def test_its_rows_join_and_group_as_any(queries: Queries) -> None:
    view = view_of([Point(START_US + i * SECOND, "a", float(i % 7), i) for i in range(100)])
    text = """SELECT count(*), max(p.n)
        FROM lttb((SELECT time AS at, usage::numeric AS v, n FROM cpu), 'at', 'v', $1) AS p WHERE p.n >= 0"""
    assert ask(queries, view, text, (10,))[1] == [(10, 99)]


@pytest.mark.parametrize(
    ("text", "sqlstate", "message"),
    [
        ("* FROM lttb(cpu, time, usage, 1)", "22023", "lttb needs a number of points that is at least 2"),
        ("* FROM lttb(cpu, time, note, 10)", "42883", "lttb's value is of type text"),
        ("* FROM lttb(cpu, host, usage, 10)", "42883", "lttb's time is of type text"),
        ("* FROM lttb(cpu, time, other, 10)", "42703", 'column "other" of lttb\'s query does not exist'),
        ("* FROM lttb(cpu, time, 10)", "42883", "function lttb with 3 arguments does not exist"),
        ("* FROM lttb(nothing, time, usage, 10)", "42P01", 'relation "nothing" does not exist'),
        ("* FROM lttb(1, time, usage, 10)", "42883", "lttb's first argument is a table or a query"),
        ("lttb(time, usage, 10) FROM cpu", "0A000", "lttb gives rows: call it in FROM"),
        ("* FROM unnest((SELECT lttb(time, usage, 9) FROM cpu GROUP BY host))", "0A000", "lttb of groups"),
    ],
)
def test_wrong_calls_say_what_to_do(queries: Queries, text: str, sqlstate: str, message: str) -> None:
    with pytest.raises(TsdbError) as caught:
        ask(queries, view_of([Point(START_US, "a", 1.0)]), f"SELECT {text}")
    assert caught.value.sqlstate == sqlstate
    assert message in str(caught.value)
