"""The second pass: a walk's rows and values, sorted into measurements and columns; strings unescaped into Arrow's form.

Sorting is by counting and keeps the order of the body, so it costs one pass over the rows and two over the values.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.ingest.kernel import (
    ROW_KEY,
    STRING_ESCAPED,
    STRING_LENGTH_MASK,
    STRING_START_SHIFT,
    VALUE_FIELD,
    VALUE_KIND,
    VALUE_ROW,
    Table,
)
from tsdb.ingest.kernel_lines import Bytes, line_end
from tsdb.ingest.kernel_names import Int32s, Int64s
from tsdb.kernels import kernel

KINDS = 5  # tsdb.types.Kind counts from 1 to 5
_QUOTE, _BACKSLASH = 34, 92


@kernel
def sort_rows(
    rows: Table, count: int, dead: npt.NDArray[np.bool_], key_group: Int32s, group_offset: Int64s, order: Int32s
) -> Int32s:
    """Put the numbers of the living rows into ``order``, by group (measurement) and then as they came.

    ``group_offset`` has room for the groups' borders (groups + 1). Returns each row's place within its group, −1: dead.
    """
    for row in range(count):
        if not dead[row]:
            group_offset[key_group[rows[ROW_KEY, row]] + 1] += 1
    for group in range(1, len(group_offset)):
        group_offset[group] += group_offset[group - 1]
    filled = np.zeros(len(group_offset) - 1, dtype=np.int64)
    place = np.full(count, -1, dtype=np.int32)
    for row in range(count):
        if not dead[row]:
            group = key_group[rows[ROW_KEY, row]]
            place[row] = filled[group]
            order[group_offset[group] + filled[group]] = row
            filled[group] += 1
    return place


@kernel
def turn_values(values: Table, bits: Int64s, columns: npt.NDArray[np.int64]) -> bool:
    """Put the bits of all values into ``columns`` int64[fields, rows], if every row has just the fields of the first,
    in its order and of its kinds. Most bodies are such; False: this one is not."""
    fields, rows = columns.shape
    value = 0
    for row in range(rows):
        for field in range(fields):
            if (
                values[VALUE_ROW, value] != row
                or values[VALUE_FIELD, value] != values[VALUE_FIELD, field]
                or values[VALUE_KIND, value] != values[VALUE_KIND, field]
            ):
                return False
            columns[field, row] = bits[value]
            value += 1
    return True


@kernel
def sort_values(
    values: Table,
    bits: Int64s,
    count: int,
    place: Int32s,
    number: Int32s,
    column_offset: Int64s,
    column_rows: Int32s,
    column_bits: Int64s,
) -> None:
    """Put rows (their place in the group) and bits of the living values into columns: field · KINDS + kind − 1,
    where ``number`` gives a field's name its number.

    ``column_offset`` has room for the columns' borders (columns + 1).
    """
    for value in range(count):
        if place[values[VALUE_ROW, value]] >= 0:
            column_offset[number[values[VALUE_FIELD, value]] * KINDS + values[VALUE_KIND, value]] += 1
    for column in range(1, len(column_offset)):
        column_offset[column] += column_offset[column - 1]
    filled = column_offset[:-1].copy()
    for value in range(count):
        row = place[values[VALUE_ROW, value]]
        if row >= 0:
            column = number[values[VALUE_FIELD, value]] * KINDS + values[VALUE_KIND, value] - 1
            at = filled[column]
            filled[column] = at + 1
            column_rows[at] = row
            column_bits[at] = bits[value]


@kernel
def strings_size(bits: Int64s) -> int:
    """An upper bound of the bytes of unescaped strings."""
    size = 0
    for value in range(len(bits)):
        size += bits[value] & STRING_LENGTH_MASK
    return size


@kernel
def unescape_strings(body: Bytes, bits: Int64s, offsets: Int32s, out: Bytes) -> None:
    r"""Arrow's offsets and bytes of string fields: ``\"`` and ``\\`` lose their backslash, nothing else does."""
    size = 0
    offsets[0] = 0
    for value in range(len(bits)):
        length = bits[value] & STRING_LENGTH_MASK
        start = (bits[value] & ~STRING_ESCAPED) >> STRING_START_SHIFT
        text = body[start : start + length]
        if bits[value] & STRING_ESCAPED:
            p = 0
            while p < length:
                if text[p] == _BACKSLASH and p + 1 < length and (text[p + 1] == _QUOTE or text[p + 1] == _BACKSLASH):
                    p += 1
                out[size] = text[p]
                size += 1
                p += 1
        else:
            for p in range(length):
                out[size + p] = text[p]
            size += length
        offsets[value + 1] = size


@kernel
def cut(body: Bytes, borders: Int64s) -> None:
    """Move each of the rising ``borders`` to the next beginning of a line, knowing quotes."""
    n = len(body)
    p = 0
    for k in range(len(borders)):
        while p < n and p < borders[k]:
            p = line_end(body, p, n) + 1
        borders[k] = min(p, n)
