"""A continuous view in FROM: its stored rows, UNION ALL its query over the source (see ``tsdb.sql.continuous``)."""

from __future__ import annotations

from sqlglot import exp

from tsdb.model.schema import Series
from tsdb.sql.bind.binder import Binder
from tsdb.sql.expressions.relation import Part, Relation, Source, series_columns

# The argument of a table in a tree that says whose stored rows are meant; no parser sets it.
STORED = "stored_rows"


def union_of(series: Series, query: exp.Expr) -> exp.Expr:
    """The tree of what a continuous view has, of which each part reads the spans that are its own."""
    table = exp.Table(this=exp.to_identifier(series.name, quoted=True))
    table.set(STORED, series)
    columns = [exp.Column(this=exp.to_identifier(column.name, quoted=True)) for column in series.columns]
    stored = exp.Select(expressions=columns)
    stored.set("from_", exp.From(this=table))
    return exp.Union(this=stored, expression=query.copy(), distinct=False)


def stored_rows(binder: Binder, series: Series) -> tuple[str, Relation]:
    """The stored rows of a view that is being bound: whoever names the view must be allowed to read them."""
    role = binder.through[-2].owner if len(binder.through) > 1 else None
    source = binder.source(Source(len(binder.sources) + 1, series, role=role, part=Part(series, "stored")))
    relation = Relation(series.name, binder.alias(), series_columns(series), source)
    return f"{source.name} AS {relation.alias}", relation


def mark_computed(binder: Binder, series: Series, first: int) -> None:
    """The sources from the ``first`` on that are not stored rows are what the view is computed from."""
    for source in binder.sources[first:]:
        if source.part is None:
            source.part = Part(series, "computed")
