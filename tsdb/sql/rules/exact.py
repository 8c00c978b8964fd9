"""Conditions that a scan decides exactly, by its time range and tag tests: nothing has to look at its rows again."""

from __future__ import annotations

from tsdb.sql.expressions.expression import Expr
from tsdb.sql.plan import both_sides, column_of, is_constant
from tsdb.sql.rules.prune_by_tags import only_tag
from tsdb.sql.rules.prune_by_time import clock

_TEXTS = ("text", "varchar")
_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")


def is_exact(expr: Expr) -> bool:
    """Whether the scan's time range and tag tests say all that a condition says."""
    if is_of_time(expr):
        return True
    # A conjunct that speaks of two tags makes no test of either, nor a range if it speaks of the time as well.
    return only_tag(expr) is not None and _exact_tag(expr)


def is_of_time(expr: Expr) -> bool:
    """Whether the scan's time range says all that a condition says."""
    if expr.op == "and":
        return all(is_of_time(arg) for arg in expr.args)
    return expr.op in ("<", "<=", ">", ">=", "=") and any(
        clock(side) is not None and is_constant(other) for side, _, other in both_sides(expr)
    )


def _exact_tag(expr: Expr) -> bool:
    if expr.op in ("and", "or", "not"):
        return all(_exact_tag(arg) for arg in expr.args)
    if expr.op in ("is null", "is not null"):
        return column_of(expr.args[0]) is not None
    if expr.op in ("= any", "<> all"):
        return is_text_column(expr.args[0]) and is_constant(expr.args[1])
    sides = both_sides(expr) if expr.op in _COMPARISONS else ()
    return any(is_text_column(side) and is_constant(other) for side, _, other in sides)


def is_text_column(expr: Expr) -> bool:
    return column_of(expr) is not None and expr.type.typname in _TEXTS
