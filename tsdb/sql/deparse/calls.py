"""Calls: functions, aggregates, window functions, and those with a syntax of their own.

Source: PostgreSQL 15, parse_func.c, parse_agg.c; gram.y (func_expr_common_subexpr).
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from tsdb.sql import lexer, trees
from tsdb.sql.deparse import facts, resolution
from tsdb.sql.deparse.coercion import coerced, decided
from tsdb.sql.deparse.expressions import analysed, analyses, condition, listed, operation
from tsdb.sql.deparse.nodes import (
    Call,
    Const,
    Frame,
    Listed,
    Node,
    Sort,
    Special,
    Unprintable,
    WindowSpec,
)  # fmt: skip
from tsdb.sql.deparse.scope import Scope

_EXTRACTED = "extract"


@analyses(exp.Anonymous)
def _call(node: exp.Expr, scope: Scope) -> Node:
    name = _name(node)
    arguments = list(node.expressions)
    if name in ("coalesce", "greatest", "least"):
        return listed(name.upper(), [analysed(a, scope) for a in arguments], scope)
    if name == "nullif":
        made = operation("=", analysed(arguments[0], scope), analysed(arguments[1], scope), scope)
        assert made.left is not None
        return Listed(made.left.type, made.left.typmod, "NULLIF", (made.left, made.right))
    if name == "array":
        return _array_query(arguments, scope)
    if name in ("row", "grouping"):
        raise Unprintable(name)
    if len(arguments) == 1 and isinstance(arguments[0], exp.Star):
        found = resolution.function(name, [])
        return Call(found.result, -1, name, (), found.kind, star=True)
    distinct, order = False, None
    if arguments and isinstance(arguments[-1], exp.Order):
        order = arguments[-1]
        arguments[-1] = order.this
        if isinstance(order.this, exp.Distinct):
            arguments = [order.this]
    if arguments and isinstance(arguments[0], exp.Distinct):
        distinct, arguments = True, [*arguments[0].expressions, *arguments[1:]]
    given = [analysed(a, scope) for a in arguments if a is not None]
    if distinct:
        given = [decided(a, scope.context) for a in given]
    made_call = called(name, given, scope)
    sorts = () if order is None else tuple(sort(o, scope) for o in order.expressions)
    if (distinct or sorts) and made_call.kind != "a":
        raise Unprintable("ORDER BY in a call of no aggregate")
    return replace(made_call, distinct=distinct, order=sorts)


@analyses(exp.Dot)
def _qualified(node: exp.Expr, scope: Scope) -> Node:
    """A function by its schema's name as well."""
    schema = node.this
    if not isinstance(schema, exp.Identifier) or trees.name_of(schema) not in ("pg_catalog", "public"):
        raise Unprintable("a field of a row")
    return analysed(node.expression, scope)


def _array_query(arguments: list[exp.Expr], scope: Scope) -> Node:
    if len(arguments) != 1 or not isinstance(arguments[0], exp.Query):
        raise Unprintable("array()")
    return analysed(arguments[0], scope)


def _name(node: exp.Expr) -> str:
    name = node.this
    return trees.name_of(name) if isinstance(name, exp.Expr) else str(name).lower()


def called(name: str, arguments: list[Node], scope: Scope) -> Call:
    """A function by its name and arguments, with these as it takes them."""
    if not resolution.is_function(name):
        raise Unprintable(f"function {name}")
    given = [a.type for a in arguments]
    found = resolution.function(name, given)
    types, result = resolution.resolved(found, given)
    made = [coerced(a, t, scope.context) for a, t in zip(arguments, types, strict=True)]
    return Call(result, -1, name, tuple(made), found.kind)


def sort(node: exp.Expr, scope: Scope) -> Sort:
    """An item of an ORDER BY that knows no select list."""
    descending = bool(node.args.get("desc"))
    return Sort(decided(analysed(node.this, scope), scope.context), descending, bool(node.args.get("nulls_first")))


@analyses(exp.Filter)
def _filter(node: exp.Expr, scope: Scope) -> Node:
    of = analysed(node.this, scope)
    if not isinstance(of, Call):
        raise Unprintable("FILTER")
    return replace(of, condition=condition(node.expression.this, scope))


@analyses(exp.WithinGroup)
def _within_group(node: exp.Expr, scope: Scope) -> Node:
    sorts = [sort(o, scope) for o in node.expression.expressions]
    direct = [analysed(a, scope) for a in node.this.expressions]
    made = called(_name(node.this), [*direct, *(s.of for s in sorts)], scope)
    ordered = zip(sorts, made.arguments[len(direct) :], strict=True)
    return replace(
        made, arguments=made.arguments[: len(direct)], within_group=tuple(replace(s, of=a) for s, a in ordered)
    )


# --- windows ---


