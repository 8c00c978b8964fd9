"""delta, increase, rate, resets and averages over time against a plain model."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Sequence

import pytest

from tests.sql.answers import ask
from tests.timeseries.points import SECOND, START_US, Point, random_points, view_of
from tsdb.errors import TsdbError
from tsdb.sql.query import Queries

Pairs = list[tuple[int, float]]


def pairs(points: Iterable[Point], column: str = "usage") -> Pairs:
    """(time, value) by time, then by value with NaN as the greatest."""
    found = [(p.time, float(getattr(p, column))) for p in points if getattr(p, column) is not None]
    return sorted(found, key=lambda pair: (pair[0], math.isnan(pair[1]), pair[1]))


def delta(values: Pairs) -> float | None:
    return values[-1][1] - values[0][1] if values else None


def increase(values: Pairs) -> float | None:
    if not values:
        return None
    grown = values[-1][1] - values[0][1]
    return grown + sum(a for (_, a), (_, b) in itertools.pairwise(values) if b < a)


def seconds(values: Pairs) -> float:
    return (values[-1][0] - values[0][0]) / SECOND if values else 0.0


def rate(values: Pairs) -> float | None:
    grown = increase(values)
    return grown / seconds(values) if grown is not None and seconds(values) > 0 else None


def resets(values: Pairs) -> int | None:
    return sum(b < a for (_, a), (_, b) in itertools.pairwise(values)) if values else None


def linear(values: Pairs) -> float | None:
    steps = itertools.pairwise(values)
    area = sum((a + b) / 2 * (u - t) / SECOND for (t, a), (u, b) in steps if u > t)
    return area / seconds(values) if seconds(values) > 0 else None


def locf(values: Pairs) -> float | None:
    area = sum(a * (u - t) / SECOND for (t, a), (u, _) in itertools.pairwise(values) if u > t)
    return area / seconds(values) if seconds(values) > 0 else None


MODELS: dict[str, Callable[[Pairs], float | None]] = {
    "delta(usage, time)": delta, "delta(time, usage)": delta, "increase(usage, time)": increase,
    "rate(usage, time)": rate, "resets(usage, time)": resets,
    "time_weighted_average(usage, time)": linear, "time_weighted_average(usage, time, 'LOCF')": locf,
    "average(time_weight('Linear', time, usage))": linear, "average(time_weight('locf', time, usage))": locf,
    "rate(counter_agg(time, usage))": rate, "delta(counter_agg(time, usage))": increase,
    "delta(gauge_agg(time, usage))": delta, "num_resets(counter_agg(time, usage))": resets,
}  # fmt: skip


def same(found: float | None, wanted: float | None) -> bool:
    if found is None or wanted is None:
        return found is wanted
    return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(found) and math.isnan(wanted))


def grouped(points: Sequence[Point]) -> dict[str | None, list[Point]]:
    groups: dict[str | None, list[Point]] = {}
    for point in points:
        groups.setdefault(point.host, []).append(point)
    return groups


@pytest.mark.parametrize("expression", MODELS)
def test_each_group_gives_what_the_model_gives(queries: Queries, expression: str) -> None:
    chance = random.Random(expression)
    for round_ in range(8):
        points = random_points(chance, chance.choice([0, 1, 2, 5, 40, 300]), nan=round_ % 2 == 1)
        _, rows = ask(queries, view_of(points), f"SELECT host, {expression} FROM cpu GROUP BY host")
        wanted = {host: MODELS[expression](pairs(group)) for host, group in grouped(points).items()}
        assert {host for host, _ in rows} == set(wanted)
        for host, found in rows:
            assert same(found, wanted[host]), (host, found, wanted[host])


def test_a_window_sees_the_points_of_its_frame(queries: Queries) -> None:
    points = random_points(random.Random(5), 60)
    _, rows = ask(
        queries,
        view_of(points),
        "SELECT time_ns, increase(n, time) OVER (ORDER BY time, n RANGE BETWEEN INTERVAL '5 min' PRECEDING "
        "AND CURRENT ROW) FROM cpu".replace("time, n RANGE", "time RANGE"),
    )
    for time_ns, found in rows:
        time = time_ns // 1000
        frame = [p for p in points if time - 300 * SECOND <= p.time <= time]
        assert same(found, increase(pairs(frame, "n"))), time


def test_a_filter_leaves_points_out(queries: Queries) -> None:
    points = random_points(random.Random(6), 100)
    view = view_of(points)
    wanted = rate(pairs((p for p in points if (p.n or 0) > 500), "n"))
    for text in ("rate(n, time) FILTER (WHERE n > 500)", "rate(counter_agg(time, n) FILTER (WHERE n > 500))"):
        assert same(ask(queries, view, f"SELECT {text} FROM cpu")[1][0][0], wanted)


def test_increases_from_point_to_point_sum_up_to_the_whole(queries: Queries) -> None:
    points = [p for p in random_points(random.Random(7), 80) if p.n is not None]
    _, rows = ask(
        queries,
        view_of(points),
        "SELECT sum(step) FROM (SELECT increase(n, time) OVER (ORDER BY time, n ROWS 1 PRECEDING) AS step FROM cpu) s",
    )
    assert same(rows[0][0], increase(pairs(points, "n")))


def test_an_integral_is_in_the_unit_that_was_asked_for(queries: Queries) -> None:
    view = view_of([Point(START_US, "a", 3.0), Point(START_US + 7200 * SECOND, "a", 5.0)])
    text = """SELECT integral(time_weight('linear', time, usage)), integral(time_weight('locf', time, usage), 'hour'),
        time_weighted_integral(usage, time), average(time_weight('linear', time, usage)) FROM cpu"""
    assert ask(queries, view, text)[1] == [(28_800.0, 6.0, 28_800.0, 4.0)]


@pytest.mark.parametrize(
    ("text", "sqlstate", "message"),
    [
        ("delta(host, time)", "42883", "function delta(text, timestamp with time zone) does not exist"),
        ("rate(usage)", "42883", "function rate(double precision) does not exist"),
        ("counter_agg(time, usage)", "0A000", "counter_agg makes a summary"),
        ("average(time_weight('cubic', time, usage))", "22023", 'unknown method "cubic"'),
        ("average(time_weight('linear', time))", "42883", "function time_weight with 2 arguments does not exist"),
        ("integral(time_weight('linear', time, usage), 'fortnight')", "22023", 'unit "fortnight" not recognized'),
        ("delta(DISTINCT usage, time)", "0A000", "DISTINCT is not supported in delta"),
        ("time_weighted_average(usage, time, host)", "0A000", "argument 3 of time_weighted_average must be a constant"),
    ],
)
def test_wrong_calls_say_what_to_do(queries: Queries, text: str, sqlstate: str, message: str) -> None:
    with pytest.raises(TsdbError) as caught:
        ask(queries, view_of(random_points(random.Random(1), 10)), f"SELECT {text} FROM cpu")
    assert caught.value.sqlstate == sqlstate
    assert message in str(caught.value)
