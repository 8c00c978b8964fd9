"""Set-returning functions: one row each for what a list holds, in FROM and in the select list.

A function here gives its columns, each DuckDB's ``unnest`` of a list; several columns are a row in the select list.

Source: PostgreSQL 15 manual, 7.2.1.4 (table functions), 9.25 (set-returning functions), 9.16 and 9.19.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlglot import exp

from tsdb.errors import UndefinedFunction
from tsdb.sql.bind import patterns as bind_patterns
from tsdb.sql.bind.binder import Binder, binds
from tsdb.sql.bind.calls import SETS, set_call
from tsdb.sql.expressions.coercion import coerce, common_digits
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.relation import Scope
from tsdb.types import (
    INT4,
    INT8,
    INTERVAL,
    JSON,
    JSONB,
    NUMERIC,
    TEXT,
    TIMESTAMP,
    TIMESTAMPTZ,
    SqlType,
    array_of,
)

Set = Callable[[Binder, list[Expr]], list[Expr]]


def returns_set(*names: str) -> Callable[[Set], Set]:
    def register(function: Set) -> Set:
        for name in names:
            SETS[name] = function
        return function

    return register


@binds(exp.Unnest)
def unnest_node(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    return set_call(binder, "unnest", [binder.bind(a, scope) for a in node.expressions])


def _missing(name: str, args: Sequence[Expr]) -> UndefinedFunction:
    given = ", ".join(a.type.name for a in args)
    return UndefinedFunction(
        f"function {name}({given}) does not exist",
        hint="No function matches the given name and argument types. You might need to add explicit type casts.",
    )


def _listed(
    listed: str, sql_type: SqlType, args: Sequence[Expr], name: str, digits: tuple[int, int] | None = None
) -> Expr:
    return combine(f"unnest({listed})", sql_type, "set", tuple(args), digits=digits, name=name)


@returns_set("unnest")
def unnest(binder: Binder, args: list[Expr]) -> list[Expr]:
    if not args:
        raise _missing("unnest", args)
    return [unnested(binder, a) for a in args]


def unnested(binder: Binder, array: Expr) -> Expr:
    if array.type.element is None:
        raise _missing("unnest", [array])
    return _listed(array.sql, array.type.element, [array], "unnest", array.digits)


@returns_set("generate_series")
def generate_series(binder: Binder, args: list[Expr]) -> list[Expr]:
    if len(args) not in (2, 3):
        raise _missing("generate_series", args)
    kinds = {a.type.typname for a in args[:2]}
    if kinds & {"timestamptz", "timestamp", "date"}:
        return [_times(binder, args, kinds)]
    known = {a.type.typname for a in args if not a.unknown}
    if "numeric" in known and known <= {"int2", "int4", "int8", "numeric"}:
        return [_numerics(binder, args)]
    if not known <= {"int2", "int4", "int8"} or not known:
        raise _missing("generate_series", args)
    integer = INT8 if "int8" in known else INT4
    bound = [coerce(a, INT8, binder.context) for a in args]
    texts = [b.sql for b in bound]
    if len(texts) == 3:
        texts[2] = f"pg_step({texts[2]})"
    sql = f"CAST(unnest(generate_series({', '.join(texts)})) AS {'INTEGER' if integer is INT4 else 'BIGINT'})"
    return [combine(sql, integer, "set", tuple(bound), name="generate_series")]


def _times(binder: Binder, args: list[Expr], kinds: set[str]) -> Expr:
    if len(args) != 3:
        raise _missing("generate_series", args)
    target = TIMESTAMP if kinds <= {"timestamp", "unknown"} else TIMESTAMPTZ
    bounds = [coerce(a, target, binder.context) for a in args[:2]]
    step = coerce(args[2], INTERVAL, binder.context)
    listed = f"generate_series({bounds[0].sql}, {bounds[1].sql}, pg_step_interval({step.sql}))"
    return _listed(listed, target, (*bounds, step), "generate_series")


def _numerics(binder: Binder, args: list[Expr]) -> Expr:
    digits = (38, common_digits(args)[1])
    low, high, *step = (coerce(a, NUMERIC, binder.context, digits) for a in args)
    width = step[0].sql if step else f"CAST(1 AS DECIMAL(38,{digits[1]}))"
    # In whole units of the last digit, so that a step is exact.
    unit = 10 ** digits[1]
    whole = [f"CAST({each} * {unit} AS BIGINT)" for each in (low.sql, high.sql, width)]
    series = f"generate_series({whole[0]}, {whole[1]}, pg_step({whole[2]}))"
    decimal = f"DECIMAL(38,{digits[1]})"
    listed = f"list_transform({series}, lambda pg_item: CAST(CAST(pg_item AS {decimal}) / {unit} AS {decimal}))"
    return _listed(listed, NUMERIC, (low, high, *step), "generate_series", digits)


@returns_set("generate_subscripts")
def generate_subscripts(binder: Binder, args: list[Expr]) -> list[Expr]:
    if len(args) not in (2, 3) or args[0].type.element is None:
        raise _missing("generate_subscripts", args)
    array, dimension = args[0], coerce(args[1], INT4, binder.context)
    first = 0 if args[0].type.vector else 1
    listed = f"CASE WHEN {dimension.sql} = 1 THEN generate_series({first}, len({array.sql}) - {1 - first}) END"
    if len(args) == 3:
        listed = f"CASE WHEN {args[2].sql} THEN list_reverse({listed}) ELSE {listed} END"
    sql = f"CAST(unnest({listed}) AS INTEGER)"
    return [combine(sql, INT4, "set", (array, dimension), name="generate_subscripts")]


@returns_set("string_to_table")
def string_to_table(binder: Binder, args: list[Expr]) -> list[Expr]:
    if len(args) not in (2, 3):
        raise _missing("string_to_table", args)
    texts = [coerce(a, TEXT, binder.context) for a in args]
    null = texts[2].sql if len(texts) == 3 else "NULL"
    return [_listed(f"py_split({texts[0].sql}, {texts[1].sql}, {null})", TEXT, texts, "string_to_table")]


@returns_set("regexp_split_to_table")
def regexp_split_to_table(binder: Binder, args: list[Expr]) -> list[Expr]:
    made = bind_patterns.split(bind_patterns.Call(binder, "regexp_split_to_table", args))
    return [_listed(made.sql, TEXT, [made], "regexp_split_to_table")]


@returns_set("regexp_matches")
def regexp_matches(binder: Binder, args: list[Expr]) -> list[Expr]:
    call = bind_patterns.Call(binder, "regexp_matches", args)
    return [_listed(bind_patterns.matches(call, call.flags(2)), array_of(TEXT), call.args, "regexp_matches")]


def _json(binder: Binder, name: str, args: list[Expr]) -> tuple[Expr, bool]:
    if len(args) != 1:
        raise _missing(name, args)
    binary = name.startswith("jsonb")
    wanted = JSONB if binary else JSON
    if not args[0].unknown and args[0].type.typname != wanted.typname:
        raise _missing(name, args)
    return coerce(args[0], wanted, binder.context), binary


def _json_sets(name: str) -> None:
    as_text = str(name.endswith("_text")).lower()

    @returns_set(name)
    def columns(binder: Binder, args: list[Expr]) -> list[Expr]:
        value, binary = _json(binder, name, args)
        kind = TEXT if as_text == "true" else JSONB if binary else JSON
        if "_each" in name:
            # jsonb's text has its keys in order already.
            keys = _listed(f"py_json_keys({value.sql}, false)", TEXT, [value], "key")
            return [keys, _listed(f"py_json_values({value.sql}, {as_text})", kind, [value], "value")]
        if name.endswith("object_keys"):
            return [_listed(f"py_json_keys({value.sql}, {str(binary).lower()})", TEXT, [value], name)]
        return [_listed(f"py_json_elements({value.sql}, {as_text})", kind, [value], "value")]


for _kind in ("json", "jsonb"):
    for _rest in ("each", "each_text", "array_elements", "array_elements_text", "object_keys"):
        _json_sets(f"{_kind}_{_rest}")
