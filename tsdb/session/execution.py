"""What statements do, in a worker thread: read, write, change the schema. Everything here may block.

``run`` gives a plan's rows, or only its tag. Effects of INSERT, UPDATE and DELETE go into the transaction, which says
when they are written. An UPDATE or DELETE that is a transaction of its own and loses a race looks again, as
PostgreSQL's READ COMMITTED does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import (
    CannotConnectNow,
    InvalidParameterValue,
    SerializationFailure,
    TsdbError,
    UndefinedParameter,
    UndefinedTable,
)
from tsdb.model.acks import Fate
from tsdb.model.cluster import ClusterLocation, ClusterMember, ReplicaDifference
from tsdb.model.freshness import ops_of
from tsdb.model.points import Points
from tsdb.model.privileges import Privilege
from tsdb.model.schema import Catalog, Series
from tsdb.model.store import Block, Compaction, RevertedOp, Store, VacuumProgress
from tsdb.prompt import MayWait, Run
from tsdb.session.budget import Claim, Crowded
from tsdb.session.cancellation import Cancellation
from tsdb.session.continuous import Refreshes, states_of
from tsdb.session.freshness import Reads, Writes
from tsdb.session.numbering import Numbering
from tsdb.session.patience import Patience
from tsdb.session.planning import Plan, Planner
from tsdb.session.returned import Returned
from tsdb.session.rowset import Begun, Done, FixedRowset, QueryRowset, Rowset
from tsdb.session.schema_changes import SchemaChanges
from tsdb.session.temporary import Temporary
from tsdb.session.transaction import State, Transaction
from tsdb.session.turns import Turn
from tsdb.session.writing import Writing
from tsdb.sql import permission
from tsdb.sql.bind import places
from tsdb.sql.context import Context
from tsdb.sql.continuous.state import ContinuousState
from tsdb.sql.copy import input as copy_input
from tsdb.sql.copy.input import Lines, PreparedCopy
from tsdb.sql.ddl import create_table_as, roles
from tsdb.sql.ddl import statement as ddl
from tsdb.sql.dml import checks, delete
from tsdb.sql.dml.compound import PreparedCompound
from tsdb.sql.dml.modification import Outcome, Reading
from tsdb.sql.notice import Notice
from tsdb.sql.pace import Pace
from tsdb.sql.query import Prepared, Queries
from tsdb.sql.statement import Ddl, Explain, Select, Statement, Truncate
from tsdb.types import SqlType

# Plans that are known to be allowed.
PERMITTED_MAX = 64
# How often a statement that lost a race looks again.
RETRIES = 10


@dataclass(frozen=True, slots=True)
class _Running:
    """A plan with all that running it takes."""

    plan: Plan
    values: Sequence[object | None]
    context: Context
    types: Sequence[SqlType | None]
    cancellation: Cancellation


@dataclass(frozen=True, slots=True)
class _Again:
    """A ``rowset.Again``."""

    run: Callable[[_Running], Begun]
    running: _Running
    patience: Patience | None

    def begin(self) -> Begun:
        return self.run(self.running)

    def refused(self, error: CannotConnectNow) -> Exception:
        return error if self.patience is None else self.patience.refused(error)


class Execution:
    """Statements of one session. ``in_use`` says how many other sessions use a database."""

    def __init__(
        self,
        store: Store,
        queries: Queries,
        transaction: Transaction,
        database: str,
        notify: Callable[[Notice], None],
        in_use: Callable[[str], int],
        claim: Callable[[], Claim],
        turn: Turn,
        repeatable: Callable[[], bool],
        refreshes: Refreshes,
        numbering: Numbering,
        reads: Reads,
        writes: Writes,
    ) -> None:
        self._numbering = numbering
        self._reads = reads
        self._store = store
        self._queries = queries
        self._transaction = transaction
        self._repeatable = repeatable
        self._claim = claim
        self._refreshes = refreshes
        self.turn = turn
        self._next_claim: Claim | None = None
        self._patience: Patience | None = None
        self._permitted_in: tuple[Catalog | None, int] = (None, 0)
        self._permitted: dict[int, object] = {}
        self.temporary = Temporary(store)
        self.writing = Writing(store, transaction, self.temporary, database, repeatable, numbering, writes, notify)
        self._schema = SchemaChanges(store, queries, self.writing, self.temporary, notify, in_use, refreshes)
        self._planner = Planner(queries, lambda: self.writing.catalog, store.catch_up)
        self.plan = self._planner.plan

    @property
    def catalog(self) -> Catalog:
        return self._store.catalog

    def known(self, statement: Statement, context: Context, types: Sequence[SqlType | None] = ()) -> Plan | None:
        """The plan of a query, where one of its kind was planned before and that does not take long. Raises what
        planning raises."""
        if not isinstance(statement, Select):
            return None
        try:
            with Run(parts_max=0):
                return self.plan(statement, context, types)
        except MayWait:
            return None

    def may_run_twice(self, plan: Plan) -> bool:
        """Whether a query may be run and, before anybody has seen what it gives, again: what it calls has no effects,
        and it does not read what its transaction has read."""
        query = plan.query
        repeatable = self._transaction.state is State.BLOCK and self._repeatable()
        return query is not None and not query.has_effects and not repeatable

    def pace_of(self, plan: Plan) -> Pace | None:
        """By which a query that is to run may run at once. What the transaction has written is looked at row by row."""
        return None if self._transaction.pending else plan.pace

    def checkpoint(self) -> None:
        """Write recent points to blocks and wait for it. Blocks."""
        self._store.flush()

    def compact(
        self,
        series: Series,
        *,
        full: bool,
        told: Callable[[Compaction], None],
        cancelled: Callable[[], bool],
        shown: Callable[[VacuumProgress], None],
    ) -> None:
        """Compact a table and wait for it. Blocks."""
        self._store.compact([series], full=full, told=told, cancelled=cancelled, shown=shown)

    def refresh_continuous(self, schema: str, name: str, context: Context, cancellation: Cancellation) -> None:
        """Store what is new or dirty of a continuous view. Blocks."""
        self._schema.refresh_continuous(schema, name, context, cancellation)

    def continuous(self, views: Sequence[Series]) -> dict[int, ContinuousState]:
        """How far continuous views are stored, by series number; those that are gone are missing."""
        view = self.writing.view()
        try:
            return states_of(view, views, self._refreshes)
        finally:
            view.close()

    def blocks(self, series: Series) -> Sequence[Block]:
        return self._store.blocks(series)

    def compactions(self) -> Sequence[Compaction]:
        return self._store.compactions()

    def confirm(self, token: str) -> Fate:
        """What became of a write. Blocks. Raises InvalidParameterValue."""
        try:
            ops = ops_of(token.strip())
        except ValueError:
            ops = ()
        if not ops:
            raise InvalidParameterValue(f'"{token[:100]}" is no token of a write')
        return self._store.confirm(ops)

    def reverted(self) -> Sequence[RevertedOp]:
        return self._store.reverted()

    def members(self) -> Sequence[ClusterMember]:
        return self._store.members()

    def locations(self) -> Sequence[ClusterLocation]:
        return self._store.locations()

    def replica_differences(self) -> Sequence[ReplicaDifference]:
        return self._store.replica_differences()

    def fresh_copy(self, plan: Plan, context: Context) -> PreparedCopy:
        """COPY FROM for the catalog that is there now."""
        assert plan.copy is not None
        prepared = copy_input.prepare(plan.copy, context, self.catalog)
        permission.check(self.catalog, context, prepared.series, Privilege.INSERT)
        if prepared.where is not None:
            permission.check(self.catalog, context, prepared.series, Privilege.SELECT)
            self._queries.prepare(prepared.where, context, self.catalog, ())
        return prepared

    def chosen(self, copy: PreparedCopy, points: Points, context: Context) -> npt.NDArray[np.int64]:
        """The rows that a COPY's WHERE lets in. Blocks."""
        view = self.writing.view()
        try:
            return copy.chosen(Reading(self._queries, view.catalog, view, (), context), points)
        finally:
            view.close()

    def refused(self, points: Points, context: Context) -> tuple[int, TsdbError] | None:
        """The first of a COPY's points that a CHECK refuses, and its error. Blocks."""
        view = self.writing.view()
        try:
            return checks.refused(Reading(self._queries, view.catalog, view, (), context), points)
        finally:
            view.close()

    def defaults(self, copy: PreparedCopy, rows: int, context: Context) -> dict[str, pa.Array]:
        """Values for the columns that a COPY FROM does not give. Blocks."""
        view = self.writing.view()
        try:
            return copy.default_values(Reading(self._queries, view.catalog, view, (), context), rows)
        finally:
            view.close()

    def add_copied(self, copy: PreparedCopy, batches: Iterator[Points], lines: Sequence[Lines]) -> None:
        """A right COPY FROM's points, into the transaction; each row of a reference table has its line.

        Raises UndefinedTable, UniqueViolation, OutOfMemory.
        """
        if copy.series.number not in self.catalog.series_by_number:
            raise UndefinedTable(f'relation "{copy.series.name}" does not exist')
        self._transaction.start_statement()
        if copy.copy.options.numbered is not None:
            self._numbering.say(copy.copy.options.numbered)
        view = self.writing.view()
        try:
            numbered = self._numbering.runs()
            for write in copy_input.writes(copy.series, view, batches, lines, numbered=numbered):
                self._transaction.add(write)
        finally:
            view.close()

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
        *,
        alone: bool = False,
    ) -> Rowset | Done:
        """Start a plan (no utility statement). Rows are to be closed. Raises Crowded, NoTurn, NotYet: then run it
        again later.

        ``alone``: nothing comes after it in its transaction.
        """
        cancellation.check()
        if plan.long:
            self.turn.enter()
        self._transaction.start_statement()
        if len(values) < len(plan.parameters):
            name, position = places.of_parameter(plan.statement.fragment, len(values)) or ("$1", None)
            raise UndefinedParameter(f"there is no parameter {name}", position=position)
        if plan.reads and self._transaction.state is State.IMPLICIT and self._transaction.pending:
            self.writing.write_pending()
        if isinstance(plan.statement, Ddl):
            statement = plan.statement
            of_roles = self._planner.sure(lambda: roles.plan(statement, context, self.catalog))
            if of_roles is not None:
                return self._schema.change_roles(of_roles, plan, context)
            found = self._planner.sure(lambda: ddl.plan(statement, context, self.catalog))
            if found.source is not None or found.refresh is not None:
                self.turn.enter()
            return self._schema.change(found, context, cancellation)
        if isinstance(plan.statement, Truncate):
            deletions = delete.truncate(plan.statement, context, self.catalog)
            for deletion in deletions:
                permission.check(self.catalog, context, deletion.series, Privilege.TRUNCATE)
            for deletion in deletions:
                self.writing.collect(deletion)
            for sequence in delete.restarted(plan.statement, context, self.catalog):
                self._store.put_value(sequence, sequence.options.start, called=False)
            return Done("TRUNCATE TABLE")
        if isinstance(plan.statement, Select) and plan.query is None:
            into = create_table_as.plan_of(plan.statement, context, self.catalog)
            return self._schema.change(into, context, cancellation)
        running = _Running(plan, values, context, types, cancellation)
        return self._query(running) if plan.query is not None else self._modify(running, alone=alone)

    def _query(self, running: _Running) -> Rowset:
        plan = running.plan
        assert plan.query is not None
        again = _Again(self._begun, running, self._patience_of(running))
        claim = self._entered_claim(widens=plan.query.widens, reads_texts=plan.query.reads_texts)
        try:
            begun = again.begin()
        except CannotConnectNow as error:
            claim.release()
            raise again.refused(error) from None
        except BaseException:
            claim.release()
            raise
        verb = "EXPLAIN" if isinstance(plan.statement, Explain) else "SELECT"
        return QueryRowset(begun, claim, self.turn if plan.long else None, verb, again)

    def _begun(self, running: _Running) -> Begun:
        """A query's first step, in a view of what there is now."""
        context = running.context
        view = self.writing.view(self._reads.freshness())
        try:
            plan = self._planner.fresh(running.plan, context, running.types, view.catalog)
            assert plan.query is not None
            self._check_permission(view.catalog, context, plan.query)
            return self._queries.run(plan.query, view, running.values, context, dictionaries=True), view
        except BaseException:
            view.close()
            raise

    def _patience_of(self, running: _Running) -> Patience | None:
        """For another node to answer; None where the query must not be run twice."""
        if not self.may_run_twice(running.plan):
            return None
        if self._patience is None or self._patience.cancellation is not running.cancellation:
            self._patience = Patience(running.cancellation)
        return self._patience

    def _check_permission(self, catalog: Catalog, context: Context, query: Prepared) -> None:
        """Whether the role may read what a query names: asked once for each plan, state of the schema and role.

        Raises InsufficientPrivilege.
        """
        asked = catalog, context.role
        if self._permitted_in[0] is not catalog or self._permitted_in[1] != context.role:
            self._permitted_in, self._permitted = asked, {}
        if id(query.plan) in self._permitted:
            return
        permission.check_sources(catalog, context, query.plan.sources)
        permission.check_views(catalog, context, query.viewed)
        if len(self._permitted) >= PERMITTED_MAX:
            self._permitted = {}
        # The plan is kept with its number: no other one can come to lie where it is.
        self._permitted[id(query.plan)] = query.plan

    def _entered_claim(self, *, widens: bool, reads_texts: bool) -> Claim:
        """The claim of a result that is to start. Raises Crowded; run again, it takes the claim that has entered."""
        claim = self._next_claim or self._claim()
        if not claim.entered and not claim.enter(claim.first_bytes(widens=widens, reads_texts=reads_texts)):
            self._next_claim = claim
            raise Crowded(claim)
        self._next_claim = None
        return claim

    def forget_claim(self) -> None:
        """The statement that waited with it has failed."""
        claim, self._next_claim = self._next_claim, None
        if claim is not None:
            claim.release()

    def _modify(self, running: _Running, *, alone: bool) -> Rowset | Done:
        plan = running.plan
        claim = self._entered_claim(widens=plan.widens, reads_texts=True) if plan.long else None
        try:
            plan, outcome = self._run_again(running, claim, alone=alone)
        except BaseException:
            if claim is not None:
                claim.release()
            raise
        if plan.columns is not None:
            return FixedRowset(plan.columns, outcome.returned, outcome.tag, claim)
        if claim is not None:
            claim.release()
        return Done(outcome.tag)

    def _run_again(self, running: _Running, claim: Claim | None, *, alone: bool) -> tuple[Plan, Outcome]:
        """A modification; one that is a transaction of its own is written, and looks again when it has lost a race."""
        transaction = self._transaction
        again = alone and transaction.state is State.IMPLICIT and not transaction.pending and not self._repeatable()
        retries = RETRIES if again else 0
        while True:
            self.writing.written_early = False
            found = self._collected(running, claim)
            try:
                if again:
                    self.writing.commit()
                return found
            except SerializationFailure:
                if not retries or self.writing.written_early:
                    raise
                retries -= 1

    def _collected(self, running: _Running, claim: Claim | None) -> tuple[Plan, Outcome]:
        """What a modification does to the data that is there now, in the transaction. ``claim`` holds what it reads at
        a time, and what RETURNING gives. Raises OutOfMemory."""
        context, cancellation = running.context, running.cancellation
        returned = Returned(claim)
        view = self.writing.view()
        try:
            plan = self._planner.fresh(running.plan, context, running.types, view.catalog)
            assert plan.modification is not None
            if isinstance(plan.modification, PreparedCompound):
                plan.modification.check(view.catalog, context)
            else:
                permission.check_modification(view.catalog, context, plan.statement, plan.modification.series)
            repeatable = self._transaction.state is State.BLOCK and self._repeatable()
            reading = Reading(
                self._queries, view.catalog, view, running.values, context, repeatable, returned.reads,
                self._numbering.runs(), returned.keeps, lambda: self.writing.written(view),
            )  # fmt: skip
            outcome = plan.modification.start(reading)
            try:
                for effect in outcome:
                    cancellation.check()
                    self.writing.collect(effect)
                    returned.holds(outcome.returned)
            finally:
                cancellation.watch(None)
                outcome.close()
        finally:
            view.close()
        return plan, outcome
