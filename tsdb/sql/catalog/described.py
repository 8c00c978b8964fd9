"""What pg_describe_object() says of an object: its kind and its name. Source: PostgreSQL 15, objectaddress.c."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tsdb.sql.catalog import names, oids, static
from tsdb.sql.catalog.live import Glance
from tsdb.sql.catalog.outline import Outline

PG_LANGUAGE = 2612

_RELATIONS = {
    "r": "table", "i": "index", "S": "sequence", "v": "view", "m": "materialized view", "c": "composite type",
}  # fmt: skip


def _relation(outline: Outline, oid: int) -> str | None:
    name = names.relation_name(outline, oid)
    if name is None:
        return None
    entry = outline.by_oid.get(oid)
    kind = entry.kind if entry is not None else _system_kinds().get(oid, "r")
    return f"{_RELATIONS.get(kind, 'table')} {name}"


def _system_kinds() -> Mapping[int, str]:
    return dict(static.values("pg_class", "oid", "relkind"))


def _constraint(outline: Outline, oid: int) -> str | None:
    found = outline.constraint_by_oid.get(oid)
    if found is None:
        return None
    return f"constraint {found.name} on table {names.relation_name(outline, found.table.oid)}"


def _default(outline: Outline, oid: int) -> str | None:
    found = next((a for a in outline.attributes if a.default_oid == oid), None)
    if found is None:
        return None
    return f"default value for column {found.name} of {_relation(outline, found.relation)}"


def _named(relation: str, column: str, what: str) -> Callable[[Outline, int], str | None]:
    def describe(outline: Outline, oid: int) -> str | None:
        found = dict(static.values(relation, "oid", column)).get(oid)
        return None if found is None else f"{what} {found}"

    return describe


def _looked_up(what: str, name: Callable[[Outline, int], str | None]) -> Callable[[Outline, int], str | None]:
    def describe(outline: Outline, oid: int) -> str | None:
        found = name(outline, oid)
        return None if found is None else f"{what} {found}"

    return describe


_BY_CLASS: Mapping[int, Callable[[Outline, int], str | None]] = {
    oids.PG_CLASS: _relation,
    oids.PG_CONSTRAINT: _constraint,
    oids.PG_ATTRDEF: _default,
    oids.PG_TYPE: _looked_up("type", names.type_name),
    oids.PG_PROC: _looked_up("function", names.procedure_name),
    oids.PG_NAMESPACE: _looked_up("schema", names.namespace_name),
    oids.PG_AUTHID: _looked_up("role", names.role_name),
    PG_LANGUAGE: _named("pg_language", "lanname", "language"),
    oids.PG_EXTENSION: _named("pg_extension", "extname", "extension"),
}


def describe(glance: Glance, catalog: int | None, oid: int | None, part: str | None) -> str | None:
    """NULL for what is not there; ``part`` is a column's number or 0."""
    if catalog is None or oid is None or part is None or catalog not in _BY_CLASS:
        return None
    found = _BY_CLASS[catalog](glance.outline, oid)
    if found is None or part == "0":
        return found
    attribute = next((a for a in glance.outline.attributes if a.relation == oid and str(a.number) == part), None)
    return None if attribute is None else f"column {attribute.name} of {found}"
