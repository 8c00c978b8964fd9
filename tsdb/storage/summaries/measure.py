"""The statistics of a column's cells, in one table int64[STATISTICS, cells]; those of floats by their bits.

NaN is above every number, as PostgreSQL orders it (manual, 8.1.3). A cell without values has zeros but for its COUNT.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.kernels import kernel

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# Values that are there.
COUNT = 0
# Of integers the sum is high · 2³² + low with 0 <= low < 2³²: 96 bits; of floats it is in LOW, a float64.
LOW, HIGH = 1, 2
# The sum of squared deviations from the mean, a float64.
M2 = 3
MIN, MAX = 4, 5
# The values of the first and of the last row, 0 if they have none; VALID has bit 0 if the first has one, bit 1 for the
# last.
FIRST, LAST, VALID = 6, 7, 8
STATISTICS = 9

_ALL = np.empty(0, np.bool_)


def measure(values: pa.Array, starts: Int64s) -> Int64s:
    """The statistics of an int64 or float64 array; cell i is its rows from starts[i] to starts[i + 1]."""
    valid = np.asarray(values.is_valid()) if values.null_count else _ALL
    filled = (pc.fill_null(values, 0) if values.null_count else values).to_numpy()
    table = np.zeros((STATISTICS, len(starts) - 1), np.int64)
    if filled.dtype == np.float64:
        _measure_floats(filled, valid, starts, table, table.view(np.float64))
    else:
        _measure_integers(filled, valid, starts, table, table.view(np.float64))
    return table


@kernel
def _measure_integers(values: Int64s, valid: Bools, starts: Int64s, table: Int64s, floats: Float64s) -> None:
    full = len(valid) == 0
    for cell in range(len(starts) - 1):
        begin, end = starts[cell], starts[cell + 1]
        count = low = high = 0
        least, most = np.int64(2**63 - 1), np.int64(-(2**63))
        total = 0.0
        for i in range(begin, end):
            if full or valid[i]:
                value = values[i]
                count += 1
                low += value & 0xFFFFFFFF
                high += value >> 32
                total += value
                least = min(least, value)
                most = max(most, value)
        if count == 0:
            continue
        mean = total / count
        squares = 0.0
        for i in range(begin, end):
            if full or valid[i]:
                squares += (values[i] - mean) ** 2
        table[0, cell] = count
        table[1, cell] = low & 0xFFFFFFFF
        table[2, cell] = high + (low >> 32)
        floats[3, cell] = squares
        table[4, cell] = least
        table[5, cell] = most
        table[6, cell] = values[begin]
        table[7, cell] = values[end - 1]
        table[8, cell] = 3 if full else int(valid[begin]) + 2 * int(valid[end - 1])


@kernel
def _measure_floats(values: Float64s, valid: Bools, starts: Int64s, table: Int64s, floats: Float64s) -> None:
    full = len(valid) == 0
    for cell in range(len(starts) - 1):
        begin, end = starts[cell], starts[cell + 1]
        count = 0
        total = 0.0
        least, most = np.nan, -np.inf
        for i in range(begin, end):
            if full or valid[i]:
                value = values[i]
                count += 1
                total += value
                if value < least or least != least:
                    least = value
                if value > most or value != value:
                    most = value
        if count == 0:
            continue
        mean = total / count
        squares = 0.0
        for i in range(begin, end):
            if full or valid[i]:
                squares += (values[i] - mean) ** 2
        table[0, cell] = count
        floats[1, cell] = total
        floats[3, cell] = squares
        floats[4, cell] = least
        floats[5, cell] = most
        floats[6, cell] = values[begin]
        floats[7, cell] = values[end - 1]
        table[8, cell] = 3 if full else int(valid[begin]) + 2 * int(valid[end - 1])
