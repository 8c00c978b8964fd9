"""What pg_get_indexdef, pg_get_constraintdef, pg_get_viewdef and their like answer, as texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from tsdb.model.catalog import Series
from tsdb.model.relations import SqlView
from tsdb.sql import check_text as check_texts
from tsdb.sql.catalog import static
from tsdb.sql.catalog.live import Glance
from tsdb.sql.catalog.names import relation_name
from tsdb.sql.catalog.outline import Attribute, ConstraintEntry, IndexEntry, quote_ident, quote_literal
from tsdb.sql.catalog.own_functions import FIRST_OID, own_functions
from tsdb.sql.deparse import definitions as printed
from tsdb.types import BY_OID

_ACTIONS = {"c": "CASCADE", "r": "RESTRICT", "n": "SET NULL", "d": "SET DEFAULT"}


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
    """pg_get_indexdef(index) and, with ``column``, one column's text; ``short``: pretty, and without the path's
    schemas."""
    index = glance.outline.index_by_oid.get(oid or 0)
    if index is None:
        return None
    if column:
        return _index_column(glance, index, column - 1, short)
    keys = ", ".join(_index_column(glance, index, k, short) + _ordered(index, k) for k in range(len(index.columns)))
    unique = "UNIQUE " if index.unique else ""
    table = relation_name(glance.outline, index.table.oid, always=not short)
    text = f"CREATE {unique}INDEX {quote_ident(index.name)} ON {table} USING {index.method} ({keys})"
    if index.included:
        text += f" INCLUDE ({', '.join(_column(index, n) for n in index.included)})"
    text += " NULLS NOT DISTINCT" if index.nulls_equal else ""
    return f"{text} WHERE {index_predicate(glance, index, pretty=short)}" if index.where else text


def index_predicate(glance: Glance, index: IndexEntry, *, pretty: bool = False) -> str:
    shown = printed.condition_text(glance, index.table, index.where, pretty=pretty, indented=False)
    return f"({index.where})" if shown is None else shown


def _column(index: IndexEntry, number: int) -> str:
    return quote_ident(index.table.attributes[number - 1].name)


def _index_column(glance: Glance, index: IndexEntry, place: int, pretty: bool) -> str:
    numbers = (*index.columns, *index.included)
    if place >= len(numbers):
        return ""
    number = numbers[place]
    if number:
        return _column(index, number)
    text = index.keys[place].text
    shown = printed.index_key_text(glance, index.table, text, pretty=pretty)
    return f"({text})" if shown is None else shown


def index_expressions(glance: Glance, index: IndexEntry) -> str | None:
    """pg_index.indexprs, as pg_get_expr prints it."""
    text = ", ".join(k.text for k in index.keys if not k.column)
    if not text:
        return None
    return printed.expression_text(glance, index.table, text, pretty=False) or text


def _ordered(index: IndexEntry, place: int) -> str:
    if place >= len(index.keys):
        return ""
    key = index.keys[place]
    if key.descending:
        return " DESC" if key.nulls_first else " DESC NULLS LAST"
    return " NULLS FIRST" if key.nulls_first else ""


# --- constraints ---


def check_text(glance: Glance, constraint: ConstraintEntry, *, pretty: bool = False) -> str:
    """A CHECK's condition; one that is not printed as PostgreSQL does, as it was written."""
    assert constraint.model is not None
    model = constraint.table.model
    text = check_texts.current(model, constraint.model) if isinstance(model, Series) else constraint.model.text
    shown = printed.condition_text(glance, constraint.table, text, pretty=pretty)
    return f"({text})" if shown is None else shown


def constraint_definition(glance: Glance, oid: int | None, *, pretty: bool = False) -> str | None:
    """pg_get_constraintdef."""
    constraint = glance.outline.constraint_by_oid.get(oid or 0)
    if constraint is None:
        return None
    columns = ", ".join(_named(constraint.table.attributes, constraint.columns))
    if constraint.kind == "p":
        return f"PRIMARY KEY ({columns})"
    if constraint.kind == "u":
        equal = constraint.model is not None and constraint.model.nulls_equal
        return f"UNIQUE {'NULLS NOT DISTINCT ' if equal else ''}({columns})"
    assert constraint.model is not None
    if constraint.kind == "c":
        valid = "" if constraint.model.validated else " NOT VALID"
        return f"CHECK ({check_text(glance, constraint, pretty=pretty)}){valid}"
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
def system_views() -> Mapping[int, str]:
    return dict(static.values("view_definitions", "oid", "definition"))


def view_definition(glance: Glance, oid: int | None, *, pretty: bool = False) -> str | None:
    """pg_get_viewdef; of the system's views PostgreSQL's own. What is not printed as PostgreSQL does is the text that
    CREATE VIEW got."""
    entry = glance.outline.by_oid.get(oid or 0)
    if entry is None:
        return system_views().get(oid or 0)
    definition = entry.model.definition if isinstance(entry.model, SqlView | Series) else None
    if definition is None:
        return None
    key = ("view text", f"{entry.oid} {pretty} {glance.outline.path} {glance.context.time_zone}")
    kept = glance.outline.kept
    if key not in kept:
        shown = printed.view_text(glance, entry, definition, pretty)
        kept[key] = _terminated(definition.text) if shown is None else f"{shown};"
    return str(kept[key])


def _terminated(text: str) -> str:
    return f" {text.strip().rstrip(';').rstrip()};"


# --- defaults and other expressions ---


def default_text(glance: Glance, attribute: Attribute) -> str | None:
    """A column's default, as pg_get_expr shows it."""
    text = attribute.default
    if attribute.sequence:
        name = relation_name(glance.outline, attribute.sequence) or ""
        return f"nextval({quote_literal(name)}::regclass)"
    if text is None or text.startswith("nextval("):
        return text
    return printed.default_text(glance, text, attribute.type.oid) or text


def pretty_expression(glance: Glance, text: str | None, oid: int | None) -> str | None:
    """pg_get_expr(…, true): ``text`` is what it prints otherwise."""
    entry = glance.outline.by_oid.get(oid or 0)
    if text is None or oid is None:
        return None
    return printed.expression_text(glance, entry, text, pretty=True) or text


# --- functions ---


@cache
def _functions() -> Mapping[int, tuple[Any, ...]]:
    rows = static.values(
        "pg_proc", "oid", "proname", "+arguments", "+identity_arguments", "+result", "provolatile", "proparallel",
        "proisstrict", "prosecdef", "prosrc",
    )  # fmt: skip
    own = {
        f.oid: (f.name, f.arguments, f.identity_arguments, f.result, "i", "s", False, False, f.name)
        for f in own_functions()
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
    name, arguments, _, result, volatility, parallel, strict, definer, source = found
    words = [_VOLATILITY.get(volatility), _PARALLEL.get(parallel), strict and "STRICT", definer and "SECURITY DEFINER"]
    properties = " ".join(word for word in words if word)
    schema = "public" if oid is not None and oid >= FIRST_OID else "pg_catalog"
    return (
        f"CREATE OR REPLACE FUNCTION {schema}.{quote_ident(name)}({arguments})\n RETURNS {result}\n"
        f" LANGUAGE internal\n{f' {properties}{chr(10)}' if properties else ''}AS $function${source}$function$\n"
    )
