"""Selections answered without DuckDB: the same rows as DuckDB's, whatever the values, conditions and columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sql import samples
from tests.sql.answers import CONTEXT, ask
from tests.sql.memory_view import MemoryView, table_of
from tests.sql.test_random_statements import bag
from tsdb.errors import InvalidRowCountInLimitClause, QueryCanceled
from tsdb.model.store import ScanRequest
from tsdb.sql.query import Queries
from tsdb.sql.statement import Select, parse, split

UNPRUNED = replace(CONTEXT, settings={"timezone": "UTC", "tsdb.prune": "off"})
INT8_EDGES = (2**63 - 1, -(2**63), 2**53, 2**53 + 1, -(2**53) - 1, 1, 0, -1, 3)
FLOATS = (0.0, -0.0, 1.5, -2.25, float("nan"), float("inf"), float("-inf"), 1e300, -1e-300, 5e-324)
ROWS = st.lists(
    st.tuples(
        st.integers(-400, 400),
        st.one_of(st.none(), st.sampled_from(["a", "b", "", "ü"])),
        st.one_of(st.none(), st.sampled_from(["x", "y"])),
        st.one_of(st.none(), st.sampled_from(INT8_EDGES)),
        st.one_of(st.none(), st.sampled_from(FLOATS)),
        st.one_of(st.none(), st.integers(-5, 5)),
    ),
    max_size=60,
)
COLUMNS = ("time", "host", "region", "n", "usage", "small", "time_ns", "sequence", "ok", "note", "day")
OPERATORS = ("=", "<>", "<", "<=", ">", ">=")
NUMBERS = (
    "0", "1", "-1", "1.5", "-2.25", "0.0", "1e300", "'NaN'::float8", "'inf'::float8", "-2.5::float8", "3::float8",
    "9007199254740993", "9007199254740992::float8", "9223372036854775807", "9223372036854775807.5", "NULL",
)  # fmt: skip
FIXED = (
    "time >= '2026-01-01 00:00:00+00'", "host = 'a'", "host IN ('a', 'ü')", "host IS NULL", "region <> 'x'",
    "time BETWEEN '2025-12-31 22:00:00+00' AND '2026-01-01 01:00:00+00'", "n BETWEEN -1 AND 3",
)  # fmt: skip
CONDITIONS = st.lists(
    st.one_of(
        st.sampled_from(FIXED),
        st.builds(
            lambda column, operator, number, turned: (
                f"{number} {operator} {column}" if turned else f"{column} {operator} {number}"
            ),
            st.sampled_from(["n", "usage", "small"]),
            st.sampled_from(OPERATORS),
            st.sampled_from(NUMBERS),
            st.booleans(),
        ),
    ),
    max_size=3,
)


class LooseView(MemoryView):
    """A store that makes nothing of bounds on fields: all it may do is to give more."""

    def scan(self, request: ScanRequest) -> Any:
        return super().scan(replace(request, bounds=()))


def view_of(rows: list[tuple[Any, ...]], batch_rows: int, *, loose: bool = False) -> MemoryView:
    catalog = samples.catalog()
    times = [samples.BASE_NS + row[0] * 60_000_000_000 + (row[0] % 3) for row in rows]
    kinds = {"host": pa.string(), "region": pa.string(), "n": pa.int64(), "usage": pa.float64(), "small": pa.int32()}
    columns = {name: pa.array([row[i + 1] for row in rows], kind) for i, (name, kind) in enumerate(kinds.items())}
    made = LooseView if loose else MemoryView
    return made(catalog, dict([table_of(catalog, "tsdb", "cpu", times, columns)]), batch_rows)


@settings(max_examples=300, deadline=None)
@given(
    ROWS, st.sampled_from([1, 7, 1000]), st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=5), CONDITIONS,
    st.booleans(),
)  # fmt: skip
def test_a_selection_gives_the_rows_that_duckdb_gives(
    queries: Queries,
    rows: list[tuple[Any, ...]],
    batch_rows: int,
    columns: list[str],
    conditions: list[str],
    loose: bool,
) -> None:
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    text = f"SELECT {', '.join(columns)} FROM cpu{where}"
    view = view_of(rows, batch_rows, loose=loose)
    _, plan = ask(queries, view, f"EXPLAIN {text}")
    assert plan[0][0].startswith("Query in the scan"), text
    ours, found = ask(queries, view, text)
    theirs, expected = ask(queries, view_of(rows, batch_rows), text, context=UNPRUNED)
    assert bag(found) == bag(expected), text
    assert ours == theirs


@pytest.mark.parametrize(
    "text", ["SELECT * FROM cpu", "SELECT * FROM mem", "SELECT c.* FROM cpu AS c", 'SELECT "Free", "Free" FROM mem']
)
def test_every_type_that_a_scan_gives_is_duckdbs(queries: Queries, text: str) -> None:
    _, found = ask(queries, samples.view(), text)
    _, expected = ask(queries, samples.view(), text, context=UNPRUNED)
    assert len(found) == 500
    assert bag(found) == bag(expected)


@pytest.mark.parametrize("limit", ["LIMIT 7", "LIMIT 0", "LIMIT ALL", "OFFSET 495", "LIMIT 10 OFFSET 3", "LIMIT NULL"])
def test_limit_and_offset_count_rows(queries: Queries, limit: str) -> None:
    view = samples.view()
    _, found = ask(queries, view, f"SELECT host, n FROM cpu WHERE n > 0 {limit}")
    _, all_rows = ask(queries, view, "SELECT host, n FROM cpu WHERE n > 0")
    _, expected = ask(queries, view, f"SELECT host, n FROM cpu WHERE n > 0 {limit}", context=UNPRUNED)
    assert len(found) == len(expected)
    assert not set(bag(found)) - set(bag(all_rows))


def test_a_limit_stops_the_scan(queries: Queries) -> None:
    view = view_of([(k % 400, "a", "x", k, None, None) for k in range(5000)], 10)
    (fragment,) = split("SELECT n FROM cpu WHERE n >= 100 LIMIT $1")
    statement = parse(fragment)
    assert isinstance(statement, Select)
    prepared = queries.prepare(statement, CONTEXT, view.catalog)
    rows = queries.run(prepared, view, [15], CONTEXT)
    assert sum(len(batch) for batch in rows) == 15
    assert rows.statistics.scans[0][1].rows_returned <= 120
    rows.close()


def test_a_negative_limit_is_postgresqls_error(queries: Queries) -> None:
    view = samples.view()
    (fragment,) = split("SELECT n FROM cpu LIMIT $1")
    statement = parse(fragment)
    assert isinstance(statement, Select)
    prepared = queries.prepare(statement, CONTEXT, view.catalog)
    with pytest.raises(InvalidRowCountInLimitClause):
        list(queries.run(prepared, view, [-1], CONTEXT))


def test_a_selection_is_cancelled_between_batches(queries: Queries) -> None:
    view = view_of([(k % 400, "a", "x", k, None, None) for k in range(1000)], 10)
    (fragment,) = split("SELECT n FROM cpu")
    statement = parse(fragment)
    assert isinstance(statement, Select)
    rows = queries.run(queries.prepare(statement, CONTEXT, view.catalog), view, [], CONTEXT)
    next(rows)
    rows.cancel()
    with pytest.raises(QueryCanceled, match="user request"):
        list(rows)
    rows.close()


def test_texts_stay_dictionaries_only_for_those_who_take_them(queries: Queries) -> None:
    view = samples.view()
    (fragment,) = split("SELECT host, note FROM cpu")
    statement = parse(fragment)
    assert isinstance(statement, Select)
    prepared = queries.prepare(statement, CONTEXT, view.catalog)
    for taken in (False, True):
        rows = queries.run(prepared, view, [], CONTEXT, dictionaries=taken)
        batch = next(rows)
        rows.close()
        assert pa.types.is_dictionary(batch.column(0).type) is taken
        assert batch.column(1).type == pa.string()


@pytest.mark.parametrize(
    "text",
    [
        "SELECT n + 1 FROM cpu", "SELECT DISTINCT n FROM cpu", "SELECT n FROM cpu ORDER BY n",
        "SELECT n FROM cpu WHERE n > small", "SELECT n FROM cpu WHERE n > 1 OR usage > 2", "SELECT price FROM cpu",
        "SELECT big FROM cpu", "SELECT n FROM cpu WHERE note = 'a'", "SELECT count(*) FROM cpu",
        "SELECT a.n FROM cpu a, cpu b", "SELECT n FROM cpu WHERE host LIKE 'a%'", "SELECT n, 1 FROM cpu",
        "SELECT row_number() OVER () FROM cpu", "SELECT n FROM cpu UNION ALL SELECT n FROM cpu",
        "SELECT n FROM (SELECT n FROM cpu LIMIT 3) AS t", "SELECT cpu FROM cpu", "SELECT xmin FROM cpu",
        "SELECT n FROM cpu WHERE n > (SELECT 1)", "SELECT n FROM cpu WHERE random() > 0.5",
        "SELECT n FROM cpu WHERE (host = 'a' AND n > 1) OR region = 'x'",
        "SELECT n FROM cpu WHERE n > 1 AND (host = 'a' AND region = 'x')",
    ],
)  # fmt: skip
def test_what_is_more_than_a_selection_is_left_to_duckdb(queries: Queries, text: str) -> None:
    _, plan = ask(queries, samples.view(), f"EXPLAIN {text}")
    assert not plan[0][0].startswith("Query in the scan"), text
