"""Statements over partial aggregates from kernels give what DuckDB gives over the points."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sql.answers import CONTEXT, ask
from tests.sql.test_aggregation import ROWS, UNPRUNED, WHERE, view_of
from tests.sql.test_random_statements import bag
from tsdb.errors import TsdbError
from tsdb.sql.query import Queries
from tsdb.sql.rules.select_text import SelectText, select_of

KEYS = (
    (), ("host",), ("upper(host)", "region"), ("coalesce(region, 'none') || host",), ("date_trunc('month', time)",),
    ("date_trunc('year', time)", "host"), ("time_bucket('1 month', time)",), ("time_bucket('1 hour', time)", "host"),
    ("date_trunc('quarter', time)", "length(host)"), ("length(host)",),
    ("floor(extract(epoch FROM time) / 300) * 300", "region"),
    ("time_bucket('7 minutes', time)",), ("date_trunc('month', time, 'Asia/Kolkata')",),
)  # fmt: skip
TARGETS = (
    "max(small) - min(small)", "avg(small) * 100", "count(*) + 1", "round(avg(small)::numeric, 2)", "count(n)",
    "sum(small) / nullif(count(small), 0)", "sum(small)::float8 / count(*)", "coalesce(max(usage), 0)", "avg(small)",
    "CASE WHEN count(small) > 2 THEN 'count(*)' ELSE 'few r1.c1' END", "greatest(max(n), 7)", "min(usage) IS NULL",
    "sum(sum(small)) OVER ()", "count(*) OVER ()",
    "count(*) OVER (ORDER BY max(n) NULLS FIRST RANGE UNBOUNDED PRECEDING)",
    "max(time) - min(time)", "count(time) * 2", "max(max(time)) OVER ()", "extract(hour FROM min(time))",
    "array[min(n), max(n)]", "sum(n)", "max(small)::text || ' FROM t1 AS r1'",
)  # fmt: skip
HAVING = ("", " HAVING count(*) > 1", " HAVING max(small) - 1 > 0 AND count(n) < 9")
AROUND = (
    "{}", "SELECT count(*), max(x) FROM ({}) AS s", "SELECT DISTINCT x FROM ({}) AS s",
    "WITH s AS ({}) SELECT a.x, b.x FROM s AS a, s AS b WHERE a.x = b.x", "SELECT x FROM ({}) AS s WHERE x > '1'",
    "SELECT x FROM ({}) AS s ORDER BY x DESC LIMIT 3 OFFSET 1",
)  # fmt: skip


def answer(queries: Queries, rows: list[tuple[Any, ...]], text: str, context: Any) -> Any:
    try:
        return bag(ask(queries, view_of(rows, 7), text, context=context)[1])
    except TsdbError as error:
        return error.sqlstate


@settings(max_examples=250, deadline=None)
@given(
    ROWS, st.sampled_from(KEYS), st.lists(st.sampled_from(TARGETS), min_size=1, max_size=4), st.sampled_from(WHERE),
    st.sampled_from(HAVING), st.sampled_from(AROUND),
)  # fmt: skip
def test_what_stands_around_aggregates_is_duckdbs(
    queries: Queries, rows: list[tuple[Any, ...]], keys: tuple[str, ...], targets: list[str], where: str, having: str,
    around: str,
) -> None:  # fmt: skip
    group = f" GROUP BY {', '.join(keys)}" if keys else ""
    first, *others = targets
    listed = ", ".join([f"({first})::text AS x", *keys, *others])
    text = around.format(f"SELECT {listed} FROM cpu {where}{group}{having}")
    # Months of many days.
    rows = [(row[0] * 60, *row[1:]) for row in rows]
    assert answer(queries, rows, text, CONTEXT) == answer(queries, rows, text, UNPRUNED), text


@settings(max_examples=80, deadline=None)
@given(
    ROWS, st.sampled_from(["n", "usage", "small"]), st.sampled_from([*KEYS, ("length(host)",), ("upper(region)",)]),
    st.sampled_from(WHERE),
)  # fmt: skip
def test_first_and_last_values_of_parts_are_those_of_the_whole(
    queries: Queries, rows: list[tuple[Any, ...]], column: str, keys: tuple[str, ...], where: str
) -> None:
    # No two of one instant, as long as SQL's time is looked at.
    rows = list({row[0]: (row[0] * 60, *row[1:]) for row in rows}.values())
    group = f" GROUP BY {', '.join(keys)}" if keys else ""
    listed = ", ".join(
        [*keys, f"last({column}, time) IS NULL", f"coalesce(first({column}, time), last({column}, time))"]
    )
    text = f"SELECT {listed}, last(n, time)::text || '' FROM cpu {where}{group}"
    _, plan = ask(queries, view_of(rows, 7), f"EXPLAIN {text}")
    # Seconds as a numeric are DuckDB's, and so are months of a zone whose range has no bounds.
    zoned = "Asia/Kolkata" in text
    assert zoned or ("over aggregates from kernels" in plan[0][0]) == ("floor" not in text), text
    assert answer(queries, rows, text, CONTEXT) == answer(queries, rows, text, UNPRUNED), text


MERGED = ("length(host)", "host > 'a'", "date_trunc('month', time)", "time_bucket('1 month', time)", "region IS NULL")


@pytest.mark.parametrize("key", MERGED)
def test_groups_of_many_parts_are_merged(queries: Queries, key: str) -> None:
    random = Random(7)
    rows = [
        (random.randrange(-40_000, 40_000), random.choice(["a", "b", "cc", None]), random.choice(["x", None]),
         random.choice([None, *range(-50, 50)]), random.choice([None, 0.5, -8.25, 3.0]),
         random.choice([None, *range(-30, 30)]))
        for _ in range(150)
    ]  # fmt: skip
    for target in TARGETS:
        text = f"SELECT {key}, {target} FROM cpu GROUP BY 1 HAVING min(small) + max(n) > -80"
        _, plan = ask(queries, view_of(rows, 9), f"EXPLAIN {text}")
        # What has another's FROM in a literal is left alone.
        assert ("over aggregates from kernels" in plan[0][0]) == ("FROM t1" not in target), text
        assert answer(queries, rows, text, CONTEXT) == answer(queries, rows, text, UNPRUNED), text


GAPS = (
    "avg(small)", "locf(max(n))", "interpolate(avg(usage))", "count(*)", "coalesce(sum(small), 0)",
    "max(small) - min(small)",
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(ROWS, st.lists(st.sampled_from(GAPS), min_size=1, max_size=3), st.sampled_from(["", ", host", ", host, region"]))
def test_gaps_are_filled_over_partial_aggregates(
    queries: Queries, rows: list[tuple[Any, ...]], targets: list[str], tags: str
) -> None:
    text = (
        f"SELECT time_bucket_gapfill('45 minutes', time) AS b{tags}, {', '.join(targets)} FROM cpu "
        f"WHERE time >= '2025-12-31 22:00:00+00' AND time < '2026-01-01 04:00:00+00' GROUP BY b{tags}"
    )
    assert answer(queries, rows, text, CONTEXT) == answer(queries, rows, text, UNPRUNED), text


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("SELECT max(n) - min(n) FROM cpu GROUP BY host", "DuckDB over aggregates from kernels"),
        ("SELECT date_trunc('year', time), sum(n) FROM cpu WHERE time BETWEEN '2026-01-01' AND '2026-03-01' GROUP BY 1",
         "DuckDB over aggregates from kernels"),
        ("SELECT string_agg(host, ',') || max(n) FROM cpu", "DuckDB"),
        ("SELECT count(host) + max(n) FROM cpu", "DuckDB"),
        ("SELECT extract(hour FROM time), max(n) + 1 FROM cpu GROUP BY 1", "DuckDB"),
        ("SELECT note, max(n) + 1 FROM cpu GROUP BY 1", "DuckDB"),
        ("SELECT last(n, time) - first(n, time) FROM cpu GROUP BY host", "DuckDB over aggregates from kernels"),
        ("SELECT last(n, usage) - first(n, time) FROM cpu GROUP BY host", "DuckDB"),
        ("SELECT last(note, time) || '' FROM cpu GROUP BY host", "DuckDB"),
        ("SELECT max(time_ns) - min(time_ns) FROM cpu", "DuckDB"),
        ("SELECT max(n) + 1 FROM cpu WHERE n > 5", "DuckDB"),
        ("SELECT max(n) FILTER (WHERE host = 'a') + 1 FROM cpu", "DuckDB"),
        ("SELECT max(n) + 1, count(*) OVER () FROM cpu GROUP BY host", "DuckDB over aggregates from kernels"),
        ("SELECT max(n) + 1, count(*) FILTER (WHERE host = 'a') OVER () FROM cpu GROUP BY host", "DuckDB"),
        ("SELECT max(n + 1) FROM cpu", "DuckDB"),
        ("SELECT host, max(n) + 1 FROM cpu GROUP BY ROLLUP (host)", "DuckDB"),
    ],
)  # fmt: skip
def test_which_statements_read_partial_aggregates(queries: Queries, text: str, where: str) -> None:
    _, plan = ask(queries, view_of([], 9), f"EXPLAIN {text}")
    assert plan[0][0] == f"Query in {where} over 1 scan", plan


def test_sums_beyond_int8_are_summed_by_duckdb(queries: Queries) -> None:
    rows = [(minute, "a", "x", 2**63 - 1, None, None) for minute in range(4)]
    for context in (CONTEXT, UNPRUNED):
        _, found = ask(queries, view_of(rows, 2), "SELECT sum(n) + 1 FROM cpu", context=context)
        assert found == [(4 * (2**63 - 1) + 1,)]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "UTC"])
@settings(max_examples=20, deadline=None)
@given(rows=ROWS)
def test_months_are_those_of_a_time_zone(queries: Queries, rows: list[tuple[Any, ...]], zone: str) -> None:
    shifted = [(row[0] * 200, *row[1:]) for row in rows]
    text = "SELECT date_trunc('month', time), count(*), sum(small) FROM cpu WHERE time BETWEEN '2025-11-15' AND '{}' "
    text += "GROUP BY 1"
    session = replace(CONTEXT, settings={"timezone": zone})
    plain = replace(CONTEXT, settings={"timezone": zone, "tsdb.prune": "off"})
    for end in ("2026-02-20", "2026-04-05"):
        given_text = text.format(end)
        assert answer(queries, shifted, given_text, session) == answer(queries, shifted, given_text, plain), zone


def test_a_select_is_found_in_its_text() -> None:
    inner = "SELECT max(r1.c2), ' WHERE (' FROM t1 AS r1 WHERE (r1.c1 = 'a)') GROUP BY (r1.c1)"
    found = select_of(f"WITH q AS ({inner}) SELECT 1 FROM q", " FROM t1 AS r1")
    assert found == SelectText("WITH q AS (", "SELECT max(r1.c2), ' WHERE ('", " GROUP BY (r1.c1)", ") SELECT 1 FROM q")
    assert select_of("SELECT 1 FROM t1 AS r1 UNION ALL SELECT 2", " FROM t1 AS r1") is None
    assert select_of("SELECT 1 FROM t1 AS r1, t2 AS r2", " FROM t1 AS r1") is None
    assert select_of("SELECT 1 FROM t1 AS r12", " FROM t1 AS r1") is None
