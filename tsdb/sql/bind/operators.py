"""Operators: arithmetic, comparisons, AND/OR/NOT, BETWEEN, IN, ANY/ALL, IS, patterns, JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, InvalidEscapeSequence, SqlSyntaxError, UndefinedFunction
from tsdb.sql import limits, literal
from tsdb.sql.bind import literal_lists
from tsdb.sql.bind.binder import Binder, binds
from tsdb.sql.expressions import blanks, coercion, numerics, shown, signature
from tsdb.sql.expressions.block import BoundQuery
from tsdb.sql.expressions.coercion import as_bool, coerce, common_digits, implicit, is_text, numeric_digits_of
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.functions import text_types
from tsdb.sql.expressions.functions.text_types import SUBTYPES
from tsdb.sql.expressions.numeric_function import numeric_function
from tsdb.sql.expressions.once import once
from tsdb.sql.expressions.operators import OPERATORS as _OPERATORS
from tsdb.sql.expressions.pattern_text import pattern_text
from tsdb.sql.expressions.relation import Scope
from tsdb.sql.expressions.rows import fields_of
from tsdb.types import BOOL, BPCHAR, BY_NAME, NUMERIC, TEXT, UNKNOWN, SqlType, array_of

_SYMBOLS: dict[type[exp.Expr], str] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%", exp.Pow: "^", exp.BitwiseAnd: "&",
    exp.BitwiseOr: "|", exp.BitwiseXor: "#", exp.BitwiseLeftShift: "<<", exp.BitwiseRightShift: ">>",
    exp.ArrayContainsAll: "@>", exp.ArrayContainedBy: "<@", exp.ArrayOverlaps: "&&", exp.RegexpLike: "~",
    exp.RegexpILike: "~*", exp.JSONBExtract: "#>", exp.JSONBExtractScalar: "#>>", exp.JSONBContainsTopKey: "?",
    exp.JSONBContainsAnyTopKeys: "?|", exp.JSONBContainsAllTopKeys: "?&", exp.JSONBDeleteAtPath: "#-",
    exp.StartsWith: "^@", exp.JSONBPathExists: "@?", exp.Adjacent: "-|-", exp.ExtendsLeft: "&<",
    exp.ExtendsRight: "&>", exp.Distance: "<->",
}  # fmt: skip
_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM", exp.NullSafeNEQ: "IS DISTINCT FROM",
}  # fmt: skip
_UNARY: dict[type[exp.Expr], str] = {exp.Neg: "-", exp.BitwiseNot: "~", exp.Sqrt: "|/", exp.Cbrt: "||/"}
_PATTERNS: dict[type[exp.Expr], str] = {exp.Like: "~~", exp.ILike: "~~*"}
_POSIX_OFFSET = re.compile(r"([+-]?)(\d{1,2})(?::(\d{2}))?")
_ORDERED = ("<", "<=", ">", ">=")
_REGULAR = ("~", "~*", "!~", "!~*")
OPERATORS = signature.merge(_OPERATORS, text_types.OPERATORS)
_NO_OPERATOR_HINT = "No operator matches the given name and argument types. You might need to add explicit type casts."


@binds(*_SYMBOLS)
def binary(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    left, right = binder.bind(node.this, scope), binder.bind(node.expression, scope)
    return operate(binder, _SYMBOLS[type(node)], left, right)


@binds(exp.Neg, exp.BitwiseNot, exp.Sqrt, exp.Cbrt)
def unary(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and not node.this.args["is_string"]:
        return _negative(binder, node.this, scope)
    symbol = _UNARY[type(node)]
    return operate(binder, symbol, binder.bind(node.this, scope))


def _negative(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    bound = binder.bind(node, scope)
    value = -bound.value  # type: ignore[operator]
    target = bound.type
    if target.typname == "int8" and value == -(2**31):
        target = BY_NAME["int4"]
    return coercion.constant(target, value, bound)


def operate(binder: Binder, symbol: str, *args: Expr) -> Expr:
    """The operator PostgreSQL picks for these operands (10.2)."""
    candidates = OPERATORS.get(symbol, ())
    types = list(args)
    if len(args) == 2 and args[0].unknown != args[1].unknown:
        # An unknown operand is first assumed to be of the other's type.
        known = args[1] if args[0].unknown else args[0]
        exact = [c for c in candidates if c.arguments == (known.type.typname,) * 2]
        candidates = tuple(exact) or candidates
    if symbol in ("@?", "@@") and "jsonb" in (a.type.typname for a in args):
        raise FeatureNotSupported("SQL/JSON paths are not supported", hint="-> and #> reach the same places.")
    chosen = signature.choose(symbol, candidates, types)
    if chosen is None or _has_other_element(symbol, chosen, args):
        raise no_operator(symbol, *args)
    if symbol == "^" and _are_numeric(args):
        a, b = (coerce(arg, NUMERIC, binder.context) for arg in args)
        return numeric_function("power", shown.text_of(a), shown.text_of(b), (a, b)).named("?column?")
    if "numeric" in chosen.arguments and len(args) == 2 and symbol in "+-*/%":
        return _numeric(binder, symbol, args[0], args[1])
    bound = [_argument(binder, arg, chosen.argument(i), args) for i, arg in enumerate(args)]
    result = signature.result_type(chosen, bound)
    if symbol in _REGULAR and len(bound) == 2:
        return _regular(symbol, blanks.kept(args[0]) if is_text(args[0].type) else bound[0], bound[1])
    digits = bound[0].digits if result.typname == "numeric" else None
    made = combine(chosen.template.format(*(b.sql for b in bound)), result, symbol, tuple(bound), digits=digits)
    return shown.of_function(symbol, made, bound) if result.typname == "numeric" else made


def _are_numeric(args: Sequence[Expr]) -> bool:
    kinds = {a.type.typname for a in args if not a.unknown}
    return "numeric" in kinds and kinds <= {"numeric", "int2", "int4", "int8"}


def _regular(symbol: str, text: Expr, pattern: Expr) -> Expr:
    sql = f"regexp_matches({text.sql}, {pattern_text(pattern, 'i' if symbol.endswith('*') else '')})"
    return combine(f"(NOT {sql})" if symbol[0] == "!" else sql, BOOL, symbol, (text, pattern))


def _has_other_element(symbol: str, chosen: signature.Signature, args: Sequence[Expr]) -> bool:
    """Whether a range is asked for a value of another type than its bounds have: nothing is cast for anyelement."""
    if symbol not in ("@>", "<@"):
        return False
    kinds = zip(args, chosen.arguments, strict=True)
    return any(not a.unknown and wanted in SUBTYPES.values() and a.type.typname != wanted for a, wanted in kinds)


def _argument(binder: Binder, arg: Expr, wanted: str, others: Sequence[Expr]) -> Expr:
    if wanted == "anyarray":
        known = next((o.type for o in others if o.type.element is not None), array_of(TEXT))
        return coerce(arg, known, binder.context)
    return coerce(arg, BY_NAME[wanted], binder.context)


def _numeric(binder: Binder, symbol: str, left: Expr, right: Expr) -> Expr:
    a, b = coerce(left, NUMERIC, binder.context), coerce(right, NUMERIC, binder.context)
    ad, bd = numeric_digits_of(a), numeric_digits_of(b)
    if symbol in "+-":
        sql, digits = numerics.plus(a, b, symbol, ad, bd)
    elif symbol == "*":
        sql, digits = numerics.times(a, b, ad, bd)
    elif symbol == "%":
        sql, digits = numerics.modulo(a, b, ad, bd)
    else:
        sql, digits = numerics.over(a.sql, b.sql, ad, bd)
    return shown.operation(symbol, combine(sql, NUMERIC, symbol, (a, b), digits=digits), a, b)


def no_operator(symbol: str, *args: Expr) -> UndefinedFunction:
    names = [a.type.name for a in args]
    text = f"{symbol} {names[0]}" if len(names) == 1 else f"{names[0]} {symbol} {names[1]}"
    return UndefinedFunction(f"operator does not exist: {text}", hint=_NO_OPERATOR_HINT)


@binds(*_COMPARISONS)
def comparison(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    symbol = _COMPARISONS[type(node)]
    right_node = node.expression
    if isinstance(right_node, exp.Any) or _is_all(right_node):
        return _quantified(binder, symbol, node.this, right_node, scope)
    return compare(binder, symbol, binder.bind(node.this, scope), binder.bind(right_node, scope))


def compare(binder: Binder, symbol: str, left: Expr, right: Expr) -> Expr:
    """A comparison in the operands' common type."""
    mine, others = fields_of(left), fields_of(right)
    if mine is not None and others is not None:
        return compare_rows(binder, symbol, mine, others)
    target = _comparable(symbol, left, right)
    digits = common_digits([left, right]) if target.typname == "numeric" else None
    a, b = coerce(left, target, binder.context, digits), coerce(right, target, binder.context, digits)
    if BPCHAR in (target, target.element):
        a, b = blanks.compared(symbol, a, b)
    op = symbol if symbol[0] != "I" else symbol.lower()
    if symbol in _ORDERED or (target.element or target).typname == "numrange":
        a, b = coercion.ordered(a), coercion.ordered(b)
    return combine(f"({a.sql} {symbol} {b.sql})", BOOL, op, (a, b))


