"""Live rows of pg_catalog's views over relations: pg_tables, pg_views, pg_indexes, pg_sequences, pg_stat_…_tables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from tsdb.model.catalog import Series
from tsdb.sql.catalog import definitions, oids, sizes, static
from tsdb.sql.catalog.live import Fresh, Moment, live
from tsdb.sql.catalog.live_databases import databases
from tsdb.sql.catalog.live_relations import sequences_of
from tsdb.sql.catalog.outline import Entry, IndexEntry

PG = "pg_catalog"


def schema_name(e: Entry, moment: Moment) -> str:
    return moment.outline.namespace_names[e.namespace]


def owner(e: Entry, moment: Moment) -> str:
    return moment.role_name(e.owner)


def _name(e: Entry, moment: Moment) -> str:
    return e.name


def of_kind(moment: Moment, *kinds: str) -> list[Entry]:
    return [e for e in moment.outline.tables if e.kind in kinds]


def _definition(e: Entry, moment: Moment) -> str | None:
    return definitions.view_definition(moment, e.oid)


@live(PG, "pg_tables", {
    "schemaname": schema_name, "tablename": _name, "tableowner": owner, "hasindexes": lambda e, m: e.has_index,
    "hasrules": False, "hastriggers": False, "rowsecurity": False,
})  # fmt: skip
def tables(moment: Moment) -> Sequence[Entry]:
    return of_kind(moment, "r")


@live(PG, "pg_views", {
    "schemaname": schema_name, "viewname": _name, "viewowner": owner, "definition": _definition,
})  # fmt: skip
def views(moment: Moment) -> Sequence[Entry]:
    return of_kind(moment, "v")


@live(PG, "pg_matviews", {
    "schemaname": schema_name, "matviewname": _name, "matviewowner": owner, "hasindexes": lambda e, m: e.has_index,
    "ispopulated": lambda e, m: e.model.populated, "definition": _definition,
})  # fmt: skip
def materialized_views(moment: Moment) -> Sequence[Entry]:
    return of_kind(moment, "m")


@live(PG, "pg_indexes", {
    "schemaname": lambda i, m: schema_name(i.table, m), "tablename": lambda i, m: i.table.name,
    "indexname": lambda i, m: i.name, "indexdef": lambda i, m: definitions.index_definition(m, i.oid),
})  # fmt: skip
def indexes(moment: Moment) -> Sequence[IndexEntry]:
    return moment.outline.indexes


@live(PG, "pg_sequences", {
    "schemaname": schema_name, "sequencename": _name, "sequenceowner": owner,
    "data_type": lambda e, m: e.model.options.type.oid, "start_value": lambda e, m: e.model.options.start,
    "min_value": lambda e, m: e.model.options.minimum, "max_value": lambda e, m: e.model.options.maximum,
    "increment_by": lambda e, m: e.model.options.increment, "cycle": lambda e, m: e.model.options.cycle,
    "cache_size": 1,
})  # fmt: skip
def sequences(moment: Moment) -> Sequence[Entry]:
    return sequences_of(moment)


def _rows(e: Entry, moment: Moment) -> int:
    return moment.statistics(e.model).rows if isinstance(e.model, Series) else 0


_STATISTICS = {
    "relid": lambda e, m: e.oid, "schemaname": schema_name, "relname": _name, "n_live_tup": Fresh(_rows),
    "n_dead_tup": 0, "vacuum_count": 0, "autovacuum_count": 0, "analyze_count": 0, "autoanalyze_count": 0,
}  # fmt: skip


@live(PG, "pg_stat_user_tables", _STATISTICS)
def user_table_statistics(moment: Moment) -> Sequence[Entry]:
    return of_kind(moment, "r", "m")


@live(PG, "pg_stat_all_tables", _STATISTICS)
def all_table_statistics(moment: Moment) -> Sequence[Entry]:
    return of_kind(moment, "r", "m")


_IO = {"relid": lambda e, m: e.oid, "schemaname": schema_name, "relname": _name}


@live(PG, "pg_statio_user_tables", _IO)
def user_table_io(moment: Moment) -> Sequence[Entry]:
    return of_kind(moment, "r", "m")


_INDEX_STATISTICS = {
    "relid": lambda i, m: i.table.oid, "indexrelid": lambda i, m: i.oid,
    "schemaname": lambda i, m: schema_name(i.table, m), "relname": lambda i, m: i.table.name,
    "indexrelname": lambda i, m: i.name,
}  # fmt: skip


@live(PG, "pg_stat_user_indexes", _INDEX_STATISTICS)
def user_index_statistics(moment: Moment) -> Sequence[IndexEntry]:
    return moment.outline.indexes


@live(PG, "pg_stat_database", {"datid": lambda d, m: oids.database(d.number), "datname": lambda d, m: d.name})
def database_statistics(moment: Moment) -> Sequence[object]:
    return databases(moment)


@cache
def system_entries() -> list[tuple[int, str, str, int]]:
    """(namespace, name, kind, OID) of the system's own relations."""
    return [(n, name, kind, oid) for n, name, kind, oid in static.values(
        "pg_class", "relnamespace", "relname", "relkind", "oid"
    )]  # fmt: skip


def total_bytes(moment: Moment, oid: int) -> int | None:
    """pg_relation_size and its like; None for what is not there."""
    entry = moment.outline.by_oid.get(oid)
    if entry is not None:
        return sizes.bytes_of(moment, entry)
    return 0 if oid in moment.outline.names else None
