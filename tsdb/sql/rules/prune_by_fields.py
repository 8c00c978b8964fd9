"""Comparisons of a number column with a constant become bounds: a block whose values all lie outside is not read.

The bound must hold whatever the comparison rounds: PostgreSQL compares a float column with a number as floats, and an
int column with a float as floats too, which above 2^53 makes unequal ints equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from tsdb.model.schema import Role
from tsdb.model.store import FieldBound
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.plan import Plan, PlannedScan, Undecided, Values, column_of, is_constant
from tsdb.sql.rules.comparison import sides

# Every integer below is a float8.
_EXACT_BELOW = 2.0**53
_INTEGERS = ("int2", "int4", "int8")


def prune_by_fields(plan: Plan) -> Plan:
    scans = tuple(_bounded(scan) for scan in plan.scans)
    rules = (*plan.rules, "prune_by_fields") if any(s.bounds for s in scans) else plan.rules
    return replace(plan, scans=scans, rules=rules)


def _bounded(scan: PlannedScan) -> PlannedScan:
    parts = [c for condition in scan.conditions for c in (condition.args if condition.op == "and" else (condition,))]
    return replace(scan, bounds=tuple(made for made in map(_bound, parts) if made is not None))


def _bound(expr: Expr) -> Callable[[Values], FieldBound] | None:
    if expr.op not in ("=", "<", "<=", ">", ">="):
        return None
    for side, operator, other in sides(expr):
        reference = column_of(side)
        assert reference is not None
        stored = reference.relation.columns[reference.index].series_column
        if stored is None or stored.role is not Role.FIELD or not is_constant(other):
            return None
        integer = stored.type.typname in _INTEGERS
        if stored.former or not (integer or stored.type.typname == "float8"):
            return None
        number = stored.number
        return lambda values: _of_value(number, operator, values(other), integer=integer)
    return None


def _of_value(number: int, operator: str, value: object, *, integer: bool) -> FieldBound:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or math.isnan(value):
        raise Undecided
    low, high = (_integers if integer else _floats)(value)
    return FieldBound(
        number, low if operator in ("=", ">", ">=") else None, high if operator in ("=", "<", "<=") else None
    )


def _integers(value: float | Decimal) -> tuple[int, int]:
    """The greatest integer that is not above a number, and the least one not below."""
    if math.isinf(value) or (isinstance(value, float) and abs(value) >= _EXACT_BELOW):
        raise Undecided
    low, high = math.floor(value), math.ceil(value)
    if not -(2**63) <= low <= high < 2**63:
        raise Undecided
    return low, high


def _floats(value: float | Decimal) -> tuple[float, float]:
    try:
        nearest = float(value)
    except OverflowError:
        raise Undecided from None
    return nearest, nearest
