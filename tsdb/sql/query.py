"""Queries: the front door to SELECT. ``prepare`` binds and plans, ``run`` executes on one in-memory DuckDB instance."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from tsdb import prompt
from tsdb.errors import FeatureNotSupported, StatementTooComplex
from tsdb.model.relations import SqlView, Use
from tsdb.model.schema import IMAGINED, Catalog, Column, Role
from tsdb.model.store import ScanRequest, TimeRange, View
from tsdb.sql import explain, requests, rules
from tsdb.sql.aggregation.execution import AggregateExecution, columns_of
from tsdb.sql.aggregation.partial import PartialExecution
from tsdb.sql.aggregation.plan import Partial
from tsdb.sql.bind import datetimes as bind_datetimes
from tsdb.sql.bind import enums as bind_enums
from tsdb.sql.bind import hypertables as bind_hypertables
from tsdb.sql.bind import json as bind_json
from tsdb.sql.bind import numerics as bind_numerics
from tsdb.sql.bind import patterns as bind_patterns
from tsdb.sql.bind import ranges as bind_ranges
from tsdb.sql.bind import sequences as bind_sequences
from tsdb.sql.bind import session as bind_session
from tsdb.sql.bind import sets as bind_sets
from tsdb.sql.bind import special as bind_special
from tsdb.sql.bind import system as bind_system
from tsdb.sql.bind import time_bucket as bind_time_bucket
from tsdb.sql.bind.binder import Binder
from tsdb.sql.bind.query import bind_query
from tsdb.sql.bind.view import frame_of, uses_of
from tsdb.sql.catalog import functions, sets
from tsdb.sql.context import Cancellable, Context, SettingValues
from tsdb.sql.continuous import reading
from tsdb.sql.deadline import Deadlines
from tsdb.sql.duckdb_errors import to_error
from tsdb.sql.execution import Execution
from tsdb.sql.expressions.block import BoundQuery, Output
from tsdb.sql.expressions.coercion import typed_parameter
from tsdb.sql.expressions.expression import ColumnReference, Expr
from tsdb.sql.expressions.rows import client_type
from tsdb.sql.instance import Instance
from tsdb.sql.lifting import MOMENT_WORD
from tsdb.sql.newest.execution import FirstRowsExecution, limits_of
from tsdb.sql.newest.widening import WideningExecution, rows_of
from tsdb.sql.pace import Pace
from tsdb.sql.plan import Plan, PlannedScan, Undecided
from tsdb.sql.result import ResultColumn, Rows
from tsdb.sql.selection.execution import SelectionExecution
from tsdb.sql.session_calls import FUNCTION
from tsdb.sql.statement import CACHED_STATEMENT_CHARACTERS, Explain, LiftedSelect, Select
from tsdb.sql.templates import Templates
from tsdb.sql.values import RunValues
from tsdb.types import TEXT, SqlType

CACHED_PLANS = 512
_NOTHING: Mapping[str, pa.Table] = MappingProxyType({})
_WIDENING = ("pg_repeats(", "pg_length(", "pg_lpad(", "pg_rpad(")
_MAKING_ROWS = ("generate_series(", "unnest(", "range(", "RECURSIVE")
# The binder's tables fill themselves as these are imported.
_BINDERS = (
    bind_datetimes, bind_enums, bind_hypertables, bind_json, bind_numerics, bind_patterns, bind_ranges, bind_sequences,
    bind_session, bind_sets, bind_special, bind_system, bind_time_bucket, functions, sets,
)  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """A bound and planned query: columns and parameters are known, nothing has run. Valid for one catalog version.

    ``explained`` is the EXPLAIN around it, if any: then the columns are EXPLAIN's. ``viewed`` are the views it reads,
    each with the role that must be allowed to (None: the session's); ``uses`` what a view of this query keeps.
    ``lifted`` are the values of the plan's parameters where they were texts of the statement
    (``tsdb.sql.templates``), which then has no others.
    """

    columns: tuple[ResultColumn, ...]
    parameters: tuple[SqlType, ...]
    catalog_version: int
    plan: Plan = field(repr=False)
    explained: Explain | None = None
    viewed: tuple[tuple[SqlView, int | None], ...] = ()
    uses: tuple[Use, ...] = ()
    lifted: tuple[object | None, ...] = ()

    def with_lifted(self, values: tuple[object | None, ...]) -> Prepared:
        """The plan of a statement of which these are the texts. What was found out of this one holds for it, too."""
        made = object.__new__(Prepared)
        made.__dict__.update(self.__dict__, parameters=(), lifted=values)
        return made

    @cached_property
    def reads_texts(self) -> bool:
        """Whether it reads fields of text, or whatever else may be long."""
        return any(
            isinstance(key, int) and _is_long(scan.source.series.by_number[key])
            for scan in self.plan.scans
            if scan.source.series is not None
            for key in scan.columns
        )

    @cached_property
    def has_effects(self) -> bool:
        """Whether it calls what changes the session: a lock, a notification, a setting."""
        return f"{FUNCTION}(" in self.plan.sql

    @cached_property
    def computes(self) -> bool:
        """Whether it may take long: it reads series, sleeps, or makes rows of its own and not for the catalog."""
        if self.plan.scans or any(source.delay_seconds is not None for source in self.plan.sources):
            return True
        catalog = any(source.table is not None for source in self.plan.sources)
        return not catalog and any(name in self.plan.sql for name in _MAKING_ROWS)

    @cached_property
    def pace(self) -> Pace | None:
        """None for what is always long enough for a thread."""
        return None if self.explained is not None or self.plan.needs_duckdb else self.plan.pace

    @cached_property
    def widens(self) -> bool:
        """Whether it calls what makes long texts of short ones: a vector of them may take a gigabyte."""
        return any(name in self.plan.sql for name in _WIDENING)


class Queries:
    """Owns the DuckDB instance. Thread-safe: each running query has a cursor of its own."""

    def __init__(
        self, *, memory_limit_bytes: int = 1 << 30, threads: int = 2, spill_directory: Path | None = None
    ) -> None:
        self._instance = Instance(memory_limit_bytes, threads, spill_directory)
        self._deadlines = Deadlines()
        self.spill_directory = spill_directory
        self._cache: OrderedDict[Hashable, Prepared] = OrderedDict()
        self._templates = Templates()
        self._lock = threading.Lock()

    def prepare(
        self,
        statement: Select | Explain,
        context: Context,
        catalog: Catalog,
        parameter_types: Sequence[SqlType | None] = (),
    ) -> Prepared:
        """Bind a query without running it. ``parameter_types`` are the client's; None: infer.

        Raises UndefinedTable, UndefinedColumn, UndefinedFunction, DatatypeMismatch … with the position in the message.
        """
        if catalog.version == IMAGINED:
            return self._prepare(statement, context, catalog, parameter_types)
        text = statement.fragment.text
        key = (
            text, context.database, context.user, context.backend_pid, _key_of(context.settings),
            tuple(t and t.oid for t in parameter_types), catalog.version, context.written_in, context.uses,
        )  # fmt: skip
        with self._lock:
            found = self._cache.get(key)
            if found is not None:
                self._cache.move_to_end(key)
                return found
        lifted = None
        if isinstance(statement, LiftedSelect) and not parameter_types:
            lifted = (statement.template.fragment.text, *key[1:])
            found = self._templates.find(lifted, statement, context)
            if found is not None:
                return found
        prompt.may_wait()
        made = self._prepare(statement, context, catalog, parameter_types)
        if len(text) <= CACHED_STATEMENT_CHARACTERS and not _reads_the_clock(statement):
            if lifted is not None and isinstance(statement, LiftedSelect):
                self._templates.learn(
                    lifted, statement, made, context, lambda template: self._prepare(template, context, catalog, ())
                )
            with self._lock:
                self._cache[key] = made
                while len(self._cache) > CACHED_PLANS:
                    self._cache.popitem(last=False)
        return made

    def _prepare(
        self,
        statement: Select | Explain,
        context: Context,
        catalog: Catalog,
        parameter_types: Sequence[SqlType | None],
    ) -> Prepared:
        explained = statement if isinstance(statement, Explain) else None
        inner = statement.statement if isinstance(statement, Explain) else statement
        if not isinstance(inner, Select):
            raise FeatureNotSupported("EXPLAIN is supported for queries only")
        binder = Binder(
            context, catalog, catalog.find(context.database), inner.fragment.original, bind_query=bind_query
        )
        binder.typed(tuple(parameter_types))
        binder.form = "shown"
        if context.uses is not None:
            binder.frame = frame_of(context.uses)
        try:
            query = bind_query(binder, inner.tree, None)
        except RecursionError:
            raise StatementTooComplex("stack depth limit exceeded", hint="Nest the statement less deeply.") from None
        for output in query.outputs:
            if output.expr is not None and output.expr.op == "parameter" and output.expr.unknown:
                typed_parameter(output.expr, TEXT)
        plan = rules.apply(_plan(binder, query))
        columns = (
            explain.columns_of(explained) if explained is not None else tuple(_result_column(o) for o in query.outputs)
        )
        parameters = tuple(p.type or TEXT for p in binder.parameters)
        return Prepared(columns, parameters, catalog.version, plan, explained, tuple(binder.viewed), uses_of(binder))

    def run(
        self,
        prepared: Prepared,
        view: View,
        values: Sequence[object | None],
        context: Context,
        *,
        dictionaries: bool = False,
    ) -> Rows:
        """Start a bound query. The first batch is there as soon as DuckDB has it. Close what is returned.

        With ``dictionaries`` columns of text may come as Arrow's dictionaries: the wire writes each of their values
        once. The view's catalog must be the version the query was bound with; the caller binds again when it is not.
        """
        if prepared.explained is not None:
            return explain.run(self, prepared.explained, prepared.plan, view, values, context)
        values = prepared.lifted or values
        return self.execute(prepared.plan, prepared.columns, view, values, context, dictionaries=dictionaries)

    def execute(
        self,
        plan: Plan,
        columns: tuple[ResultColumn, ...],
        view: View,
        values: Sequence[object | None],
        context: Context,
        *,
        dictionaries: bool = False,
    ) -> Rows:
        """Run a plan; ``columns`` are its result's."""
        execution = self._without_duckdb(plan, columns, view, values, context, dictionaries) if context.prune else None
        if execution is None:
            return self._in_duckdb(plan, columns, view, values, context)
        if context.running is not None:
            context.running(execution)
        return execution

    def _without_duckdb(
        self,
        plan: Plan,
        columns: tuple[ResultColumn, ...],
        view: View,
        values: Sequence[object | None],
        context: Context,
        dictionaries: bool,
    ) -> Rows | None:
        """None when DuckDB must answer it."""
        ways = (plan.aggregate, plan.partial, plan.selection, plan.first_rows, plan.widening)
        if all(way is None for way in ways):
            return None

        def otherwise() -> Rows:
            return self._in_duckdb(plan, columns, view, values, context)

        given = self.values(plan, values, context)
        rest = (view, columns, self._deadlines, context)
        scan = plan.scans[0]
        try:
            if plan.widening is not None:
                request, wanted = requests.of_scan(scan, given, prune=True), rows_of(plan.widening, given)

                def within(span: TimeRange, began: Callable[[Cancellable], None]) -> Rows:
                    part = replace(scan, ranges=(*scan.ranges, lambda _: span))
                    inner = replace(plan, scans=(part,), widening=None)
                    return self.execute(inner, columns, view, values, replace(context, running=began))

                return WideningExecution(plan.widening, wanted, request, within, *rest, otherwise)
            if plan.first_rows is not None:
                request, bounds = requests.of_scan(scan, given, prune=True), limits_of(plan.first_rows, given)
                if request.newest is None:
                    return None
                return FirstRowsExecution(plan.first_rows, bounds, request, *rest, otherwise, dictionaries=dictionaries)
            if plan.selection is not None:
                matches = tuple(make(given) for make in plan.selection.matches)
                span = _count(plan.selection.limit, given, None), _count(plan.selection.offset, given, 0) or 0
                request = requests.exactly(scan, given, plan.selection.columns(matches))
                return SelectionExecution(plan.selection, request, matches, span, *rest, dictionaries=dictionaries)
            if plan.partial is not None:
                return self._over_parts(plan, plan.partial, columns, view, values, context)
            assert plan.aggregate is not None
            request = requests.exactly(scan, given, columns_of(plan.aggregate))
            aggregate = plan.aggregate.in_utc(request.range, context.time_zone)
            return None if aggregate is None else AggregateExecution(aggregate, request, *rest, otherwise)
        except Undecided:
            return None

    def _over_parts(
        self,
        plan: Plan,
        partial: Partial,
        columns: tuple[ResultColumn, ...],
        view: View,
        values: Sequence[object | None],
        context: Context,
    ) -> Rows | None:
        """Raises Undecided."""
        request = requests.exactly(plan.scans[0], self.values(plan, values, context), columns_of(partial.aggregate))
        aggregate = partial.aggregate.in_utc(request.range, context.time_zone)
        if aggregate is None:
            return None

        def otherwise() -> Rows:
            return self._in_duckdb(plan, columns, view, values, context)

        def over(table: pa.Table) -> Rows:
            inner = replace(plan, sql=partial.sql, scans=())
            return self._in_duckdb(inner, columns, view, values, context, {partial.name: table})

        made = replace(partial, aggregate=aggregate)
        return PartialExecution(made, request, view, columns, self._deadlines, context, otherwise, over)

    def _in_duckdb(
        self,
        plan: Plan,
        columns: tuple[ResultColumn, ...],
        view: View,
        values: Sequence[object | None],
        context: Context,
        given: Mapping[str, pa.Table] = _NOTHING,
    ) -> Execution:
        """``given``: tables in the place of scans."""
        zone = str(context.zone)
        self._instance.calls.register(context.backend_pid, context.session)
        cursor = self._instance.take(zone)
        execution = Execution(self._instance, cursor, self._deadlines, columns, context)
        if context.running is not None:
            context.running(execution)
        try:
            run_values = self.values(plan, values, context, execution.glance(view, plan.sql))
            made = self.scan_requests(plan, run_values, context, view)
        except BaseException:
            execution.close()
            raise
        execution.start(plan, run_values.fill(plan.sql), made, view, context, given)
        return execution

    def values(self, plan: Plan, values: Sequence[object | None], context: Context, glance: int = 0) -> RunValues:
        return RunValues(plan.parameters, values, context, lambda sql: self._compute(sql, context), glance)

    def scan_requests(
        self, plan: Plan, values: RunValues, context: Context, view: View
    ) -> list[tuple[str, ScanRequest]]:
        """What each scan asks of the view, under its generated name."""
        made = [
            (scan.source.name, requests.of_scan(scan, values, prune=context.prune))
            for scan in plan.scans
            if scan.source.series is not None
        ]
        parts = {scan.source.name: scan.source.part for scan in plan.scans}
        return reading.within(made, parts, view) if any(parts.values()) else made

    def _compute(self, sql: str, context: Context) -> int | None:
        """One constant by DuckDB: date_trunc('day', now()) and its like."""
        cursor = self._instance.take(str(context.zone))
        try:
            # Read to its end: a result that is left open would refuse the cursor to its next user.
            rows = cursor.connection.execute(f"SELECT {sql}").fetchall()
            return None if rows[0][0] is None else int(rows[0][0])
        except Exception as error:
            raise to_error(error) from error
        finally:
            self._instance.give_back(cursor)

    def close(self) -> None:
        """Close the instance. Running queries fail."""
        self._deadlines.close()
        self._instance.close()


def _count(expr: Expr | None, values: RunValues, absent: int | None) -> int | None:
    """The number of rows of LIMIT or OFFSET. Raises Undecided: DuckDB has the right error for a negative one."""
    found = None if expr is None else values(expr)
    if found is None:
        return absent
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise Undecided
    return found


def _key_of(settings: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return settings.key if isinstance(settings, SettingValues) else frozenset(settings.items())


def _is_long(column: Column) -> bool:
    return column.role is Role.FIELD and not pa.types.is_primitive(column.type.arrow)


def _reads_the_clock(statement: Select | Explain) -> bool:
    """Whether a constant may be read by the clock ('now', 'today'): then its plan is for this run alone."""
    return any(t.kind == "string" and MOMENT_WORD.search(t.value) for t in statement.fragment.tokens)


def _plan(binder: Binder, query: BoundQuery) -> Plan:
    scans = tuple(
        PlannedScan(r.source, r) for r in binder.relations if r.source is not None and r.source.series is not None
    )
    return Plan(
        query.sql,
        tuple(query.outputs),
        tuple(binder.parameters),
        tuple(binder.sources),
        tuple(binder.blocks),
        scans,
    )


def _result_column(output: Output) -> ResultColumn:
    if output.type.element is not None and output.type.element.element is not None:
        raise FeatureNotSupported("arrays of arrays are not supported")
    expr = output.expr
    if expr is not None and expr.op == "column" and isinstance(expr.value, ColumnReference):
        relation = expr.value.relation
        column = relation.columns[expr.value.index]
        if relation.oid and column.number:
            return ResultColumn(output.name, output.type, output.typmod, relation.oid, column.number)
    sql_type = client_type(expr) if expr is not None and expr.op == "row" else output.type
    return ResultColumn(output.name, sql_type, output.typmod)
