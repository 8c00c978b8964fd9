"""Casts between known types in DuckDB's text, with PostgreSQL's results and errors (macros: ``macros``)."""

from __future__ import annotations

from tsdb.sql.catalog.calls import MARKER
from tsdb.sql.literal import duckdb_type, quote
from tsdb.types import REFERENCES, TEXT, TEXT_FORMS, SqlType

_REFERENCES = tuple(t.typname for t in REFERENCES)
_NUMBERS = ("int2", "int4", "int8", "oid", "numeric", "float4", "float8")
_INTEGERS = ("int2", "int4", "int8", "oid")
_OIDS = ("int2", "int4", "int8", "oid", *_REFERENCES)
_TEXTS = ("text", "varchar", "bpchar", "name", "unknown")
_PLAIN = {
    ("date", "timestamp"), ("date", "timestamptz"), ("timestamp", "timestamptz"), ("timestamptz", "timestamp"),
    ("timestamp", "date"), ("timestamptz", "date"), ("timestamp", "time"), ("bool", "int4"),
    ("int4", "bool"), ("time", "interval"), ("interval", "time"), ("json", "jsonb"), ("jsonb", "json"),
}  # fmt: skip


def cast_text(sql: str, source: SqlType, target: SqlType, digits: tuple[int, int] | None) -> str | None:
    """DuckDB's text for a cast, None when PostgreSQL has none. ``digits``: a numeric target's (precision, scale)."""
    if target.element is not None:
        return _to_array(sql, source, target, digits)
    if target.typname in _TEXTS:
        return to_text(sql, source)
    if source.typname in _TEXTS:
        return _from_text(sql, target, digits)
    a, b = source.typname, target.typname
    if (a in _REFERENCES and b in _OIDS) or (b in _REFERENCES and a in _OIDS):
        return f"CAST({sql} AS {duckdb_type(target)})"
    if a in _NUMBERS and b in _NUMBERS:
        if a in ("float4", "float8") and b == "numeric":
            # float8_numeric in numeric.c
            return f"CAST({float_digits(sql, source)} AS {duckdb_type(target, digits)})"
        if a in ("float4", "float8") and b in _INTEGERS:
            return f"CAST(pg_finite({sql}, '{target.name}') AS {duckdb_type(target, digits)})"
        return f"CAST({sql} AS {duckdb_type(target, digits)})"
    if b == "money" and a in ("int2", "int4", "int8", "numeric"):
        return f"py_text_input('money', CAST({sql} AS VARCHAR), 'UTC')"
    if (a, b) == ("money", "numeric"):
        return f"CAST(replace(replace({sql}, '$', ''), ',', '') AS DECIMAL(38,2))"
    if (a, b) == ("timestamptz", "time"):
        return f"CAST(CAST({sql} AS TIMESTAMP) AS TIME)"
    if (a, b) == ("timestamptz", "timetz"):
        return f"substr(pg_datetime_text(CAST({sql} AS VARCHAR)), 12)"
    if (a, b) == ("timetz", "time"):
        return f"CAST(regexp_extract({sql}, '^[0-9:.]+') AS TIME)"
    if (a, b) == ("time", "timetz"):
        return f"py_text_input('timetz', CAST({sql} AS VARCHAR), current_setting('TimeZone'))"
    if (a, b) == ("inet", "cidr"):
        return f"py_inet_text('network', {sql})"
    if (a, b) == ("cidr", "inet"):
        return f"py_text_input('inet', {sql}, 'UTC')"
    if (a, b) == ("interval", "time"):
        return f"CAST(make_timestamp((pg_interval_us({sql}) % 86400000000 + 86400000000) % 86400000000) AS TIME)"
    if (a, b) == ("time", "interval"):
        return f"to_microseconds(epoch_us({sql}))"
    if a in ("json", "jsonb") and b in (*_NUMBERS, "bool"):
        return f"CAST({sql} AS {duckdb_type(target, digits)})"
    if (a, b) == ("json", "jsonb"):
        return f"py_jsonb({sql})"
    if (a, b) in _PLAIN:
        return f"CAST({sql} AS {duckdb_type(target)})"
    return None


def float_digits(sql: str, source: SqlType) -> str:
    """The text of a float that becomes a numeric: PostgreSQL takes 15 digits of it, 6 of a real."""
    return f"format('{{:.{15 if source.typname == 'float8' else 6}g}}', pg_finite({sql}, 'numeric'))"


def to_text(sql: str, source: SqlType) -> str:
    """PostgreSQL's output form of a value."""
    name = source.typname
    if name in ("float4", "float8"):
        return f"pg_{name}_text({sql})"
    if source in REFERENCES:
        return f"catalog_text('{name} name', {MARKER}, {sql}, NULL, NULL)"
    if source.vector:
        return f"array_to_string(list_transform({sql}, lambda pg_item: CAST(pg_item AS VARCHAR)), ' ')"
    if name == "interval":
        return f"pg_interval_text({sql})"
    if name == "bytea":
        return f"('\\x' || lower(hex({sql})))"
    if name in ("timestamp", "timestamptz", "date"):
        return f"pg_datetime_text(CAST({sql} AS VARCHAR))"
    if name == "tstzrange":
        return f"py_range_in_zone({sql}, current_setting('TimeZone'))"
    if source.element is not None:
        inner = to_text("pg_item", source.element)
        return f"('{{' || array_to_string(list_transform({sql}, lambda pg_item: pg_array_item({inner})), ',') || '}}')"
    return f"CAST({sql} AS VARCHAR)"


def _from_text(sql: str, target: SqlType, digits: tuple[int, int] | None) -> str:
    name = target.typname
    if name in TEXT_FORMS:
        return f"py_text_input('{name}', {sql}, current_setting('TimeZone'))"
    if target.labels is not None:
        known = f"list_contains([{', '.join(map(quote, target.labels))}]::VARCHAR[], {sql})"
        said = quote(f"22P02:invalid input value for enum {target.name}: ")
        wrong = f"error({said} || '\"' || {sql} || '\"')"
        return f"CAST(CASE WHEN {sql} IS NULL OR {known} THEN {sql} ELSE {wrong} END AS {duckdb_type(target)})"
    if name == "char":
        return f"left({sql}, 1)"
    if target in REFERENCES:
        return f"catalog_number('{name} number', {MARKER}, NULL, NULL, {sql})"
    if name in _INTEGERS:
        return f"CAST(pg_text_integer({sql}, '{target.name}') AS {duckdb_type(target)})"
    if name in ("float4", "float8"):
        return f"CAST(pg_text_number({sql}, '{target.name}') AS {duckdb_type(target)})"
    if name == "numeric":
        return f"CAST(pg_text_number({sql}, 'numeric') AS {duckdb_type(target, digits)})"
    if name == "bool":
        return f"pg_text_bool({sql})"
    if name == "bytea":
        return f"py_bytea({sql})"
    if name == "uuid":
        return f"CAST(CAST({sql} AS UUID) AS VARCHAR)"
    if name in ("json", "jsonb"):
        return f"py_{name}({sql})"
    return f"CAST({sql} AS {duckdb_type(target)})"


def _to_array(sql: str, source: SqlType, target: SqlType, digits: tuple[int, int] | None) -> str | None:
    assert target.element is not None
    if source.element is not None:
        inner = cast_text("pg_item", source.element, target.element, digits)
        return None if inner is None else f"list_transform({sql}, lambda pg_item: {inner})"
    if source.typname in _TEXTS:
        inner = cast_text("pg_item", TEXT, target.element, digits or (38, 10))
        return f"list_transform(py_array_items({sql}), lambda pg_item: {inner})"
    return None
