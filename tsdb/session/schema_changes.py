"""DDL at work: changes of the schema and of roles, and what is made of a query (CREATE … AS, REFRESH). May block.

It takes effect at once. In a block a WARNING says so, and what the transaction reads is renewed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from tsdb.errors import LocationElsewhere, ObjectInUse, WrongObjectType
from tsdb.model import authorization, privileges, schema
from tsdb.model.relations import name_of, path_of
from tsdb.model.schema import (
    AddConstraint,
    AlterColumnType,
    Catalog,
    CreateSeries,
    DropDatabase,
    RenameDatabase,
    SchemaChange,
    Series,
    SetSlots,
)
from tsdb.model.store import Store
from tsdb.session import cascades, slots
from tsdb.session.cancellation import Cancellation
from tsdb.session.continuous import Refresher, Refreshes, later_floors
from tsdb.session.materialize import Materialization
from tsdb.session.planning import Plan
from tsdb.session.rowset import Done, Rowset, texts
from tsdb.session.stored_rows import StoredRows
from tsdb.session.temporary import Temporary
from tsdb.session.writing import Writing
from tsdb.sql import names
from tsdb.sql.context import Context
from tsdb.sql.ddl import create_table_as, create_view, roles
from tsdb.sql.ddl import statement as ddl
from tsdb.sql.dml import checks
from tsdb.sql.dml.modification import Reading
from tsdb.sql.notice import Notice, SuccessfulCompletion
from tsdb.sql.query import Queries

_LEAVING_S = 1.0


class SchemaChanges:
    """DDL of one session. ``in_use`` says how many other sessions use a database."""

    def __init__(
        self,
        store: Store,
        queries: Queries,
        writing: Writing,
        temporary: Temporary,
        notify: Callable[[Notice], None],
        in_use: Callable[[str], int],
        refreshes: Refreshes,
    ) -> None:
        self._store = store
        self._queries = queries
        self._writing = writing
        self._temporary = temporary
        self._notify = notify
        self._in_use = in_use
        self._refreshes = refreshes

    def change(self, found: ddl.SchemaPlan, context: Context, cancellation: Cancellation) -> Done:
        for notice in found.notices:
            self._notify(notice)
        if found.source is not None:
            return self._create_as(found.source, context, cancellation)
        if found.refresh is not None:
            with self._materializing(context, cancellation) as work:
                work.refresh(found.refresh)
            self._writing.renew(self._store.catalog)
            return Done(found.tag)
        changes = self._permitted(context, found.changes)
        self._refuse_in_use(changes, context, cancellation)
        changes, floors = later_floors(changes, self._store.catalog)
        if changes:
            rows = StoredRows(self._store, self._queries, self._writing, context, cancellation)
            before = self._store.catalog
            self._examine(changes, before, context)
            rows.check(changes)
            catalog = self._store.change(*changes)
            self._writing.renew(catalog)
            for notice in cascades.notices(context, changes, before, catalog):
                self._notify(notice)
            rows.fill(changes)
            for each in changes:
                if isinstance(each, SetSlots):
                    slots.settle(self._store, each)
            self._temporary.on_commit(context, changes, found.on_commit)
        for floor in floors:
            try:
                Refresher(self._store, self._queries, self._refreshes, context, cancellation.check).raise_floor(floor)
            except LocationElsewhere as error:
                # Its own node has the rows that the views need, and looks after floors by itself.
                text = (
                    f'rows of "{name_of(floor.series)}" older than its retention go within minutes, at their own node'
                )
                self._notify(Notice(SuccessfulCompletion(text, detail=error.message)))
        for restart in found.restarts:
            sequence = self._store.catalog.find(context.database).sequences[restart.path]
            self._store.put_value(sequence, restart.value, called=False)
        return Done(found.tag)

    def _examine(self, changes: Sequence[SchemaChange], before: Catalog, context: Context) -> None:
        """New CHECKs must be conditions of their table, and those of a column stay so when its type changes. Raises
        what binding them raises."""
        paths = {
            path_of(c.schema, c.name)
            for c in changes
            if isinstance(c, CreateSeries) and any(d.kind == "c" for d in c.constraints)
        }
        paths |= {c.series for c in changes if isinstance(c, AddConstraint) and c.constraint.kind == "c"}
        retyped = {(c.series, c.name) for c in changes if isinstance(c, AlterColumnType)}
        paths |= {path for path, _ in retyped}
        if not paths:
            return
        after = schema.imagined(before, changes)
        for path in paths:
            series = after.find(context.database).find(path)
            known = before.find(context.database).series.get(path)
            there = {c.name for c in known.checks} if known is not None else set()
            changed = {series.by_name[name].number for of, name in retyped if of == path and name in series.by_name}
            new = [c for c in series.checks if c.name not in there or changed.intersection(c.columns)]
            checks.examine(self._queries, context, after, series, new)

    def refresh_continuous(self, schema: str, name: str, context: Context, cancellation: Cancellation) -> None:
        catalog = self._store.catalog
        found = names.require(context, catalog.find(context.database), schema, name)
        if not isinstance(found, Series) or found.continuous is None:
            raise WrongObjectType(f'relation "{name}" is not a continuous aggregate')
        privileges.check_owner(catalog.roles, context.role, found)
        Refresher(self._store, self._queries, self._refreshes, context, cancellation.check).refresh_anywhere(found)

    def _permitted(self, context: Context, changes: Iterable[SchemaChange]) -> tuple[SchemaChange, ...]:
        permitted = authorization.permitted(self._store.catalog, context.role, changes)
        self._temporary.note(context, permitted)
        return permitted

    def change_roles(self, found: roles.RolePlan, plan: Plan, context: Context) -> Rowset | Done:
        for notice in found.notices:
            self._notify(notice)
        changes = authorization.permitted(self._store.catalog, context.role, found.changes)
        if changes:
            before = self._store.catalog
            catalog = self._store.change(*changes)
            self._writing.renew(catalog)
            for notice in cascades.notices(context, changes, before, catalog):
                self._notify(notice)
        if found.token is None:
            return Done(found.tag)
        assert plan.columns is not None
        return texts(plan.columns, [(found.token,)], found.tag)

    def _others(self, database: str, cancellation: Cancellation) -> int:
        """How many other sessions use a database; those that are just leaving get a moment (CountOtherDBBackends)."""
        until = time.monotonic() + _LEAVING_S
        while (others := self._in_use(database)) and time.monotonic() < until:
            cancellation.check()
            time.sleep(_LEAVING_S / 50)
        return others

    def _refuse_in_use(self, changes: Sequence[SchemaChange], context: Context, cancellation: Cancellation) -> None:
        for change in changes:
            if not isinstance(change, DropDatabase | RenameDatabase):
                continue
            if change.name == context.database:
                verb = "drop" if isinstance(change, DropDatabase) else "rename"
                raise ObjectInUse(f"cannot {verb} the currently open database")
            others = self._others(change.name, cancellation)
            if others:
                raise ObjectInUse(
                    f'database "{change.name}" is being accessed by other users',
                    detail=f"There are {others} other sessions using the database.",
                )

    def _create_as(self, source: ddl.Source, context: Context, cancellation: Cancellation) -> Done:
        if source.kind == "view":
            change = create_view.prepare(self._queries, source, context, self._store.catalog)
            self._store.change(*self._permitted(context, [change]))
            return Done("CREATE VIEW")
        if source.kind == "materialized view":
            with self._materializing(context, cancellation) as work:
                rows = work.create(source)
            return Done("CREATE MATERIALIZED VIEW" if source.empty else f"SELECT {rows}")
        return self._create_table_as(source, context, cancellation)

    @contextmanager
    def _materializing(self, context: Context, cancellation: Cancellation) -> Iterator[Materialization]:
        view = self._writing.view()
        try:
            yield Materialization(self._store, self._queries, view, context, cancellation, self._refreshes)
        finally:
            view.close()

    def _create_table_as(self, source: ddl.Source, context: Context, cancellation: Cancellation) -> Done:
        view = self._writing.view()
        try:
            creation = create_table_as.prepare(self._queries, source, context, view.catalog)
            catalog = self._store.change(*self._permitted(context, [creation.change]))
            self._temporary.on_commit(context, [creation.change], source.on_commit)
            series = catalog.find(context.database).find(creation.path)
            outcome = creation.start(series, Reading(self._queries, view.catalog, view, (), context))
            try:
                for effect in outcome:
                    cancellation.check()
                    self._writing.collect(effect)
            finally:
                cancellation.watch(None)
                outcome.close()
        finally:
            view.close()
        return Done("CREATE TABLE AS" if source.empty else outcome.tag)
