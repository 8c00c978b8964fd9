"""character(n): a value has its n characters, the last ones blank, and what compares or converts it forgets those
blanks. Patterns, octet_length(), concat(), format() and JSON see them, as in PostgreSQL 15 (bpchar.c, pg_cast.dat:
the cast to text is rtrim1).
"""

from __future__ import annotations

from dataclasses import replace

from tsdb.sql import literal
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.types import BPCHAR, TEXT, SqlType

_EQUALITIES = ("=", "<>", "IS DISTINCT FROM", "IS NOT DISTINCT FROM")
_VARHDRSZ = 4


def kept(expr: Expr) -> Expr:
    """A character(n) or an inet as the text of its output: for patterns, concat() and its like."""
    return replace(expr, type=TEXT) if expr.type.typname in ("bpchar", "inet", "cidr") else expr


def forgotten(expr: Expr, target: SqlType = BPCHAR) -> Expr:
    """A character(n), or each of an array, without its blanks."""
    if expr.type.element is not None:
        return _in_list(expr)
    if expr.op == "literal" and isinstance(expr.value, str):
        value = expr.value.rstrip(" ")
        return replace(expr, sql=literal.quote(value), value=value, type=target, typmod=-1)
    return combine(f"rtrim({expr.sql}, ' ')", target, "cast", (expr,), name=expr.name, position=expr.position)


def _in_list(expr: Expr) -> Expr:
    return combine(f"list_transform({expr.sql}, lambda pg_item: rtrim(pg_item, ' '))", expr.type, "cast", (expr,))


def padded(expr: Expr, typmod: int) -> Expr:
    """At least as long as the modifier says."""
    sql = f"pg_rpad({expr.sql}, CAST(greatest(length({expr.sql}), {typmod - _VARHDRSZ}) AS INTEGER), ' ')"
    return combine(sql, BPCHAR, "cast", (expr,), typmod=typmod, name=expr.name, position=expr.position)


def compared(symbol: str, left: Expr, right: Expr) -> tuple[Expr, Expr]:
    """Both sides of a comparison so that DuckDB's is PostgreSQL's. A column beside a constant of its length, or another
    of its length, stays as it is: the rules prune by it."""
    if symbol in _EQUALITIES and left.type.element is None:
        if left.typmod == right.typmod >= 0:
            return left, right
        if left.typmod >= 0 and _is_text_constant(right):
            return left, _of_length(right, left.typmod)
        if right.typmod >= 0 and _is_text_constant(left):
            return _of_length(left, right.typmod), right
    return forgotten(left), forgotten(right)


def _is_text_constant(expr: Expr) -> bool:
    return expr.op == "literal" and isinstance(expr.value, str)


def _of_length(expr: Expr, typmod: int) -> Expr:
    value = str(expr.value).rstrip(" ").ljust(typmod - _VARHDRSZ)
    return replace(expr, sql=literal.quote(value), value=value, typmod=typmod)
