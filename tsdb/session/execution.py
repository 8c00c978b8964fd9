"""What statements do, in a worker thread: plan, read, write, change the schema. Everything here may block.

A ``Plan`` is a statement whose columns and parameters are known; ``run`` gives its rows, or only its tag. Effects of
INSERT, UPDATE and DELETE go into the transaction, which decides when they are written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from tsdb.errors import FeatureNotSupported, ObjectInUse, UndefinedParameter, UndefinedTable
from tsdb.model import authorization
from tsdb.model.catalog import Relation
from tsdb.model.points import Points
from tsdb.model.privileges import Privilege
from tsdb.model.relations import SqlSequence
from tsdb.model.schema import Catalog, DropDatabase, DropSequence, DropSeries, DropView, RenameDatabase, SchemaChange
from tsdb.model.store import Store, View
from tsdb.session import effects
from tsdb.session.budget import Claim, Crowded
from tsdb.session.cancellation import Cancellation
from tsdb.session.materialize import Materialization
from tsdb.session.pending import Overlay
from tsdb.session.rowset import FixedRowset, QueryRowset, Rowset, text_columns, texts
from tsdb.session.transaction import State, Transaction
from tsdb.session.utility import Command, Declare, PrepareStatement, command
from tsdb.sql import permission
from tsdb.sql.context import Context
from tsdb.sql.copy import input as copy_input
from tsdb.sql.copy import output as copy_output
from tsdb.sql.copy import statement as copy_statement
from tsdb.sql.copy.input import PreparedCopy
from tsdb.sql.copy.statement import Copy
from tsdb.sql.ddl import create_table_as, create_view, roles
from tsdb.sql.ddl import statement as ddl
from tsdb.sql.dml import delete, insert, update
from tsdb.sql.dml.modification import Effect, Modification, Reading, Write
from tsdb.sql.names import temporary_schema
from tsdb.sql.notice import Notice
from tsdb.sql.query import Prepared, Queries
from tsdb.sql.result import ResultColumn
from tsdb.sql.statement import (
    Ddl,
    Delete,
    Explain,
    Insert,
    Select,
    Statement,
    Truncate,
    Update,
    Utility,
    parse,
)
from tsdb.types import SqlType

# An implicit transaction writes what it has collected when it is so much.
WRITE_BYTES = 8 << 20
_LEAVING_S = 1.0


@dataclass(frozen=True)
class Plan:
    """``columns`` None: no rows. ``body`` is the plan of what DECLARE declares, or of COPY TO's query."""

    statement: Statement
    columns: tuple[ResultColumn, ...] | None = None
    parameters: tuple[SqlType, ...] = ()
    query: Prepared | None = None
    modification: Modification | None = None
    command: Command | None = None
    body: Plan | None = None
    copy: Copy | None = None
    catalog_version: int = -1
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def reads(self) -> bool:
        """Whether it looks at data, so that what was written before must be there."""
        if self.modification is not None:
            return self.modification.reads
        if self.query is not None:
            return bool(self.query.plan.scans)
        return isinstance(self.statement, Ddl | Truncate)


@dataclass
class Done:
    """A statement that gave no rows."""

    tag: str


