"""The relations themselves: captured rows and live rows together, column by column, as a query asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tsdb.model.catalog import Catalog
from tsdb.model.roles import FIRST
from tsdb.sql.catalog import (
    live_cluster,
    live_continuous,
    live_databases,
    live_information,
    live_relations,
    live_sessions,
    live_statistics,
    live_storage,
    live_types,
    live_views,
    own_functions,
    own_views,
    static,
)
from tsdb.sql.catalog.live import LIVE, Glance, glance_of, live_key
from tsdb.sql.catalog.static import INFORMATION_SCHEMA, PG_CATALOG, CatalogColumn, CatalogRelation
from tsdb.sql.context import Context
from tsdb.sql.expressions.relation import RelationColumn
from tsdb.types import BOOL, CHAR, OID, TEXT, XID

# The table of live relations fills itself as these are imported.
_LIVE = (
    live_cluster,
    live_continuous,
    live_databases,
    live_information,
    live_relations,
    live_sessions,
    live_statistics,
    live_storage,
    live_types,
    live_views,
    own_functions,
)


_HIDDEN = (("tableoid", OID), ("xmin", XID))
_FROZEN_XID = 2
_KEPT_MAX = 4096


@dataclass(frozen=True, slots=True)
class SystemRelation:
    """A relation of pg_catalog or information_schema."""

    described: CatalogRelation

    @property
    def schema(self) -> str:
        return self.described.schema

    @property
    def oid(self) -> int:
        return self.described.oid

    def table(self, catalog: Catalog, context: Context, names: Sequence[str]) -> pa.Table:
        """The columns ``names`` of all rows; those that change with the catalog alone are put together once."""
        glance = glance_of(context, catalog)
        live = LIVE.get((self.schema, self.described.name))
        if live is not None and not live.lasts(names):
            return self._made(glance, names)
        kept, key = glance.outline.kept, (f"{live_key(self.described, glance)} together", "\x1f".join(names))
        found: pa.Table | None = kept.get(key)
        if found is None:
            found = self._made(glance, names)
            if len(kept) < _KEPT_MAX:
                kept[key] = found
        return found

    def _made(self, glance: Glance, names: Sequence[str]) -> pa.Table:
        relation = self.described
        prefix = "" if relation.schema == PG_CATALOG else f"{relation.schema}."
        file = f"{prefix}{relation.name}"
        captured = static.row_count(file)
        live = LIVE.get((relation.schema, relation.name))
        # Sessions come and go between two looks.
        moving = live.rows(glance) if live is not None and not live.kept else None
        arrays: dict[str, pa.ChunkedArray] = {}
        for column in relation.columns:
            if column.name not in names:
                continue
            parts = []
            if captured:
                parts.append(_captured(file, column, glance))
            if live is not None:
                parts.append(live.array(relation, column, glance, moving))
            arrays[column.name] = pa.chunked_array(parts, column.type.arrow)
        for name, sql_type in _HIDDEN:
            if name in names and name not in arrays:
                count = captured + (0 if live is None else len(live.rows(glance) if moving is None else moving))
                value = relation.oid if sql_type is OID else _FROZEN_XID
                arrays[name] = pa.chunked_array([pa.repeat(pa.scalar(value, pa.int64()), count)])
        return pa.table([arrays[name] for name in names], names=list(names))


def _captured(file: str, column: CatalogColumn, glance: Glance) -> pa.Array:
    """A captured column; databases and owners are called otherwise here than where it was captured."""
    found = static.column(file, column.name)
    if found is not None and found.null_count < len(found):
        return found
    name, nothing = column.name, pa.nulls(static.row_count(file), column.type.arrow)
    if name.endswith("_catalog") and file.startswith(f"{INFORMATION_SCHEMA}."):
        beside = static.column(file, name.removesuffix("catalog") + "schema")
        here = pa.scalar(glance.outline.database.name, column.type.arrow)
        return nothing if beside is None else pc.if_else(beside.is_valid(), here, nothing)
    if name in ("tableowner", "viewowner"):
        return pa.repeat(pa.scalar(glance.role_name(FIRST), column.type.arrow), len(nothing))
    return nothing


def find(schema: str, name: str) -> SystemRelation | None:
    """A system relation by its name; information_schema's need their schema, pg_catalog's do not."""
    key = (schema or PG_CATALOG, name)
    found = static.relations().get(key) or own_views.relations().get(key)
    return None if found is None else SystemRelation(found)


def columns(relation: SystemRelation) -> list[RelationColumn]:
    """As FROM knows them, with the hidden ones."""
    shown = [RelationColumn(c.name, c.type, c.typmod, key=c.name, number=c.number) for c in relation.described.columns]
    names = {c.name for c in shown}
    return shown + [RelationColumn(n, t, hidden=True, key=n) for n, t in _HIDDEN if n not in names]


_KEYWORDS = CatalogRelation(
    PG_CATALOG, static.KEYWORDS, 0, "v",
    (
        CatalogColumn("word", TEXT, -1, 0), CatalogColumn("catcode", CHAR, -1, 0),
        CatalogColumn("barelabel", BOOL, -1, 0), CatalogColumn("catdesc", TEXT, -1, 0),
        CatalogColumn("baredesc", TEXT, -1, 0),
    ),
)  # fmt: skip
# Functions without arguments that a relation is made of.
_FUNCTIONS = {
    "pg_timezone_names": "pg_timezone_names",
    "pg_timezone_abbrevs": "pg_timezone_abbrevs",
    "pg_available_extensions": "pg_available_extensions",
    "pg_available_extension_versions": "pg_available_extension_versions",
    "pg_show_all_settings": "pg_settings",
    "pg_prepared_statement": "pg_prepared_statements",
    "pg_cursor": "pg_cursors",
    "pg_lock_status": "pg_locks",
    "pg_prepared_xact": "pg_prepared_xacts",
}


def of_function(name: str) -> SystemRelation | None:
    """The relation that a function without arguments gives."""
    if name == static.KEYWORDS:
        return SystemRelation(_KEYWORDS)
    return find("", _FUNCTIONS[name]) if name in _FUNCTIONS else None
