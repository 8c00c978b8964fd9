"""FROM: series, system relations, CTEs, subqueries, functions and joins, and what names mean in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from tsdb.errors import (
    DuplicateAlias,
    FeatureNotSupported,
    InvalidColumnReference,
    SqlSyntaxError,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedTable,
)
from tsdb.sql import limits
from tsdb.sql.bind import asof, downsampling, given, system_view
from tsdb.sql.bind import continuous as bind_continuous
from tsdb.sql.bind import view as bind_view
from tsdb.sql.bind.binder import Binder, fold
from tsdb.sql.bind.calls import SETS, function_name
from tsdb.sql.bind.operators import compare
from tsdb.sql.bind.view import output_columns
from tsdb.sql.catalog import relations
from tsdb.sql.expressions.block import Block, BoundQuery, Condition
from tsdb.sql.expressions.coercion import as_bool, unify
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.relation import Merged, Relation, RelationColumn, Scope, Source
from tsdb.sql.expressions.rows import fields_of
from tsdb.sql.literal import duckdb_type
from tsdb.types import INT8

_OTHER_CLAUSES = {"when": "AT", "version": "FOR SYSTEM_TIME", "hints": "WITH"}


def bind_from(binder: Binder, node: exp.Expr, scope: Scope, block: Block) -> str:
    """The text after FROM; relations go to ``scope``, join conditions to ``block``."""
    from_ = node.args.get("from_")
    if from_ is None:
        return ""
    start = _Start(scope)
    text = _item(binder, from_.this, scope, block)
    for join in node.args.get("joins") or ():
        if _is_comma(join):
            start = _Start(scope)
        text = _join(binder, text, join, scope, block, start)
    for lateral in node.args.get("laterals") or ():
        text += ", " + _item(binder, lateral, scope, block)
    return text


def _item(binder: Binder, node: exp.Expr, scope: Scope, block: Block) -> str:
    joins: Sequence[exp.Expr] = ()
    if _is_join(node) and node.alias:
        # Its name hides those of what it joins, as a subquery's does.
        bare = node.copy()
        bare.set("alias", None)
        return _subquery(binder, exp.Select(expressions=[exp.Star()]).from_(bare), node, scope, lateral=False)
    if _is_join(node):
        inner = Scope(scope.parent, tables=scope.tables)
        text = _item(binder, node.this, inner, block)
        for join in node.args.get("joins") or ():
            text = _join(binder, text, join, inner, block, _Start())
        for relation in inner.relations:
            _add(scope, relation, None)
        del scope.stars[len(scope.stars) - len(inner.relations) :]
        scope.stars += inner.stars
        scope.merged_away.update(inner.merged_away)
        return f"({text})"
    if isinstance(node, exp.Table | exp.Subquery):
        joins = node.args.get("joins") or ()
    start = _Start(scope)
    text = _relation(binder, node, scope)
    for join in joins:
        text = _join(binder, text, join, scope, block, start)
    return text


class _Start:
    """Where an item of FROM begins in its scope: what a comma parts is not joined by what follows."""

    def __init__(self, scope: Scope | None = None) -> None:
        self.relations = 0 if scope is None else len(scope.relations)
        self.stars = 0 if scope is None else len(scope.stars)


def _is_comma(join: exp.Expr) -> bool:
    return not any(join.args.get(part) for part in ("kind", "side", "method", "using", "on"))


def _is_join(node: exp.Expr) -> bool:
    """A join in parentheses, or a table in them."""
    inner = node.this if isinstance(node, exp.Subquery) else None
    if isinstance(inner, exp.Subquery):
        return bool(inner.args.get("joins")) or (not inner.alias and _is_join(inner))
    return isinstance(inner, exp.Table)


def _relation(binder: Binder, node: exp.Expr, scope: Scope) -> str:
    if isinstance(node, exp.Table):
        if node.args.get("sample") is not None:
            raise FeatureNotSupported("TABLESAMPLE is not supported")
        for clause in ("when", "version", "hints", "changes", "partition", "pattern", "format", "pivots", "rows_from"):
            if node.args.get(clause):
                raise FeatureNotSupported(
                    f"{_OTHER_CLAUSES.get(clause, clause.upper())} after a table is not supported"
                )
        if isinstance(node.this, exp.Values):
            return _subquery(binder, node.this, node, scope, lateral=False)
        if isinstance(node.this, exp.Func):
            return _function(binder, node.this, node, scope)
        return _named(binder, node, scope)
    if isinstance(node, exp.Lateral):
        if isinstance(node.this, exp.Subquery):
            return _subquery(binder, node.this, node, scope, lateral=True)
        return _function(binder, node.this, node, scope)
    if isinstance(node, exp.Unnest):
        return _function(binder, node, node, scope)
    if isinstance(node, exp.Subquery | exp.Values):
        return _subquery(binder, node, node, scope, lateral=False)
    raise FeatureNotSupported(f"{node.key.upper()} in FROM is not supported")


def _add(scope: Scope, relation: Relation, position: int | None) -> None:
    if any(r.name == relation.name and r.schema == relation.schema for r in scope.relations):
        raise DuplicateAlias(f'table name "{relation.name}" specified more than once', position=position)
    limits.check_joined(len(scope.relations) + 1)
    scope.relations.append(relation)
    scope.stars.append(relation)


def _aliased(relation: Relation, alias: exp.Expr | None) -> None:
    """The alias' name and column names."""
    if alias is None:
        return
    if alias.this is not None:
        if not isinstance(alias.this, exp.Identifier):
            raise SqlSyntaxError(f'syntax error at or near "{alias.this.sql()[: limits.MAX_SHOWN]}"')
        relation.name, relation.schema = fold(alias.this), ""
    names = [fold(c.this if isinstance(c, exp.ColumnDef) else c) for c in alias.args.get("columns") or ()]
    visible = [i for i, c in enumerate(relation.columns) if not c.hidden]
    if len(names) > len(visible):
        raise InvalidColumnReference(
            f'table "{relation.name}" has {len(visible)} columns available but {len(names)} columns specified'
        )
    for index, name in zip(visible, names, strict=False):
        relation.columns[index] = replace(relation.columns[index], name=name)


