"""Queries: SELECT, VALUES, set operations and WITH as nodes. Source: PostgreSQL 15, analyze.c, parse_clause.c."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlglot import exp

from tsdb.sql import trees
from tsdb.sql.deparse import calls, facts
from tsdb.sql.deparse.coercion import coerced, decided
from tsdb.sql.deparse.expressions import analysed, analyses, compares_queries, condition, operation
from tsdb.sql.deparse.from_items import add_from, rows_of
from tsdb.sql.deparse.nodes import (
    Const,
    Named,
    Node,
    Query,
    Range,
    SetOperation,
    Sort,
    SubLink,
    Target,
    Unprintable,
)  # fmt: skip
from tsdb.sql.deparse.output_names import output_name
from tsdb.sql.deparse.scope import Scope, called, columns_of

_SET_WORDS: Mapping[type[exp.Expr], str] = {exp.Union: "UNION", exp.Intersect: "INTERSECT", exp.Except: "EXCEPT"}
_UNKNOWN_PARTS = ("laterals", "locks", "sample", "qualify", "hint", "into", "kind", "connect", "cluster")


def query_of(node: exp.Expr, scope: Scope, *, top: bool = True) -> Query:
    """``scope`` is a new one for the query. ``top``: literals without a type are texts by the end of it."""
    if isinstance(node, exp.Subquery) and not _has_own(node):
        return query_of(node.this, scope, top=top)
    if any(node.args.get(part) for part in _UNKNOWN_PARTS):
        raise Unprintable("a clause")
    made = Query()
    if node.args.get("with_") is not None:
        _with(node.args["with_"], made, scope)
    if isinstance(node, exp.Select):
        _select(node, made, scope, top)
    elif isinstance(node, exp.Values):
        _values(node, made, scope)
    elif type(node) in _SET_WORDS:
        _set_operation(node, made, scope)
    else:
        raise Unprintable(type(node).__name__)
    _limits(node, made, scope)
    return made


def _has_own(node: exp.Expr) -> bool:
    return any(node.args.get(key) for key in ("order", "limit", "offset", "with_", "alias", "joins"))


def _with(node: exp.Expr, made: Query, scope: Scope) -> None:
    made.recursive = bool(node.args.get("recursive"))
    for each in node.expressions:
        alias = each.args["alias"]
        name = trees.name_of(alias.this)
        if made.recursive and each.find(exp.SetOperation) is not None:
            raise Unprintable("WITH RECURSIVE")
        inner = query_of(each.this, scope.inner())
        columns = tuple(trees.name_of(c) for c in alias.args.get("columns") or ())
        found = Named(name, inner, columns, each.args.get("materialized"))
        made.named.append(found)
        scope.named[name] = found


# --- SELECT ---


def _select(node: exp.Expr, made: Query, scope: Scope, top: bool) -> None:
    add_from(node, made, scope, query_of)
    for item in node.expressions:
        made.targets += _targets(item, scope)
    if top:
        for target in made.targets:
            target.of = decided(target.of, scope.context)
    if node.args.get("where") is not None:
        made.where = condition(node.args["where"].this, scope)
    for each in node.args.get("windows") or ():
        made.windows.append(replace(calls.window(exp.Window(**{**each.args, "this": None}), scope),
                                    name=trees.name_of(each.this)))  # fmt: skip
    if node.args.get("group") is not None:
        _group(node.args["group"], made, scope)
    if node.args.get("having") is not None:
        made.having = condition(node.args["having"].this, scope)
    if node.args.get("order") is not None:
        made.order = [_sorted(each, made, scope) for each in node.args["order"].expressions]
    distinct = node.args.get("distinct")
    if distinct is not None:
        on = distinct.args.get("on")
        made.distinct = on is None
        if on is not None:
            listed = on.expressions if isinstance(on, exp.Tuple) else [on]
            made.distinct_on = [_referred(each, made, scope, alias_first=True)[0] for each in listed]


def _targets(item: exp.Expr, scope: Scope) -> list[Target]:
    of = item.this if isinstance(item, exp.Alias) else item
    if isinstance(of, exp.Star):
        if of.args.get("except_") or of.args.get("replace") or scope.merged:
            raise Unprintable("*")
        return [t for table in scope.ranges for t in _all_of(table)]
    if isinstance(of, exp.Column) and isinstance(of.this, exp.Star):
        table = next((r for r in scope.ranges if called(r) == trees.name_of(of.args["table"])), None)
        if table is None:
            raise Unprintable("t.*")
        return _all_of(table)
    if isinstance(item, exp.Aliases):
        raise Unprintable("AS t(a, b)")
    return [Target(analysed(of, scope), output_name(item))]


def _all_of(table: Range) -> list[Target]:
    return [Target(v, name) for v, (name, *_) in zip(columns_of(table), table.columns, strict=True)]


def _group(node: exp.Expr, made: Query, scope: Scope) -> None:
    for each in node.expressions:
        if isinstance(each, exp.GroupingSets | exp.Rollup | exp.Cube | exp.Tuple):
            raise Unprintable("grouping sets")
        made.groups.append(_referred(each, made, scope, alias_first=False)[0])
    if any(node.args.get(key) for key in ("grouping_sets", "cube", "rollup", "totals", "all")):
        raise Unprintable("grouping sets")


def _referred(node: exp.Expr, made: Query, scope: Scope, *, alias_first: bool) -> tuple[Node, int]:
    """What an item of GROUP BY, ORDER BY or DISTINCT ON means: a place in the select list, a name there, or an
    expression (findTargetlistEntrySQL92); and its place, from 1, or 0."""
    if isinstance(node, exp.Literal):
        if node.args["is_string"] or not node.this.isdigit():
            raise Unprintable("a constant to sort by")
        place = int(node.this)
        return made.targets[place - 1].of, place
    if isinstance(node, exp.Column) and node.args.get("table") is None:
        name = trees.name_of(node.this)
        is_column = not alias_first and any(name == c[0] for r in scope.ranges for c in r.columns)
        places = [i + 1 for i, t in enumerate(made.targets) if t.name == name]
        if places and not is_column:
            return made.targets[places[0] - 1].of, places[0]
    of = decided(analysed(node, scope), scope.context)
    same = next((i + 1 for i, t in enumerate(made.targets) if t.of == of), 0)
    return of, same


def _sorted(node: exp.Expr, made: Query, scope: Scope) -> Sort:
    of, place = _referred(node.this, made, scope, alias_first=True)
    return Sort(of, bool(node.args.get("desc")), bool(node.args.get("nulls_first")), place)


def _limits(node: exp.Expr, made: Query, scope: Scope) -> None:
    limit, offset = node.args.get("limit"), node.args.get("offset")
    if offset is not None:
        made.offset = coerced(analysed(offset.expression, scope), facts.INT8, scope.context)
    if isinstance(limit, exp.Fetch):
        options = limit.args.get("limit_options")
        made.with_ties = bool(options is not None and options.args.get("with_ties"))
        count = limit.args.get("count")
    else:
        count = limit.expression if limit is not None else None
    if count is not None and not isinstance(count, exp.Var):
        made.limit = coerced(analysed(count, scope), facts.INT8, scope.context)


# --- VALUES ---


def _values(node: exp.Expr, made: Query, scope: Scope) -> None:
    if node.args.get("order") is not None:
        raise Unprintable("VALUES in an order")
    made.values = rows_of(node, scope)
    made.targets = [Target(v, f"column{i + 1}") for i, v in enumerate(made.values[0])]


# --- set operations ---


def _set_operation(node: exp.Expr, made: Query, scope: Scope) -> None:
    made.operation, first = _tree(node, scope)
    made.targets = first
    order = node.args.get("order")
    for each in order.expressions if order is not None else ():
        of, place = _referred(each.this, made, Scope(scope.around), alias_first=True)
        if not place:
            raise Unprintable("an expression to sort a set operation by")
        made.order.append(Sort(of, bool(each.args.get("desc")), bool(each.args.get("nulls_first")), place))


def _tree(node: exp.Expr, scope: Scope) -> tuple[SetOperation, list[Target]]:
    """A set operation and the columns of its result: names of the left side, common types."""
    left, left_targets = _side(node.this, scope)
    right, right_targets = _side(node.expression, scope)
    if len(left_targets) != len(right_targets):
        raise Unprintable("sides of different widths")
    result = []
    for ours, theirs in zip(left_targets, right_targets, strict=True):
        kind = facts.common([ours.of.type, theirs.of.type])
        for target in (ours, theirs):
            if target.of.type == facts.UNKNOWN:
                target.of = coerced(target.of, kind, scope.context)
        result.append(Target(Const(kind), ours.name))
    word = _SET_WORDS[type(node)] + ("" if node.args.get("distinct") else " ALL")
    return SetOperation(word, left, right), result


def _side(node: exp.Expr, scope: Scope) -> tuple[SetOperation | Query, list[Target]]:
    plain = node.this if isinstance(node, exp.Subquery) and not _has_own(node) else node
    if isinstance(plain, exp.Subquery):
        plain = plain.unnest()
    if type(plain) in _SET_WORDS and not any(plain.args.get(k) for k in ("order", "limit", "offset", "with_")):
        return _tree(plain, scope)
    made = query_of(plain, _beside(scope), top=False)
    return made, made.targets


def _beside(scope: Scope) -> Scope:
    """A side sees what is around the set operation, and its WITH queries."""
    inner = scope.inner()
    inner.named = dict(scope.named)
    return inner


# --- queries in expressions ---


@analyses(exp.Subquery)
def _value(node: exp.Expr, scope: Scope) -> Node:
    inner = query_of(node.this, scope.inner())
    return SubLink(inner.targets[0].of.type, inner.targets[0].of.typmod, "value", inner)


@analyses(exp.Exists)
def _exists(node: exp.Expr, scope: Scope) -> Node:
    return SubLink(facts.BOOL, -1, "exists", query_of(node.this, scope.inner()))


@analyses(exp.Select, exp.Union)
def _array(node: exp.Expr, scope: Scope) -> Node:
    """ARRAY(SELECT …): ``calls`` hands its query on."""
    inner = query_of(node, scope.inner())
    kind = inner.targets[0].of.type
    return SubLink(kind if facts.kind(kind).category == "A" else facts.array_type(kind), -1, "array", inner)


@compares_queries
def _compared(name: str, left: Node, node: exp.Expr, scope: Scope) -> Node:
    """``x IN (SELECT …)``, ``x < ALL (SELECT …)``; ``node`` is the IN, the ANY or the ALL."""
    of = node.args["query"] if isinstance(node, exp.In) else node.this
    of = of.this if isinstance(of, exp.Paren) else of
    inner = query_of(of, scope.inner())
    column = Const(inner.targets[0].of.type)
    made = operation(name, left, column, scope)
    assert made.left is not None
    kind = "all" if isinstance(node, exp.All) else "any"
    return SubLink(facts.BOOL, -1, kind, inner, made.left, name)
