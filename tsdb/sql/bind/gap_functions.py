"""The calls time_bucket_gapfill, locf and interpolate, and FILL(…) at the end of GROUP BY. See ``gapfill``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlglot import exp

from tsdb.errors import DatatypeMismatch, FeatureNotSupported, InvalidParameterValue, SqlSyntaxError, UndefinedFunction
from tsdb.sql.bind import time_bucket
from tsdb.sql.bind.binder import Binder, fold
from tsdb.sql.bind.calls import special
from tsdb.sql.bind.gapfill import FILLED, MARK, Filling, Gaps
from tsdb.sql.context import zone_of
from tsdb.sql.expressions.coercion import coerce
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.relation import Scope
from tsdb.sql.expressions.rows import fields_of
from tsdb.types import BOOL, FLOAT8, TIMESTAMPTZ

_INTEGERS = {"int2": "SMALLINT", "int4": "INTEGER", "int8": "BIGINT"}
_LIKE_FLOAT8 = ("float8", "numeric")


@special("time_bucket_gapfill")
def time_bucket_gapfill(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    plain, options = time_bucket.split(binder, arguments, scope)
    if not 2 <= len(plain) <= 6:
        raise UndefinedFunction("function time_bucket_gapfill needs a width and a time")
    if plain[0].type.typname in _INTEGERS:
        raise FeatureNotSupported(
            "time_bucket_gapfill of whole numbers is not supported", hint="Join with generate_series."
        )
    rest = plain[2:]
    if rest and (rest[0].type.typname == "text" or _names_a_zone(rest[0])):
        options["timezone"] = rest.pop(0)
    options.update(zip(("start", "finish", "origin"), rest, strict=False))
    if wrong := set(options) - {"timezone", "start", "finish", "origin", "offset"}:
        raise UndefinedFunction(f"function time_bucket_gapfill has no argument {', '.join(sorted(wrong))}")
    options = {key: option for key, option in options.items() if not time_bucket.is_null(option)}
    value = coerce(plain[1], TIMESTAMPTZ, binder.context) if plain[1].unknown else plain[1]
    bounds = [options.pop(key, None) for key in ("start", "finish")]
    bucket = time_bucket.make(binder, "time_bucket_gapfill", plain[0], value.type, options)
    start, finish = (None if b is None else coerce(b, bucket.type, binder.context) for b in bounds)
    made = time_bucket.call(binder, bucket, value)
    binder.gap_calls.append("time_bucket_gapfill")
    return replace(made, op=MARK, value=Gaps(bucket, coerce(value, bucket.type, binder.context), start, finish))


def _names_a_zone(expr: Expr) -> bool:
    """Whether a literal without a type names a time zone, and is no time."""
    if not expr.unknown or not isinstance(expr.value, str) or expr.value[:1].isdigit():
        return False
    try:
        zone_of(expr.value)
    except InvalidParameterValue:
        return False
    return True


def _of_filling(binder: Binder, name: str, scope: Scope) -> Filling | None:
    """The filling that a call belongs to; None while the SELECT is bound for the first time."""
    binder.gap_calls.append(name)
    if binder.filling is None:
        return None
    if binder.filling.scope is not scope:
        raise FeatureNotSupported(f"{name} must be in the select list of time_bucket_gapfill's query")
    return binder.filling


def _arguments(
    binder: Binder, name: str, arguments: list[exp.Expr], scope: Scope, names: tuple[str, ...]
) -> dict[str, Expr]:
    plain, given = time_bucket.split(binder, arguments, scope)
    given.update(zip(names, plain, strict=False))
    if len(plain) > len(names) or set(given) - set(names) or "value" not in given:
        raise UndefinedFunction(f"function {name} takes {', '.join(names)}")
    return {key: value for key, value in given.items() if not time_bucket.is_null(value) or key == "value"}


@special("locf")
def locf(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    """locf(value, prev, treat_null_as_missing): the last row's value, before the first row that of prev."""
    given = _arguments(binder, "locf", arguments, scope, ("value", "prev", "treat_null_as_missing"))
    flag = given.get("treat_null_as_missing")
    missing = flag is not None and coerce(flag, BOOL, binder.context).value
    if flag is not None and not isinstance(missing, bool):
        raise InvalidParameterValue("treat_null_as_missing of locf must be a constant")
    value, prev = given["value"], given.get("prev")
    filling = _of_filling(binder, "locf", scope)
    if prev is not None:
        prev = coerce(prev, value.type, binder.context)
    if filling is None:
        return combine(value.sql, value.type, "call", (value,), digits=value.digits)
    return carried(filling, value, prev, skip_nulls=bool(missing))


def _check_plain(filling: Filling, value: Expr) -> None:
    inner = (f"{filling.alias}.c", f"{filling.alias}.u")
    if any(e.op == FILLED and e.sql.startswith(inner) for e in value.walk()):
        raise FeatureNotSupported("calls of locf and interpolate cannot be nested")


def carried(filling: Filling, value: Expr, prev: Expr | None, *, skip_nulls: bool) -> Expr:
    """A value of the filled rows, carried forward over rows that were missing (``skip_nulls``: or NULL)."""
    alias = filling.alias
    _check_plain(filling, value)

    def column(sql: str) -> str:
        listed = filling.collect(sql)
        places = f"py_places_before({alias}.p.own)"
        if skip_nulls:
            known = filling.collect(f"({value.sql}) IS NOT NULL")
            places = f"py_places_known({alias}.p.own, {alias}.{known})"
        made = filling.unnest(f"list_select({alias}.{listed}, {places})")
        if prev is None:
            return made
        seen = filling.unnest(f"list_select({alias}.t, {places})")
        return filling.compute(f"CASE WHEN {seen} IS NULL THEN {prev.sql} ELSE {made} END")

    shown = column(value.shown) if value.shown is not None and prev is None else None
    return Expr(column(value.sql), value.type, FILLED, typmod=value.typmod, digits=value.digits, shown=shown)


