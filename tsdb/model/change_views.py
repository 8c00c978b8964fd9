"""Changes of views and sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tsdb.errors import (
    DuplicateColumn,
    DuplicateTable,
    InvalidTableDefinition,
    UndefinedColumn,
    UndefinedTable,
    WrongObjectType,
)
from tsdb.model.catalog import Database
from tsdb.model.changes import AlterSequence, CreateSequence, CreateView, RenameViewColumn
from tsdb.model.draft import Draft, check_name
from tsdb.model.relations import SqlSequence, SqlView, ViewColumn, name_of, path_of

MAX_VIEW_COLUMNS = 1600


def create_view(draft: Draft, change: CreateView) -> None:
    check_name(change.name, "view")
    database = draft.find(change.database)
    path = path_of(change.schema, change.name)
    _check_columns(change.columns)
    found = database.relation(path)
    if found is None or not change.replace:
        draft.check_free(database, path)
        number = draft.relation_number()
        view = SqlView(number, change.schema, change.name, change.definition, change.columns, owner=change.owner)
        draft.put_view(database, view)
        return
    if not isinstance(found, SqlView):
        raise WrongObjectType(f'"{change.name}" is not a view')
    _check_replacement(found.columns, change.columns)
    if _reads(database, change, found.number):
        raise InvalidTableDefinition(f'infinite recursion detected in view "{change.name}"')
    comments = {c.name: c.comment for c in found.columns}
    columns = tuple(replace(c, comment=comments.get(c.name)) for c in change.columns)
    draft.put_view(database, replace(found, definition=change.definition, columns=columns))


def _check_columns(columns: Sequence[ViewColumn]) -> None:
    if not columns or len(columns) > MAX_VIEW_COLUMNS:
        raise InvalidTableDefinition(f"a view has from 1 to {MAX_VIEW_COLUMNS} columns")
    seen: set[str] = set()
    for column in columns:
        check_name(column.name, "column")
        if column.name in seen:
            raise DuplicateColumn(f'column "{column.name}" specified more than once')
        seen.add(column.name)


def _check_replacement(old: Sequence[ViewColumn], new: Sequence[ViewColumn]) -> None:
    """PostgreSQL's checkViewColumns: what reads the view must not notice."""
    if len(new) < len(old):
        raise InvalidTableDefinition("cannot drop columns from view")
    for before, after in zip(old, new, strict=False):
        if before.name != after.name:
            raise InvalidTableDefinition(
                f'cannot change name of view column "{before.name}" to "{after.name}"',
                hint="Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead.",
            )
        if before.type != after.type:
            raise InvalidTableDefinition(
                f'cannot change data type of view column "{before.name}" from {before.type.name} to {after.type.name}'
            )


def _reads(database: Database, change: CreateView, number: int) -> bool:
    """Whether the new query reads a view, by however many others."""
    pending = [use.relation for use in change.definition.uses]
    seen: set[int] = set()
    while pending:
        at = pending.pop()
        if at == number:
            return True
        found = database.by_identity.get(at)
        if at not in seen and found is not None and found.definition is not None:
            pending += [use.relation for use in found.definition.uses]
        seen.add(at)
    return False


def rename_view(draft: Draft, database_name: str, path: str, to: str) -> None:
    database = draft.find(database_name)
    found = _view(database, path)
    draft.rename(database, found, found.schema, to)


def rename_view_column(draft: Draft, change: RenameViewColumn) -> None:
    database = draft.find(change.database)
    found = _view(database, change.name)
    check_name(change.to, "column")
    names = [c.name for c in found.columns]
    if change.column not in names:
        raise UndefinedColumn(f'column "{change.column}" of relation "{found.name}" does not exist')
    if change.to in names:
        raise DuplicateColumn(f'column "{change.to}" of relation "{found.name}" already exists')
    columns = tuple(replace(c, name=change.to) if c.name == change.column else c for c in found.columns)
    draft.put_view(database, replace(found, columns=columns))


def _view(database: Database, path: str) -> SqlView:
    found = database.views.get(path)
    if found is None:
        raise UndefinedTable(f'view "{name_of(path)}" does not exist')
    return found


# --- sequences ---


def create_sequence(draft: Draft, change: CreateSequence) -> None:
    check_name(change.name, "sequence")
    database = draft.find(change.database)
    path = path_of(change.schema, change.name)
    if change.if_not_exists and path in database.sequences:
        return
    draft.check_free(database, path)
    series, column = _owned_by(database, change.of)
    sequence = SqlSequence(
        draft.relation_number(), change.schema, change.name, change.options, series, column, owner=change.owner
    )
    draft.put_sequence(database, sequence)


def alter_sequence(draft: Draft, change: AlterSequence) -> None:
    database = draft.find(change.database)
    found = _sequence(database, change.name)
    changed = replace(found, options=change.options)
    if change.set_of:
        series, column = _owned_by(database, change.of)
        changed = replace(changed, series=series, column=column)
    draft.put_sequence(database, changed)


def rename_sequence(draft: Draft, database_name: str, path: str, to: str) -> None:
    database = draft.find(database_name)
    found = _sequence(database, path)
    if path_of(found.schema, to) in database.sequences:
        raise DuplicateTable(f'relation "{to}" already exists')
    draft.rename(database, found, found.schema, to)


def _sequence(database: Database, path: str) -> SqlSequence:
    found = database.sequences.get(path)
    if found is None:
        raise UndefinedTable(f'relation "{name_of(path)}" does not exist')
    return found


def _owned_by(database: Database, of: tuple[str, str] | None) -> tuple[int, int]:
    if of is None:
        return 0, 0
    series = database.find(of[0])
    return series.number, series.column(of[1]).number
