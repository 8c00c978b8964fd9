"""Aggregates in two steps, as TimescaleDB's toolkit writes them: an accessor around a summary, rate(counter_agg(t, v)).

A summary is not kept: the accessor and the summary right inside it are one aggregate (``functions.timeseries``).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, UndefinedFunction
from tsdb.sql.bind.binder import fold
from tsdb.sql.expressions.functions import timeseries

_AROUND = (exp.Window, exp.Filter)


def in_one_step(accessor: str, arguments: Sequence[exp.Expr]) -> exp.Expr | None:
    """The one aggregate that an accessor's call means; None when no summary is right inside it."""
    at = next((i for i, a in enumerate(arguments) if _summary(accessor, a) is not None), None)
    if at is None:
        return None
    call = _summary(accessor, arguments[at])
    assert call is not None
    rest = [a for i, a in enumerate(arguments) if i != at]
    summary = _name(call)
    aggregate, places = timeseries.ACCESSORS[accessor, summary]
    given = list(call.expressions)
    if len(given) <= max(places):
        raise UndefinedFunction(
            f"function {summary} with {len(given)} arguments does not exist",
            hint=f"{summary} needs {max(places) + 1} arguments.",
        )
    made = exp.Anonymous(this=aggregate, expressions=[given[place] for place in places] + rest)
    return _replaced(arguments[at], made)


def _summary(accessor: str, node: exp.Expr) -> exp.Anonymous | None:
    while isinstance(node, _AROUND):
        node = node.this
    found = isinstance(node, exp.Anonymous) and (accessor, _name(node)) in timeseries.ACCESSORS
    return node if found and isinstance(node, exp.Anonymous) else None


def _name(node: exp.Anonymous) -> str:
    return fold(node.this) if isinstance(node.this, exp.Identifier) else str(node.this).lower()


def _replaced(node: exp.Expr, call: exp.Anonymous) -> exp.Expr:
    """FILTER and OVER of the summary around the aggregate."""
    if not isinstance(node, _AROUND):
        return call
    made = node.copy()
    made.set("this", _replaced(node.this, call))
    return made


def refuse(name: str) -> FeatureNotSupported:
    """The error for a summary without an accessor."""
    accessor = next(a for a, summary in timeseries.ACCESSORS if summary == name)
    return FeatureNotSupported(
        f"{name} makes a summary, which is not a value here",
        hint=f"Ask it in the same expression: {accessor}({name}(…)).",
    )
