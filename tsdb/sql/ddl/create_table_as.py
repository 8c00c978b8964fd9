"""CREATE TABLE AS, SELECT INTO and materialized views: a table with a query's columns, and its rows.

The time column is found as in CREATE TABLE. There is no key and no tag: every row of the query is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlglot import exp

from tsdb.errors import InvalidParameterValue, InvalidTableDefinition
from tsdb.model.relations import Definition, path_of
from tsdb.model.schema import Catalog, CreateSeries, Series
from tsdb.sql import names, trees
from tsdb.sql.context import Context
from tsdb.sql.continuous.definition import continuous_of, shaped
from tsdb.sql.continuous.options import OPTION_NAMES, options_of
from tsdb.sql.ddl import create_table, create_view
from tsdb.sql.ddl.declared import Declared, DeclaredColumn
from tsdb.sql.ddl.plan import SchemaPlan, Source
from tsdb.sql.dml.modification import Effect, Outcome, Reading, Write
from tsdb.sql.dml.to_points import points_of
from tsdb.sql.query import Queries
from tsdb.sql.statement import Fragment, Select, parse


@dataclass(frozen=True)
class Creation:
    """``change`` makes the table, ``start`` gives its rows."""

    change: CreateSeries
    source: Select
    empty: bool

    @property
    def path(self) -> str:
        return path_of(self.change.schema, self.change.name)

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
    into = statement.shape.args.get("into")
    return trees.name_of(into.this) if into is not None else None


def plan_of(statement: Select, context: Context, catalog: Catalog) -> SchemaPlan:
    """SELECT … INTO as the CREATE TABLE AS that it is."""
    into = statement.tree.args["into"]
    database = catalog.find(context.database)
    schema = trees.name_of(into.this.args["db"]) if into.this.args.get("db") is not None else ""
    if into.args.get("temporary"):
        schema = names.temporary_schema(context)
    schema = names.creation_schema(context, database, schema)
    return SchemaPlan("SELECT", source=Source("table", statement.fragment, schema, trees.name_of(into.this)))


def prepare(queries: Queries, source: Source, context: Context, catalog: Catalog) -> Creation:
    """Raises what the query raises, and the errors of CREATE TABLE."""
    select = _without_into(source.text)
    prepared = queries.prepare(select, context, catalog)
    columns = create_view.named(prepared.columns, source.columns)
    for column in columns:
        if (column.type.element or column.type).fields is not None:
            raise InvalidTableDefinition(f'column "{column.name}" has pseudo-type {column.type.typname}')
    declared = Declared([DeclaredColumn(c.name, c.type, c.typmod) for c in columns])
    definition = None
    if source.kind == "materialized view":
        definition = create_view.definition_of(prepared, source.text, context)
    options = dict(source.options)
    said = options_of(options)
    places: list[int] = []
    if said.continuous:
        assert definition is not None, "only a materialized view takes the option"
        continuous, places = continuous_of(select, context, catalog, said)
        definition = replace(definition, continuous=continuous)
    elif options.keys() & OPTION_NAMES - {"continuous"}:
        raise InvalidParameterValue("refresh_lag, refresh_interval and materialized_only belong to a continuous view")
    change = create_table.series_of(
        context.database, source.name, declared, options, if_not_exists=False, schema=source.schema,
        definition=definition,
    )  # fmt: skip
    return Creation(shaped(change, places[0], places[1:]) if places else change, select, source.empty)


def _without_into(text: Fragment) -> Select:
    source = parse(text)
    if isinstance(source, Select) and source.tree.args.get("into") is not None:
        tree: exp.Expr = source.tree.copy()
        tree.set("into", None)
        return trees.derived(source.fragment, "into", tree)
    return create_view.query_of(text)


def refreshed(series: Series, context: Context) -> tuple[CreateSeries, Select, Context]:
    """(a series like the materialized view's for new content, its query, the surroundings to run it in).

    The surroundings make the query's names mean what they meant when the view was made, and let it read what the view's
    owner may read.
    """
    definition = series.definition
    assert isinstance(definition, Definition)
    declared = Declared([DeclaredColumn(c.name, c.type, c.typmod) for c in series.columns])
    made = create_table.series_of(context.database, series.name, declared, {}, if_not_exists=False)
    made = replace(made, retention_ns=series.retention_ns)
    inside = replace(context, role=series.owner, written_in=definition.time_zone, uses=definition.uses)
    return made, create_view.query_of(Fragment(definition.text)), inside
