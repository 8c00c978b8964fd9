"""Cells become the result: one row for each cell that has rows, ordered and cut."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.sql.aggregation import averages
from tsdb.sql.aggregation.cells import Cells
from tsdb.sql.aggregation.plan import Aggregate, ScanAggregate
from tsdb.sql.expressions.grouping import Ordering
from tsdb.sql.sorting import rank_of
from tsdb.types import SqlType

Int64s = npt.NDArray[np.int64]

# numeric's avg of integers has 16 digits after the point (select_div_scale in numeric.c).
_AVG_DIGITS = 16
_COUNT_MAX = (1 << 60) // 10_000


def answer(plan: ScanAggregate, cells: Cells) -> pa.RecordBatch:
    """The result's rows, columns named c1, c2 …"""
    filled = np.flatnonzero(cells.rows.reshape(-1))
    if not plan.grouped and len(filled) == 0:
        return _of_nothing(plan)
    combinations = max(1, len(cells.combinations))
    buckets, combination = filled // combinations, filled % combinations
    columns = []
    for (kind, index), result in zip(plan.outputs, plan.types, strict=True):
        if kind == "time":
            assert plan.time is not None
            starts = (buckets + cells.first_bucket) * plan.time.width_us + plan.time.origin_us
            columns.append(pa.array(starts).view(pa.timestamp("us", "UTC")))
        elif kind == "tag":
            columns.append(_tags(cells, index).take(pa.array(combination)))
        else:
            columns.append(_aggregate(plan.aggregates[index], cells, filled, result, shown=plan.shown))
    rows = _ordered([_keys(plan, item, columns, cells, filled, combination) for item in reversed(plan.order)])
    if plan.limit is not None:
        rows = (np.arange(len(filled)) if rows is None else rows)[: plan.limit]
    batch = pa.RecordBatch.from_arrays(columns, names=[f"c{i + 1}" for i in range(len(columns))])
    return batch if rows is None else batch.take(pa.array(rows))


def _tags(cells: Cells, index: int) -> pa.StringArray:
    """A tag's value in each combination."""
    return pa.array([each[index] for each in cells.combinations], pa.string())


