"""Conjuncts on the time become the scan's range in nanoseconds.

SQL's time is µs, floored: ``time >= T`` is ns >= 1000·T, ``> T`` is ns >= 1000·(T+1), ``<= T`` is ns < 1000·(T+1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tsdb.model.schema import Role
from tsdb.model.store import TIME_NS, TimeRange
from tsdb.model.time import NS_MAX, NS_MIN, clamp_ns, ns_from_us_ge, ns_from_us_gt
from tsdb.sql.datetime_text import INFINITY
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.plan import Plan, PlannedScan, Undecided, Values, both_sides, column_of, is_constant
from tsdb.types import INT8

_OPERATORS = ("=", "<", ">", "<=", ">=")
_EVERYTHING = TimeRange()
_NOTHING = TimeRange(0, 0)


def prune_by_time(plan: Plan) -> Plan:
    scans = tuple(_ranged(scan) for scan in plan.scans)
    rules = (*plan.rules, "prune_by_time") if any(s.ranges for s in scans) else plan.rules
    return replace(plan, scans=scans, rules=rules)


def _ranged(scan: PlannedScan) -> PlannedScan:
    if scan.source.series is None or scan.source.series.reference:
        return scan
    ranges = [made for made in map(_range, scan.conditions) if made is not None]
    return replace(scan, ranges=tuple(ranges))


def _range(expr: Expr) -> Callable[[Values], TimeRange] | None:
    """The range of a condition; None when it says nothing about the time."""
    if expr.op == "and":
        return _all(expr)
    if expr.op == "or":
        return _any(expr)
    if expr.op == "= any":
        return _in_array(expr)
    if expr.op not in _OPERATORS:
        return None
    for side, operator, other in both_sides(expr):
        in_ns = clock(side)
        if in_ns is not None and is_constant(other):
            return lambda values: _of_comparison(operator, values(other), in_ns)
    return None


def clock(expr: Expr) -> bool | None:
    """Whether a column counts ns; None when it is not the time."""
    reference = column_of(expr)
    if reference is None:
        return None
    column = reference.relation.columns[reference.index]
    if column.series_column is None:
        return True if column.key == TIME_NS and column.type == INT8 else None
    return False if column.series_column.role is Role.TIME else None


def _of_comparison(operator: str, value: object, in_ns: bool) -> TimeRange:
    if value is None:
        return _NOTHING
    if not isinstance(value, int):
        raise Undecided
    if abs(value) >= INFINITY and not in_ns:
        value = value * 1000
    ge = clamp_ns(value) if in_ns else ns_from_us_ge(value)
    gt = clamp_ns(value + 1) if in_ns else ns_from_us_gt(value)
    return {
        "=": TimeRange(ge, gt), "<": TimeRange(NS_MIN, ge), "<=": TimeRange(NS_MIN, gt), ">": TimeRange(gt, NS_MAX),
        ">=": TimeRange(ge, NS_MAX),
    }[operator]  # fmt: skip


def _all(expr: Expr) -> Callable[[Values], TimeRange] | None:
    parts = [made for made in map(_range, expr.args) if made is not None]
    return (lambda values: intersection([_or_everything(p, values) for p in parts])) if parts else None


def _any(expr: Expr) -> Callable[[Values], TimeRange] | None:
    parts = [made for made in map(_range, expr.args) if made is not None]
    if len(parts) != len(expr.args):
        return None
    return lambda values: _hull([part(values) for part in parts])


def _in_array(expr: Expr) -> Callable[[Values], TimeRange] | None:
    column, array = expr.args
    in_ns = clock(column)
    if in_ns is None or not is_constant(array):
        return None

    def made(values: Values) -> TimeRange:
        items = values(array)
        if items is None:
            return _NOTHING
        if not isinstance(items, list):
            raise Undecided
        return _hull([_of_comparison("=", item, in_ns) for item in items])

    return made


def _or_everything(part: Callable[[Values], TimeRange], values: Values) -> TimeRange:
    try:
        return part(values)
    except Undecided:
        return _EVERYTHING


def intersection(ranges: list[TimeRange]) -> TimeRange:
    """The times in all of some ranges; what is empty is [0, 0)."""
    made = TimeRange(max((r.low for r in ranges), default=NS_MIN), min((r.high for r in ranges), default=NS_MAX))
    return _NOTHING if made.empty else made


def _hull(ranges: list[TimeRange]) -> TimeRange:
    kept = [r for r in ranges if not r.empty]
    return TimeRange(min(r.low for r in kept), max(r.high for r in kept)) if kept else _NOTHING
