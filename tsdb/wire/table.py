"""The columns of a pass as a table for kernels, which take any number of them: one line for each, with the addresses of
its buffers and how they are read.

``IMAGES``   row i's value is ``lengths[i]`` octets from ``starts[i]``; a negative length is NULL
``CODES``    row i's value is that of entry ``codes[i]`` of an image
``TEXTS``    row i's value is the octets between ``offsets[i]`` and ``offsets[i + 1]``, as Arrow has them
``NUMBERS``  row i's value is ``numbers[i]`` in decimal, written where it goes

Rows of a series come sorted by tag set, so neighbouring ``CODES`` columns (a *stretch*) mostly have the values of the
row before: kernels copy what they wrote for them there.

A table is valid as long as the columns that it was made of are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tsdb.kernels import borrowing, inlined, int32_at, int64_at, octet_at
from tsdb.wire.images import Coded, Image, Numbers, Texts, Values, addresses_of

Table = npt.NDArray[np.int64]
Repeats = npt.NDArray[np.bool_]

IMAGES, CODES, TEXTS, NUMBERS = range(4)
NULL_LENGTH = -1
# What a line has, in this order. ENTRIES: how many starts and lengths there are. VALUES: the address of codes or
# numbers. VALIDITY: that of Arrow's bitmap of what is not NULL, or 0; BIT: where in it row 0 is. PREFIX: a byte before
# each value, or -1. STRETCH: how many columns has the stretch that begins here.
KIND, OCTETS, OCTETS_COUNT, STARTS, LENGTHS, ENTRIES, VALUES, VALIDITY, BIT, PREFIX, STRETCH = range(11)


def table_of(columns: Sequence[Values]) -> tuple[Table, int]:
    """The lines of columns, and how many stretches they have."""
    lines: list[list[int]] = []
    stretches = begin = 0
    for column in columns:
        lines.append(_line(column))
        if lines[-1][KIND] != CODES:
            begin = len(lines)
            continue
        stretches += begin == len(lines) - 1
        lines[begin][STRETCH] += 1
    return np.array(lines, np.int64).reshape(len(lines), STRETCH + 1), stretches


def _line(column: Values) -> list[int]:
    if isinstance(column, Image):
        return [IMAGES, *_image(column), 0, 0, 0, column.prefix, 0]
    if isinstance(column, Coded):
        codes = column.codes
        validity, values = codes.buffers()
        return [
            CODES, *_image(column.values), values.address + 4 * codes.offset, *_validity(codes, validity),
            column.values.prefix, 0,
        ]  # fmt: skip
    array = column.array
    if isinstance(column, Numbers):
        validity, values = array.buffers()
        return [NUMBERS, 0, 0, 0, 0, 0, values.address + 8 * array.offset, *_validity(array, validity), -1, 0]
    assert isinstance(column, Texts)
    validity, offsets, data = array.buffers()
    where = (0, 0) if data is None else (data.address, data.size)
    return [
        TEXTS, *where, offsets.address + 4 * array.offset, 0, len(array) + 1, 0, *_validity(array, validity),
        column.prefix, 0,
    ]  # fmt: skip


def _image(image: Image) -> tuple[int, int, int, int, int]:
    """OCTETS to ENTRIES."""
    octets, starts, lengths = image.addresses or addresses_of(image)
    return octets, len(image.octets), starts, lengths, len(image.lengths)


def _validity(array: Any, bitmap: Any) -> tuple[int, int]:
    return (bitmap.address, array.offset) if array.null_count else (0, 0)


@inlined
def is_null(table: Table, c: int, row: int, rows: int) -> bool:
    """By the bitmap; the lengths of images say it otherwise."""
    null = False
    if table[c, VALIDITY] != 0:
        bit = table[c, BIT] + row
        octet = octet_at(table[c, VALIDITY], bit >> 3, (table[c, BIT] + rows + 7) >> 3)
        null = (octet >> (bit & 7)) & 1 == 0
    return null


@inlined
def where(table: Table, c: int, row: int, rows: int) -> tuple[int, int]:
    """(start, length) of a value that is not a number; a negative length is NULL."""
    null = is_null(table, c, row, rows)
    if table[c, KIND] == TEXTS:
        start = int32_at(table[c, STARTS], row, table[c, ENTRIES])
        length = int32_at(table[c, STARTS], row + 1, table[c, ENTRIES]) - start
    else:
        entry = row
        if table[c, KIND] == CODES:
            # Whatever stands where a code is NULL.
            entry = 0 if null else int32_at(table[c, VALUES], row, rows)
        start = int64_at(table[c, STARTS], entry, table[c, ENTRIES])
        length = int32_at(table[c, LENGTHS], entry, table[c, ENTRIES])
    return start, NULL_LENGTH if null else length


@borrowing
def longest(table: Table, c: int, rows: int) -> int:
    """The octets of the longest value of a column, at least 0; not of numbers."""
    most = 0
    if table[c, KIND] == CODES:
        for i in range(table[c, ENTRIES]):
            most = max(most, int32_at(table[c, LENGTHS], i, table[c, ENTRIES]))
    else:
        for i in range(rows):
            most = max(most, where(table, c, i, rows)[1])
    return most


@borrowing
def find_repeats(table: Table, rows: int, repeats: Repeats) -> None:
    """Fill ``repeats[s, i]``: has stretch s in row i what it has in row i - 1?"""
    stretch = -1
    left = 0
    for c in range(len(table)):
        if table[c, STRETCH] > 0:
            stretch += 1
            left = table[c, STRETCH]
            for i in range(rows):
                repeats[stretch, i] = i > 0
        if left > 0:
            left -= 1
            codes = table[c, VALUES]
            for i in range(1, rows):
                repeats[stretch, i] &= int32_at(codes, i, rows) == int32_at(codes, i - 1, rows)
            if table[c, VALIDITY] != 0:
                for i in range(1, rows):
                    repeats[stretch, i] &= is_null(table, c, i, rows) == is_null(table, c, i - 1, rows)
