"""histogram, approx_percentile and approx_count_distinct against a plain model."""

from __future__ import annotations

import math
import random

import pytest

from tests.sql.answers import ask
from tests.timeseries.points import START_US, Point, random_points, view_of
from tsdb.errors import TsdbError
from tsdb.sql.query import Queries


def histogram(values: list[float], low: float, high: float, count: int) -> list[int] | None:
    if not values:
        return None
    buckets = [0] * (count + 2)
    for value in values:
        if value < low:
            place = 0
        elif value >= high or math.isnan(value):
            place = count + 1
        else:
            place = min(int((value - low) / (high - low) * count), count - 1) + 1
        buckets[place] += 1
    return buckets


def test_a_histogram_counts_what_is_below_within_and_above(queries: Queries) -> None:
    chance = random.Random(3)
    for round_ in range(12):
        points = random_points(chance, chance.choice([0, 1, 30, 400]), nan=round_ % 3 == 0)
        low, count = float(chance.randrange(-60, 60)), chance.randrange(1, 12)
        high = low + chance.choice([0.5, 10.0, 33.3, 100.0])
        text = f"SELECT host, histogram(usage, {low}, {high}, {count}) FROM cpu GROUP BY host"
        _, rows = ask(queries, view_of(points), text)
        for host, found in rows:
            values = [p.usage for p in points if p.host == host and p.usage is not None]
            assert found == histogram(values, low, high, count)


def test_borders_belong_to_the_bucket_above_them(queries: Queries) -> None:
    view = view_of([Point(START_US + i, "a", v) for i, v in enumerate([0.0, 10.0, 20.0, 30.0, -0.1, 29.9])])
    columns, rows = ask(queries, view, "SELECT histogram(usage, 0, 30, 3) FROM cpu")
    assert rows == [([1, 1, 1, 2, 1],)]
    assert columns[0].type.name == "integer[]"


def test_an_approximate_percentile_is_near_the_exact_one(queries: Queries) -> None:
    chance = random.Random(4)
    values = sorted(chance.gauss(100, 20) for _ in range(5000))
    view = view_of([Point(START_US + i, "a", v) for i, v in enumerate(chance.sample(values, len(values)))])
    for fraction in (0.01, 0.5, 0.9, 0.99):
        text = f"""SELECT approx_percentile(usage, {fraction}),
            approx_percentile({fraction}, percentile_agg(usage)),
            approx_percentile({fraction}, tdigest(100, usage)),
            approx_percentile({fraction}, uddsketch(100, 0.01, usage))
            FROM cpu"""
        below, above = (values[int(min(max(fraction + d, 0), 0.9999) * 5000)] for d in (-0.01, 0.01))
        assert all(below <= found <= above for found in ask(queries, view, text)[1][0])


def test_an_approximate_count_of_distinct_values_is_near_the_exact_one(queries: Queries) -> None:
    view = view_of([Point(START_US + i, "a", float(i % 700)) for i in range(3000)])
    text = """SELECT approx_count_distinct(usage), distinct_count(approx_count_distinct(usage)),
        distinct_count(hyperloglog(4096, usage)) FROM cpu"""
    assert all(600 <= found <= 800 for found in ask(queries, view, text)[1][0])


@pytest.mark.parametrize(
    ("text", "sqlstate", "message"),
    [
        ("histogram(usage, 5, 1, 3)", "22023", "lower bound cannot exceed upper bound"),
        ("histogram(usage, 5, 5, 3)", "2201G", "lower bound cannot equal upper bound"),
        ("histogram(usage, 0, 5, 0)", "2201G", "count must be greater than zero"),
        ("histogram(usage, 0, 5, 100000)", "22023", "a histogram has at most 10000 buckets"),
        ("histogram(usage, n, 5, 3)", "0A000", "argument 2 of histogram must be a constant"),
        ("histogram(usage, 0, 5)", "42883", "function histogram(double precision, integer, integer) does not exist"),
        ("approx_percentile(usage, 1.5)", "22003", "percentile value 1.5 is not between 0 and 1"),
    ],
)
def test_wrong_calls_say_what_to_do(queries: Queries, text: str, sqlstate: str, message: str) -> None:
    with pytest.raises(TsdbError) as caught:
        ask(queries, view_of(random_points(random.Random(1), 10)), f"SELECT {text} FROM cpu")
    assert caught.value.sqlstate == sqlstate
    assert message in str(caught.value)
