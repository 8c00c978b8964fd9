"""Averages of integers as PostgreSQL prints them, digits and all, for thousands of groups at once.

PostgreSQL divides numerics to so many digits after the point that the quotient has 16 significant ones, counted in
groups of four (select_div_scale in numeric.c).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.kernels import kernel

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]

# A sign, 19 digits, the point, and at most 16 + 4 · 5 digits after it.
_ROOM = 64
_GROUPS = 9


def texts(total: Int64s, count: Int64s) -> pa.StringArray:
    """total / count, NULL where count is 0. Sizes of totals are below 2⁶², counts below 2⁶⁰ / 10,000."""
    out = np.empty(_ROOM * len(total), np.uint8)
    offsets = np.zeros(len(total) + 1, np.int32)
    _write(total, count, np.empty(_GROUPS, np.int64), out, offsets)
    present = count > 0
    validity = None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))
    data = pa.py_buffer(out[: offsets[-1]].copy())
    return pa.StringArray.from_buffers(len(total), pa.py_buffer(offsets), data, validity)


@kernel
def _digits(total: int, count: int) -> int:
    """How many digits after the point; the first digits in base 10,000 decide."""
    weight = 0
    first = total
    while first >= 10_000:
        first //= 10_000
        weight += 1
    divisor = count
    while divisor >= 10_000:
        divisor //= 10_000
        weight -= 1
    if first <= divisor:
        weight -= 1
    return max(16 - 4 * weight, 0)


@kernel
def _put(number: np.int64, out: Bytes, at: int) -> int:
    """Write a number that is not negative; returns the place after it."""
    size = 1
    rest = number // 10
    while rest > 0:
        size += 1
        rest //= 10
    rest = number
    for i in range(at + size - 1, at - 1, -1):
        out[i] = 48 + rest % 10
        rest //= 10
    return at + size


@kernel
def _write(total: Int64s, count: Int64s, group: Int64s, out: Bytes, offsets: Int32s) -> None:
    at = 0
    for row in range(len(total)):
        # Unsigned numbers divide faster.
        divisor = np.uint64(count[row])
        if divisor > 0:
            size = np.uint64(abs(total[row]))
            groups = _digits(abs(total[row]), count[row]) // 4
            whole = size // divisor
            rest = size - whole * divisor
            # Long division, four digits at a time: the remainder is below the count, so nothing overflows.
            for g in range(groups):
                part = rest * np.uint64(10_000)
                quotient = part // divisor
                group[g] = quotient
                rest = part - quotient * divisor
            if rest + rest >= divisor:
                g = groups - 1
                while g >= 0 and group[g] == 9_999:
                    group[g] = 0
                    g -= 1
                if g >= 0:
                    group[g] += 1
                else:
                    whole += np.uint64(1)
            nothing = whole == 0
            for g in range(groups):
                nothing = nothing and group[g] == 0
            if total[row] < 0 and not nothing:
                out[at] = 45
                at += 1
            at = _put(np.int64(whole), out, at)
            if groups > 0:
                out[at] = 46
                at += 1
            for g in range(groups):
                four = np.uint32(group[g])
                out[at] = 48 + four // np.uint32(1000)
                out[at + 1] = 48 + four // np.uint32(100) % np.uint32(10)
                out[at + 2] = 48 + four // np.uint32(10) % np.uint32(10)
                out[at + 3] = 48 + four % np.uint32(10)
                at += 4
        offsets[row + 1] = at
