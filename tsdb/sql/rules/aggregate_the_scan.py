"""One aggregate over one series, with conditions on time and tags alone, is answered by kernels (``aggregation``).

The conditions must be ones that the scan decides exactly, since nothing looks at the rows again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tsdb.model.schema import Column, Role
from tsdb.sql.aggregation.plan import Aggregate, Having, ScanAggregate, TagKey, TimeKey
from tsdb.sql.aggregation.states import SPREADS
from tsdb.sql.expressions.block import Block
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.expressions.grouping import AggregateCall, Grouping
from tsdb.sql.plan import Plan, PlannedScan, column_of
from tsdb.sql.rules.exact import is_exact, is_text_column
from tsdb.sql.rules.prune_by_time import clock
from tsdb.sql.rules.read_through import NotPlain, blocks_to_the_scan, of_the_scan
from tsdb.sql.rules.time_keys import time_key
from tsdb.types import TIMESTAMPTZ, Kind

_FUNCTIONS = ("count", "sum", "avg", "min", "max", *SPREADS)
_ENDS = ("first", "last")
# Of the time itself, of which there is one in each row.
_OF_TIMES = ("count", "min", "max")
_INTEGERS = ("int2", "int4", "int8")
_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
_TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


class _Unfit(Exception):
    """Not for kernels: DuckDB answers it."""


def aggregate_the_scan(plan: Plan) -> Plan:
    blocks = blocks_to_the_scan(plan)
    if blocks is None:
        return plan
    scan, grouping = plan.scans[0], blocks[0].grouping
    if scan.newest is not None or scan.source.part is not None or grouping is None:
        return plan
    # Conditions that are not the scan's, as those inside a view, have to be looked at by somebody else.
    moved = len(scan.conditions) == sum(len(block.conditions) for block in blocks)
    if not moved or not all(map(is_exact, scan.conditions)):
        return plan
    try:
        made = _bound(_of_the_scan(grouping, blocks), scan)
    except (_Unfit, NotPlain):
        return plan
    return replace(plan, aggregate=made, rules=(*plan.rules, "aggregate_the_scan"))


def _of_the_scan(grouping: Grouping, blocks: list[Block]) -> Grouping:
    """A grouping in the scan's columns. Raises NotPlain."""
    if len(blocks) == 1:
        return grouping
    having = None if grouping.having is None else of_the_scan(grouping.having, blocks)
    keys, targets = (tuple(of_the_scan(e, blocks) for e in each) for each in (grouping.keys, grouping.targets))
    return replace(grouping, keys=keys, targets=targets, having=having)


def _bound(grouping: Grouping, scan: PlannedScan) -> ScanAggregate:
    """Raises _Unfit."""
    time: TimeKey | None = None
    tags: list[TagKey] = []
    kinds: list[tuple[str, int]] = []
    for key in grouping.keys:
        found = time_key(key)
        if found is not None:
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
        outputs.append(kinds[at] if at is not None else ("aggregate", _place(_aggregate(target, scan), aggregates)))
    having = tuple(_having(grouping, scan, aggregates))
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
        having,
    )


def _place(aggregate: Aggregate, aggregates: list[Aggregate]) -> int:
    """Its index among the aggregates, which it joins if it is new."""
    if aggregate not in aggregates:
        aggregates.append(aggregate)
    return aggregates.index(aggregate)


def _having(grouping: Grouping, scan: PlannedScan, aggregates: list[Aggregate]) -> Iterator[Having]:
    """The conjuncts of HAVING, which must compare aggregates with numbers. Raises _Unfit."""
    condition = grouping.having
    if condition is None:
        return
    if not grouping.keys:
        raise _Unfit
    for each in condition.args if condition.op == "and" else (condition,):
        if each.op not in _COMPARISONS or len(each.args) != 2:
            raise _Unfit
        left, right = each.args
        operator = each.op
        if left.op == "literal":
            left, right, operator = right, left, _TURNED.get(operator, operator)
        number = right.value if right.op == "literal" else None
        same = left.type.typname == right.type.typname and left.type.typname in (*_INTEGERS, "float8")
        if not same or isinstance(number, bool) or not isinstance(number, int | float):
            raise _Unfit
        yield Having(_place(_aggregate(left, scan), aggregates), operator, number, left.type)


def _stored(expr: Expr, scan: PlannedScan, role: Role) -> Column:
    reference = column_of(expr)
    if reference is None or reference.relation is not scan.relation:
        raise _Unfit
    column = reference.relation.columns[reference.index].series_column
    if column is None or column.role is not role:
        raise _Unfit
    return column


def is_time(expr: Expr, scan: PlannedScan) -> bool:
    """Is an expression the scan's time, as a timestamptz?"""
    reference = column_of(expr)
    return (
        reference is not None
        and reference.relation is scan.relation
        and clock(expr) is False
        and expr.type.typname == TIMESTAMPTZ.typname
    )


def _aggregate(target: Expr, scan: PlannedScan) -> Aggregate:
    call = target.value
    if target.op != "aggregate" or not isinstance(call, AggregateCall):
        raise _Unfit
    if call.name == "count" and not target.args:
        return Aggregate("count", None)
    if call.name in _OF_TIMES and len(target.args) == 1 and is_time(target.args[0], scan):
        return Aggregate(call.name, None)
    ends = call.name in _ENDS and len(target.args) == 2 and clock(target.args[1]) is not None
    if not ends and (call.name not in _FUNCTIONS or len(target.args) != 1):
        raise _Unfit
    column = _stored(target.args[0], scan, Role.FIELD)
    integer = column.kind is Kind.INT8 and column.type.typname in _INTEGERS
    floating = column.kind is Kind.FLOAT8 and column.type.typname == "float8"
    if not integer and not floating:
        raise _Unfit
    return Aggregate(call.name, column.number, floating)
