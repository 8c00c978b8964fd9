"""INSERT: VALUES or a query, cast to the columns' types, to points.

The source runs as a query like any other, so expressions, parameters and functions mean the same; each value is cast
to its column's type in the query. Into a keyed time series INSERT merges as line protocol does: a field that is given
wins, a field that is not (or NULL) stays; a reference table refuses rows that meet another (``unique``).
``ON CONFLICT`` (see ``conflict``) does otherwise. A missing time is now.

Source of the grammar: PostgreSQL 15 manual, INSERT.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sqlglot import exp

from tsdb.errors import (
    DatatypeMismatch,
    DuplicateColumn,
    SqlSyntaxError,
    UndefinedColumn,
)
from tsdb.model.points import Points
from tsdb.model.relations import SqlSequence
from tsdb.model.schema import Catalog, Column, Role, Series
from tsdb.model.store import TIME_NS, Free
from tsdb.sql import trees
from tsdb.sql.bind import places
from tsdb.sql.context import Context
from tsdb.sql.dml import checks, constant_rows, new_keys, returning, serial, upsert
from tsdb.sql.dml.conflict import Conflict
from tsdb.sql.dml.constant_rows import ConstantRows
from tsdb.sql.dml.modification import Effect, Outcome, Reading, Write
from tsdb.sql.dml.returning import Evaluated, Returned
from tsdb.sql.dml.to_points import points_of
from tsdb.sql.dml.unique import UniqueRows
from tsdb.sql.dml.upsert import Upsert
from tsdb.sql.expressions.coercion import assignable
from tsdb.sql.names import target_series
from tsdb.sql.query import Prepared, Queries
from tsdb.sql.result import ResultColumn
from tsdb.sql.statement import OVERRIDING, Fragment, Insert, Select
from tsdb.types import INT8, UINT8, SqlType

# Stands for the hidden column time_ns, which takes exact times.
_TIME_NS = Column(0, TIME_NS, Role.FIELD, INT8)


@dataclass(frozen=True)
class PreparedInsert:
    series: Series
    targets: tuple[Column, ...]
    source: Select
    parameters: tuple[SqlType, ...]
    conflict: Conflict | None
    returned: Returned | Evaluated
    catalog_version: int
    constants: ConstantRows | None = None
    counted: tuple[tuple[Column, SqlSequence], ...] = ()
    upsert: Upsert | None = None

    @property
    def columns(self) -> tuple[ResultColumn, ...]:
        return self.returned.columns

    @cached_property
    def reads(self) -> bool:
        evaluates = isinstance(self.returned, Evaluated)
        return evaluates or self.conflict is not None or self.source.tree.find(exp.Table) is not None

    def start(self, reading: Reading) -> Outcome:
        unique = UniqueRows(self.series, reading.latest, reading.numbered) if self.series.uniques else None

        def effects(outcome: Outcome) -> Iterator[Effect]:
            if self.constants is not None:
                batch = self.constants.batch(reading.values, reading.context)
                yield from self._write(reading, outcome, batch, unique)
                return
            batches = outcome.query(reading, self.source, self.parameters)
            for batch in new_keys.whole(batches, "one ON CONFLICT DO UPDATE takes") if self.upsert else batches:
                yield from self._write(reading, outcome, batch, unique)

        return Outcome("INSERT", effects)

    def _write(
        self, reading: Reading, outcome: Outcome, batch: pa.RecordBatch, unique: UniqueRows | None
    ) -> Iterator[Effect]:
        for column, sequence in self.counted:
            at = self.targets.index(column)
            batch = batch.set_column(
                at, batch.schema.field(at).name, serial.filled(batch.column(at), column, sequence, reading.context)
            )
        values = {c.name: batch.column(i) for i, c in enumerate(self.targets)}
        time_ns = values.pop(TIME_NS, None)
        now_ns = reading.context.now_us * 1000
        points = points_of(self.series, values, batch.num_rows, now_ns=now_ns, time_ns=time_ns)
        checks.check(reading, points)
        if self.upsert is not None:
            yield from self._upserted(reading, outcome, batch, points, self.upsert, unique)
            return
        if self.conflict is not None:
            kept = self.conflict.resolve(reading.view, points, unique)
            points, rows = kept.points, kept.rows
            batch = batch.take(pa.array(rows))
            values = {c.name: batch.column(i) for i, c in enumerate(self.targets)}
        outcome.count += len(points)
        if self.columns:
            outcome.returned += self.returned.inserted(reading, outcome, values, points)
        if len(points):
            yield Write(points, free=self._free(points, unique))

    def _free(self, points: Points, unique: UniqueRows | None) -> Free | None:
        """What new rows have to themselves; those that merge by ON CONFLICT may meet others."""
        if unique is None or (self.conflict is not None and self.conflict.updated is not None):
            return None
        unique.check(points)
        return unique.demand(points, again=self.conflict is not None)

    def _upserted(
        self,
        reading: Reading,
        outcome: Outcome,
        batch: pa.RecordBatch,
        points: Points,
        upsert: Upsert,
        unique: UniqueRows | None,
    ) -> Iterator[Effect]:
        def values(rows: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
            taken = batch.take(pa.array(rows))
            return {c.name: taken.column(i) for i, c in enumerate(self.targets)}

        def show(values: dict[str, pa.Array], points: Points) -> None:
            if self.columns:
                outcome.returned += self.returned.inserted(reading, outcome, values, points)

        yield from upsert.effects(reading, outcome, points, values, show, unique)


def prepare(
    queries: Queries,
    statement: Insert,
    context: Context,
    catalog: Catalog,
    parameter_types: Sequence[SqlType | None] = (),
) -> PreparedInsert:
    """Raises UndefinedTable, UndefinedColumn, DatatypeMismatch, and whatever the source's query raises."""
    tree = statement.tree
    target = tree.this
    names = [trees.name_of(each) for each in target.expressions] if isinstance(target, exp.Schema) else None
    table = target.this if isinstance(target, exp.Schema) else target
    series = target_series(context, catalog.find(context.database), table, "insert into", statement.fragment)
    idents = list(target.expressions) if isinstance(target, exp.Schema) else []
    given = given_columns(series, names, [places.of_node(statement.fragment, each) for each in idents])
    rows = _rows(tree)
    if rows is not None:
        _check_width(statement.fragment, rows[0], given, idents)
        given = _matched(given, len(rows[0]), names is not None and rows != [[]])
    body = _Body(queries, statement, context, catalog, parameter_types)
    overriding = tree.args.get(OVERRIDING, "")
    if rows is None:
        given, source = body.query(given, explicit=names is not None)
    if overriding == "user":
        ignored = [i for i, column in enumerate(given) if column.identity]
        rows = [
            [exp.Var(this="default") if i in ignored else v for i, v in enumerate(row)] for row in rows or []
        ] or None
        for i in ignored if rows is None else ():
            source.expressions[i].this.set("this", exp.Null())
    conflict = Conflict.read(tree, series, context.database)
    omitted = [
        c for c in series.columns
        if (c.default is not None or c.sequence) and c not in given and not _covered(c, given)
    ]  # fmt: skip
    counted = serial.counted(catalog.find(context.database), given, omitted, rows, overriding)
    targets = (*given, *omitted)
    defaults = [_default_of(column, series) for column in targets]
    if rows is not None:
        every = [[*row, *defaults[len(given) :]] for row in rows]
        constants = constant_rows.recognize(targets, every, defaults, parameter_types)
        if constants is not None and not tree.args.get("with_"):
            empty = trees.derived(statement.fragment, "constants", trees.select([]))
            return body.finished(series, targets, empty, constants.parameters, conflict, constants, counted)
        source = _values(targets, every, defaults)
    else:
        for i, (column, default) in enumerate(zip(omitted, defaults[len(given) :], strict=True)):
            source.append("expressions", trees.aliased(trees.cast(default, column), f"d{i}"))
    if (with_ := tree.args.get("with_")) is not None:
        source.set("with_", with_.copy())
    role = "; ".join(["insert", *(c.default or "" for c in targets)])
    query = trees.derived(statement.fragment, role, source)
    prepared = queries.prepare(query, context, catalog, parameter_types)
    return body.finished(series, targets, query, prepared.parameters, conflict, None, counted)


