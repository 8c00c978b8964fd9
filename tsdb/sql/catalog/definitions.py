"""What pg_get_indexdef, pg_get_constraintdef, pg_get_viewdef, format_type and their like answer, as texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from tsdb.model.catalog import Series
from tsdb.model.relations import SqlView
from tsdb.sql.catalog import static
from tsdb.sql.catalog.live import Glance
from tsdb.sql.catalog.names import relation_name, type_name
from tsdb.sql.catalog.outline import ConstraintEntry, IndexEntry, quote_ident
from tsdb.sql.catalog.own_functions import FIRST_OID, own_functions
from tsdb.sql.storage_form import numeric_precision
from tsdb.types import BY_OID

_LENGTHS = ("varchar", "bpchar")
_PRECISIONS = {
    "timestamp": ("timestamp", " without time zone"),
    "timestamptz": ("timestamp", " with time zone"),
    "time": ("time", " without time zone"),
    "timetz": ("time", " with time zone"),
}
_HEADER_BYTES = 4
_WITHOUT_MODIFIER = ("bool", "int2", "int4", "int8", "float4", "float8")
_ACTIONS = {"c": "CASCADE", "r": "RESTRICT", "n": "SET NULL", "d": "SET DEFAULT"}


def format_type(glance: Glance, oid: int | None, typmod: int | None) -> str | None:
    """format_type(type, typmod); a type that is not there is ``???``."""
    if oid is None:
        return None
    if oid == 0:
        return "-"
    found = BY_OID.get(oid)
    if found is None:
        return type_name(glance.outline, oid) or "???"
    element = found.element if found.element is not None and not found.vector else None
    suffix = "[]" if element is not None else ""
    plain = element or found
    if typmod is None and plain.typname == "bpchar":
        return f"character{suffix}"
    if plain.typname == "bpchar" and (typmod is None or typmod < 0):
        return f"bpchar{suffix}"
    name = plain.name
    if typmod is not None and typmod >= 0:
        name = _modified(plain.typname, name, typmod)
    return name + suffix


def _modified(typname: str, name: str, typmod: int) -> str:
    """What the type's typmodout function adds; a type without one shows the number (printTypmod)."""
    if typname == "numeric":
        if typmod < _HEADER_BYTES:
            return name
        precision, scale = numeric_precision(typmod)
        return f"numeric({precision},{scale})"
    if typname in _LENGTHS:
        return f"{name}({typmod - _HEADER_BYTES})" if typmod > _HEADER_BYTES else name
    if typname in _PRECISIONS:
        before, after = _PRECISIONS[typname]
        return f"{before}({typmod}){after}"
    return name if typname in _WITHOUT_MODIFIER else f"{name}({typmod})"


@cache
def _operator_classes() -> Mapping[int, int]:
    """The default btree operator class of each type."""
    rows = static.values("pg_opclass", "oid", "opcmethod", "opcintype", "opcdefault")
    return {kind: oid for oid, method, kind, default in rows if method == 403 and default}


def operator_class(typname: str) -> int:
    """The btree operator class of a type's index, by pg_opclass; varchar takes text's."""
    shared = {"varchar": "text", "json": "text"}
    found = next((t for t in BY_OID.values() if t.typname == shared.get(typname, typname)), None)
    return 0 if found is None else _operator_classes().get(found.oid, 0)


@cache
def _procedures() -> Mapping[str, int]:
    return {name: oid for oid, name in static.values("pg_proc", "oid", "proname")}


def procedure(name: str) -> int:
    """A function's OID by a name that only one function has."""
    return _procedures().get(name, 0)


# --- indexes ---


def index_definition(glance: Glance, oid: int | None, column: int | None = None, *, short: bool = False) -> str | None:
    """pg_get_indexdef(index) and, with ``column``, one column's text; ``short`` without the path's schemas."""
    index = glance.outline.index_by_oid.get(oid or 0)
    if index is None:
        return None
    if column:
        return _index_column(index, column - 1)
    keys = ", ".join(_index_column(index, k) + _ordered(index, k) for k in range(len(index.columns)))
    unique = "UNIQUE " if index.unique else ""
    table = relation_name(glance.outline, index.table.oid, always=not short)
    text = f"CREATE {unique}INDEX {quote_ident(index.name)} ON {table} USING {index.method} ({keys})"
    if index.included:
        text += f" INCLUDE ({', '.join(_column(index, n) for n in index.included)})"
    return f"{text} WHERE ({index.where})" if index.where else text


def _column(index: IndexEntry, number: int) -> str:
    return quote_ident(index.table.attributes[number - 1].name)


def _index_column(index: IndexEntry, place: int) -> str:
    numbers = (*index.columns, *index.included)
    if place >= len(numbers):
        return ""
    number = numbers[place]
    return _column(index, number) if number else f"({index.keys[place].text})"


def _ordered(index: IndexEntry, place: int) -> str:
    if place >= len(index.keys):
        return ""
    key = index.keys[place]
    if key.descending:
        return " DESC" if key.nulls_first else " DESC NULLS LAST"
    return " NULLS FIRST" if key.nulls_first else ""


# --- constraints ---


