"""Columns that depend on what is grouped: beside a table's whole primary key, its other columns may stand alone.

    SELECT h.name, count(*) FROM hosts h JOIN cpu USING (host) GROUP BY h.host

They are grouped by as well, which changes no group. Source: PostgreSQL 15 manual, SELECT, GROUP BY clause.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from tsdb.model.schema import Series
from tsdb.sql.expressions.expression import ColumnReference, Expr
from tsdb.sql.expressions.relation import Relation


def is_plain(group: exp.Expr | None) -> bool:
    """Whether GROUP BY has no sets: ROLLUP and its like leave columns out of some rows."""
    if group is None or any(group.args.get(key) for key in ("rollup", "cube", "grouping_sets")):
        return False
    sets = (exp.Rollup, exp.Cube, exp.GroupingSets)
    return not any(isinstance(item, sets) or not isinstance(item, exp.Expr) for item in group.expressions)


def depends(relation: Relation, groups: Sequence[Expr]) -> bool:
    """Whether a relation's primary key is among the expressions of GROUP BY."""
    series = relation.source.series if relation.source is not None else None
    key = _key(series) if series is not None else frozenset()
    grouped = set()
    for each in groups:
        if isinstance(each.value, ColumnReference) and each.value.relation is relation:
            column = relation.columns[each.value.index].series_column
            if column is not None:
                grouped.add(column.number)
    return bool(key) and key <= grouped


def _key(series: Series) -> frozenset[int]:
    later = next((c.columns for c in series.constraints if c.kind == "p"), ())
    return frozenset(series.key or later)