def _rows(tree: exp.Expr) -> list[list[exp.Expr]] | None:
    """The rows of VALUES; DEFAULT VALUES is one empty row; None for any other query."""
    if tree.args.get("default"):
        return [[]]
    body = tree.args.get("expression")
    if not isinstance(body, exp.Values) or any(body.args.get(key) for key in ("order", "limit", "offset")):
        return None
    rows = [list(row.expressions) if isinstance(row, exp.Tuple) else [row] for row in body.expressions]
    if any(len(row) != len(rows[0]) for row in rows):
        raise SqlSyntaxError("VALUES lists must all be the same length")
    return rows


def _values(targets: Sequence[Column], rows: list[list[exp.Expr]], defaults: list[exp.Expr]) -> exp.Expr:
    """The query that gives the rows, each value cast to its column."""
    if not targets:
        return trees.select([trees.aliased(trees.cast(exp.Null(), _TIME_NS), "c0")])
    items = [
        [
            trees.cast((default if constant_rows.is_default(value) else value).copy(), column)
            for value, column, default in zip(row, targets, defaults, strict=True)
        ]
        for row in rows
    ]
    if len(items) == 1:
        return trees.select([trees.aliased(value, f"c{i}") for i, value in enumerate(items[0])])
    values = exp.Values(expressions=[exp.Tuple(expressions=row) for row in items])
    names = [f"c{i}" for i in range(len(targets))]
    return trees.select([trees.column(name) for name in names], trees.subquery(values, "source", names))


