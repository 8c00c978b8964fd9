"""Literals as constants of a type: read as the type reads them, kept as it writes them."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from tsdb.errors import TsdbError
from tsdb.sql import intervals, literal
from tsdb.sql.computed.text_types import float_text
from tsdb.sql.context import Context
from tsdb.sql.datetime_text import INFINITY, local_of_utc
from tsdb.sql.deparse import facts
from tsdb.sql.deparse.nodes import Const, Unprintable
from tsdb.types import BY_OID, SqlType

_EPOCH = datetime.datetime(1970, 1, 1)
_INT4_MAX, _INT8_MAX = 2**31 - 1, 2**63 - 1


def number(text: str, *, negative: bool = False) -> Const:
    """A numeric literal: the smallest integer type that holds it, else numeric."""
    sign = "-" if negative else ""
    if text.isdigit():
        value = int(text)
        kind = facts.INT4 if value <= _INT4_MAX else facts.INT8 if value <= _INT8_MAX else facts.NUMERIC
        return Const(kind, text=f"{sign if value else ''}{value}")
    return Const(facts.NUMERIC, text=_numeric(Decimal(sign + text)))


def unknown(text: str) -> Const:
    return Const(facts.UNKNOWN, text=text)


def null() -> Const:
    return Const(facts.UNKNOWN)


def typed(constant: Const, target: int, context: Context) -> Const:
    """A literal without a type as one of ``target``. Raises Unprintable."""
    if constant.text is None:
        return Const(target)
    sql_type = BY_OID.get(target)
    if sql_type is None and target >= facts.FIRST_OWN:
        # A label, or labels in braces: they are written as they are read.
        return Const(target, text=constant.text)
    if sql_type is None:
        raise Unprintable(f"constant of type {target}")
    try:
        value = literal.read(sql_type, constant.text, context)
    except TsdbError as error:
        raise Unprintable(error.message) from None
    return Const(target, text=_written(sql_type, value, context))


def _numeric(value: Decimal) -> str:
    text = f"{value:f}"
    # Zeros in front are numeric's; there is no minus zero.
    return text.removeprefix("-") if value == 0 else text


def _date(days: int) -> str:
    if abs(days) >= INFINITY // 86_400_000_000:
        raise Unprintable("an infinite date")
    return _moment(days * 86_400_000_000)[:10]


def _moment(us: int) -> str:
    """YYYY-MM-DD HH:MM:SS and the fraction, without zeros at its end."""
    if abs(us) >= INFINITY:
        return "infinity" if us > 0 else "-infinity"
    try:
        at = _EPOCH + datetime.timedelta(microseconds=us)
    except OverflowError:
        raise Unprintable("a date beyond year 9999") from None
    fraction = f".{at.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{at:%Y-%m-%d %H:%M:%S}".rjust(19, "0") + fraction


def _instant(us: int, context: Context) -> str:
    local = _moment(us)
    if abs(us) >= INFINITY:
        return local
    shift = (local_of_utc(us, context.zone) - us) // 1_000_000
    sign, rest = ("-", -shift) if shift < 0 else ("+", shift)
    hours, minutes, seconds = rest // 3600, rest // 60 % 60, rest % 60
    offset = f"{sign}{hours:02d}" + (f":{minutes:02d}" if minutes or seconds else "")
    return _moment(us + shift * 1_000_000) + offset + (f":{seconds:02d}" if seconds else "")


_WRITERS: Mapping[str, Callable[[Any], str]] = {
    "bool": lambda v: "true" if v else "false",
    "int2": str, "int4": str, "int8": str, "oid": str,
    "float8": float_text, "numeric": _numeric, "interval": intervals.format,
    "date": _date, "timestamp": _moment, "time": lambda v: _moment(v)[11:], "bytea": lambda v: "\\x" + v.hex(),
}  # fmt: skip


def _written(sql_type: SqlType, value: Any, context: Context) -> str:
    if sql_type.element is not None:
        return "{" + ",".join(_element(sql_type.element, item, context) for item in value) + "}"
    if sql_type.typname == "timestamptz":
        return _instant(value, context)
    if sql_type.typname in _WRITERS:
        return _WRITERS[sql_type.typname](value)
    if isinstance(value, str):
        return value
    raise Unprintable(f"constant of type {sql_type.name}")


def _element(sql_type: SqlType, value: Any, context: Context) -> str:
    if value is None:
        return "NULL"
    text = _written(sql_type, value, context)
    if sql_type.typname == "bool":
        return text[0]
    plain = text and text.upper() != "NULL" and not any(c in '{},"\\' or c.isspace() for c in text)
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
