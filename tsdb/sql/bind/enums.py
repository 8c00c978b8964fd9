"""Functions of enumerated types: their first and last label, and the labels between two. PostgreSQL 15 manual, 9.10."""

from __future__ import annotations

from sqlglot import exp

from tsdb.errors import UndefinedFunction
from tsdb.sql import literal
from tsdb.sql.bind.binder import Binder
from tsdb.sql.bind.calls import special
from tsdb.sql.expressions.coercion import coerce, constant
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.relation import Scope
from tsdb.types import SqlType, array_of


def _enum_arguments(
    binder: Binder, name: str, arguments: list[exp.Expr], scope: Scope, *counts: int
) -> tuple[SqlType, list[Expr]]:
    """The type that the arguments have, which may all be NULL of it, and the arguments."""
    args = [binder.bind(a, scope) for a in arguments]
    found = next((a.type for a in args if a.type.labels is not None), None)
    if found is None or len(args) not in counts:
        given = ", ".join(a.type.name for a in args)
        raise UndefinedFunction(
            f"function {name}({given}) does not exist",
            hint="No function matches the given name and argument types. You might need to add explicit type casts.",
        )
    return found, [coerce(a, found, binder.context) for a in args]


@special("enum_first")
def enum_first(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    found, _ = _enum_arguments(binder, "enum_first", arguments, scope, 1)
    return constant(found, (found.labels or (None,))[0])


@special("enum_last")
def enum_last(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    found, _ = _enum_arguments(binder, "enum_last", arguments, scope, 1)
    return constant(found, (found.labels or (None,))[-1])


@special("enum_range")
def enum_range(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    """All labels; of two arguments those from the one to the other, NULL for no bound."""
    found, args = _enum_arguments(binder, "enum_range", arguments, scope, 1, 2)
    every = literal.render(array_of(found), list(found.labels or ()))
    if len(args) == 1:
        return combine(every, array_of(found), "call", (), name="enum_range")
    low, high = args
    sql = (
        f"list_filter({every}, lambda pg_item: coalesce(pg_item >= {low.sql}, true)"
        f" AND coalesce(pg_item <= {high.sql}, true))"
    )
    return combine(sql, array_of(found), "call", (low, high), name="enum_range")
