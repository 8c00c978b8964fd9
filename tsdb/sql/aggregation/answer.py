"""Cells become the result: one row for each cell that has rows, ordered and cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.sql.aggregation.group_cells import AnyCells
from tsdb.sql.aggregation.plan import ScanAggregate
from tsdb.sql.aggregation.results import check_finite, result_of
from tsdb.sql.expressions.grouping import Ordering
from tsdb.sql.kernel_execution import FIRST_ROWS, Later, Unsuitable
from tsdb.sql.sorting import rank_of
from tsdb.types import SqlType

Int64s = npt.NDArray[np.int64]

# (ranks, whether there is no value).
Keys = tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]

US_PER_SECOND = 1_000_000
# Cells are kept while their client reads what was made of some of them.
KEPT_BYTES = 4 << 20
_NOTHING = np.zeros(1, np.bool_)

_COMPARISONS: dict[str, Callable[[pa.Array, pa.Scalar], pa.Array]] = {
    "=": pc.equal, "<>": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal,
}  # fmt: skip


def answer(plan: ScanAggregate, cells: AnyCells) -> pa.RecordBatch:
    """The result's rows, columns named c1, c2 … Raises Unsuitable."""
    found = later(plan, cells)
    return found if isinstance(found, pa.RecordBatch) else found.slice(0, len(found))


def later(plan: ScanAggregate, cells: AnyCells) -> pa.RecordBatch | Later:
    """As ``answer``; the rows of a long result are made as they are asked for, if the cells take little memory."""
    filled = cells.rows.nonzero()[0]
    if len(filled) == 0:
        return _of_nothing(plan)
    for condition in plan.having:
        aggregate = plan.aggregates[condition.aggregate]
        values = result_of(aggregate, cells, filled, condition.type, shown=False)
        if pa.types.is_floating(values.type) and pc.any(pc.is_nan(values)).as_py():
            raise Unsuitable
        kept = _COMPARISONS[condition.operator](values, pa.scalar(condition.value, values.type))
        filled = filled[np.asarray(kept.fill_null(False))]
    order = _order(plan, cells, filled)
    # What is not among the first rows, or not in the result, must not fail later than they are sent.
    many = len(filled) > FIRST_ROWS and cells.nbytes <= KEPT_BYTES
    if many or plan.limit is not None:
        for aggregate in plan.aggregates:
            check_finite(aggregate, cells, filled)
    rows = (filled if order is None else filled[order])[: plan.limit]
    tags = {index: _tags(cells, index) for kind, index in plan.outputs if kind == "tag"}
    if many:
        return Later(len(rows), lambda part: _columns(plan, cells, tags, rows[part]))
    return _columns(plan, cells, tags, rows)


def _columns(
    plan: ScanAggregate, cells: AnyCells, tags: Mapping[int, pa.StringArray], filled: Int64s
) -> pa.RecordBatch:
    """A row for each of these cells; ``tags`` are combinations' values."""
    buckets, combination = _places(cells, filled)
    columns = []
    for (kind, index), result in zip(plan.outputs, plan.types, strict=True):
        if kind == "time":
            assert plan.time is not None
            starts = (buckets + cells.first_bucket) * plan.time.width_us + plan.time.origin_us
            columns.append(_starts(starts, plan.time.form, result, shown=plan.shown))
        elif kind == "tag":
            columns.append(tags[index].take(pa.array(combination)))
        else:
            columns.append(result_of(plan.aggregates[index], cells, filled, result, shown=plan.shown))
    return pa.RecordBatch.from_arrays(columns, names=[f"c{i + 1}" for i in range(len(columns))])


def _places(cells: AnyCells, filled: Int64s) -> tuple[Int64s, Int64s]:
    """(bucket, combination) of cells."""
    buckets = filled // cells.room
    return buckets, filled - buckets * cells.room


def _starts(starts: Int64s, form: str, result: SqlType, *, shown: bool) -> pa.Array:
    """The buckets' first instants, given in µs, as the statement asks for them."""
    if form == "time":
        return pa.array(starts).view(pa.timestamp("us", "UTC"))
    seconds = pa.array(starts // US_PER_SECOND)
    return seconds.cast(pa.string()) if shown else seconds.cast(result.arrow)


def _tags(cells: AnyCells, index: int) -> pa.StringArray:
    """A tag's value in each combination."""
    return pa.array([each[index] for each in cells.combinations], pa.string())


def _order(plan: ScanAggregate, cells: AnyCells, filled: Int64s) -> Int64s | None:
    """The rows' order, found before anything else is made of them; None when it is as they lie."""
    if not plan.order or (len(plan.order) == 1 and _is_by_place(plan, plan.order[0])):
        return None
    buckets, combination = _places(cells, filled)
    pairs: list[Keys] = []
    for item in reversed(plan.order):
        kind, index = plan.outputs[item.output]
        if kind == "tag":
            # There are fewer combinations than rows.
            ranks, absent = _ranked(_tags(cells, index), item)
            pairs.append((ranks[combination], absent[combination]))
        elif kind == "time":
            pairs.append((-buckets if item.descending else buckets, _NOTHING))
        else:
            # Averages of integers sort as numbers, however they are shown.
            values = result_of(plan.aggregates[index], cells, filled, plan.types[item.output], shown=False)
            pairs.append(_ranked(values, item))
    return np.lexsort([key for ranks, absent in pairs for key in ((ranks, absent) if absent.any() else (ranks,))])


def _is_by_place(plan: ScanAggregate, item: Ordering) -> bool:
    """Places go by the bucket first."""
    return plan.outputs[item.output][0] == "time" and not item.descending


def _ranked(column: pa.Array, item: Ordering) -> Keys:
    """What rows are sorted by."""
    rank, absent = rank_of(column), np.asarray(column.is_null())
    return -rank if item.descending else rank, ~absent if item.nulls_first else absent


def _of_nothing(plan: ScanAggregate) -> pa.RecordBatch:
    """Without GROUP BY there is one row also when no row was read, else none."""
    columns = [
        pa.array([] if plan.grouped else [0 if plan.aggregates[index].function == "count" else None], result.arrow)
        for (_, index), result in zip(plan.outputs, plan.types, strict=True)
    ]
    batch = pa.RecordBatch.from_arrays(columns, names=[f"c{i + 1}" for i in range(len(columns))])
    return batch if plan.limit is None else batch.slice(0, plan.limit)
