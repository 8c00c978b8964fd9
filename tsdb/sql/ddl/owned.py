"""REASSIGN OWNED and DROP OWNED: what roles own in the session's database.

Source: PostgreSQL 15 manual, REASSIGN OWNED, DROP OWNED.
"""

from __future__ import annotations

from collections.abc import Iterator

from tsdb.model.catalog import Relation
from tsdb.model.relations import PUBLIC, SqlView
from tsdb.model.role_changes import DropOwned, ReassignOwned
from tsdb.model.schema import (
    Catalog,
    Database,
    DropNamespace,
    DropSequence,
    DropSeries,
    DropType,
    DropView,
    SchemaChange,
    Series,
    apply,
)
from tsdb.sql.context import Context
from tsdb.sql.ddl.role_names import role_name, role_names
from tsdb.sql.reader import Reader


def reassign(reader: Reader, context: Context) -> tuple[SchemaChange, ...]:
    reader.expect("owned", "by")
    roles = role_names(reader, context)
    reader.expect("to")
    to = role_name(reader, context)
    reader.finish()
    return (ReassignOwned(context.database, tuple(roles), to),)


def drop(reader: Reader, context: Context, catalog: Catalog) -> tuple[SchemaChange, ...]:
    """What follows DROP OWNED: the drops, then the end of all that the roles were granted.

    Raises DependentObjectsStillExist for what others' objects use, unless CASCADE is said.
    """
    reader.expect("by")
    roles = tuple(role_names(reader, context))
    cascade = reader.accept_any("cascade", "restrict") == "cascade"
    numbers = {catalog.roles.find(name).number for name in roles}
    found: list[SchemaChange] = []
    after = catalog
    for change in _drops(catalog.find(context.database), numbers, cascade=cascade):
        # With CASCADE it may have gone along with one before it.
        if _is_there(after.find(context.database), change):
            after = apply(after, [change])
            found.append(change)
    return (*found, DropOwned(context.database, roles))


def drop_of(database: str, relation: Relation, *, cascade: bool) -> DropSeries | DropView | DropSequence:
    if isinstance(relation, Series):
        return DropSeries(database, relation.path, cascade)
    if isinstance(relation, SqlView):
        return DropView(database, relation.path, cascade)
    return DropSequence(database, relation.path, cascade)


Drop = DropSeries | DropView | DropSequence | DropType | DropNamespace


def _drops(database: Database, owners: set[int], *, cascade: bool) -> Iterator[Drop]:
    """What depends on another is mostly younger, so that it goes first; schemas last."""
    owned: dict[int, Relation] = {}
    for relations in (database.series, database.views, database.sequences):
        for each in relations.values():
            counts_for_a_column = not isinstance(each, Series | SqlView) and each.series
            if each.owner in owners and not counts_for_a_column:
                owned[each.identity if isinstance(each, Series) else each.number] = each
    for number in sorted(owned, reverse=True):
        yield drop_of(database.name, owned[number], cascade=cascade)
    for enum in database.types.values():
        if enum.owner in owners:
            yield DropType(database.name, enum.path, cascade)
    for namespace in database.namespaces.values():
        if namespace.owner in owners and namespace.name != PUBLIC:
            yield DropNamespace(database.name, namespace.name, cascade)


def _is_there(database: Database, change: Drop) -> bool:
    if isinstance(change, DropNamespace):
        return change.name in database.namespaces
    if isinstance(change, DropType):
        return change.name in database.types
    return database.relation(change.name) is not None