def _comparable(symbol: str, left: Expr, right: Expr) -> SqlType:
    a, b = left.type, right.type
    if left.unknown and right.unknown:
        return TEXT
    if left.unknown or right.unknown:
        target = b if left.unknown else a
        if target.typname == "varchar":
            target = TEXT  # which has the operators
    elif a.typname == b.typname:
        target = a
    elif is_text(a) and is_text(b):
        # character has the exacter operator for varchar, text its own.
        target = BPCHAR if {a.typname, b.typname} == {"bpchar", "varchar"} else TEXT
    elif implicit(a, b):
        target = b
    elif implicit(b, a):
        target = a
    else:
        raise no_operator(symbol, left, right)
    if target.typname in coercion.INCOMPARABLE or target is UNKNOWN:
        raise no_operator(symbol, left, right)
    return target


def _is_all(node: exp.Expr) -> bool:
    return isinstance(node, exp.All) or (isinstance(node, exp.Anonymous) and str(node.this).lower() == "all")


def _quantified(binder: Binder, symbol: str, left_node: exp.Expr, right_node: exp.Expr, scope: Scope) -> Expr:
    word = "ANY" if isinstance(right_node, exp.Any) else "ALL"
    inner = right_node.this if not isinstance(right_node, exp.Anonymous) else right_node.expressions[0]
    while isinstance(inner, exp.Paren):
        inner = inner.this
    left = binder.bind(left_node, scope)
    if isinstance(inner, exp.Query):
        query = binder.bind_query(binder, inner, scope)
        left, sql = _against_query(binder, symbol, left, query)
        return combine(f"({left.sql} {symbol} {word} ({sql}))", BOOL, "subquery", (left,), stable=False)
    right = binder.bind(inner, scope)
    if right.unknown:
        right = coerce(right, array_of(TEXT if left.unknown else left.type), binder.context)
    if right.type.element is None:
        raise SqlSyntaxError("op ANY/ALL (array) requires array on right side", position=right.position)
    element = Expr("x", right.type.element, digits=right.digits)
    target = _comparable(symbol, left, element)
    digits = common_digits([left, element]) if target.typname == "numeric" else None
    left = coerce(left, target, binder.context, digits)
    right = coerce(right, array_of(target), binder.context, digits)
    if target == BPCHAR:
        left, right = blanks.forgotten(left), blanks.forgotten(right)
    # A subquery keeps SQL's three values: x = ANY('{NULL}') is NULL, not false.
    sql = f"({left.sql} {symbol} {word} (SELECT unnest({right.sql})))"
    if right.op != "array" and not (right.op == "literal" and right.value is not None):
        # No array is unknown, where no rows would be false (ANY) or true (ALL).
        missing = f"({right.sql} IS NULL AND NULL)" if word == "ANY" else f"({right.sql} IS NOT NULL OR NULL)"
        sql = f"({missing} {'OR' if word == 'ANY' else 'AND'} {sql})"
    return combine(sql, BOOL, f"{symbol} {word.lower()}", (left, right))


