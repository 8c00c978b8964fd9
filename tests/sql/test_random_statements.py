"""Random statements: with pruning, without, and by DuckDB over the same points in plain tables, the answer is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tests.sql import samples
from tests.sql.answers import CONTEXT, ask, plain
from tests.sql.memory_view import MemoryView
from tests.sql.random_statements import Statements
from tsdb.model.store import ScanRequest
from tsdb.sql.expressions.relation import series_columns
from tsdb.sql.query import Queries
from tsdb.sql.stream import Running, ScanStream

UNPRUNED = replace(CONTEXT, settings={"timezone": "UTC", "tsdb.prune": "off"})


@pytest.fixture(scope="module")
def view() -> MemoryView:
    return samples.view(300)


@pytest.fixture(scope="module")
def plain_tables(view: MemoryView) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same points in two tables of a DuckDB that knows nothing of us."""
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("CREATE MACRO regexp_like(t, p) AS regexp_matches(t, p)")
    for name in ("cpu", "mem"):
        series = view.catalog.find("tsdb").find(name)
        columns = [c for c in series_columns(series) if c.key is not None]
        request = ScanRequest(series, tuple(c.key for c in columns if c.key is not None), prune=False)
        table = pa.table(ScanStream(request, view, Running())).rename_columns([c.name for c in columns])
        connection.register("points", table)
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM points")
        connection.unregister("points")
    yield connection
    connection.close()


def bag(rows: list[tuple[Any, ...]]) -> Counter[str]:
    """Rows without an order; numbers by value, and sums of floats may differ in their last digits."""
    return Counter(repr([comparable(value) for value in row]) for row in rows)


def comparable(value: Any) -> Any:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(Decimal(value).normalize() + 0)
    return f"{value:.9g}" if isinstance(value, float) else value


def check(queries: Queries, view: MemoryView, plain_tables: duckdb.DuckDBPyConnection, seed: int) -> None:
    statements = Statements(seed)
    for _ in range(20):
        text = statements.one()
        _, pruned = ask(queries, view, text)
        _, unpruned = ask(queries, view, text, context=UNPRUNED)
        assert bag(pruned) == bag(unpruned), text
        table = plain_tables.sql(text).to_arrow_table()
        expected = list(zip(*([plain(v) for v in column.to_pylist()] for column in table.columns), strict=True))
        assert bag(pruned) == bag(expected), text


@pytest.mark.parametrize("seed", range(12))
def test_pruning_never_changes_an_answer(
    seed: int, queries: Queries, view: MemoryView, plain_tables: duckdb.DuckDBPyConnection
) -> None:
    check(queries, view, plain_tables, seed)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 300))
def test_pruning_never_changes_an_answer_at_length(
    seed: int, queries: Queries, view: MemoryView, plain_tables: duckdb.DuckDBPyConnection
) -> None:
    check(queries, view, plain_tables, seed)
