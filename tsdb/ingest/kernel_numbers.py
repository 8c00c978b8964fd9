"""Numbers and booleans of line protocol, from bytes to the nearest float8, int8, uint8 or bool.

Each function consumes as much as its grammar allows and returns where it stopped; the caller checks that a separator
follows. Floats are exact: small ones by one multiplication or division (Clinger 1990), most others by a 128-bit
product (Lemire, "Number Parsing at a Gigabyte per Second", 2021, as in Go's strconv/eisel_lemire.go). What neither
decides (more than 19 significant digits, a tie, a subnormal, an overflow) is returned as SLOW: the caller hands the
text to Python's ``float``.

Unsigned constants are ``np.uint64``: numba makes uint64 with int64 a float.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.ingest.kernel_lines import Bytes, int64
from tsdb.kernels import borrowing, inlined, load_word

# Outcomes of a value. Error codes of a line are in tsdb.ingest.kernel and start above.
OK = 0
SLOW = 1
INVALID_NUMBER = 2
INTEGER_RANGE = 3
INVALID_BOOLEAN = 4
FLOAT_RANGE = 5

# tsdb.types.Kind's numbers; an enum is no constant to numba.
FLOAT8, INT8, UINT8, BOOL, TEXT = 1, 2, 3, 4, 5

_DIGITS_MAX = 19  # what always fits into a uint64
_EXPONENT_CAP = 100_000  # beyond it the value is 0 or out of range whatever follows

_U1 = np.uint64(1)
_U3 = np.uint64(3)
_U9 = np.uint64(9)
_U10 = np.uint64(10)
_U32 = np.uint64(32)
_U52 = np.uint64(52)
_U53 = np.uint64(53)
_U63 = np.uint64(63)
_U64 = np.uint64(64)
_LOW32 = np.uint64(0xFFFFFFFF)
_LOW9 = np.uint64(0x1FF)
_ZERO = np.uint64(0)
_DIGIT_ZERO = np.uint64(48)
_U4, _U8, _U16 = np.uint64(4), np.uint64(8), np.uint64(16)
_UPPER, _LOWER = np.uint64(0xF0F0F0F0F0F0F0F0), np.uint64(0x0F0F0F0F0F0F0F0F)
_SIXES, _THREES = np.uint64(0x0606060606060606), np.uint64(0x3333333333333333)
_PAIRS, _FOURS, _EIGHT = np.uint64(10 << 8 | 1), np.uint64(100 << 16 | 1), np.uint64(10_000 << 32 | 1)
_LOW_BYTES, _LOW_HALVES = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_FRACTION = np.uint64((1 << 52) - 1)
_EXACT_MAX = np.uint64(1 << 53)
_INT8_MAX = np.uint64((1 << 63) - 1)
_INT8_MIN = np.uint64(1 << 63)
_UINT8_TENTH = np.uint64((1 << 64) // 10)
_UINT8_MAX = np.uint64((1 << 64) - 1)

_POWERS = np.array([10.0**e for e in range(23)])  # each exact
_TEN_MIN, _TEN_MAX = -348, 347


def _tens() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """The upper and lower 64 bits of 10^e's leading 128 bits, rounded down, for e from −348 to 347."""
    high, low = [], []
    for exponent in range(_TEN_MIN, _TEN_MAX + 1):
        if exponent >= 0:
            power = 10**exponent
            shift = power.bit_length() - 128
            leading = power >> shift if shift > 0 else power << -shift
        else:
            power = 10**-exponent
            leading = (1 << (power.bit_length() + 127)) // power
            leading >>= leading.bit_length() - 128
        high.append(leading >> 64)
        low.append(leading & (1 << 64) - 1)
    return np.array(high, dtype=np.uint64), np.array(low, dtype=np.uint64)


_TENS_HIGH, _TENS_LOW = _tens()


@borrowing
def _product_high(a: np.uint64, b: np.uint64) -> np.uint64:
    """The upper 64 bits of a·b."""
    a_low, a_high = a & _LOW32, a >> _U32
    b_low, b_high = b & _LOW32, b >> _U32
    low = a_low * b_low
    middle = a_high * b_low + (low >> _U32)
    carry = (middle & _LOW32) + a_low * b_high
    return a_high * b_high + (middle >> _U32) + (carry >> _U32)


@borrowing
def _leading_zeros(value: np.uint64) -> np.uint64:
    count = _ZERO
    step = _U32
    while step > _ZERO:
        if value >> (_U64 - step) == _ZERO:
            value <<= step
            count += step
        step >>= _U1
    return count


