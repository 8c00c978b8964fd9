"""Changes of types: enumerated ones made, altered, renamed and dropped, with the columns that have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tsdb.errors import (
    DuplicateObject,
    FeatureNotSupported,
    InvalidName,
    InvalidParameterValue,
    InvalidSchemaName,
    ProgramLimitExceeded,
    UndefinedObject,
    UniqueViolation,
)
from tsdb.model.catalog import Column, Database, Series
from tsdb.model.change_columns import drop_column
from tsdb.model.change_series import described, drop_relations, still_used
from tsdb.model.changes import AddLabel, CreateEnum, DropColumn, RenameLabel, RenameType
from tsdb.model.draft import Draft, check_name
from tsdb.model.enums import EnumLabel, EnumType
from tsdb.model.relations import PUBLIC, SqlView, ViewColumn, name_of, passes_with_its_process, path_of
from tsdb.types import BY_NAME, SqlType

LABEL_BYTES_MAX = 63
LABELS_MAX = 4096


def create_enum(draft: Draft, change: CreateEnum) -> None:
    database = draft.find(change.database)
    _check_free(database, change.schema, change.name)
    seen: set[str] = set()
    for label in change.labels:
        check_label(label)
        if label in seen:
            raise UniqueViolation(
                'duplicate key value violates unique constraint "pg_enum_typid_label_index"',
                detail=f'The label "{label}" is there twice.',
            )
        seen.add(label)
    _check_count(len(change.labels))
    number = draft.relation_number()
    labels = tuple(EnumLabel(draft.relation_number(), text, float(i + 1)) for i, text in enumerate(change.labels))
    made = EnumType(number, change.schema, change.name, labels, owner=change.owner)
    draft.put_types(database, {**database.types, made.path: made})


def check_label(label: str) -> None:
    if len(label.encode()) > LABEL_BYTES_MAX:
        raise InvalidName(f'invalid enum label "{label}"', detail=f"Labels must be {LABEL_BYTES_MAX} bytes or less.")
    if any(ch < " " or ch == "\x7f" for ch in label):
        raise InvalidName(f"enum label {label!r} holds a control character")


def _check_count(count: int) -> None:
    if count > LABELS_MAX:
        raise ProgramLimitExceeded(f"an enumerated type has at most {LABELS_MAX} labels")


def _check_free(database: Database, schema: str, name: str) -> None:
    check_name(name, "type")
    if passes_with_its_process(schema):
        raise FeatureNotSupported("temporary types are not supported")
    if schema != PUBLIC and schema not in database.namespaces:
        raise InvalidSchemaName(f'schema "{schema}" does not exist')
    path = path_of(schema, name)
    # A table has a type of its name; and a type that has the name of PostgreSQL's own could not be named.
    if path in database.types or path in database.series or path in database.views or name in BY_NAME:
        raise DuplicateObject(f'type "{name}" already exists')


def found_type(database: Database, path: str) -> EnumType:
    """Raises UndefinedObject."""
    found = database.types.get(path)
    if found is None:
        raise UndefinedObject(f'type "{name_of(path)}" does not exist')
    return found


def add_label(draft: Draft, change: AddLabel) -> None:
    database = draft.find(change.database)
    old = found_type(database, change.name)
    check_label(change.label)
    texts = [label.text for label in old.labels]
    if change.label in texts:
        if change.if_not_exists:
            return
        raise DuplicateObject(f'enum label "{change.label}" already exists')
    _check_count(len(texts) + 1)
    at = len(texts)
    if change.neighbour is not None:
        if change.neighbour not in texts:
            raise InvalidParameterValue(f'"{change.neighbour}" is not an existing enum label')
        at = texts.index(change.neighbour) + change.after
    before = old.labels[at - 1].order if at else None
    behind = old.labels[at].order if at < len(texts) else None
    order = _between(before, behind)
    labels = (*old.labels[:at], EnumLabel(draft.relation_number(), change.label, order), *old.labels[at:])
    if order in (before, behind):
        # No number is left between the two: all are numbered anew.
        labels = tuple(replace(label, order=float(i + 1)) for i, label in enumerate(labels))
    _put(draft, database, old, replace(old, labels=labels))


def _between(before: float | None, behind: float | None) -> float:
    if behind is None:
        return 1.0 if before is None else before + 1
    return behind - 1 if before is None else (before + behind) / 2


def rename_label(draft: Draft, change: RenameLabel) -> None:
    database = draft.find(change.database)
    old = found_type(database, change.name)
    check_label(change.to)
    texts = [label.text for label in old.labels]
    if change.label not in texts:
        raise InvalidParameterValue(f'"{change.label}" is not an existing enum label')
    if change.to in texts:
        raise DuplicateObject(f'enum label "{change.to}" already exists')
    users = list(_columns_of(database, old))
    if users:
        series, column = users[0]
        raise FeatureNotSupported(
            f'cannot rename a label of type "{old.name}": column "{column.name}" of "{series.name}" holds it as text',
            hint="Add the new label with ADD VALUE, and UPDATE the rows.",
        )
    labels = tuple(replace(x, text=change.to) if x.text == change.label else x for x in old.labels)
    _put(draft, database, old, replace(old, labels=labels))


def rename_type(draft: Draft, change: RenameType) -> None:
    database = draft.find(change.database)
    old = found_type(database, change.name)
    if (old.schema, old.name) == (change.schema, change.to):
        return
    _check_free(database, change.schema, change.to)
    _put(draft, database, old, replace(old, schema=change.schema, name=change.to))


def drop_type(draft: Draft, database_name: str, path: str, *, cascade: bool) -> None:
    """``cascade`` drops the columns and views that have the type, too."""
    database = draft.find(database_name)
    old = found_type(database, path)
    columns = list(_columns_of(database, old))
    views = [v for v in database.views.values() if _has(v.columns, old)]
    if (columns or views) and not cascade:
        details = [f"column {c.name} of {s.object_kind} {s.name} depends on type {old.name}" for s, c in columns]
        details += [described(view, f"type {old.name}") for view in views]
        raise still_used(f"type {old.name}", details)
    drop_relations(draft, database_name, views)
    drop_relations(draft, database_name, [s for s, _ in columns if s.definition is not None])
    for series, column in columns:
        if series.definition is None:
            drop_column(draft, DropColumn(database_name, series.path, column.name, cascade=True))
    database = draft.find(database_name)
    draft.put_types(database, {p: t for p, t in database.types.items() if p != path})


def drop_types_in(draft: Draft, database_name: str, schema: str) -> None:
    """What DROP SCHEMA … CASCADE takes with it."""
    for path in [t.path for t in draft.find(database_name).types.values() if t.schema == schema]:
        drop_type(draft, database_name, path, cascade=True)


def _columns_of(database: Database, enum: EnumType) -> Iterable[tuple[Series, Column]]:
    return ((s, c) for s in database.series.values() for c in s.columns if _is_of(c.type, enum))


def _is_of(sql_type: SqlType, enum: EnumType) -> bool:
    return (sql_type.element or sql_type).oid == enum.sql_type.oid


def _has(columns: Iterable[ViewColumn], enum: EnumType) -> bool:
    return any(_is_of(c.type, enum) for c in columns)


def _put(draft: Draft, database: Database, old: EnumType, new: EnumType) -> None:
    """The type as it is now, also in the columns that have it."""
    rest = {path: each for path, each in database.types.items() if path != old.path}
    draft.put_types(database, {**rest, new.path: new})
    types: Mapping[int, SqlType] = {t.oid: t for t in (new.sql_type, new.array_type)}
    for series in list(database.series.values()):
        if any(c.type.oid in types for c in series.columns):
            columns = tuple(replace(c, type=types.get(c.type.oid, c.type)) for c in series.columns)
            draft.put_series(draft.find(database.name), replace(series, columns=columns))
    for view in list(database.views.values()):
        if _has(view.columns, new):
            draft.put_view(draft.find(database.name), _retyped(view, types))


def _retyped(view: SqlView, types: Mapping[int, SqlType]) -> SqlView:
    return replace(view, columns=tuple(replace(c, type=types.get(c.type.oid, c.type)) for c in view.columns))
