"""Our own system views, in the schema ``tsdb``: their columns, and the rows of pg_class and its like that describe
them. What is in them, ``live_storage``, ``live_continuous`` and ``live_cluster`` say.

They belong to an extension ``tsdb``, so that pg_dump leaves them out. Their OIDs are below those of a database's own
objects and above those of PostgreSQL's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from tsdb.model.privileges import Grant, Privilege
from tsdb.model.relations import SYSTEM_VIEWS, Definition, Namespace, SqlView, ViewColumn
from tsdb.model.roles import PUBLIC
from tsdb.sql.catalog import oids
from tsdb.sql.catalog.static import CatalogColumn, CatalogRelation
from tsdb.types import BOOL, FLOAT8, INT4, INT8, INTERVAL, NAME, OID, TEXT, TIMESTAMPTZ, UUID, SqlType, array_of

SCHEMA = SYSTEM_VIEWS
# Numbers below a database's own, so that ``oids.of`` is below its OIDs.
_NAMESPACE = -61
_FIRST = -60
_EXTENSION = -62

_RELATION: tuple[tuple[str, SqlType], ...] = (("relid", OID), ("schemaname", NAME), ("relname", NAME))
COLUMNS: Mapping[str, tuple[tuple[str, SqlType], ...]] = {
    "blocks": (
        *_RELATION, ("block", INT8), ("min_time", TIMESTAMPTZ), ("max_time", TIMESTAMPTZ), ("min_tagset", INT8),
        ("max_tagset", INT8), ("rows", INT8), ("columns", INT4), ("versions", BOOL), ("bytes", INT8),
        ("summary_bytes", INT8),
    ),
    "compactions": (
        *_RELATION, ("reason", TEXT), ("state", TEXT), ("started_at", TIMESTAMPTZ), ("finished_at", TIMESTAMPTZ),
        ("min_time", TIMESTAMPTZ), ("max_time", TIMESTAMPTZ), ("blocks_before", INT8), ("blocks_after", INT8),
        ("rows_before", INT8), ("rows_after", INT8), ("bytes_before", INT8), ("bytes_after", INT8),
    ),
    "continuous_aggregates": (
        *_RELATION, ("source", NAME), ("materialized_only", BOOL), ("refresh_lag", INTERVAL),
        ("refresh_interval", INTERVAL), ("watermark", TIMESTAMPTZ), ("history_until", TIMESTAMPTZ),
        ("dirty", array_of(TEXT)), ("last_run", TIMESTAMPTZ), ("runs", INT8), ("failures", INT8), ("seconds", FLOAT8),
        ("error", TEXT),
    ),
    "members": (
        ("node", INT4), ("name", TEXT), ("uuid", UUID), ("addresses", array_of(TEXT)), ("zone", TEXT),
        ("capacity_bytes", INT8), ("draining", BOOL), ("locations", INT8), ("leads", INT8),
    ),
    "locations": (
        ("location", INT8), ("datname", NAME), ("first_place", TEXT), ("last_place", TEXT), ("map_version", INT8),
        ("epoch", INT8), ("leader", INT4), ("voters", array_of(INT4)), ("learners", array_of(INT4)),
        ("active_epoch", INT8), ("active_voters", array_of(INT4)), ("intent", TEXT),
        ("goal", array_of(INT4)), ("arc", INT4),
    ),
    "reverted": (
        ("location", INT8), ("datname", NAME), ("epoch", INT8), ("sequence", INT8), ("rows", INT8),
        ("written_at", TIMESTAMPTZ),
    ),
    "replica_differences": (
        ("found_at", TIMESTAMPTZ), ("location", INT8), ("node", INT4), ("agreed", array_of(INT4)), ("epoch", INT8),
        ("marker", INT8), ("what", TEXT), ("min_time", TIMESTAMPTZ), ("max_time", TIMESTAMPTZ), ("points", INT8),
        ("digest", TEXT), ("agreed_points", INT8), ("agreed_digest", TEXT),
    ),
    "hints": (
        ("file", TEXT), ("state", TEXT), ("datname", NAME), ("producer", TEXT), ("batch", INT8), ("username", NAME),
        ("queued_at", TIMESTAMPTZ), ("refused_at", TIMESTAMPTZ), ("bytes", INT8), ("reason", TEXT),
    ),
}  # fmt: skip


@cache
def relations() -> Mapping[tuple[str, str], CatalogRelation]:
    """Our own system relations by (schema, name)."""
    return {
        (SCHEMA, view.name): CatalogRelation(
            SCHEMA, view.name, oids.of(view.number), "v",
            tuple(CatalogColumn(column.name, column.type, -1, n) for n, column in enumerate(view.columns, 1)),
        )
        for view in views()
    }  # fmt: skip


@cache
def views() -> Sequence[SqlView]:
    """The same as views that everybody may read."""
    everybody = (Grant(PUBLIC, Privilege.SELECT),)
    return [
        SqlView(
            _FIRST + at, SCHEMA, name, Definition(f"SELECT * FROM {SCHEMA}.{name}"),
            tuple(ViewColumn(column, kind) for column, kind in columns), grants=everybody,
        )
        for at, (name, columns) in enumerate(COLUMNS.items())
    ]  # fmt: skip


def namespace() -> Namespace:
    """Their schema."""
    return Namespace(_NAMESPACE, SCHEMA, grants=(Grant(PUBLIC, Privilege.USAGE),))


def extension() -> int:
    """The OID of the extension they belong to."""
    return oids.of(_EXTENSION)
