"""When a DELETE's condition is about time and tags alone: the RangeDeletion that hides exactly what it selects.

    time >= X, time < X, time = X, time BETWEEN X AND Y      X without columns: literals, now(), parameters, subqueries
    time_ns, likewise, with integers
    tag = X, tag <> X, tag IN (…), tag NOT IN (…), tag IS [NOT] NULL      for tags of type text
    tag [NOT] LIKE X, tag [NOT] ILIKE X, tag ~ X, tag !~* X …             likewise: the tag's values that match, by name

``recognize`` gives the conjuncts in this form, or None if there is one of any other kind: then the caller evaluates the
condition and deletes by keys. The values are asked from one query (``values``), what a pattern matches from one for
each (``patterns``), and both are put in by ``deletion``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlglot import exp

from tsdb.model.schema import Role, Series
from tsdb.model.store import TIME_NS, RangeDeletion, TagIn, TimeRange
from tsdb.model.time import NS_MAX, NS_MIN, clamp_ns, ns_from_us_ge, ns_from_us_gt
from tsdb.sql import trees
from tsdb.types import TEXT, TIMESTAMPTZ, VARCHAR

Comparison = Literal[">=", ">", "<=", "<", "="]

_OPERATORS: dict[type[exp.Expr], Comparison] = {exp.GTE: ">=", exp.GT: ">", exp.LTE: "<=", exp.LT: "<", exp.EQ: "="}
_MIRRORED: dict[Comparison, Comparison] = {">=": "<=", ">": "<", "<=": ">=", "<": ">", "=": "="}
_TAG_TYPES = (TEXT, VARCHAR)


@dataclass(frozen=True, slots=True)
class TimeBound:
    """The time, or time_ns where ``exact``, compared with the value at ``value``."""

    comparison: Comparison
    value: int
    exact: bool


@dataclass(frozen=True, slots=True)
class TagCondition:
    """A tag is (negated: is not) one of the values at ``values``; ``absent`` is IS NULL."""

    column: int
    values: tuple[int, ...]
    negated: bool = False
    absent: bool = False


@dataclass(frozen=True, slots=True)
class PatternCondition:
    """``condition`` is about the tag ``tag`` alone, whose number is ``column``, and never true where it is absent."""

    column: int
    tag: exp.Expr
    condition: exp.Expr


@dataclass(frozen=True)
class RangeCondition:
    """``values`` are the expressions to be asked once, each cast to the type it is compared as."""

    series: Series
    conditions: tuple[TimeBound | TagCondition, ...]
    values: tuple[exp.Expr, ...]
    patterns: tuple[PatternCondition, ...] = ()

    def deletion(
        self, values: Sequence[object | None], matching: Sequence[frozenset[str]] = ()
    ) -> RangeDeletion | None:
        """With µs for times and text for tags, and what each pattern matches; None if nothing can match."""
        low, high = NS_MIN, NS_MAX
        tags = [TagIn(each.column, found) for each, found in zip(self.patterns, matching, strict=True)]
        if not all(matching):
            return None
        for condition in self.conditions:
            if isinstance(condition, TimeBound):
                value = values[condition.value]
                if value is None:
                    return None
                assert isinstance(value, int)
                bound = _range(condition, value)
                low, high = max(low, bound.low), min(high, bound.high)
                continue
            tag = _tag_in(condition, values)
            if tag is None:
                return None
            tags.append(tag)
        span = TimeRange(low, high)
        return None if span.empty else RangeDeletion(self.series, span, tuple(tags))


def _range(condition: TimeBound, value: int) -> TimeRange:
    at = clamp_ns(value) if condition.exact else ns_from_us_ge(value)
    after = clamp_ns(value + 1) if condition.exact else ns_from_us_gt(value)
    match condition.comparison:
        case ">=":
            return TimeRange(at, NS_MAX)
        case ">":
            return TimeRange(after, NS_MAX)
        case "<":
            return TimeRange(NS_MIN, at)
        case "<=":
            return TimeRange(NS_MIN, after)
        case "=":
            return TimeRange(at, after)


def _tag_in(condition: TagCondition, values: Sequence[object | None]) -> TagIn | None:
    if condition.absent:
        return TagIn(condition.column, frozenset({None}), condition.negated)
    found = [values[i] for i in condition.values]
    texts = frozenset(str(each) for each in found if each is not None)
    if condition.negated:
        # x <> NULL and x NOT IN (…, NULL) are never true; an absent tag is never <> anything.
        return None if len(texts) < len(set(found)) else TagIn(condition.column, texts | {None}, True)
    return TagIn(condition.column, texts) if texts else None


class _Recognition:
    def __init__(self, series: Series, names: tuple[str, ...]) -> None:
        self.series = series
        self.names = names
        self.conditions: list[TimeBound | TagCondition] = []
        self.values: list[exp.Expr] = []
        self.patterns: list[PatternCondition] = []

    def column(self, expression: exp.Expr) -> str | None:
        """The name of a column of the series, None for anything else."""
        if not isinstance(expression, exp.Column) or isinstance(expression.this, exp.Star):
            return None
        table = expression.args.get("table")
        if table is not None and trees.name_of(table) not in self.names:
            return None
        name = trees.name_of(expression)
        return name if name in self.series.by_name or name == TIME_NS else None

    def is_time(self, name: str) -> bool:
        # A timestamp without time zone compares by the session's zone: left to the query.
        time = self.series.time
        return name == TIME_NS or (time is not None and name == time.name and time.type == TIMESTAMPTZ)

    def value(self, expression: exp.Expr, cast: str) -> int:
        self.values.append(trees.cast_to(expression.copy(), cast))
        return len(self.values) - 1

    def bound(self, name: str, comparison: Comparison, value: exp.Expr) -> bool:
        exact = name == TIME_NS
        if (
            not self.is_time(name)
            or not _is_constant(value)
            or not (_is_integer(value) if exact else _is_instant(value))
        ):
            return False
        at = self.value(value, "int8" if exact else "timestamptz")
        self.conditions.append(TimeBound(comparison, at, exact))
        return True

    def tag(self, name: str, values: list[exp.Expr], *, negated: bool = False, absent: bool = False) -> bool:
        column = self.series.by_name.get(name)
        if column is None or column.role is not Role.TAG or (not absent and column.type not in _TAG_TYPES):
            return False
        if not all(_is_constant(value) and _is_text(value) for value in values):
            return False
        found = tuple(self.value(value, "text") for value in values)
        self.conditions.append(TagCondition(column.number, found, negated, absent))
        return True

    def conjunct(self, condition: exp.Expr) -> bool:
        if isinstance(condition, exp.Paren):
            return self.conjunct(condition.this)
        if not _known(condition):
            return False
        if isinstance(condition, exp.Not):
            return self._negated(condition.this)
        if isinstance(condition, exp.Between):
            name = self.column(condition.this)
            return (
                name is not None
                and self.bound(name, ">=", condition.args["low"])
                and self.bound(name, "<=", condition.args["high"])
            )
        if isinstance(condition, exp.In):
            return self._in(condition, negated=False)
        if isinstance(condition, exp.Is):
            return self._is_null(condition, negated=False)
        if isinstance(condition, exp.NEQ):
            return self._tag_equal(condition, negated=True)
        if isinstance(condition, _PATTERNS):
            return self._pattern(condition, condition)
        comparison = _OPERATORS.get(type(condition))
        if comparison is None:
            return False
        return (comparison == "=" and self._tag_equal(condition, negated=False)) or self._time(condition, comparison)

    def _negated(self, condition: exp.Expr) -> bool:
        if isinstance(condition, exp.Paren):
            return self._negated(condition.this)
        if not _known(condition):
            return False
        if isinstance(condition, exp.In):
            return self._in(condition, negated=True)
        if isinstance(condition, _PATTERNS):
            return self._pattern(condition, exp.Not(this=exp.Paren(this=condition)))
        return isinstance(condition, exp.Is) and self._is_null(condition, negated=True)

    def _in(self, condition: exp.In, *, negated: bool) -> bool:
        name = self.column(condition.this)
        if name is None or not condition.expressions:
            return False
        return self.tag(name, list(condition.expressions), negated=negated)

    def _pattern(self, condition: exp.Expr, whole: exp.Expr) -> bool:
        name = self.column(condition.this)
        column = self.series.by_name.get(name) if name is not None else None
        if column is None or column.role is not Role.TAG or column.type not in _TAG_TYPES:
            return False
        pattern = condition.expression
        if not _is_constant(pattern) or not _is_text(pattern):
            return False
        self.patterns.append(PatternCondition(column.number, condition.this.copy(), whole.copy()))
        return True

    def _is_null(self, condition: exp.Is, *, negated: bool) -> bool:
        name = self.column(condition.this)
        if name is None or not isinstance(condition.expression, exp.Null):
            return False
        return self.tag(name, [], negated=negated != bool(condition.args.get("negate")), absent=True)

    def _tag_equal(self, condition: exp.Expr, *, negated: bool) -> bool:
        for one, other in ((condition.this, condition.expression), (condition.expression, condition.this)):
            name = self.column(one)
            if name is not None and self.tag(name, [other], negated=negated):
                return True
        return False

    def _time(self, condition: exp.Expr, comparison: Comparison) -> bool:
        name = self.column(condition.this)
        if name is not None:
            return self.bound(name, comparison, condition.expression)
        name = self.column(condition.expression)
        return name is not None and self.bound(name, _MIRRORED[comparison], condition.this)


def recognize(series: Series, alias: str | None, condition: exp.Expr | None) -> RangeCondition | None:
    found = _Recognition(series, (alias,) if alias is not None else (series.name,))
    if series.reference:
        return None if condition is not None else RangeCondition(series, (), ())
    for conjunct in trees.conjuncts(condition):
        if not found.conjunct(conjunct):
            return None
    return RangeCondition(series, tuple(found.conditions), tuple(found.values), tuple(found.patterns))


# The arguments of a node that are understood: any other one (negate, symmetric, query …) may turn its meaning.
_UNDERSTOOD: dict[type[exp.Expr], set[str]] = {
    exp.Between: {"this", "low", "high"},
    exp.In: {"this", "expressions"},
    exp.Is: {"this", "expression", "negate"},
    exp.Not: {"this"},
    exp.Like: {"this", "expression", "negate"},
    exp.ILike: {"this", "expression", "negate"},
}
_BINARY = {"this", "expression"}
_PATTERNS = (exp.Like, exp.ILike, exp.RegexpLike, exp.RegexpILike)
# Calls that give a timestamptz whatever their arguments are.
_INSTANTS = ("now", "transaction_timestamp", "statement_timestamp", "to_timestamp", "make_timestamptz")


def _known(condition: exp.Expr) -> bool:
    understood = _UNDERSTOOD.get(type(condition), _BINARY)
    return all(name in understood for name, value in condition.args.items() if value not in (None, False, []))


def _is_constant(value: exp.Expr) -> bool:
    """Whether no column is named outside a subquery of its own, and nothing is random."""
    if isinstance(value, exp.Subquery):
        return True
    if isinstance(value, exp.Column | exp.Select | exp.Star):
        return False
    if isinstance(value, exp.Anonymous) and str(value.this).lower() in ("random", "clock_timestamp", "nextval"):
        return False
    return all(_is_constant(child) for child in value.iter_expressions())


def _cast_type(value: exp.Expr) -> str | None:
    return value.args["to"].sql("postgres").lower() if isinstance(value, exp.Cast) else None


def _is_instant(value: exp.Expr) -> bool:
    """Whether the comparison is one of timestamptz: a literal, a parameter, now() ± interval or a cast to it."""
    if isinstance(value, exp.Paren):
        return _is_instant(value.this)
    if isinstance(value, exp.Add | exp.Sub):
        right = value.expression
        return _is_typed_instant(value.this) and (isinstance(right, exp.Interval) or _cast_type(right) == "interval")
    return (
        (isinstance(value, exp.Literal) and value.is_string)
        or isinstance(value, exp.Parameter | exp.Placeholder)
        or _is_typed_instant(value)
    )


def _is_typed_instant(value: exp.Expr) -> bool:
    """Whether it is a timestamptz by itself, unlike a mere literal, which takes the type of what it meets."""
    if isinstance(value, exp.Paren):
        return _is_typed_instant(value.this)
    if isinstance(value, exp.CurrentTimestamp):
        return True
    if isinstance(value, exp.Add | exp.Sub):
        return _is_instant(value)
    if isinstance(value, exp.Anonymous):
        name = str(value.this).lower()
        if name in ("date_trunc", "time_bucket") and len(value.expressions) == 2:
            return _is_typed_instant(value.expressions[1])
        return name in _INSTANTS
    return _cast_type(value) in ("timestamptz", "timestamp with time zone")


def _is_integer(value: exp.Expr) -> bool:
    if isinstance(value, exp.Neg):
        return _is_integer(value.this)
    return (isinstance(value, exp.Literal) and not value.is_string and str(value.this).isdigit()) or isinstance(
        value, exp.Parameter | exp.Placeholder
    )


def _is_text(value: exp.Expr) -> bool:
    return (
        (isinstance(value, exp.Literal) and value.is_string)
        or isinstance(value, exp.Parameter | exp.Placeholder | exp.Null)
        or _cast_type(value) in ("text", "varchar")
    )
