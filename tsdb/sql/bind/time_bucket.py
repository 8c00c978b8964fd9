"""time_bucket: buckets of time, of whole numbers, of local time in a time zone.

A bucket of fixed width is plain arithmetic on microseconds, by floor, so that it holds before its origin too; months
go through the calendar, time zones through ``computed.zone_buckets``. TimescaleDB's origins: 2000-01-03 (a Monday),
2000-01-01 for months; an offset shifts buckets, and their origin with them.

Source: TimescaleDB's reference, time_bucket; time_bucket.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, InvalidParameterValue, UndefinedFunction
from tsdb.model.schema import Role
from tsdb.sql.bind.binder import Binder, fold
from tsdb.sql.bind.calls import special
from tsdb.sql.bind.datetimes import BUCKET_ORIGIN_US
from tsdb.sql.context import zone_of
from tsdb.sql.expressions.coercion import coerce
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.relation import Scope
from tsdb.sql.intervals import US_PER_DAY, Interval
from tsdb.sql.plan import column_of
from tsdb.types import INT8, INTERVAL, TEXT, TIMESTAMPTZ, SqlType

MONTH_ORIGIN_US = 946_684_800_000_000  # 2000-01-01
_TIMES = ("timestamptz", "timestamp", "date")
_INTEGERS = ("int2", "int4", "int8")
_OPTIONS = ("origin", "offset", "timezone")


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a call of time_bucket says but the time: ``months`` and ``fixed`` (µs) are of a constant width, else None.

    ``type`` is the result's; ``zone``, ``origin`` and ``offset`` are coerced already.
    """

    width: Expr
    months: int | None
    fixed: int | None
    type: SqlType
    zone: Expr | None = None
    origin: Expr | None = None
    offset: Expr | None = None

    @property
    def plain(self) -> bool:
        """Of a constant fixed width, in UTC, from the usual origin."""
        return self.months == 0 and not (self.zone or self.origin or self.offset)

    def of(self, value: str) -> str:
        """The bucket of a time of type ``type``."""
        if self.zone is not None:
            return f"make_timestamptz(py_zone_bucket(epoch_us({value}), {self._form()}))"
        if self.months is None:
            months = f"pg_bucket_months({self.width.sql})"
            return f"CASE WHEN {months} > 0 THEN {self._monthly(value, months)} ELSE {self._fixed(value)} END"
        return self._monthly(value, str(self.months)) if self.months else self._fixed(value)

    def _fixed(self, value: str) -> str:
        width = f"pg_bucket_us({self.width.sql})" if self.fixed is None else str(self.fixed)
        origin = self._origin_us(str(BUCKET_ORIGIN_US))
        if self.offset is not None:
            shift = self.offset.value
            known = self.origin is None and self.offset.op == "literal" and isinstance(shift, Interval)
            origin = (
                str(BUCKET_ORIGIN_US + _fixed_us(shift))
                if known and isinstance(shift, Interval)
                else f"({origin} + pg_shift_us({self.offset.sql}))"
            )
        name = "pg_bucket" if self.type.typname == "timestamptz" else "pg_bucket_timestamp"
        sql = f"{name}({value}, {width}, {origin})"
        return f"CAST({sql} AS DATE)" if self.type.typname == "date" else sql

    def _monthly(self, value: str, months: str) -> str:
        local = f"make_timestamp(epoch_us({value}))"
        if self.offset is not None:
            local = f"({local} - {self.offset.sql})"
        origin = f"make_timestamp(CAST({self._origin_us(str(MONTH_ORIGIN_US))} AS BIGINT))"
        bucket = f"pg_month_bucket({local}, {months}, {origin})"
        if self.offset is not None:
            bucket = f"({bucket} + {self.offset.sql})"
        if self.type.typname == "timestamptz":
            return f"make_timestamptz(epoch_us({bucket}))"
        return f"CAST({bucket} AS {'DATE' if self.type.typname == 'date' else 'TIMESTAMP'})"

    def _origin_us(self, usual: str) -> str:
        return usual if self.origin is None else f"epoch_us({self.origin.sql})"

    def _form(self) -> str:
        """``computed.zone_buckets``' description of the bucket."""
        assert self.zone is not None
        if self.months is None:
            months, fixed = f"pg_bucket_months({self.width.sql})", f"pg_bucket_us({self.width.sql})"
            origin = f"CASE WHEN {months} > 0 THEN {MONTH_ORIGIN_US} ELSE {BUCKET_ORIGIN_US} END"
        else:
            months, fixed = str(self.months), str(self.fixed)
            origin = str(MONTH_ORIGIN_US if self.months else BUCKET_ORIGIN_US)
        if self.origin is not None:
            origin = f"epoch_us(timezone({self.zone.sql}, {self.origin.sql}))"
        shift = "0" if self.offset is None else f"pg_shift_us({self.offset.sql})"
        return f"({self.zone.sql} || '|' || {months} || '|' || {fixed} || '|' || {origin} || '|' || {shift})"

    @property
    def inside(self) -> tuple[Expr, ...]:
        """The expressions that the bucket's text contains."""
        return tuple(e for e in (self.width, self.zone, self.origin, self.offset) if e is not None)