@special("interpolate")
def interpolate(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    """interpolate(value, prev, next): on the straight line between the rows before and after; prev and next are
    records (time, value) for what is before the first and after the last row."""
    given = _arguments(binder, "interpolate", arguments, scope, ("value", "prev", "next"))
    value = given["value"]
    kind = value.type.typname
    if kind not in (*_INTEGERS, *_LIKE_FLOAT8, "float4"):
        raise UndefinedFunction(
            f"function interpolate({value.type.name}) does not exist", hint="The value must be a number."
        )
    if kind in _LIKE_FLOAT8:
        value = coerce(value, FLOAT8, binder.context)
    filling = _of_filling(binder, "interpolate", scope)
    if filling is None:
        return combine(value.sql, value.type, "call", (value,))
    prev = _record(binder, filling, given.get("prev"), value)
    following = _record(binder, filling, given.get("next"), value)
    return interpolated(filling, value, prev, following)


def _record(binder: Binder, filling: Filling, record: Expr | None, value: Expr) -> tuple[str, str] | None:
    """Time (µs) and value of a record."""
    if record is None:
        return None
    fields = fields_of(record)
    if fields is None or len(fields) != 2:
        raise InvalidParameterValue("interpolate RECORD arguments must have 2 elements")
    wanted = filling.gaps.bucket.type
    if fields[0].type.typname != wanted.typname:
        raise InvalidParameterValue(
            "first argument of interpolate returned record must match used timestamp datatype",
            detail=f"Returned type {fields[0].type.name} does not match expected type {wanted.name}.",
        )
    return f"epoch_us({fields[0].sql})", coerce(fields[1], value.type, binder.context).sql


Record = tuple[str, str] | None


def interpolated(filling: Filling, value: Expr, prev: Record = None, following: Record = None) -> Expr:
    """A number of the filled rows, on the straight line between the rows that were there."""
    alias = filling.alias
    _check_plain(filling, value)
    listed = filling.collect(value.sql)

    def side(function: str, record: Record) -> tuple[str, str]:
        places = f"{function}({alias}.p.own)"
        time = filling.unnest(f"list_select({alias}.t, {places})")
        known = filling.unnest(f"list_select({alias}.{listed}, {places})")
        if record is None:
            return time, known
        return f"coalesce({time}, {record[0]})", f"CASE WHEN {time} IS NULL THEN {record[1]} ELSE {known} END"

    (x0, y0), (x1, y1) = side("py_places_before", prev), side("py_places_after", following)
    kind = value.type.typname
    if kind in _INTEGERS:
        sql = f"CAST(pg_whole_between(epoch_us({alias}.b), {x0}, {y0}, {x1}, {y1}) AS {_INTEGERS[kind]})"
    else:
        sql = f"pg_between(epoch_us({alias}.b), {x0}, {y0}, {x1}, {y1})"
        sql = f"CAST({sql} AS FLOAT)" if kind == "float4" else sql
    return Expr(filling.compute(sql), value.type, FILLED)


def fill_of(binder: Binder, node: exp.Expr) -> Callable[[Binder, Expr], Expr]:
    """What FILL(NULL | PREV | LINEAR | value) makes of an aggregate's filled column."""
    assert isinstance(node, exp.Anonymous)
    if len(node.expressions) != 1:
        raise SqlSyntaxError("FILL takes one of NULL, PREV, LINEAR and a value", position=binder.position(node))
    given = node.expressions[0]
    word = fold(given.this) if isinstance(given, exp.Column) else ""
    if isinstance(given, exp.Null) or word in ("null", "prev", "previous", "linear"):
        return {"linear": _linear, "": _nothing, "null": _nothing}.get(word, _previous)
    value = binder.bind(given, Scope(None))
    return lambda binder, made: _constant(binder, made, value)


def _filling(binder: Binder) -> Filling:
    assert binder.filling is not None
    return binder.filling


def _nothing(binder: Binder, made: Expr) -> Expr:
    return made


def _previous(binder: Binder, made: Expr) -> Expr:
    return replace(carried(_filling(binder), made, None, skip_nulls=False), name=made.name, position=made.position)


def _linear(binder: Binder, made: Expr) -> Expr:
    kind = made.type.typname
    if kind not in (*_INTEGERS, *_LIKE_FLOAT8, "float4"):
        raise DatatypeMismatch(f"FILL(LINEAR) needs numbers, {made.name} is of type {made.type.name}")
    value = coerce(made, FLOAT8, binder.context) if kind == "numeric" else made
    return replace(interpolated(_filling(binder), value), name=made.name, position=made.position)


def _constant(binder: Binder, made: Expr, value: Expr) -> Expr:
    filling = _filling(binder)
    coerced = coerce(value, made.type, binder.context, made.digits)
    own = filling.unnest(f"{filling.alias}.p.own")
    text = filling.compute(f"CASE WHEN {own} = 2147483647 THEN {coerced.sql} ELSE {made.sql} END")
    return replace(made, sql=text, shown=None)
