"""LIMIT, OFFSET and FETCH FIRST."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from tsdb.errors import (
    FeatureNotSupported,
    InvalidColumnReference,
    InvalidRowCountInLimitClause,
    InvalidRowCountInOffsetClause,
)
from tsdb.sql import literal
from tsdb.sql.bind.binder import Binder
from tsdb.sql.expressions.coercion import coerce
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.expressions.relation import Scope
from tsdb.types import INT8

# DuckDB refuses more.
_MOST = 2**62


@dataclass(frozen=True, slots=True)
class Limit:
    """DuckDB's text of LIMIT and OFFSET, and their numbers; None: all rows, from the first."""

    text: str = ""
    limit: Expr | None = None
    offset: Expr | None = None


def limit_text(binder: Binder, node: exp.Expr, scope: Scope | None) -> str:
    """LIMIT and OFFSET, also FETCH FIRST n ROWS."""
    return bind_limit(binder, node, scope).text


def bind_limit(binder: Binder, node: exp.Expr, scope: Scope | None) -> Limit:
    """LIMIT and OFFSET, also FETCH FIRST n ROWS."""
    limit, offset = node.args.get("limit"), node.args.get("offset")
    text, rows, skipped = "", None, None
    if limit is not None:
        if isinstance(limit, exp.Fetch):
            options = limit.args.get("limit_options")
            if options is not None and (options.args.get("with_ties") or options.args.get("percent")):
                raise FeatureNotSupported("FETCH FIRST with PERCENT or WITH TIES is not supported")
            count = limit.args.get("count") or exp.Literal.number(1)
        else:
            count = limit.expression
        if not (isinstance(count, exp.Null) or (isinstance(count, exp.Var) and count.name.upper() == "ALL")):
            rows = _count(binder, count, scope, "LIMIT")
            text += f" LIMIT {_checked(rows, 'LIMIT')}"
    if offset is not None:
        skipped = _count(binder, offset.expression, scope, "OFFSET")
        text += f" OFFSET {_checked(skipped, 'OFFSET')}"
    return Limit(text, rows, skipped)


def _count(binder: Binder, node: exp.Expr, scope: Scope | None, word: str) -> Expr:
    value = coerce(binder.bind(node, Scope(scope)), INT8, binder.context)
    if any(e.op == "column" for e in value.walk()):
        raise InvalidColumnReference(f"argument of {word} must not contain variables")
    return value


def _checked(value: Expr, word: str) -> str:
    """DuckDB's text of a number that must not be negative."""
    refused = InvalidRowCountInLimitClause if word == "LIMIT" else InvalidRowCountInOffsetClause
    if isinstance(value.value, int) and value.op == "literal":
        if value.value < 0:
            raise refused(f"{word} must not be negative")
        return literal.render(INT8, min(value.value, _MOST))
    code = refused.sqlstate
    absent = str(_MOST) if word == "LIMIT" else "0"
    checked = f"WHEN {value.sql} < 0 THEN pg_raise('{code}:{word} must not be negative')"
    bounded = f"WHEN {value.sql} > {_MOST} THEN {_MOST} ELSE {value.sql}"
    return f"(SELECT coalesce(CASE {checked} {bounded} END, {absent}))"
