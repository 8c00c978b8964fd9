"""A regular expression in DuckDB's text."""

from __future__ import annotations

from tsdb.sql import literal, patterns
from tsdb.sql.expressions.expression import Expr


def pattern_text(pattern: Expr, flags: str = "") -> str:
    """DuckDB's text of a pattern for RE2: a constant is translated here, others when the query runs."""
    if pattern.op == "literal" and isinstance(pattern.value, str):
        return literal.quote(patterns.to_re2(pattern.value, flags))
    return f"py_regex({pattern.sql}, {literal.quote(flags)})"
