"""The texts of CHECK's conditions: kept as they were written, read with the columns' names of today.

A condition names columns of its own table alone, so its text can be kept: where a column was renamed since, its name is
exchanged. Source: PostgreSQL 15 manual, 5.4.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from tsdb.errors import SqlSyntaxError
from tsdb.model.relations import Constraint
from tsdb.model.schema import Series
from tsdb.sql import dialect
from tsdb.sql.lexer import Token
from tsdb.sql.statement import Fragment

# AT TIME ZONE, timestamp WITH TIME ZONE.
_BEFORE_TIME = ("at", "with", "without")


def condition(text: str) -> exp.Expr:
    """The tree of a condition. Raises SqlSyntaxError where its text is not just one expression."""
    # The line's end is that of a comment behind the condition.
    items: list[exp.Expr] = dialect.parse(f"SELECT ({text}\n)").expressions
    made = items[0] if len(items) == 1 else None
    if isinstance(made, exp.Paren) and not isinstance(made.this, exp.Alias):
        made = made.this
    elif not isinstance(made, exp.Subquery):
        raise SqlSyntaxError("syntax error in a check constraint: it must be one condition")
    assert isinstance(made, exp.Expr)
    return made.copy()


def columns_in(tokens: Sequence[Token]) -> tuple[str, ...]:
    """The names in a condition that may be columns, in their order."""
    return tuple(dict.fromkeys(t.value for i, t in enumerate(tokens) if _may_be_column(tokens, i)))


def without_table(text: str, table: str) -> str:
    """A condition without the table's name before its columns: a table may be renamed."""
    tokens = Fragment(text).tokens
    pieces: list[str] = []
    at = 0
    for i, token in enumerate(tokens[:-1]):
        before = tokens[i - 1].value if i else ""
        if token.kind in ("word", "quoted") and token.value == table and tokens[i + 1].value == "." and before != ".":
            pieces.append(text[at : token.start])
            at = tokens[i + 1].end
    return "".join([*pieces, text[at:]]).strip()


def current(series: Series, check: Constraint) -> str:
    """The condition of a check with the names that its columns have now."""
    now = {
        then: series.by_number[number].name
        for then, number in zip(check.names, check.columns, strict=False)
        if number in series.by_number and series.by_number[number].name != then
    }
    if not now:
        return check.text
    tokens = Fragment(check.text).tokens
    pieces: list[str] = []
    at = 0
    for i, token in enumerate(tokens):
        if token.value in now and _may_be_column(tokens, i):
            doubled = now[token.value].replace('"', '""')
            pieces += [check.text[at : token.start], f'"{doubled}"']
            at = token.end
    return "".join([*pieces, check.text[at:]])


def _may_be_column(tokens: Sequence[Token], i: int) -> bool:
    """Not a function, nor a type, nor a word of the grammar: ``date '2020-01-01'``, EXTRACT's ``year FROM``, AT TIME
    ZONE."""
    token = tokens[i]
    if token.kind not in ("word", "quoted"):
        return False
    before = tokens[i - 1].value if i else ""
    after = tokens[i + 1] if i + 1 < len(tokens) else None
    if (after is not None and after.value in ("(", ".")) or before in ("::", "."):
        return False
    if token.kind == "quoted":
        return True
    behind = tokens[i - 2].value if i > 1 else ""
    if before == "as" or (after is not None and after.kind == "string"):
        return False
    if before == "(" and behind == "extract":
        return False
    zone = token.value == "zone" and before == "time" and behind in _BEFORE_TIME
    return not zone and not (token.value == "time" and before in _BEFORE_TIME)
