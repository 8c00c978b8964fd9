"""Kernels that write numeric from Arrow decimals, in PostgreSQL's text and binary form.

An Arrow decimal is a two's complement integer of 128 or 256 bits, here 4 or 8 words of 32 bits (lowest first), with a
scale for the whole column. Both forms start from its decimal digits, which repeated division by 10**9 yields.

Binary form: int16 count of base-10000 digits, int16 weight of the first (a power of 10000), int16 sign (0, 0x4000),
int16 display scale, then the digits; zeros at both ends are left out, as PostgreSQL stores it.

Source: PostgreSQL 15, src/backend/utils/adt/numeric.c (numeric_out, numeric_send, set_var_from_str).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.kernels import kernel
from tsdb.wire.digits import MINUS, ZERO, Bytes, Lengths

Words = npt.NDArray[np.uint32]

# 2**255 has 77 digits; a chunk of nine more is written at a time.
DIGITS_MAX = 86

_BILLION = np.uint64(1_000_000_000)
_32 = np.uint64(32)


def text_width(scale: int) -> int:
    """Bytes enough for a value of the column: sign, digits, the point, and zeros that the scale adds on a side."""
    return DIGITS_MAX + abs(scale) + 3


def binary_width(scale: int) -> int:
    return 8 + 2 * ((DIGITS_MAX + abs(scale)) // 4 + 2)


@kernel
def _digits(words: Words, at: int, count: int, rest: npt.NDArray[np.uint64], digits: Bytes) -> tuple[int, bool]:
    """The decimal digits of a value, lowest first, into ``digits``: how many (0 for zero), and whether it is < 0."""
    negative = bool(words[at + count - 1] >> np.uint32(31))
    carry = np.uint64(1)
    for k in range(count):
        word = np.uint64(words[at + k])
        if negative:
            word = (~word & np.uint64(0xFFFFFFFF)) + carry
            carry = word >> _32
            word &= np.uint64(0xFFFFFFFF)
        rest[k] = word
    top = count
    length = 0
    while top > 0 and rest[top - 1] == np.uint64(0):
        top -= 1
    while top > 0:
        remainder = np.uint64(0)
        for k in range(top - 1, -1, -1):
            dividend = (remainder << _32) | rest[k]
            quotient = dividend // _BILLION
            rest[k] = quotient
            remainder = dividend - quotient * _BILLION
        while top > 0 and rest[top - 1] == np.uint64(0):
            top -= 1
        chunk = int(remainder)
        for _ in range(9):
            digits[length] = chunk % 10
            chunk //= 10
            length += 1
    while length > 0 and digits[length - 1] == 0:
        length -= 1
    return length, negative


@kernel
def format_decimals(words: Words, count: int, scale: int, width: int, out: Bytes, lengths: Lengths) -> None:
    """Text: all digits of the scale are shown; a negative scale adds zeros."""
    rest = np.empty(8, np.uint64)
    digits = np.empty(DIGITS_MAX, np.uint8)
    for i in range(len(lengths)):
        start = i * width
        at = start
        length, negative = _digits(words, i * count, count, rest, digits)
        if negative:
            out[at] = MINUS
            at += 1
        # Position p of the number is worth 10**(p - scale) and shows digit p.
        highest = max(length - 1, scale if scale > 0 else 0)
        for place in range(highest, -1, -1):
            out[at] = ZERO + (digits[place] if place < length else 0)
            at += 1
            if place == scale and place > 0:
                out[at] = 46
                at += 1
        if length > 0:
            for _ in range(-scale):
                out[at] = ZERO
                at += 1
        lengths[i] = at - start


@kernel
def _put_int16(out: Bytes, at: int, value: int) -> int:
    out[at] = (value >> 8) & 0xFF
    out[at + 1] = value & 0xFF
    return at + 2


@kernel
def _group(digits: Bytes, length: int, scale: int, power: int) -> int:
    """The base-10000 digit worth 10000**power."""
    value = 0
    for k in range(3, -1, -1):
        place = power * 4 + k + scale
        value = value * 10 + (int(digits[place]) if 0 <= place < length else 0)
    return value


@kernel
def encode_decimals(words: Words, count: int, scale: int, width: int, out: Bytes, lengths: Lengths) -> None:
    """Binary."""
    rest = np.empty(8, np.uint64)
    digits = np.empty(DIGITS_MAX, np.uint8)
    for i in range(len(lengths)):
        start = i * width
        length, negative = _digits(words, i * count, count, rest, digits)
        first = (length - 1 - scale) // 4
        last = -scale // 4
        while last < first and _group(digits, length, scale, last) == 0:
            last += 1
        groups = first - last + 1 if length > 0 else 0
        at = _put_int16(out, start, groups)
        at = _put_int16(out, at, first if groups > 0 else 0)
        at = _put_int16(out, at, 0x4000 if negative else 0)
        at = _put_int16(out, at, max(scale, 0))
        for power in range(first, first - groups, -1):
            at = _put_int16(out, at, _group(digits, length, scale, power))
        lengths[i] = at - start
