"""Kernels that write float8 and float4 as PostgreSQL does: the shortest digits that read back as the same value.

The digits come from Schubfach (Raffaello Giulietti, "The Schubfach way to render doubles", 2020), with one change:
like PostgreSQL (src/common/d2s.c, ``acceptBounds = false``) we never take a decimal that lies exactly on the border
of the interval of rounding, so that a reader with any rule for ties gets the value back.

The layout is C's %g: an exponent below -4 or from 15 on (float4: 6) is written as ``1e-05``, ``1.5e+20``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.kernels import borrowing, inlined
from tsdb.wire.digits import MINUS, ZERO, Bytes, Lengths, put_four, put_padded, put_unsigned

FLOAT_WIDTH = 25

_POWER_MIN = -292
_POWER_MAX = 324


def _powers_of_ten() -> npt.NDArray[np.uint64]:
    """10**k for k from -292 to 324, scaled to 128 significant bits and rounded up: high word, low word."""
    rows = []
    for k in range(_POWER_MIN, _POWER_MAX + 1):
        if k >= 0:
            exact = 10**k
            shift = exact.bit_length() - 128
            scaled = exact << -shift if shift <= 0 else -(-exact >> shift)
        else:
            divisor = 10**-k
            scaled = -(-(1 << (127 + divisor.bit_length())) // divisor)
            if scaled.bit_length() > 128:
                scaled = -(-scaled >> 1)
        rows.append((scaled >> 64, scaled & (2**64 - 1)))
    return np.array(rows, np.uint64)


_POWERS = _powers_of_ten()

_LOW32 = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_0 = np.uint64(0)
_1 = np.uint64(1)
_2 = np.uint64(2)
_4 = np.uint64(4)
_10 = np.uint64(10)
_40 = np.uint64(40)


@inlined
def _high_product(a: np.uint64, b: np.uint64) -> np.uint64:
    """The upper 64 bits of the 128-bit product."""
    a_low, a_high = a & _LOW32, a >> _32
    b_low, b_high = b & _LOW32, b >> _32
    middle = a_high * b_low + ((a_low * b_low) >> _32)
    other = a_low * b_high + (middle & _LOW32)
    return a_high * b_high + (middle >> _32) + (other >> _32)


@inlined
def _round_to_odd(high: np.uint64, low: np.uint64, factor: np.uint64) -> np.uint64:
    """(high, low) * factor / 2**128, with the lowest bit set if anything was cut off (paper, section 9.4)."""
    carry = _high_product(low, factor)
    middle = high * factor
    top = _high_product(high, factor)
    total = middle + carry
    if total < middle:
        top += _1
    if total > _1:
        top |= _1
    return top


@borrowing
def shortest(mantissa: np.uint64, exponent: int, irregular: bool) -> tuple[np.uint64, int]:
    """The shortest decimal ``digits * 10**k`` of ``mantissa * 2**exponent``; digits may end in zeros.

    ``irregular``: the value is a power of two, whose lower neighbour is at half the distance.
    """
    lower_border = _4 * mantissa - (_1 if irregular else _2)
    # floor(log10(2**exponent)), and of 3/4 of it; floor(log2(10**-k)): exact in this range (paper, section 8).
    k = (exponent * 1262611 - (524031 if irregular else 0)) >> 22
    shift = np.uint64(exponent + ((-k * 1741647) >> 19) + 1)
    high, low = _POWERS[-k - _POWER_MIN]
    below = _round_to_odd(high, low, lower_border << shift) + _1
    value = _round_to_odd(high, low, (_4 * mantissa) << shift)
    above = _round_to_odd(high, low, (_4 * mantissa + _2) << shift) - _1
    digits = value // _4
    if digits >= _10:
        tens = digits // _10
        down_fits = below <= _40 * tens
        up_fits = _40 * tens + _40 <= above
        if down_fits != up_fits:
            return tens + (_1 if up_fits else _0), k + 1
    down_fits = below <= _4 * digits
    up_fits = _4 * digits + _4 <= above
    if down_fits != up_fits:
        return digits + (_1 if up_fits else _0), k
    middle = _4 * digits + _2
    if value > middle or (value == middle and (digits & _1) != _0):
        digits += _1
    return digits, k


@inlined
def _put_decimal(out: Bytes, at: int, digits: np.uint64, k: int, exponent_limit: int) -> int:
    """Lay out ``digits * 10**k`` (digits > 0): fixed for a decimal exponent in [-4, limit), else scientific."""
    while digits % _10 == _0:
        digits //= _10
        k += 1
    end = put_unsigned(out, at, digits)
    count = end - at
    exponent = k + count - 1
    if exponent < -4 or exponent >= exponent_limit:
        if count > 1:
            for place in range(end, at + 1, -1):
                out[place] = out[place - 1]
            out[at + 1] = 46
            end += 1
        out[end] = 101
        out[end + 1] = MINUS if exponent < 0 else 43
        magnitude = abs(exponent)
        return put_padded(out, end + 2, magnitude, 3 if magnitude >= 100 else 2)
    if k >= 0:
        for place in range(end, end + k):
            out[place] = ZERO
        return end + k
    if exponent >= 0:
        for place in range(end, at + exponent + 1, -1):
            out[place] = out[place - 1]
        out[at + exponent + 1] = 46
        return end + 1
    lead = 1 - exponent  # "0." and the zeros after the point
    for place in range(end - 1, at - 1, -1):
        out[place + lead] = out[place]
    for place in range(at, at + lead):
        out[place] = ZERO
    out[at + 1] = 46
    return end + lead


@inlined
def _put_special(out: Bytes, at: int, negative: bool, nan: bool) -> int:
    if nan:
        out[at], out[at + 1], out[at + 2] = 78, 97, 78
        return at + 3
    if negative:
        out[at] = MINUS
        at += 1
    out[at], out[at + 1], out[at + 2], out[at + 3] = 73, 110, 102, 105
    out[at + 4], out[at + 5], out[at + 6], out[at + 7] = 110, 105, 116, 121
    return at + 8


@inlined
def _put_float(
    out: Bytes, at: int, bits: np.uint64, mantissa_bits: int, exponent_mask: int, bias: int, exponent_limit: int
) -> int:
    """Write one IEEE number given by its bits. ``bias`` is that of the integer mantissa's power of two."""
    fraction = bits & ((_1 << np.uint64(mantissa_bits)) - _1)
    stored = int(bits >> np.uint64(mantissa_bits))
    exponent = stored & exponent_mask
    negative = stored > exponent_mask
    if exponent == exponent_mask:
        return _put_special(out, at, negative, bool(fraction != _0))
    if negative:
        out[at] = MINUS
        at += 1
    if exponent == 0 and fraction == _0:
        out[at] = ZERO
        return at + 1
    if exponent == 0:
        digits, k = shortest(fraction, 1 - bias, False)
    else:
        mantissa = fraction | (_1 << np.uint64(mantissa_bits))
        digits, k = shortest(mantissa, exponent - bias, bool(fraction == _0) and exponent > 1)
    return _put_decimal(out, at, digits, k, exponent_limit)


