"""Changes of a series' columns."""

from __future__ import annotations

from dataclasses import replace

from tsdb.errors import (
    DatatypeMismatch,
    DuplicateColumn,
    FeatureNotSupported,
    InvalidTableDefinition,
    ObjectNotInPrerequisiteState,
    TooManyColumns,
)
from tsdb.model.catalog import Column, Database, Role, Series
from tsdb.model.change_declarations import renumbered, without_column
from tsdb.model.change_series import (
    MAX_COLUMNS,
    check_definition,
    column_of,
    described,
    drop_relations,
    owned_sequence,
    still_used,
    users_of,
)
from tsdb.model.changes import (
    AddColumn,
    AlterColumn,
    AlterColumnType,
    ColumnDefinition,
    DropColumn,
    RenameColumn,
    SetIdentity,
)
from tsdb.model.draft import Draft
from tsdb.types import Kind


def add_column(draft: Draft, change: AddColumn) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    definition = change.column
    check_definition(definition)
    existing = series.by_name.get(definition.name)
    if existing is not None:
        same = existing.role is definition.role and existing.type == definition.type
        if change.if_not_exists and same:
            return
        raise DuplicateColumn(f'column "{definition.name}" of relation "{series.name}" already exists')
    if definition.role is Role.TIME:
        raise InvalidTableDefinition(f'table "{series.name}" can have only one time column')
    if len(series.columns) >= MAX_COLUMNS:
        raise TooManyColumns(f'table "{series.name}" has {MAX_COLUMNS} columns already, as many as are allowed')
    number = draft.column_numbers(1)
    column = column_of(draft, database, number, definition, (series.schema, series.name, series.number), series.owner)
    draft.put_series(draft.find(change.database), replace(series, columns=(*series.columns, column)))


def drop_column(draft: Draft, change: DropColumn) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    column = series.column(change.name)
    if column.role is not Role.FIELD:
        raise FeatureNotSupported(
            f'cannot drop column "{change.name}": it belongs to the key of "{series.name}"',
            hint="Tags and the time identify a point; make a new table without the column and copy what you need.",
        )
    what = f"column {column.name} of table {series.name}"
    views = users_of(database, series.identity, column.number)
    referencing = [
        (each, constraint)
        for each in database.series.values()
        for constraint in each.constraints
        if constraint.references == series.number and column.number in constraint.reference_columns
    ]
    if (views or referencing) and not change.cascade:
        details = [described(view, what) for view in views]
        details += [f"constraint {c.name} on table {t.name} depends on {what}" for t, c in referencing]
        raise still_used(what, details)
    drop_relations(draft, change.database, views)
    for each, constraint in referencing:
        rest = tuple(c for c in each.constraints if c.number != constraint.number)
        draft.put_series(draft.find(change.database), replace(each, constraints=rest))
    database = draft.find(change.database)
    series = without_column(database.find(change.series), column.number)
    draft.put_series(database, replace(series, columns=tuple(c for c in series.columns if c.number != column.number)))
    for sequence in database.sequences.values():
        if sequence.series == series.number and sequence.column == column.number:
            draft.drop_sequence(draft.find(change.database), sequence)


def _edit(draft: Draft, database: Database, series: Series, old: Column, new: Column) -> None:
    columns = tuple(new if c.number == old.number else c for c in series.columns)
    draft.put_series(draft.find(database.name), replace(series, columns=columns))


def rename_column(draft: Draft, change: RenameColumn) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    old = series.column(change.name)
    if change.to in series.by_name:
        raise DuplicateColumn(f'column "{change.to}" of relation "{series.name}" already exists')
    check_definition(ColumnDefinition(change.to, old.role, old.type))
    _edit(draft, database, series, old, replace(old, name=change.to))


def alter_column_type(draft: Draft, change: AlterColumnType) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    old = series.column(change.name)
    if old.role is Role.TIME:
        raise FeatureNotSupported(f'cannot change the type of the time column "{change.name}"')
    if users := users_of(database, series.identity, old.number):
        raise FeatureNotSupported(
            "cannot alter type of a column used by a view or rule",
            detail="\n".join(described(view, f'column "{old.name}"') for view in users[:20]),
        )
    if old.role is Role.TAG:
        if change.type.kind is not Kind.TEXT:
            raise FeatureNotSupported(f'cannot change the type of tag "{change.name}"; tags are text')
        _edit(draft, database, series, old, replace(old, type=change.type))
        return
    if (old.kind is Kind.BOOL) != (change.type.kind is Kind.BOOL) and Kind.TEXT not in (old.kind, change.type.kind):
        raise DatatypeMismatch(f'column "{change.name}" cannot be cast automatically to type {change.type.name}')
    if old.kind is change.type.kind:
        new = replace(old, type=change.type, typmod=change.typmod)
        _edit(draft, database, series, old, new)
        return
    new = replace(
        old,
        number=draft.column_numbers(1),
        type=change.type,
        typmod=change.typmod,
        former=((old.number, old.kind), *old.former),
    )
    _edit(draft, database, renumbered(series, old.number, new.number), old, new)
    _follow(draft, change.database, series.number, old.number, new.number)


def _follow(draft: Draft, database_name: str, series: int, old: int, new: int) -> None:
    """Foreign keys of other tables and the column's sequence know it by its number."""
    for each in draft.find(database_name).series.values():
        if any(c.references == series and old in c.reference_columns for c in each.constraints):
            constraints = tuple(
                replace(c, reference_columns=tuple(new if n == old else n for n in c.reference_columns))
                if c.references == series
                else c
                for c in each.constraints
            )
            draft.put_series(draft.find(database_name), replace(each, constraints=constraints))
    for sequence in draft.find(database_name).sequences.values():
        if sequence.series == series and sequence.column == old:
            draft.put_sequence(draft.find(database_name), replace(sequence, column=new))


def alter_column(draft: Draft, change: AlterColumn) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    old = series.column(change.name)
    new = old if change.not_null is None else replace(old, not_null=change.not_null)
    if change.set_default:
        if old.identity:
            raise ObjectNotInPrerequisiteState(
                f'column "{old.name}" of relation "{series.name}" is an identity column',
                hint="Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead.",
            )
        sequence = 0
        if change.sequence is not None:
            wanted = ColumnDefinition(old.name, old.role, old.type, sequence=change.sequence)
            sequence = column_of(draft, database, old.number, wanted, ("", "", 0), series.owner).sequence
        new = replace(new, default=change.default, sequence=sequence)
    _edit(draft, database, series, old, new)


def set_identity(draft: Draft, change: SetIdentity) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    old = series.column(change.name)
    if change.counts is not None:
        if old.identity or old.sequence or old.default is not None:
            raise ObjectNotInPrerequisiteState(
                f'column "{old.name}" of relation "{series.name}" already has a default value or is an identity column'
            )
        of = (series.schema, series.name, series.number)
        number = owned_sequence(draft, change.database, of, (old.number, old.name), change.counts, series.owner)
        _edit(draft, database, series, old, replace(old, identity=change.identity, sequence=number, not_null=True))
        return
    if not old.identity:
        raise ObjectNotInPrerequisiteState(f'column "{old.name}" of relation "{series.name}" is not an identity column')
    if change.identity:
        _edit(draft, database, series, old, replace(old, identity=change.identity))
        return
    _edit(draft, database, series, old, replace(old, identity="", sequence=0))
    sequence = database.sequence_by_number.get(old.sequence)
    if sequence is not None:
        draft.drop_sequence(draft.find(change.database), sequence)