@borrowing
def _eisel_lemire(mantissa: np.uint64, exponent: int) -> tuple[bool, np.uint64]:
    """The bits of the float8 nearest to mantissa·10^exponent (mantissa > 0), or False where 128 bits cannot tell."""
    if exponent < _TEN_MIN or exponent > _TEN_MAX:
        return False, _ZERO
    zeros = _leading_zeros(mantissa)
    mantissa <<= zeros
    binary = ((217706 * exponent) >> 16) + 64 + 1023 - int64(zeros)
    ten = _TENS_HIGH[exponent - _TEN_MIN]
    high, low = _product_high(mantissa, ten), mantissa * ten
    if high & _LOW9 == _LOW9 and low + mantissa < mantissa:
        ten = _TENS_LOW[exponent - _TEN_MIN]
        rest_high, rest_low = _product_high(mantissa, ten), mantissa * ten
        merged = low + rest_high
        if merged < low:
            high += _U1
        if high & _LOW9 == _LOW9 and merged + _U1 == _ZERO and rest_low + mantissa < mantissa:
            return False, _ZERO
        low = merged
    top = high >> _U63
    fraction = high >> (top + _U9)
    binary -= 1 - int64(top)
    if low == _ZERO and high & _LOW9 == _ZERO and fraction & _U3 == _U1:
        return False, _ZERO
    fraction += fraction & _U1
    fraction >>= _U1
    if fraction >> _U53 > _ZERO:
        fraction >>= _U1
        binary += 1
    if binary < 1 or binary >= 0x7FF:
        return False, _ZERO
    return True, np.uint64(binary) << _U52 | fraction & _FRACTION


@borrowing
def _bits(value: float) -> np.uint64:
    """A function of its own, since numba's view() wants a name that is assigned once."""
    return np.float64(value).view(np.uint64)


@borrowing
def _nearest(negative: bool, mantissa: np.uint64, exponent: int) -> tuple[int, int]:
    """Outcome and the bits of ±mantissa·10^exponent as an int64."""
    if mantissa == _ZERO:
        bits = _ZERO
    elif mantissa <= _EXACT_MAX and -22 <= exponent <= 22:
        exact = np.float64(mantissa)
        bits = _bits(exact * _POWERS[exponent] if exponent >= 0 else exact / _POWERS[-exponent])
    else:
        decided, bits = _eisel_lemire(mantissa, exponent)
        if not decided:
            return SLOW, 0
    return OK, int64(bits | _U1 << _U63) if negative else int64(bits)


@inlined
def eight_digits(body: Bytes, p: int) -> bool:
    """Whether the eight bytes at ``p`` are digits."""
    word = load_word(body, p)
    return bool(word & _UPPER | (word + _SIXES & _UPPER) >> _U4 == _THREES)


@inlined
def eight_digits_value(body: Bytes, p: int) -> int:
    """Their value: neighbours are joined to pairs, pairs to fours, fours to one."""
    word = load_word(body, p) & _LOWER
    word = word * _PAIRS >> _U8 & _LOW_BYTES
    word = word * _FOURS >> _U16 & _LOW_HALVES
    return int64(word * _EIGHT >> _U32)


@borrowing
def _integer(body: Bytes, first: int, end: int, negative: bool, suffix: int) -> tuple[int, int, int]:
    """Outcome, kind and bits of the digits from ``first`` to ``end``, which the suffix ``i`` or ``u`` follows."""
    value = _ZERO
    overflow = False
    for p in range(first, end):
        digit = np.uint64(body[p]) - np.uint64(48)
        if value > _UINT8_TENTH or (value == _UINT8_TENTH and digit > np.uint64(5)):
            overflow = True
        value = value * _U10 + digit
    if suffix == 117:  # u
        if negative:
            return INVALID_NUMBER, UINT8, 0
        return (INTEGER_RANGE if overflow else OK), UINT8, int64(value)
    if overflow or value > (_INT8_MIN if negative else _INT8_MAX):
        return INTEGER_RANGE, INT8, 0
    return OK, INT8, (-int64(value) if negative else int64(value))


@borrowing
def _exponent(body: Bytes, p: int, n: int) -> tuple[bool, int, int]:
    """Whether there is one, its value (capped), where it stops; ``p`` is behind the ``e``."""
    negative = False
    if p < n and (body[p] == 43 or body[p] == 45):
        negative = body[p] == 45
        p += 1
    first = p
    value = 0
    while p < n and 48 <= body[p] <= 57:
        if value < _EXPONENT_CAP:
            value = value * 10 + int64(body[p]) - 48
        p += 1
    return p > first, (-value if negative else value), p


