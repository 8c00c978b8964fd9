"""CREATE [OR REPLACE] VIEW, CREATE MATERIALIZED VIEW, REFRESH and ALTER of both.

A view is a query under a name; ``prepare`` binds the query and makes the change. A materialized view stores the query's
result as a series when it has a time column, else as a reference table (``materialize``).

Source of the grammar: PostgreSQL 15 manual, CREATE VIEW, CREATE MATERIALIZED VIEW, REFRESH MATERIALIZED VIEW.
"""

from __future__ import annotations

from tsdb.errors import DuplicateTable, FeatureNotSupported, SqlSyntaxError, UndefinedParameter
from tsdb.model.relations import Definition, SqlView, ViewColumn, path_of
from tsdb.model.schema import (
    Catalog,
    CreateView,
    MoveRelation,
    RenameColumn,
    RenameSeries,
    RenameView,
    RenameViewColumn,
    SchemaChange,
    Series,
    SetContinuous,
    SetRetention,
)
from tsdb.sql.context import Context
from tsdb.sql.continuous.options import OPTION_NAMES, options_of
from tsdb.sql.ddl import create_table
from tsdb.sql.ddl.plan import DdlReader, Refresh, SchemaPlan, Source
from tsdb.sql.notice import Notice, skipped
from tsdb.sql.query import Prepared, Queries
from tsdb.sql.result import ResultColumn
from tsdb.sql.statement import Fragment, Select, parse
from tsdb.types import TEXT, UNKNOWN


def create(reader: DdlReader, *, replace: bool, temporary: bool) -> SchemaPlan:
    schema, name = reader.new_relation(temporary=temporary)
    columns = tuple(reader.names()) if reader.at_sign("(") else ()
    if reader.accept("with"):
        reader.parenthesized()  # security_barrier, check_option …: nothing is written through a view
    reader.expect("as")
    text = reader.rest()
    words = [t.value if t.kind == "word" else "" for t in text.tokens[-4:]]
    if words[-2:] == ["check", "option"]:
        raise FeatureNotSupported("WITH CHECK OPTION is not supported", hint="Views are not updatable.")
    return SchemaPlan("CREATE VIEW", source=Source("view", text, schema, name, columns, replace=replace))


def create_materialized(reader: DdlReader) -> SchemaPlan:
    if_not_exists = reader.accept("if", "not", "exists")
    schema, name = reader.new_relation()
    if if_not_exists and reader.database.relation(path_of(schema, name)) is not None:
        found = skipped(DuplicateTable(f'relation "{name}" already exists'))
        return SchemaPlan("CREATE MATERIALIZED VIEW", notices=(found,))
    columns = tuple(reader.names()) if reader.at_sign("(") else ()
    options: dict[str, str] = {}
    notices: list[Notice] = []
    if reader.accept("using"):
        reader.name()
    if reader.accept("with"):
        options = create_table.read_options(reader, notices, OPTION_NAMES)
    if reader.accept("tablespace"):
        reader.name()
    reader.expect("as")
    text, empty = create_table.query_with_data(reader)
    source = Source("materialized view", text, schema, name, columns, empty, tuple(options.items()))
    return SchemaPlan("SELECT", notices=tuple(notices), source=source)


def refresh(reader: DdlReader) -> SchemaPlan:
    reader.expect("materialized", "view")
    concurrently = reader.accept("concurrently")
    found = reader.stored("materialized view")
    empty = False
    if reader.accept("with"):
        empty = reader.accept("no")
        reader.expect("data")
    reader.finish()
    if empty and concurrently:
        raise SqlSyntaxError("REFRESH options CONCURRENTLY and WITH NO DATA cannot be used together")
    return SchemaPlan("REFRESH MATERIALIZED VIEW", refresh=Refresh(found.path, empty))


