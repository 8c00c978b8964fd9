"""RETURNING of INSERT: the rows as they were inserted, by columns; other expressions are for SELECT.

UPDATE and DELETE evaluate RETURNING in their own query, with any expression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from tsdb.errors import FeatureNotSupported, UndefinedColumn
from tsdb.model.points import Points
from tsdb.model.schema import Column, Role, Series
from tsdb.model.store import TIME_NS
from tsdb.model.time import us_of_ns
from tsdb.sql import storage_form, trees
from tsdb.sql.result import ResultColumn
from tsdb.types import INT8


@dataclass(frozen=True)
class Returned:
    """``items`` are (name in the result, column); an empty list is no RETURNING."""

    items: tuple[tuple[str, Column], ...] = ()

    @property
    def columns(self) -> tuple[ResultColumn, ...]:
        return tuple(ResultColumn(name, column.type, column.typmod) for name, column in self.items)

    def inserted(self, values: Mapping[str, pa.Array], points: Points) -> pa.RecordBatch:
        """The result's batch for inserted points; ``values`` are what was given, by column name."""
        arrays = [_column_of(column, values, points) for _, column in self.items]
        return pa.RecordBatch.from_arrays(arrays, [name for name, _ in self.items])


def _column_of(column: Column, values: Mapping[str, pa.Array], points: Points) -> pa.Array:
    if column.name == TIME_NS:
        return pa.array(points.times)
    arrow = storage_form.arrow_type(column)
    if column.role is Role.TIME:
        return pa.array(us_of_ns(points.times)).cast(arrow)
    if column.name not in values:
        return pa.nulls(len(points), arrow)
    stored = storage_form.to_stored(values[column.name], column)
    return storage_form.from_stored(stored, column)


def of_insert(tree: exp.Expr, series: Series) -> Returned:
    clause = tree.args.get("returning")
    if clause is None:
        return Returned()
    items: list[tuple[str, Column]] = []
    for item in clause.expressions:
        value = item.this if isinstance(item, exp.Alias) else item
        if isinstance(value, exp.Star) or (isinstance(value, exp.Column) and isinstance(value.this, exp.Star)):
            items += [(c.name, c) for c in series.columns]
        elif isinstance(value, exp.Column):
            name = trees.name_of(value)
            column = _find(series, name)
            items.append((trees.name_of(item.args["alias"]) if isinstance(item, exp.Alias) else name, column))
        else:
            raise FeatureNotSupported("INSERT … RETURNING returns columns, not expressions")
    return Returned(tuple(items))


def _find(series: Series, name: str) -> Column:
    if name == TIME_NS:
        return Column(0, TIME_NS, Role.FIELD, INT8)
    if name not in series.by_name:
        raise UndefinedColumn(f'column "{name}" does not exist')
    return series.by_name[name]
