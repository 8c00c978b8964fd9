"""The two passes over lines for rows as they are: which ones, and their values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.kernels import borrowing, inlined, int32_at, int64_at
from tsdb.storage import decimals
from tsdb.storage.hot import BITS, at_least, number_at
from tsdb.storage.hot_groups.kernels import MAX_TAGSET, MAX_TIME, MIN_TAGSET, MIN_TIME, below, place_of

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

# A block's first lines.
RUNS, TIMES = range(2)
# A bound: the line it is of, whether that has floats, and whether it is open above.
LINE, FLOATS, OPEN = range(3)


@borrowing
def find(
    table: Int64s, bounds: Int64s, places: Int64s, low: int, high: int, wanted: Int32s, total: int, everything: bool,
    limits: Int64s, integers: Int64s, floats: Float64s, looked: Int64s, work: Int64s, work_float: Float64s,
    part: Int64s, row: Int64s, tagset: Int32s,
) -> int:  # fmt: skip
    """How many rows are wanted; the first of them, as many as fit, in ``part``, ``row`` and ``tagset``.

    ``wanted`` and the rest as in ``kernels.gather``; ``looked`` becomes the number of rows that were looked at.
    ``work`` and ``work_float`` are one place, to write 64 bits as an integer and read them as a float.
    """
    count = 0
    looked[0] = 0
    for p in range(len(places)):
        b = places[p]
        runs = table[b, RUNS, 1]
        begin, end = max(low, bounds[b, MIN_TIME]), min(high, bounds[b, MAX_TIME] + 1)
        covered = begin == bounds[b, MIN_TIME] and end == bounds[b, MAX_TIME] + 1
        at = 0
        w = 0 if everything else below(wanted, bounds[b, MIN_TAGSET])
        while True:
            if everything:
                if at == runs:
                    break
                own = int32_at(table[b, RUNS, 0], at, runs)
                if own >= total:
                    break
            else:
                if w == len(wanted) or wanted[w] > bounds[b, MAX_TAGSET]:
                    break
                own = wanted[w]
                w += 1
                at = place_of(table[b, RUNS, 0], runs, at, own)
                if at == runs:
                    break
                if int32_at(table[b, RUNS, 0], at, runs) != own:
                    continue
            start, stop = _rows_of(table[b], at, begin, end, covered)
            looked[0] += stop - start
            for r in range(start, stop):
                if _passes(table[b], r, limits, integers, floats, work, work_float):
                    if count < len(row):
                        part[count], row[count], tagset[count] = b, r, own
                    count += 1
            at += 1
    return count


@inlined
def _rows_of(block: Int64s, run: int, begin: int, end: int, covered: bool) -> tuple[int, int]:
    """The rows of a row run from ``begin`` to before ``end``."""
    start = int64_at(block[RUNS, 2], run, block[RUNS, 1] + 1)
    stop = int64_at(block[RUNS, 2], run + 1, block[RUNS, 1] + 1)
    if not covered:
        times = block[TIMES]
        start = at_least(times, start, stop, -((times[3] - begin) // times[4]))
        stop = at_least(times, start, stop, -((times[3] - end) // times[4]))
    return start, stop


@inlined
def _passes(
    block: Int64s, row: int, limits: Int64s, integers: Int64s, floats: Float64s, work: Int64s, work_float: Float64s
) -> bool:  # fmt: skip
    for k in range(len(limits)):
        line = block[limits[k, LINE]]
        bits = line[3] + line[4] * number_at(line, row)
        if limits[k, FLOATS] == 0:
            if bits < integers[k, 0] or bits > integers[k, 1]:
                return False
        else:
            work[0] = bits
            value = work_float[0] if line[5] == BITS else bits / decimals.POWERS[line[5]]
            if value != value:
                if limits[k, OPEN] == 0:
                    return False
            elif value < floats[k, 0] or value > floats[k, 1]:
                return False
    return True


@borrowing
def fill(table: Int64s, part: Int64s, row: Int64s, wanted: Int64s, out: Int64s, floats: Float64s) -> None:
    """The values of the rows in each of the ``wanted`` lines, 64 bits each."""
    for c in range(len(wanted)):
        for i in range(len(row)):
            line = table[part[i], wanted[c]]
            out[c, i] = line[3] + line[4] * number_at(line, row[i])
            if line[5] != BITS:
                floats[c, i] = out[c, i] / decimals.POWERS[line[5]]