def alter(reader: DdlReader, kind: str) -> SchemaPlan:
    """``kind`` is "view" or "materialized view"."""
    tag = f"ALTER {kind.upper()}"
    if_exists = reader.accept("if", "exists")
    found = reader.stored_or_notice(kind, if_exists=if_exists)
    if isinstance(found, Notice):
        return SchemaPlan(tag, notices=(found,))
    assert isinstance(found, SqlView | Series)
    change = _alteration(reader, found)
    reader.finish()
    return SchemaPlan(tag, (change,))


def _alteration(reader: DdlReader, found: SqlView | Series) -> SchemaChange:
    database = reader.database.name
    plain = isinstance(found, SqlView)
    if reader.accept("rename", "to"):
        to = reader.name()
        return RenameView(database, found.path, to) if plain else RenameSeries(database, found.path, to)
    if reader.accept("set", "schema"):
        return MoveRelation(database, found.path, reader.name())
    if reader.accept("rename"):
        reader.accept("column")
        column = reader.name()
        reader.expect("to")
        to = reader.name()
        if plain:
            return RenameViewColumn(database, found.path, column, to)
        return RenameColumn(database, found.path, column, to)
    if isinstance(found, Series) and reader.accept("set"):
        return _set(reader, found, create_table.read_options(reader, also=OPTION_NAMES))
    if isinstance(found, Series) and reader.accept("reset"):
        create_table.read_options(reader)
        return _retention(reader, found, None)
    token = reader.peek()
    raise FeatureNotSupported(f"ALTER VIEW {token.value.upper() if token is not None else ''} is not supported")


def _set(reader: DdlReader, found: Series, options: dict[str, str]) -> SchemaChange:
    """Retention, or how a continuous view is kept."""
    if "retention" in options:
        if len(options) > 1:
            raise FeatureNotSupported("retention is set alone", hint="Write two ALTER MATERIALIZED VIEW.")
        return _retention(reader, found, create_table.retention_ns(options["retention"]))
    said = options_of(options)
    if "continuous" in options:
        raise FeatureNotSupported("a view is made continuous, or not, when it is created")
    return SetContinuous(reader.database.name, found.path, said.lag_ns, said.every_ns, said.stored_only)


def _retention(reader: DdlReader, found: Series, retention_ns: int | None) -> SetRetention:
    if found.reference and retention_ns is not None:
        raise FeatureNotSupported(f'materialized view "{found.name}" has no time column, so it can have no retention')
    floor = create_table.floor_ns(retention_ns, reader.context.now_us)
    return SetRetention(reader.database.name, found.path, retention_ns, floor)


# --- with its query ---


def query_of(text: Fragment) -> Select:
    source = parse(text)
    if not isinstance(source, Select):
        raise SqlSyntaxError("a view needs a query")
    if source.tree.args.get("into") is not None:
        raise SqlSyntaxError("views must not contain SELECT INTO")
    return source


def definition_of(prepared: Prepared, text: Fragment, context: Context) -> Definition:
    """What is kept of a query that was bound. Raises UndefinedParameter: a view has none."""
    if prepared.parameters:
        raise UndefinedParameter("there is no parameter $1")
    return Definition(text.text.strip().rstrip(";").rstrip(), prepared.uses, context.time_zone)


def named(columns: tuple[ResultColumn, ...], names: tuple[str, ...]) -> list[ViewColumn]:
    """The result's columns under the names given."""
    if len(names) > len(columns):
        raise SqlSyntaxError("CREATE VIEW specifies more column names than columns")
    return [
        ViewColumn(names[i] if i < len(names) else c.name, TEXT if c.type == UNKNOWN else c.type, c.typmod)
        for i, c in enumerate(columns)
    ]


def prepare(queries: Queries, source: Source, context: Context, catalog: Catalog) -> CreateView:
    """The change that makes a plain view. Raises what its query raises."""
    prepared = queries.prepare(query_of(source.text), context, catalog)
    columns = tuple(named(prepared.columns, source.columns))
    definition = definition_of(prepared, source.text, context)
    return CreateView(context.database, source.schema, source.name, definition, columns, source.replace)
