"""One aggregate over one series, with conditions on time and tags alone, is answered by kernels (``aggregation``).

The conditions must be ones that the scan decides exactly, since nothing looks at the rows again.
"""

from __future__ import annotations

from dataclasses import replace

from tsdb.model.schema import Column, Role
from tsdb.sql.aggregation.plan import Aggregate, ScanAggregate, TagKey, TimeKey
from tsdb.sql.bind.datetimes import BUCKET_ORIGIN_US
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.expressions.grouping import AggregateCall, Grouping
from tsdb.sql.plan import Plan, PlannedScan, column_of
from tsdb.sql.rules.exact import is_exact, is_text_column
from tsdb.sql.rules.prune_by_time import clock
from tsdb.types import Kind

_FUNCTIONS = ("count", "sum", "avg", "min", "max")
_INTEGERS = ("int2", "int4", "int8")
# Wider buckets overflow int64 in nanoseconds: 100 years are enough.
_WIDTH_US_MAX = 100 * 365 * 86_400 * 1_000_000


class _Unfit(Exception):
    """Not for kernels: DuckDB answers it."""


def aggregate_the_scan(plan: Plan) -> Plan:
    if len(plan.blocks) != 1 or len(plan.scans) != 1 or len(plan.sources) != 1:
        return plan
    block, scan = plan.blocks[0], plan.scans[0]
    grouping = block.grouping
    if (
        scan.source.part is not None
        or grouping is None
        or grouping.sql != plan.sql
        or [scan.relation] != block.relations
    ):
        return plan
    if any(c.expr not in scan.conditions or not is_exact(c.expr) for c in block.conditions):
        return plan
    try:
        made = _bound(grouping, scan)
    except _Unfit:
        return plan
    return replace(plan, aggregate=made, rules=(*plan.rules, "aggregate_the_scan"))


def _bound(grouping: Grouping, scan: PlannedScan) -> ScanAggregate:
    """Raises _Unfit."""
    time: TimeKey | None = None
    tags: list[TagKey] = []
    kinds: list[tuple[str, int]] = []
    for key in grouping.keys:
        if key.op == "bucket":
            found = _time_key(key)
            if time not in (None, found):
                raise _Unfit
            time = found
            kinds.append(("time", 0))
        else:
            tag = TagKey(_stored(key, scan, Role.TAG).number)
            if not is_text_column(key):
                raise _Unfit
            if tag not in tags:
                tags.append(tag)
            kinds.append(("tag", tags.index(tag)))
    aggregates: list[Aggregate] = []
    outputs: list[tuple[str, int]] = []
    for target in grouping.targets:
        at = next((i for i, key in enumerate(grouping.keys) if key.sql == target.sql), None)
        if at is not None:
            outputs.append(kinds[at])
            continue
        aggregate = _aggregate(target, scan)
        if aggregate not in aggregates:
            aggregates.append(aggregate)
        outputs.append(("aggregate", aggregates.index(aggregate)))
    types = tuple(target.type for target in grouping.targets)
    return ScanAggregate(
        time,
        tuple(tags),
        tuple(aggregates),
        tuple(outputs),
        types,
        grouping.order,
        grouping.limit,
        bool(grouping.keys),
        grouping.shown,
    )


def _time_key(key: Expr) -> TimeKey:
    """A bucket of a fixed width over the time column itself."""
    width, time = key.value, key.args[0]
    plain = isinstance(width, int) and key.sql == f"pg_bucket({time.sql}, {width}, {BUCKET_ORIGIN_US})"
    in_us = clock(time) is False and key.type.typname == time.type.typname == "timestamptz"
    if not plain or not in_us or not isinstance(width, int) or width > _WIDTH_US_MAX:
        raise _Unfit
    return TimeKey(width, BUCKET_ORIGIN_US)


def _stored(expr: Expr, scan: PlannedScan, role: Role) -> Column:
    reference = column_of(expr)
    if reference is None or reference.relation is not scan.relation:
        raise _Unfit
    column = reference.relation.columns[reference.index].series_column
    if column is None or column.role is not role:
        raise _Unfit
    return column


def _aggregate(target: Expr, scan: PlannedScan) -> Aggregate:
    call = target.value
    if target.op != "aggregate" or not isinstance(call, AggregateCall) or call.name not in _FUNCTIONS:
        raise _Unfit
    if not target.args:
        return Aggregate("count", None)
    if len(target.args) != 1:
        raise _Unfit
    column = _stored(target.args[0], scan, Role.FIELD)
    integer = column.kind is Kind.INT8 and column.type.typname in _INTEGERS
    floating = column.kind is Kind.FLOAT8 and column.type.typname == "float8"
    if not integer and not floating:
        raise _Unfit
    return Aggregate(call.name, column.number, floating)
