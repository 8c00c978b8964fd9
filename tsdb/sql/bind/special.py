"""Functions whose type or text needs more than a line: NULL rules, digits, patterns, the system's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from tsdb.errors import AmbiguousFunction, UndefinedFunction
from tsdb.sql import literal
from tsdb.sql.bind import operators as bind_operators
from tsdb.sql.bind.binder import Binder, binds
from tsdb.sql.bind.calls import plain_call, special
from tsdb.sql.bind.scalars import now
from tsdb.sql.expressions import blanks, casts, shown
from tsdb.sql.expressions.coercion import category, coerce, constant, numeric_digits_of, unify
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.once import once
from tsdb.sql.expressions.relation import Scope
from tsdb.sql.expressions.rows import row_of
from tsdb.types import BOOL, BY_NAME, DATE, INT4, NUMERIC, TEXT, TIMESTAMP, TIMESTAMPTZ, array_of

VERSION_NUMBER = "150018"
VERSION = "PostgreSQL 15.18 (tsdb)"


def _bound(binder: Binder, arguments: Sequence[exp.Expr], scope: Scope) -> list[Expr]:
    return [binder.bind(a, scope) for a in arguments]


def _require(name: str, args: Sequence[object], *counts: int) -> None:
    if len(args) not in counts:
        raise UndefinedFunction(
            f"function {name} with {len(args)} arguments does not exist",
            hint="No function matches the given name and argument types. You might need to add explicit type casts.",
        )


@special("coalesce")
def coalesce(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    given = _bound(binder, arguments, scope)
    target, args = unify(given, "COALESCE", binder.context)
    sql = f"coalesce({', '.join(a.sql for a in args)})"
    made = combine(sql, target, "coalesce", tuple(args), digits=args[0].digits)
    return shown.alternatives(made, given, f"coalesce({', '.join(['{}'] * len(args))})")


@special("greatest")
def greatest(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return _extreme(binder, "greatest", arguments, scope)


@special("least")
def least(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return _extreme(binder, "least", arguments, scope)


def _extreme(binder: Binder, name: str, arguments: list[exp.Expr], scope: Scope) -> Expr:
    # NULLs are ignored, in DuckDB as in PostgreSQL.
    given = _bound(binder, arguments, scope)
    target, args = unify(given, name.upper(), binder.context)
    sql = f"{name}({', '.join(a.sql for a in args)})"
    made = combine(sql, target, "call", tuple(args), digits=args[0].digits)
    tests = " ".join(f"WHEN {sql} = {a.sql} THEN {{}}" for a in args)
    return shown.alternatives(made, given, f"CASE {tests} END")


@special("row")
def row(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return row_of(_bound(binder, arguments, scope))


@special("nullif")
def nullif(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    _require("nullif", arguments, 2)
    value, right = _bound(binder, arguments, scope)
    return once(value, (right,), lambda left: _nullif(binder, left, right))


def _nullif(binder: Binder, left: Expr, right: Expr) -> Expr:
    test = bind_operators.compare(binder, "=", left, right)
    left = coerce(left, TEXT, binder.context) if left.unknown else left
    sql = f"CASE WHEN {test.sql} THEN NULL ELSE {left.sql} END"
    made = combine(sql, left.type, "call", (test, left), digits=left.digits, typmod=left.typmod)
    if left.shown is None:
        return made
    return replace(made, shown=f"CASE WHEN {test.sql} THEN NULL ELSE {left.shown} END")


@special("round")
def rounded(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return _rounded(binder, "round", arguments, scope)


def _rounded(binder: Binder, name: str, arguments: list[exp.Expr], scope: Scope) -> Expr:
    args = _bound(binder, arguments, scope)
    if len(args) != 2:
        return plain_call(binder, name, args)
    if args[0].type.typname in ("float4", "float8"):
        raise UndefinedFunction(
            f"function {name}(double precision, integer) does not exist",
            hint="No function matches the given name and argument types. You might need to add explicit type casts.",
        )
    value, count = coerce(args[0], NUMERIC, binder.context), coerce(args[1], INT4, binder.context)
    digits = numeric_digits_of(value)
    if count.op == "literal" and isinstance(count.value, int):
        scale = max(0, min(count.value, 30))
        inner = f"{name}({value.sql}, {count.value})" if count.value < digits[1] else value.sql
        made = (min(38, digits[0] - digits[1] + 1 + scale), scale)
        return combine(f"CAST({inner} AS DECIMAL(38,{scale}))", NUMERIC, "call", (value, count), digits=(38, made[1]))
    factor = f"CAST(pow(10::DOUBLE, {count.sql}) AS DECIMAL(19,0))"
    sql = f"CAST({name}({value.sql} * {factor}) / {factor} AS DECIMAL(38,{digits[1]}))"
    return combine(sql, NUMERIC, "call", (value, count), digits=(38, digits[1]))


@special("trunc")
def truncated(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return _rounded(binder, "trunc", arguments, scope)


@special("now", "transaction_timestamp", "statement_timestamp")
def now_(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    _require("now", arguments, 0)
    return now("now")


@special("concat")
def concat(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    if not arguments:
        raise UndefinedFunction("function concat() does not exist")
    args = _texts(binder, _bound(binder, arguments, scope))
    parts = ", ".join(f"coalesce({a.sql}, '')" for a in args)
    return combine(f"concat({parts})", TEXT, "call", tuple(args))


@special("concat_ws")
def concat_ws(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    if len(arguments) < 2:
        raise UndefinedFunction("function concat_ws needs a separator and a value")
    args = _texts(binder, _bound(binder, arguments, scope))
    return combine(f"concat_ws({', '.join(a.sql for a in args)})", TEXT, "call", tuple(args))


def _texts(binder: Binder, args: Sequence[Expr]) -> list[Expr]:
    """Output forms; concat writes booleans as t and f, and the blanks of a character(n)."""
    return [_as_text(binder, blanks.kept(a)) for a in args]


def _as_text(binder: Binder, value: Expr) -> Expr:
    if value.type != BOOL:
        return coerce(value, TEXT, binder.context)
    return combine(f"CASE WHEN {value.sql} THEN 't' WHEN NOT {value.sql} THEN 'f' END", TEXT, "call", (value,))


@special("format")
def format_(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    args = _bound(binder, arguments, scope)
    if not args:
        raise UndefinedFunction("function format() does not exist")
    texts = ", ".join(a.sql for a in _texts(binder, args[1:]))
    listed = f"[{texts}]" if texts else "CAST([] AS VARCHAR[])"
    pattern = coerce(args[0], TEXT, binder.context)
    return combine(f"py_format({pattern.sql}, {listed})", TEXT, "call", tuple(args))


@special("to_char")
def to_char_(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    _require("to_char", arguments, 2)
    value, pattern = _bound(binder, arguments, scope)
    pattern = coerce(pattern, TEXT, binder.context)
    kind = value.type.typname
    if value.unknown:
        raise AmbiguousFunction("function to_char(unknown, unknown) is not unique", hint="Could not choose a best "
                                "candidate function. You might need to add explicit type casts.")  # fmt: skip
    template = pattern.sql
    if kind in ("timestamptz", "timestamp", "date"):
        zone = literal.quote(binder.context.time_zone) if kind == "timestamptz" else "''"
        if kind == "date":
            value = coerce(value, TIMESTAMP, binder.context)
        sql = f"py_to_char_timestamp(epoch_us({value.sql}), {template}, {zone})"
    elif kind in ("interval", "time"):
        value = coerce(value, BY_NAME["interval"], binder.context)
        months = f"CAST(date_part('year', {value.sql}) * 12 + date_part('month', {value.sql}) AS BIGINT)"
        days, us = f"CAST(date_part('day', {value.sql}) AS BIGINT)", f"pg_interval_us({value.sql})"
        sql = f"py_to_char_interval({months}, {days}, {us}, {template})"
    elif category(value.type) == "N":
        text = casts.to_text(value.sql, value.type)
        sql = f"py_to_char_number({text}, {template}, {'true' if kind in ('float4', 'float8') else 'false'})"
    else:
        raise UndefinedFunction(f"function to_char({value.type.name}, text) does not exist")
    return combine(sql, TEXT, "call", (value, pattern))


@special("to_timestamp")
def to_timestamp(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    args = _bound(binder, arguments, scope)
    if len(args) != 2:
        return plain_call(binder, "to_timestamp", args)
    text, pattern = (coerce(a, TEXT, binder.context) for a in args)
    zone = literal.quote(binder.context.time_zone)
    sql = f"make_timestamptz(py_to_timestamp({text.sql}, {pattern.sql}, {zone}))"
    return combine(sql, TIMESTAMPTZ, "call", (text, pattern))


@special("to_date")
def to_date(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    _require("to_date", arguments, 2)
    text, pattern = (coerce(a, TEXT, binder.context) for a in _bound(binder, arguments, scope))
    sql = f"CAST(DATE '1970-01-01' + CAST(py_to_date({text.sql}, {pattern.sql}) AS INTEGER) AS DATE)"
    return combine(sql, DATE, "call", (text, pattern))


@special("quote_literal")
def quote_literal(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    _require("quote_literal", arguments, 1)
    (text,) = (_as_text(binder, a) for a in _bound(binder, arguments, scope))
    return combine(f"pg_quote_literal({text.sql})", TEXT, "call", (text,))


@special("quote_nullable")
def quote_nullable(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    _require("quote_nullable", arguments, 1)
    (text,) = (_as_text(binder, a) for a in _bound(binder, arguments, scope))
    return combine(f"coalesce(pg_quote_literal({text.sql}), 'NULL')", TEXT, "call", (text,))


@special("array_to_string")
def array_to_string(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    _require("array_to_string", arguments, 2, 3)
    args = _bound(binder, arguments, scope)
    items = coerce(args[0], array_of(TEXT), binder.context) if args[0].unknown else args[0]
    if items.type.element is None:
        raise UndefinedFunction(f"function array_to_string({items.type.name}, text) does not exist")
    item = casts.to_text("pg_item", items.type.element)
    separator = coerce(args[1], TEXT, binder.context)
    if len(args) == 3:
        item = f"coalesce({item}, {coerce(args[2], TEXT, binder.context).sql})"
    # What is not a mere column stands once: DuckDB plans a subquery as often as it is written.
    once = items.op not in ("column", "literal")
    name = "pg_array" if once else items.sql
    listed = f"list_filter(list_transform({name}, lambda pg_item: {item}), lambda pg_item: pg_item IS NOT NULL)"
    sql = f"CASE WHEN {name} IS NOT NULL THEN coalesce(array_to_string({listed}, {separator.sql}), '') END"
    if once:
        sql = f"list_extract(list_transform([{items.sql}], lambda pg_array: {sql}), 1)"
    return combine(sql, TEXT, "call", tuple(args))


@special("array")
def array_of_query(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    query = binder.bind_query(binder, arguments[0], scope)
    if len(query.outputs) != 1:
        raise UndefinedFunction("subquery must return only one column")
    output = query.outputs[0]
    sql = f"(ARRAY({query.sql}))"
    return Expr(sql, array_of(output.type), "subquery", (), query, digits=output.digits, name="array")


@special("num_nonnulls")
def num_nonnulls(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return _counted(binder, arguments, scope, "IS NOT NULL")


@special("num_nulls")
def num_nulls(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return _counted(binder, arguments, scope, "IS NULL")


def _counted(binder: Binder, arguments: list[exp.Expr], scope: Scope, test: str) -> Expr:
    args = _bound(binder, arguments, scope)
    if not args:
        raise UndefinedFunction("function num_nulls() does not exist")
    parts = " + ".join(f"CAST({a.sql} {test} AS INTEGER)" for a in args)
    return combine(f"({parts})", INT4, "call", tuple(args))


@binds(exp.Substring)
def substring(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    args = [binder.bind(node.args[k], scope) for k in ("this", "start", "length") if node.args.get(k) is not None]
    return plain_call(binder, "substring", args)


@binds(exp.StrPosition)
def position(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    args = [binder.bind(node.args["substr"], scope), binder.bind(node.this, scope)]
    return plain_call(binder, "position", args)


@binds(exp.Trim)
def trim(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or "").upper(), "btrim")
    args = [binder.bind(node.this, scope)]
    if node.args.get("expression") is not None:
        args.append(binder.bind(node.args["expression"], scope))
    return plain_call(binder, name, args)


@binds(exp.Overlay)
def overlay(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    keys = ("this", "expression", "from_", "for_")
    return plain_call(binder, "overlay", [binder.bind(node.args[k], scope) for k in keys if node.args.get(k)])


def constant_text(value: str, name: str = "?column?") -> Expr:
    return replace(constant(TEXT, value), name=name)