def _against_query(binder: Binder, symbol: str, left: Expr, query: BoundQuery) -> tuple[Expr, str]:
    if len(query.outputs) != 1:
        raise SqlSyntaxError("subquery has too many columns")
    output = query.outputs[0]
    inner = Expr("s.c1", output.type, digits=output.digits)
    target = _comparable(symbol, left, inner)
    digits = common_digits([left, inner]) if target.typname == "numeric" else None
    made = coerce(inner, target, binder.context, digits)
    if target == BPCHAR:
        left, made = blanks.forgotten(coerce(left, target, binder.context)), blanks.forgotten(made)
    sql = query.sql if made.sql == inner.sql else f"SELECT {made.sql} FROM ({query.sql}) AS s"
    return coerce(left, target, binder.context, digits), sql


def compare_rows(binder: Binder, symbol: str, left: Sequence[Expr], right: Sequence[Expr]) -> Expr:
    if len(left) != len(right):
        raise SqlSyntaxError("unequal number of entries in row expressions")
    sides = list(zip(left, right, strict=True))
    pairs = [compare(binder, symbol, a, b) for a, b in sides]
    if symbol in ("=", "IS NOT DISTINCT FROM"):
        return combine(f"({' AND '.join(p.sql for p in pairs)})", BOOL, "and", tuple(pairs))
    if symbol in ("<>", "IS DISTINCT FROM"):
        return combine(f"({' OR '.join(p.sql for p in pairs)})", BOOL, "or", tuple(pairs))
    # Pair by pair, as PostgreSQL's manual says (9.24.5): DuckDB's own comparison of rows knows no unknown.
    sql = pairs[-1].sql
    for a, b in reversed(sides[:-1]):
        sql = f"({compare(binder, symbol[0], a, b).sql} OR ({compare(binder, '=', a, b).sql} AND {sql}))"
    return combine(sql, BOOL, "row", tuple(pairs))


