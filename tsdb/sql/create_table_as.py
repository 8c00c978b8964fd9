"""CREATE TABLE AS and SELECT INTO: a table with a query's columns, and its rows.

The time column is found as in CREATE TABLE. There is no key and no tag: every row of the query is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, SqlSyntaxError
from tsdb.model.schema import Catalog, CreateSeries, Series
from tsdb.sql import create_table, trees
from tsdb.sql.context import Context
from tsdb.sql.create_table import Declared, DeclaredColumn
from tsdb.sql.ddl import SchemaPlan
from tsdb.sql.modification import Effect, Outcome, Reading, Write
from tsdb.sql.query import Queries
from tsdb.sql.statement import Select, parse
from tsdb.sql.to_points import points_of
from tsdb.types import TEXT, UNKNOWN


@dataclass(frozen=True)
class Creation:
    change: CreateSeries
    source: Select
    empty: bool

    def start(self, series: Series, reading: Reading) -> Outcome:
        def effects(outcome: Outcome) -> Iterator[Effect]:
            if self.empty:
                return
            now_ns = reading.context.now_us * 1000
            for batch in outcome.query(reading, self.source, ()):
                values = {c.name: batch.column(i) for i, c in enumerate(series.columns)}
                points = points_of(series, values, batch.num_rows, now_ns=now_ns)
                outcome.count += len(points)
                if len(points):
                    yield Write(points)

        return Outcome("SELECT", effects)


def target_of(statement: Select) -> str | None:
    """The table that SELECT … INTO names."""
    into = statement.tree.args.get("into")
    return trees.name_of(into.this) if into is not None else None


def plan_of(statement: Select) -> SchemaPlan:
    """SELECT … INTO as the CREATE TABLE AS that it is."""
    into = statement.tree.args["into"]
    if into.args.get("temporary"):
        raise FeatureNotSupported("temporary tables are not supported", hint="Create a table and drop it at the end.")
    return SchemaPlan("SELECT", source=statement.fragment, source_table=trees.name_of(into.this))


def prepare(queries: Queries, plan: SchemaPlan, context: Context, catalog: Catalog) -> Creation:
    """Raises what the query raises, and the errors of CREATE TABLE."""
    assert plan.source is not None
    source = parse(plan.source)
    if not isinstance(source, Select):
        raise SqlSyntaxError("CREATE TABLE AS needs a query")
    if source.tree.args.get("into") is not None:
        tree: exp.Expr = source.tree.copy()
        tree.set("into", None)
        source = trees.derived(source.fragment, "into", tree)
    columns = queries.prepare(source, context, catalog).columns
    if len(plan.source_columns) > len(columns):
        raise SqlSyntaxError("too many column names were specified")
    names = [*plan.source_columns, *(column.name for column in columns[len(plan.source_columns) :])]
    declared = Declared(
        [
            DeclaredColumn(name, TEXT if column.type == UNKNOWN else column.type, column.typmod)
            for name, column in zip(names, columns, strict=True)
        ]
    )
    change = create_table.series_of(
        context.database, plan.source_table, declared, dict(plan.source_options), if_not_exists=False
    )
    return Creation(change, source, plan.source_empty)
