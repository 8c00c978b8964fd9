"""Values: from PostgreSQL's text to a Python value, and from a value to DuckDB's text. Pure.

type                        value
boolean                     bool
int2 int4 int8 oid          int
float4 float8               float
numeric                     Decimal
date                        int, days since 1970-01-01
time                        int, µs since midnight
timestamp timestamptz       int, µs since 1970 (UTC); ±(2**63 − 1) are the infinities
interval                    intervals.Interval
bytea                       bytes
reg*                        int, an OID, or str, a name
type[]                      list of the element's values and None
all others                  str
"""

from __future__ import annotations

import datetime
import math
import re
import uuid
from decimal import Decimal, InvalidOperation

from tsdb.datetimes import plain_utc
from tsdb.errors import (
    CharacterNotInRepertoire,
    InvalidTextRepresentation,
    NumericValueOutOfRange,
)
from tsdb.sql import array_text, datetime_text, intervals
from tsdb.sql.catalog.calls import MARKER
from tsdb.sql.computed import json_text, octets, text_types
from tsdb.sql.context import Context
from tsdb.sql.datetime_text import INFINITY
from tsdb.sql.intervals import Interval
from tsdb.types import (
    BOOL,
    BYTEA,
    CID,
    DATE,
    FLOAT4,
    FLOAT8,
    INT2,
    INT4,
    INT8,
    INTERVAL,
    JSON,
    JSONB,
    NUMERIC,
    OID,
    REFERENCES,
    TEXT,
    TEXT_FORMS,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    XID,
    SqlType,
)  # fmt: skip

_LONG_ARRAY = 100
_SEPARATOR = "\x1f"
INTEGER_RANGES = {
    INT2: (-(2**15), 2**15 - 1),
    INT4: (-(2**31), 2**31 - 1),
    INT8: (-(2**63), 2**63 - 1),
    OID: (0, 2**32 - 1),
    XID: (0, 2**32 - 1),
    CID: (0, 2**32 - 1),
}
NUMERIC_DIGITS = 38
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")
_FLOAT = re.compile(r"\s*[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?|nan)\s*", re.I)
_NUMERIC = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?\s*")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_US = datetime.timedelta(microseconds=1)


def _invalid(sql_type: SqlType, text: str) -> InvalidTextRepresentation:
    return InvalidTextRepresentation(f'invalid input syntax for type {sql_type.name}: "{text[:200]}"')


def read(sql_type: SqlType, text: str, context: Context) -> object:
    """The value that ``text`` spells for a type. Raises 22P02, 22003, 22007, 22008, as PostgreSQL's input functions."""
    # What dashboards compare with; the other types are told one by one.
    if sql_type is TIMESTAMPTZ and (plain := plain_utc(text)) is not None:
        return plain
    if sql_type is TEXT and "\0" not in text:
        return text
    if sql_type.element is not None and sql_type.vector:
        return [read(sql_type.element, item, context) for item in text.split()]
    if sql_type.element is not None:
        element = sql_type.element
        return [None if item is None else read(element, item, context) for item in array_text.parse(text)]
    if sql_type in INTEGER_RANGES:
        return _read_integer(sql_type, text)
    if sql_type in REFERENCES:
        return 0 if text.strip() == "-" else int(text) if text.strip().isdigit() and text.isascii() else text
    if sql_type in (FLOAT4, FLOAT8):
        return _read_float(sql_type, text)
    if sql_type == NUMERIC:
        return _read_numeric(text)
    if sql_type == BOOL:
        return _read_bool(text)
    if sql_type == TIMESTAMPTZ:
        return datetime_text.read_timestamptz(text, context.now_us, context.literal_zone)
    if sql_type == TIMESTAMP:
        return datetime_text.read_timestamp(text, context.now_us, context.literal_zone)
    if sql_type == DATE:
        return datetime_text.read_date(text, context.now_us, context.literal_zone)
    if sql_type == TIME:
        return datetime_text.read_time(text)
    if sql_type == INTERVAL:
        return intervals.parse(text)
    return _read_textual(sql_type, text, context)


def _read_textual(sql_type: SqlType, text: str, context: Context) -> object:
    if sql_type.labels is not None:
        return _read_label(sql_type, text)
    if sql_type == BYTEA:
        return octets.of_text(text)
    if sql_type == UUID:
        try:
            return str(uuid.UUID(text.strip()))
        except ValueError:
            raise _invalid(sql_type, text) from None
    if sql_type.typname in TEXT_FORMS:
        return text_types.read(sql_type.typname, text, context.literal_zone.key)
    if sql_type == JSONB:
        return json_text.canonical(text)
    if sql_type == JSON:
        json_text.parse(text)
    if "\0" in text:
        raise CharacterNotInRepertoire('invalid byte sequence for encoding "UTF8": 0x00')
    return text


