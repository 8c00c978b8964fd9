"""Ranges' constructors, and lower() and upper(), which are functions of texts as well."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from tsdb.sql import literal
from tsdb.sql.bind.binder import Binder
from tsdb.sql.bind.calls import plain_call, special
from tsdb.sql.expressions import shown
from tsdb.sql.expressions.coercion import TEXT_TO_NUMERIC, coerce, implicit
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.functions.text_types import SUBTYPES, bound_text
from tsdb.sql.expressions.relation import Scope
from tsdb.types import BY_NAME, NUMERIC, TEXT


def _constructor(kind: str) -> None:
    element = BY_NAME[SUBTYPES[kind]]

    @special(kind)
    def construct(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
        """kind(low, high [, bounds])"""
        args = [binder.bind(a, scope) for a in arguments]
        if len(args) not in (2, 3) or not all(implicit(a.type, element) for a in args[:2]):
            raise ValueError("no such constructor")
        bounds = [coerce(a, element, binder.context) for a in args[:2]]
        texts = [shown.text_of(b) if element == NUMERIC else bound_text(kind, b.sql) for b in bounds]
        closed = coerce(args[2], TEXT, binder.context).sql if len(args) == 3 else "'[)'"
        sql = f"py_range('{kind}', {texts[0]}, {texts[1]}, {closed})"
        return combine(sql, BY_NAME[kind], "call", tuple(args))


for _kind in SUBTYPES:
    _constructor(_kind)


@special("lower")
def lower(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return _bound(binder, "lower", "low", arguments, scope)


@special("upper")
def upper(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return _bound(binder, "upper", "high", arguments, scope)


def _bound(binder: Binder, name: str, side: str, arguments: list[exp.Expr], scope: Scope) -> Expr:
    args = [binder.bind(a, scope) for a in arguments]
    if len(args) != 1 or args[0].type.typname not in SUBTYPES:
        return plain_call(binder, name, args)
    kind = args[0].type.typname
    element = BY_NAME[SUBTYPES[kind]]
    text = f"py_range_bound('{kind}', '{side}', {args[0].sql})"
    digits = TEXT_TO_NUMERIC if element == NUMERIC else None
    made = combine(f"CAST({text} AS {literal.duckdb_type(element, digits)})", element, "call", tuple(args))
    return replace(made, digits=digits, shown=text) if element == NUMERIC else made