def _named(binder: Binder, node: exp.Table, scope: Scope) -> str:
    name, position = fold(node.this), binder.position(node.this)
    schema = fold(node.args.get("db"))
    catalog = fold(node.args.get("catalog"))
    if catalog and catalog != binder.database.name:
        raise FeatureNotSupported(
            f'cross-database references are not implemented: "{catalog}.{schema}.{name}"', position=position
        )
    common = scope.table(name) if not schema else None
    if (series := node.args.get(given.GIVEN)) is not None:
        text, relation = bind_view.of_given(binder, series)
    elif (series := node.args.get(bind_continuous.STORED)) is not None:
        text, relation = bind_continuous.stored_rows(binder, series)
    elif common is not None:
        common.references += 1
        columns = output_columns(common.outputs)
        relation = Relation(name, binder.alias(), columns, block=common.block, table=common)
        text = f"{common.alias} AS {relation.alias}"
    else:
        qualifier = node.args.get("db")
        text, relation = _stored(binder, name, schema, binder.position(qualifier) if qualifier else position)
    _aliased(relation, node.args.get("alias"))
    if (series := node.args.get(given.GIVEN)) is not None and relation.name == series.name:
        relation.schema = series.schema  # What RETURNING calls by its own name.
    binder.relations.append(relation)
    _add(scope, relation, position)
    return text


def _stored(binder: Binder, name: str, schema: str, position: int | None) -> tuple[str, Relation]:
    """A series, a view or a system relation, and its text; those of the database come first, as in search_path."""
    relation = bind_view.stored(binder, schema, name)
    if relation is not None:
        return relation
    found = relations.find(schema, name)
    if found is not None and system_view.is_one(found):
        return system_view.bound(binder, name, found)
    if found is not None:
        made = _system(binder, name, found)
        assert made.source is not None
        return f"{made.source.name} AS {made.alias}", made
    qualified = f"{schema}.{name}" if schema else name
    raise UndefinedTable(f'relation "{qualified}" does not exist', position=position)


def _system(binder: Binder, name: str, found: relations.SystemRelation) -> Relation:
    source = binder.source(Source(len(binder.sources) + 1, table=found.table, relation=found.oid))
    return Relation(name, binder.alias(), relations.columns(found), source, schema=found.schema, oid=found.oid)


def _shown(binder: Binder, relation: Relation, outer: exp.Expr, scope: Scope) -> str:
    """A function that a relation is made of."""
    assert relation.source is not None
    text = f"{relation.source.name} AS {relation.alias}"
    relation.schema = ""
    _aliased(relation, outer.args.get("alias"))
    binder.relations.append(relation)
    _add(scope, relation, None)
    return text


