"""Which conditions of DELETE become a range, and that the range is exact."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.model.schema import Catalog, ColumnDefinition, CreateDatabase, CreateSeries, Role, Series, apply
from tsdb.model.store import RangeDeletion, TagIn, TimeRange
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.sql import dialect
from tsdb.sql.dml import deletion_range
from tsdb.sql.dml.deletion_range import RangeCondition
from tsdb.types import FLOAT8, INT4, TEXT, TIMESTAMP, TIMESTAMPTZ


def series(time: bool = True, naive: bool = False) -> Series:
    columns = [
        ColumnDefinition("time", Role.TIME, TIMESTAMP if naive else TIMESTAMPTZ),
        ColumnDefinition("host", Role.TAG, TEXT),
        ColumnDefinition("port", Role.TAG, INT4),
        ColumnDefinition("v", Role.FIELD, FLOAT8),
    ]
    change = CreateSeries("tsdb", "t", tuple(columns if time else columns[1:]), True, not time)
    return apply(Catalog(), [CreateDatabase("tsdb"), change]).databases["tsdb"].find("t")


def recognized(where: str, of: Series | None = None, alias: str | None = None) -> RangeCondition | None:
    tree = dialect.parse(f"DELETE FROM t{' AS ' + alias if alias else ''} WHERE {where}")
    return deletion_range.recognize(of or series(), alias, tree.args["where"].this)


HOST = series().column("host").number


@pytest.mark.parametrize(
    ("where", "values", "expected"),
    [
        ("time >= '2026-01-01'", [5], RangeDeletion(series(), TimeRange(5000, NS_MAX))),
        ("time > now() - interval '1 day'", [5], RangeDeletion(series(), TimeRange(6000, NS_MAX))),
        ("$1 > t.time", [5], RangeDeletion(series(), TimeRange(NS_MIN, 5000))),
        ("time < to_timestamp(5) + interval '1 day' - interval '2 h'", [5],
         RangeDeletion(series(), TimeRange(NS_MIN, 5000))),
        ("time < date_trunc('day', now() - interval '1 day')", [5], RangeDeletion(series(), TimeRange(NS_MIN, 5000))),
        ("time <= timestamptz '2026-01-01'", [-1], RangeDeletion(series(), TimeRange(NS_MIN, 0))),
        ("time = $1", [-1], RangeDeletion(series(), TimeRange(-1000, 0))),
        ("time between $1 and $2", [1, 2], RangeDeletion(series(), TimeRange(1000, 3000))),
        ("time_ns < 77", [77], RangeDeletion(series(), TimeRange(NS_MIN, 77))),
        ("time_ns = -5", [-5], RangeDeletion(series(), TimeRange(-5, -4))),
        ("(time >= $1 and (time < $2))", [2, 1], None),
        ("time >= $1", [None], None),
        ("host = 'a'", ["a"], RangeDeletion(series(), tags=(TagIn(HOST, frozenset({"a"})),))),
        ("'a' <> host", ["a"], RangeDeletion(series(), tags=(TagIn(HOST, frozenset({"a", None}), True),))),
        ("host in ('a', $1)", ["a", None], RangeDeletion(series(), tags=(TagIn(HOST, frozenset({"a"})),))),
        ("host not in ('a', 'b')", ["a", "b"],
         RangeDeletion(series(), tags=(TagIn(HOST, frozenset({"a", "b", None}), True),))),
        ("host not in ('a', $1)", ["a", None], None),
        ("host = null", [None], None),
        ("host is null", [], RangeDeletion(series(), tags=(TagIn(HOST, frozenset({None})),))),
        ("not (host is null)", [], RangeDeletion(series(), tags=(TagIn(HOST, frozenset({None}), True),))),
        ("port is not null", [],
         RangeDeletion(series(), tags=(TagIn(series().column("port").number, frozenset({None}), True),))),
    ],
)  # fmt: skip
def test_time_and_tags_become_a_range(where: str, values: list[object], expected: RangeDeletion | None) -> None:
    found = recognized(where)
    assert found is not None, where
    assert len(found.values) == len(values)
    deletion = found.deletion(values)
    assert deletion == expected


@pytest.mark.parametrize(
    "where", ["host like 'a%'", "host not like $1", "not (host ilike 'a')", "t.host ~ 'a'", "host !~* 'a'::text"]
)
def test_a_pattern_becomes_the_values_that_match(where: str) -> None:
    found = recognized(f"{where} and time < $2")
    assert found is not None
    assert len(found.patterns) == 1
    assert found.deletion([5], [frozenset("ab")]) == RangeDeletion(
        series(), TimeRange(NS_MIN, 5000), (TagIn(HOST, frozenset("ab")),)
    )
    assert found.deletion([5], [frozenset()]) is None


@pytest.mark.parametrize(
    "where",
    [
        "v > 1",
        "time > '2026-01-01' and v > 1",
        "time > '2026-01-01' or host = 'a'",
        "not (host = 'a')",
        "host like v::text",
        "host like 'a!%' escape '!'",
        "v::text like 'a%'",
        "host ~ 5",
        "time < '2026-01-01' - interval '1 day'",
        "time < date_trunc('day', '2026-01-01')",
        "time < date_trunc('day', time)",
        "time < to_timestamp(v)",
        "host > 'a'",
        "host = v::text",
        "host in (select 'a')",
        "time > (select max(time) from t)",
        "time::date = '2026-01-01'",
        "time > date '2026-01-01' + 1",
        "time > clock_timestamp()",
        "time_ns > 1.5",
        "port = 1",
        "port = '1'",
        "host = 5",
        "other.host = 'a'",
        "true",
    ],
)
def test_anything_else_is_left_to_the_query(where: str) -> None:
    assert recognized(where) is None


def test_the_alias_hides_the_name() -> None:
    assert recognized("x.host = 'a'", alias="x") is not None
    assert recognized("t.host = 'a'", alias="x") is None


def test_a_time_without_time_zone_is_left_to_the_query() -> None:
    assert recognized("time > '2026-01-01'", series(naive=True)) is None


def test_without_a_condition_everything_goes() -> None:
    found = deletion_range.recognize(series(), None, None)
    assert found is not None
    assert found.deletion([]) == RangeDeletion(series())


def test_a_reference_table_is_emptied_by_range_and_thinned_by_keys() -> None:
    table = series(time=False)
    assert deletion_range.recognize(table, None, None) is not None
    assert recognized("host = 'a'", table) is None


COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}


@given(st.sampled_from(sorted(COMPARISONS)), st.integers(-3, 3), st.integers(-4000, 4000))
def test_a_range_holds_exactly_the_points_whose_floored_time_compares(comparison: str, us: int, ns: int) -> None:
    found = recognized(f"time {comparison} $1")
    assert found is not None
    deletion = found.deletion([us])
    held = deletion is not None and deletion.range.low <= ns < deletion.range.high
    assert held == COMPARISONS[comparison](ns // 1000, us)
