"""Changes of databases and namespaces, and comments on anything."""

from __future__ import annotations

from dataclasses import replace

from tsdb.errors import (
    DependentObjectsStillExist,
    DuplicateDatabase,
    DuplicateSchema,
    FeatureNotSupported,
    InvalidSchemaName,
    ReservedName,
    UndefinedObject,
    UndefinedTable,
)
from tsdb.model.catalog import Database, Series
from tsdb.model.change_series import drop_relations
from tsdb.model.change_types import drop_types_in, found_type, rename_type
from tsdb.model.changes import CreateDatabase, RenameType, SetComment
from tsdb.model.draft import Draft, check_name
from tsdb.model.enums import EnumType
from tsdb.model.relations import PUBLIC, SYSTEM_VIEWS, Namespace, SqlSequence, SqlView
from tsdb.model.ring import LOCATIONS_PER_DATABASE, equal_locations
from tsdb.model.roles import FIRST


def create_database(draft: Draft, change: CreateDatabase) -> None:
    check_name(change.name, "database")
    if change.name in draft.databases:
        if change.if_not_exists:
            return
        raise DuplicateDatabase(f'database "{change.name}" already exists')
    locations = equal_locations(draft.next_location, LOCATIONS_PER_DATABASE)
    draft.put_database(Database(draft.next_database, change.name, {}, locations, change.owner))
    draft.next_database += 1
    draft.next_location += LOCATIONS_PER_DATABASE


def rename_database(draft: Draft, name: str, to: str) -> None:
    check_name(to, "database")
    found = draft.find(name)
    if to in draft.databases:
        raise DuplicateDatabase(f'database "{to}" already exists')
    draft.remove_database(found)
    draft.put_database(replace(found, name=to))


# --- namespaces ---


def create_namespace(draft: Draft, database: str, name: str, *, if_not_exists: bool, owner: int = FIRST) -> None:
    found = draft.find(database)
    check_name(name, "schema")
    if name.startswith("pg_") or name == "information_schema":
        raise ReservedName(
            f'unacceptable schema name "{name}"', detail='The prefix "pg_" is reserved for system schemas.'
        )
    if name in (PUBLIC, SYSTEM_VIEWS) or name in found.namespaces:
        if if_not_exists:
            return
        raise DuplicateSchema(f'schema "{name}" already exists')
    namespace = Namespace(draft.relation_number(), name, owner=owner)
    draft.put_namespaces(found, {**found.namespaces, name: namespace})


def drop_namespace(draft: Draft, database: str, name: str, *, cascade: bool) -> None:
    found = draft.find(database)
    if name == PUBLIC:
        raise FeatureNotSupported('schema "public" cannot be dropped', detail="Line protocol writes to it.")
    _namespace(found, name)
    inside = [
        each
        for mapping in (found.views, found.series, found.sequences, found.types)
        for each in mapping.values()
        if each.schema == name
    ]
    if inside and not cascade:
        raise DependentObjectsStillExist(
            f"cannot drop schema {name} because other objects depend on it",
            detail="\n".join(f"{each.name} depends on schema {name}" for each in inside[:20]),
            hint="Use DROP ... CASCADE to drop the dependent objects too.",
        )
    drop_relations(draft, database, [each for each in inside if not isinstance(each, EnumType)])
    drop_types_in(draft, database, name)
    found = draft.find(database)
    draft.put_namespaces(found, {n: each for n, each in found.namespaces.items() if n != name})


def rename_namespace(draft: Draft, database: str, name: str, to: str) -> None:
    found = draft.find(database)
    old = _namespace(found, name)
    if name == PUBLIC:
        raise FeatureNotSupported('schema "public" cannot be renamed', detail="Line protocol writes to it.")
    create_namespace(draft, database, to, if_not_exists=False)
    for mapping in (found.series, found.views, found.sequences):
        for each in mapping.values():
            if each.schema == name:
                draft.rename(found, each, to, each.name)
    for enum in found.types.values():
        if enum.schema == name:
            rename_type(draft, RenameType(database, enum.path, to, enum.name))
    found = draft.find(database)
    rest = {n: each for n, each in found.namespaces.items() if n != name}
    draft.put_namespaces(found, {**rest, to: replace(old, name=to)})


def _namespace(database: Database, name: str) -> Namespace:
    found = database.namespaces.get(name)
    if found is None and name != PUBLIC:
        raise InvalidSchemaName(f'schema "{name}" does not exist')
    return found or Namespace(0, PUBLIC)


# --- comments ---


def set_comment(draft: Draft, change: SetComment) -> None:
    database = draft.find(change.database)
    if change.kind == "database":
        draft.put_database(replace(database, comment=change.comment))
    elif change.kind == "schema":
        namespace = _namespace(database, change.name)
        commented = replace(namespace, number=namespace.number or draft.relation_number(), comment=change.comment)
        draft.put_namespaces(database, {**database.namespaces, change.name: commented})
    elif change.kind == "type":
        enum = replace(found_type(database, change.name), comment=change.comment)
        draft.put_types(database, {**database.types, enum.path: enum})
    else:
        _comment_on_relation(draft, database, change)


def _comment_on_relation(draft: Draft, database: Database, change: SetComment) -> None:
    relation = database.relation(change.name)
    if isinstance(relation, Series):
        draft.put_series(database, _commented(relation, change))
    elif isinstance(relation, SqlView):
        draft.put_view(database, _commented_view(relation, change))
    elif isinstance(relation, SqlSequence) and change.kind == "relation":
        draft.put_sequence(database, replace(relation, comment=change.comment))
    else:
        raise UndefinedTable(f'relation "{change.name}" does not exist')


def _commented(series: Series, change: SetComment) -> Series:
    part, comment = change.part, change.comment
    if change.kind == "relation":
        return replace(series, comment=comment)
    if change.kind == "column":
        series.column(part)
        return replace(
            series, columns=tuple(replace(c, comment=comment) if c.name == part else c for c in series.columns)
        )
    if change.kind == "index" and any(each.name == part for each in series.indexes):
        return replace(
            series, indexes=tuple(replace(i, comment=comment) if i.name == part else i for i in series.indexes)
        )
    if change.kind == "constraint" and any(each.name == part for each in series.constraints):
        return replace(
            series,
            constraints=tuple(replace(c, comment=comment) if c.name == part else c for c in series.constraints),
        )
    raise UndefinedObject(f'{change.kind} "{part}" for table "{series.name}" does not exist')


def _commented_view(view: SqlView, change: SetComment) -> SqlView:
    if change.kind == "relation":
        return replace(view, comment=change.comment)
    if change.kind != "column" or all(c.name != change.part for c in view.columns):
        raise UndefinedObject(f'{change.kind} "{change.part}" of view "{view.name}" does not exist')
    columns = tuple(replace(c, comment=change.comment) if c.name == change.part else c for c in view.columns)
    return replace(view, columns=columns)