@inlined
def _put_short(out: Bytes, at: int, value: float) -> int:
    """A float8 with at most 15 digits, four of them after the point: what is measured mostly looks like that.

    If n / 10**4 is ``value`` and n has at most 15 digits, these digits are the shortest: no two decimals of up to 15
    digits read as the same float8, and IEEE division rounds as reading does. Returns 0 for any other value.
    """
    if not -1e11 < value < 1e11 or value == 0.0:
        return 0
    scaled = np.rint(value * 1e4)
    if scaled / 1e4 != value or scaled == 0.0:
        return 0
    digits = np.int64(scaled)
    if digits < 0:
        out[at] = MINUS
        at += 1
        digits = -digits
    whole = np.uint64(digits) // np.uint64(10_000)
    end = put_unsigned(out, at, whole)
    rest = np.uint64(digits) - whole * np.uint64(10_000)
    if rest == 0:
        return end
    out[end] = 46
    end = put_four(out, end + 1, np.uint32(rest))
    while out[end - 1] == ZERO:
        end -= 1
    return end


@borrowing
def format_float8(values: npt.NDArray[np.float64], bits: npt.NDArray[np.uint64], out: Bytes, lengths: Lengths) -> None:
    """``bits`` is a view of ``values``."""
    for i in range(len(values)):
        start = i * FLOAT_WIDTH
        end = _put_short(out, start, values[i])
        if end == 0:
            end = _put_float(out, start, bits[i], 52, 0x7FF, 1075, 15)
        lengths[i] = end - start


@borrowing
def format_float4(bits: npt.NDArray[np.uint32], out: Bytes, lengths: Lengths) -> None:
    for i in range(len(bits)):
        start = i * FLOAT_WIDTH
        lengths[i] = _put_float(out, start, np.uint64(bits[i]), 23, 0xFF, 150, 6) - start
