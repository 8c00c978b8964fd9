"""One pass over a column of a batch. ``cell[i]`` is row i's cell; ``valid`` says which rows have a value (empty: all).

Neighbouring rows are mostly of one cell (a scan's rows are sorted by tag set and time), so each kernel keeps what it
gathers in registers until the cell changes. NaN is greater than every number, as PostgreSQL orders it (manual, 8.1.3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tsdb.kernels import kernel

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_LOW_BITS = 0xFFFFFFFF


@kernel
def extent(times: Int64s) -> tuple[int, int]:
    """The lowest and the highest of some times."""
    low = high = times[0]
    for i in range(len(times)):
        low = min(low, times[i])
        high = max(high, times[i])
    return low, high


@kernel
def stretch_starts(code: Int64s) -> Int64s:
    """Where a code differs from the one before: the first row of each stretch of equal codes."""
    count = 0
    for i in range(len(code)):
        if i == 0 or code[i] != code[i - 1]:
            count += 1
    starts = np.empty(count, np.int64)
    at = 0
    for i in range(len(code)):
        if i == 0 or code[i] != code[i - 1]:
            starts[at] = i
            at += 1
    return starts


@kernel
def cells_of(
    times: Int64s, starts: Int64s, combination: Int32s, width: int, first: int, combinations: int, cell: Int32s
) -> None:
    """cell = bucket · combinations + combination. ``first`` is the first bucket's start, ``width`` a bucket's, in ns.

    ``starts`` are the rows at which stretches begin, ``combination`` the stretches' combinations.
    """
    for stretch in range(len(starts)):
        end = starts[stretch + 1] if stretch + 1 < len(starts) else len(cell)
        low = high = 0
        at = 0
        for i in range(starts[stretch], end):
            offset = times[i] - first
            if offset < low or offset >= high:
                bucket = offset // width
                low, high = bucket * width, (bucket + 1) * width
                at = bucket * combinations + combination[stretch]
            cell[i] = at


@kernel
def count_rows(cell: Int32s, rows: Int64s) -> None:
    i = 0
    while i < len(cell):
        at, begin = cell[i], i
        while i < len(cell) and cell[i] == at:
            i += 1
        rows[at] += i - begin


@kernel
def add(cell: Int32s, numbers: Int64s, total: Int64s) -> None:
    for i in range(len(cell)):
        total[cell[i]] += numbers[i]


@kernel
def count_values(cell: Int32s, valid: Bools, count: Int64s) -> None:
    i = 0
    while i < len(cell):
        at, found = cell[i], 0
        while i < len(cell) and cell[i] == at:
            found += valid[i]
            i += 1
        count[at] += found


@kernel
def sum_integers(cell: Int32s, values: Int64s, valid: Bools, low: Int64s, high: Int64s) -> None:
    """Sums of the values' low 32 bits and of the rest: together 128 bits wide for fewer than 2³¹ rows."""
    everything = len(valid) == 0
    i = 0
    while i < len(cell):
        at, lows, highs = cell[i], 0, 0
        while i < len(cell) and cell[i] == at:
            if everything or valid[i]:
                lows += values[i] & _LOW_BITS
                highs += values[i] >> 32
            i += 1
        low[at] += lows
        high[at] += highs


@kernel
def sum_floats(cell: Int32s, values: Float64s, valid: Bools, total: Float64s) -> None:
    everything = len(valid) == 0
    i = 0
    while i < len(cell):
        at = cell[i]
        gathered = total[at]
        while i < len(cell) and cell[i] == at:
            if everything or valid[i]:
                gathered += values[i]
            i += 1
        total[at] = gathered


@kernel
def min_integers(cell: Int32s, values: Int64s, valid: Bools, least: Int64s) -> None:
    everything = len(valid) == 0
    i = 0
    while i < len(cell):
        at = cell[i]
        kept = least[at]
        while i < len(cell) and cell[i] == at:
            if (everything or valid[i]) and values[i] < kept:
                kept = values[i]
            i += 1
        least[at] = kept


@kernel
def max_integers(cell: Int32s, values: Int64s, valid: Bools, most: Int64s) -> None:
    everything = len(valid) == 0
    i = 0
    while i < len(cell):
        at = cell[i]
        kept = most[at]
        while i < len(cell) and cell[i] == at:
            if (everything or valid[i]) and values[i] > kept:
                kept = values[i]
            i += 1
        most[at] = kept


@kernel
def min_floats(cell: Int32s, values: Float64s, valid: Bools, least: Float64s) -> None:
    """``least`` starts as NaN, which every number is below."""
    everything = len(valid) == 0
    i = 0
    while i < len(cell):
        at = cell[i]
        kept = least[at]
        while i < len(cell) and cell[i] == at:
            if (everything or valid[i]) and (values[i] < kept or kept != kept):
                kept = values[i]
            i += 1
        least[at] = kept


@kernel
def max_floats(cell: Int32s, values: Float64s, valid: Bools, most: Float64s) -> None:
    """``most`` starts as -infinity."""
    everything = len(valid) == 0
    i = 0
    while i < len(cell):
        at = cell[i]
        kept = most[at]
        while i < len(cell) and cell[i] == at:
            if (everything or valid[i]) and (values[i] > kept or values[i] != values[i]):
                kept = values[i]
            i += 1
        most[at] = kept


@kernel
def _merge_spread(
    at: int, count: int, own: float, squares: float, n: Int64s, mean: Float64s, m2: Float64s
) -> None:  # fmt: skip
    together = n[at] + count
    apart = own - mean[at]
    m2[at] += squares + apart * apart * (n[at] * (count / together))
    mean[at] += apart * (count / together)
    n[at] = together


@kernel
def spread(cell: Int32s, values: Any, valid: Bools, n: Int64s, mean: Float64s, m2: Float64s) -> None:
    """Counts, means and sums of squared deviations: two passes over each stretch, which are then merged with the cell's
    (Chan, Golub and LeVeque 1979)."""
    everything = len(valid) == 0
    i = 0
    while i < len(cell):
        at, begin, count, total = cell[i], i, 0, 0.0
        while i < len(cell) and cell[i] == at:
            if everything or valid[i]:
                count += 1
                total += values[i]
            i += 1
        if count == 0:
            continue
        own = total / count
        squares = 0.0
        for j in range(begin, i):
            if everything or valid[j]:
                squares += (values[j] - own) ** 2
        _merge_spread(at, count, own, squares, n, mean, m2)


@kernel
def spread_cells(
    cell: Int32s, count: Int64s, means: Float64s, squares: Float64s, n: Int64s, mean: Float64s, m2: Float64s
) -> None:
    for i in range(len(cell)):
        if count[i] > 0:
            _merge_spread(cell[i], count[i], means[i], squares[i], n, mean, m2)


@kernel
def keep_first(cell: Int32s, times: Int64s, values: Any, valid: Bools, first: Int64s, kept: Any, there: Int64s) -> None:
    """The value of the earliest row, and whether it has one."""
    for i in range(len(cell)):
        at = cell[i]
        if times[i] < first[at]:
            first[at] = times[i]
            kept[at] = values[i]
            there[at] = 1 if len(valid) == 0 or valid[i] else 0


@kernel
def keep_last(cell: Int32s, times: Int64s, values: Any, valid: Bools, last: Int64s, kept: Any, there: Int64s) -> None:
    """The value of the latest row, and whether it has one."""
    for i in range(len(cell)):
        at = cell[i]
        if times[i] > last[at]:
            last[at] = times[i]
            kept[at] = values[i]
            there[at] = 1 if len(valid) == 0 or valid[i] else 0
