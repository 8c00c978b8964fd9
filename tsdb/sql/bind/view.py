"""Series and views in FROM. A view is bound as the subquery that its text is, so every rule sees through it.

The names in a view's text mean what they meant when it was made (``relations.Use``): a renamed table or column is found
by its number under its old name, columns that came later are not there, and the reader's search path has no say.
Literals are read in the time zone in which they were written. What the view reads, it reads with its owner's rights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from sqlglot import exp

from tsdb.errors import ObjectNotInPrerequisiteState, TsdbError, UndefinedTable
from tsdb.model.relations import Definition, SqlSequence, SqlView, Use
from tsdb.model.schema import Database, Series
from tsdb.sql import names
from tsdb.sql.bind import continuous, given, sequences
from tsdb.sql.bind.binder import Binder
from tsdb.sql.catalog import oids
from tsdb.sql.expressions.block import BoundQuery, Output
from tsdb.sql.expressions.relation import Part, Relation, RelationColumn, Source, series_columns
from tsdb.sql.statement import Fragment, Select, parse

Stored = Series | SqlView | SqlSequence


def output_columns(outputs: Sequence[Output]) -> list[RelationColumn]:
    """The columns of a subquery, from outside."""
    return [
        RelationColumn(o.name, o.type, o.typmod, o.digits, sql=f"c{i + 1}", shown=f"s{i + 1}" if o.shown else "")
        for i, o in enumerate(outputs)
    ]


def stored(binder: Binder, schema: str, name: str) -> tuple[str, Relation] | None:
    """The text of a series or a view in FROM and its relation; None if the database has none of that name."""
    use = None
    if binder.frame is None:
        found = names.find(binder.context, binder.database, schema, name)
    else:
        use = binder.frame.get((schema, name))
        if use is None:
            return None
        found = _identified(binder.database, use.relation)
        if found is None:
            raise UndefinedTable(f'relation "{names.shown(schema, name)}", which a view reads, does not exist')
    if found is None:
        return None
    if isinstance(found, SqlSequence):
        text, relation = sequences.relation_of(binder, found, name)
    elif isinstance(found, SqlView):
        text, relation = _view(binder, found, name)
    else:
        text, relation = _series(binder, found, name)
    if use is not None:
        relation.columns = _as_used(relation, found, use)
    else:
        binder.uses.append((schema, name, found, relation))
    relation.schema = schema or found.schema
    return text, relation


def _identified(database: Database, number: int) -> Stored | None:
    return database.by_identity.get(number) or database.sequence_by_number.get(number)


def _series(binder: Binder, series: Series, name: str) -> tuple[str, Relation]:
    if not series.populated:
        raise ObjectNotInPrerequisiteState(
            f'materialized view "{series.name}" has not been populated',
            hint="Use the REFRESH MATERIALIZED VIEW command.",
        )
    if series.continuous is not None and not series.continuous.stored_only:
        return _continuous(binder, series, name)
    role = binder.through[-1].owner if binder.through else None
    part = Part(series, "stored only") if series.continuous is not None else None
    source = binder.source(Source(len(binder.sources) + 1, series, role=role, part=part))
    relation = Relation(name, binder.alias(), series_columns(series), source)
    relation.oid = oids.of(series.identity)
    return f"{source.name} AS {relation.alias}", relation


def of_given(binder: Binder, series: Series) -> tuple[str, Relation]:
    """Points of a series that are in hand (``tsdb.sql.bind.given``)."""
    source = binder.source(Source(len(binder.sources) + 1, given.beside(series)))
    relation = Relation(series.name, binder.alias(), series_columns(series), source, oid=oids.of(series.identity))
    return f"{source.name} AS {relation.alias}", relation


def _view(binder: Binder, view: SqlView, name: str) -> tuple[str, Relation]:
    role = binder.through[-1].owner if binder.through else None
    binder.viewed.append((view, role))
    query = _bound(binder, view, tree_of(view.definition))
    columns = [
        replace(bound, name=column.name)
        for bound, column in zip(output_columns(query.outputs), view.columns, strict=False)
    ]
    relation = Relation(name, binder.alias(), columns, block=query.block)
    relation.oid = oids.of(view.number)
    return f"({query.sql}) AS {relation.alias}", relation


def _continuous(binder: Binder, series: Series, name: str) -> tuple[str, Relation]:
    """A continuous view: what is stored of it and what is computed from its source."""
    assert series.definition is not None
    sources, blocks = len(binder.sources), len(binder.blocks)
    query = _bound(binder, series, continuous.union_of(series, tree_of(series.definition)))
    continuous.mark_computed(binder, series, sources)
    columns = [
        replace(bound, name=column.name)
        for bound, column in zip(output_columns(query.outputs), series.columns, strict=True)
    ]
    relation = Relation(name, binder.alias(), columns, branches=tuple(binder.blocks[blocks:]))
    relation.oid = oids.of(series.identity)
    return f"({query.sql}) AS {relation.alias}", relation


def _bound(binder: Binder, view: SqlView | Series, tree: exp.Expr) -> BoundQuery:
    """The view's query, bound in surroundings of its own; positions in its text are nobody's."""
    before = binder.frame, binder.through, binder.context, binder.refused, binder.windows
    assert view.definition is not None
    binder.frame = frame_of(view.definition.uses)
    binder.through = (*binder.through, view)
    binder.context = replace(binder.context, written_in=view.definition.time_zone)
    binder.refused, binder.windows, binder.form = "", {}, "extended"
    try:
        return binder.bind_query(binder, tree, None)
    except TsdbError as error:
        error.position = None
        raise
    finally:
        binder.frame, binder.through, binder.context, binder.refused, binder.windows = before


def frame_of(uses: Sequence[Use]) -> Mapping[tuple[str, str], Use]:
    return {(use.schema, use.name): use for use in uses}


def tree_of(definition: Definition) -> exp.Expr:
    return _tree(definition.text)


@lru_cache(maxsize=256)
def _tree(text: str) -> exp.Expr:
    statement = parse(Fragment(text))
    assert isinstance(statement, Select), "a view is a query"
    return statement.tree


def _as_used(relation: Relation, found: Stored, use: Use) -> list[RelationColumn]:
    """The relation's columns as the view knows them."""
    then = dict(use.columns)
    if isinstance(found, SqlView):
        return [replace(column, name=then[i + 1]) for i, column in enumerate(relation.columns) if i + 1 in then]
    if isinstance(found, SqlSequence):
        return relation.columns
    if relation.branches:
        columns = zip(relation.columns, found.columns, strict=True)
        return [replace(column, name=then[of.number]) for column, of in columns if of.number in then]
    kept = []
    for column in relation.columns:
        number = column.series_column.number if column.series_column is not None else None
        if number is None:
            kept.append(column)
        elif number in then:
            kept.append(replace(column, name=then[number]))
    return kept


def uses_of(binder: Binder) -> tuple[Use, ...]:
    """What the names in a query that was bound mean, for the definition of a view."""
    found: dict[tuple[str, str], tuple[Stored, dict[int, str]]] = {}
    for schema, name, target, relation in binder.uses:
        columns = found.setdefault((schema, name), (target, {}))[1]
        if isinstance(target, SqlView):
            columns.update((i + 1, column.name) for i, column in enumerate(target.columns))
            continue
        if isinstance(target, SqlSequence):
            continue
        read = set(relation.source.columns) if relation.source is not None else set(target.by_number)
        by_number = target.by_number
        columns.update((n, by_number[n].name) for n in read if isinstance(n, int))
        if target.time is not None and "time" in read:
            columns[target.time.number] = target.time.name
    return tuple(
        Use(target.identity if isinstance(target, Series) else target.number, schema, name, tuple(columns.items()))
        for (schema, name), (target, columns) in found.items()
    )