def _read_label(sql_type: SqlType, text: str) -> str:
    assert sql_type.labels is not None
    if text not in sql_type.labels:
        raise InvalidTextRepresentation(f'invalid input value for enum {sql_type.name}: "{text[:200]}"')
    return text


def _read_integer(sql_type: SqlType, text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise _invalid(sql_type, text)
    low, high = INTEGER_RANGES[sql_type]
    if len(text) > 4000 or not low <= (value := int(text)) <= high:
        raise NumericValueOutOfRange(f'value "{text.strip()[:200]}" is out of range for type {sql_type.name}')
    return value


def _read_float(sql_type: SqlType, text: str) -> float:
    if len(text) > 4000 or _FLOAT.fullmatch(text) is None:
        raise _invalid(sql_type, text)
    value = float(text)
    if math.isinf(value) and "inf" not in text.lower():
        raise NumericValueOutOfRange(f'"{text.strip()[:200]}" is out of range for type {sql_type.name}')
    return value


_NOT_FINITE = ("nan", "infinity", "-infinity", "inf", "-inf")


def _read_numeric(text: str) -> Decimal:
    if text.strip().lower() not in _NOT_FINITE and _NUMERIC.fullmatch(text) is None:
        raise _invalid(NUMERIC, text)
    return numeric_value(text)


def numeric_value(text: str) -> Decimal:
    """A number of at most 38 digits. Raises NumericValueOutOfRange."""
    if text.strip().lower() in _NOT_FINITE:
        raise NumericValueOutOfRange(f'numeric has no "{text.strip()}" here', hint="Use double precision.")
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise _invalid(NUMERIC, text) from None
    precision, _ = numeric_digits(value)
    if precision > NUMERIC_DIGITS:
        raise NumericValueOutOfRange(f"numeric value has more than {NUMERIC_DIGITS} digits")
    return value


def numeric_digits(value: Decimal) -> tuple[int, int]:
    """(precision, scale) that hold a value exactly."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    scale = max(0, -exponent)
    whole = max(0, len(digits) + exponent) if any(digits) else 1
    return max(1, whole) + scale if scale < NUMERIC_DIGITS else scale, scale


def _read_bool(text: str) -> bool:
    word = text.strip().lower()
    if word and word != "o":
        if any(full.startswith(word) for full in ("true", "yes", "on")) or word == "1":
            return True
        if any(full.startswith(word) for full in ("false", "no", "off")) or word == "0":
            return False
    raise _invalid(BOOL, text)


def of_python(sql_type: SqlType, value: object, context: Context) -> object:
    """A parameter's value in our form: a text is read by its type, Python's dates and times become integers."""
    if value is None or isinstance(value, Interval):
        return value
    if isinstance(value, str):
        return read(sql_type, value, context)
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            us = (value.replace(tzinfo=datetime.UTC) - _EPOCH) // _US
            return datetime_text.utc_of_local(us, context.literal_zone) if sql_type == TIMESTAMPTZ else us
        us = (value - _EPOCH) // _US
        return us if sql_type == TIMESTAMPTZ else datetime_text.local_of_utc(us, context.literal_zone)
    if isinstance(value, datetime.date):
        days = value.toordinal() - datetime.date(1970, 1, 1).toordinal()
        return days if sql_type == DATE else of_python(sql_type, f"{value.isoformat()} 00:00:00", context)
    if isinstance(value, datetime.time):
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
    if isinstance(value, datetime.timedelta):
        return Interval(0, value.days, value.seconds * 1_000_000 + value.microseconds)
    if isinstance(value, list | tuple) and sql_type.element is not None:
        return [of_python(sql_type.element, item, context) for item in value]
    if sql_type in (FLOAT4, FLOAT8) and isinstance(value, int | float | Decimal):
        return float(value)
    if sql_type == NUMERIC and isinstance(value, int | float | Decimal):
        return numeric_value(str(value))
    if isinstance(value, bool | int | float | bytes | Decimal):
        return value
    return read(sql_type, str(value), context)


_DUCKDB_NAMES = {
    "bool": "BOOLEAN", "bytea": "BLOB", "int8": "BIGINT", "int2": "SMALLINT", "int4": "INTEGER", "oid": "BIGINT",
    "float4": "FLOAT", "float8": "DOUBLE", "date": "DATE", "time": "TIME", "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ", "interval": "INTERVAL", "xid": "BIGINT", "cid": "BIGINT", "xid8": "BIGINT",
    **{t.typname: "BIGINT" for t in REFERENCES},
}  # fmt: skip


def duckdb_type(sql_type: SqlType, digits: tuple[int, int] | None = None) -> str:
    """DuckDB's name of a type; ``digits`` are a numeric's (precision, scale)."""
    if sql_type.element is not None:
        return duckdb_type(sql_type.element, digits) + "[]"
    if sql_type.labels is not None:
        return f"ENUM({', '.join(map(quote, sql_type.labels))})" if sql_type.labels else "VARCHAR"
    if sql_type.fields is not None:
        parts = [f"f{i + 1} {duckdb_type(f.type, f.digits)}" for i, f in enumerate(sql_type.fields)]
        return f"STRUCT({', '.join(parts or ['f0 INTEGER'])})"
    if sql_type.typname == "numeric":
        precision, scale = digits or (38, 6)
        return f"DECIMAL({precision},{scale})"
    return _DUCKDB_NAMES.get(sql_type.typname, "VARCHAR")


def quote(text: str) -> str:
    """A string in DuckDB's text. U+0001 marks values that come at run time, so it never stands in a literal."""
    if "\0" in text:
        raise CharacterNotInRepertoire('invalid byte sequence for encoding "UTF8": 0x00')
    quoted = "'" + text.replace("'", "''") + "'"
    return "(" + quoted.replace("\x01", "' || chr(1) || '") + ")" if "\x01" in quoted else quoted


def render(sql_type: SqlType, value: object) -> str:
    """DuckDB's text of a value in our form, of exactly the type."""
    if value is None:
        return f"CAST(NULL AS {duckdb_type(sql_type)})"
    if sql_type.element is not None:
        assert isinstance(value, list)
        digits = (38, 10) if sql_type.element == NUMERIC else None
        long = _render_long(sql_type, value, digits) if len(value) > _LONG_ARRAY else None
        if long is not None:
            return long
        items = ", ".join(render(sql_type.element, item) for item in value)
        return f"CAST([{items}] AS {duckdb_type(sql_type, digits)})"
    if sql_type == BOOL:
        return "true" if value else "false"
    if sql_type == INT4:
        return str(value) if int(str(value)) >= 0 else f"({value})"
    if sql_type in INTEGER_RANGES:
        return f"CAST({value} AS {duckdb_type(sql_type)})"
    if sql_type in REFERENCES:
        return f"CAST({value} AS BIGINT)" if isinstance(value, int) else reference(sql_type, str(value))
    if sql_type in (FLOAT4, FLOAT8):
        return f"CAST('{value!r}' AS {duckdb_type(sql_type)})"
    if sql_type == NUMERIC:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
        return f"CAST('{number:f}' AS {duckdb_type(NUMERIC, numeric_digits(number))})"
    if sql_type in (DATE, TIME, TIMESTAMP, TIMESTAMPTZ):
        assert isinstance(value, int)
        return _render_datetime(sql_type, value)
    if sql_type == INTERVAL:
        assert isinstance(value, Interval)
        return f"CAST('{value.months} months {value.days} days {value.microseconds} microseconds' AS INTERVAL)"
    if sql_type == BYTEA:
        assert isinstance(value, bytes)
        return f"from_hex('{value.hex()}')"
    if sql_type.labels:
        return f"CAST({quote(str(value))} AS {duckdb_type(sql_type)})"
    return quote(str(value))


def reference(sql_type: SqlType, text: str) -> str:
    """A name where a reg* value stands: looked up when the statement runs."""
    assert sql_type in REFERENCES
    return f"catalog_number('{sql_type.typname} number', {MARKER}, NULL, NULL, {quote(text)})"


def _render_long(sql_type: SqlType, items: list[object], digits: tuple[int, int] | None) -> str | None:
    """A long array in one string: DuckDB's parser and planner take longer for 50,000 literals than for the query."""
    element = sql_type.element
    if element in (*INTEGER_RANGES, FLOAT4, FLOAT8):
        listed = ",".join("NULL" if item is None else repr(item) for item in items)
        return f"CAST('[{listed}]' AS {duckdb_type(sql_type)})"
    if element == NUMERIC:
        numbers = ",".join("NULL" if item is None else f"{Decimal(str(item)):f}" for item in items)
        return f"CAST('[{numbers}]' AS {duckdb_type(sql_type, digits)})"
    if element is not None and element.typname in ("text", "varchar") and None not in items:
        listed = _SEPARATOR.join(map(str, items))
        if listed.count(_SEPARATOR) == len(items) - 1:
            return f"string_split({quote(listed)}, chr({ord(_SEPARATOR)}))"
    return None


def _render_datetime(sql_type: SqlType, value: int) -> str:
    name = duckdb_type(sql_type)
    if sql_type == TIME:
        seconds, us = divmod(value, 1_000_000)
        return f"CAST('{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{us:06d}' AS TIME)"
    if abs(value) == INFINITY:
        return f"CAST('{'-' if value < 0 else ''}infinity' AS {name})"
    if sql_type == DATE:
        return f"CAST(DATE '1970-01-01' + CAST({value} AS INTEGER) AS DATE)"
    return f"make_{name.lower()}(CAST({value} AS BIGINT))"
