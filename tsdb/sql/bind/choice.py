"""What of a SELECT decides which of its rows it gives (``expressions.choice``)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from tsdb.sql.bind.distinct import OrderItem
from tsdb.sql.bind.limit import Limit
from tsdb.sql.expressions.choice import Choice, SortKey
from tsdb.sql.expressions.expression import Expr


def choice_of(
    node: exp.Select,
    targets: Sequence[Expr],
    groups: Sequence[Expr] | None,
    having: Expr | None,
    on: Sequence[Expr] | None,
    order: Sequence[OrderItem],
    limit: Limit,
    sql: str,
) -> Choice | None:
    """None when windows look at the rows, or functions make rows of them. ``groups`` None: nothing is grouped."""
    keys = tuple(SortKey(i.expr, i.target, i.descending, i.nulls_first) for i in order)
    every = (*targets, *(key.expr for key in keys), *(on or ()), *(() if having is None else (having,)))
    if any(each.window or any(inner.op == "set" for inner in each.walk()) for each in every):
        return None
    return Choice(
        tuple(targets),
        None if on is None else tuple(on),
        node.args.get("distinct") is not None,
        tuple(groups or ()),
        groups is not None,
        _is_plain(node.args.get("group")),
        having,
        keys,
        limit.limit,
        limit.offset,
        sql,
    )


def _is_plain(group: exp.Expr | None) -> bool:
    """Whether GROUP BY has no grouping sets."""
    if group is None:
        return True
    sets = (exp.Tuple, exp.Rollup, exp.Cube, exp.GroupingSets)
    return not any(group.args.get(key) for key in ("rollup", "cube", "grouping_sets")) and not any(
        isinstance(each, sets) for each in group.expressions
    )
