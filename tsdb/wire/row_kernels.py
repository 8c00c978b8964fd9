"""The kernel that writes DataRows, row by row: every column's value where the row has got to.

It takes the columns as a table (``tsdb.wire.table``) and writes until the output is full. A row is written once, from
left to right; nothing is measured before, but for how much a row takes at most.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.kernels import borrowing, copy, copy_from, inlined, int64_at, store_half, store_word
from tsdb.wire.digits import CELLS, INTEGER_WIDTH, Bytes, put_signed
from tsdb.wire.table import (
    CODES,
    KIND,
    NULL_LENGTH,
    NUMBERS,
    OCTETS,
    OCTETS_COUNT,
    PREFIX,
    STRETCH,
    VALUES,
    Repeats,
    Table,
    is_null,
    longest,
    where,
)

ROW_HEADER_BYTES = 7
# What may be written beyond the end of a value.
SLACK_BYTES = 8
# The message type of COPY's data.
COPY_DATA = ord("d")
Written = npt.NDArray[np.int64]


@borrowing
def row_bytes_max(table: Table, rows: int) -> int:
    """How much a row takes at most."""
    most = ROW_HEADER_BYTES
    for c in range(len(table)):
        most += 5 + (INTEGER_WIDTH if table[c, KIND] == NUMBERS else longest(table, c, rows))
    return most


@borrowing
def row_bytes(table: Table, row: int, rows: int) -> int:
    """What a row takes; numbers are counted as the longest."""
    size = ROW_HEADER_BYTES
    for c in range(len(table)):
        size += 5 + (INTEGER_WIDTH if table[c, KIND] == NUMBERS else max(where(table, c, row, rows)[1], 0))
    return size


@inlined
def put_length(out: Bytes, at: int, length: int) -> int:
    """An int32 in network order."""
    word = np.uint32(length)
    low = ((word & np.uint32(0xFF)) << np.uint32(24)) | ((word & np.uint32(0xFF00)) << np.uint32(8))
    high = ((word >> np.uint32(8)) & np.uint32(0xFF00)) | (word >> np.uint32(24))
    store_half(out, at, low | high)
    return at + 4


@inlined
def _put_number(table: Table, c: int, row: int, rows: int, out: Bytes, at: int) -> int:
    value = int64_at(table[c, VALUES], row, rows)
    if is_null(table, c, row, rows):
        end = put_length(out, at, NULL_LENGTH)
    elif 0 <= value < len(CELLS):
        # Length and digits at once.
        cell = CELLS[value]
        store_word(out, at, cell)
        end = at + 4 + int(np.int64((cell >> np.uint64(24)) & np.uint64(0xFF)))
    else:
        end = put_signed(out, at + 4, value)
        put_length(out, at, end - at - 4)
    return end


@inlined
def _put_octets(table: Table, c: int, row: int, rows: int, out: Bytes, at: int) -> int:
    start, length = where(table, c, row, rows)
    prefix = table[c, PREFIX]
    extra = 1 if prefix >= 0 and length >= 0 else 0
    at = put_length(out, at, length + extra)
    if extra:
        out[at] = prefix
    copy_from(table[c, OCTETS], start, table[c, OCTETS_COUNT], out, at + extra, max(length, 0))
    return at + extra + max(length, 0)


@borrowing
def write_rows(
    table: Table, first: int, rows: int, most: int, repeats: Repeats, written: Written, out: Bytes, letter: int
) -> tuple[int, int]:
    """Write DataRows from ``first`` on while they fit: (the first row that is not written, octets written).

    ``most`` is ``row_bytes_max``; ``written`` has room for two numbers of each stretch, where it was written last and
    how long it is. ``out`` has SLACK_BYTES behind what may be filled. ``letter`` is the messages' type.
    """
    limit = len(out) - SLACK_BYTES
    columns = len(table)
    at = 0
    for i in range(first, rows):
        if at + most > limit and at + row_bytes(table, i, rows) > limit:
            return i, at
        begin = at
        out[at] = letter
        out[at + 5] = columns >> 8
        out[at + 6] = columns & 0xFF
        at += ROW_HEADER_BYTES
        stretch = 0
        c = 0
        while c < columns:
            if table[c, STRETCH] > 0 and i > first and repeats[stretch, i]:
                length = written[stretch, 1]
                copy(out, written[stretch, 0], out, at, length)
                written[stretch, 0] = at
                at += length
                c += table[c, STRETCH]
                stretch += 1
                continue
            if table[c, STRETCH] > 0:
                written[stretch, 0] = at
            if table[c, KIND] == NUMBERS:
                at = _put_number(table, c, i, rows, out, at)
            else:
                at = _put_octets(table, c, i, rows, out, at)
            ends = table[c, KIND] == CODES and (c + 1 == columns or table[c + 1, KIND] != CODES)
            c += 1
            if ends:
                written[stretch, 1] = at - written[stretch, 0]
                stretch += 1
        put_length(out, begin + 1, at - begin - 1)
    return rows, at
