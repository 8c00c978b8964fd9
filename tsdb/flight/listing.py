"""What there is to get: the series that a role may read, each with its schema."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from tsdb.flight.columns import schema_of
from tsdb.model import privileges
from tsdb.model.privileges import Privilege
from tsdb.model.schema import Catalog
from tsdb.sql.result import of_column


def listed(catalog: Catalog, role: int, database: str = "") -> Iterator[tuple[str, str, pa.Schema]]:
    """(database, series, schema of all its columns) of each series of the schema public, of one database if it is
    named."""
    for found in catalog.databases.values():
        may = privileges.privileges_of(catalog.roles, role, found)
        if (database and found.name != database) or not may & Privilege.CONNECT:
            continue
        for name, series in found.series.items():
            if name == series.name and privileges.privileges_of(catalog.roles, role, series) & Privilege.SELECT:
                columns = [of_column(column.name, column, series) for column in series.columns]
                yield found.name, name, schema_of(columns, "float64", found)
