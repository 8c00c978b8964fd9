"""Kernels that write decimal digits into a byte buffer. The others build on them.

A text kernel formats value i of a column into the ``width`` bytes from ``i * width`` of its scratch buffer and writes
the length; a kernel that formats one value takes the buffer and a position and returns the position after it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.kernels import borrowing, inlined, store_half

Bytes = npt.NDArray[np.uint8]
Lengths = npt.NDArray[np.int32]

MINUS = 45
ZERO = 48

INTEGER_WIDTH = 20


def _cells() -> npt.NDArray[np.uint64]:
    """What a number below 10,000 is on the wire: an int32 of its length in network order, and its digits; and zeros."""
    octets = b"".join(
        len(text).to_bytes(4, "big") + text.ljust(4, b"\0") for text in (b"%d" % n for n in range(10_000))
    )
    return np.frombuffer(octets, "<u8")


CELLS = _cells()


@inlined
def two_digits(value: np.uint32) -> np.uint32:
    """The digits of a number below 100 as octets, the first the lowest."""
    tens = (value * np.uint32(205)) >> np.uint32(11)
    return (tens | (value - tens * np.uint32(10)) << np.uint32(8)) + np.uint32(0x3030)


@inlined
def put_four(out: Bytes, at: int, value: np.uint32) -> int:
    """Write a number below 10,000 as four digits."""
    hundreds = value // np.uint32(100)
    low = two_digits(value - hundreds * np.uint32(100))
    store_half(out, at, two_digits(hundreds) | low << np.uint32(16))
    return at + 4


@inlined
def _put_eight(out: Bytes, at: int, value: np.uint32) -> int:
    high = value // np.uint32(10_000)
    put_four(out, at, high)
    return put_four(out, at + 4, value - high * np.uint32(10_000))


@inlined
def _put_first(out: Bytes, at: int, value: np.uint32) -> int:
    """Write a number below 10**8 without leading zeros."""
    high = value // np.uint32(10_000)
    cell = CELLS[high] if high else CELLS[value]
    store_half(out, at, np.uint32(cell >> np.uint64(32)))
    at += int(np.int64((cell >> np.uint64(24)) & np.uint64(0xFF)))
    return put_four(out, at, value - high * np.uint32(10_000)) if high else at


@inlined
def put_unsigned(out: Bytes, at: int, value: np.uint64) -> int:
    """Write ``value`` in decimal without leading zeros; writes four octets at least."""
    eight = np.uint64(100_000_000)
    if value < eight:
        return _put_first(out, at, np.uint32(value))
    high = value // eight
    low = np.uint32(value - high * eight)
    if high < eight:
        return _put_eight(out, _put_first(out, at, np.uint32(high)), low)
    top = high // eight
    at = _put_first(out, at, np.uint32(top))
    return _put_eight(out, _put_eight(out, at, np.uint32(high - top * eight)), low)


@inlined
def put_padded(out: Bytes, at: int, value: int | np.uint32, count: int) -> int:
    """Write the last ``count`` digits of a non-negative ``value``, with leading zeros."""
    rest = value
    for place in range(at + count - 1, at - 1, -1):
        out[place] = ZERO + rest % 10
        rest //= 10
    return at + count


@inlined
def put_signed(out: Bytes, at: int, value: int | np.int64) -> int:
    """Write ``value`` in decimal; the most negative int64 has no positive twin, so its magnitude is unsigned."""
    magnitude = np.uint64(value)
    if value < 0:
        out[at] = MINUS
        at += 1
        magnitude = ~magnitude + np.uint64(1)
    return put_unsigned(out, at, magnitude)


@inlined
def put_fraction(out: Bytes, at: int, us: int | np.uint32) -> int:
    """Write a point and up to six digits of microseconds without trailing zeros; nothing for 0."""
    if us == 0:
        return at
    out[at] = 46
    put_padded(out, at + 1, us, 6)
    end = at + 7
    while out[end - 1] == ZERO:
        end -= 1
    return end


@borrowing
def format_integers(values: npt.NDArray[np.int64], out: Bytes, lengths: Lengths) -> None:
    for i in range(len(values)):
        start = i * INTEGER_WIDTH
        lengths[i] = put_signed(out, start, values[i]) - start


@borrowing
def format_unsigned(values: npt.NDArray[np.uint64], out: Bytes, lengths: Lengths) -> None:
    for i in range(len(values)):
        start = i * INTEGER_WIDTH
        lengths[i] = put_unsigned(out, start, values[i]) - start