def _subquery(binder: Binder, node: exp.Expr, outer: exp.Expr, scope: Scope, *, lateral: bool) -> str:
    # A plain subquery in FROM sees the queries around its own, a LATERAL one also the relations before it.
    around = scope if lateral else Scope(scope.parent, tables=scope.tables)
    binder.form = "extended"
    query: BoundQuery = binder.bind_query(binder, node.this if isinstance(node, exp.Subquery) else node, around)
    relation = Relation("", binder.alias(), output_columns(query.outputs), block=query.block)
    binder.relations.append(relation)
    alias = outer.args.get("alias")
    relation.name = f"?{relation.alias}"
    _aliased(relation, alias)
    _add(scope, relation, None)
    return f"{'LATERAL ' if lateral else ''}({query.sql}) AS {relation.alias}"


def _function(binder: Binder, node: exp.Expr, outer: exp.Expr, scope: Scope) -> str:
    """generate_series and unnest; any scalar function is a relation of one row."""
    if isinstance(node, exp.Dot):
        node = node.expression
    thinned = downsampling.call_of(node)
    if thinned is not None:
        text, relation = downsampling.relation_of(binder, thinned, scope)
        _aliased(relation, outer.args.get("alias"))
        binder.relations.append(relation)
        _add(scope, relation, None)
        return text
    name = function_name(node) if isinstance(node, exp.Anonymous) else node.key
    # sqlglot says offset=False for an UNNEST without WITH ORDINALITY.
    ordinality = bool(outer.args.get("ordinality")) or outer.args.get("offset") not in (None, False)
    named = relations.of_function(name) if not node.expressions and not ordinality else None
    if named is not None:
        return _shown(binder, _system(binder, name, named), outer, scope)
    args: list[Expr] = []
    if name in SETS:
        args = [binder.bind(a, scope) for a in node.expressions]
        columns = SETS[name](binder, args)
    else:
        made = binder.bind(node, scope)
        if made.aggregate:
            raise UndefinedFunction(f"aggregate functions are not allowed in functions in FROM: {name}")
        columns = list(fields_of(made) or [made])
    alias = outer.args.get("alias")
    relation = Relation(name, binder.alias(), [])
    binder.relations.append(relation)
    # A function's only column takes the alias' name.
    single = fold(alias.this) if alias is not None and alias.this is not None else name
    relation.columns = [
        RelationColumn(
            _column_name(c, single, alone=len(columns) == 1),
            c.type,
            digits=c.digits,
            sql=f"c{i + 1}",
        )
        for i, c in enumerate(columns)
    ]
    select = ", ".join(f"{c.sql} AS c{i + 1}" for i, c in enumerate(columns))
    text = f"(SELECT {select}) AS {relation.alias}"
    counted = _counted(args) if name == "generate_series" else ""
    if counted and not ordinality:
        text = f"(SELECT CAST(c1 AS {duckdb_type(columns[0].type)}) AS c1 FROM {counted} AS s(c1)) AS {relation.alias}"
        _aliased(relation, alias)
        _add(scope, relation, None)
        return text
    if ordinality:
        at = len(columns) + 1
        relation.columns.append(RelationColumn("ordinality", INT8, sql=f"c{at}"))
        text = f"(SELECT *, row_number() OVER () AS c{at} FROM (SELECT {select}) AS s) AS {relation.alias}"
        if isinstance(node, exp.Unnest) and isinstance(outer.args.get("offset"), exp.Identifier) and alias is not None:
            alias = alias.copy()
            alias.append("columns", outer.args["offset"].copy())
    _aliased(relation, alias)
    _add(scope, relation, None)
    return f"LATERAL {text}" if any(c.args for c in columns) and scope.relations[:-1] else text


def _column_name(column: Expr, single: str, *, alone: bool) -> str:
    """A function's only column takes the alias' name unless it has one of its own (json_array_elements' value)."""
    if not alone:
        return column.name
    return "value" if column.name == "value" else single


def _counted(args: Sequence[Expr]) -> str:
    """generate_series of constant integers as DuckDB's table function, which streams; a list would be made whole."""
    values = [a.value for a in args]
    if not all(a.op == "literal" and isinstance(a.value, int) for a in args) or (len(args) == 3 and values[2] == 0):
        return ""
    return f"generate_series({', '.join(f'CAST({v} AS BIGINT)' for v in values)})"


