"""What a numeric shows: its text with PostgreSQL's scale, beside the DECIMAL that statements compute with.

An expression's ``shown`` is DuckDB's text of a VARCHAR; without one the DECIMAL's own text is right, because its scale
is fixed (a literal, a column with a type modifier, sums of them). It is evaluated where a result or a cast to text
needs it, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tsdb.sql.expressions.expression import Expr


def is_numeric(expr: Expr) -> bool:
    return expr.type.typname == "numeric"


def text_of(expr: Expr) -> str:
    """DuckDB's text of what a number shows."""
    if expr.shown is not None:
        return expr.shown
    if expr.unknown or expr.sql.startswith("CAST(NULL"):
        return "CAST(NULL AS VARCHAR)"
    return f"CAST({expr.sql} AS VARCHAR)"


def operation(symbol: str, made: Expr, left: Expr, right: Expr) -> Expr:
    """``made``, the result of an operator on two numerics."""
    if symbol != "/" and left.shown is None and right.shown is None:
        return made
    return replace(made, shown=f"py_numeric_operation('{symbol}', {text_of(left)}, {text_of(right)})")


def alternatives(made: Expr, branches: Sequence[Expr], template: str) -> Expr:
    """``made`` is one of ``branches``: it shows what that one shows. ``template`` takes the branches' texts."""
    if not is_numeric(made):
        return made
    scales = {b.digits[1] if b.digits is not None else 0 for b in branches if not b.unknown}
    if len(scales) < 2 and all(b.shown is None for b in branches):
        return made
    return replace(made, shown=template.format(*(text_of(b) for b in branches)))


def of_function(name: str, made: Expr, args: Sequence[Expr]) -> Expr:
    """``made``, a function or prefix operator that keeps its numerics' digits: abs, −, mod."""
    if all(a.shown is None for a in args):
        return made
    if name in ("abs", "@"):
        return replace(made, shown=f"ltrim({text_of(args[0])}, '-')")
    if name == "-" and len(args) == 1:
        return replace(made, shown=f"py_numeric_operation('-', '0', {text_of(args[0])})")
    if name == "mod":
        return operation("%", made, args[0], args[1])
    return made
