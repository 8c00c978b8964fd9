"""A comparison of a column with something else, seen through the casts by which both get one type.

Those of an integer to a wider integer, a numeric or a float8, and of a numeric to one with no fewer digits after the
point, leave to a comparison what it says: ``usage > 90.5`` is about the integer, whatever type compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tsdb.sql.expressions.expression import Expr
from tsdb.sql.plan import both_sides, column_of

_INTEGERS = ("int2", "int4", "int8")
_WIDER = ("int4", "int8", "numeric", "float8")


def sides(expr: Expr) -> Sequence[tuple[Expr, str, Expr]]:
    """As ``both_sides``: (column, operator, other side)."""
    if len(expr.args) != 2:
        return ()
    return both_sides(replace(expr, args=tuple(map(_bare, expr.args))))


def _bare(side: Expr) -> Expr:
    if side.op != "cast" or len(side.args) != 1:
        return side
    inner = side.args[0]
    if inner.type.typname in _INTEGERS and side.type.typname in _WIDER and column_of(inner) is not None:
        narrower = inner.type.typname != "int2" and side.type.typname == "int4"
        return side if narrower else inner
    numeric = inner.type.typname == side.type.typname == "numeric" and inner.op in ("literal", "parameter")
    if numeric and inner.digits is not None and side.digits is not None and side.digits[1] >= inner.digits[1]:
        return inner
    return side
