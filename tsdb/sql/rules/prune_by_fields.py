"""Comparisons of a number column with a constant become bounds: a block whose values all lie outside is not read.

NaN is larger than every number to PostgreSQL and in no block's maximum, so floats give an upper bound only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from tsdb.model.schema import Role
from tsdb.model.store import FieldBound
from tsdb.sql.expression import Expr
from tsdb.sql.plan import Plan, PlannedScan, Undecided, Values, both_sides, column_of, is_constant

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
    for side, operator, other in both_sides(expr):
        reference = column_of(side)
        assert reference is not None
        stored = reference.relation.columns[reference.index].series_column
        if stored is None or stored.role is not Role.FIELD or not is_constant(other):
            return None
        integer = stored.type.typname in _INTEGERS
        if stored.former or not (integer or stored.type.typname == "float8"):
            return None
        if operator in (">", ">=") and not integer:
            return None
        number = stored.number
        return lambda values: _of_value(number, operator, values(other))
    return None


def _of_value(number: int, operator: str, value: object) -> FieldBound:
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise Undecided
    low = value if operator in ("=", ">", ">=") else None
    high = value if operator in ("=", "<", "<=") else None
    return FieldBound(number, low, high)
