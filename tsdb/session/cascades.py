"""What DROP … CASCADE took along, as PostgreSQL tells it: found by comparing the schema before with the one after.

Source: PostgreSQL 15, dependency.c (reportDependentObjects): at most 100 are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tsdb.model.catalog import Catalog, Database
from tsdb.model.relations import path_of
from tsdb.model.schema import DropNamespace, DropSequence, DropSeries, DropView, SchemaChange, Series
from tsdb.sql import names
from tsdb.sql.context import Context
from tsdb.sql.ddl.plan import kind_of
from tsdb.sql.notice import Notice, notice

_NAMED_MAX = 100


def notices(context: Context, changes: Sequence[SchemaChange], before: Catalog, after: Catalog) -> list[Notice]:
    """The notice of what is gone beside what was named; none where nothing is."""
    if not any(getattr(change, "cascade", False) for change in changes):
        return []
    old, new = before.databases.get(context.database), after.databases.get(context.database)
    if old is None or new is None:
        return []
    gone = [text for _, text in sorted(_gone(context, old, new, changes))]
    if len(gone) < 2:
        return [notice(f"drop cascades to {text}") for text in gone]
    lines = [f"drop cascades to {text}" for text in gone[:_NAMED_MAX]]
    rest = len(gone) - len(lines)
    lines += [f"and {rest} other object{'s' if rest > 1 else ''} (see server log for list)"] if rest else []
    return [notice(f"drop cascades to {len(gone)} other objects", detail="\n".join(lines))]


def _gone(context: Context, old: Database, new: Database, changes: Sequence[SchemaChange]) -> Iterator[tuple[int, str]]:
    """(number, by which they are told in the order they were made; what it was)."""
    named = {change.name for change in changes if isinstance(change, DropSeries | DropView | DropSequence)}
    spaces = {change.name for change in changes if isinstance(change, DropNamespace)}
    for relations, left in ((old.series, new.series), (old.views, new.views)):
        for path, relation in relations.items():
            if path not in left and path not in named:
                number = relation.identity if isinstance(relation, Series) else relation.number
                yield number, f"{kind_of(relation)} {_shown(context, old, relation.schema, relation.name)}"
    for path, sequence in old.sequences.items():
        if path not in new.sequences and path not in named and not sequence.series:
            yield sequence.number, f"sequence {_shown(context, old, sequence.schema, sequence.name)}"
    if spaces:
        for path, each in old.types.items():
            if path not in new.types:
                yield each.number, f"type {_shown(context, old, each.schema, each.name)}"
    for path, series in old.series.items():
        if (now := new.series.get(path)) is not None:
            yield from _lost(context, old, series, now)


def _lost(context: Context, old: Database, before: Series, after: Series) -> Iterator[tuple[int, str]]:
    """What a table that is still there has no more, because of something else."""
    table = f"table {_shown(context, old, before.schema, before.name)}"
    kept = {column.number: column for column in after.columns}
    for constraint in before.constraints:
        lost = constraint.kind == "f" and all(constraint.number != each.number for each in after.constraints)
        if lost and all(number in kept for number in constraint.columns):
            yield constraint.number, f"constraint {constraint.name} on {table}"
    for column in before.columns:
        now = kept.get(column.number)
        if now is None and column.type.labels is not None:
            yield before.identity, f"column {column.name} of {table}"
        elif now is not None and column.sequence and not now.sequence:
            yield before.identity, f"default value for column {column.name} of {table}"


def _shown(context: Context, database: Database, schema: str, name: str) -> str:
    """As format_type would write it: with its schema where the search path does not find it."""
    found = names.find(context, database, "", name)
    visible = found is not None and found.path == path_of(schema, name)
    return name if visible else f"{schema}.{name}"