@borrowing
def _mantissa(body: Bytes, p: int, n: int) -> tuple[np.uint64, int, bool, bool, int]:
    """Digits with at most one point: the leading 19, the power of ten they want, whether digits other than zeros were
    cut off, whether there was a digit at all, where it stops."""
    mantissa = _ZERO
    kept = exponent = digits = 0
    cut = point = False
    while p < n:
        c = body[p]
        if 48 <= c <= 57:
            digits += 1
            if kept == 0 and c == 48:
                exponent -= 1 if point else 0
            elif kept < _DIGITS_MAX:
                mantissa = mantissa * _U10 + (np.uint64(c) - np.uint64(48))
                kept += 1
                exponent -= 1 if point else 0
            else:
                cut |= c != 48
                exponent += 0 if point else 1
        elif c == 46 and not point:
            point = True
        else:
            break
        p += 1
    return mantissa, exponent, cut, digits > 0, p


@inlined
def number(body: Bytes, p: int, n: int) -> tuple[int, int, int, int]:
    """Outcome, kind, bits as an int64 and where the number at ``p`` stops. ``+1``, ``1e``, ``.`` and ``-`` are none."""
    negative = body[p] == 45
    if negative:
        p += 1
    first = p
    value = _ZERO
    while p < n and 48 <= body[p] <= 57:
        value = value * _U10 + (np.uint64(body[p]) - _DIGIT_ZERO)
        p += 1
    if p < n and p > first and (body[p] == 105 or body[p] == 117):
        if p - first < _DIGITS_MAX and body[p] == 105:  # no room for a range error
            return OK, INT8, (-int64(value) if negative else int64(value)), p + 1
        code, kind, bits = _integer(body, first, p, negative, int64(body[p]))
        return code, kind, bits, p + 1
    point = p
    if p < n and body[p] == 46:
        p += 1
        while p < n and 48 <= body[p] <= 57:
            value = value * _U10 + (np.uint64(body[p]) - _DIGIT_ZERO)
            p += 1
    after = max(0, p - point - 1)
    if 0 < point - first + after < _DIGITS_MAX and not (p < n and (body[p] == 101 or body[p] == 69)):
        code, bits = _nearest(negative, value, -after)
        return code, FLOAT8, bits, p
    return _any_float(body, first, n, negative)


@borrowing
def _any_float(body: Bytes, first: int, n: int, negative: bool) -> tuple[int, int, int, int]:
    """As ``number``, of what has an exponent, more digits than a word holds, or none; behind the sign."""
    mantissa, exponent, cut, found, p = _mantissa(body, first, n)
    if not found:
        return INVALID_NUMBER, FLOAT8, 0, p
    if p < n and (body[p] == 101 or body[p] == 69):
        found, scale, p = _exponent(body, p + 1, n)
        if not found:
            return INVALID_NUMBER, FLOAT8, 0, p
        exponent += scale
    if cut:
        return SLOW, FLOAT8, 0, p
    code, bits = _nearest(negative, mantissa, exponent)
    return code, FLOAT8, bits, p


_RUE, _RUE_CAPITALS = (114, 117, 101), (82, 85, 69)
_ALSE, _ALSE_CAPITALS = (97, 108, 115, 101), (65, 76, 83, 69)


@borrowing
def _follows(body: Bytes, p: int, n: int, word: tuple[int, ...]) -> bool:
    if p + len(word) > n:
        return False
    for k in range(len(word)):  # noqa: SIM110  (numba has no all())
        if body[p + k] != word[k]:
            return False
    return True


@borrowing
def boolean(body: Bytes, p: int, n: int) -> tuple[int, int]:
    """The value (0 or 1) and where the word at ``p`` stops, which begins with one of ``tTfF``.

    ``t``, ``true``, ``T``, ``True``, ``TRUE`` and the same of false; anything else stops behind the first letter, where
    the caller finds no separator.
    """
    first = body[p]
    truth = first == 116 or first == 84
    capital = first < 97
    p += 1
    if truth:
        if _follows(body, p, n, _RUE) or (capital and _follows(body, p, n, _RUE_CAPITALS)):
            p += 3
    elif _follows(body, p, n, _ALSE) or (capital and _follows(body, p, n, _ALSE_CAPITALS)):
        p += 4
    return (1 if truth else 0), p
