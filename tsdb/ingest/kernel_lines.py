"""Lines and strings: where they end. Every read is behind a check of its position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tsdb.kernels import borrowing, inlined

Bytes = npt.NDArray[np.uint8]

# numba's int() keeps an unsigned or narrow type; mixed with int64 these become floats or overflow.
int64 = cast("Callable[[Any], int]", np.int64)

_NEWLINE, _RETURN, _TAB, _BLANK, _QUOTE, _HASH, _COMMA = 10, 13, 9, 32, 34, 35, 44
_EQUALS, _BACKSLASH = 61, 92


@inlined
def line_ends(body: Bytes, p: int, n: int) -> bool:
    """Whether the line ends at ``p``: the body's end, a newline, or a carriage return before either."""
    if p >= n or body[p] == _NEWLINE:
        return True
    return bool(body[p] == _RETURN and (p + 1 >= n or body[p + 1] == _NEWLINE))


@inlined
def separates(body: Bytes, p: int, n: int) -> bool:
    """Whether a field's value may end before ``p``."""
    return p >= n or body[p] == _COMMA or body[p] == _BLANK or line_ends(body, p, n)


@borrowing
def string_end(body: Bytes, p: int, n: int) -> tuple[int, bool, int, bool]:
    """The closing quote of the string that opens at ``p`` (n: none), whether it has escapes, newlines, a NUL."""
    escaped = nul = False
    breaks = 0
    p += 1
    while p < n:
        c = body[p]
        if c == _QUOTE:
            break
        if c == _BACKSLASH and p + 1 < n and (body[p + 1] == _QUOTE or body[p + 1] == _BACKSLASH):
            escaped = True
            p += 1
        elif c == _NEWLINE:
            breaks += 1
        elif c == 0:
            nul = True
        p += 1
    return min(p, n), escaped, breaks, nul


@borrowing
def line_end(body: Bytes, p: int, n: int) -> int:
    """Where the line that begins at ``p`` ends (its newline, or n), good or bad.

    A newline ends it unless it is inside a string: behind the series key, from ``="`` to a closing quote that a
    separator follows. Without such a closing quote there is no string, and the line ends at the first newline.
    """
    while p < n and (body[p] == _BLANK or body[p] == _TAB):
        p += 1
    quotes = p >= n or body[p] != _HASH
    in_fields = False
    previous = 0
    while p < n:
        c = body[p]
        if c == _NEWLINE:
            break
        if c == _BLANK and previous != _BACKSLASH:
            in_fields = True
        elif quotes and in_fields and c == _EQUALS and previous != _BACKSLASH and p + 1 < n and body[p + 1] == _QUOTE:
            close, _, breaks, _ = string_end(body, p + 1, n)
            if close < n and separates(body, close + 1, n):
                p = close
                c = body[p]
            elif breaks > 0:
                quotes = False
        previous = c
        p += 1
    return p