def _keys(
    plan: ScanAggregate, item: Ordering, columns: Sequence[pa.Array], cells: Cells, filled: Int64s, combination: Int64s
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """What rows are sorted by: (ranks, whether there is no value)."""
    kind, index = plan.outputs[item.output]
    if kind == "tag":
        # There are fewer combinations than rows.
        ranks, absent = _ranked(_tags(cells, index), item)
        return ranks[combination], absent[combination]
    column = columns[item.output]
    if kind == "aggregate" and pa.types.is_string(column.type):
        # A number that is shown as a text sorts as a number.
        column = _aggregate(plan.aggregates[index], cells, filled, plan.types[item.output], shown=False)
    return _ranked(column, item)


def _ranked(column: pa.Array, item: Ordering) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    rank, absent = rank_of(column), np.asarray(column.is_null())
    return -rank if item.descending else rank, ~absent if item.nulls_first else absent


def _of_nothing(plan: ScanAggregate) -> pa.RecordBatch:
    """Without GROUP BY there is one row also when no row was read."""
    columns = [
        pa.array([0 if plan.aggregates[index].function == "count" else None], result.arrow)
        for (_, index), result in zip(plan.outputs, plan.types, strict=True)
    ]
    batch = pa.RecordBatch.from_arrays(columns, names=[f"c{i + 1}" for i in range(len(columns))])
    return batch if plan.limit is None else batch.slice(0, plan.limit)


def _aggregate(aggregate: Aggregate, cells: Cells, filled: Int64s, result: SqlType, *, shown: bool) -> pa.Array:
    def state(name: str) -> Any:
        assert aggregate.column is not None
        return cells.of(name, aggregate.column).reshape(-1)[filled]

    if aggregate.column is None:
        return pa.array(cells.rows.reshape(-1)[filled])
    count: Int64s = state("count")
    none = count == 0
    match aggregate.function:
        case "count":
            return pa.array(count)
        case "min" | "max":
            return pa.array(state(aggregate.function), mask=none).cast(result.arrow)
        case "sum" if aggregate.floating:
            return pa.array(state("sum"), mask=none)
        case "avg" if aggregate.floating:
            return pa.array(state("sum") / np.maximum(count, 1), mask=none)
        case "sum":
            return _sums(state("low"), state("high"), none, result)
        case _:
            return (_shown_averages if shown else _averages)(state("low"), state("high"), count)


def _fits(low: Int64s, high: Int64s) -> bool:
    """Whether all sums are below 2⁶² in size."""
    return bool(((high + (low >> 32)) >> 30 == (high + (low >> 32)) >> 31).all()) if len(high) else True


def _exact(low: int, high: int) -> int:
    return (high << 32) + low


def _sums(low: Int64s, high: Int64s, none: npt.NDArray[np.bool_], result: SqlType) -> pa.Array:
    wanted = result.arrow if result.typname == "int8" else pa.decimal128(38, 0)
    if _fits(low, high):
        return pa.array((high << 32) + low, mask=none).cast(pa.int64() if result.typname == "int8" else wanted)
    exact = (_exact(int(a), int(b)) for a, b in zip(low, high, strict=True))
    values = [None if absent else value for value, absent in zip(exact, none, strict=True)]
    return pa.array([None if v is None else v if result.typname == "int8" else Decimal(v) for v in values], wanted)


def _averages(low: Int64s, high: Int64s, count: Int64s) -> pa.Array:
    """sum / count to 16 digits, half away from zero."""
    none = count == 0
    if not _fits(low, high) or (len(count) and int(count.max()) > _COUNT_MAX):
        pairs = zip(low, high, count, strict=True)
        exact = [None if n == 0 else _average(_exact(int(a), int(b)), int(n)) for a, b, n in pairs]
        return pa.array(exact, pa.decimal128(38, _AVG_DIGITS))
    total = (high << 32) + low
    return _quotients(total, np.maximum(count, 1), _AVG_DIGITS, none)


def _quotients(total: Int64s, divisor: Int64s, digits: int, none: npt.NDArray[np.bool_]) -> pa.Array:
    """``digits``, a multiple of 4 up to 16, after the point."""
    whole, rest = np.divmod(np.abs(total), divisor)
    fraction = np.zeros(len(total), np.int64)
    # Long division, four digits at a time: the remainder is below the count, so nothing overflows.
    for _ in range(digits // 4):
        part, rest = np.divmod(rest * 10_000, divisor)
        fraction = fraction * 10_000 + part
    fraction += 2 * rest >= divisor
    sign = np.where(total < 0, -1, 1)
    wholes = pa.array(sign * whole).cast(pa.decimal128(19, 0))
    parts = pa.array(sign * fraction, mask=none).cast(pa.decimal128(19, 0))
    scale = pa.decimal128(digits + 1, digits)
    one, least = (pa.scalar(Decimal(number).scaleb(-digits), scale) for number in (10**digits, 1))
    return pc.add(pc.multiply(wholes, one), pc.multiply(parts, least)).cast(pa.decimal128(38, digits))


def _average(total: int, count: int, digits: int = _AVG_DIGITS) -> Decimal:
    unscaled = (2 * abs(total) * 10**digits + count) // (2 * count)
    return Decimal((total < 0, tuple(map(int, str(unscaled))), -digits))


def _shown_averages(low: Int64s, high: Int64s, count: Int64s) -> pa.Array:
    """As PostgreSQL prints them: at least 16 significant digits (select_div_scale in numeric.c)."""
    if _fits(low, high) and len(count) and int(count.max()) <= _COUNT_MAX:
        return averages.texts((high << 32) + low, count)
    texts = []
    for each, others, rows in zip(low.tolist(), high.tolist(), count.tolist(), strict=True):
        exact = _exact(each, others)
        texts.append(f"{_average(exact, rows, _digits_of_one(abs(exact), rows)):f}" if rows else None)
    return pa.array(texts, pa.string())


def _digits_of_one(total: int, count: int) -> int:
    weights: list[int] = []
    firsts: list[int] = []
    for each in (total, count):
        weight = (len(str(each)) - 1) // 4
        weights.append(weight)
        firsts.append(each // 10_000**weight)
    return max(_AVG_DIGITS - 4 * (weights[0] - weights[1] - int(firsts[0] <= firsts[1])), 0)


def _ordered(keys: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]]) -> Int64s | None:
    """The rows' order by the last pair of keys, then the one before it …; None when it is as they lie."""
    return np.lexsort([each for pair in keys for each in pair if each.any()] or [keys[0][0]]) if keys else None
