"""States: arrays of numbers, one a cell, that aggregates are made of; how points and summary cells add to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.kernels import readonly
from tsdb.model import summaries
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.sql.aggregation import kernels
from tsdb.sql.aggregation.plan import Aggregate

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Table = npt.NDArray[Any]  # int64 or float64, by cell
Tables = Mapping[str, Table]

# Stands for the time where a state says which column it is of.
TIMES = -1
SPREADS = ("stddev", "stddev_samp", "stddev_pop", "variance", "var_samp", "var_pop")
_NOTHING = np.empty(0, np.bool_)
_INT_MIN, _INT_MAX = int(np.iinfo(np.int64).min), int(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True)
class State:
    """One array of numbers by cell of a column; ``start`` is what a new cell holds."""

    name: str
    column: int
    start: int | float


def states_of(aggregate: Aggregate) -> tuple[State, ...]:
    """What an aggregate needs; count(*) needs none but the numbers of rows, which there are anyway."""
    column, floating = aggregate.column, aggregate.floating
    if column is None:
        start = {"min": NS_MAX, "max": NS_MIN}
        return (State(aggregate.function, TIMES, start[aggregate.function]),) if aggregate.function in start else ()
    count = State("count", column, 0)
    match aggregate.function, floating:
        case "count", _:
            return (count,)
        case (("sum" | "avg"), True):
            return count, State("sum", column, 0.0)
        case (("sum" | "avg"), False):
            return count, State("low", column, 0), State("high", column, 0)
        case "min", _:
            return count, State("min", column, np.nan if floating else _INT_MAX)
        case "max", _:
            return count, State("max", column, -np.inf if floating else _INT_MIN)
        case ((("first" | "last") as end), _):
            time = State(f"{end} time", column, NS_MAX if end == "first" else NS_MIN)
            return time, State(end, column, 0.0 if floating else 0), State(f"{end} there", column, 0)
        case _:
            return State("n", column, 0), State("mean", column, 0.0), State("m2", column, 0.0)


def statistics_for(name: str, *, floating: bool) -> tuple[str, ...]:
    """What summary cells must say for a state."""
    sums = (summaries.SUM,) if floating else (summaries.LOW, summaries.HIGH)
    return {
        "n": (summaries.COUNT,), "mean": sums, "first time": (), "last time": (), "low": sums, "high": sums,
    }.get(name, (name,))  # fmt: skip


def add_points(tables: Tables, cell: Int32s, array: pa.Array, times: Int64s | None, *, floating: bool) -> None:
    """Add a column of a batch: row i to the cell ``cell[i]``. ``times`` are needed for first and last."""
    empty = array.null_count == len(array)
    if empty and "first" not in tables and "last" not in tables:
        return
    valid = np.asarray(array.is_valid()) if array.null_count else _NOTHING
    filled = pc.fill_null(array, 0) if array.null_count else array
    values = readonly(filled.to_numpy(zero_copy_only=False))
    _ends(tables, cell, (times, values, valid), (times, values, valid))
    if empty:
        return
    if "count" in tables:
        if array.null_count:
            kernels.count_values(cell, valid, tables["count"])
        else:
            kernels.count_rows(cell, tables["count"])
    if "low" in tables:
        kernels.sum_integers(cell, values, valid, tables["low"], tables["high"])
    if "sum" in tables:
        kernels.sum_floats(cell, values, valid, tables["sum"])
    if "n" in tables:
        kernels.spread(cell, values, valid, tables["n"], tables["mean"], tables["m2"])
    _extremes(tables, cell, values, values, valid, floating=floating)


def add_times(tables: Tables, cell: Int32s, first: Int64s, last: Int64s) -> None:
    """Add the times of points, or of the first and the last point of summary cells."""
    _extremes(tables, cell, first, last, _NOTHING, floating=False)


def add_cells(
    tables: Tables, cell: Int32s, found: summaries.SummaryCells, statistics: Mapping[str, Table], *, floating: bool
) -> None:
    """Add what a scan says of a column in cells; ``statistics`` empty: no point in them has a value."""
    given = {name: readonly(values) for name, values in statistics.items()}
    if "first" in tables or "last" in tables:
        none = readonly(np.zeros(len(cell), np.int64))
        first = (readonly(found.first_times), given.get("first", none), given.get("first there", none) > 0)
        last = (readonly(found.last_times), given.get("last", none), given.get("last there", none) > 0)
        _ends(tables, cell, first, last)
    if not given:
        return
    count: Int64s = given["count"]
    for name in ("count", "low", "high"):
        if name in tables:
            kernels.add(cell, given[name], tables[name])
    valid = _NOTHING if count.all() else count > 0
    if "sum" in tables:
        kernels.sum_floats(cell, given["sum"], valid, tables["sum"])
    if "n" in tables:
        total = given["sum"] if floating else given["high"] * 4294967296.0 + given["low"]
        mean = total / np.maximum(count, 1)
        kernels.spread_cells(cell, count, mean, given["m2"], tables["n"], tables["mean"], tables["m2"])
    _extremes(tables, cell, given.get("min"), given.get("max"), valid, floating=floating)


def _extremes(tables: Tables, cell: Int32s, least: Any, most: Any, valid: Any, *, floating: bool) -> None:
    if "min" in tables:
        (kernels.min_floats if floating else kernels.min_integers)(cell, least, valid, tables["min"])
    if "max" in tables:
        (kernels.max_floats if floating else kernels.max_integers)(cell, most, valid, tables["max"])


def _ends(tables: Tables, cell: Int32s, first: tuple[Any, Any, Any], last: tuple[Any, Any, Any]) -> None:
    """(times, values, which of them are there) of what may be the first and the last of a cell."""
    if "first" in tables:
        kernels.keep_first(cell, *first, tables["first time"], tables["first"], tables["first there"])
    if "last" in tables:
        kernels.keep_last(cell, *last, tables["last time"], tables["last"], tables["last there"])
