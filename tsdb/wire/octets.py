"""Kernels for byte strings: hexadecimal, UUIDs, and the forms of arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.kernels import kernel
from tsdb.wire.digits import Bytes, Lengths

Int64s = npt.NDArray[np.int64]

NULL_LENGTH = -1

_COMMA = 44
_QUOTE = 34
_BACKSLASH = 92
_OPEN = 123
_CLOSE = 125


@kernel
def mark_nulls(bitmap: Bytes, bit_offset: int, lengths: Lengths) -> None:
    """Set the length of every NULL to -1. ``bitmap`` is Arrow's: a bit is set where there is a value."""
    for i in range(len(lengths)):
        bit = bit_offset + i
        if not (bitmap[bit >> 3] >> (bit & 7)) & 1:
            lengths[i] = NULL_LENGTH


@kernel
def put_int32(out: Bytes, at: int, value: int) -> int:
    out[at] = (value >> 24) & 0xFF
    out[at + 1] = (value >> 16) & 0xFF
    out[at + 2] = (value >> 8) & 0xFF
    out[at + 3] = value & 0xFF
    return at + 4


@kernel
def _hex_digit(value: int) -> int:
    return 48 + value if value < 10 else 87 + value


@kernel
def format_hex(octets: Bytes, starts: Int64s, lengths: Lengths, out: Bytes, out_starts: Int64s) -> None:
    """bytea_output hex: each value as ``\\x`` and two digits a byte, at ``out_starts``."""
    for i in range(len(lengths)):
        at = out_starts[i]
        out[at] = _BACKSLASH
        out[at + 1] = 120
        for k in range(lengths[i]):
            octet = octets[starts[i] + k]
            out[at + 2 + 2 * k] = _hex_digit(octet >> 4)
            out[at + 3 + 2 * k] = _hex_digit(octet & 15)


@kernel
def _hex_value(octet: int) -> int:
    if 48 <= octet <= 57:
        return octet - 48
    lower = octet | 32
    if 97 <= lower <= 102:
        return lower - 87
    return -1


@kernel
def encode_uuids(octets: Bytes, starts: Int64s, lengths: Lengths, out: Bytes) -> int:
    """The 16 bytes of each UUID's text, dashes ignored. Returns the row of a text that is none, or -1."""
    for i in range(len(lengths)):
        if lengths[i] < 0:
            continue
        count = 0
        for k in range(starts[i], starts[i] + lengths[i]):
            if octets[k] == 45:
                continue
            value = _hex_value(octets[k])
            if value < 0 or count == 32:
                return i
            at = i * 16 + count // 2
            out[at] = value << 4 if count % 2 == 0 else out[at] | value
            count += 1
        if count != 32:
            return i
    return -1


@kernel
def _is_null_word(octets: Bytes, start: int, length: int) -> bool:
    return (
        length == 4
        and octets[start] | 32 == 110
        and octets[start + 1] | 32 == 117
        and octets[start + 2] | 32 == 108
        and octets[start + 3] | 32 == 108
    )


@kernel
def needs_quotes(octets: Bytes, start: int, length: int, opening: int, closing: int) -> bool:
    """array_out, record_out: empty, or with a character that means something in the text of what it is part of."""
    if length == 0:
        return True
    for k in range(start, start + length):
        octet = octets[k]
        if octet in (_QUOTE, _BACKSLASH, opening, closing, _COMMA, 32) or 9 <= octet <= 13:
            return True
    return False


@kernel
def _put_element(octets: Bytes, start: int, length: int, out: Bytes, at: int) -> int:
    """One element, quoted where it must be."""
    quoted = _is_null_word(octets, start, length) or needs_quotes(octets, start, length, _OPEN, _CLOSE)
    if quoted:
        out[at] = _QUOTE
        at += 1
    for k in range(start, start + length):
        octet = octets[k]
        if octet in (_QUOTE, _BACKSLASH):
            out[at] = _BACKSLASH
            at += 1
        out[at] = octet
        at += 1
    if quoted:
        out[at] = _QUOTE
        at += 1
    return at


@kernel
def format_arrays(
    octets: Bytes, starts: Int64s, lengths: Lengths, offsets: Int64s, nested: bool, out: Bytes, bounds: Int64s
) -> None:
    """``{1,NULL,"a b"}`` for each list: its elements are those from ``offsets[i]`` to ``offsets[i + 1]``.

    ``nested``: the elements are arrays themselves and are never quoted. ``out`` must have two bytes per list and,
    per element, twice its length and three, at least five. The text of list i is ``out[bounds[i]:bounds[i + 1]]``.
    """
    at = 0
    for i in range(len(offsets) - 1):
        bounds[i] = at
        out[at] = _OPEN
        at += 1
        for e in range(offsets[i], offsets[i + 1]):
            if e > offsets[i]:
                out[at] = _COMMA
                at += 1
            if lengths[e] < 0:
                out[at], out[at + 1], out[at + 2], out[at + 3] = 78, 85, 76, 76
                at += 4
            elif nested:
                for k in range(lengths[e]):
                    out[at + k] = octets[starts[e] + k]
                at += lengths[e]
            else:
                at = _put_element(octets, starts[e], lengths[e], out, at)
        out[at] = _CLOSE
        at += 1
    bounds[len(offsets) - 1] = at


@kernel
def encode_arrays(
    octets: Bytes,
    starts: Int64s,
    lengths: Lengths,
    prefix: int,
    offsets: Int64s,
    element_oid: int,
    lower_bound: int,
    out: Bytes,
    bounds: Int64s,
) -> None:
    """array_send: dimensions, whether NULLs are in it, element type, then length and lower bound, and elements.

    ``out`` must have 20 bytes per list and, per element, its length and five.
    """
    extra = 1 if prefix >= 0 else 0
    at = 0
    for i in range(len(offsets) - 1):
        bounds[i] = at
        count = offsets[i + 1] - offsets[i]
        nulls = 0
        for e in range(offsets[i], offsets[i + 1]):
            if lengths[e] < 0:
                nulls = 1
        at = put_int32(out, at, 1 if count > 0 else 0)
        at = put_int32(out, at, nulls)
        at = put_int32(out, at, element_oid)
        if count > 0:
            at = put_int32(out, at, count)
            at = put_int32(out, at, lower_bound)
        for e in range(offsets[i], offsets[i + 1]):
            at = put_int32(out, at, lengths[e] + extra if lengths[e] >= 0 else -1)
            if lengths[e] >= 0 and prefix >= 0:
                out[at] = prefix
                at += 1
            for k in range(max(lengths[e], 0)):
                out[at + k] = octets[starts[e] + k]
            at += max(lengths[e], 0)
    bounds[len(offsets) - 1] = at
