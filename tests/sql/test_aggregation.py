"""Aggregates answered by kernels: the same as DuckDB's over the same rows, whatever the rows and however they come."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sql import samples
from tests.sql.answers import CONTEXT, ask
from tests.sql.memory_view import MemoryView, table_of
from tests.sql.test_random_statements import bag
from tsdb.errors import NumericValueOutOfRange, QueryCanceled
from tsdb.model.store import TimeRange
from tsdb.sql.aggregation import answer, averages, cells, results
from tsdb.sql.aggregation.plan import TimeKey
from tsdb.sql.kernel_execution import FIRST_ROWS
from tsdb.sql.query import Queries

UNPRUNED = replace(CONTEXT, settings={"timezone": "UTC", "tsdb.prune": "off"})
INT8_EDGES = (2**63 - 1, -(2**63), 2**62, -(2**62), 1, 0, -1, 2**32, -(2**32) - 1, 3)
FLOATS = (0.0, 1.5, -2.25, float("nan"), float("inf"), float("-inf"), 1e300, -1e-300)

ROWS = st.lists(
    st.tuples(
        st.integers(-400, 400),  # minutes from the base, also before 1970 in one of the statements
        st.one_of(st.none(), st.sampled_from(["a", "b", "", "ü", "z"])),
        st.one_of(st.none(), st.sampled_from(["x", "y"])),
        st.one_of(st.none(), st.sampled_from(INT8_EDGES)),
        st.one_of(st.none(), st.sampled_from(FLOATS)),
        st.one_of(st.none(), st.integers(-5, 5)),
    ),
    max_size=60,
)
BUCKET = "time_bucket('{}', time)"
KEYS = (
    (), (BUCKET.format("7 minutes"),), (BUCKET.format("1 day"),), ("host",), ("region", "host"),
    ("date_trunc('hour', time)", "host"), ("date_bin('11 minutes', time, '2001-01-01 00:03:00+00')",),
    ("floor(extract(epoch FROM time) / 300) * 300",), ("to_timestamp(floor((extract(epoch FROM time)) / 900) * 900)",),
    ("time_bucket('2 hours', time, '90 minutes'::interval)",), ("date_trunc('week', time)",),
    ("time_bucket('1 day', time, origin => '1999-12-31 17:00:00+00')",),
    (BUCKET.format("1 hour"), "host"), ("host", BUCKET.format("90 seconds"), "region"),
)  # fmt: skip
AGGREGATES = (
    "count(*)", "count(n)", "count(usage)", "sum(small)", "sum(n)", "avg(n)", "avg(small)", "min(n)", "max(n)",
    "min(usage)", "max(usage)", "min(small)", "max(small)", "min(time)", "max(time)", "count(time)",
)  # fmt: skip
WHERE = (
    "", "WHERE time >= '2026-01-01 00:00:00+00'", "WHERE host = 'a'", "WHERE host IN ('a', 'z') AND region = 'x'",
    "WHERE host <> 'b' AND time < '2026-01-01 03:00:00+00'", "WHERE host IS NULL",
    "WHERE NOT (host = 'a' OR host > 'b')",
    "WHERE time BETWEEN '2025-12-31 22:00:00+00' AND '2026-01-01 01:00:00+00'", "WHERE host = 'nobody'",
)  # fmt: skip


def view_of(rows: list[tuple[Any, ...]], batch_rows: int) -> MemoryView:
    catalog = samples.catalog()
    times = [samples.BASE_NS + row[0] * 60_000_000_000 + (row[0] % 3) for row in rows]
    kinds = {"host": pa.string(), "region": pa.string(), "n": pa.int64(), "usage": pa.float64(), "small": pa.int32()}
    columns = {name: pa.array([row[i + 1] for row in rows], kind) for i, (name, kind) in enumerate(kinds.items())}
    return MemoryView(catalog, dict([table_of(catalog, "tsdb", "cpu", times, columns)]), batch_rows)


def kernels_and_duckdb(
    queries: Queries, rows: list[tuple[Any, ...]], batch_rows: int, text: str
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    _, plan = ask(queries, view_of(rows, batch_rows), f"EXPLAIN {text}")
    assert plan[0][0].startswith("Query in kernels"), text
    _, ours = ask(queries, view_of(rows, batch_rows), text)
    _, theirs = ask(queries, view_of(rows, batch_rows), text, context=UNPRUNED)
    return ours, theirs


@settings(max_examples=150, deadline=None)
@given(
    ROWS,
    st.sampled_from([1, 3, 1000]),
    st.sampled_from(KEYS),
    st.lists(st.sampled_from(AGGREGATES), min_size=1, max_size=4),
    st.sampled_from(WHERE),
)
def test_kernels_answer_what_duckdb_answers(
    queries: Queries,
    rows: list[tuple[Any, ...]],
    batch_rows: int,
    keys: tuple[str, ...],
    aggregates: list[str],
    where: str,
) -> None:
    group = f" GROUP BY {', '.join(keys)}" if keys else ""
    text = f"SELECT {', '.join([*keys, *aggregates])} FROM cpu {where}{group}"
    ours, theirs = kernels_and_duckdb(queries, rows, batch_rows, text)
    assert bag(ours) == bag(theirs), text


@settings(max_examples=60, deadline=None)
@given(ROWS, st.permutations(["host", "region", "minute", "c", "a"]), st.lists(st.booleans(), min_size=10, max_size=10))
def test_rows_come_in_the_order_that_is_asked(
    queries: Queries, rows: list[tuple[Any, ...]], names: list[str], flags: list[bool]
) -> None:
    order = ", ".join(
        f"{name} {'DESC' if down else 'ASC'} NULLS {'FIRST' if first else 'LAST'}"
        for name, down, first in zip(names, flags[:5], flags[5:], strict=True)
    )
    text = f"""SELECT host, region, {BUCKET.format("5 minutes")} AS minute, count(n) AS c, avg(n) AS a FROM cpu
        GROUP BY host, region, minute ORDER BY {order} LIMIT 7"""
    ours, theirs = kernels_and_duckdb(queries, rows, 10, text)
    assert repr(ours) == repr(theirs)


def test_sums_and_averages_of_floats_are_duckdbs(queries: Queries) -> None:
    rows = [(k % 50, "abc"[k % 3], "x", None, k * 0.37, None) for k in range(2000)]
    text = "SELECT host, sum(usage), avg(usage) FROM cpu GROUP BY host ORDER BY host"
    ours, theirs = kernels_and_duckdb(queries, rows, 100, text)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine[0] == other[0]
        assert np.allclose(mine[1:], other[1:], rtol=1e-12)


def test_a_sum_beyond_int8_is_a_numeric(queries: Queries) -> None:
    rows = [(k, "a", "x", 2**63 - 1, None, None) for k in range(5)]
    ours, theirs = kernels_and_duckdb(queries, rows, 2, "SELECT sum(n), avg(n) FROM cpu")
    assert ours == theirs == [(5 * (2**63 - 1), 2**63 - 1)]


@pytest.mark.parametrize("kept", [True, False])
def test_long_results_are_duckdbs_piece_by_piece(
    queries: Queries, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    rows = [(k, "abc"[k % 3], "x", k * 7919 if k % 5 else None, k * 0.5, k % 9) for k in range(2 * FIRST_ROWS + 100)]
    text = f"""SELECT {BUCKET.format("1 minute")} AS t, host, avg(n), sum(small), max(usage), count(*) FROM cpu
        GROUP BY t, host HAVING count(n) < 2 ORDER BY t DESC, host"""
    if not kept:
        monkeypatch.setattr(answer, "KEPT_BYTES", 0)
    ours, theirs = kernels_and_duckdb(queries, rows, 1000, text)
    assert len(ours) == len(rows)
    assert ours == theirs


def test_a_sum_that_overflows_fails_before_the_first_row(queries: Queries) -> None:
    rows = [(k // 2, "a", "x", None, 1.5e308 if k > 2 * FIRST_ROWS else 1.0, None) for k in range(2 * FIRST_ROWS + 90)]
    text = f"SELECT {BUCKET.format('1 minute')} AS t, sum(usage) FROM cpu GROUP BY t ORDER BY t"
    with pytest.raises(NumericValueOutOfRange):
        ask(queries, view_of(rows, 1000), text)


def test_too_many_groups_go_to_duckdb(queries: Queries, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(k, "a", "x", k, None, None) for k in range(-300, 300)]
    text = f"SELECT {BUCKET.format('1 minute')} AS t, sum(n) FROM cpu GROUP BY t ORDER BY t"
    _, expected = ask(queries, view_of(rows, 50), text)
    monkeypatch.setattr(cells, "STATES_MAX", 100)
    _, found = ask(queries, view_of(rows, 50), text)
    assert len(found) == 600
    assert found == expected


@pytest.mark.parametrize(
    "text",
    [
        "SELECT count(DISTINCT host) FROM cpu",
        "SELECT host, count(*) FROM cpu GROUP BY host HAVING avg(n) > 1",
        "SELECT host, count(*) FROM cpu GROUP BY host HAVING count(*) > 1 OR count(n) > 1",
        "SELECT count(*) FROM cpu HAVING count(*) > 1",
        "SELECT host, max(n) FROM (SELECT host, n + 1 AS n FROM cpu) AS q GROUP BY host",
        "SELECT host, max(n) FROM (SELECT host, n FROM cpu WHERE usage > 5) AS q GROUP BY host",
        "SELECT host, max(n) FROM (SELECT host, n FROM cpu LIMIT 5) AS q GROUP BY host",
        "SELECT host, max(n) FROM (SELECT host, n FROM cpu UNION ALL SELECT host, n FROM cpu) AS q GROUP BY host",
        "SELECT host, max(n) FROM (SELECT DISTINCT host, n FROM cpu) AS q GROUP BY host",
        "WITH q AS (SELECT host, n FROM cpu) SELECT a.host, max(a.n) FROM q AS a JOIN q USING (host) GROUP BY a.host",
        "SELECT first(n, usage) FROM cpu",
        "SELECT floor(extract(epoch FROM time) / 300) * 600 AS t, count(*) FROM cpu GROUP BY t",
        "SELECT floor(extract(epoch FROM time) / 0.5) * 0.5 AS t, count(*) FROM cpu GROUP BY t",
        "SELECT host, count(*) FROM cpu WHERE usage > 5 GROUP BY host",
        "SELECT host, count(*) FILTER (WHERE n > 1) FROM cpu GROUP BY host",
        "SELECT host, max(n) + 1 FROM cpu GROUP BY host",
        "SELECT host, max(note) FROM cpu GROUP BY host",
        "SELECT upper(host), count(*) FROM cpu GROUP BY 1",
        "SELECT host, count(*) FROM cpu GROUP BY ROLLUP (host)",
        "SELECT host, count(*) FROM cpu WHERE host LIKE 'a%' GROUP BY host",
        "SELECT host, count(*) FROM cpu WHERE host = 'a' OR time > '2026-01-01' GROUP BY host",
        "SELECT time_bucket('1 month', time) AS t, count(*) FROM cpu GROUP BY t",
        "(SELECT host, count(*) FROM cpu GROUP BY host) ORDER BY 1 LIMIT 1",
        "SELECT host, count(*) FROM cpu GROUP BY host UNION ALL SELECT 'x', 1",
        "SELECT a.host, count(*) FROM cpu a JOIN mem b ON a.host = b.host GROUP BY a.host",
        "SELECT host, count(*) FROM cpu GROUP BY host ORDER BY max(n)",
        "SELECT host, count(*) FROM cpu GROUP BY host ORDER BY host OFFSET 1",
    ],
)
def test_what_kernels_do_not_know_is_left_to_duckdb(queries: Queries, text: str) -> None:
    view = samples.view(200)
    _, plan = ask(queries, view, f"EXPLAIN {text}")
    assert plan[0][0].startswith("Query in DuckDB")
    assert bag(ask(queries, samples.view(200), text)[1]) == bag(
        ask(queries, samples.view(200), text, context=UNPRUNED)[1]
    )


def test_a_running_aggregate_can_be_cancelled(queries: Queries) -> None:
    started: list[Any] = []
    context = replace(CONTEXT, running=started.append)
    view = view_of([(k, "a", "x", k, None, None) for k in range(50)], 1)
    _, rows = ask(queries, view, "SELECT count(*) FROM cpu", context=context)
    assert rows == [(50,)]
    context = replace(CONTEXT, running=lambda run: run.cancel())
    with pytest.raises(QueryCanceled):
        ask(queries, view, "SELECT count(*) FROM cpu", context=context)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(-(2**62) + 1, 2**62 - 1), st.integers(-20_000, 20_000)),
            st.one_of(st.integers(0, 3), st.sampled_from([360, 9_999, 10_000, 10**8]), st.integers(0, 10**14)),
        ),
        min_size=1,
    )
)
def test_averages_have_postgresqls_digits(pairs: list[tuple[int, int]]) -> None:
    totals = np.array([p[0] for p in pairs])
    places = np.arange(len(pairs))
    made = averages.texts(totals & 0xFFFFFFFF, totals >> 32, np.array([p[1] for p in pairs]), places)
    assert made is not None
    found = made.to_pylist()
    for (total, count), text in zip(pairs, found, strict=True):
        assert (text is None) == (count == 0)
        if count:
            digits = results._digits_of_one(abs(total), count)
            assert text == f"{results._average(total, count, digits):f}"
            exact = Fraction(total, count)
            assert abs(Fraction(text) - exact) <= Fraction(1, 2 * 10**digits)


ZONED = (
    "time_bucket('1 hour', time, 'Asia/Kolkata')", "time_bucket('1 day', time, 'Europe/Berlin')",
    "time_bucket('90 minutes', time, 'America/St_Johns')", "date_trunc('day', time)", "date_trunc('week', time)",
    "date_trunc('hour', time)", "date_trunc('day', time, 'Asia/Kathmandu')",
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from(ZONED), st.sampled_from(["Europe/Berlin", "Asia/Kolkata", "UTC"]))
def test_buckets_of_a_time_zone_are_duckdbs(queries: Queries, rows: list[tuple[Any, ...]], key: str, zone: str) -> None:
    """Half the ranges are in winter alone, half have a change of the clocks."""
    shifted = [(row[0] * 20, *row[1:]) for row in rows]
    for end in ("2026-01-05", "2026-04-05"):
        text = f"SELECT {key}, count(*), sum(n) FROM cpu WHERE time >= '2025-12-20' AND time < '{end}' GROUP BY 1"
        session = replace(CONTEXT, settings={"timezone": zone})
        plain = replace(CONTEXT, settings={"timezone": zone, "tsdb.prune": "off"})
        _, ours = ask(queries, view_of(shifted, 9), text, context=session)
        _, theirs = ask(queries, view_of(shifted, 9), text, context=plain)
        assert bag(ours) == bag(theirs), text


def test_a_time_zone_is_for_kernels_where_its_clocks_are_not_changed() -> None:
    key = TimeKey(3600 * 10**6, 0, zone="Europe/Berlin")
    winter, spring = 1_767_225_600 * 10**9, 1_774_742_400 * 10**9
    assert key.in_utc(TimeRange(winter, winter + 10**15), "UTC") == TimeKey(3600 * 10**6, -3600 * 10**6)
    assert key.in_utc(TimeRange(winter, spring), "UTC") is None
    assert key.in_utc(TimeRange(), "UTC") is None


THROUGH = (
    "(SELECT * FROM cpu)", "(SELECT time AS t0, host AS region, region AS host, n AS usage, usage AS n, time FROM cpu)",
    "(SELECT q.host, q.time, q.n, q.usage FROM (SELECT * FROM cpu WHERE host <> 'b') AS q WHERE q.host > '')",
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from(THROUGH), st.sampled_from(["", "WHERE host = 'a'", "WHERE time > '2026-01-01'"]))
def test_a_series_is_read_through_subqueries_that_only_name_columns(
    queries: Queries, rows: list[tuple[Any, ...]], source: str, where: str
) -> None:
    text = f"""SELECT time_bucket('1 hour', time) AS t, host, min(n), max(usage), count(*) FROM {source} AS s {where}
        GROUP BY t, host HAVING count(n) > 0"""
    ours, theirs = kernels_and_duckdb(queries, rows, 10, text)
    assert bag(ours) == bag(theirs), text


HAVING = (
    "count(*) > 2", "2 <= count(n)", "max(n) <> 1 AND count(*) < 9", "min(n) >= -5", "count(usage) = 0",
    "sum(small) > 0 AND min(small) < 0",
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from(HAVING), st.sampled_from([("host",), (BUCKET.format("1 hour"), "region")]))
def test_having_leaves_the_groups_that_duckdb_leaves(
    queries: Queries, rows: list[tuple[Any, ...]], having: str, keys: tuple[str, ...]
) -> None:
    text = f"SELECT {', '.join(keys)}, count(n) FROM cpu GROUP BY {', '.join(keys)} HAVING {having}"
    ours, theirs = kernels_and_duckdb(queries, rows, 10, text)
    assert bag(ours) == bag(theirs), text


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from(["n", "usage", "small"]), st.sampled_from(["host", "time_bucket('1 hour', time)"]))
def test_first_and_last_are_values_of_the_outermost_rows(
    queries: Queries, rows: list[tuple[Any, ...]], column: str, key: str
) -> None:
    distinct = list({row[0]: row for row in rows}.values())
    text = f"SELECT {key}, first({column}, time), last({column}, time) FROM cpu GROUP BY 1"
    ours, theirs = kernels_and_duckdb(queries, distinct, 3, text)
    assert bag(ours) == bag(theirs), text


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from(["small", "usage"]), st.sampled_from(["stddev", "stddev_pop", "var_samp", "variance"]))
def test_spreads_are_duckdbs(queries: Queries, rows: list[tuple[Any, ...]], column: str, function: str) -> None:
    usual = [(*row[:4], None if row[4] is None or not -10 < row[4] < 10 else row[4], row[5]) for row in rows]
    text = f"SELECT host, {function}({column}) FROM cpu GROUP BY host ORDER BY host"
    ours, theirs = kernels_and_duckdb(queries, usual, 7, text)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine[0] == other[0]
        assert (mine[1] is None) == (other[1] is None)
        assert mine[1] is None or np.isclose(float(mine[1]), float(other[1]), rtol=1e-12, atol=1e-12)


def test_a_sum_beyond_float8_is_an_error_and_one_of_infinity_is_none(queries: Queries) -> None:
    text = "SELECT host, sum(usage), avg(usage) FROM cpu GROUP BY host"
    ours, theirs = kernels_and_duckdb(queries, [(1, "a", "x", None, float("inf"), None)], 2, text)
    assert ours == theirs == [("a", float("inf"), float("inf"))]
    rows = [(k, "a", "x", None, 1.7e308, None) for k in range(3)]
    with pytest.raises(NumericValueOutOfRange):
        ask(queries, view_of(rows, 2), text)


def test_conditions_on_two_tags_in_brackets_both_hold(queries: Queries) -> None:
    rows = [(k, "ab"[k % 2], "xy"[k // 2 % 2], k, None, None) for k in range(40)]
    text = "SELECT count(*) FROM cpu WHERE time >= '2025-01-01' AND (host = 'a' AND region = 'x')"
    _, found = ask(queries, view_of(rows, 7), text)
    assert found == [(10,)]


CENTURY_NS = 100 * 31_556_952 * 10**9


@pytest.mark.parametrize(
    "times", [(-2.7, 2.3), (-2.7, -2.6, 0, 2.3), (-(2**63) / CENTURY_NS, 0), (-2.92, 0.1, 2.9), (0, 2.92)]
)
@pytest.mark.parametrize("bucket", ["7 days", "30 days", "1 day"])
def test_buckets_of_centuries_and_at_the_ends_of_time_are_duckdbs(
    queries: Queries, times: tuple[float, ...], bucket: str
) -> None:
    catalog = samples.catalog()
    columns = {"host": pa.array(["a"] * len(times)), "n": pa.array(range(len(times)), pa.int64())}
    at = [max(round(each * CENTURY_NS), -(2**63) + 1000) for each in times]
    view = MemoryView(catalog, dict([table_of(catalog, "tsdb", "cpu", at, columns)]))
    for target in ("count(*)", "max(n) + 1"):
        text = f"SELECT time_bucket('{bucket}', time) AS b, {target} FROM cpu GROUP BY b ORDER BY b"
        _, found = ask(queries, view, text)
        assert found == ask(queries, view, text, context=UNPRUNED)[1], text
        assert len(found) == len(times)
