"""EXTRACT, date_trunc, age and date_bin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from tsdb.errors import (
    DatetimeFieldOverflow,
    FeatureNotSupported,
    InvalidParameterValue,
    SqlSyntaxError,
    UndefinedFunction,
)
from tsdb.sql.bind import operators as bind_operators
from tsdb.sql.bind.binder import Binder, binds, fold
from tsdb.sql.bind.calls import plain_call, special
from tsdb.sql.bind.scalars import now
from tsdb.sql.expressions import numerics
from tsdb.sql.expressions.coercion import coerce
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.relation import Scope
from tsdb.sql.expressions.rows import fields_of
from tsdb.sql.intervals import Interval
from tsdb.types import BOOL, DATE, FLOAT8, INT4, INTERVAL, NUMERIC, TEXT, TIME, TIMESTAMPTZ, SqlType

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_FIXED_UNITS = {
    "microseconds": 1, "milliseconds": 1000, "second": _SECOND, "minute": 60 * _SECOND, "hour": 3600 * _SECOND,
    "day": _DAY, "week": 7 * _DAY,
}  # fmt: skip
_UNITS = (*_FIXED_UNITS, "month", "quarter", "year", "decade", "century", "millennium")
_ALIASES = {
    "microsecond": "microseconds", "us": "microseconds", "usec": "microseconds", "millisecond": "milliseconds",
    "ms": "milliseconds", "seconds": "second", "sec": "second", "minutes": "minute", "min": "minute",
    "hours": "hour", "hr": "hour", "days": "day", "weeks": "week", "months": "month", "mon": "month",
    "years": "year", "decades": "decade", "centuries": "century", "quarters": "quarter",
}  # fmt: skip
_MONDAY_US = 4 * _DAY  # 1970-01-05
BUCKET_ORIGIN_US = 946_857_600 * _SECOND  # 2000-01-03
_FIELDS = {
    "century", "day", "decade", "dow", "doy", "epoch", "hour", "isodow", "isoyear", "julian", "microseconds",
    "millennium", "milliseconds", "minute", "month", "quarter", "second", "week", "year", "timezone",
    "timezone_hour", "timezone_minute",
}  # fmt: skip
_CLOCK_FIELDS = frozenset({
    "hour", "minute", "second", "milliseconds", "microseconds", "timezone", "timezone_hour", "timezone_minute",
})  # fmt: skip
_CALENDAR_ONLY = {
    "century", "day", "decade", "dow", "doy", "isodow", "isoyear", "julian", "millennium", "month", "quarter", "week",
    "year",
}  # fmt: skip
_ZONED_FIELDS = ("epoch", "timezone", "timezone_hour", "timezone_minute")
_DATETIMES = ("timestamptz", "timestamp", "date", "time", "timetz", "interval")


def _unit(text: str, known: Sequence[str] | set[str], sql_type: SqlType) -> str:
    unit = text.strip().lower()
    unit = _ALIASES.get(unit, unit)
    if unit not in known:
        raise InvalidParameterValue(f'unit "{text}" not recognized for type {sql_type.name}')
    return unit


@binds(exp.Extract)
def extract(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    return _field(binder, node.this.name, binder.bind(node.expression, scope), exact=True).named("extract")


@special("date_part")
def date_part(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    if len(arguments) != 2:
        raise UndefinedFunction(f"function date_part with {len(arguments)} arguments does not exist")
    if not isinstance(arguments[0], exp.Literal):
        return _chosen_field(binder, arguments, scope)
    return _field(binder, arguments[0].name, binder.bind(arguments[1], scope), exact=False)


def _chosen_field(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    """date_part of a field that each row names: one of all there are."""
    name = coerce(binder.bind(arguments[0], scope), TEXT, binder.context)
    value = binder.bind(arguments[1], scope)
    refused = (
        _CLOCK_FIELDS if value.type.typname == "date" else frozenset({"timezone", "timezone_hour", "timezone_minute"})
    )
    tests = []
    for unit in sorted(_FIELDS - refused - (_CALENDAR_ONLY if value.type.typname in ("time", "interval") else set())):
        made = _field(binder, unit, value, exact=False)
        tests.append(f"WHEN '{unit}' THEN {made.sql}")
    wrong = f"pg_raise('22023:unit \"' || {name.sql} || '\" not recognized for type {value.type.name}')"
    return combine(f"CASE lower({name.sql}) {' '.join(tests)} ELSE {wrong} END", FLOAT8, "call", (name, value))


def _field(binder: Binder, name: str, value: Expr, *, exact: bool) -> Expr:
    """A field of a date or time: numeric for EXTRACT, double precision for date_part."""
    if value.unknown:
        value = coerce(value, TIMESTAMPTZ, binder.context)
    kind = value.type.typname
    if kind == "timetz" and name.lower() not in _ZONED_FIELDS:
        value, kind = coerce(value, TIME, binder.context), "time"
    if kind not in _DATETIMES:
        raise UndefinedFunction(f"function pg_catalog.extract(unknown, {value.type.name}) does not exist")
    unit = _unit(name, _FIELDS, value.type)
    if unit in _CLOCK_FIELDS and kind == "date":
        raise FeatureNotSupported(f'unit "{name.lower()}" not supported for type date')
    whole = _whole_field(unit, kind, value.sql)
    scale = {"epoch": 0 if kind == "date" else 6, "second": 6, "milliseconds": 3}.get(unit, 0)
    if not exact:
        text = f"(CAST({whole} AS DOUBLE){f' / {10**scale}' if scale else ''})"
        return combine(text, FLOAT8, "call", (value,), name="date_part", value=unit)
    digits = (18, scale)
    text = numerics.from_whole(whole, scale, 18) if scale else f"CAST({whole} AS DECIMAL(38,0))"
    return combine(numerics.decimal(text, digits), NUMERIC, "extract", (value,), digits=digits, value=unit)


@special("floor")
def floor(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    """floor(extract(epoch from t) / 300) is what Grafana groups by: in whole microseconds instead of decimals.

    The quotient of PostgreSQL has 16 digits after the point; a fraction of 300·10⁶ never rounds across a whole number.
    """
    args = [binder.bind(a, scope) for a in arguments]
    made = plain_call(binder, "floor", args)
    seconds = _seconds_divided(args[0])
    if seconds is None:
        return made
    time, width = seconds
    text = f"CAST(pg_floor_quotient(epoch_us({time.sql}), {width * _SECOND}) AS DECIMAL(18,0))"
    return replace(made, sql=text, digits=(18, 0))


def _seconds_divided(expr: Expr) -> tuple[Expr, int] | None:
    """(t, n) of ``extract(epoch from t) / n`` with a whole constant n."""
    if expr.op != "/" or len(expr.args) != 2:
        return None
    left, right = expr.args
    right = right.args[0] if right.op == "cast" else right
    if left.op != "extract" or left.value != "epoch" or right.op != "literal" or not isinstance(right.value, int):
        return None
    time = left.args[0]
    if time.type.typname not in ("timestamptz", "timestamp") or not 0 < right.value <= 1_000_000_000:
        return None
    return time, right.value


def _whole_field(unit: str, kind: str, sql: str) -> str:
    """The field as a whole number of its smallest unit."""
    if kind == "timetz":
        return f"py_timetz_field('{unit}', {sql})"
    if unit == "epoch":
        if kind == "interval":
            return f"pg_interval_epoch_us({sql})"
        return f"(epoch_us({sql}) // 1000000)" if kind == "date" else f"epoch_us({sql})"
    if unit in ("second", "milliseconds", "microseconds"):
        if kind == "date":
            return "0"
        return f"(date_part('microseconds', {sql}))"
    if unit in ("timezone_hour", "timezone_minute"):
        return f"date_part('{unit}', {sql})"
    if unit == "julian":
        return f"CAST(julian({sql}) AS BIGINT)"
    return f"date_part('{unit}', {sql})"


@special("date_trunc")
def date_trunc(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    args = [binder.bind(a, scope) for a in arguments]
    if len(args) < 2 or args[0].op != "literal" or not isinstance(args[0].value, str):
        return plain_call(binder, "date_trunc", args)
    if args[1].type.typname == "date" or args[1].unknown:
        args[1] = coerce(args[1], TIMESTAMPTZ, binder.context)
    value = args[1]
    unit = _unit(args[0].value, _UNITS, value.type)
    zoned = value.type.typname == "timestamptz"
    # Minutes and shorter are the same in every zone in use; hours and days in UTC.
    fixed = unit in ("microseconds", "milliseconds", "second", "minute") or (
        unit in _FIXED_UNITS and (not zoned or binder.context.time_zone.upper() in ("UTC", "GMT", "ETC/UTC"))
    )
    if len(args) == 2 and fixed and value.type.typname != "interval":
        origin = _MONDAY_US if unit == "week" else 0
        name = "pg_bucket" if zoned else "pg_bucket_timestamp"
        sql = f"{name}({value.sql}, {_FIXED_UNITS[unit]}, {origin})"
        return combine(sql, value.type, "bucket", (value,), value=_FIXED_UNITS[unit])
    if value.type.typname == "interval":
        return combine(_truncated_interval(unit, value.sql), INTERVAL, "call", (value,))
    args[0] = Expr(f"'{unit}'", TEXT, "literal", (), unit)
    if unit in ("century", "millennium"):
        # PostgreSQL's begin with the year 1, 101 …; DuckDB's with 0, 100 …
        year = replace(args[1], sql=f"({args[1].sql} - INTERVAL '1 year')")
        made = plain_call(binder, "date_trunc", [args[0], year, *args[2:]])
        return replace(made, sql=f"({made.sql} + INTERVAL '1 year')")
    return plain_call(binder, "date_trunc", args)


_MONTHS = {"month": 1, "quarter": 3, "year": 12, "decade": 120, "century": 1200, "millennium": 12000}


def _truncated_interval(unit: str, sql: str) -> str:
    """Months, days and clock are truncated apart, towards zero (interval_trunc in timestamp.c)."""
    if unit == "week":
        raise FeatureNotSupported('unit "week" not supported for type interval')
    months = f"CAST(date_part('year', {sql}) * 12 + date_part('month', {sql}) AS INTEGER)"
    if unit in _MONTHS:
        return f"to_months(CAST({months} // {_MONTHS[unit]} * {_MONTHS[unit]} AS INTEGER))"
    days = f"to_days(CAST(date_part('day', {sql}) AS INTEGER))"
    if unit == "day":
        return f"(to_months({months}) + {days})"
    clock = f"pg_interval_us({sql})"
    return f"(to_months({months}) + {days} + to_microseconds({clock} // {_FIXED_UNITS[unit]} * {_FIXED_UNITS[unit]}))"


_INTERVAL_PARTS = ("years", "months", "weeks", "days", "hours", "mins", "secs")


@special("make_interval")
def make_interval(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    """make_interval(years, months …), by place or by name; what is not given is 0."""
    if len(arguments) > len(_INTERVAL_PARTS):
        raise UndefinedFunction("function make_interval has seven arguments")
    given: dict[str, Expr] = {}
    for place, argument in enumerate(arguments):
        named = isinstance(argument, exp.Kwarg | exp.PropertyEQ)
        key = fold(argument.this) if named else _INTERVAL_PARTS[place]
        if key not in _INTERVAL_PARTS or key in given:
            raise UndefinedFunction(f"function make_interval has no argument {key}, or it is given twice")
        given[key] = binder.bind(argument.expression if named else argument, scope)
    none = Expr("0", INT4, "literal", (), 0)
    return plain_call(binder, "make_interval", [given.get(key, none) for key in _INTERVAL_PARTS])


@binds(exp.Overlaps)
def overlaps(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    """(start, end or length) OVERLAPS (start, end or length): ends do not belong to a period (9.9)."""
    periods = []
    for side in (node.this, node.expression):
        fields = fields_of(binder.bind(side, scope))
        if fields is None or len(fields) != 2:
            raise SqlSyntaxError("wrong number of parameters on a side of OVERLAPS expression")
        start, end = fields
        if end.type.typname == "interval":
            end = bind_operators.operate(binder, "+", start, end)
            start = coerce(start, end.type, binder.context)
        low = plain_sql("least", start, end)
        periods.append((low, plain_sql("greatest", start, end), start))
    (a, b, _), (c, d, _) = periods
    sql = f"CASE WHEN {a} = {c} THEN true ELSE {a} < {d} AND {c} < {b} END"
    return combine(sql, BOOL, "call", (periods[0][2], periods[1][2]), name="overlaps")


def plain_sql(name: str, start: Expr, end: Expr) -> str:
    return f"{name}({start.sql}, {end.sql})"


@special("age")
def age(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    args = [binder.bind(a, scope) for a in arguments]
    if len(args) == 1:
        # age(x) counts from midnight of the current date.
        midnight = coerce(coerce(now("now"), DATE, binder.context), args[0].type, binder.context)
        args.insert(0, midnight)
    return plain_call(binder, "age", args)


@special("date_bin")
def date_bin(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    args = [binder.bind(a, scope) for a in arguments]
    if len(args) != 3:
        return plain_call(binder, "date_bin", args)
    if args[0].unknown:
        args[0] = coerce(args[0], INTERVAL, binder.context)
    width = args[0].value if args[0].op == "literal" else None
    if isinstance(width, Interval):
        if width.months:
            raise FeatureNotSupported("timestamps cannot be binned into intervals containing months or years")
        us = width.days * _DAY + width.microseconds
        if us <= 0:
            raise DatetimeFieldOverflow("stride must be greater than zero")
        if args[1].type.typname in ("timestamptz", "timestamp"):
            origin = coerce(args[2], args[1].type, binder.context)
            name = "pg_bucket" if args[1].type.typname == "timestamptz" else "pg_bucket_timestamp"
            sql = f"{name}({args[1].sql}, {us}, epoch_us({origin.sql}))"
            return combine(sql, args[1].type, "bucket", (args[1], origin), value=us)
    return plain_call(binder, "date_bin", args)
