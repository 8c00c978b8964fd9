"""Expressions: sqlglot's trees to nodes, with the operators and casts that PostgreSQL's analysis chooses.

Source: PostgreSQL 15, parse_expr.c.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

from sqlglot import exp

from tsdb.errors import TsdbError
from tsdb.sql import lexer, trees, type_names
from tsdb.sql.deparse import constants, facts, resolution
from tsdb.sql.deparse.coercion import all_coerced, coerced
from tsdb.sql.deparse.nodes import (
    AnyOf,
    Case,
    Collated,
    Const,
    Distinct,
    Listed,
    Logic,
    Node,
    Operation,
    Subscript,
    Test,
    Unprintable,
    Word,
)  # fmt: skip
from tsdb.sql.deparse.scope import Scope

Analyser = Callable[[exp.Expr, Scope], Node]
_ANALYSERS: dict[type[exp.Expr], Analyser] = {}
_SYMBOLS: Mapping[type[exp.Expr], str] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%", exp.Pow: "^", exp.BitwiseAnd: "&",
    exp.BitwiseOr: "|", exp.BitwiseXor: "#", exp.BitwiseLeftShift: "<<", exp.BitwiseRightShift: ">>",
    exp.ArrayContainsAll: "@>", exp.ArrayContainedBy: "<@", exp.ArrayOverlaps: "&&", exp.RegexpLike: "~",
    exp.RegexpILike: "~*", exp.JSONBExtract: "#>", exp.JSONBExtractScalar: "#>>", exp.JSONBContainsTopKey: "?",
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=", exp.DPipe: "||",
    exp.Like: "~~", exp.ILike: "~~*",
}  # fmt: skip
_PREFIXES: Mapping[type[exp.Expr], str] = {exp.Neg: "-", exp.BitwiseNot: "~", exp.Sqrt: "|/", exp.Cbrt: "||/"}
_OPPOSITES = {"~": "!~", "~*": "!~*", "~~": "!~~", "~~*": "!~~*"}
_PATTERNS = (exp.RegexpLike, exp.RegexpILike, exp.Like, exp.ILike)
_PLAIN_NEGATED = (exp.In, exp.Between, exp.Like, exp.ILike)
_NEGATED = (exp.In, exp.Between, *_PATTERNS)
_WORDS: Mapping[type[exp.Expr], tuple[str, int]] = {
    exp.CurrentTimestamp: ("CURRENT_TIMESTAMP", 1184), exp.CurrentDate: ("CURRENT_DATE", 1082),
    exp.Localtimestamp: ("LOCALTIMESTAMP", 1114), exp.CurrentUser: ("CURRENT_USER", 19),
    exp.CurrentTime: ("CURRENT_TIME", 1266), exp.Localtime: ("LOCALTIME", 1083),
}  # fmt: skip


def analyses(*kinds: type[exp.Expr]) -> Callable[[Analyser], Analyser]:
    def register(analyser: Analyser) -> Analyser:
        for kind in kinds:
            _ANALYSERS[kind] = analyser
        return analyser

    return register


def analysed(node: exp.Expr, scope: Scope) -> Node:
    """Raises Unprintable."""
    found = _ANALYSERS.get(type(node))
    if found is None:
        raise Unprintable(type(node).__name__)
    return found(node, scope)


def condition(node: exp.Expr, scope: Scope) -> Node:
    return coerced(analysed(node, scope), facts.BOOL, scope.context)


# --- names and constants ---


@analyses(exp.Column)
def _column(node: exp.Expr, scope: Scope) -> Node:
    if node.args.get("catalog") is not None or isinstance(node.this, exp.Star):
        raise Unprintable("a name of three parts")
    table = node.args.get("table")
    found = scope.column(None if table is None else trees.name_of(table), trees.name_of(node.this))
    if found is None:
        raise Unprintable(f"column {node.sql()}")
    return found


@analyses(exp.Literal)
def _literal(node: exp.Expr, scope: Scope) -> Node:
    return constants.unknown(node.this) if node.args["is_string"] else constants.number(node.this)


@analyses(exp.Null)
def _null(node: exp.Expr, scope: Scope) -> Node:
    return constants.null()


@analyses(exp.Boolean)
def _boolean(node: exp.Expr, scope: Scope) -> Node:
    return Const(facts.BOOL, text="true" if node.this else "false")


@analyses(exp.Paren)
def _paren(node: exp.Expr, scope: Scope) -> Node:
    return analysed(node.this, scope)


@analyses(*_WORDS)
def _word(node: exp.Expr, scope: Scope) -> Node:
    if node.this is not None:
        raise Unprintable("a precision of the clock")
    text, kind = _WORDS[type(node)]
    return Word(kind, text=text)


# --- operators ---


def operation(name: str, left: Node | None, right: Node, scope: Scope) -> Operation:
    """An operator with its operands as it takes them."""
    operands = [right] if left is None else [left, right]
    given = [o.type for o in operands]
    found = resolution.operator(name, given)
    types, result = resolution.resolved(found, given)
    made = [coerced(o, t, scope.context) for o, t in zip(operands, types, strict=True)]
    return Operation(result, -1, name, made[0] if len(made) == 2 else None, made[-1])


@analyses(*_SYMBOLS)
def _binary(node: exp.Expr, scope: Scope) -> Node:
    name = _SYMBOLS[type(node)]
    if node.args.get("negate"):
        name = _OPPOSITES[name]
    if isinstance(node.expression, exp.Any | exp.All):
        return _quantified(node, name, scope)
    if isinstance(node.this, exp.Tuple) or isinstance(node.expression, exp.Tuple):
        raise Unprintable("comparison of rows")
    return operation(name, analysed(node.this, scope), analysed(node.expression, scope), scope)


@analyses(exp.Neg, exp.BitwiseNot, exp.Sqrt, exp.Cbrt)
def _prefix(node: exp.Expr, scope: Scope) -> Node:
    if isinstance(node, exp.Neg):
        number = node.this.unnest() if isinstance(node.this, exp.Paren) else node.this
        if isinstance(number, exp.Literal) and not number.args["is_string"]:
            return constants.number(number.this, negative=True)
    return operation(_PREFIXES[type(node)], None, analysed(node.this, scope), scope)


def _path_step(node: exp.Expr) -> Node:
    """What follows -> and ->>, which sqlglot reads as a path."""
    if isinstance(node, exp.JSONPath) and len(node.expressions) == 2:
        step = node.expressions[1]
        if isinstance(step, exp.JSONPathKey):
            return constants.unknown(str(step.this))
        if isinstance(step, exp.JSONPathSubscript) and isinstance(step.this, int):
            return constants.number(str(abs(step.this)), negative=step.this < 0)
    raise Unprintable("a path of JSON")


@analyses(exp.JSONExtract, exp.JSONExtractScalar)
def _arrow(node: exp.Expr, scope: Scope) -> Node:
    name = "->" if isinstance(node, exp.JSONExtract) else "->>"
    step = node.expression
    right = _path_step(step) if isinstance(step, exp.JSONPath) else analysed(step, scope)
    return operation(name, analysed(node.this, scope), right, scope)


@analyses(exp.Escape)
def _escape(node: exp.Expr, scope: Scope) -> Node:
    raise Unprintable("LIKE … ESCAPE")


def _quantified(node: exp.Expr, name: str, scope: Scope) -> Node:
    """``x = ANY (array)``; a query is a sublink (``queries``)."""
    of = node.expression.this
    array = of.this if isinstance(of, exp.Paren) else of
    if isinstance(array, exp.Query | exp.Subquery):
        return query_compared(name, analysed(node.this, scope), node.expression, scope)
    return any_of(name, analysed(node.this, scope), analysed(array, scope), isinstance(node.expression, exp.All), scope)


Compared = Callable[[str, Node, exp.Expr, Scope], Node]
_compared: list[Compared] = []


def compares_queries(analyser: Compared) -> Compared:
    """Register what analyses ``x IN (SELECT …)``: ``queries``, which needs this module itself."""
    _compared.append(analyser)
    return analyser


def query_compared(name: str, left: Node, node: exp.Expr, scope: Scope) -> Node:
    return _compared[0](name, left, node, scope)


def any_of(name: str, left: Node, array: Node, every: bool, scope: Scope) -> Node:
    """make_scalar_array_op."""
    if array.type == facts.UNKNOWN:
        given = [left.type, facts.UNKNOWN]
    else:
        element = facts.kind(array.type).element
        if not element:
            raise Unprintable("ANY of no array")
        given = [left.type, element]
    types, _ = resolution.resolved(resolution.operator(name, given), given)
    right = coerced(array, facts.array_type(types[1]), scope.context)
    return AnyOf(facts.BOOL, -1, name, coerced(left, types[0], scope.context), right, every)


# --- logic and tests ---


@analyses(exp.And, exp.Or)
def _logic(node: exp.Expr, scope: Scope) -> Node:
    word = "AND" if isinstance(node, exp.And) else "OR"
    # What stands at the left of the same word is the same list, parentheses or not.
    items: list[exp.Expr] = [node.expression]
    left = node.this
    while isinstance(plain := left.unnest() if isinstance(left, exp.Paren) else left, type(node)):
        items.append(plain.expression)
        left = plain.this
    items.append(left)
    return Logic(facts.BOOL, -1, word, tuple(condition(item, scope) for item in reversed(items)))


def negated(node: Node) -> Node:
    return Logic(facts.BOOL, -1, "NOT", (node,))


@analyses(exp.Not)
def _not(node: exp.Expr, scope: Scope) -> Node:
    of = node.this
    infix = isinstance(of, _NEGATED) and _is_infix(node, scope)
    if infix and isinstance(of, exp.In) and of.args.get("query") is None:
        return _listed(of, scope, "<>")
    if infix and isinstance(of, exp.Between):
        return _between(of, scope, opposite=True)
    if infix and isinstance(of, _PATTERNS) and not of.args.get("negate"):
        name = _OPPOSITES[_SYMBOLS[type(of)]]
        return operation(name, analysed(of.this, scope), analysed(of.expression, scope), scope)
    if isinstance(of, exp.Is) and isinstance(of.expression, exp.Boolean):
        # ``x IS NOT TRUE``: NOT before it binds less tightly, and nobody writes it.
        return Test(facts.BOOL, -1, condition(of.this, scope), f"IS NOT {_truth(of.expression)}")
    return negated(condition(of, scope))


def _is_infix(node: exp.Expr, scope: Scope) -> bool:
    """Whether it was ``x NOT IN …`` and not ``NOT x IN …``, which are one tree: all of a kind in the text are the same,
    else it is not known."""
    regular = isinstance(node.this, exp.RegexpLike | exp.RegexpILike)
    kind = (exp.RegexpLike, exp.RegexpILike) if regular else _PLAIN_NEGATED
    count = sum(isinstance(each.this, kind) for each in node.root().find_all(exp.Not))
    count += sum(bool(each.args.get("negate")) for each in node.root().find_all(exp.Like, exp.ILike)) * (not regular)
    tokens = lexer.tokens(scope.around.text)
    if regular:
        written = sum(t.kind == "operator" and t.value in ("!~", "!~*") for t in tokens)
    else:
        pairs = itertools.pairwise(tokens)
        written = sum(a.is_word("not") and b.is_word("in", "like", "ilike", "between") for a, b in pairs)
    if written not in (0, count):
        raise Unprintable("NOT before and behind")
    return written > 0


def _truth(node: exp.Expr) -> str:
    return "TRUE" if node.this else "FALSE"


@analyses(exp.Is)
def _is(node: exp.Expr, scope: Scope) -> Node:
    word = "IS NOT" if node.args.get("negate") else "IS"
    if isinstance(node.expression, exp.Boolean):
        return Test(facts.BOOL, -1, condition(node.this, scope), f"{word} {_truth(node.expression)}")
    if isinstance(node.expression, exp.Null):
        return Test(facts.BOOL, -1, analysed(node.this, scope), f"{word} NULL")
    raise Unprintable("IS")


@analyses(exp.NullSafeEQ, exp.NullSafeNEQ)
def _distinct(node: exp.Expr, scope: Scope) -> Node:
    made = operation("=", analysed(node.this, scope), analysed(node.expression, scope), scope)
    assert made.left is not None
    found = Distinct(facts.BOOL, -1, made.left, made.right)
    return found if isinstance(node, exp.NullSafeNEQ) else negated(found)


@analyses(exp.Between)
def _within(node: exp.Expr, scope: Scope) -> Node:
    return _between(node, scope, opposite=False)


def _between(node: exp.Expr, scope: Scope, *, opposite: bool) -> Node:
    if node.args.get("symmetric"):
        raise Unprintable("BETWEEN SYMMETRIC")
    of = analysed(node.this, scope)
    names, word = (("<", ">"), "OR") if opposite else ((">=", "<="), "AND")
    bounds = (node.args["low"], node.args["high"])
    items = [operation(n, of, analysed(b, scope), scope) for n, b in zip(names, bounds, strict=True)]
    return Logic(facts.BOOL, -1, word, tuple(items))


def _has_columns(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) or node.find(exp.Column) is not None


def _listed(node: exp.Expr, scope: Scope, name: str) -> Node:
    """IN with a list (transformAExprIn): constants as one array, what has columns one by one."""
    of = analysed(node.this, scope)
    plain = [analysed(e, scope) for e in node.expressions if not _has_columns(e)]
    others = [analysed(e, scope) for e in node.expressions if _has_columns(e)]
    made: list[Node] = []
    if len(plain) > 1:
        element = facts.common([of.type, *(p.type for p in plain)])
        items = tuple(coerced(p, element, scope.context) for p in plain)
        made.append(any_of(name, of, Listed(facts.array_type(element), -1, "ARRAY", items), name == "<>", scope))
    else:
        others = [*plain, *others] if not others else [analysed(e, scope) for e in node.expressions]
    made += [operation(name, of, other, scope) for other in others]
    return made[0] if len(made) == 1 else Logic(facts.BOOL, -1, "AND" if name == "<>" else "OR", tuple(made))


@analyses(exp.In)
def _in(node: exp.Expr, scope: Scope) -> Node:
    if node.args.get("query") is not None:
        return query_compared("=", analysed(node.this, scope), node, scope)
    if isinstance(node.this, exp.Tuple) or not node.expressions:
        raise Unprintable("IN of rows")
    return _listed(node, scope, "=")


# --- what chooses, casts and takes apart ---


@analyses(exp.Case)
def _case(node: exp.Expr, scope: Scope) -> Node:
    of = analysed(node.this, scope) if node.this is not None else None
    if of is not None and of.type == facts.UNKNOWN:
        of = coerced(of, facts.TEXT, scope.context)
    default = node.args.get("default")
    values = [analysed(default, scope) if default is not None else constants.null()]
    values += [analysed(each.args["true"], scope) for each in node.args["ifs"]]
    made, kind = all_coerced(values, scope.context)
    conditions = []
    for each in node.args["ifs"]:
        if of is None:
            conditions.append(condition(each.this, scope))
        else:
            conditions.append(operation("=", of, analysed(each.this, scope), scope).right)
    return Case(kind, -1, of, tuple(zip(conditions, made[1:], strict=True)), made[0])


def listed(word: str, items: Sequence[Node], scope: Scope) -> Node:
    """COALESCE, GREATEST, LEAST."""
    made, kind = all_coerced(items, scope.context)
    return Listed(kind, made[0].typmod if len({m.typmod for m in made}) == 1 else -1, word, made)


@analyses(exp.Array)
def _array(node: exp.Expr, scope: Scope) -> Node:
    made, kind = all_coerced([analysed(each, scope) for each in node.expressions], scope.context)
    if not made:
        raise Unprintable("an empty array")
    if facts.kind(kind).category == "A":
        return Listed(kind, -1, "ARRAY", made)
    return Listed(facts.array_type(kind), -1, "ARRAY", made)


@analyses(exp.Cast)
def _cast(node: exp.Expr, scope: Scope) -> Node:
    try:
        sql_type, typmod = type_names.of_node(node.args["to"])
    except TsdbError as error:
        raise Unprintable(error.message) from None
    of = analysed(node.this, scope)
    if isinstance(of, Listed) and of.word == "ARRAY" and sql_type.element is not None:
        items = tuple(coerced(i, sql_type.element.oid, scope.context, explicit=True) for i in of.items)
        return Listed(sql_type.oid, -1, "ARRAY", items)
    return coerced(of, sql_type.oid, scope.context, explicit=True, typmod=typmod)


@analyses(exp.Bracket)
def _bracket(node: exp.Expr, scope: Scope) -> Node:
    of = analysed(node.this, scope)
    element = facts.kind(of.type).element
    if not element or facts.kind(of.type).category != "A":
        raise Unprintable("a subscript of no array")
    indexes: list[tuple[Node | None, Node | None, bool]] = []
    for each in node.expressions:
        if isinstance(each, exp.Slice):
            bounds = [None if b is None else _index(b, scope) for b in (each.this, each.expression)]
            indexes.append((bounds[0], bounds[1], True))
        else:
            indexes.append((_index(each, scope), None, False))
    kind = of.type if any(sliced for *_, sliced in indexes) else element
    return Subscript(kind, of.typmod, of, tuple(indexes))


def _index(node: exp.Expr, scope: Scope) -> Node:
    return coerced(analysed(node, scope), facts.INT4, scope.context)


@analyses(exp.Collate)
def _collate(node: exp.Expr, scope: Scope) -> Node:
    of = analysed(node.this, scope)
    name = node.expression
    if not isinstance(name, exp.Identifier):
        raise Unprintable("a collation's schema")
    if of.type == facts.UNKNOWN:
        of = coerced(of, facts.TEXT, scope.context)
    return Collated(of.type, of.typmod, of, trees.name_of(name))
