"""Live relations: what their rows are, and how each column is made of one. The ``live_*`` modules fill the table.

A column is a constant or a function of (row, glance). Columns that are not named have their type's zero in tables of
pg_catalog, where PostgreSQL allows no NULL, and NULL elsewhere. ``kept`` columns depend on the catalog alone and are
made once; a relation whose rows come from the session is made anew each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tsdb.model.catalog import Series
from tsdb.model.store import SeriesStatistics
from tsdb.sql.catalog import oids
from tsdb.sql.catalog.outline import Outline, outline_of
from tsdb.sql.catalog.static import INFORMATION_SCHEMA, CatalogColumn, CatalogRelation
from tsdb.sql.context import Context
from tsdb.sql.names import path_names, temporary_schema

NOTHING = SeriesStatistics()


@dataclass(frozen=True, slots=True)
class Glance:
    """What one statement sees: an outline, and its session."""

    outline: Outline
    context: Context

    def statistics(self, series: Series) -> SeriesStatistics:
        measure = self.context.statistics
        return NOTHING if measure is None else measure(series)

    def role_name(self, number: int) -> str:
        return self.outline.catalog.roles.name_of(number)


def glance_of(context: Context, catalog: Any) -> Glance:
    outline = outline_of(catalog, context.database)
    return Glance(outline.seen_from(_path(outline, context)), context)


def _path(outline: Outline, context: Context) -> tuple[int, ...]:
    """search_path's namespaces; the session's temporary relations come first, then pg_catalog where it is not named
    (manual, 5.9.5 and 20.11.1)."""
    own = outline.temporary.get(temporary_schema(context)) if context.backend_pid else None
    wanted = [outline.namespaces[name] for name in path_names(context) if name in outline.namespaces]
    before = () if oids.PG_CATALOG in wanted else (oids.PG_CATALOG,)
    return (*(() if own is None else (own,)), *before, *dict.fromkeys(wanted))


Value = Callable[[Any, Glance], Any]


@dataclass(frozen=True, slots=True)
class Fresh:
    """A column that changes while the catalog does not: sizes, settings."""

    value: Value


@dataclass(frozen=True)
class Live:
    rows: Callable[[Glance], Sequence[Any]]
    columns: Mapping[str, object]
    kept: bool = True

    def array(
        self, relation: CatalogRelation, column: CatalogColumn, glance: Glance, moving: Sequence[Any] | None = None
    ) -> pa.Array:
        """One column of all rows; of rows that come and go (not ``kept``) all columns are of the same ``moving``."""
        given = self.columns.get(column.name, _MISSING)
        if not self.kept or isinstance(given, Fresh):
            return self._made(relation, column, given, glance, moving)
        key = (live_key(relation, glance), column.name)
        found = glance.outline.kept.get(key)
        if found is None:
            found = glance.outline.kept[key] = self._made(relation, column, given, glance)
        return found

    def _made(
        self,
        relation: CatalogRelation,
        column: CatalogColumn,
        given: object,
        glance: Glance,
        moving: Sequence[Any] | None = None,
    ) -> pa.Array:
        rows = self.rows(glance) if moving is None else moving
        function = given.value if isinstance(given, Fresh) else given
        if callable(function):
            return pa.array([function(row, glance) for row in rows], column.type.arrow)
        value = _zero(relation, column) if given is _MISSING else given
        if value is None:
            return pa.nulls(len(rows), column.type.arrow)
        return pa.array([value] * len(rows), column.type.arrow)

    def lasts(self, names: Sequence[str]) -> bool:
        """Whether columns change with the catalog alone."""
        return self.kept and not any(isinstance(self.columns.get(name), Fresh) for name in names)


def live_key(relation: CatalogRelation, glance: Glance) -> str:
    """What is kept of a relation is kept under this; information_schema hides what is temporary from other sessions,
    and names in defaults have their schemas where the path does not find them."""
    seen_by = glance.outline.own_temporary if relation.schema == INFORMATION_SCHEMA else 0
    path = glance.outline.path if relation.name in _WITH_DEFAULTS else ""
    return f"{relation.schema}.{relation.name}.{seen_by}{path}"


_WITH_DEFAULTS = ("pg_attrdef", "columns")


_MISSING = object()
_ZEROS: dict[pa.DataType, Any] = {pa.bool_(): False, pa.int16(): 0, pa.int32(): 0, pa.int64(): 0}
LIVE: dict[tuple[str, str], Live] = {}


def _zero(relation: CatalogRelation, column: CatalogColumn) -> Any:
    return _ZEROS.get(column.type.arrow) if relation.kind == "r" else None


def live(schema: str, name: str, columns: Mapping[str, object], *, kept: bool = True) -> Callable[[Rows], Rows]:
    """Register the function that gives a relation's rows."""

    def register(rows: Rows) -> Rows:
        LIVE[schema, name] = Live(rows, columns, kept)
        return rows

    return register


Rows = Callable[[Glance], Sequence[Any]]