@binds(exp.And, exp.Or)
def connective(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    """A chain of ANDs is one expression of many arguments, so that depth does not grow with length."""
    kind = type(node)
    parts: list[exp.Expr] = []
    at = node
    while isinstance(at, kind):
        parts.append(at.expression)
        at = at.this
    parts.append(at)
    limits.check_terms(len(parts))
    word = "AND" if kind is exp.And else "OR"
    bound = tuple(as_bool(binder.bind(part, scope), word, binder.context) for part in reversed(parts))
    return combine(f"({f' {word} '.join(b.sql for b in bound)})", BOOL, word.lower(), bound)


@binds(exp.Not)
def negation(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    inner = as_bool(binder.bind(node.this, scope), "NOT", binder.context)
    return combine(f"(NOT {inner.sql})", BOOL, "not", (inner,))


def _negated(expr: Expr, node: exp.Expr) -> Expr:
    return combine(f"(NOT {expr.sql})", BOOL, "not", (expr,)) if node.args.get("negate") else expr


@binds(exp.Between)
def between(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    # A value that is new at each evaluation is evaluated for each bound, in PostgreSQL too.
    value = binder.bind(node.this, scope)
    low, high = binder.bind(node.args["low"], scope), binder.bind(node.args["high"], scope)

    def within(a: Expr, b: Expr) -> Expr:
        pair = (compare(binder, ">=", value, a), compare(binder, "<=", value, b))
        return combine(f"({pair[0].sql} AND {pair[1].sql})", BOOL, "and", pair)

    made = within(low, high)
    if node.args.get("symmetric"):
        other = within(high, low)
        made = combine(f"({made.sql} OR {other.sql})", BOOL, "or", (made, other))
    return _negated(made, node)


@binds(exp.In)
def in_(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    query = node.args.get("query")
    value = binder.bind(node.this, scope)
    fields = fields_of(value)
    if fields is not None:
        return _rows_in(binder, node, scope, value, fields)
    if query is not None:
        value, sql = _against_query(binder, "=", value, binder.bind_query(binder, query, scope))
        return _negated(combine(f"({value.sql} IN ({sql}))", BOOL, "subquery", (value,), stable=False), node)
    long = _in_long(binder, value, node.expressions)
    if long is not None:
        return _negated(long, node)
    items = [binder.bind(item, scope) for item in limits.items(node.expressions)]
    return once(value, items, lambda left: _in_list(binder, node, left, items))


def _in_list(binder: Binder, node: exp.Expr, value: Expr, items: Sequence[Expr]) -> Expr:
    pairs = [compare(binder, "=", value, item) for item in items]
    if all(p.args[0].sql == pairs[0].args[0].sql for p in pairs):
        left = pairs[0].args[0]
        sql = f"({left.sql} IN ({', '.join(p.args[1].sql for p in pairs)}))"
    else:
        sql = f"({' OR '.join(p.sql for p in pairs)})"
    return _negated(combine(sql, BOOL, "or", tuple(pairs)), node)


def _in_long(binder: Binder, left: Expr, nodes: Sequence[exp.Expr]) -> Expr | None:
    """IN of many literals as a relation of theirs; None: as it is written. DuckDB takes no subquery in an outer
    join's condition."""
    if len(nodes) < literal_lists.MIN_LONG or binder.refused == "JOIN conditions":
        return None
    found = literal_lists.literals_of(nodes)
    if found is None:
        return None
    target = _comparable("=", left, Expr("", found.type, digits=found.digits))
    made = literal_lists.comparable(found, left, target, binder.context)
    if made is None:
        return None
    column, values, digits = made
    left = coerce(left, target, binder.context, digits)
    if target == BPCHAR:
        left = blanks.forgotten(left)
    source = literal_lists.source_of(binder, [column])
    listed = literal_lists.list_of(left, values)
    return combine(f"({left.sql} IN (SELECT c1 FROM {source.name}))", BOOL, "= any", (left, listed))


def _rows_in(binder: Binder, node: exp.Expr, scope: Scope, value: Expr, values: Sequence[Expr]) -> Expr:
    query = node.args.get("query")
    if query is None:
        pairs = [compare(binder, "=", value, binder.bind(item, scope)) for item in limits.terms(node.expressions)]
        return _negated(combine(f"({' OR '.join(p.sql for p in pairs)})", BOOL, "or", tuple(pairs)), node)
    bound = binder.bind_query(binder, query, scope)
    if len(bound.outputs) != len(values):
        raise SqlSyntaxError("subquery has too few columns" if len(bound.outputs) < len(values) else
                             "subquery has too many columns")  # fmt: skip
    pairs = [
        compare(binder, "=", value, Expr(f"s.c{i + 1}", o.type, digits=o.digits))
        for i, (value, o) in enumerate(zip(values, bound.outputs, strict=True))
    ]
    left = ", ".join(p.args[0].sql for p in pairs)
    right = ", ".join(p.args[1].sql for p in pairs)
    if not _is_condition(node):
        # Only where false and unknown are the same may DuckDB compare the rows, since to it NULL equals NULL or not.
        sql = f"(true IN (SELECT ({' AND '.join(p.sql for p in pairs)}) FROM ({bound.sql}) AS s))"
    else:
        known = " AND ".join(f"{p.args[0].sql} IS NOT NULL" for p in pairs)
        sql = f"({known} AND ({left}) IN (SELECT ({right}) FROM ({bound.sql}) AS s))"
    return _negated(combine(sql, BOOL, "subquery", tuple(values), stable=False), node)


def _is_condition(node: exp.Expr) -> bool:
    """Whether a test is one of the conditions of WHERE, so that unknown counts as false."""
    if node.args.get("not") or node.args.get("negate"):
        return False
    outer = node.parent
    while isinstance(outer, exp.Paren | exp.And | exp.Or):
        outer = outer.parent
    return isinstance(outer, exp.Where)


@binds(exp.Is)
def is_(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    value, what = binder.bind(node.this, scope), node.expression
    fields = fields_of(value)
    if isinstance(what, exp.Null) and fields is not None:
        # A row is NULL when all its fields are, not NULL when none is.
        test = "IS NOT NULL" if node.args.get("negate") else "IS NULL"
        parts = " AND ".join(f"{f.sql} {test}" for f in fields) or "true"
        return combine(f"({parts})", BOOL, "is row", (value,))
    if isinstance(what, exp.Null):
        sql, op = f"({value.sql} IS NULL)", "is null"
        if node.args.get("negate"):
            return combine(f"({value.sql} IS NOT NULL)", BOOL, "is not null", (value,))
        return combine(sql, BOOL, op, (value,))
    if not isinstance(what, exp.Boolean):
        raise FeatureNotSupported("IS takes NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM")
    value = as_bool(value, "IS TRUE", binder.context)
    sql = f"({value.sql} IS NOT DISTINCT FROM {'true' if what.this else 'false'})"
    return _negated(combine(sql, BOOL, "is", (value,)), node)


@binds(exp.Like, exp.ILike, exp.SimilarTo)
def pattern(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    return _pattern(binder, node, scope, None)


@binds(exp.Escape)
def escaped_pattern(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    return _pattern(binder, node.this, scope, node.expression.name)


def _pattern(binder: Binder, node: exp.Expr, scope: Scope, escape: str | None) -> Expr:
    kind = type(node)
    symbol = _PATTERNS.get(kind, "~")
    right_node = node.expression
    if isinstance(right_node, exp.Any) or _is_all(right_node):
        return _quantified_pattern(binder, node, scope)
    left, right = binder.bind(node.this, scope), binder.bind(right_node, scope)
    for side in (left, right):
        if not implicit(side.type, TEXT):
            raise no_operator(symbol, left, right)
    left, right = coerce(blanks.kept(left), TEXT, binder.context), coerce(right, TEXT, binder.context)
    if kind is exp.SimilarTo:
        sql = f"regexp_full_match({left.sql}, pg_similar({right.sql}))"
        return _negated(combine(sql, BOOL, "similar to", (left, right)), node)
    word = "LIKE" if kind is exp.Like else "ILIKE"
    if escape is not None and len(escape) > 1:
        raise InvalidEscapeSequence("invalid escape string", hint="Escape string must be empty or one character.")
    sign = "\\" if escape is None else escape
    suffix = f" ESCAPE {literal.quote(sign)}" if sign else ""
    sql = f"({left.sql} {word} {right.sql}{suffix})"
    return _negated(combine(sql, BOOL, word.lower(), (left, right), value=sign), node)


def _quantified_pattern(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    """LIKE ANY (array) and LIKE ALL (array)."""
    inner = node.expression.this if not isinstance(node.expression, exp.Anonymous) else node.expression.expressions[0]
    while isinstance(inner, exp.Paren):
        inner = inner.this
    left = coerce(blanks.kept(binder.bind(node.this, scope)), TEXT, binder.context)
    right = coerce(binder.bind(inner, scope), array_of(TEXT), binder.context)
    word = "LIKE" if isinstance(node, exp.Like) else "ILIKE"
    test = f"({left.sql} {'NOT ' if node.args.get('negate') else ''}{word} pg_item ESCAPE '\\')"
    fold = "list_bool_or" if isinstance(node.expression, exp.Any) else "list_bool_and"
    empty = "false" if isinstance(node.expression, exp.Any) else "true"
    sql = (
        f"CASE WHEN len({right.sql}) = 0 THEN {empty} "
        f"ELSE {fold}(list_transform({right.sql}, lambda pg_item: {test})) END"
    )
    return combine(sql, BOOL, "call", (left, right))


@binds(exp.DPipe)
def concatenation(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    left, right = binder.bind(node.this, scope), binder.bind(node.expression, scope)
    a, b = left.type.element, right.type.element
    if "bytea" in (left.type.typname, right.type.typname) and not (is_text(left.type) or is_text(right.type)):
        left, right = (coerce(side, BY_NAME["bytea"], binder.context) for side in (left, right))
        return combine(f"({left.sql} || {right.sql})", left.type, "||", (left, right))
    if "jsonb" in (left.type.typname, right.type.typname) and not (is_text(left.type) or is_text(right.type)):
        return operate(binder, "||", left, right)
    if a is not None or b is not None:
        return _arrays(binder, left, right)
    if not (left.unknown or right.unknown or is_text(left.type) or is_text(right.type)):
        if left.type.typname == right.type.typname == "bytea":
            return combine(f"({left.sql} || {right.sql})", left.type, "||", (left, right))
        raise no_operator("||", left, right)
    left, right = coerce(left, TEXT, binder.context), coerce(right, TEXT, binder.context)
    return combine(f"({left.sql} || {right.sql})", TEXT, "||", (left, right))


def _arrays(binder: Binder, left: Expr, right: Expr) -> Expr:
    target = left.type if left.type.element is not None else right.type
    assert target.element is not None
    parts = []
    for side in (left, right):
        if side.type.element is not None or side.unknown:
            parts.append(coerce(side, target, binder.context).sql)
        else:
            parts.append(f"[{coerce(side, target.element, binder.context).sql}]")
    # NULL || array is the array (array_cat is not strict).
    sql = f"list_concat({parts[0]}, {parts[1]})"
    return combine(sql, target, "||", (left, right), digits=left.digits or right.digits)


@binds(exp.JSONExtract, exp.JSONExtractScalar)
def json_member(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    symbol = "->" if isinstance(node, exp.JSONExtract) else "->>"
    left, path = binder.bind(node.this, scope), node.expression
    if isinstance(path, exp.JSONPath):
        # sqlglot makes a path of a constant key; the key itself is its last part.
        part = path.expressions[-1].this
        key = coercion.constant(BY_NAME["int4" if isinstance(part, int) else "text"], part)
    else:
        key = binder.bind(path, scope)
    return operate(binder, symbol, left, key)


@binds(exp.Operator)
def named_operator(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    name = str(node.args["operator"]).rpartition(".")[2]
    name = "<>" if name == "!=" else name
    if name in _COMPARISONS.values() and (isinstance(node.expression, exp.Any) or _is_all(node.expression)):
        return _quantified(binder, name, node.this, node.expression, scope)
    left, right = binder.bind(node.this, scope), binder.bind(node.expression, scope)
    if name in ("=", "<>", "<", "<=", ">", ">="):
        return compare(binder, name, left, right)
    return operate(binder, name, left, right)


@binds(exp.AtTimeZone)
def at_time_zone(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    value, zone = binder.bind(node.this, scope), binder.bind(node.args["zone"], scope)
    return call_timezone(binder, value, zone)


def call_timezone(binder: Binder, value: Expr, zone: Expr) -> Expr:
    if value.type.typname == "timetz":
        zone = coerce(zone, TEXT, binder.context)
        return combine(
            f"py_timetz_in_zone({value.sql}, {zone.sql})", value.type, "call", (value, zone), name="timezone"
        )
    if value.type.typname not in ("timestamp", "timestamptz", "date"):
        value = coerce(value, BY_NAME["timestamptz"], binder.context)
    source = "timestamptz" if value.type.typname != "timestamp" else "timestamp"
    value = coerce(value, BY_NAME[source], binder.context)
    result = BY_NAME["timestamp" if source == "timestamptz" else "timestamptz"]
    if zone.type.typname == "interval":
        sql = (
            f"(timezone('UTC', {value.sql}) + {zone.sql})"
            if source == "timestamptz"
            else f"timezone('UTC', {value.sql} - {zone.sql})"
        )
    elif isinstance(zone.value, str) and (offset := _POSIX_OFFSET.fullmatch(zone.value)) is not None:
        # '+03' is POSIX's: three hours west of Greenwich (B.5).
        seconds = int(offset[2]) * 3600 + int(offset[3] or 0) * 60
        shift = f"to_seconds({seconds if offset[1] == '-' else -seconds})"
        sql = (
            f"(timezone('UTC', {value.sql}) + {shift})"
            if source == "timestamptz"
            else f"timezone('UTC', {value.sql} - {shift})"
        )
    else:
        zone = coerce(zone, TEXT, binder.context)
        sql = f"timezone({zone.sql}, {value.sql})"
    return combine(sql, result, "call", (value, zone), name="timezone")
