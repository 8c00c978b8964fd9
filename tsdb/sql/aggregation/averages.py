"""Averages of integers as PostgreSQL prints them, digits and all, for thousands of groups at once.

PostgreSQL divides numerics to so many digits after the point that the quotient has 16 significant ones, counted in
groups of four (select_div_scale in numeric.c).
"""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.kernels import borrowing, inlined, store_half

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Uint64s = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]

# A sign, 19 digits, the point, and at most 16 + 4 · 5 digits after it.
_ROOM = 64
_GROUPS = 9
_CHUNK_ROWS = 8192
_COUNT_MAX = (1 << 60) // 10_000
# What a remainder below a divisor is multiplied with to get so many groups; divisors for which that fits into 64 bits.
_SCALES = np.array([10 ** (4 * groups) for groups in range(5)], np.uint64)
_SIXTEEN_DIGITS, _EIGHT_DIGITS = np.uint64(2**64 // 10**16), np.uint64(2**64 // 10**8)
# Four digits as octets, the first the lowest.
_FOUR = np.frombuffer(b"".join(b"%04d" % number for number in range(10_000)), "<u4")


class _Scratch(threading.local):
    """A thread's room to write in: memory that is new each time costs more than the digits."""

    def __init__(self) -> None:
        self.out: Bytes = np.empty(_ROOM * _CHUNK_ROWS, np.uint8)
        self.group: Uint64s = np.empty(_GROUPS, np.uint64)
        self.total: Int64s = np.empty(_CHUNK_ROWS, np.int64)
        self.count: Int64s = np.empty(_CHUNK_ROWS, np.int64)


_SCRATCH = _Scratch()


def texts(low: Int64s, high: Int64s, count: Int64s, places: Int64s) -> pa.StringArray | None:
    """(high · 2³² + low) / count at these places, NULL where count is 0. None when a total is not below 2⁶² in size, or
    a count not below 2⁶⁰ / 10,000."""
    scratch, rows = _SCRATCH, len(places)
    offsets = np.zeros(rows + 1, np.int32)
    pieces: list[bytes] = []
    there = 0
    for start in range(0, rows, _CHUNK_ROWS):
        part = places[start : start + _CHUNK_ROWS]
        values = _gather(low, high, count, part, scratch.total, scratch.count)
        if values < 0:
            return None
        there += values
        total, counts = scratch.total[: len(part)], scratch.count[: len(part)]
        size = _write(total, counts, scratch.group, scratch.out, offsets[start : start + len(part) + 1])
        pieces.append(scratch.out[:size].tobytes())
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    validity = None if there == rows else pa.py_buffer(np.packbits(count[places] > 0, bitorder="little"))
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(data), validity)


@borrowing
def _gather(low: Int64s, high: Int64s, count: Int64s, places: Int64s, total: Int64s, counts: Int64s) -> int:
    """Totals and counts at places; returns how many have a count, -1 when one is too large."""
    there = 0
    fits = True
    for i in range(len(places)):
        at = places[i]
        upper = high[at] + (low[at] >> 32)
        fits &= (upper >> 30 == upper >> 31) & (count[at] <= _COUNT_MAX)
        total[i] = (high[at] << 32) + low[at]
        counts[i] = count[at]
        there += count[at] > 0
    return there if fits else -1


@inlined
def _digits(total: np.uint64, count: np.uint64) -> int:
    """How many digits after the point; the first digits in base 10,000 decide."""
    weight = 0
    first = total
    while first >= np.uint64(10_000):
        first //= np.uint64(10_000)
        weight += 1
    divisor = count
    while divisor >= np.uint64(10_000):
        divisor //= np.uint64(10_000)
        weight -= 1
    if first <= divisor:
        weight -= 1
    return max(16 - 4 * weight, 0)


@inlined
def _put(number: np.uint64, out: Bytes, at: int) -> int:
    """Write a number without leading zeros; returns the place after it."""
    size = 1
    rest = number // np.uint64(10)
    while rest > np.uint64(0):
        size += 1
        rest //= np.uint64(10)
    rest = number
    for i in range(at + size - 1, at - 1, -1):
        tens = rest // np.uint64(10)
        out[i] = np.uint8(np.uint64(48) + rest - tens * np.uint64(10))
        rest = tens
    return at + size


@inlined
def _fill(rest: np.uint64, divisor: np.uint64, groups: int, group: Uint64s) -> np.uint64:
    """The first groups of four digits of rest / divisor, which is below 1; returns what remains.

    Long division, as many digits at a time as fit into 64 bits: the remainder is always below the divisor.
    """
    together = 4 if divisor < _SIXTEEN_DIGITS else 2 if divisor < _EIGHT_DIGITS else 1
    g = 0
    while g < groups:
        take = min(together, groups - g)
        scale = _SCALES[take]
        part = rest * scale
        quotient = part // divisor
        rest = part - quotient * divisor
        for k in range(g + take - 1, g, -1):
            higher = quotient // np.uint64(10_000)
            group[k] = quotient - higher * np.uint64(10_000)
            quotient = higher
        group[g] = quotient
        g += take
    return rest