def _covered(column: Column, given: list[Column]) -> bool:
    return column.role is Role.TIME and _TIME_NS in given


def given_columns(series: Series, names: list[str] | None, positions: Sequence[int | None] = ()) -> list[Column]:
    """The target columns; None is all of them. Raises UndefinedColumn, DuplicateColumn, at the name's position."""
    if names is None:
        return list(series.columns)
    found: list[Column] = []
    for i, name in enumerate(names):
        position = positions[i] if i < len(positions) else None
        if name == TIME_NS and not series.reference:
            column = _TIME_NS
        elif name in series.by_name:
            column = series.by_name[name]
        else:
            raise UndefinedColumn(f'column "{name}" of relation "{series.name}" does not exist', position=position)
        if column in found:
            raise DuplicateColumn(f'column "{name}" specified more than once', position=position)
        found.append(column)
    if _TIME_NS in found and series.time in found:
        raise DuplicateColumn(f'columns "{TIME_NS}" and "{series.time.name}" are both the time')
    return found


class _Body:
    """What of a statement is a query: its source, RETURNING."""

    def __init__(
        self,
        queries: Queries,
        statement: Insert,
        context: Context,
        catalog: Catalog,
        parameter_types: Sequence[SqlType | None],
    ) -> None:
        self._queries = queries
        self._statement = statement
        self._context = context
        self._catalog = catalog
        self._parameter_types = parameter_types

    def query(self, given: list[Column], *, explicit: bool) -> tuple[list[Column], exp.Expr]:
        """(columns that get values, the query with a column for each, cast to it)."""
        select = _cast_literals(self._statement.tree.expression, given)
        source = select.copy()
        source.set("with_", self._statement.tree.args.get("with_") or source.args.get("with_"))
        prepared = self._queries.prepare(
            trees.derived(self._statement.fragment, "source", source),
            self._context,
            self._catalog,
            self._parameter_types,
        )
        given = _matched(given, len(prepared.columns), explicit)
        self._check_assignable(given, prepared, select)
        names = [f"c{i}" for i in range(len(given))]
        items = [trees.aliased(trees.cast(trees.column(n, "source"), c), n) for n, c in zip(names, given, strict=True)]
        return given, trees.select(items, trees.subquery(select, "source", names))

    def _check_assignable(self, given: Sequence[Column], prepared: Prepared, select: exp.Expr) -> None:
        """Raises DatatypeMismatch, at the column of the query."""
        listed = select.selects if isinstance(select, exp.Query) else []
        for i, (column, found) in enumerate(zip(given, prepared.columns, strict=True)):
            if column.type != UINT8 and not assignable(found.type, column.type):
                place = places.of_node(self._statement.fragment, listed[i]) if len(listed) == len(given) else None
                raise DatatypeMismatch(
                    f'column "{column.name}" is of type {column.type.name} but expression is of type {found.type.name}',
                    hint="You will need to rewrite or cast the expression.",
                    position=place,
                )

    def finished(
        self,
        series: Series,
        targets: tuple[Column, ...],
        source: Select,
        parameters: tuple[SqlType, ...],
        conflict: Conflict | None,
        constants: ConstantRows | None,
        counted: tuple[tuple[Column, SqlSequence], ...],
    ) -> PreparedInsert:
        """The insert with its RETURNING, in which a parameter has the type that the source gave it."""
        tree = self._statement.tree
        types = (*parameters, *self._parameter_types[len(parameters) :])
        made = None
        if conflict is not None and conflict.computed:
            made = upsert.prepare(self._queries, self._statement, conflict, self._context, self._catalog, types)
            parameters = made.update.parameters
            types = (*parameters, *self._parameter_types[len(parameters) :])

        def prepare(tree: exp.Expr) -> tuple[Select, Prepared]:
            query = trees.derived(self._statement.fragment, "returning", tree)
            return query, self._queries.prepare(query, self._context, self._catalog, types)

        returned = returning.of_insert(tree, series, prepare)
        if isinstance(returned, Evaluated):
            parameters = returned.parameters
        return PreparedInsert(
            series, targets, source, parameters, conflict, returned, self._catalog.version, constants, counted, made
        )


