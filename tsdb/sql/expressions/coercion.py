"""Types meeting types: implicit casts, the common type of several expressions, and casts in DuckDB's text.

Source: PostgreSQL 15 manual, chapter 10 (type conversion); pg_cast.dat for what is implicit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from tsdb.errors import CannotCoerce, DatatypeMismatch, FeatureNotSupported, TsdbError, UndefinedFunction
from tsdb.sql import literal, storage_form
from tsdb.sql.context import Context
from tsdb.sql.expressions import blanks
from tsdb.sql.expressions.casts import cast_text, float_digits, to_text
from tsdb.sql.expressions.expression import Expr, Parameter, combine
from tsdb.sql.expressions.rows import row_text, same_fields
from tsdb.types import BOOL, NUMERIC, REFERENCES, TEXT, UINT8, UNKNOWN, UNSORTED_TEXTS, SqlType, array_of

_TEXTS = ("text", "varchar", "bpchar", "name")
_IMPLICIT = {
    "int2": ("int4", "int8", "numeric", "float4", "float8", "oid"),
    "int4": ("int8", "numeric", "float4", "float8", "oid"),
    "int8": ("numeric", "float4", "float8", "oid"),
    "numeric": ("float4", "float8"),
    "float4": ("float8",),
    "date": ("timestamp", "timestamptz"),
    "timestamp": ("timestamptz",),
    "time": ("interval",),
    "oid": ("int8",),
    "char": ("text", "varchar", "bpchar"),
    "xid": (),
    "json": (),
    "cidr": ("inet",),
}
_REFERENCES = tuple(t.typname for t in REFERENCES)
_IMPLICIT = {
    **_IMPLICIT,
    **dict.fromkeys(_REFERENCES, ("oid", "int8")),
    **{name: (*_IMPLICIT[name], *_REFERENCES) for name in ("int2", "int4", "int8", "oid")},
}
_CATEGORY = {
    "bool": "B", "int2": "N", "int4": "N", "int8": "N", "numeric": "N", "float4": "N", "float8": "N", "oid": "N",
    "text": "S", "varchar": "S", "bpchar": "S", "name": "S", "date": "D", "time": "D", "timestamp": "D",
    "timestamptz": "D", "interval": "T", "unknown": "X", **dict.fromkeys(_REFERENCES, "N"),
}  # fmt: skip
_PREFERRED = frozenset({"bool", "float8", "oid", "text", "timestamptz", "interval"})
_INTEGER_DIGITS = {"int2": (5, 0), "int4": (10, 0), "int8": (19, 0), "oid": (10, 0), "bool": (1, 0)}
FLOAT_TO_NUMERIC = (38, 15)
TEXT_TO_NUMERIC = (38, 10)


def category(sql_type: SqlType) -> str:
    if sql_type.element is not None:
        return "A"
    return "E" if sql_type.labels is not None else _CATEGORY.get(sql_type.typname, "U")


def preferred(sql_type: SqlType) -> bool:
    return sql_type.typname in _PREFERRED


def is_text(sql_type: SqlType) -> bool:
    return sql_type.typname in _TEXTS


def implicit(source: SqlType, target: SqlType) -> bool:
    """Whether ``source`` becomes ``target`` without being asked to."""
    if source.typname == target.typname or source is UNKNOWN:
        return True
    if source.element is not None and target.element is not None:
        return source.element is UNKNOWN or source.element.typname == target.element.typname
    if is_text(source) and is_text(target):
        return True
    return target.typname in _IMPLICIT.get(source.typname, ())


_ASSIGNED = {
    "timestamptz": ("timestamp", "date", "time", "timetz"), "timestamp": ("date", "time"), "interval": ("time",),
    "json": ("jsonb",), "jsonb": ("json",), "text": ("char",), "varchar": ("char",), "bpchar": ("char",),
    "int4": ("money",), "int8": ("money",), "numeric": ("money",), "money": ("numeric",), "inet": ("cidr",),
    "cidr": ("inet",), "timetz": ("time",), "time": ("timetz",),
}  # fmt: skip


def assignable(source: SqlType, target: SqlType) -> bool:
    """Whether a value of one type is put into a column of another without a cast (10.4, pg_cast's assignment casts)."""
    if implicit(source, target) or is_text(target):
        return True
    if source.element is not None and target.element is not None:
        return assignable(source.element, target.element)
    if category(source) == category(target) == "N":
        return source.element is None and target.element is None
    return target.typname in _ASSIGNED.get(source.typname, ())


# Types without comparisons.
INCOMPARABLE = ("json", "point", "xml")


def check_equality(expr: Expr) -> None:
    """Raises UndefinedFunction for types whose values GROUP BY, DISTINCT and UNION cannot find equal."""
    if (expr.type.element or expr.type).typname in INCOMPARABLE:
        raise UndefinedFunction(
            f"could not identify an equality operator for type {expr.type.name}", position=expr.position
        )


def ordered(expr: Expr) -> Expr:
    """``expr`` so that DuckDB orders it as PostgreSQL does; equal values are equal. Raises UndefinedFunction for types
    without an order."""
    plain = expr.type.element or expr.type
    if plain.typname in INCOMPARABLE:
        raise UndefinedFunction(
            f"could not identify an ordering operator for type {expr.type.name}",
            hint="Use an explicit ordering operator or modify the query.",
            position=expr.position,
        )
    if plain.typname not in UNSORTED_TEXTS:
        return expr
    key = f"py_order_key('{plain.typname}', {{}})"
    listed = expr.type.element is not None
    sql = f"list_transform({expr.sql}, lambda pg_item: {key.format('pg_item')})" if listed else key.format(expr.sql)
    return combine(sql, expr.type, "call", (expr,), name=expr.name, position=expr.position)


def common_type(exprs: Sequence[Expr], what: str) -> SqlType:
    """The type of UNION, CASE, VALUES, ARRAY and their like (10.5). ``what`` names the construct in errors."""
    known = [e for e in exprs if not e.unknown]
    if not known:
        return TEXT
    chosen = known[0].type
    for expr in known[1:]:
        if expr.type.typname == chosen.typname:
            continue
        if category(expr.type) != category(chosen):
            raise DatatypeMismatch(
                f"{what} types {chosen.name} and {expr.type.name} cannot be matched", position=expr.position
            )
        if is_text(chosen) and is_text(expr.type):
            # Each becomes the other by itself, so the first stays; only name does not become varchar or bpchar.
            switch = expr.type.typname == "name" and chosen.typname in ("varchar", "bpchar")
        else:
            switch = not preferred(chosen) and implicit(chosen, expr.type) and not implicit(expr.type, chosen)
        if switch:
            chosen = expr.type
    return chosen


def common_digits(exprs: Sequence[Expr]) -> tuple[int, int]:
    """The (precision, scale) that hold all of some numerics and integers."""
    digits = [numeric_digits_of(e) for e in exprs if not (e.unknown and e.op != "literal")]
    scale = max((s for _, s in digits), default=6)
    whole = max((p - s for p, s in digits), default=32)
    return min(38, max(1, whole + scale)), min(scale, 37)


def numeric_digits_of(expr: Expr) -> tuple[int, int]:
    if expr.digits is not None:
        return expr.digits
    if expr.unknown and isinstance(expr.value, str) and expr.op == "literal":
        try:
            return literal.numeric_digits(literal.numeric_value(expr.value))
        except TsdbError:
            return TEXT_TO_NUMERIC
    if expr.type.typname in ("float4", "float8"):
        return FLOAT_TO_NUMERIC
    return _INTEGER_DIGITS.get(expr.type.typname, TEXT_TO_NUMERIC)


def constant(sql_type: SqlType, value: object, like: Expr | None = None, typmod: int = -1) -> Expr:
    """A literal of a known type."""
    digits = None
    if sql_type.typname == "numeric" and value is not None:
        digits = literal.numeric_digits(value if isinstance(value, Decimal) else Decimal(str(value)))
    elif sql_type.typname == "numeric":
        digits = (38, 6)
    text = literal.render(sql_type, value)
    name = like.name if like is not None else "?column?"
    return Expr(
        text, sql_type, "literal", (), value, typmod, digits, name=name, position=like.position if like else None
    )


def coerce(expr: Expr, target: SqlType, context: Context, digits: tuple[int, int] | None = None) -> Expr:
    """``expr`` as ``target``, by whatever cast there is; numerics take ``digits`` when given."""
    if target is UNKNOWN:
        return expr
    if target == UINT8:
        target = NUMERIC
    if expr.unknown:
        return _coerce_unknown(expr, target, context, digits)
    if is_text(target) and (expr.shown is not None or expr.fields is not None):
        text = row_text(expr) if expr.fields is not None else expr.shown
        assert text is not None
        return combine(text, target, "cast", (expr,), name=expr.name, position=expr.position)
    if is_text(target) and expr.type.element is not None and expr.type.element.fields is not None:
        item = row_text(Expr("pg_row", expr.type.element))
        listed = to_text(f"list_transform({expr.sql}, lambda pg_row: {item})", array_of(TEXT))
        return combine(listed, target, "cast", (expr,), name=expr.name, position=expr.position)
    if is_text(target) and expr.type.typname in ("inet", "cidr"):
        # A cast shows the length that output leaves out (network_show).
        return combine(f"py_inet_text('text', {expr.sql})", target, "cast", (expr,), position=expr.position)
    _check_rows(expr, target)
    same = expr.type.typname == target.typname
    if same and (digits is None or expr.digits == digits):
        return expr
    if is_text(expr.type) and is_text(target):
        return (
            blanks.forgotten(expr, target) if expr.type.typname == "bpchar" else replace(expr, type=target, typmod=-1)
        )
    if target.typname == "numeric":
        digits = digits or numeric_digits_of(expr)
    if expr.op == "literal" and target.typname == "float8" and category(expr.type) == "N":
        assert isinstance(expr.value, int | float | Decimal) or expr.value is None
        if expr.value is None:
            return constant(target, None, expr)
        return constant(target, float(expr.value), expr)
    if expr.op == "literal" and target.typname in ("int8", "int2") and isinstance(expr.value, int):
        low, high = literal.INTEGER_RANGES[target]
        if low <= expr.value <= high and not isinstance(expr.value, bool):
            return constant(target, expr.value, expr)
    sql = cast_text(expr.sql, expr.type, target, digits)
    if sql is None:
        raise CannotCoerce(f"cannot cast type {expr.type.name} to {target.name}")
    made = combine(sql, target, "cast", (expr,), digits=digits, name=expr.name, position=expr.position)
    if target.typname == "numeric":
        return replace(made, shown=_shown_as_numeric(expr))
    if target.element is not None and target.element.typname == "numeric":
        return replace(made, digits=digits or TEXT_TO_NUMERIC)
    return made


def _check_rows(expr: Expr, target: SqlType) -> None:
    if target.fields is not None and expr.type.fields is not None and not same_fields(expr.type, target):
        raise FeatureNotSupported("rows of different types in one column are not supported", position=expr.position)


def _shown_as_numeric(expr: Expr) -> str | None:
    """What a value shows when it has become a numeric."""
    name = expr.type.typname
    if name == "numeric" or expr.shown is not None:
        return expr.shown if expr.shown is not None else f"CAST({expr.sql} AS VARCHAR)"
    if name in ("float4", "float8"):
        return f"py_numeric({float_digits(expr.sql, expr.type)})"
    if is_text(expr.type) or name in ("json", "jsonb"):
        return f"py_numeric({expr.sql})"
    if name == "money":
        return f"replace(replace({expr.sql}, '$', ''), ',', '')"
    return f"CAST({expr.sql} AS VARCHAR)"


def _coerce_unknown(expr: Expr, target: SqlType, context: Context, digits: tuple[int, int] | None) -> Expr:
    if expr.op == "parameter":
        return coerce(typed_parameter(expr, target), target, context, digits)
    if expr.op != "literal":
        sql = cast_text(expr.sql, TEXT, target, digits or TEXT_TO_NUMERIC)
        assert sql is not None
        return replace(expr, sql=sql, type=target, digits=digits or TEXT_TO_NUMERIC)
    if expr.value is None:
        made = constant(target, None, expr)
        return replace(made, sql=f"CAST(NULL AS {literal.duckdb_type(target, digits)})", digits=digits or made.digits)
    try:
        made = constant(target, literal.read(target, str(expr.value), context), expr)
    except TsdbError as error:
        if error.position is None:
            error.position = expr.position
        raise
    if digits is not None and target.typname == "numeric" and made.digits != digits:
        return replace(made, sql=f"CAST({made.sql} AS {literal.duckdb_type(target, digits)})", digits=digits)
    return made


def typed_parameter(expr: Expr, target: SqlType) -> Expr:
    """A parameter takes the first type that is asked of it, and keeps it."""
    assert isinstance(expr.value, Parameter)
    if expr.value.type is None:
        expr.value.type = target
    chosen = expr.value.type
    if chosen.typname == "numeric":
        return replace(expr, type=chosen, digits=TEXT_TO_NUMERIC, shown=expr.value.shown_marker)
    return replace(expr, type=chosen)


def explicit_cast(expr: Expr, target: SqlType, typmod: int, context: Context) -> Expr:
    """CAST(expr AS target): the type modifier cuts, pads and rounds."""
    digits = None
    if target.typname == "numeric" and typmod >= 0:
        digits = storage_form.numeric_precision(typmod)
    if expr.op == "literal" and expr.unknown and target.typname == "numeric" and digits is not None:
        expr = coerce(expr, target, context)
    made = coerce(expr, target, context, digits)
    if typmod >= 0 and target.typname in ("varchar", "bpchar"):
        length = typmod - 4
        made = combine(_cut(made.sql, target, length), target, "cast", (made,))
    elif typmod >= 0 and target.typname in ("timestamp", "timestamptz") and typmod < 6:
        made = combine(f"pg_round_{target.typname}({made.sql}, {10 ** (6 - typmod)})", target, "cast", (made,))
    elif typmod >= 0 and target.element is not None and target.element.typname in ("varchar", "bpchar"):
        item = _cut("pg_item", target.element, typmod - 4)
        made = combine(f"list_transform({made.sql}, lambda pg_item: {item})", target, "cast", (made,))
    if typmod >= 0 and target.typname == "time" and typmod < 6:
        made = combine(f"pg_round_time({made.sql}, {10 ** (6 - typmod)})", target, "cast", (made,))
    if digits is not None:
        # The scale is the modifier's, whatever the value showed before.
        made = replace(made, shown=None)
    return replace(made, typmod=typmod, position=expr.position)


def _cut(text: str, target: SqlType, length: int) -> str:
    cut = f"left({text}, {length})"
    return f"rpad({cut}, {length}, ' ')" if target.typname == "bpchar" else cut


def as_bool(expr: Expr, what: str, context: Context) -> Expr:
    """A condition. ``what`` is WHERE, ON, HAVING, CASE/WHEN, NOT, AND, OR."""
    if not implicit(expr.type, BOOL):
        raise DatatypeMismatch(
            f"argument of {what} must be type boolean, not type {expr.type.name}", position=expr.position
        )
    return coerce(expr, BOOL, context)


def unify(exprs: Sequence[Expr], what: str, context: Context) -> tuple[SqlType, list[Expr]]:
    """All of them in their common type."""
    target = common_type(exprs, what)
    digits = common_digits(exprs) if target.typname == "numeric" else None
    return target, [coerce(e, target, context, digits) for e in exprs]
