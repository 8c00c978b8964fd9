"""RETURNING of INSERT: the rows as they were inserted. Columns are there at once; expressions are a query of them.

UPDATE and DELETE evaluate RETURNING in their own query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
from sqlglot import exp

from tsdb.model.points import Points
from tsdb.model.schema import Column, Role, Series
from tsdb.model.store import TIME_NS
from tsdb.model.time import us_of_ns
from tsdb.sql import storage_form, trees
from tsdb.sql.bind import given
from tsdb.sql.bind.given import GivenView
from tsdb.sql.dml.modification import Outcome, Reading
from tsdb.sql.query import Prepared
from tsdb.sql.result import ResultColumn, of_column
from tsdb.sql.statement import Select
from tsdb.types import INT8, SqlType


@dataclass(frozen=True)
class Returned:
    """``items`` are (name in the result, column of the series); no columns are no RETURNING."""

    series: Series
    items: tuple[tuple[str, Column], ...] = ()

    @property
    def columns(self) -> tuple[ResultColumn, ...]:
        return tuple(of_column(name, column, self.series) for name, column in self.items)

    def inserted(
        self, reading: Reading, outcome: Outcome, values: Mapping[str, pa.Array], points: Points
    ) -> Iterator[pa.RecordBatch]:
        """The result's batches for inserted points; ``values`` are what was given, by column name."""
        if self.items:
            arrays = [_column_of(column, values, points) for _, column in self.items]
            yield pa.RecordBatch.from_arrays(arrays, [name for name, _ in self.items])


@dataclass(frozen=True)
class Evaluated:
    """RETURNING's expressions: ``rows`` asks for the time in ns, then for them."""

    rows: Select
    parameters: tuple[SqlType, ...]
    columns: tuple[ResultColumn, ...]

    def inserted(
        self, reading: Reading, outcome: Outcome, values: Mapping[str, pa.Array], points: Points
    ) -> Iterator[pa.RecordBatch]:
        """The result's batches for inserted points, in their order."""
        if len(points):
            reading = replace(reading, view=GivenView(reading.view, points))
            names = [column.name for column in self.columns]
            for batch in outcome.query(reading, self.rows, self.parameters):
                yield pa.RecordBatch.from_arrays(batch.columns[1:], names)


def _column_of(column: Column, values: Mapping[str, pa.Array], points: Points) -> pa.Array:
    if column.name == TIME_NS:
        return pa.array(points.times)
    arrow = storage_form.arrow_type(column)
    if column.role is Role.TIME:
        return pa.array(us_of_ns(points.times)).cast(arrow)
    if column.name not in values:
        return pa.nulls(len(points), arrow)
    stored = storage_form.to_stored(values[column.name], column)
    return stored if storage_form.is_identity(column) else storage_form.from_stored(stored, column)


def of_insert(
    tree: exp.Expr, series: Series, prepare: Callable[[exp.Expr], tuple[Select, Prepared]]
) -> Returned | Evaluated:
    """``prepare`` makes a query of the statement of a tree. Raises whatever binding the expressions raises."""
    clause = tree.args.get("returning")
    if clause is None:
        return Returned(series)
    name = name_of_target(tree, series)
    items = _columns(clause.expressions, series, name)
    if items is not None:
        return Returned(series, tuple(items))
    # With the time beside them aggregates are refused, as they must be.
    listed = [trees.aliased(trees.column(TIME_NS, name), "k"), *(item.copy() for item in clause.expressions)]
    query = trees.select(listed, given.table(series, name))
    if (with_ := tree.args.get("with_")) is not None:
        query.set("with_", with_.copy())
    rows, prepared = prepare(query)
    return Evaluated(rows, prepared.parameters, prepared.columns[1:])


def name_of_target(tree: exp.Expr, series: Series) -> str:
    """By which an INSERT's expressions know its target."""
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    return trees.alias_of(target) or series.name


def _columns(expressions: list[exp.Expr], series: Series, name: str) -> list[tuple[str, Column]] | None:
    """RETURNING's items if all are the target's columns."""
    items: list[tuple[str, Column]] = []
    for item in expressions:
        value = item.this if isinstance(item, exp.Alias) else item
        table = value.args.get("table") if isinstance(value, exp.Column) else None
        if table is not None and trees.name_of(table) != name:
            return None
        if isinstance(value, exp.Star) or (isinstance(value, exp.Column) and isinstance(value.this, exp.Star)):
            items += [(c.name, c) for c in series.columns]
            continue
        column = _find(series, trees.name_of(value)) if isinstance(value, exp.Column) else None
        if column is None:
            return None
        items.append((trees.name_of(item.args["alias"]) if isinstance(item, exp.Alias) else column.name, column))
    return items


def _find(series: Series, name: str) -> Column | None:
    if name == TIME_NS:
        return Column(0, TIME_NS, Role.FIELD, INT8)
    return series.by_name.get(name)
