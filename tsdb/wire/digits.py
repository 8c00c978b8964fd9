"""Kernels that write decimal digits into a byte buffer. The others build on them.

A text kernel formats value i of a column into the ``width`` bytes from ``i * width`` of its scratch buffer and writes
the length; a kernel that formats one value takes the buffer and a position and returns the position after it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.kernels import kernel

Bytes = npt.NDArray[np.uint8]
Lengths = npt.NDArray[np.int32]

MINUS = 45
ZERO = 48

INTEGER_WIDTH = 20


@kernel
def put_unsigned(out: Bytes, at: int, value: np.uint64) -> int:
    """Write ``value`` in decimal without leading zeros."""
    ten = np.uint64(10)
    count = 1
    rest = value // ten
    while rest != np.uint64(0):
        rest //= ten
        count += 1
    rest = value
    for place in range(at + count - 1, at - 1, -1):
        quotient = rest // ten
        out[place] = ZERO + np.uint8(rest - quotient * ten)
        rest = quotient
    return at + count


@kernel
def put_padded(out: Bytes, at: int, value: int, count: int) -> int:
    """Write the last ``count`` digits of a non-negative ``value``, with leading zeros."""
    rest = value
    for place in range(at + count - 1, at - 1, -1):
        out[place] = ZERO + rest % 10
        rest //= 10
    return at + count


@kernel
def put_signed(out: Bytes, at: int, value: np.int64) -> int:
    """Write ``value`` in decimal; the most negative int64 has no positive twin, so its magnitude is unsigned."""
    magnitude = np.uint64(value)
    if value < 0:
        out[at] = MINUS
        at += 1
        magnitude = ~magnitude + np.uint64(1)
    return put_unsigned(out, at, magnitude)


@kernel
def put_fraction(out: Bytes, at: int, us: int) -> int:
    """Write a point and up to six digits of microseconds without trailing zeros; nothing for 0."""
    if us == 0:
        return at
    out[at] = 46
    put_padded(out, at + 1, us, 6)
    end = at + 7
    while out[end - 1] == ZERO:
        end -= 1
    return end


@kernel
def format_integers(values: npt.NDArray[np.int64], out: Bytes, lengths: Lengths) -> None:
    for i in range(len(values)):
        start = i * INTEGER_WIDTH
        lengths[i] = put_signed(out, start, values[i]) - start


@kernel
def format_unsigned(values: npt.NDArray[np.uint64], out: Bytes, lengths: Lengths) -> None:
    for i in range(len(values)):
        start = i * INTEGER_WIDTH
        lengths[i] = put_unsigned(out, start, values[i]) - start