@inlined
def _round_up(group: Uint64s, groups: int) -> np.uint64:
    """Add one in the last place; returns what is carried into the whole number."""
    g = groups - 1
    while g >= 0 and group[g] == np.uint64(9_999):
        group[g] = np.uint64(0)
        g -= 1
    if g < 0:
        return np.uint64(1)
    group[g] += np.uint64(1)
    return np.uint64(0)


@inlined
def _put_sixteen(fraction: np.uint64, out: Bytes, at: int) -> int:
    """Write a number below 10**16 as sixteen digits."""
    high = fraction // np.uint64(10**8)
    low = fraction - high * np.uint64(10**8)
    first, third = high // np.uint64(10_000), low // np.uint64(10_000)
    store_half(out, at, _FOUR[np.int64(first)])
    store_half(out, at + 4, _FOUR[np.int64(high - first * np.uint64(10_000))])
    store_half(out, at + 8, _FOUR[np.int64(third)])
    store_half(out, at + 12, _FOUR[np.int64(low - third * np.uint64(10_000))])
    return at + 16


@inlined
def _put_sign(negative: bool, out: Bytes, at: int) -> int:
    if negative:
        out[at] = 45
        at += 1
    return at


@inlined
def _is_short(size: np.uint64, divisor: np.uint64) -> bool:
    """Few rows, and sixteen digits after the point? Without branches, as ``_digits`` has it: which numbers come next is
    not to be foreseen, and what a processor guesses wrong takes longer than the division."""
    higher = size // np.uint64(10_000)
    long = higher > np.uint64(0)
    first = higher if long else size
    return bool((divisor < _SIXTEEN_DIGITS) & (size < np.uint64(10**8)) & ((first <= divisor) == long))


@inlined
def _put_short(negative: bool, whole: np.uint64, rest: np.uint64, divisor: np.uint64, out: Bytes, at: int) -> int:
    """Write whole + rest / divisor with sixteen digits after the point: one division makes them all."""
    part = rest * np.uint64(10**16)
    fraction = part // divisor
    rest = part - fraction * divisor
    fraction += np.uint64(rest + rest >= divisor)
    if fraction == np.uint64(10**16):
        fraction = np.uint64(0)
        whole += np.uint64(1)
    at = _put_sign(negative and bool(whole + fraction > np.uint64(0)), out, at)
    if whole < np.uint64(10_000):
        size = 1 + int(whole > np.uint64(9)) + int(whole > np.uint64(99)) + int(whole > np.uint64(999))
        store_half(out, at, _FOUR[np.int64(whole)] >> np.uint32(8 * (4 - size)))
        at += size
    else:
        at = _put(whole, out, at)
    out[at] = 46
    return _put_sixteen(fraction, out, at + 1)


@inlined
def _put_long(
    negative: bool, whole: np.uint64, rest: np.uint64, divisor: np.uint64, groups: int, group: Uint64s, out: Bytes,
    at: int,
) -> int:  # fmt: skip
    """As ``_put_short``, with any number of groups of four digits."""
    rest = _fill(rest, divisor, groups, group)
    if rest + rest >= divisor:
        whole += _round_up(group, groups)
    nothing = whole == np.uint64(0)
    for g in range(groups):
        nothing = nothing and group[g] == np.uint64(0)
    at = _put(whole, out, _put_sign(negative and not nothing, out, at))
    if groups > 0:
        out[at] = 46
        at += 1
    for g in range(groups):
        store_half(out, at, _FOUR[np.int64(group[g])])
        at += 4
    return at


@borrowing
def _write(total: Int64s, count: Int64s, group: Uint64s, out: Bytes, offsets: Int32s) -> int:
    """``offsets`` go on from the first; returns how many octets were written."""
    at = 0
    for row in range(len(total)):
        # Unsigned numbers divide faster.
        divisor = np.uint64(count[row])
        if divisor > np.uint64(0):
            size = np.uint64(abs(total[row]))
            whole = size // divisor
            rest = size - whole * divisor
            if _is_short(size, divisor):
                at = _put_short(total[row] < 0, whole, rest, divisor, out, at)
            else:
                groups = _digits(size, divisor) // 4
                at = _put_long(total[row] < 0, whole, rest, divisor, groups, group, out, at)
        offsets[row + 1] = offsets[0] + at
    return at
