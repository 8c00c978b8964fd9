"""Changes of series as wholes: made, renamed, moved, dropped with what depends on them, and swapped by a refresh."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tsdb.errors import (
    DependentObjectsStillExist,
    DuplicateColumn,
    InvalidTableDefinition,
    ReservedName,
    TooManyColumns,
    UndefinedColumn,
    UndefinedTable,
    WrongObjectType,
)
from tsdb.model.catalog import Column, Database, Relation, Role, Series
from tsdb.model.change_declarations import constraint_of, index_of
from tsdb.model.change_slots import first_slots
from tsdb.model.changes import ColumnDefinition, CreateSeries, SetAcks, SetContinuous, SetRetention, Swap
from tsdb.model.draft import Draft, check_name, unused
from tsdb.model.relations import SequenceOptions, SqlSequence, SqlView, name_of, path_of

HIDDEN_COLUMNS = ("time_ns", "sequence")
MAX_COLUMNS = 10_000


def check_definition(column: ColumnDefinition) -> None:
    check_name(column.name, "column")
    if column.name in HIDDEN_COLUMNS:
        raise ReservedName(f'column name "{column.name}" is reserved')
    if column.name == "time" and column.role is not Role.TIME:
        raise ReservedName('column name "time" is reserved for the time of a point')


def create_series(draft: Draft, change: CreateSeries) -> None:
    check_name(change.name, "table")
    database = draft.find(change.database)
    path = path_of(change.schema, change.name)
    if change.if_not_exists and path in database.series:
        return
    draft.check_free(database, path)
    _check_columns(change)
    number = draft.relation_number()
    first = draft.column_numbers(len(change.columns))
    columns = tuple(
        column_of(draft, database, first + i, d, (change.schema, change.name, number), change.owner)
        for i, d in enumerate(change.columns)
    )
    by_name = {c.name: c.number for c in columns}
    for name in change.key:
        if name not in by_name:
            raise UndefinedColumn(f'column "{name}" named in key does not exist')
    series = Series(
        number,
        change.name,
        columns,
        change.keyed,
        change.reference,
        change.retention_ns,
        change.floor_ns,
        key=tuple(by_name[name] for name in change.key),
        schema=change.schema,
        key_name=change.key_name,
        definition=change.definition,
        populated=change.populated,
        owner=change.owner,
        relation=draft.relation_number() if change.definition is not None else 0,
        acks=change.acks,
        slots=first_slots(change.slots),
    )
    for constraint in change.constraints:
        made = constraint_of(draft, draft.find(change.database), series, constraint)
        series = replace(series, constraints=(*series.constraints, made))
    for index in change.indexes:
        made_index = index_of(draft, draft.find(change.database), series, index)
        series = replace(series, indexes=(*series.indexes, made_index))
    draft.put_series(draft.find(change.database), series)


def _check_columns(change: CreateSeries) -> None:
    if len(change.columns) > MAX_COLUMNS:
        raise TooManyColumns(
            f'table "{change.name}" has {len(change.columns)} columns; at most {MAX_COLUMNS} are allowed'
        )
    times = [c for c in change.columns if c.role is Role.TIME]
    if len(times) != (0 if change.reference else 1):
        raise InvalidTableDefinition(f'table "{change.name}" needs exactly one time column')
    seen: set[str] = set()
    for definition in change.columns:
        check_definition(definition)
        if definition.name in seen:
            raise DuplicateColumn(f'column "{definition.name}" specified more than once')
        seen.add(definition.name)


def column_of(
    draft: Draft, database: Database, number: int, definition: ColumnDefinition, of: tuple[str, str, int], owner: int
) -> Column:
    """The column of a definition, and the sequence that counts it; ``of`` is its series: schema, name, number."""
    d = definition
    sequence = 0
    if d.counts is not None:
        sequence = owned_sequence(draft, database.name, of, (number, d.name), d.counts, owner)
    elif d.sequence is not None:
        found = draft.find(database.name).sequences.get(d.sequence)
        if found is None:
            raise UndefinedTable(f'relation "{name_of(d.sequence)}" does not exist')
        sequence = found.number
    return Column(
        number, d.name, d.role, d.type, d.typmod, d.not_null, d.default, sequence=sequence, identity=d.identity
    )


def owned_sequence(
    draft: Draft,
    database: str,
    of: tuple[str, str, int],
    column: tuple[int, str],
    options: SequenceOptions,
    owner: int,
) -> int:
    """Make the sequence of a serial or identity column, <table>_<column>_seq; its number."""
    schema, table, series = of
    found = draft.find(database)
    taken = (each.name for each in found.sequences.values() if each.schema == schema)
    name = unused(taken, table, column[1], "seq")
    while found.relation(path_of(schema, name)) is not None:
        name += "1"
    number = draft.relation_number()
    draft.put_sequence(found, SqlSequence(number, schema, name, options, series, column[0], owner=owner))
    return number


def set_retention(draft: Draft, change: SetRetention) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    floors = [f for f in (series.floor_ns, change.floor_ns) if f is not None]
    floor = max(floors) if floors else None
    draft.put_series(database, replace(series, retention_ns=change.retention_ns, floor_ns=floor))


def set_acks(draft: Draft, change: SetAcks) -> None:
    database = draft.find(change.database)
    draft.put_series(database, replace(database.find(change.series), acks=change.acks))


def set_continuous(draft: Draft, change: SetContinuous) -> None:
    database = draft.find(change.database)
    series = database.find(change.series)
    definition, continuous = series.definition, series.continuous
    if definition is None or continuous is None:
        raise WrongObjectType(f'"{series.name}" is not a continuous view')
    given = {
        name: value for name in ("lag_ns", "every_ns", "stored_only") if (value := getattr(change, name)) is not None
    }
    kept = replace(definition, continuous=replace(continuous, **given))
    draft.put_series(database, replace(series, definition=kept))


# --- dropping ---


def users_of(database: Database, identity: int, column: int | None = None) -> list[Series | SqlView]:
    """The views, materialized ones too, whose query reads a relation, or one column of it."""
    every: list[Series | SqlView] = [*database.views.values()]
    every += [s for s in database.series.values() if s.definition is not None]
    return [each for each in every if _uses(each, identity, column)]


def _uses(view: Series | SqlView, identity: int, column: int | None) -> bool:
    assert view.definition is not None
    return any(
        use.relation == identity and (column is None or any(number == column for number, _ in use.columns))
        for use in view.definition.uses
    )


def drop_series(draft: Draft, database_name: str, path: str, *, cascade: bool) -> None:
    database = draft.find(database_name)
    series = database.find(path)
    views = users_of(database, series.identity)
    referencing = [
        (each, constraint)
        for each in database.series.values()
        for constraint in each.constraints
        if constraint.references == series.number and each.number != series.number
    ]
    if (views or referencing) and not cascade:
        what = "materialized view" if series.definition is not None else "table"
        details = [described(v, f"{what} {series.name}") for v in views]
        details += [f"constraint {c.name} on table {t.name} depends on table {series.name}" for t, c in referencing]
        raise still_used(f"{what} {series.name}", details)
    for each, _ in referencing:
        rest = tuple(c for c in each.constraints if c.references != series.number)
        draft.put_series(draft.find(database_name), replace(each, constraints=rest))
    drop_relations(draft, database_name, views)
    for sequence in [s for s in draft.find(database_name).sequences.values() if s.series == series.number]:
        draft.drop_sequence(draft.find(database_name), sequence)
    draft.drop_series(draft.find(database_name), series)


def drop_view(draft: Draft, database_name: str, path: str, *, cascade: bool) -> None:
    database = draft.find(database_name)
    view = database.views.get(path)
    if view is None:
        raise UndefinedTable(f'view "{name_of(path)}" does not exist')
    views = users_of(database, view.number)
    if views and not cascade:
        raise still_used(f"view {view.name}", [described(v, f"view {view.name}") for v in views])
    drop_relations(draft, database_name, views)
    draft.drop_view(draft.find(database_name), view)


def drop_relations(draft: Draft, database_name: str, relations: Iterable[Relation]) -> None:
    """Drop these and what depends on them, as far as they are still there."""
    for each in relations:
        database = draft.find(database_name)
        if isinstance(each, Series) and each.path in database.series:
            drop_series(draft, database_name, each.path, cascade=True)
        elif isinstance(each, SqlView) and each.path in database.views:
            drop_view(draft, database_name, each.path, cascade=True)
        elif isinstance(each, SqlSequence) and each.path in database.sequences:
            drop_sequence(draft, database_name, each.path, cascade=True)


def drop_sequence(draft: Draft, database_name: str, path: str, *, cascade: bool) -> None:
    """``cascade`` takes the defaults away that count by it."""
    database = draft.find(database_name)
    sequence = database.sequences.get(path)
    if sequence is None:
        raise UndefinedTable(f'sequence "{name_of(path)}" does not exist')
    users = [(s, c) for s in database.series.values() for c in s.columns if c.sequence == sequence.number]
    if users and not cascade:
        details = [f"default value for column {c.name} of table {s.name} depends on it" for s, c in users]
        raise still_used(f"sequence {sequence.name}", details)
    for series, _ in users:
        columns = tuple(
            replace(c, sequence=0, identity="") if c.sequence == sequence.number else c for c in series.columns
        )
        draft.put_series(draft.find(database_name), replace(series, columns=columns))
    draft.drop_sequence(draft.find(database_name), sequence)


def described(view: Series | SqlView, on: str) -> str:
    kind = "view" if isinstance(view, SqlView) else "materialized view"
    return f"{kind} {view.name} depends on {on}"


def still_used(what: str, details: list[str]) -> DependentObjectsStillExist:
    return DependentObjectsStillExist(
        f"cannot drop {what} because other objects depend on it",
        detail="\n".join(details[:20]),
        hint="Use DROP ... CASCADE to drop the dependent objects too.",
    )


# --- names ---


def rename_series(draft: Draft, database_name: str, path: str, to: str) -> None:
    database = draft.find(database_name)
    found = database.find(path)
    if found.key and found.key_name is None:
        # A key keeps the name that it was made under.
        found = replace(found, key_name=f"{found.name}_pkey")
    draft.rename(database, found, found.schema, to)


def move_relation(draft: Draft, database_name: str, path: str, schema: str) -> None:
    """SET SCHEMA; a column's sequence moves with its table."""
    database = draft.find(database_name)
    found = database.relation(path)
    if found is None:
        raise UndefinedTable(f'relation "{name_of(path)}" does not exist')
    if found.schema == schema:
        return
    draft.rename(database, found, schema, found.name)
    if isinstance(found, Series):
        for sequence in database.sequences.values():
            if sequence.series == found.number:
                draft.rename(draft.find(database_name), sequence, schema, sequence.name)