def constraint_definition(glance: Glance, oid: int | None) -> str | None:
    """pg_get_constraintdef."""
    constraint = glance.outline.constraint_by_oid.get(oid or 0)
    if constraint is None:
        return None
    columns = ", ".join(_named(constraint.table.attributes, constraint.columns))
    if constraint.kind == "p":
        return f"PRIMARY KEY ({columns})"
    if constraint.kind == "u":
        return f"UNIQUE ({columns})"
    assert constraint.model is not None
    if constraint.kind == "c":
        return f"CHECK (({constraint.model.text}))"
    if constraint.kind == "x":
        return f"EXCLUDE {constraint.model.text}"
    return _foreign_key(glance, constraint, columns)


def _named(attributes: tuple[Any, ...], numbers: tuple[int, ...]) -> list[str]:
    return [quote_ident(attributes[n - 1].name) for n in numbers if n]


def _foreign_key(glance: Glance, constraint: ConstraintEntry, columns: str) -> str:
    model = constraint.model
    assert model is not None
    referred = glance.outline.by_oid.get(constraint.references)
    if referred is None:
        return f"FOREIGN KEY ({columns})"
    theirs = ", ".join(_named(referred.attributes, constraint.reference_columns))
    text = f"FOREIGN KEY ({columns}) REFERENCES {relation_name(glance.outline, referred.oid)}({theirs})"
    if model.match == "f":
        text += " MATCH FULL"
    if model.on_update in _ACTIONS:
        text += f" ON UPDATE {_ACTIONS[model.on_update]}"
    return f"{text} ON DELETE {_ACTIONS[model.on_delete]}" if model.on_delete in _ACTIONS else text


# --- views ---


@cache
def _system_views() -> Mapping[int, str]:
    return dict(static.values("view_definitions", "oid", "definition"))


def view_definition(glance: Glance, oid: int | None) -> str | None:
    """pg_get_viewdef: the text that CREATE VIEW got, with a semicolon; of the system's views PostgreSQL's own."""
    entry = glance.outline.by_oid.get(oid or 0)
    if entry is None:
        return _system_views().get(oid or 0)
    model = entry.model
    if isinstance(model, SqlView):
        return _terminated(model.definition.text)
    if isinstance(model, Series) and model.definition is not None and entry.kind == "m":
        return _terminated(model.definition.text)
    return None


def _terminated(text: str) -> str:
    return f" {text.strip().rstrip(';').rstrip()};"


# --- functions ---


@cache
def _functions() -> Mapping[int, tuple[Any, ...]]:
    rows = static.values(
        "pg_proc", "oid", "proname", "+arguments", "+identity_arguments", "+result", "provolatile", "proparallel",
        "proisstrict", "prosecdef",
    )  # fmt: skip
    own = {
        f.oid: (f.name, f.arguments, f.identity_arguments, f.result, "i", "s", False, False) for f in own_functions()
    }
    return {oid: tuple(rest) for oid, *rest in rows} | own


def function_text(oid: int | None, part: int) -> str | None:
    """1: pg_get_function_arguments, 2: …_identity_arguments, 3: …_result."""
    found = _functions().get(oid or 0)
    return None if found is None else str(found[part])


@cache
def _callable() -> Mapping[int, bool]:
    return {oid: text == "true" for oid, text in static.values("pg_proc", "oid", "+everybody")}


_ANY = (2276, 2283)  # any, anyelement


@cache
def _arguments() -> dict[str, list[tuple[int, ...]]]:
    found: dict[str, list[tuple[int, ...]]] = {}
    for name, types in static.values("pg_proc", "proname", "proargtypes"):
        found.setdefault(name, []).append(tuple(types))
    return found


def is_function(name: str, given: Sequence[int]) -> bool:
    """Whether PostgreSQL has a function of the name that takes arguments of just these types; 705 is unknown."""
    return any(
        len(types) == len(given) and all(a in (b, 705) or b in _ANY for a, b in zip(given, types, strict=True))
        for types in _arguments().get(name, ())
    )


def everybody_may_call(oid: int) -> bool | None:
    """Whether PUBLIC has EXECUTE on a function; None for what is not there."""
    return _callable().get(oid)


_VOLATILITY = {"i": "IMMUTABLE", "s": "STABLE"}
_PARALLEL = {"s": "PARALLEL SAFE", "r": "PARALLEL RESTRICTED"}


def function_definition(oid: int | None) -> str | None:
    """pg_get_functiondef of a function that is built in."""
    found = _functions().get(oid or 0)
    if found is None:
        return None
    name, arguments, _, result, volatility, parallel, strict, definer = found
    words = [_VOLATILITY.get(volatility), _PARALLEL.get(parallel), strict and "STRICT", definer and "SECURITY DEFINER"]
    properties = " ".join(word for word in words if word)
    schema = "public" if oid is not None and oid >= FIRST_OID else "pg_catalog"
    return (
        f"CREATE OR REPLACE FUNCTION {schema}.{quote_ident(name)}({arguments})\n RETURNS {result}\n"
        f" LANGUAGE internal\n{f' {properties}{chr(10)}' if properties else ''}AS $function${name}$function$\n"
    )
