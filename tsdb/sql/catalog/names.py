"""Names and OIDs, both ways: what regclass, regtype, regproc and their like read and print.

``number`` raises PostgreSQL's error for a name that is not there, ``number_or_none`` gives None, as to_regclass() does.
``name`` prints an OID that is not there as a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache

from tsdb.errors import (
    AmbiguousFunction,
    InvalidName,
    InvalidSchemaName,
    TsdbError,
    UndefinedFunction,
    UndefinedObject,
    UndefinedTable,
)
from tsdb.sql.catalog import static
from tsdb.sql.catalog.outline import Outline, quote_ident
from tsdb.sql.catalog.own_functions import FIRST_OID, own_functions
from tsdb.types import BY_NAME, BY_OID, array_of

_PART = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^\s".(),]+))\s*')


def parts(text: str) -> list[str]:
    """A dotted name's parts, folded unless quoted. Raises InvalidName."""
    found: list[str] = []
    at = 0
    while True:
        match = _PART.match(text, at)
        if match is None:
            raise InvalidName(f'invalid name syntax: "{text[:100]}"')
        found.append(match[1].replace('""', '"') if match[1] is not None else match[2].lower())
        at = match.end()
        if at == len(text):
            return found
        if text[at] != ".":
            raise InvalidName(f'invalid name syntax: "{text[:100]}"')
        at += 1


def _split(outline: Outline, text: str) -> tuple[int | None, str]:
    """(namespace or None for the search path, name). Raises InvalidSchemaName."""
    found = parts(text)
    if len(found) > 3:
        raise InvalidName(f"improper relation name (too many dotted names): {text[:100]}")
    if len(found) == 1:
        return None, found[0]
    if len(found) == 3 and found[0] != outline.database.name:
        raise InvalidName(f"cross-database references are not implemented: {text[:100]}")
    namespace = outline.own_temporary or None if found[-2] == "pg_temp" else outline.namespaces.get(found[-2])
    if namespace is None:
        raise InvalidSchemaName(f'schema "{found[-2]}" does not exist')
    return namespace, found[-1]


# --- relations ---


def relation_number(outline: Outline, text: str) -> int:
    namespace, name = _split(outline, text)
    for at in outline.path if namespace is None else (namespace,):
        found = outline.by_name.get((at, name))
        if found is not None:
            return found
    raise UndefinedTable(f'relation "{text[:200]}" does not exist')


def relation_name(outline: Outline, oid: int, *, always: bool = False) -> str | None:
    """As regclass prints it; ``always`` with its schema."""
    found = outline.names.get(oid)
    if found is None:
        return None
    if not always and relation_is_visible(outline, oid):
        return quote_ident(found[1])
    own = found[0] == outline.own_temporary
    schema = "pg_temp" if own else quote_ident(outline.namespace_names.get(found[0], ""))
    return f"{schema}.{quote_ident(found[1])}"


def relation_is_visible(outline: Outline, oid: int) -> bool | None:
    """Whether its name alone means it; None for what is not there."""
    found = outline.names.get(oid)
    if found is None:
        return None
    return next((outline.by_name[at, found[1]] for at in outline.path if (at, found[1]) in outline.by_name), 0) == oid


# --- types ---


@cache
def _types() -> tuple[Mapping[tuple[int, str], int], Mapping[int, tuple[int, str]]]:
    rows = static.values("pg_type", "oid", "typnamespace", "typname")
    return {(n, name): oid for oid, n, name in rows}, {oid: (n, name) for oid, n, name in rows}


def _own_types(outline: Outline) -> Mapping[tuple[int, str], int]:
    made = {(e.namespace, e.name): e.row_type for e in outline.tables if e.row_type}
    made |= {(e.namespace, f"_{e.name}"): e.array_type for e in outline.tables if e.array_type}
    for enum in outline.database.types.values():
        namespace = outline.namespaces[enum.schema]
        made[namespace, enum.name] = enum.sql_type.oid
        made[namespace, f"_{enum.name}"] = enum.array_type.oid
    return made


def type_number(outline: Outline, text: str) -> int:
    plain = re.sub(r"\([\d\s,]*\)", "", text).strip()
    array = plain.endswith("]")
    plain = re.sub(r"(?:\s*\[\d*\])+$", "", plain).strip()
    known = BY_NAME.get(plain.lower().removeprefix("pg_catalog."))
    if known is not None and "." not in plain.removeprefix("pg_catalog."):
        return array_of(known).oid if array else known.oid
    namespace, name = _split(outline, plain)
    for at in outline.path if namespace is None else (namespace,):
        key = (at, f"_{name}" if array else name)
        found = _types()[0].get(key) or _own_types(outline).get(key)
        if found is not None:
            return found
    raise UndefinedObject(f'type "{text[:200]}" does not exist')


