"""Conjuncts on one tag become a test of that tag's distinct values, by SQL's three-valued logic.

What the test cannot decide (a value computed by DuckDB, an unusual pattern) it keeps: the statement decides again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from tsdb.model.schema import Role
from tsdb.model.store import TagMatch
from tsdb.sql.expressions.coercion import is_text
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.plan import Plan, PlannedScan, Undecided, Values, both_sides, column_of, is_constant

_ORDERED = ("<", "<=", ">", ">=", "like", "~")
Test = Callable[[str | None], bool | None]
# Patterns that mean the same to RE2 and to Python.
_PLAIN_REGEX = re.compile(r"\^?(?:[A-Za-z0-9_ /:,=@%-]|\.[*+?]?|\|)*\$?")
# Python goes back to each repetition, and nothing else runs meanwhile: one is enough. At an end one says nothing.
_REPETITION, _LEADING, _TRAILING = re.compile(r"\.[*+?]"), re.compile(r"^\^?(?:\.\*)+"), re.compile(r"(?:\.\*)+\$?$")
_SEARCHED_MAX = 1000
_COMPARE: dict[str, Callable[[bytes, bytes], bool]] = {
    "=": lambda a, b: a == b, "<>": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip


def prune_by_tags(plan: Plan) -> Plan:
    scans = tuple(_tested(scan) for scan in plan.scans)
    rules = (*plan.rules, "prune_by_tags") if any(s.tags for s in scans) else plan.rules
    return replace(plan, scans=scans, rules=rules)


def _tested(scan: PlannedScan) -> PlannedScan:
    tags = []
    for condition in scan.conditions:
        number = only_tag(condition)
        if number is not None and _known(condition) and _in_order(condition):
            tags.append(_match(number, condition))
    return replace(scan, tags=tuple(tags))


def only_tag(expr: Expr) -> int | None:
    """The number of the one tag, of a type of texts or labels, that a condition reads."""
    numbers = set()
    for each in expr.walk():
        reference = column_of(each)
        if reference is not None:
            column = reference.relation.columns[reference.index]
            stored = column.series_column
            if stored is None or stored.role is not Role.TAG:
                return None
            if not is_text(stored.type) and stored.type.labels is None:
                return None
            numbers.add(stored.number)
    return numbers.pop() if len(numbers) == 1 else None


def _in_order(condition: Expr) -> bool:
    """Whether a condition compares as bytes do: labels have an order of their own."""
    walked = list(condition.walk())
    return all(e.type.labels is None for e in walked) or all(e.op not in _ORDERED for e in walked)


def _match(number: int, condition: Expr) -> Callable[[Values], TagMatch]:
    def made(values: Values) -> TagMatch:
        passing = _passing(condition, values)
        if passing is not None:
            # They are looked up: the test is for whoever asks it nevertheless.
            return TagMatch(number, lambda value: value is not None and value in passing, passing)
        test = _test(condition, values)

        def keep(value: str | None) -> bool:
            try:
                return test(value) is True
            except Undecided:
                return True

        return TagMatch(number, lru_cache(maxsize=65_536)(keep))

    return made


def _passing(expr: Expr, values: Values) -> frozenset[str] | None:
    """All values that satisfy a condition, where it names them."""
    if expr.op in ("and", "or"):
        sets = [_passing(arg, values) for arg in expr.args]
        known = [each for each in sets if each is not None]
        if len(known) < len(sets):
            return None
        return frozenset.union(*known) if expr.op == "or" else frozenset.intersection(*known)
    if expr.op == "=":
        constant = values(both_sides(expr)[0][2])
        return frozenset() if constant is None else frozenset((str(constant),))
    if expr.op == "= any":
        items = values(expr.args[1])
        return frozenset(str(item) for item in items if item is not None) if isinstance(items, list) else None
    return None


def _known(expr: Expr) -> bool:
    """Whether ``_test`` knows the form of a condition."""
    if expr.op in ("and", "or", "not"):
        return all(_known(arg) for arg in expr.args)
    if expr.op in ("is null", "is not null"):
        return column_of(expr.args[0]) is not None
    if expr.op in ("= any", "<> all", "like", "~"):
        return column_of(expr.args[0]) is not None and is_constant(expr.args[1])
    return expr.op in _COMPARE and any(is_constant(other) for _, _, other in both_sides(expr))


def _test(expr: Expr, values: Values) -> Test:
    if expr.op == "not":
        inner = _test(expr.args[0], values)
        return lambda v: None if (r := inner(v)) is None else not r
    if expr.op in ("and", "or"):
        return _connective(expr.op == "and", [_test(arg, values) for arg in expr.args])
    if expr.op == "is null":
        return lambda v: v is None
    if expr.op == "is not null":
        return lambda v: v is not None
    if expr.op in ("= any", "<> all"):
        return _in_array(expr, values)
    if expr.op in ("like", "~"):
        return _pattern(expr, values)
    (_, operator, other), compare = both_sides(expr)[0], _COMPARE
    constant = values(other)
    if constant is None:
        return lambda v: None
    octets, operation = str(constant).encode(), compare[operator]
    return lambda v: None if v is None else operation(v.encode(), octets)


def _connective(is_and: bool, parts: list[Test]) -> Test:
    def test(value: str | None) -> bool | None:
        unknown = False
        for part in parts:
            result = part(value)
            if result is None:
                unknown = True
            elif result is not is_and:
                return result
        return None if unknown else is_and

    return test


def _in_array(expr: Expr, values: Values) -> Test:
    items = values(expr.args[1])
    if items is None:
        return lambda v: None
    if not isinstance(items, list):
        raise Undecided
    known = {str(item) for item in items if item is not None}
    has_null, found = len(known) < len({*items}), expr.op == "= any"

    def test(value: str | None) -> bool | None:
        if not items:
            return not found
        if value is None:
            return None
        if value in known:
            return found
        return None if has_null else not found

    return test


def _pattern(expr: Expr, values: Values) -> Test:
    pattern = values(expr.args[1])
    if pattern is None:
        return lambda v: None
    text = str(pattern)
    if expr.op == "like":
        matches = like_pattern(text, str(expr.value or "")).fullmatch
    else:
        ways = [_TRAILING.sub("", _LEADING.sub("", way)) for way in text.split("|")]
        if _PLAIN_REGEX.fullmatch(text) is None or any(len(_REPETITION.findall(way)) > 1 for way in ways):
            raise Undecided
        text = "|".join(ways)
        matches = re.compile(text.removesuffix("$") + r"\Z" if text.endswith("$") else text, re.DOTALL).search

    def test(value: str | None) -> bool | None:
        if value is None:
            return None
        if "\n" in value or (expr.op == "~" and len(value) > _SEARCHED_MAX):
            raise Undecided
        return matches(value) is not None

    return test


def like_pattern(pattern: str, escape: str) -> re.Pattern[str]:
    """LIKE as a regular expression, which takes time in proportion to the text: what lies between two ``%`` is looked
    for once, where it comes first. Raises Undecided for a pattern that ends in its escape character."""
    parts = [""]
    at = iter(pattern)
    for character in at:
        if escape and character == escape:
            following = next(at, None)
            if following is None:
                raise Undecided
            parts[-1] += re.escape(following)
        elif character == "%":
            parts.append("")
        else:
            parts[-1] += "." if character == "_" else re.escape(character)
    first, *others = parts
    between = "".join(f"(?>.*?{part})" for part in others[:-1] if part)
    return re.compile(f"{first}{between}.*{others[-1]}" if others else first, re.DOTALL)
