"""Aggregates of cells as Arrow arrays: exact sums and averages of integers, spreads, extremes, first and last."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.model.time import us_of_ns
from tsdb.sql.aggregation import averages
from tsdb.sql.aggregation.group_cells import AnyCells
from tsdb.sql.aggregation.plan import Aggregate
from tsdb.sql.aggregation.states import SPREADS, TIMES
from tsdb.sql.kernel_execution import Unsuitable
from tsdb.types import SqlType

Int64s = npt.NDArray[np.int64]

# numeric's avg of integers has 16 digits after the point (select_div_scale in numeric.c).
_AVG_DIGITS = 16
_COUNT_MAX = (1 << 60) // 10_000


def result_of(aggregate: Aggregate, cells: AnyCells, filled: Int64s, result: SqlType, *, shown: bool) -> pa.Array:
    """An aggregate of the cells at the places ``filled`` in the type ``result``. ``shown``: averages of integers as
    texts. Raises Unsuitable for sums beyond float8, whose error DuckDB has.
    """

    def state(name: str) -> Any:
        return _state(aggregate, name, cells, filled)

    if aggregate.column is None and aggregate.function in ("min", "max"):
        # Every cell has a row, and every row a time.
        return pa.array(us_of_ns(state(aggregate.function))).view(pa.timestamp("us", "UTC"))
    if aggregate.column is None:
        return pa.array(cells.rows.take(filled))
    if aggregate.function in ("first", "last"):
        return pa.array(state(aggregate.function), mask=state(f"{aggregate.function} there") == 0).cast(result.arrow)
    if aggregate.function in SPREADS:
        return _spread(aggregate.function, state("n"), state("m2"), result)
    if aggregate.function == "avg" and shown and not aggregate.floating:
        low, high, counts = (cells.of(name, aggregate.column) for name in ("low", "high", "count"))
        texts = averages.texts(low, high, counts, filled)
        return _texts(state("low"), state("high"), state("count")) if texts is None else texts
    count: Int64s = state("count")
    none = count == 0
    match aggregate.function:
        case "count":
            return pa.array(count)
        case "min" | "max":
            made = pa.array(state(aggregate.function), mask=none if none.any() else None)
            return made if made.type == result.arrow else made.cast(result.arrow)
        case "sum" if aggregate.floating:
            return pa.array(_finite(state("sum")), mask=none)
        case "avg" if aggregate.floating:
            return pa.array(_finite(state("sum")) / np.maximum(count, 1), mask=none)
        case "sum":
            return _sums(state("low"), state("high"), none, result)
        case _:
            return _averages(state("low"), state("high"), count)


def check_finite(aggregate: Aggregate, cells: AnyCells, filled: Int64s) -> None:
    """What ``result_of`` raises for these cells, of which not all will be results."""
    if aggregate.function in SPREADS:
        _finite(_state(aggregate, "m2", cells, filled))
    elif aggregate.floating and aggregate.function in ("sum", "avg"):
        _finite(_state(aggregate, "sum", cells, filled))


def _state(aggregate: Aggregate, name: str, cells: AnyCells, filled: Int64s) -> Any:
    return cells.of(name, TIMES if aggregate.column is None else aggregate.column).take(filled)


def _finite(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What is not may be an overflow, which is an error, or come from infinite values: DuckDB tells them apart."""
    if not np.isfinite(values).all():
        raise Unsuitable
    return values


def _spread(function: str, n: Int64s, m2: npt.NDArray[np.float64], result: SqlType) -> pa.Array:
    """Standard deviations and variances from sums of squared deviations."""
    less = 0 if function.endswith("_pop") else 1
    values = _finite(m2) / np.maximum(n - less, 1)
    if function.startswith("stddev"):
        values = np.sqrt(values)
    made = pa.array(values, mask=n <= less)
    return made.cast(pa.decimal128(38, _AVG_DIGITS)) if result.typname == "numeric" else made


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


def _texts(low: Int64s, high: Int64s, count: Int64s) -> pa.Array:
    """Averages of huge sums as PostgreSQL prints them: at least 16 significant digits."""
    texts = []
    for each, others, rows in zip(low.tolist(), high.tolist(), count.tolist(), strict=True):
        exact = _exact(each, others)
        texts.append(f"{_average(exact, rows, _digits_of_one(abs(exact), rows)):f}" if rows else None)
    return pa.array(texts, pa.string())


def _digits_of_one(total: int, count: int) -> int:
    """select_div_scale in numeric.c."""
    weights: list[int] = []
    firsts: list[int] = []
    for each in (total, count):
        weight = (len(str(each)) - 1) // 4
        weights.append(weight)
        firsts.append(each // 10_000**weight)
    return max(_AVG_DIGITS - 4 * (weights[0] - weights[1] - int(firsts[0] <= firsts[1])), 0)
