"""The relations themselves: captured rows and live rows together, column by column, as a query asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from tsdb.model.catalog import Catalog
from tsdb.sql.catalog import live_databases, live_information, live_relations, live_sessions, live_views, static
from tsdb.sql.catalog.live import LIVE, moment_of
from tsdb.sql.catalog.static import INFORMATION_SCHEMA, PG_CATALOG, CatalogRelation
from tsdb.sql.context import Context
from tsdb.types import REFERENCES

# The table of live relations fills itself as these are imported.
_LIVE = (live_databases, live_information, live_relations, live_sessions, live_views)
# Relations whose captured rows are only the ground that the live ones are made on.
_ALL_LIVE = frozenset({"pg_settings"})


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
        """The columns ``names`` of all rows."""
        relation = self.described
        prefix = "" if relation.schema == PG_CATALOG else f"{relation.schema}."
        file = f"{prefix}{relation.name}"
        captured = 0 if relation.name in _ALL_LIVE else static.row_count(file)
        rows = LIVE.get((relation.schema, relation.name))
        moment = moment_of(context, catalog) if rows is not None else None
        arrays = []
        for column in relation.columns:
            if column.name not in names:
                continue
            parts = []
            if captured:
                found = static.column(file, column.name)
                parts.append(pa.nulls(captured, column.type.arrow) if found is None else found)
            if rows is not None and moment is not None:
                parts.append(rows.array(relation, column, moment))
            arrays.append((column.name, pa.chunked_array(parts, column.type.arrow)))
        made = pa.table([a for _, a in arrays], names=[n for n, _ in arrays])
        return made.select(list(names))


def find(schema: str, name: str) -> SystemRelation | None:
    """A system relation by its name; information_schema's need their schema, pg_catalog's do not."""
    found = static.relations().get((schema or PG_CATALOG, name))
    return None if found is None else SystemRelation(found)


SCHEMAS = (PG_CATALOG, INFORMATION_SCHEMA)
_REFERENCES = frozenset(t.typname for t in REFERENCES)
