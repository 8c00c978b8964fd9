"""Cells become the result: one row for each cell that has rows, ordered and cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.sql.aggregation.cells import Cells
from tsdb.sql.aggregation.plan import ScanAggregate
from tsdb.sql.aggregation.results import result_of
from tsdb.sql.expressions.grouping import Ordering
from tsdb.sql.kernel_execution import Unsuitable
from tsdb.sql.sorting import rank_of
from tsdb.types import SqlType

Int64s = npt.NDArray[np.int64]

US_PER_SECOND = 1_000_000

_COMPARISONS: dict[str, Callable[[pa.Array, pa.Scalar], pa.Array]] = {
    "=": pc.equal, "<>": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal,
}  # fmt: skip


def answer(plan: ScanAggregate, cells: Cells) -> pa.RecordBatch:
    """The result's rows, columns named c1, c2 … Raises Unsuitable."""
    filled = np.flatnonzero(cells.rows.reshape(-1))
    if not plan.grouped and len(filled) == 0:
        return _of_nothing(plan)
    for condition in plan.having:
        aggregate = plan.aggregates[condition.aggregate]
        values = result_of(aggregate, cells, filled, condition.type, shown=False)
        if pa.types.is_floating(values.type) and pc.any(pc.is_nan(values)).as_py():
            raise Unsuitable
        kept = _COMPARISONS[condition.operator](values, pa.scalar(condition.value, values.type))
        filled = filled[np.asarray(kept.fill_null(False))]
    combinations = max(1, len(cells.combinations))
    buckets, combination = filled // combinations, filled % combinations
    columns = []
    for (kind, index), result in zip(plan.outputs, plan.types, strict=True):
        if kind == "time":
            assert plan.time is not None
            starts = (buckets + cells.first_bucket) * plan.time.width_us + plan.time.origin_us
            columns.append(_starts(starts, plan.time.form, result, shown=plan.shown))
        elif kind == "tag":
            columns.append(_tags(cells, index).take(pa.array(combination)))
        else:
            columns.append(result_of(plan.aggregates[index], cells, filled, result, shown=plan.shown))
    rows = _ordered([_keys(plan, item, columns, cells, filled, combination) for item in reversed(plan.order)])
    if plan.limit is not None:
        rows = (np.arange(len(filled)) if rows is None else rows)[: plan.limit]
    batch = pa.RecordBatch.from_arrays(columns, names=[f"c{i + 1}" for i in range(len(columns))])
    return batch if rows is None else batch.take(pa.array(rows))


def _starts(starts: Int64s, form: str, result: SqlType, *, shown: bool) -> pa.Array:
    """The buckets' first instants, given in µs, as the statement asks for them."""
    if form == "time":
        return pa.array(starts).view(pa.timestamp("us", "UTC"))
    seconds = pa.array(starts // US_PER_SECOND)
    return seconds.cast(pa.string()) if shown else seconds.cast(result.arrow)


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
    if kind == "time" and pa.types.is_string(column.type):
        column = column.cast(pa.int64())
    if kind == "aggregate" and pa.types.is_string(column.type):
        # A number that is shown as a text sorts as a number.
        column = result_of(plan.aggregates[index], cells, filled, plan.types[item.output], shown=False)
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


def _ordered(keys: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]]) -> Int64s | None:
    """The rows' order by the last pair of keys, then the one before it …; None when it is as they lie."""
    return np.lexsort([each for pair in keys for each in pair if each.any()] or [keys[0][0]]) if keys else None
