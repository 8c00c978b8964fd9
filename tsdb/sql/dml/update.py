"""UPDATE: new versions of the rows that a condition selects.

In a keyed series only the fields that are set are written, and merge. Where a field becomes NULL (which in merges means
absent), and in a keyless series, the row is deleted and written anew as a whole. So it is where a tag or the time
changes, which name a row (``new_keys``), or what is unique in a reference table (``unique``).

Source of the grammar: PostgreSQL 15 manual, UPDATE.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from tsdb.model.schema import Catalog, Column, Role, Series
from tsdb.model.store import Moment, View
from tsdb.sql import trees
from tsdb.sql.context import Context
from tsdb.sql.dml import assignments, checks, new_keys
from tsdb.sql.dml.assignments import NewValues
from tsdb.sql.dml.delete import key_deletion, key_items, key_width, shown_of
from tsdb.sql.dml.joined import Joined, apart
from tsdb.sql.dml.modification import Effect, Outcome, Reading, Write
from tsdb.sql.dml.to_points import points_of
from tsdb.sql.dml.unique import UniqueRows
from tsdb.sql.names import target_series
from tsdb.sql.query import Queries
from tsdb.sql.result import ResultColumn
from tsdb.sql.statement import Select, Update
from tsdb.types import SqlType


@dataclass(frozen=True)
class PreparedUpdate:
    """``rows`` asks for keys, the fields that stay, the fields that are ``changed``, and RETURNING's
    columns, of which those in ``shown`` are the result's. ``depends``: what it does is made of fields of the rows."""

    series: Series
    rows: Select
    parameters: tuple[SqlType, ...]
    columns: tuple[ResultColumn, ...]
    kept: tuple[Column, ...]
    changed: tuple[Column, ...]
    catalog_version: int
    shown: tuple[int, ...]
    depends: bool
    reads: bool = True

    def start(self, reading: Reading) -> Outcome:
        def effects(outcome: Outcome) -> Iterator[Effect]:
            batches = outcome.query(reading, self.rows, self.parameters)
            together = self.moves and (self.series.keyed or self.series.uniques)
            for batch in new_keys.whole(batches) if together else batches:
                if batch.num_rows:
                    yield from self._effects(outcome, batch, reading)

        return Outcome("UPDATE", effects, target=self.series)

    @property
    def moves(self) -> bool:
        """Whether it changes what names a point, or what no other may have."""
        unique = {number for each in self.series.uniques for number in each.columns}
        return any(column.role is not Role.FIELD or column.number in unique for column in self.changed)

    def _effects(self, outcome: Outcome, batch: pa.RecordBatch, reading: Reading) -> Iterator[Effect]:
        moment = reading.view.moment
        outcome.count += batch.num_rows
        at = key_width(self.series) + len(self.kept)
        news = batch.columns[at : at + len(self.changed)]
        if self.series.checks:
            checks.check(reading, self._write(batch, with_kept=True).points)
        if self.columns:
            names = [column.name for column in self.columns]
            outcome.returned.append(pa.RecordBatch.from_arrays([batch.column(i) for i in self.shown], names))
        if self.moves or not self.series.keyed:
            yield self._moved(self._rewritten(batch, moment), reading.latest)
            return
        emptied = np.zeros(batch.num_rows, np.bool_)
        for array in news:
            emptied |= array.is_null().to_numpy(zero_copy_only=False)
        if emptied.any():
            yield self._rewritten(batch.filter(pa.array(emptied)), moment)
        if not emptied.all():
            yield self._merged(batch.filter(pc.invert(pa.array(emptied))), moment)

    def _moved(self, made: Write, view: View) -> Write:
        """Raises UniqueViolation."""
        if self.series.uniques and self.moves:
            unique = UniqueRows(self.series, view)
            unique.check(made.points, made.replaces)
            return replace(made, free=unique.demand(made.points))
        if self.series.keyed and made.replaces is not None:
            new_keys.check_free(view, made.points, made.replaces)
        return made

    def _rewritten(self, batch: pa.RecordBatch, moment: Moment) -> Write:
        return replace(self._write(batch, with_kept=True), replaces=key_deletion(self.series, batch, moment))

    def _merged(self, batch: pa.RecordBatch, moment: Moment) -> Write:
        seen = key_deletion(self.series, batch, moment)
        made = self._write(batch, with_kept=False)
        return replace(made, depends=seen) if self.depends else replace(made, updates=seen)

    def _write(self, batch: pa.RecordBatch, *, with_kept: bool) -> Write:
        tags = self.series.tags
        values = {c.name: batch.column(i) for i, c in enumerate(tags)}
        at = key_width(self.series)
        # A field that is not written is not checked either: it is in the row already.
        for i, column in enumerate((*self.kept, *self.changed)):
            if with_kept or column in self.changed:
                values[column.name] = batch.column(at + i)
        series = self.series if with_kept else _without(self.series, self.kept)
        time_ns: pa.Array | None = batch.column(len(tags))
        if series.time in self.changed:
            time_ns = None
            new_keys.check_time(series, values[series.time.name])
        points = points_of(series, values, batch.num_rows, now_ns=0, time_ns=time_ns)
        return Write(type(points)(self.series, points.times, points.tagsets, points.tagset, points.fields))


