"""DELETE and TRUNCATE: what to hide, and how many rows that is.

A condition on time and tags alone becomes one RangeDeletion (``deletion_range``); any other is evaluated on the
visible rows and becomes KeyDeletions in chunks. TRUNCATE is a RangeDeletion of everything. USING is ``joined``'s.

Source of the grammar: PostgreSQL 15 manual, DELETE and TRUNCATE.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from sqlglot import exp

from tsdb.errors import SqlSyntaxError
from tsdb.model.relations import SqlSequence
from tsdb.model.schema import Catalog, Series
from tsdb.model.store import SEQUENCE, TIME_NS, KeyDeletion, Moment, RangeDeletion
from tsdb.sql import storage_form, trees
from tsdb.sql.context import Context
from tsdb.sql.dml import deletion_range
from tsdb.sql.dml.deletion_range import RangeCondition
from tsdb.sql.dml.joined import Joined, apart
from tsdb.sql.dml.modification import Effect, Outcome, Reading
from tsdb.sql.dml.to_points import tagsets_of
from tsdb.sql.names import target_series
from tsdb.sql.query import Queries
from tsdb.sql.result import ResultColumn
from tsdb.sql.statement import Delete, Select, Truncate
from tsdb.types import SqlType

# Values of tags that a tombstone names; DELETE by a pattern that matches more is by keys.
MAX_MATCHING = 10_000


@dataclass(frozen=True)
class PreparedDelete:
    """``rows`` asks for the keys of what is selected (tags, time_ns, sequence), then for RETURNING's columns, of which
    those in ``shown`` are the result's. ``matching`` asks for the values of tags that the range's patterns match."""

    series: Series
    rows: Select
    parameters: tuple[SqlType, ...]
    columns: tuple[ResultColumn, ...]
    range: RangeCondition | None
    count: Select
    catalog_version: int
    shown: tuple[int, ...]
    matching: tuple[Select, ...] = ()
    reads: bool = True

    def start(self, reading: Reading) -> Outcome:
        return Outcome("DELETE", lambda outcome: self._effects(reading, outcome), target=self.series)

    def _effects(self, reading: Reading, outcome: Outcome) -> Iterator[Effect]:
        matching = [self._matching(reading, outcome, query) for query in self.matching]
        if self.range is not None and sum(map(len, matching)) <= MAX_MATCHING and not reading.repeatable:
            yield from self._by_range(reading, outcome, self.range, matching)
        else:
            for batch in outcome.query(reading, self.rows, self.parameters):
                yield from self._by_keys(outcome, batch, reading.view.moment)

    def _by_range(
        self, reading: Reading, outcome: Outcome, condition: RangeCondition, matching: list[frozenset[str]]
    ) -> Iterator[Effect]:
        for batch in outcome.query(reading, self.count, self.parameters):
            outcome.count += sum(batch.column(0).to_pylist())
        values: list[object | None] = []
        if condition.values:
            items = [value.copy() for value in condition.values]
            query = trees.derived(self.rows.fragment, "values", trees.select(items))
            for batch in outcome.query(reading, query, self.parameters):
                values = [_plain(column) for column in batch.columns]
        deletion = condition.deletion(values, matching)
        if deletion is not None and outcome.count:
            yield deletion

    def _matching(self, reading: Reading, outcome: Outcome, query: Select) -> frozenset[str]:
        """The values of a tag that match a pattern."""
        found: set[str] = set()
        for batch in outcome.query(reading, query, self.parameters):
            found.update(batch.column(0).to_pylist())
        return frozenset(found)

    def _by_keys(self, outcome: Outcome, batch: pa.RecordBatch, moment: Moment) -> Iterator[Effect]:
        if not batch.num_rows:
            return
        outcome.count += batch.num_rows
        if self.columns:
            names = [column.name for column in self.columns]
            outcome.returned.append(pa.RecordBatch.from_arrays([batch.column(i) for i in self.shown], names))
        yield key_deletion(self.series, batch, moment)


def _plain(column: pa.Array) -> object | None:
    """A text, or an instant in µs."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    value: object | None = column[0].as_py()
    return value


def key_width(series: Series) -> int:
    """How many columns ``key_items`` are."""
    return len(series.tags) + 2


