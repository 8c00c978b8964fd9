"""Live rows of pg_catalog's views over relations: pg_tables, pg_views, pg_indexes, pg_sequences."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from tsdb.errors import InsufficientPrivilege
from tsdb.model.relations import SqlSequence
from tsdb.sql.catalog import definitions, sizes, static
from tsdb.sql.catalog.live import Fresh, Glance, live
from tsdb.sql.catalog.live_relations import sequences_of
from tsdb.sql.catalog.outline import Entry, IndexEntry

PG = "pg_catalog"


def schema_name(e: Entry, glance: Glance) -> str:
    return glance.outline.namespace_names[e.namespace]


def owner(e: Entry, glance: Glance) -> str:
    return glance.role_name(e.owner)


def _name(e: Entry, glance: Glance) -> str:
    return e.name


def of_kind(glance: Glance, *kinds: str) -> list[Entry]:
    return [e for e in glance.outline.tables if e.kind in kinds]


def _definition(e: Entry, glance: Glance) -> str | None:
    return definitions.view_definition(glance, e.oid)


@live(PG, "pg_tables", {
    "schemaname": schema_name, "tablename": _name, "tableowner": owner, "hasindexes": lambda e, m: e.has_index,
    "hasrules": False, "hastriggers": lambda e, m: e.oid in m.outline.with_triggers, "rowsecurity": False,
})  # fmt: skip
def tables(glance: Glance) -> Sequence[Entry]:
    return of_kind(glance, "r")


@live(PG, "pg_views", {
    "schemaname": schema_name, "viewname": _name, "viewowner": owner, "definition": Fresh(_definition),
})  # fmt: skip
def views(glance: Glance) -> Sequence[Entry]:
    return of_kind(glance, "v")


@live(PG, "pg_matviews", {
    "schemaname": schema_name, "matviewname": _name, "matviewowner": owner, "hasindexes": lambda e, m: e.has_index,
    "ispopulated": lambda e, m: e.model.populated, "definition": Fresh(_definition),
})  # fmt: skip
def materialized_views(glance: Glance) -> Sequence[Entry]:
    return of_kind(glance, "m")


@live(PG, "pg_indexes", {
    "schemaname": lambda i, m: schema_name(i.table, m), "tablename": lambda i, m: i.table.name,
    "indexname": lambda i, m: i.name, "indexdef": Fresh(lambda i, m: definitions.index_definition(m, i.oid)),
})  # fmt: skip
def indexes(glance: Glance) -> Sequence[IndexEntry]:
    return glance.outline.indexes


def last_value(e: Entry, glance: Glance) -> int | None:
    """What a sequence gave last; None before, and for who may not read it."""
    session = glance.context.session
    if session is None or not isinstance(e.model, SqlSequence):
        return None
    try:
        state = session.sequences.state(e.model, None)
    except InsufficientPrivilege:
        return None
    return state.last if state.called else None


@live(PG, "pg_sequences", {
    "schemaname": schema_name, "sequencename": _name, "sequenceowner": owner,
    "data_type": lambda e, m: e.model.options.type.oid, "start_value": lambda e, m: e.model.options.start,
    "min_value": lambda e, m: e.model.options.minimum, "max_value": lambda e, m: e.model.options.maximum,
    "increment_by": lambda e, m: e.model.options.increment, "cycle": lambda e, m: e.model.options.cycle,
    "cache_size": 1, "last_value": Fresh(last_value),
})  # fmt: skip
def sequences(glance: Glance) -> Sequence[Entry]:
    return sequences_of(glance)


@cache
def system_entries() -> list[tuple[int, str, str, int]]:
    """(namespace, name, kind, OID) of the system's own relations."""
    return [(n, name, kind, oid) for n, name, kind, oid in static.values(
        "pg_class", "relnamespace", "relname", "relkind", "oid"
    )]  # fmt: skip


def total_bytes(glance: Glance, oid: int) -> int | None:
    """pg_relation_size and its like; None for what is not there."""
    entry = glance.outline.by_oid.get(oid)
    if entry is not None:
        return sizes.bytes_of(glance, entry)
    return 0 if oid in glance.outline.names else None