def _without(series: Series, columns: tuple[Column, ...]) -> Series:
    rest = tuple(c for c in series.columns if c not in columns)
    return Series(series.number, series.name, rest, series.keyed, series.reference, key=series.key)


def prepare(
    queries: Queries,
    statement: Update,
    context: Context,
    catalog: Catalog,
    parameter_types: Sequence[SqlType | None] = (),
) -> PreparedUpdate:
    """Raises UndefinedTable, UndefinedColumn, FeatureNotSupported, and whatever the query raises."""
    tree = apart(statement.tree)
    table = tree.this
    series = target_series(context, catalog.find(context.database), table, "update", statement.fragment)
    joined = Joined.read(tree, series)
    name = joined.name
    assigned = assignments.read(series, tree.expressions, statement.fragment)
    changed = tuple(assigned)
    kept = tuple(c for c in series.fields if c not in assigned)
    items = key_items(series, name)
    items += [trees.aliased(trees.column(c.name, name), f"o{i}") for i, c in enumerate(kept)]
    items += [trees.aliased(trees.cast(assigned[c].copy(), c), f"n{i}") for i, c in enumerate(changed)]
    role = "; ".join(["update", *(c.default or "" for c in changed)])

    def width(query: exp.Expr) -> int:
        select = trees.derived(statement.fragment, f"{role}; width {query.sql()}", query)
        return len(queries.prepare(select, context, catalog, parameter_types).columns)

    new = NewValues(series, assigned, joined)
    returned, dropped = joined.returned(tree, new.put, width)
    if joined.others and returned:
        # The new values stand for names that may be ambiguous: those are found in the clause as it is written.
        width(joined.select([item.copy() for item in tree.args["returning"].expressions], tree))
    selected = joined.select(items + returned, tree, once=True)
    rows = trees.derived(statement.fragment, role, selected)
    prepared = queries.prepare(rows, context, catalog, parameter_types)
    shown = shown_of(len(prepared.columns), len(items), dropped)
    shown, columns = new.shown(shown, prepared.columns, len(items) - len(changed))
    return PreparedUpdate(
        series,
        rows,
        prepared.parameters,
        columns,
        kept,
        changed,
        catalog.version,
        shown,
        _depends(tree, joined, assigned.values()),
    )


def _depends(tree: exp.Expr, joined: Joined, values: Iterable[exp.Expr]) -> bool:
    """Whether what is set, or which rows, is decided by fields of the target: names that may be such are taken as such.
    Tags and the time name a row and do not change while it is there."""
    where = tree.args.get("where")
    names = {trees.name_of(c) for each in (*values, where) if each is not None for c in each.find_all(exp.Column)}
    return not names.isdisjoint([joined.name, *(column.name for column in joined.series.fields)])