def swap(draft: Draft, change: Swap) -> None:
    """The refreshed content takes the place of the old, which is gone, under what the materialized view is known by."""
    database = draft.find(change.database)
    old, new = database.find(change.name), database.find(change.content)
    if old.definition is None:
        raise WrongObjectType(f'"{old.name}" is not a materialized view')
    # Comments are kept by column, since the query, and with it the columns, is the same.
    comments = {c.name: c.comment for c in old.columns}
    columns = tuple(replace(c, comment=comments.get(c.name)) for c in new.columns)
    numbers = {o.number: n.number for o in old.columns for n in new.columns if o.name == n.name}
    views = [(each, each.definition) for each in users_of(database, old.identity)]
    draft.drop_series(database, new)
    draft.drop_series(draft.find(change.database), old)
    content = replace(
        old, number=new.number, columns=columns, populated=change.populated,
        indexes=tuple(
            replace(
                i,
                keys=tuple(replace(k, column=numbers.get(k.column, 0)) for k in i.keys),
                included=tuple(numbers[n] for n in i.included),
            )
            for i in old.indexes
        ),
    )  # fmt: skip
    draft.put_series(draft.find(change.database), content)
    for view, definition in views:
        assert definition is not None
        uses = tuple(
            replace(use, columns=tuple((numbers[n], name) for n, name in use.columns))
            if use.relation == old.identity
            else use
            for use in definition.uses
        )
        followed = replace(view, definition=replace(definition, uses=uses))
        if isinstance(followed, Series):
            draft.put_series(draft.find(change.database), followed)
        else:
            draft.put_view(draft.find(change.database), followed)
