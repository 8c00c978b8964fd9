"""Where in a statement an error is, beyond what the parser's tree keeps: operators, casts and parentheses by tokens.

Source: where PostgreSQL 15 puts its error cursor (parse_oper.c, parse_target.c, parse_coerce.c).
"""

from __future__ import annotations

from sqlglot import exp

from tsdb.errors import TsdbError, UndefinedObject
from tsdb.sql.lexer import Token
from tsdb.sql.statement import Fragment


def start_of(node: exp.Expr) -> int | None:
    """The first character of a node that any leaf of it tells, from 0 in its fragment."""
    starts = [int(n.meta["start"]) for n in node.walk() if n._meta and "start" in n.meta]
    return min(starts, default=None)


def of_node(fragment: Fragment, node: exp.Expr | None) -> int | None:
    """A node's position in the message, from 1."""
    start = start_of(node) if node is not None else None
    return None if start is None else start + 1 + fragment.offset


def of_error(fragment: Fragment, node: exp.Expr, error: TsdbError) -> int | None:
    """The place of an error of binding ``node`` that has none: the operator's, the cast's."""
    if isinstance(node, exp.Binary) and not isinstance(node, exp.Dot):
        return _position(fragment, _before(fragment, node.expression))
    if isinstance(node, exp.Cast):
        sign = _cast_sign(fragment, node)
        if sign is None:
            return None
        if isinstance(error, UndefinedObject):
            following = fragment.tokens[fragment.tokens.index(sign) + 1 :]
            return _position(fragment, following[0]) if following else None
        return _position(fragment, sign) if sign.value == "::" else None
    return None


def of_subquery(fragment: Fragment, query: exp.Expr) -> int | None:
    """The parenthesis before a subquery."""
    start = start_of(query)
    for token in reversed([t for t in fragment.tokens if start is not None and t.start < start]):
        if token.value == "(":
            return _position(fragment, token)
    return None


def of_word(fragment: Fragment, word: str, query: exp.Expr) -> int | None:
    """The last ``word`` before a subquery."""
    start = start_of(query)
    found = [t for t in fragment.tokens if start is not None and t.start < start and t.is_word(word)]
    return _position(fragment, found[-1]) if found else None


def of_parameter(fragment: Fragment, known: int) -> tuple[str, int] | None:
    """The first parameter beyond those that are known, and its position."""
    for token in fragment.tokens:
        if token.kind == "parameter" and int(token.value[1:]) > known:
            return token.value, token.start + 1 + fragment.offset
    return None


def _position(fragment: Fragment, token: Token | None) -> int | None:
    return None if token is None else token.start + 1 + fragment.offset


def _before(fragment: Fragment, right: exp.Expr) -> Token | None:
    """The operator before the right operand."""
    start = start_of(right)
    signs = 0
    while isinstance(right, exp.Neg | exp.Paren):
        signs += isinstance(right, exp.Neg)
        right = right.this
    for token in reversed([t for t in fragment.tokens if start is not None and t.start < start]):
        if token.kind == "operator" and signs:
            signs -= 1
        elif token.kind == "operator":
            return token
        elif token.value != "(" and not token.is_word("cast", "row", "array", "any", "all", "select", "case", "when"):
            return None
    return None


def _cast_sign(fragment: Fragment, node: exp.Cast) -> Token | None:
    """``::``, or the AS of CAST."""
    inner, casts = node.this, 0
    while isinstance(inner, exp.Cast):
        inner, casts = inner.this, casts + 1
    ends = [int(n.meta["end"]) for n in inner.walk() if n._meta and "end" in n.meta]
    for token in fragment.tokens:
        if ends and token.start > max(ends) and (token.value == "::" or token.is_word("as")):
            if not casts:
                return token
            casts -= 1
    return None
