"""What a database that several nodes have cannot do yet, by name: refused before anything of it is logged."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tsdb.errors import FeatureNotSupported
from tsdb.model.catalog import Catalog
from tsdb.model.schema import CreateSeries, SchemaChange


def no_continuous_views() -> FeatureNotSupported:
    return FeatureNotSupported(
        "a replicated database has no continuous views yet",
        hint="Ask for the aggregates themselves, or make a materialized view, which is refreshed as a whole.",
    )


def check_continuous(catalog: Catalog, changes: Iterable[SchemaChange], shared: Collection[int]) -> None:
    """How far such a view is stored is known at one node alone. Raises FeatureNotSupported."""
    for change in changes:
        if isinstance(change, CreateSeries) and change.definition is not None and change.definition.continuous:
            database = catalog.databases.get(change.database)
            if database is not None and database.number in shared:
                raise no_continuous_views()