def _fixed_us(shift: Interval) -> int:
    if shift.months:
        raise FeatureNotSupported(
            "an offset of months is not supported for buckets of a fixed width", hint="Give an origin instead."
        )
    return shift.days * US_PER_DAY + shift.microseconds


def make(binder: Binder, name: str, width: Expr, value_type: SqlType, options: dict[str, Expr]) -> Bucket:
    """The bucket that the arguments of ``name`` describe. Raises what PostgreSQL and TimescaleDB raise."""
    if value_type.typname not in _TIMES:
        raise UndefinedFunction(
            f"function {name}(interval, {value_type.name}) does not exist",
            hint="The time must be timestamptz, timestamp or date.",
        )
    width = coerce(width, INTERVAL, binder.context)
    months = fixed = None
    if width.op == "literal" and isinstance(width.value, Interval):
        months, fixed = width.value.months, width.value.days * US_PER_DAY + width.value.microseconds
        if months and fixed:
            raise InvalidParameterValue(
                "month intervals cannot have day or time component", hint="A width is months, or days and hours."
            )
        if months < 0 or fixed < 0 or not (months or fixed):
            raise InvalidParameterValue("period must be greater than 0")
    zone = options.get("timezone")
    if zone is not None:
        zone = coerce(zone, TEXT, binder.context)
        if isinstance(zone.value, str):
            zone_of(zone.value)
        value_type = TIMESTAMPTZ
    origin, offset = options.get("origin"), options.get("offset")
    if origin is not None:
        origin = coerce(origin, value_type, binder.context)
    if offset is not None:
        offset = coerce(offset, INTERVAL, binder.context)
        if zone is not None and isinstance(offset.value, Interval):
            _fixed_us(offset.value)
    return Bucket(width, months, fixed, value_type, zone, origin, offset)


def split(binder: Binder, arguments: Sequence[exp.Expr], scope: Scope) -> tuple[list[Expr], dict[str, Expr]]:
    """Arguments by place and by name."""
    plain: list[Expr] = []
    named: dict[str, Expr] = {}
    for argument in arguments:
        if isinstance(argument, exp.Kwarg | exp.PropertyEQ):
            named[fold(argument.this)] = binder.bind(argument.expression, scope)
        else:
            plain.append(binder.bind(argument, scope))
    for place, key in enumerate(("bucket_width", "ts")):
        if key in named:
            plain.insert(place, named.pop(key))
    return plain, named


def is_null(expr: Expr) -> bool:
    """Whether an argument is the word NULL: as if it were not given."""
    return expr.op == "literal" and expr.value is None


@special("time_bucket")
def time_bucket(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    plain, options = split(binder, arguments, scope)
    if not 2 <= len(plain) <= 5:
        raise UndefinedFunction("function time_bucket needs a width and a time")
    if plain[0].type.typname in _INTEGERS:
        return integer_bucket(binder, [*plain, *options.values()])
    return call(binder, *described(binder, plain, options))


def described(binder: Binder, plain: Sequence[Expr], options: dict[str, Expr]) -> tuple[Bucket, Expr]:
    """The bucket that time_bucket's arguments describe, and the time."""
    for place, extra in zip(("timezone", "origin", "offset"), plain[2:], strict=False):
        kind = extra.type.typname
        key = "offset" if kind == "interval" else "timezone" if kind == "text" else "origin"
        options[place if extra.unknown else key] = extra
    if wrong := set(options) - set(_OPTIONS):
        raise UndefinedFunction(f"function time_bucket has no argument {', '.join(sorted(wrong))}")
    value = coerce(plain[1], TIMESTAMPTZ, binder.context) if plain[1].unknown else plain[1]
    options = {key: option for key, option in options.items() if not is_null(option)}
    return make(binder, "time_bucket", plain[0], value.type, options), value


def call(binder: Binder, bucket: Bucket, value: Expr) -> Expr:
    """The bucket of a bound time; "bucket" is what rules look for."""
    value = coerce(value, bucket.type, binder.context)
    inside = (value,) if bucket.plain else (value, *bucket.inside)
    text = bucket.of(value.sql)
    if (bucket.zone is not None or bucket.months != 0) and not _is_series_time(value):
        text = f"CASE WHEN isfinite({value.sql}) THEN {text} ELSE {value.sql} END"
    made = combine(text, bucket.type, "bucket", inside, value=bucket.fixed or None)
    binder.buckets[made.sql] = bucket, value
    return made


def _is_series_time(value: Expr) -> bool:
    """Whether it is the time of a series, which is never infinite."""
    reference = column_of(value)
    column = reference.relation.columns[reference.index].series_column if reference is not None else None
    return column is not None and column.role is Role.TIME


def integer_bucket(binder: Binder, args: list[Expr]) -> Expr:
    bound = [coerce(a, INT8, binder.context) for a in args]
    if len(bound) > 3:
        raise UndefinedFunction("function time_bucket of integers takes a width, a value and an offset")
    width = bound[0]
    if isinstance(width.value, int) and width.value <= 0:
        raise InvalidParameterValue("period must be greater than 0")
    offset = bound[2].sql if len(bound) > 2 else "0"
    sql = f"CAST(pg_floor_bucket({bound[1].sql}, pg_period({width.sql}), {offset}) AS BIGINT)"
    return combine(sql, INT8, "call", tuple(bound))
