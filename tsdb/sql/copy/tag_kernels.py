"""Kernels that tell rows with the same tags apart, and write tag sets by value (``tsdb.model.points``)."""

from __future__ import annotations

import numpy as np

from tsdb.kernels import borrowing, copy
from tsdb.model.byte_strings import equal, hash_of, put_varint, valid_utf8
from tsdb.sql.copy.cut_kernels import Bytes, Int32s, Int64s


@borrowing
def number_rows(
    octets: Bytes, begins: Int32s, stops: Int32s, seed: np.uint64, slots: Int32s, number: Int32s, first: Int32s
) -> int:
    """Give rows whose octets are the same in all ranges (``begins`` and ``stops``, int32[ranges, rows]) the same
    number, dense from 0; ``first[n]`` is the first row of number n. Returns how many there are.

    ``slots`` is a hash table, all -1, whose size is a power of two and at least twice the rows.
    """
    ranges, rows = begins.shape
    mask = np.uint64(len(slots) - 1)
    count = 0
    for row in range(rows):
        digest = seed
        for at in range(ranges):
            digest = hash_of(octets, begins[at, row], stops[at, row] - begins[at, row], digest)
        slot = (digest ^ (digest >> np.uint64(32))) & mask
        while slots[slot] >= 0:
            other = first[slots[slot]]
            same = True
            for at in range(ranges):
                start, length = begins[at, row], stops[at, row] - begins[at, row]
                same = same and length == stops[at, other] - begins[at, other]
                same = same and equal(octets, begins[at, other], octets, start, length)
            if same:
                break
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] < 0:
            slots[slot] = count
            first[count] = row
            count += 1
        number[row] = slots[slot]
    return count


@borrowing
def find_wrong(octets: Bytes, starts: Int32s, ends: Int32s, columns: Int64s, rows: Int32s, wrong: Int32s) -> bool:
    """Whether any of ``rows`` has a field that is no text, one with a zero or not UTF-8; ``wrong[i]`` is the place
    among ``columns`` of the first such field of row i, -1 for none."""
    any_wrong = False
    for i in range(len(rows)):
        row = rows[i]
        wrong[i] = -1
        for k in range(len(columns)):
            start, end = starts[columns[k], row], ends[columns[k], row]
            plain = True
            for at in range(start, end):
                plain &= (octets[at] != 0) & (octets[at] < 0x80)
            if plain or wrong[i] >= 0:
                continue
            good = valid_utf8(octets, start, end)
            for at in range(start, end):
                good &= octets[at] != 0
            if not good:
                wrong[i] = k
                any_wrong = True
    return any_wrong


@borrowing
def encode_tagsets(
    octets: Bytes,
    starts: Int32s,
    ends: Int32s,
    columns: Int64s,
    numbers: Int64s,
    rows: Int32s,
    wrong: Int32s,
    out: Bytes,
    borders: Int64s,
) -> None:
    """The tag sets of ``rows`` one behind the other; ``borders`` says where they begin and end. That of a row with a
    ``wrong`` field is empty. ``columns`` are the places of the fields in the order of their column ``numbers``."""
    position = 0
    borders[0] = 0
    for i in range(len(rows)):
        row = rows[i]
        for k in range(len(columns)):
            start, end = starts[columns[k], row], ends[columns[k], row]
            if end < 0 or wrong[i] >= 0:
                continue
            position = put_varint(out, position, numbers[k])
            position = put_varint(out, position, end - start)
            copy(octets, start, out, position, end - start)
            position += end - start
        borders[i + 1] = position