def key_items(series: Series, table: str) -> list[exp.Expr]:
    """The select list that names a row: tags, time_ns, sequence."""
    names = [*(c.name for c in series.tags), TIME_NS, SEQUENCE]
    return [trees.aliased(trees.column(name, table), f"k{i}") for i, name in enumerate(names)]


def key_deletion(series: Series, batch: pa.RecordBatch, moment: Moment) -> KeyDeletion:
    """The deletion of the rows whose keys are the first columns of ``batch``, seen at ``moment``."""
    tags = [(c.number, storage_form.to_stored(batch.column(i), c)) for i, c in enumerate(series.tags)]
    tagsets, tagset = tagsets_of(tags, batch.num_rows)
    at = len(tags)
    times = np.asarray(batch.column(at).to_numpy(zero_copy_only=False), np.int64)
    sequences = np.asarray(batch.column(at + 1).to_numpy(zero_copy_only=False), np.int64)
    return KeyDeletion(series, tagsets, tagset, times, sequences, (moment,))


def prepare(
    queries: Queries,
    statement: Delete,
    context: Context,
    catalog: Catalog,
    parameter_types: Sequence[SqlType | None] = (),
) -> PreparedDelete:
    """Raises UndefinedTable, FeatureNotSupported, and whatever the condition's query raises."""
    tree = apart(statement.tree)
    if tree.args.get("tables"):
        raise SqlSyntaxError("DELETE FROM names one table", hint="Name the others after USING.")
    table = tree.this
    series = target_series(context, catalog.find(context.database), table, "delete from", statement.fragment)
    alias = trees.alias_of(table)
    where = tree.args.get("where")
    condition = where.this if where is not None else None
    joined = Joined.read(tree, series)

    def width(query: exp.Expr) -> int:
        select = trees.derived(statement.fragment, "width " + query.sql(), query)
        return len(queries.prepare(select, context, catalog, parameter_types).columns)

    returned, dropped = joined.returned(tree, lambda item: item, width)
    keys = key_items(series, joined.name)
    rows = trees.derived(statement.fragment, "rows", joined.select(keys + returned, tree, once=True))
    prepared = queries.prepare(rows, context, catalog, parameter_types)
    shown = shown_of(len(prepared.columns), key_width(series), dropped)
    columns = tuple(prepared.columns[i] for i in shown)
    span = None if columns or joined.others else deletion_range.recognize(series, alias, condition)
    count = trees.derived(statement.fragment, "count", joined.select([trees.expression("count(*)")], tree))
    matching = _matching(statement, table, span)
    return PreparedDelete(series, rows, prepared.parameters, columns, span, count, catalog.version, shown, matching)


def _matching(statement: Delete, table: exp.Expr, span: RangeCondition | None) -> tuple[Select, ...]:
    queries_ = [
        trees.select([pattern.tag], table.copy(), pattern.condition)
        for pattern in (span.patterns if span is not None else ())
    ]
    for tree in queries_:
        tree.set("distinct", exp.Distinct())
    return tuple(trees.derived(statement.fragment, f"matching {i}", tree) for i, tree in enumerate(queries_))


def shown_of(count: int, first: int, dropped: Sequence[int]) -> tuple[int, ...]:
    """The columns of a query from ``first`` on but those that are ``dropped``, counted from there."""
    gone = {first + i for i in dropped}
    return tuple(i for i in range(first, count) if i not in gone)


def truncate(statement: Truncate, context: Context, catalog: Catalog) -> list[RangeDeletion]:
    """TRUNCATE a, b: everything that is visible now."""
    database = catalog.find(context.database)
    tables = statement.tree.expressions
    return [RangeDeletion(target_series(context, database, each, "truncate")) for each in tables]


def restarted(statement: Truncate, context: Context, catalog: Catalog) -> list[SqlSequence]:
    """The sequences of the tables' columns that TRUNCATE … RESTART IDENTITY starts again."""
    if statement.tree.args.get("identity") != "RESTART":
        return []
    database = catalog.find(context.database)
    columns = [column for deletion in truncate(statement, context, catalog) for column in deletion.series.columns]
    sequences = database.sequence_by_number
    return [sequences[column.sequence] for column in columns if column.sequence in sequences]
