"""The functions of regular expressions. Source: PostgreSQL 15 manual, 9.7.3."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from tsdb.errors import FeatureNotSupported, InvalidParameterValue, UndefinedFunction
from tsdb.sql import literal, patterns
from tsdb.sql.bind.binder import Binder
from tsdb.sql.bind.calls import special
from tsdb.sql.expressions.coercion import coerce, is_text
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.pattern_text import pattern_text
from tsdb.sql.expressions.relation import Scope
from tsdb.types import BOOL, INT4, TEXT, array_of


class Call:
    """The arguments of a regular expression function, by their places."""

    def __init__(self, binder: Binder, name: str, args: Sequence[Expr], *, numbers: Sequence[int] = ()) -> None:
        if len(args) < 2:
            raise UndefinedFunction(f"function {name} with {len(args)} arguments does not exist")
        self.args = [coerce(a, INT4 if i in numbers else TEXT, binder.context) for i, a in enumerate(args)]
        self.text, self.pattern = self.args[0], self.args[1]

    def flags(self, place: int) -> str:
        if place >= len(self.args):
            return ""
        flags = self.args[place]
        if flags.op != "literal" or not isinstance(flags.value, str):
            raise FeatureNotSupported("the flags of a regular expression must be a constant")
        return flags.value

    def number(self, place: int, default: int) -> int:
        if place >= len(self.args):
            return default
        given = self.args[place]
        if given.op != "literal" or not isinstance(given.value, int):
            raise FeatureNotSupported("positions in regular expression functions must be constants")
        return given.value

    def from_start(self, place: int) -> str:
        """The text from a place on."""
        start = self.number(place, 1)
        if start < 1:
            raise InvalidParameterValue(f'invalid value for parameter "start": {start}')
        return self.text.sql if start == 1 else f"substring({self.text.sql}, {start})"


def matches(call: Call, flags: str) -> str:
    """The list of matches (each a list of its groups, or of the whole): all with g, else the first."""
    pattern, text = pattern_text(call.pattern, flags), call.text.sql
    count = patterns.groups(pattern)
    places = range(1, count + 1) if count else range(1)
    if "g" in flags:
        lists = [f"regexp_extract_all({text}, {pattern}, {p})" for p in places]
        row = ", ".join(f"list_extract({each}, pg_place)" for each in lists)
        return f"list_transform(range(1, len({lists[0]}) + 1), lambda pg_place: [{row}])"
    row = ", ".join(f"regexp_extract({text}, {pattern}, {p})" for p in places)
    return f"CASE WHEN regexp_matches({text}, {pattern}) THEN [[{row}]] ELSE CAST([] AS VARCHAR[][]) END"


def _bound(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> list[Expr]:
    return [binder.bind(a, scope) for a in arguments]


@special("regexp_match")
def regexp_match(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    call = Call(binder, "regexp_match", _bound(binder, arguments, scope))
    flags = call.flags(2)
    if "g" in flags:
        raise InvalidParameterValue('regexp_match() does not support the "global" option', hint="Use the "
                                    "regexp_matches function instead.")  # fmt: skip
    return combine(f"list_extract({matches(call, flags)}, 1)", array_of(TEXT), "call", tuple(call.args))


@special("regexp_replace")
def regexp_replace(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    args = _bound(binder, arguments, scope)
    placed = len(args) > 3 and not (args[3].unknown or is_text(args[3].type))
    call = Call(binder, "regexp_replace", args, numbers=(3, 4) if placed else ())
    if len(args) < 3:
        raise UndefinedFunction("function regexp_replace with 2 arguments does not exist")
    flags = call.flags(5 if placed else 3)
    occurrence = call.number(4, 1) if placed else 0 if "g" in flags else 1
    if occurrence > 1:
        raise FeatureNotSupported("regexp_replace of one later occurrence is not supported")
    new = call.args[2]
    if new.op == "literal" and isinstance(new.value, str):
        new_text = literal.quote(patterns.replacement(new.value))
    else:
        new_text = f"py_replacement({new.sql})"
    rest = call.from_start(3) if placed else call.text.sql
    option = ", 'g'" if occurrence == 0 else ""
    sql = f"regexp_replace({rest}, {pattern_text(call.pattern, flags)}, {new_text}{option})"
    if rest != call.text.sql:
        sql = f"(left({call.text.sql}, {call.number(3, 1) - 1}) || {sql})"
    return combine(sql, TEXT, "call", tuple(call.args))


@special("regexp_split_to_array")
def regexp_split_to_array(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    return split(Call(binder, "regexp_split_to_array", _bound(binder, arguments, scope)))


def split(call: Call) -> Expr:
    sql = f"regexp_split_to_array({call.text.sql}, {pattern_text(call.pattern, call.flags(2))})"
    return combine(sql, array_of(TEXT), "call", tuple(call.args))


@special("regexp_like")
def regexp_like(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    call = Call(binder, "regexp_like", _bound(binder, arguments, scope))
    sql = f"regexp_matches({call.text.sql}, {pattern_text(call.pattern, call.flags(2))})"
    return combine(sql, BOOL, "call", tuple(call.args))


@special("regexp_count")
def regexp_count(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    call = Call(binder, "regexp_count", _bound(binder, arguments, scope), numbers=(2,))
    found = f"regexp_extract_all({call.from_start(2)}, {pattern_text(call.pattern, call.flags(3))})"
    return combine(f"CAST(len({found}) AS INTEGER)", INT4, "call", tuple(call.args))


@special("regexp_substr")
def regexp_substr(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    call = Call(binder, "regexp_substr", _bound(binder, arguments, scope), numbers=(2, 3, 5))
    pattern = pattern_text(call.pattern, call.flags(4))
    found = f"regexp_extract_all({call.from_start(2)}, {pattern}, {call.number(5, 0)})"
    return combine(f"list_extract({found}, {call.number(3, 1)})", TEXT, "call", tuple(call.args))


@special("regexp_instr")
def regexp_instr(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    """Where the n-th match begins, or what follows it: what lies before it is a match of its own."""
    call = Call(binder, "regexp_instr", _bound(binder, arguments, scope), numbers=(2, 3, 4, 6))
    if not (call.pattern.op == "literal" and isinstance(call.pattern.value, str)) or call.number(6, 0):
        raise FeatureNotSupported("regexp_instr takes a constant pattern and no subexpression")
    inner = patterns.to_re2(call.pattern.value, call.flags(5))
    before = literal.quote(f"^((?s:(?:.*?(?:{inner})){{{call.number(3, 1) - 1}}}.*?))(?:{inner})")
    rest = call.from_start(2)
    length = f"length(regexp_extract({rest}, {before}, {1 if not call.number(4, 0) else 0}))"
    sql = f"CAST(CASE WHEN regexp_matches({rest}, {before}) THEN {length} + {call.number(2, 1)} ELSE 0 END AS INTEGER)"
    return combine(sql, INT4, "call", tuple(call.args))