def type_name(outline: Outline, oid: int) -> str | None:
    known = BY_OID.get(oid)
    if known is not None:
        return known.name
    found = _type_key(outline, oid)
    if found is None:
        return None
    array = found[1].startswith("_")
    name = quote_ident(found[1][1:] if array else found[1])
    if not type_is_visible(outline, oid):
        name = f"{quote_ident(outline.namespace_names.get(found[0], ''))}.{name}"
    return f"{name}[]" if array else name


def _type_key(outline: Outline, oid: int) -> tuple[int, str] | None:
    found = _types()[1].get(oid)
    return found or next((key for key, number in _own_types(outline).items() if number == oid), None)


def type_is_visible(outline: Outline, oid: int) -> bool | None:
    """Whether its name alone means it; None for what is not there."""
    found = _type_key(outline, oid)
    if found is None:
        return None
    keys = [(at, found[1]) for at in outline.path]
    return next((n for n in (_types()[0].get(k) or _own_types(outline).get(k) for k in keys) if n), 0) == oid


# --- functions and operators ---


@cache
def _functions() -> tuple[Mapping[str, list[tuple[int, tuple[int, ...]]]], Mapping[int, tuple[str, tuple[int, ...]]]]:
    by_name: dict[str, list[tuple[int, tuple[int, ...]]]] = {}
    by_oid: dict[int, tuple[str, tuple[int, ...]]] = {}
    for oid, name, arguments in static.values("pg_proc", "oid", "proname", "proargtypes"):
        by_name.setdefault(name, []).append((oid, tuple(arguments)))
        by_oid[oid] = (name, tuple(arguments))
    for own in own_functions():
        by_name.setdefault(own.name, []).append((own.oid, own.types))
        by_oid[own.oid] = (own.name, own.types)
    return by_name, by_oid


def function_number(outline: Outline, text: str) -> int:
    found = _functions()[0].get(parts(text)[-1], [])
    if not found:
        raise UndefinedFunction(f'function "{text[:200]}" does not exist')
    if len(found) > 1:
        raise AmbiguousFunction(f'more than one function named "{text[:200]}"')
    return found[0][0]


def function_name(outline: Outline, oid: int) -> str | None:
    """With its schema when another function has its name, as regproc prints it."""
    found = _functions()[1].get(oid)
    if found is None:
        return None
    alone = len(_functions()[0][found[0]]) == 1
    schema = "public" if oid >= FIRST_OID else "pg_catalog"
    return quote_ident(found[0]) if alone else f"{schema}.{quote_ident(found[0])}"


def procedure_number(outline: Outline, text: str) -> int:
    name, _, arguments = text.partition("(")
    listed = [a for a in arguments.rstrip(" )").split(",") if a.strip()]
    wanted = tuple(type_number(outline, a.strip()) for a in listed)
    for oid, given in _functions()[0].get(parts(name)[-1], []):
        if given == wanted:
            return oid
    raise UndefinedFunction(f'function "{text[:200]}" does not exist')


def procedure_name(outline: Outline, oid: int) -> str | None:
    found = _functions()[1].get(oid)
    if found is None:
        return None
    arguments = ",".join(type_name(outline, a) or str(a) for a in found[1])
    return f"{quote_ident(found[0])}({arguments})"


@cache
def _operators() -> tuple[Mapping[str, list[tuple[int, int, int]]], Mapping[int, tuple[str, int, int]]]:
    by_name: dict[str, list[tuple[int, int, int]]] = {}
    by_oid: dict[int, tuple[str, int, int]] = {}
    for oid, name, left, right in static.values("pg_operator", "oid", "oprname", "oprleft", "oprright"):
        by_name.setdefault(name, []).append((oid, left, right))
        by_oid[oid] = (name, left, right)
    return by_name, by_oid


def operator_number(outline: Outline, text: str) -> int:
    found = _operators()[0].get(text.strip().rpartition(".")[2], [])
    if not found:
        raise UndefinedFunction(f"operator does not exist: {text[:200]}")
    if len(found) > 1:
        raise AmbiguousFunction(f"more than one operator named {text[:200]}")
    return found[0][0]


