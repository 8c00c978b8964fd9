"""numeric's binary form from its text, for columns whose numbers have a scale each.

Source: PostgreSQL 15, src/backend/utils/adt/numeric.c (numeric_send).
"""

from __future__ import annotations

import struct

_NEGATIVE = 0x4000
_NAN = 0xC000


def numeric_octets(text: str) -> bytes:
    """``int16`` count, weight, sign and scale, then the base-10000 digits."""
    if text == "NaN":
        return struct.pack("!hhHh", 0, 0, _NAN, 0)
    sign = _NEGATIVE if text.startswith("-") else 0
    whole, _, fraction = text.lstrip("-").partition(".")
    padded = whole.zfill(-(-len(whole) // 4) * 4) + fraction.ljust(-(-len(fraction) // 4) * 4, "0")
    digits = [int(padded[i : i + 4]) for i in range(0, len(padded), 4)]
    weight = -(-len(whole) // 4) - 1
    first = next((i for i, d in enumerate(digits) if d), len(digits))
    digits, weight = digits[first:], weight - first
    while digits and not digits[-1]:
        digits.pop()
    if not digits:
        sign = weight = 0
    return struct.pack(f"!hhHh{len(digits)}h", len(digits), weight, sign, len(fraction), *digits)