class Execution:
    """Statements of one session. ``in_use`` says how many other sessions use a database."""

    def __init__(
        self,
        store: Store,
        queries: Queries,
        transaction: Transaction,
        notify: Callable[[Notice], None],
        in_use: Callable[[str], int],
        claim: Callable[[], Claim],
    ) -> None:
        self._store = store
        self._queries = queries
        self._transaction = transaction
        self._notify = notify
        self._in_use = in_use
        self._claim = claim
        self._next_claim: Claim | None = None
        self._has_temporary = False

    @property
    def catalog(self) -> Catalog:
        return self._store.catalog

    def checkpoint(self) -> None:
        """Write recent points to blocks and wait for it. Blocks."""
        self._store.flush()

    def view(self) -> View:
        """What a statement reads: the newest data, and in a block what the transaction has changed. Close it."""
        view = self._store.view()
        pending = self._transaction.pending
        return Overlay(view, pending.series) if pending and self._transaction.state is State.BLOCK else view

    # --- plans ---

    def plan(
        self,
        statement: Statement,
        context: Context,
        types: Sequence[SqlType | None] = (),
        catalog: Catalog | None = None,
    ) -> Plan:
        """Bind a statement. Raises whatever is wrong with its names, types and grammar."""
        catalog = catalog or self._store.catalog
        if isinstance(statement, Select | Explain):
            return self._plan_query(statement, context, types, catalog)
        if isinstance(statement, Insert | Update | Delete):
            found = self._modification(statement, context, catalog, types)
            columns = found.columns or None
            return Plan(
                statement,
                columns,
                found.parameters,
                modification=found,
                catalog_version=catalog.version,
                settings=context.settings,
            )
        if isinstance(statement, Utility) and statement.verb == "COPY":
            return self._plan_copy(statement, context, catalog)
        if isinstance(statement, Utility):
            return self._plan_command(statement, context, types, catalog)
        if isinstance(statement, Ddl) and roles.makes_token(statement):
            return Plan(statement, text_columns("token"))
        return Plan(statement)

    def _plan_query(
        self, statement: Select | Explain, context: Context, types: Sequence[SqlType | None], catalog: Catalog
    ) -> Plan:
        if isinstance(statement, Select) and create_table_as.target_of(statement) is not None:
            return Plan(statement)
        prepared = self._queries.prepare(statement, context, catalog, types)
        return Plan(
            statement,
            prepared.columns,
            prepared.parameters,
            prepared,
            catalog_version=catalog.version,
            settings=context.settings,
        )

    def _modification(
        self, statement: Statement, context: Context, catalog: Catalog, types: Sequence[SqlType | None]
    ) -> Modification:
        if isinstance(statement, Insert):
            return insert.prepare(self._queries, statement, context, catalog, types)
        if isinstance(statement, Update):
            return update.prepare(self._queries, statement, context, catalog, types)
        assert isinstance(statement, Delete)
        return delete.prepare(self._queries, statement, context, catalog, types)

    def _plan_command(
        self, statement: Utility, context: Context, types: Sequence[SqlType | None], catalog: Catalog
    ) -> Plan:
        found = command(statement)
        if isinstance(found, Declare):
            inner = parse(found.body)
            if not isinstance(inner, Select):
                raise FeatureNotSupported("DECLARE CURSOR needs a query")
            body = self.plan(inner, context, types, catalog)
            return Plan(statement, None, body.parameters, command=found, body=body)
        if isinstance(found, PrepareStatement):
            parse(found.body)  # a syntax error is one of PREPARE
        return Plan(statement, command=found)

    # --- COPY ---

    def _plan_copy(self, statement: Utility, context: Context, catalog: Catalog) -> Plan:
        copy = copy_statement.read(statement, context.database)
        if copy.incoming:
            copy_input.prepare(copy, context, catalog)
            return Plan(statement, copy=copy)
        copy_output.check_columns(copy, context, catalog)
        body = self.plan(copy_output.query_of(copy), context, (), catalog)
        if body.parameters:
            raise UndefinedParameter("there is no parameter $1")
        copy_output.check_result(copy, body.columns)
        return Plan(statement, body=body, copy=copy)

    def fresh_copy(self, plan: Plan, context: Context) -> PreparedCopy:
        """COPY FROM for the catalog that is there now."""
        assert plan.copy is not None
        prepared = copy_input.prepare(plan.copy, context, self.catalog)
        permission.check(self.catalog, context, prepared.series, Privilege.INSERT)
        return prepared

    def defaults(self, copy: PreparedCopy, rows: int, context: Context) -> dict[str, pa.Array]:
        """Values for the columns that a COPY FROM does not give. Blocks."""
        view = self.view()
        try:
            return copy.default_values(Reading(self._queries, view.catalog, view, (), context), rows)
        finally:
            view.close()

    def add_copied(self, copy: PreparedCopy, batches: Iterator[Points]) -> None:
        """A right COPY FROM's points, into the transaction. Raises UndefinedTable, OutOfMemory."""
        if copy.series.number not in self.catalog.series_by_number:
            raise UndefinedTable(f'relation "{copy.series.name}" does not exist')
        self._transaction.start_statement()
        for points in batches:
            self._transaction.add(Write(points))

    @property
    def spill_directory(self) -> Path | None:
        return self._queries.spill_directory

    # --- running ---

    def run(
        self,
        plan: Plan,
        values: Sequence[object | None],
        context: Context,
        types: Sequence[SqlType | None],
        cancellation: Cancellation,
    ) -> Rowset | Done:
        """Start a plan (no utility statement). Rows are to be closed. Raises Crowded: then run it again later."""
        cancellation.check()
        self._transaction.start_statement()
        if len(values) < len(plan.parameters):
            raise UndefinedParameter(f"there is no parameter ${len(values) + 1}")
        if plan.reads and self._transaction.state is State.IMPLICIT and self._transaction.pending:
            self.write_pending()
        if isinstance(plan.statement, Ddl):
            of_roles = roles.plan(plan.statement, context, self.catalog)
            if of_roles is not None:
                return self._change_roles(of_roles, plan, context)
            return self._change_schema(ddl.plan(plan.statement, context, self.catalog), context, cancellation)
        if isinstance(plan.statement, Truncate):
            deletions = delete.truncate(plan.statement, context, self.catalog)
            for deletion in deletions:
                permission.check(self.catalog, context, deletion.series, Privilege.TRUNCATE)
            for deletion in deletions:
                self._collect(deletion, context)
            return Done("TRUNCATE TABLE")
        if isinstance(plan.statement, Select) and plan.query is None:
            found = create_table_as.plan_of(plan.statement, context, self.catalog)
            return self._change_schema(found, context, cancellation)
        if plan.query is not None:
            return self._query(plan, values, context, types)
        return self._modify(plan, values, context, types, cancellation)

    def _query(
        self,
        plan: Plan,
        values: Sequence[object | None],
        context: Context,
        types: Sequence[SqlType | None],
    ) -> Rowset:
        assert plan.query is not None
        claim = self._entered_claim(plan.query)
        view = self.view()
        try:
            plan = self._fresh(plan, context, types, view.catalog)
            assert plan.query is not None
            permission.check_sources(view.catalog, context, plan.query.plan.sources)
            permission.check_views(view.catalog, context, plan.query.viewed)
            rows = self._queries.run(plan.query, view, values, context)
        except BaseException:
            view.close()
            claim.release()
            raise
        return QueryRowset(rows, view, claim, "EXPLAIN" if isinstance(plan.statement, Explain) else "SELECT")

    def _entered_claim(self, query: Prepared) -> Claim:
        """The claim of a result that is to start. Raises Crowded; run again, it takes the claim that has entered."""
        claim = self._next_claim or self._claim()
        if not claim.entered and not claim.enter(claim.first_bytes(widens=query.widens, reads_texts=query.reads_texts)):
            self._next_claim = claim
            raise Crowded(claim)
        self._next_claim = None
        return claim

    def forget_claim(self) -> None:
        """The statement that waited with it has failed."""
        claim, self._next_claim = self._next_claim, None
        if claim is not None:
            claim.release()

    def _fresh(self, plan: Plan, context: Context, types: Sequence[SqlType | None], catalog: Catalog) -> Plan:
        """The plan for the catalog and the settings that hold now: one for others may name what is gone, or have read a
        literal by another time zone."""
        if plan.catalog_version == catalog.version and plan.settings == context.settings:
            return plan
        again = self.plan(plan.statement, context, types or plan.parameters, catalog)
        if _shape(again.columns) != _shape(plan.columns):
            raise FeatureNotSupported("cached plan must not change result type")
        return again

    def _modify(
        self,
        plan: Plan,
        values: Sequence[object | None],
        context: Context,
        types: Sequence[SqlType | None],
        cancellation: Cancellation,
    ) -> Rowset | Done:
        view = self.view()
        try:
            plan = self._fresh(plan, context, types, view.catalog)
            assert plan.modification is not None
            permission.check_modification(view.catalog, context, plan.statement, plan.modification.series)
            outcome = plan.modification.start(Reading(self._queries, view.catalog, view, values, context))
            try:
                for effect in outcome:
                    cancellation.check()
                    self._collect(effect, context)
            finally:
                cancellation.watch(None)
                outcome.close()
        finally:
            view.close()
        if plan.columns is None:
            return Done(outcome.tag)
        return FixedRowset(plan.columns, outcome.returned, outcome.tag)

    # --- effects ---

    def _collect(self, effect: Effect, context: Context) -> None:
        self._transaction.add(effect)
        if self._transaction.state is State.IMPLICIT and self._transaction.pending_bytes >= WRITE_BYTES:
            self.write_pending()

    def write_pending(self) -> None:
        """Make what was collected durable and visible."""
        pending = self._transaction.take()
        if pending:
            effects.write(self._store, pending)

    # --- schema ---

    def _change_schema(self, found: ddl.SchemaPlan, context: Context, cancellation: Cancellation) -> Done:
        for notice in found.notices:
            self._notify(notice)
        if found.source is not None:
            return self._create_as(found.source, context, cancellation)
        if found.refresh is not None:
            with self._materializing(context, cancellation) as work:
                work.refresh(found.refresh)
            return Done(found.tag)
        changes = self._permitted(context, found.changes)
        self._refuse_in_use(changes, context, cancellation)
        if changes:
            catalog = self._store.change(*changes)
            for number in [each for each in self._transaction.pending.series if each not in catalog.series_by_number]:
                self._transaction.forget(number)
        for restart in found.restarts:
            sequence = self.catalog.find(context.database).sequences[restart.path]
            self._store.put_value(sequence, restart.value, called=False)
        return Done(found.tag)

    def drop_temporary(self, context: Context) -> None:
        """What the session made in its temporary schema goes with it."""
        schema = temporary_schema(context)
        database = self.catalog.databases.get(context.database)
        if not self._has_temporary or database is None:
            return
        mapped: tuple[tuple[Iterable[Relation], type[DropSeries | DropView | DropSequence]], ...] = (
            (database.views.values(), DropView),
            (database.series.values(), DropSeries),
            (database.sequences.values(), DropSequence),
        )
        changes = [
            drop(database.name, each.path, True) for relations, drop in mapped for each in relations
            if each.schema == schema and not (isinstance(each, SqlSequence) and each.series)
        ]  # fmt: skip
        self._store.change(*changes)
        self._has_temporary = False

    def _permitted(self, context: Context, changes: Iterable[SchemaChange]) -> tuple[SchemaChange, ...]:
        permitted = authorization.permitted(self.catalog, context.role, changes)
        temporary = temporary_schema(context)
        self._has_temporary = self._has_temporary or any(getattr(c, "schema", "") == temporary for c in permitted)
        return permitted

    def _change_roles(self, found: roles.RolePlan, plan: Plan, context: Context) -> Rowset | Done:
        for notice in found.notices:
            self._notify(notice)
        changes = authorization.permitted(self.catalog, context.role, found.changes)
        if changes:
            self._store.change(*changes)
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
            change = create_view.prepare(self._queries, source, context, self.catalog)
            self._store.change(*self._permitted(context, [change]))
            return Done("CREATE VIEW")
        if source.kind == "materialized view":
            with self._materializing(context, cancellation) as work:
                rows = work.create(source)
            return Done("CREATE MATERIALIZED VIEW" if source.empty else f"SELECT {rows}")
        return self._create_table_as(source, context, cancellation)

    @contextmanager
    def _materializing(self, context: Context, cancellation: Cancellation) -> Iterator[Materialization]:
        view = self.view()
        try:
            yield Materialization(self._store, self._queries, view, context, cancellation)
        finally:
            view.close()

    def _create_table_as(self, source: ddl.Source, context: Context, cancellation: Cancellation) -> Done:
        view = self.view()
        try:
            creation = create_table_as.prepare(self._queries, source, context, view.catalog)
            catalog = self._store.change(*self._permitted(context, [creation.change]))
            series = catalog.find(context.database).find(creation.path)
            outcome = creation.start(series, Reading(self._queries, view.catalog, view, (), context))
            try:
                for effect in outcome:
                    cancellation.check()
                    self._collect(effect, context)
            finally:
                cancellation.watch(None)
                outcome.close()
        finally:
            view.close()
        return Done("CREATE TABLE AS" if source.empty else outcome.tag)


def _of(catalog: Catalog, context: Context) -> dict[str, Any]:
    """What a plan was made for."""
    return {"catalog_version": catalog.version, "settings": context.settings}


def _shape(columns: tuple[ResultColumn, ...] | None) -> list[tuple[str, int]] | None:
    return None if columns is None else [(column.name, column.type.oid) for column in columns]
