"""JSON of values: to_json, the builders and the aggregates, which write each value by its type.

Source: PostgreSQL 15 manual, 9.16 (table 9.47) and 9.21 (json aggregates); json.c (datum_to_json).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, InvalidParameterValue, UndefinedFunction
from tsdb.sql import literal
from tsdb.sql.bind.binder import Binder
from tsdb.sql.bind.calls import JSON_AGGREGATES, special
from tsdb.sql.expressions import casts, shown
from tsdb.sql.expressions.coercion import coerce
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.relation import Scope
from tsdb.sql.expressions.rows import fields_of
from tsdb.types import JSON, JSONB, TEXT, SqlType

_NUMBERS = ("int2", "int4", "int8", "numeric", "oid")


def json_text(sql: str, sql_type: SqlType) -> str:
    """DuckDB's text of the JSON of a value; NULL gives NULL."""
    name = sql_type.typname
    if name in ("json", "jsonb"):
        return sql
    if name in _NUMBERS:
        return f"CAST({sql} AS VARCHAR)"
    if name == "bool":
        return f"CASE WHEN {sql} THEN 'true' WHEN NOT {sql} THEN 'false' END"
    if name in ("float4", "float8"):
        text = casts.to_text(sql, sql_type)
        return f"CASE WHEN isfinite({sql}) THEN {text} ELSE '\"' || {text} || '\"' END"
    if name in ("timestamp", "timestamptz"):
        text = casts.to_text(sql, sql_type)
        zone = f" || CASE WHEN ends_with({text}, '+00') THEN ':00' ELSE '' END" if name[-1] == "z" else ""
        return f"('\"' || replace({text}, ' ', 'T'){zone} || '\"')"
    if sql_type.element is not None:
        inner = json_text("pg_item", sql_type.element)
        return f"py_json_array(list_transform({sql}, lambda pg_item: {inner}), ',')"
    return f"pg_json_string({casts.to_text(sql, sql_type)})"


def json_of(binder: Binder, value: Expr, *, binary: bool = False) -> str:
    """The JSON of an expression: of a row, an object of its fields."""
    fields = fields_of(value)
    if fields is not None:
        names = ", ".join(literal.quote(f.name) for f in fields)
        texts = ", ".join(json_of(binder, f) for f in fields)
        return f"py_json_row([{names}], [{texts}])"
    value = coerce(value, TEXT, binder.context) if value.unknown else value
    text = shown.text_of(value) if shown.is_numeric(value) else json_text(value.sql, value.type)
    return f"py_jsonb({text})" if binary and value.type.typname == "json" else text


def _made(sql: str, args: Sequence[Expr], *, binary: bool) -> Expr:
    return combine(f"py_jsonb({sql})" if binary else sql, JSONB if binary else JSON, "call", tuple(args))


@special("to_json", "row_to_json", "array_to_json")
def to_json(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return _to_json(binder, arguments, scope, binary=False)


@special("to_jsonb")
def to_jsonb(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return _to_json(binder, arguments, scope, binary=True)


def _to_json(binder: Binder, arguments: list[exp.Expr], scope: Scope, *, binary: bool) -> Expr:
    args = [binder.bind(a, scope) for a in arguments]
    if len(args) not in (1, 2):
        raise UndefinedFunction(f"function to_json with {len(args)} arguments does not exist")
    if args[0].unknown and args[0].value is not None and args[0].op == "literal":
        raise InvalidParameterValue("could not determine polymorphic type because input has type unknown")
    return _made(json_of(binder, args[0]), args, binary=binary)


@special("json_build_object")
def json_build_object(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return _object(binder, arguments, scope, binary=False)


@special("jsonb_build_object")
def jsonb_build_object(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return _object(binder, arguments, scope, binary=True)


def _object(binder: Binder, arguments: list[exp.Expr], scope: Scope, *, binary: bool) -> Expr:
    args = [binder.bind(a, scope) for a in arguments]
    if len(args) % 2:
        raise InvalidParameterValue(
            "argument list must have even number of elements",
            hint="The arguments of json_build_object() must consist of alternating keys and values.",
        )
    keys = ", ".join(coerce(a, TEXT, binder.context).sql for a in args[::2])
    values = ", ".join(f"coalesce({json_of(binder, a)}, 'null')" for a in args[1::2])
    empty = "CAST([] AS VARCHAR[])"
    sql = f"py_json_object({f'[{keys}]' if args else empty}, {f'[{values}]' if args else empty}, {str(binary).lower()})"
    return combine(sql, JSONB if binary else JSON, "call", tuple(args))


@special("json_build_array")
def json_build_array(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return _array(binder, arguments, scope, binary=False)


@special("jsonb_build_array")
def jsonb_build_array(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return _array(binder, arguments, scope, binary=True)


def _array(binder: Binder, arguments: list[exp.Expr], scope: Scope, *, binary: bool) -> Expr:
    args = [binder.bind(a, scope) for a in arguments]
    if not args:
        return Expr("'[]'", JSONB if binary else JSON, "call")
    return _made(f"py_json_array([{', '.join(json_of(binder, a) for a in args)}], ', ')", args, binary=binary)


def aggregate_text(binder: Binder, name: str, bound: Sequence[Expr], order: str, distinct: str, suffix: str) -> str:
    """The text of json_agg, jsonb_agg, json_object_agg and jsonb_object_agg over bound arguments."""
    binary = name.startswith("jsonb")
    if name.endswith("object_agg"):
        if distinct:
            raise FeatureNotSupported(f"{name}(DISTINCT …) is not supported")
        keys = f"list({coerce(bound[0], TEXT, binder.context).sql}{order}){suffix}"
        values = f"list(coalesce({json_of(binder, bound[1])}, 'null'){order}){suffix}"
        return f"py_json_aggregate({keys}, {values}, {str(binary).lower()})"
    separator = "', ' || chr(10) || ' '" if fields_of(bound[0]) is not None and not binary else "', '"
    listed = f"list({distinct}{json_of(binder, bound[0])}{order}){suffix}"
    made = f"py_json_array({listed}, {separator})"
    return f"py_jsonb({made})" if binary else made


JSON_AGGREGATES.update(dict.fromkeys(("json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg"), aggregate_text))
