"""Relations about the system itself: an ordinary relation whose rows are made from the catalog when a query runs.

A provider is one entry of ``_RELATIONS``: its schema, its columns and a function of (catalog, context) to an Arrow
table with those columns' names. PostgreSQL's whole catalog plugs in here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tsdb.model.schema import Catalog, Series
from tsdb.sql.context import Context
from tsdb.sql.session_relations import COLUMNS as SESSION_COLUMNS
from tsdb.sql.session_relations import rows_of
from tsdb.types import INT4, NAME, OID, TEXT, SqlType


@dataclass(frozen=True, slots=True)
class SystemRelation:
    schema: str
    columns: tuple[tuple[str, SqlType], ...]
    rows: Callable[[Catalog, Context], list[tuple[Any, ...]]]

    def table(self, catalog: Catalog, context: Context) -> pa.Table:
        rows = self.rows(catalog, context)
        values = [pa.array([row[i] for row in rows], t.arrow) for i, (_, t) in enumerate(self.columns)]
        return pa.table(values, names=[name for name, _ in self.columns])


def _series(catalog: Catalog, context: Context) -> list[Series]:
    return list(catalog.find(context.database).series.values())


def _tables(catalog: Catalog, context: Context) -> list[tuple[Any, ...]]:
    return [(context.database, "public", s.name, "BASE TABLE") for s in _series(catalog, context)]


def _columns(catalog: Catalog, context: Context) -> list[tuple[Any, ...]]:
    return [
        (
            context.database, "public", s.name, c.name, number + 1, c.default, "NO" if c.not_null else "YES",
            "ARRAY" if c.type.element is not None else c.type.name, c.type.typname,
            53 if c.type.typname == "float8" else 64 if c.type.typname == "int8" else None,
            0 if c.type.typname == "int8" else None,
        )
        for s in _series(catalog, context)
        for number, c in enumerate(s.columns)
    ]  # fmt: skip


def _pg_tables(catalog: Catalog, context: Context) -> list[tuple[Any, ...]]:
    return [("public", s.name, context.user) for s in _series(catalog, context)]


def _schemata(catalog: Catalog, context: Context) -> list[tuple[Any, ...]]:
    return [(context.database, n, context.user) for n in ("public", "information_schema", "pg_catalog")]


def _databases(catalog: Catalog, context: Context) -> list[tuple[Any, ...]]:
    return [(d.number + 16384, d.name) for d in catalog.databases.values()]


_RELATIONS: dict[str, SystemRelation] = {
    "tables": SystemRelation(
        "information_schema",
        (("table_catalog", NAME), ("table_schema", NAME), ("table_name", NAME), ("table_type", TEXT)),
        _tables,
    ),
    "columns": SystemRelation(
        "information_schema",
        (
            ("table_catalog", NAME), ("table_schema", NAME), ("table_name", NAME), ("column_name", NAME),
            ("ordinal_position", INT4), ("column_default", TEXT), ("is_nullable", TEXT), ("data_type", TEXT),
            ("udt_name", NAME), ("numeric_precision", INT4), ("numeric_scale", INT4),
        ),
        _columns,
    ),
    "schemata": SystemRelation(
        "information_schema",
        (("catalog_name", NAME), ("schema_name", NAME), ("schema_owner", NAME)),
        _schemata,
    ),
    "pg_tables": SystemRelation(
        "pg_catalog", (("schemaname", NAME), ("tablename", NAME), ("tableowner", NAME)), _pg_tables
    ),
    "pg_database": SystemRelation("pg_catalog", (("oid", OID), ("datname", NAME)), _databases),
    **{name: SystemRelation("pg_catalog", columns, rows_of(name)) for name, columns in SESSION_COLUMNS.items()},
}  # fmt: skip


def find(schema: str, name: str) -> SystemRelation | None:
    """A system relation by its name; information_schema's need their schema, pg_catalog's do not."""
    relation = _RELATIONS.get(name)
    if relation is None:
        return None
    return relation if schema == relation.schema or (not schema and relation.schema == "pg_catalog") else None
