"""Changes of constraints and indexes: declared and remembered by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tsdb.errors import DuplicateObject, DuplicateTable, UndefinedColumn, UndefinedObject
from tsdb.model.catalog import Database, Series
from tsdb.model.changes import (
    AddConstraint,
    AddIndex,
    ConstraintDefinition,
    DropConstraint,
    DropIndex,
    IndexDefinition,
    RenameConstraint,
    RenameIndex,
    ValidateConstraint,
)
from tsdb.model.draft import Draft, check_name, unused
from tsdb.model.relations import Constraint, Index, IndexKey

# How PostgreSQL calls a constraint that got no name (ChooseConstraintName).
_SUFFIXES = {"f": "fkey", "c": "check", "u": "key", "x": "excl", "p": "pkey"}


def constraint_of(draft: Draft, database: Database, series: Series, definition: ConstraintDefinition) -> Constraint:
    """The constraint of a definition. Raises UndefinedColumn, UndefinedTable, DuplicateObject."""
    d = definition
    if d.kind == "c":
        d = replace(d, columns=tuple(name for name in dict.fromkeys(d.columns) if name in series.by_name))
    taken = {c.name for c in series.constraints}
    if d.name is None:
        named = () if d.kind == "p" or (d.kind == "c" and len(d.columns) != 1) else d.columns
        name = unused(taken, series.name, *named, _SUFFIXES[d.kind])
    else:
        check_name(d.name, "constraint")
        name = d.name
    if name in taken or name == series.key_name:
        raise DuplicateObject(f'constraint "{name}" for relation "{series.name}" already exists')
    columns = _numbers(series, d.columns)
    references = 0
    theirs: tuple[int, ...] = ()
    if d.references is not None:
        target = series if d.references == series.path else database.find(d.references)
        references, theirs = target.number, _numbers(target, d.reference_columns) or _key_of(target)
    return Constraint(
        draft.relation_number(), name, d.kind, columns, d.text, references, theirs, d.on_update, d.on_delete, d.match,
        validated=d.validated, names=d.columns if d.kind == "c" else (), nulls_equal=d.nulls_equal,
    )  # fmt: skip


def _key_of(series: Series) -> tuple[int, ...]:
    later = next((c.columns for c in series.constraints if c.kind == "p"), ())
    return series.key or later


def _numbers(series: Series, names: Sequence[str]) -> tuple[int, ...]:
    for name in names:
        if name not in series.by_name:
            raise UndefinedColumn(f'column "{name}" referenced in a constraint or index does not exist')
    return tuple(series.by_name[name].number for name in names)


def add_constraint(draft: Draft, change: AddConstraint) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    made = constraint_of(draft, database, series, change.constraint)
    draft.put_series(database, replace(series, constraints=(*series.constraints, made)))


def drop_constraint(draft: Draft, change: DropConstraint) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    found = _constraint(series, change.name)
    draft.put_series(database, replace(series, constraints=tuple(c for c in series.constraints if c is not found)))


def validate_constraint(draft: Draft, change: ValidateConstraint) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    found = _constraint(series, change.name)
    kept = tuple(replace(c, validated=True) if c is found else c for c in series.constraints)
    draft.put_series(database, replace(series, constraints=kept))


def rename_constraint(draft: Draft, change: RenameConstraint) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    check_name(change.to, "constraint")
    if any(c.name == change.to for c in series.constraints):
        raise DuplicateObject(f'constraint "{change.to}" for relation "{series.name}" already exists')
    if series.key and change.name == (series.key_name or f"{series.name}_pkey"):
        draft.put_series(database, replace(series, key_name=change.to))
        return
    found = _constraint(series, change.name)
    renamed = tuple(replace(c, name=change.to) if c is found else c for c in series.constraints)
    draft.put_series(database, replace(series, constraints=renamed))


def _constraint(series: Series, name: str) -> Constraint:
    found = next((c for c in series.constraints if c.name == name), None)
    if found is None:
        raise UndefinedObject(f'constraint "{name}" of relation "{series.name}" does not exist')
    return found


# --- indexes ---


def index_names(database: Database, schema: str) -> set[str]:
    """The names of all indexes of a schema, those of keys and UNIQUE too."""
    names: set[str] = set()
    for series in database.series.values():
        if series.schema == schema:
            names.update(index.name for index in series.indexes)
            names.update(c.name for c in series.constraints if c.kind in "uxp")
            if series.key:
                names.add(series.key_name or f"{series.name}_pkey")
    return names


def index_of(draft: Draft, database: Database, series: Series, definition: IndexDefinition) -> Index:
    """The index of a definition. Raises UndefinedColumn, DuplicateTable."""
    d = definition
    taken = index_names(database, series.schema) | {i.name for i in series.indexes}
    if d.name is None:
        name = unused(taken, series.name, *(key[0] or "expr" for key in d.keys), "idx")
    else:
        check_name(d.name, "index")
        name = d.name
        if name in taken:
            raise DuplicateTable(f'relation "{name}" already exists')
    keys = tuple(
        IndexKey(_numbers(series, (column,))[0] if column is not None else 0, text, descending, nulls_first)
        for column, text, descending, nulls_first in d.keys
    )
    return Index(
        draft.relation_number(), name, d.unique, d.method, keys, _numbers(series, d.included), d.where,
        nulls_equal=d.nulls_equal,
    )  # fmt: skip


def add_index(draft: Draft, change: AddIndex) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    made = index_of(draft, database, series, change.index)
    draft.put_series(database, replace(series, indexes=(*series.indexes, made)))


def drop_index(draft: Draft, change: DropIndex) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    found = _index(series, change.name)
    draft.put_series(database, replace(series, indexes=tuple(i for i in series.indexes if i is not found)))


def rename_index(draft: Draft, change: RenameIndex) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    found = _index(series, change.name)
    check_name(change.to, "index")
    if change.to in index_names(database, series.schema):
        raise DuplicateTable(f'relation "{change.to}" already exists')
    renamed = tuple(replace(i, name=change.to) if i is found else i for i in series.indexes)
    draft.put_series(database, replace(series, indexes=renamed))


def _index(series: Series, name: str) -> Index:
    found = next((i for i in series.indexes if i.name == name), None)
    if found is None:
        raise UndefinedObject(f'index "{name}" does not exist')
    return found


def without_column(series: Series, number: int) -> Series:
    """What was declared with a column goes with it (manual, ALTER TABLE, DROP COLUMN)."""
    return replace(
        series,
        constraints=tuple(c for c in series.constraints if number not in c.columns),
        indexes=tuple(
            i for i in series.indexes if number not in i.included and all(k.column != number for k in i.keys)
        ),
    )


def renumbered(series: Series, old: int, new: int) -> Series:
    """ALTER TYPE gave a column another number."""

    def now(numbers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(new if n == old else n for n in numbers)

    return replace(
        series,
        constraints=tuple(
            replace(
                c,
                columns=now(c.columns),
                reference_columns=now(c.reference_columns) if c.references == series.number else c.reference_columns,
            )
            for c in series.constraints
        ),
        indexes=tuple(
            replace(
                i,
                keys=tuple(replace(k, column=new) if k.column == old else k for k in i.keys),
                included=now(i.included),
            )
            for i in series.indexes
        ),
    )
