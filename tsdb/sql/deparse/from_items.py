"""FROM: ranges and joins. Source: PostgreSQL 15, parse_clause.c (transformFromClauseItem)."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from tsdb.sql import trees
from tsdb.sql.deparse import calls, facts
from tsdb.sql.deparse.coercion import coerced, decided
from tsdb.sql.deparse.expressions import analysed, condition
from tsdb.sql.deparse.nodes import Item, Join, Node, Query, Range, Target, Unprintable, Var
from tsdb.sql.deparse.scope import Scope, renamed, var

QueryOf = Callable[[exp.Expr, Scope], Query]
_MERGED_FROM = {"": 0, "INNER": 0, "LEFT": 0, "RIGHT": 1}
# Set-returning functions of one column; those with more are not printed.
_SETS = ("generate_series", "unnest", "generate_subscripts", "regexp_split_to_table", "jsonb_array_elements",
         "jsonb_object_keys", "string_to_table", "jsonb_array_elements_text")  # fmt: skip


def add_from(node: exp.Expr, made: Query, scope: Scope, query_of: QueryOf) -> None:
    """A SELECT's FROM, with the joins that stand beside it in the tree."""
    start = node.args.get("from_")
    if start is not None:
        made.items.append(_item(start.this, made, scope, query_of))
    for join in node.args.get("joins") or ():
        if _is_comma(join):
            made.items.append(_item(join.this, made, scope, query_of))
        else:
            made.items[-1] = _joined(made.items[-1], join, made, scope, query_of)


def _is_comma(join: exp.Expr) -> bool:
    return not any(join.args.get(key) for key in ("kind", "side", "method", "on", "using"))


def _item(node: exp.Expr, made: Query, scope: Scope, query_of: QueryOf) -> Item:
    """One item with the joins that belong to it."""
    own_joins = node.args.get("joins") or ()
    if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table) and node.args.get("alias") is None:
        # Joins in parentheses.
        item = _item(node.this, made, scope, query_of)
    else:
        item = _range(node, made, scope, query_of)
    for join in own_joins:
        item = _joined(item, join, made, scope, query_of)
    return item


def _range(node: exp.Expr, made: Query, scope: Scope, query_of: QueryOf) -> Range:
    found = _unnamed(node, scope, query_of)
    alias = node.args.get("alias")
    if isinstance(alias, exp.TableAlias):
        found.alias = trees.name_of(alias.this) if alias.this is not None else None
        names = [trees.name_of(c) for c in alias.args.get("columns") or ()]
        if names and found.alias is None:
            raise Unprintable("columns of no alias")
        if found.kind == "function" and found.alias is not None and not names:
            found.columns = [(found.alias, *found.columns[0][1:])]
        found.columns = renamed(found.columns, names)
        found.shown = found.shown or bool(names)
    made.ranges.append(found)
    scope.ranges.append(found)
    return found


def _unnamed(node: exp.Expr, scope: Scope, query_of: QueryOf) -> Range:
    if any(node.args.get(key) for key in ("sample", "pivots", "only", "ordinality", "version", "when")):
        raise Unprintable("a table's clause")
    if isinstance(node, exp.Lateral):
        if isinstance(node.this, exp.Subquery):
            found = _subquery(query_of(node.this.this, scope.inner()))
        else:
            found = _unnamed(node.this, scope, query_of)
        found.lateral = True
        return found
    if isinstance(node, exp.Subquery):
        # A subquery of FROM sees what is around its query, not its neighbours.
        outside = Scope(scope.around, scope.outer, named=dict(scope.named))
        return _subquery(query_of(node.this, outside))
    if isinstance(node, exp.Values):
        return _values(node, scope)
    if isinstance(node, exp.Table):
        return _table(node, scope)
    raise Unprintable(type(node).__name__)


def _subquery(inner: Query) -> Range:
    return Range("subquery", None, [(t.name, t.of.type, t.of.typmod) for t in inner.targets], query=inner)


def _values(node: exp.Expr, scope: Scope) -> Range:
    rows = rows_of(node, scope)
    return _subquery(Query([Target(v, f"column{i + 1}") for i, v in enumerate(rows[0])], values=rows))


def rows_of(node: exp.Expr, scope: Scope) -> list[tuple[Node, ...]]:
    """The rows of VALUES, each column of one type."""
    rows = [[analysed(each, scope) for each in row.expressions] for row in node.expressions]
    kinds = [facts.common([row[i].type for row in rows]) for i in range(len(rows[0]))]
    return [tuple(coerced(v, k, scope.context) for v, k in zip(row, kinds, strict=True)) for row in rows]


def _table(node: exp.Expr, scope: Scope) -> Range:
    if isinstance(node.this, exp.Anonymous):
        return _function(node.this, scope)
    schema = trees.name_of(node.args["db"]) if node.args.get("db") is not None else ""
    name = trees.name_of(node.this)
    named = None if schema else scope.with_query(name)
    if named is not None:
        columns = [(t.name, t.of.type, t.of.typmod) for t in named.query.targets]
        return Range("cte", None, renamed(columns, list(named.columns)), text=name, own_name=name)
    return scope.around.relation(schema, name)


def _function(node: exp.Expr, scope: Scope) -> Range:
    name = str(node.this).lower()
    if name not in _SETS:
        raise Unprintable(f"{name} in FROM")
    arguments = [decided(analysed(a, scope), scope.context) for a in node.expressions]
    made = calls.called(name, list(arguments), scope)
    kind = made.type if made.type not in (facts.RECORD, facts.ANY) else 0
    if not kind or len(arguments) != len(node.expressions):
        raise Unprintable(f"{name} in FROM")
    return Range("function", None, [(name, kind, -1)], own_name=name, call=made, shown=True)


def _joined(left: Item, join: exp.Expr, made: Query, scope: Scope, query_of: QueryOf) -> Join:
    kind, side = str(join.args.get("kind") or "").upper(), str(join.args.get("side") or "").upper()
    if join.args.get("method") or kind not in ("", "INNER", "OUTER", "CROSS"):
        raise Unprintable("a join of another kind")
    right = _item(join.this, made, scope, query_of)
    word = "CROSS JOIN" if kind == "CROSS" else f"{side} JOIN".strip()
    using = tuple(trees.name_of(u) for u in join.args.get("using") or ())
    if using:
        for name in using:
            scope.merged[name] = _merged(name, side, left, right)
        return Join(left, right, word, using=using)
    on = join.args.get("on")
    return Join(left, right, word, condition(on, scope) if on is not None else None)


def _merged(name: str, side: str, left: Item, right: Item) -> Var:
    """The column that USING makes of two: the left one's, or the right one's where that may not be missing."""
    if side not in _MERGED_FROM:
        raise Unprintable("FULL JOIN USING")
    found = [_column(each, name) for each in (left, right)]
    if found[0] is None or found[1] is None or found[0].type != found[1].type:
        raise Unprintable("USING of different types")
    chosen = found[_MERGED_FROM[side]]
    assert chosen is not None
    return chosen


def _column(item: Item, name: str) -> Var | None:
    if isinstance(item, Range):
        return var(item, name)
    found = _column(item.left, name)
    return found if found is not None or name in item.using else _column(item.right, name)
