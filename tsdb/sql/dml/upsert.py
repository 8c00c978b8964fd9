"""ON CONFLICT DO UPDATE with expressions: what exists is updated as by UPDATE … FROM the rows that were to be inserted.

They are the relation EXCLUDED (``given``), joined by the whole key, or what is unique in a reference table. A row that
is met twice is an error (21000), so the statement's rows are looked at together.

Source: PostgreSQL 15 manual, INSERT, ON CONFLICT Clause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sqlglot import exp

from tsdb.errors import CardinalityViolation
from tsdb.model.points import Points
from tsdb.model.schema import Catalog, Column, Series
from tsdb.model.store import TIME_NS, Effect, TimeRange
from tsdb.model.uniqueness import Unique
from tsdb.sql import trees
from tsdb.sql.bind import given
from tsdb.sql.bind.given import GivenView
from tsdb.sql.context import Context
from tsdb.sql.dml import returning, update
from tsdb.sql.dml.conflict import Conflict
from tsdb.sql.dml.keys import existing_rows, keys_of
from tsdb.sql.dml.modification import Outcome, Reading, Write
from tsdb.sql.dml.to_points import points_of
from tsdb.sql.dml.unique import UniqueRows
from tsdb.sql.dml.update import PreparedUpdate
from tsdb.sql.query import Queries
from tsdb.sql.statement import Insert, Update
from tsdb.types import SqlType

EXCLUDED = "excluded"
# Takes points and, for RETURNING, their values by column name.
Show = Callable[[dict[str, pa.Array], Points], None]
# The values that some of an INSERT's rows were given, by column name.
Given = Callable[[npt.NDArray[np.int64]], dict[str, pa.Array]]


@dataclass(frozen=True)
class Upsert:
    """``update`` returns the target's columns and the time in ns. ``narrow``: it reads the target by key alone.
    ``arbiter``: in what rows of a reference table meet."""

    series: Series
    update: PreparedUpdate
    narrow: bool
    arbiter: Unique | None = None

    def effects(
        self,
        reading: Reading,
        outcome: Outcome,
        points: Points,
        values: Given,
        show: Show,
        unique: UniqueRows | None,
    ) -> Iterator[Effect]:
        """What the rows of an INSERT do; each that is written is shown, those that are new first.

        Raises CardinalityViolation and what UPDATE raises.
        """
        by = None if unique is None or self.arbiter is None else (unique, self.arbiter)
        if len(np.unique(keys_of(points))) < len(points) if by is None else by[0].repeats(points, by[1]):
            raise CardinalityViolation(
                "ON CONFLICT DO UPDATE command cannot affect row a second time",
                hint="Ensure that no rows proposed for insertion within the same command have duplicate constrained "
                "values.",
            )
        existing = existing_rows(reading.view, points) if by is None else by[0].met(points, [by[1]])
        rows = np.flatnonzero(~existing)
        if len(rows):
            fresh = points.take(rows)
            outcome.count += len(fresh)
            show(values(rows), fresh)
            free = None
            if unique is not None:
                unique.check(fresh)
                free = unique.demand(fresh, again=True)
            yield Write(fresh, free=free)
        met = points.take(np.flatnonzero(existing))
        if not len(met):
            return
        within = TimeRange(int(met.times.min()), int(met.times.max()) + 1) if self.narrow else None
        inner = self.update.start(replace(reading, view=GivenView(reading.view, met, within)))
        try:
            yield from inner
        finally:
            inner.close()
        outcome.count += inner.count
        for batch in inner.returned:
            new = {c.name: batch.column(i) for i, c in enumerate(self.series.columns)}
            show(new, points_of(self.series, new, batch.num_rows, now_ns=0, time_ns=batch.column(len(new))))


def prepare(
    queries: Queries,
    statement: Insert,
    conflict: Conflict,
    context: Context,
    catalog: Catalog,
    parameter_types: Sequence[SqlType | None],
) -> Upsert:
    """Raises whatever preparing the UPDATE raises."""
    tree, series = statement.tree, conflict.series
    arbiter = conflict.arbiters[0] if conflict.arbiters else None
    clause = tree.args["conflict"]
    name = returning.name_of_target(tree, series)
    target = (tree.this.this if isinstance(tree.this, exp.Schema) else tree.this).copy()
    columns = series.tags if arbiter is None else [series.by_number[number] for number in arbiter.columns]
    same = [_same(column, name) for column in columns]
    at_once = exp.EQ(this=trees.column(TIME_NS, name), expression=trees.column(TIME_NS, EXCLUDED))
    where = clause.args.get("where")
    asked = [exp.Paren(this=where.this.copy())] if where is not None else []
    shown = [trees.column(c.name, name) for c in series.columns] + [trees.column(TIME_NS, name)]
    made = exp.Update(
        this=target,
        expressions=[each.copy() for each in clause.expressions],
        from_=exp.From(this=given.table(series, EXCLUDED)),
        where=exp.Where(this=exp.and_(at_once, *same, *asked, copy=False)),
        returning=exp.Returning(expressions=shown),
    )
    if (with_ := tree.args.get("with_")) is not None:
        made.set("with_", with_.copy())
    prepared = update.prepare(queries, Update(statement.fragment, made), context, catalog, parameter_types)
    narrow = not prepared.moves and clause.find(exp.Query) is None
    return Upsert(series, prepared, narrow, arbiter)


def _same(column: Column, name: str) -> exp.Expr:
    return exp.NullSafeEQ(this=trees.column(column.name, name), expression=trees.column(column.name, EXCLUDED))
