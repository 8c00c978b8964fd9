"""Statements to rows of plain Python values that can be compared across engines."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from tsdb.model.store import View
from tsdb.sql import intervals
from tsdb.sql.context import Context
from tsdb.sql.intervals import Interval
from tsdb.sql.query import Queries
from tsdb.sql.result import ResultColumn
from tsdb.sql.statement import Explain, Select, parse, split
from tsdb.types import SqlType

CONTEXT = Context("tsdb", now_us=1_767_229_200_000_000, settings={"timezone": "UTC"})


def ask(
    queries: Queries, view: View, text: str, values: Sequence[object] = (), context: Context = CONTEXT
) -> tuple[tuple[ResultColumn, ...], list[tuple[Any, ...]]]:
    """(columns, rows) of one statement."""
    (fragment,) = split(text)
    statement = parse(fragment)
    assert isinstance(statement, Select | Explain)
    prepared = queries.prepare(statement, context, view.catalog)
    rows = queries.run(prepared, view, values, context)
    try:
        types = [c.type for c in prepared.columns]
        found = [
            row for batch in rows
            for row in zip(*(_values(c, t) for c, t in zip(batch.columns, types, strict=True)), strict=True)
        ]  # fmt: skip
    finally:
        rows.close()
    return prepared.columns, found


def _values(column: Any, sql_type: SqlType) -> list[Any]:
    values = column.to_pylist()
    if sql_type.typname == "numeric":
        # Decimals, or the texts of numbers that have a scale each.
        values = [None if v is None else Decimal(v) for v in values]
    return [plain(value) for value in values]


def plain(value: Any) -> Any:
    """Numbers by value, intervals and timestamps in one form."""
    if hasattr(value, "nanoseconds") and hasattr(value, "months"):
        return intervals.format(Interval(value.months, value.days, value.nanoseconds // 1000))
    if isinstance(value, Decimal):
        return value.normalize() + 0
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