def operator_name(outline: Outline, oid: int) -> str | None:
    found = _operators()[1].get(oid)
    if found is None:
        return None
    return found[0] if len(_operators()[0][found[0]]) == 1 else f"pg_catalog.{found[0]}"


def signed_operator_number(outline: Outline, text: str) -> int:
    name, _, arguments = text.partition("(")
    listed = [a.strip() for a in arguments.rstrip(" )").split(",")]
    wanted = tuple(0 if a.lower() == "none" else type_number(outline, a) for a in listed if a)
    for oid, left, right in _operators()[0].get(name.strip().rpartition(".")[2], []):
        if (left, right) == wanted:
            return oid
    raise UndefinedFunction(f"operator does not exist: {text[:200]}")


def signed_operator_name(outline: Outline, oid: int) -> str | None:
    found = _operators()[1].get(oid)
    if found is None:
        return None
    sides = [(type_name(outline, a) or str(a)) if a else "NONE" for a in found[1:]]
    return f"{found[0]}({','.join(sides)})"


# --- what has one name in one table ---


def namespace_number(outline: Outline, text: str) -> int:
    name = parts(text)[0]
    if name not in outline.namespaces:
        raise InvalidSchemaName(f'schema "{name}" does not exist')
    return outline.namespaces[name]


def namespace_name(outline: Outline, oid: int) -> str | None:
    found = outline.namespace_names.get(oid)
    return None if found is None else quote_ident(found)


def role_number(outline: Outline, text: str) -> int:
    return outline.catalog.roles.find(parts(text)[0]).number


def role_name(outline: Outline, oid: int) -> str | None:
    found = outline.catalog.roles.by_number.get(oid)
    return None if found is None else quote_ident(found.name)


@cache
def _plain(relation: str, column: str) -> tuple[Mapping[str, int], Mapping[int, str]]:
    rows = static.values(relation, "oid", column)
    return {name: oid for oid, name in rows}, dict(rows)


def _looked_up(relation: str, column: str, what: str) -> tuple[Number, Name]:
    def number(outline: Outline, text: str) -> int:
        found = _plain(relation, column)[0].get(parts(text)[-1])
        if found is None:
            raise UndefinedObject(f'{what} "{text[:200]}" does not exist')
        return found

    def name(outline: Outline, oid: int) -> str | None:
        found = _plain(relation, column)[1].get(oid)
        return None if found is None else quote_ident(found)

    return number, name


Number = Callable[[Outline, str], int]
Name = Callable[[Outline, int], str | None]
_KINDS: Mapping[str, tuple[Number, Name]] = {
    "regclass": (relation_number, relation_name),
    "regtype": (type_number, type_name),
    "regproc": (function_number, function_name),
    "regprocedure": (procedure_number, procedure_name),
    "regoper": (operator_number, operator_name),
    "regoperator": (signed_operator_number, signed_operator_name),
    "regnamespace": (namespace_number, namespace_name),
    "regrole": (role_number, role_name),
    "regconfig": _looked_up("pg_ts_config", "cfgname", "text search configuration"),
    "regdictionary": _looked_up("pg_ts_dict", "dictname", "text search dictionary"),
    "language": _looked_up("pg_language", "lanname", "language"),
    "tablespace": _looked_up("pg_tablespace", "spcname", "tablespace"),
    "regcollation": _looked_up("pg_collation", "collname", "collation"),
}


def number(kind: str, outline: Outline, text: str) -> int:
    """The OID a text means for a reg* type: its digits, ``-`` for none, or a name."""
    body = text.strip()
    if body == "-":
        return 0
    if body.isascii() and body.isdigit():
        return int(body)
    return _KINDS[kind][0](outline, body)


def known(kind: str, outline: Outline, oid: int) -> bool:
    """Whether there is an object of the number."""
    return _KINDS[kind][1](outline, oid) is not None


def number_or_none(kind: str, outline: Outline, text: str) -> int | None:
    """to_regclass() and its like: None for what is not there."""
    try:
        return _KINDS[kind][0](outline, text.strip())
    except TsdbError:
        return None


def name(kind: str, outline: Outline, oid: int) -> str:
    """As a reg* value prints: ``-`` for none, its number when it is not there."""
    if oid == 0:
        return "-"
    return _KINDS[kind][1](outline, oid) or str(oid)