@analyses(exp.Window)
def _window(node: exp.Expr, scope: Scope) -> Node:
    of = analysed(node.this, scope)
    if not isinstance(of, Call):
        raise Unprintable("OVER")
    return replace(of, over=window(node, scope))


def window(node: exp.Expr, scope: Scope) -> WindowSpec:
    """A window's definition, or the name of one (nothing else is there then)."""
    alias = node.args.get("alias")
    parts, order, spec = node.args.get("partition_by") or [], node.args.get("order"), node.args.get("spec")
    if alias is not None:
        if parts or order is not None or spec is not None:
            raise Unprintable("a window made of another")
        return WindowSpec(trees.name_of(alias))
    partition = tuple(decided(analysed(p, scope), scope.context) for p in parts)
    sorts = () if order is None else tuple(sort(o, scope) for o in order.expressions)
    return WindowSpec("", partition, sorts, None if spec is None else _frame(spec, scope))


def _frame(spec: exp.Expr, scope: Scope) -> Frame | None:
    if spec.args.get("exclude"):
        raise Unprintable("EXCLUDE")
    start, start_offset = _bound(spec, "start", scope)
    end, end_offset = _bound(spec, "end", scope)
    unit, between = str(spec.args["kind"]).upper(), bool(end)
    if (unit, start, end or "CURRENT ROW") == ("RANGE", "UNBOUNDED PRECEDING", "CURRENT ROW"):
        return None
    return Frame(unit, start, end, between, start_offset, end_offset)


def _bound(spec: exp.Expr, which: str, scope: Scope) -> tuple[str, Node | None]:
    """Its words; of an offset the word behind it, and the offset."""
    value, side = spec.args.get(which), str(spec.args.get(f"{which}_side") or "").upper()
    if isinstance(value, exp.Expr):
        return side, analysed(value, scope)
    return f"{value or ''} {side}".strip().upper(), None


# --- with a syntax of their own ---


@analyses(exp.Extract)
def _extract(node: exp.Expr, scope: Scope) -> Node:
    field = Const(facts.UNKNOWN, text=str(node.this.this).lower())
    made = called(_EXTRACTED, [field, analysed(node.expression, scope)], scope)
    return Special(made.type, -1, "extract", made.arguments[1:], str(node.this.this).lower())


@analyses(exp.AtTimeZone)
def _at_time_zone(node: exp.Expr, scope: Scope) -> Node:
    made = called("timezone", [analysed(node.args["zone"], scope), analysed(node.this, scope)], scope)
    return Special(made.type, -1, "at time zone", (made.arguments[1], made.arguments[0]))


def _is_syntax(scope: Scope, name: str, *words: str) -> bool:
    """Whether all calls of a name in the text have words between their arguments, or none has; else it is unknown
    which one a tree is."""
    tokens = lexer.tokens(scope.around.text)
    found = set()
    for at, token in enumerate(tokens[:-1]):
        if not token.is_word(name) or tokens[at + 1].value != "(":
            continue
        depth, has = 0, False
        for each in tokens[at + 1 :]:
            depth += (each.value in ("(", "[")) - (each.value in (")", "]"))
            has = has or (depth == 1 and each.is_word(*words))
            if not depth:
                break
        found.add(has)
    if len(found) != 1:
        raise Unprintable(f"calls of {name} in two forms")
    return found.pop()


@analyses(exp.StrPosition)
def _position(node: exp.Expr, scope: Scope) -> Node:
    texts = [analysed(node.this, scope), analysed(node.args["substr"], scope)]
    made = called("position", texts, scope)
    return Special(made.type, -1, "position", (made.arguments[1], made.arguments[0]))


@analyses(exp.Substring)
def _substring(node: exp.Expr, scope: Scope) -> Node:
    parts = [node.this, node.args.get("start"), node.args.get("length")]
    made = called("substring", [analysed(p, scope) for p in parts if p is not None], scope)
    if _is_syntax(scope, "substring", "from", "for"):
        return Special(made.type, -1, "substring", made.arguments)
    return made


@analyses(exp.Trim)
def _trim(node: exp.Expr, scope: Scope) -> Node:
    word = str(node.args.get("position") or "BOTH").upper()
    name = {"BOTH": "btrim", "LEADING": "ltrim", "TRAILING": "rtrim"}[word]
    parts = [node.this, node.expression] if node.expression is not None else [node.this]
    made = called(name, [analysed(p, scope) for p in parts], scope)
    return Special(made.type, -1, "trim", made.arguments, word)


@analyses(exp.Overlay)
def _overlay(node: exp.Expr, scope: Scope) -> Node:
    parts = [node.this, node.expression, node.args["from_"], node.args.get("for_")]
    made = called("overlay", [analysed(p, scope) for p in parts if p is not None], scope)
    return Special(made.type, -1, "overlay", made.arguments)