def _join(binder: Binder, left_text: str, join: exp.Expr, scope: Scope, block: Block, start: _Start) -> str:
    if str(join.args.get("kind") or "").upper() in ("SEMI", "ANTI", "ASOF"):
        raise FeatureNotSupported("this kind of join is not supported")
    before, at = scope.relations[start.relations :], len(scope.relations)
    between = len(scope.stars)
    right_text = _item(binder, join.this, scope, block)
    added = scope.relations[at:]
    side = str(join.args.get("side") or "").upper()
    kind = str(join.args.get("kind") or "").upper()
    using = [fold(i) for i in join.args.get("using") or ()]
    if str(join.args.get("method") or "").upper() == "NATURAL":
        theirs = _shown_names(scope.stars[between:], scope)
        using = [n for n in _shown_names(scope.stars[start.stars : between], scope) if n in theirs]
    condition: Expr | None = None
    if using:
        left = Scope(None, before, scope.stars[start.stars : between], scope.merged_away)
        right = Scope(None, added, scope.stars[between:], scope.merged_away)
        condition = _using(binder, using, left, right, scope, side)
    if str(join.args.get("method") or "").upper() == "ASOF":
        return asof.join_text(binder, left_text, right_text, join, condition, scope, block, before, added)
    if condition is None and join.args.get("on") is not None:
        condition = as_bool(
            binder.without_aggregates(join.args["on"], scope, "JOIN conditions"), "JOIN/ON", binder.context
        )
    if side in ("RIGHT", "FULL"):
        for relation in before:
            relation.nullable = True
    if side in ("LEFT", "FULL"):
        for relation in added:
            relation.nullable = True
    if condition is None:
        comma = kind != "CROSS" and not side and kind != "INNER"
        return f"{left_text}{', ' if comma else ' CROSS JOIN '}{right_text}"
    _remember(condition, side, before, added, block)
    return f"{left_text} {side or 'INNER'} JOIN {right_text} ON {condition.sql}"


def _remember(condition: Expr, side: str, before: list[Relation], added: list[Relation], block: Block) -> None:
    """ON prunes both sides of an inner join, and only the side that may be missing of an outer one."""
    conjuncts = condition.args if condition.op == "and" else (condition,)
    for conjunct in conjuncts:
        if not side:
            block.conditions.append(Condition(conjunct))
        elif side in ("LEFT", "RIGHT"):
            targets = added if side == "LEFT" else before
            if len(targets) == 1:
                block.conditions.append(Condition(conjunct, targets[0]))


def _shown_names(stars: Sequence[Relation | Merged], scope: Scope) -> list[str]:
    """What ``*`` shows of them, by name."""
    names: list[str] = []
    for star in stars:
        if isinstance(star, Merged):
            names.append(star.name)
        else:
            away = scope.merged_away
            names += [c.name for i, c in enumerate(star.columns) if not c.hidden and (id(star), i) not in away]
    return names


def _using(binder: Binder, names: list[str], left: Scope, right: Scope, scope: Scope, side: str) -> Expr:
    """The condition of USING; each name then means the merged column, which comes first in ``*``."""
    pairs, merged = [], []
    for name in names:
        for sided, which in ((left, "left"), (right, "right")):
            if name not in _shown_names(sided.stars, sided):
                raise UndefinedColumn(f'column "{name}" specified in USING clause does not exist in {which} table')
        ours, theirs = left.column(name, None), right.column(name, None)
        pairs.append(compare(binder, "=", ours, theirs))
        value = ours if side != "RIGHT" else theirs
        if side == "FULL":
            target, both = unify([ours, theirs], "JOIN/USING", binder.context)
            value = combine(f"coalesce({both[0].sql}, {both[1].sql})", target, "coalesce", (ours, theirs), name=name)
        merged.append(Merged(name, value))
    for relation in (*left.relations, *right.relations):
        for index, column in enumerate(relation.columns):
            if column.name in names and not column.hidden:
                scope.merged_away.add((id(relation), index))
    sides = (*left.stars, *right.stars)
    rest = [star for star in sides if not (isinstance(star, Merged) and star.name in names)]
    scope.stars[len(scope.stars) - len(sides) :] = [*merged, *rest]
    if len(pairs) == 1:
        return pairs[0]
    return combine(f"({' AND '.join(p.sql for p in pairs)})", pairs[0].type, "and", tuple(pairs))
