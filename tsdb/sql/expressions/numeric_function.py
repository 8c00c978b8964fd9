"""A function of numerics by their texts."""

from __future__ import annotations

from dataclasses import replace

from tsdb.sql.expressions.expression import Expr, combine
from tsdb.types import NUMERIC

# The digits after the point with which such a result is computed further.
SCALE = 16


def numeric_function(name: str, value: str, other: str, args: tuple[Expr, ...]) -> Expr:
    """A function of numerics by their texts; ``name`` is one of ``computed.numeric_text.function``."""
    text = f"py_numeric_function('{name}', {value}, {other})"
    made = combine(f"CAST({text} AS DECIMAL(38,{SCALE}))", NUMERIC, "call", args, digits=(38, SCALE))
    return replace(made, shown=text)
