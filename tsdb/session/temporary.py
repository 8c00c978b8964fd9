"""A session's temporary relations: what is made in its own schema goes with it, and ON COMMIT says what goes before.

DDL is not undone by ROLLBACK; a table with ON COMMIT DROP goes at the end of its transaction, whichever it is.

Source: PostgreSQL 15 manual, CREATE TABLE (ON COMMIT).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tsdb.model.catalog import Database, Relation
from tsdb.model.relations import SqlSequence, path_of
from tsdb.model.schema import CreateSeries, DropSequence, DropSeries, DropView, SchemaChange, Series
from tsdb.model.store import TIME_NS, Effect, RangeDeletion, ScanRequest, Store, Write
from tsdb.sql.context import Context
from tsdb.sql.names import temporary_schema


class Temporary:
    """Knows what a session has made. May block, but for ``note``, ``on_commit`` and ``waiting``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._has_some = False
        self._dropped: set[int] = set()
        self._emptied: set[int] = set()

    def note(self, context: Context, changes: Sequence[SchemaChange]) -> None:
        """Remember that something was made in the session's schema."""
        schema = temporary_schema(context)
        self._has_some = self._has_some or any(getattr(each, "schema", "") == schema for each in changes)

    def on_commit(self, context: Context, changes: Sequence[SchemaChange], action: str) -> None:
        """``action`` of the tables that ``changes`` have made: drop, delete, or nothing."""
        if not action:
            return
        database = self._store.catalog.find(context.database)
        for each in changes:
            found = database.relation(path_of(each.schema, each.name)) if isinstance(each, CreateSeries) else None
            if isinstance(found, Series):
                (self._dropped if action == "drop" else self._emptied).add(found.identity)

    @property
    def waiting(self) -> bool:
        """Whether the end of a transaction has something to do."""
        return bool(self._dropped or self._emptied)

    def kept(self, database: str, effects: Sequence[Effect]) -> list[Effect]:
        """What COMMIT writes of ``effects``: not those of tables that are emptied or dropped then."""
        gone = {series.number for series in self._of(database, self._emptied | self._dropped)}
        return [each for each in effects if _series_of(each).number not in gone]

    def end(self, database: str) -> None:
        """The transaction has ended: drop and empty."""
        tables = self._of(database, self._dropped)
        self._dropped.clear()
        if tables:
            self._store.change(*(DropSeries(database, each.path, True) for each in tables))
        held = [each for each in self._of(database, self._emptied) if self._store.statistics(each).rows]
        deletions = [RangeDeletion(each) for each in held if not self._is_empty(each)]
        if deletions:
            self._store.commit(deletions).result()

    def _is_empty(self, series: Series) -> bool:
        view = self._store.view()
        try:
            return not any(len(batch) for batch in view.scan(ScanRequest(series, (TIME_NS,))).batches)
        finally:
            view.close()

    def _of(self, database: str, identities: Iterable[int]) -> list[Series]:
        found = self._store.catalog.databases.get(database)
        wanted = set(identities)
        return [each for each in found.series.values() if each.identity in wanted] if found and wanted else []

    def drop(self, context: Context) -> None:
        """The session ends, or says DISCARD TEMP."""
        database = self._store.catalog.databases.get(context.database)
        if not self._has_some or database is None:
            return
        self._store.change(*_drops(database, temporary_schema(context)))
        self._has_some = False
        self._dropped.clear()
        self._emptied.clear()


def _drops(database: Database, schema: str) -> Iterable[SchemaChange]:
    mapped: tuple[tuple[Iterable[Relation], type[DropSeries | DropView | DropSequence]], ...] = (
        (database.views.values(), DropView),
        (database.series.values(), DropSeries),
        (database.sequences.values(), DropSequence),
    )
    for relations, drop in mapped:
        for each in relations:
            if each.schema == schema and not (isinstance(each, SqlSequence) and each.series):
                yield drop(database.name, each.path, True)


def _series_of(effect: Effect) -> Series:
    return effect.points.series if isinstance(effect, Write) else effect.series