def _check_width(
    fragment: Fragment, values: Sequence[exp.Expr], given: Sequence[Column], idents: Sequence[exp.Expr]
) -> None:
    """Raises SqlSyntaxError, at the first value or column that has no other."""
    if len(values) > len(given):
        place = places.of_node(fragment, values[len(given)])
        raise SqlSyntaxError("INSERT has more expressions than target columns", position=place)
    if values and len(values) < len(idents):
        place = places.of_node(fragment, idents[len(values)])
        raise SqlSyntaxError("INSERT has more target columns than expressions", position=place)


def _matched(given: list[Column], count: int, explicit: bool) -> list[Column]:
    if count > len(given):
        raise SqlSyntaxError("INSERT has more expressions than target columns")
    if count < len(given) and explicit:
        raise SqlSyntaxError("INSERT has more target columns than expressions")
    return given[:count]


def _default_of(column: Column, series: Series) -> exp.Expr:
    if column.default is not None:
        return trees.expression(column.default)
    if column is series.time or column is _TIME_NS:
        return trees.expression("now()") if column is series.time else exp.Null()
    return exp.Null()


def _cast_literals(body: exp.Expr, given: list[Column]) -> exp.Expr:
    """A bare string or parameter in a SELECT's list takes the column's type (10.3, value storage)."""
    copy: exp.Expr = body.copy()
    if isinstance(copy, exp.Select) and not copy.args.get("distinct"):
        for item, column in zip(list(copy.expressions), given, strict=False):
            value = item.this if isinstance(item, exp.Alias) else item
            if isinstance(value, exp.Parameter | exp.Placeholder | exp.Null) or (
                isinstance(value, exp.Literal) and value.is_string
            ):
                value.replace(trees.cast(value.copy(), column))
    return copy
