"""Numbers of a write in as few octets as they need: the least of a column, and how far each is above it in 0, 1, 2, 4
or 8 octets. Two passes over the numbers; a general compressor takes six times as long for those of a thousand rows, and
leaves more.

    step of the times <int64>
    the least of each column <int64> …
    octets of a number in each column <1 B> …, 0 … up to a multiple of 8
    numbers of each column <uint8, uint16, uint32 or uint64> …, 0 … up to a multiple of 8

The first column are the times: theirs are numbers of steps. All are 64 bits wide, whatever they mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tsdb.kernels import inlined, int64_at, kernel

Int64s = npt.NDArray[np.int64]
# numba's int() keeps an unsigned type.
int64 = cast("Callable[[Any], int]", np.int64)

_DTYPES = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


# Numbers that are all alike take no octets: what is damaged must not become more of them than this.
NUMBERS_MAX = 1 << 24


def pack(addresses: Int64s, rows: int, bytes_max: int) -> memoryview | None:
    """Columns of ``rows`` int64 at some addresses, at least one row and one column; None: they need more room."""
    columns = len(addresses)
    if columns * rows > NUMBERS_MAX:
        return None
    head = 1 + columns + -(-columns // 8)
    out = np.empty(head + min((rows + 1) * columns, bytes_max // 8 + columns), np.int64)
    size = _pack(
        addresses, rows, bytes_max, out, out.view(np.uint8), out.view(np.uint16), out.view(np.uint32),
        out.view(np.uint64),
    )  # fmt: skip
    return out.view(np.uint8).data[:size] if size else None


def unpack(data: memoryview, rows: int, columns: int) -> list[Int64s]:
    """The columns. Raises ValueError for what no ``pack`` has made."""
    if columns * rows > NUMBERS_MAX:
        raise ValueError(f"{columns * rows} numbers are more than there can be")
    step = int(np.frombuffer(data, "<i8", 1)[0])
    bases = np.frombuffer(data, "<i8", columns, 8)
    widths = np.frombuffer(data, np.uint8, columns, 8 + 8 * columns).tolist()
    at = 8 * (1 + columns + -(-columns // 8))
    found = []
    for column, (base, width) in enumerate(zip(bases, widths, strict=True)):
        values = np.full(rows, base, np.int64)
        if width:
            if width not in _DTYPES:
                raise ValueError(f"a number of {width} octets")
            apart = np.frombuffer(data, _DTYPES[width], rows, at).astype(np.int64)
            values += apart if column else apart * np.int64(step)
        at += -(-width * rows // 8) * 8
        found.append(values)
    if at != len(data):
        raise ValueError(f"{len(data)} octets where numbers take {at}")
    return found


@kernel
def _step_of(times: int, rows: int, least: int) -> int:
    """The greatest number of which all distances from the least time are multiples."""
    step, last = 0, least
    for row in range(rows):
        time = int64_at(times, row, rows)
        if time == last:
            continue
        last = time
        a, b = step, time - least
        while b:
            a, b = b, a % b
        step = a
        if step == 1:
            break
    return step if step > 0 else 1


@inlined
def _put(
    number: np.uint64, width: int, at: int, row: int, octets: npt.NDArray[np.uint8], halves: npt.NDArray[np.uint16],
    words: npt.NDArray[np.uint32], longs: npt.NDArray[np.uint64],
) -> None:  # fmt: skip
    """Number ``row`` of the column that begins at octet ``at``."""
    if width == 1:
        octets[at + row] = number
    elif width == 2:
        halves[at // 2 + row] = number
    elif width == 4:
        words[at // 4 + row] = number
    else:
        longs[at // 8 + row] = number


@kernel
def _pack(
    addresses: Int64s, rows: int, bytes_max: int, out: Int64s, octets: npt.NDArray[np.uint8],
    halves: npt.NDArray[np.uint16], words: npt.NDArray[np.uint32], longs: npt.NDArray[np.uint64],
) -> int:  # fmt: skip
    """Octets of ``out`` that are filled; the other arrays are views of it. 0: ``bytes_max`` are not enough."""
    columns = len(addresses)
    head = 1 + columns + (columns + 7) // 8
    out[:head] = 0
    out[0] = 1
    total = 0
    for c in range(columns):
        least = most = int64_at(addresses[c], 0, rows)
        for row in range(1, rows):
            value = int64_at(addresses[c], row, rows)
            least, most = min(least, value), max(most, value)
        apart = np.uint64(most) - np.uint64(least)
        if c == 0 and apart >= np.uint64(1 << 8) and apart < np.uint64(1 << 63):
            out[0] = _step_of(addresses[c], rows, least)
            apart //= np.uint64(out[0])
        width = 0
        if apart:
            width = 1
            while width < 8 and apart >> np.uint64(8 * width):
                width *= 2
        out[1 + c] = least
        octets[8 * (1 + columns) + c] = width
        total += (width * rows + 7) // 8 * 8
    if total > bytes_max:
        return 0
    at = 8 * head
    for c in range(columns):
        width = int64(octets[8 * (1 + columns) + c])
        if width == 0:
            continue
        end = at + (width * rows + 7) // 8 * 8
        out[end // 8 - 1] = 0
        base, step = np.uint64(out[1 + c]), np.uint64(out[0])
        if c == 0 and step > np.uint64(1):
            for row in range(rows):
                apart = (np.uint64(int64_at(addresses[c], row, rows)) - base) // step
                _put(apart, width, at, row, octets, halves, words, longs)
        else:
            for row in range(rows):
                apart = np.uint64(int64_at(addresses[c], row, rows)) - base
                _put(apart, width, at, row, octets, halves, words, longs)
        at = end
    return at
