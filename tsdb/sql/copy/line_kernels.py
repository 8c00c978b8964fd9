"""The kernel that cuts COPY's lines, of text and of csv. Most lines are plain, and of these much is known beforehand.

A plain line has no quote and no escape. Its integers are read while they are cut. Its tags, where they stand side by
side, are compared with those that came after the last line's tags the time before: most writers repeat the order of
their series, so one comparison of octets replaces cutting, hashing and looking up ten fields. Every other line is cut
by the rules of its format (``cut_kernels``), and its integers are left to others: it is a *slow* row.

Rows with the same text of all tags get the same number, dense from 0. Of each such number ``tags`` has the first row,
how long the text is, the number that came after it last, and whether it is to be expected where that came before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np

from tsdb.kernels import borrowing, inlined, load_word, trailing_zeros
from tsdb.model.byte_strings import equal, hash_of
from tsdb.sql.copy.cut_kernels import (
    AT,
    BACKSLASH,
    END,
    FIELDS,
    FULL,
    LF,
    MORE,
    NEWLINES,
    NO,
    RETURN,
    ROW,
    STATUS,
    TEXT_END,
    UNTERMINATED,
    WAIT,
    Bytes,
    Int32s,
    Int64s,
    Mask,
    close_line,
    csv_line,
    csv_marker,
    line_end,
    octet_at,
    text_line,
)

# numba's int() keeps an unsigned or narrow type; mixed with int64 these become floats or overflow.
int64 = cast("Callable[[Any], int]", np.int64)

# Places in ``counts``: slow rows, distinct texts of tags, and from here on of each column the NULLs of plain lines.
SLOW, TAGS, NULLS = range(3)
# Rows of ``tags``: of each row its number; of each number what is said above.
NUMBER, FIRST, LENGTH, NEXT, EXPECTED = range(5)
TAGS_SIZE = 5

_MINUS, _PLUS = 45, 43
# So many digits are an int64 for sure.
_DIGITS_MAX = 18
# By the word: octets 0x01, the highest bits, the digit zero, what makes more than nine overflow into the highest bit.
_ONES, _HIGHEST = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_ZEROS, _ABOVE_NINE = np.uint64(0x3030303030303030), np.uint64(0x7676767676767676)
# Neighbours are joined to pairs, pairs to fours, fours to one.
_PAIRS, _FOURS, _EIGHT = np.uint64(10 << 8 | 1), np.uint64(100 << 16 | 1), np.uint64(10_000 << 32 | 1)
_LOW_BYTES, _LOW_HALVES = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_U0, _U3, _U7, _U8, _U16, _U32, _U64 = (np.uint64(n) for n in (0, 3, 7, 8, 16, 32, 64))
_LINE_ENDS = (np.uint64(LF) * _ONES, np.uint64(RETURN) * _ONES)


class Format(NamedTuple):
    """What lines look like. ``plain``: such lines may be cut the short way. ``low`` and ``high`` are the bounds of a
    column's integers, low above high for another column; ``tag_first`` and ``tag_last`` the first and the last of the
    tags that stand side by side, or −1."""

    csv: bool
    plain: bool
    delimiter: int
    quote: int
    escape: int
    special: Mask
    null: Bytes
    low: Int64s
    high: Int64s
    tag_first: int
    tag_last: int
    seed: np.uint64


class Cut(NamedTuple):
    """What the kernel fills: of record r and column c the range, and of integers ``values[c, r]``; the rows that are
    ``slow``; the ``tags``. ``slots`` is a hash table whose size is a power of two and at least twice the rows."""

    out: Bytes
    starts: Int32s
    ends: Int32s
    values: Int64s
    lines: Int64s
    line_starts: Int64s
    line_ends: Int64s
    slow: Int32s
    tags: Int32s
    slots: Int32s
    counts: Int64s


@inlined
def _ends_field(raw: Bytes, at: int, delimiter: int, is_last: bool) -> bool:
    """Whether a field that is followed by the octet at ``at`` ends there."""
    octet = raw[at]
    return octet in (LF, RETURN) if is_last else octet == delimiter


@inlined
def _null_end(raw: Bytes, at: int, size: int, null: Bytes) -> int:
    """Where the text of NULL at ``at`` ends; −1 if it is not there, or too near the end."""
    length = len(null)
    if at + length >= size:
        return -1
    for k in range(length):
        if raw[at + k] != null[k]:
            return -1
    return at + length


@inlined
def _zero_octets(word: np.uint64) -> np.uint64:
    """The highest bits of octets that are zero, exact up to the first of them."""
    return (word - _ONES) & ~word & _HIGHEST


@inlined
def _special_at(raw: Bytes, at: int, size: int, delimiters: np.uint64, signs: np.uint64, special: Mask) -> int:
    """The place of the first octet that does not stand for itself; ``size`` if there is none."""
    while at + 8 <= size:
        word = load_word(raw, at)
        found = _zero_octets(word ^ delimiters) | _zero_octets(word ^ signs)
        found |= _zero_octets(word ^ _LINE_ENDS[0]) | _zero_octets(word ^ _LINE_ENDS[1])
        if found:
            return at + int64(trailing_zeros(found) >> _U3)
        at += 8
    while at < size and not special[raw[at]]:
        at += 1
    return at


@inlined
def _integer(raw: Bytes, at: int, size: int) -> tuple[int, int]:
    """The integer at ``at`` and where it ends; the end is −1 if there is none, or one with many digits."""
    negative = raw[at] == _MINUS
    if negative or raw[at] == _PLUS:
        at += 1
    if at + 8 <= size:
        word = load_word(raw, at) ^ _ZEROS
        others = (word + _ABOVE_NINE | word) & _HIGHEST
        if others:  # fewer than eight digits: no loop, whose end no processor foresees
            bits = trailing_zeros(others) - _U7
            if not bits:
                return 0, -1
            word <<= _U64 - bits
            word = word * _PAIRS >> _U8 & _LOW_BYTES
            word = word * _FOURS >> _U16 & _LOW_HALVES
            found = int64(word * _EIGHT >> _U32)
            return (-found if negative else found), at + int64(bits >> _U3)
    begin = at
    value = 0
    while at < size:
        digit = octet_at(raw, at) - 48
        if digit < 0 or digit > 9:
            break
        value = value * 10 + digit
        at += 1
    if not 0 < at - begin <= _DIGITS_MAX:
        return 0, -1
    return (-value if negative else value), at


@inlined
def _known_tags(
    raw: Bytes, at: int, size: int, row: int, last: int, tag_first: int, tag_last: int,
    starts: Int32s, ends: Int32s, tags: Int32s,
) -> tuple[int, int]:  # fmt: skip
    """The number of the tags at ``at``, if they are what is expected after ``last``, or −1; and where they end, with
    the delimiter."""
    guess = int64(tags[NEXT, last]) if last >= 0 else -1
    if guess < 0 or not tags[EXPECTED, guess]:
        return -1, at
    length, known = int64(tags[LENGTH, guess]) + 1, int64(tags[FIRST, guess])
    begin = int64(starts[tag_first, known])
    if at + length > size or not equal(raw, begin, raw, at, length):
        return -1, at
    for column in range(tag_first, tag_last + 1):
        end = ends[column, known]
        starts[column, row] = starts[column, known] + at - begin
        ends[column, row] = end + at - begin if end >= 0 else -1
    return guess, at + length


@inlined
def _plain_line(
    raw: Bytes, begin: int, size: int, row: int, last: int, delimiter: int, delimiters: np.uint64, signs: np.uint64,
    special: Mask, null: Bytes, low: Int64s, high: Int64s, tag_first: int, tag_last: int,
    starts: Int32s, ends: Int32s, values: Int64s, tags: Int32s, counts: Int64s,
) -> tuple[int, int]:  # fmt: skip
    """Cut the line at ``begin``: where its text ends, −1 if it is not plain or not whole; and the number of its tags
    if they were expected, −1 if not."""
    columns = len(low)
    at, column, number = begin, 0, -1
    while column < columns:
        if column == tag_first:
            number, at = _known_tags(raw, at, size, row, last, tag_first, tag_last, starts, ends, tags)
            if number >= 0:
                column = tag_last + 1
                continue
        if at >= size:
            return -1, -1
        is_last = column == columns - 1
        stop = _null_end(raw, at, size, null)
        starts[column, row] = at
        if stop >= 0 and _ends_field(raw, stop, delimiter, is_last):
            ends[column, row] = -1
            values[column, row] = 0
            counts[NULLS + column] += 1
        else:
            if low[column] <= high[column]:
                value, stop = _integer(raw, at, size)
                if stop < 0 or value < low[column] or value > high[column]:
                    return -1, -1
                values[column, row] = value
            else:
                stop = _special_at(raw, at, size, delimiters, signs, special)
            if stop >= size or not _ends_field(raw, stop, delimiter, is_last):
                return -1, -1
            ends[column, row] = stop
        at = stop if is_last else stop + 1
        column += 1
    return at, number


@borrowing
def _number_of(
    raw: Bytes, row: int, stop: int, comparable: bool, tag_first: int, seed: np.uint64, starts: Int32s,
    tags: Int32s, slots: Int32s, counts: Int64s,
) -> int:  # fmt: skip
    """The number of a row's tags that were not expected; ``comparable``: more like them may be."""
    begin = int64(starts[tag_first, row])
    digest = hash_of(raw, begin, stop - begin, seed)
    mask = np.uint64(len(slots) - 1)
    slot = (digest ^ (digest >> np.uint64(32))) & mask
    while slots[slot] >= 0:
        other = int64(slots[slot])
        if tags[LENGTH, other] == stop - begin:
            known = int64(starts[tag_first, tags[FIRST, other]])
            if equal(raw, known, raw, begin, stop - begin):
                return other
        slot = (slot + np.uint64(1)) & mask
    number = int64(counts[TAGS])
    slots[slot] = number
    counts[TAGS] = number + 1
    tags[FIRST, number] = row
    tags[LENGTH, number] = stop - begin
    tags[NEXT, number] = -1
    tags[EXPECTED, number] = comparable
    return number


@borrowing
def cut_lines(raw: Bytes, size: int, final: bool, form: Format, state: Int64s, cut: Cut) -> Any:
    """As ``cut_kernels`` says; a new ``Cut`` begins with no tags."""
    # numba counts references of a tuple's arrays whenever they are taken out of it: once, here.
    csv, plain, delimiter, quote, escape, special, null, low, high, tag_first, tag_last, seed = form
    out, starts, ends, values, lines, line_starts, line_ends, slow, tags, slots, counts = cut
    columns, capacity = starts.shape
    slots.fill(-1)
    counts.fill(0)
    delimiters = np.uint64(delimiter) * _ONES
    signs = np.uint64(quote if csv else BACKSLASH) * _ONES
    last = -1
    for row in range(capacity):
        begin = state[AT]
        state[STATUS] = MORE
        state[NEWLINES] = 0
        if begin >= size:
            return row
        if csv:
            after = csv_marker(raw, size, final, state)
            if after >= 0:
                state[STATUS] = END
                state[AT] = after
                return row
            if after == WAIT or state[STATUS] != MORE:
                return row
        stop, expected = _plain_line(
            raw, begin, size if plain else begin, row, last, delimiter, delimiters, signs, special, null,
            low, high, tag_first, tag_last, starts, ends, values, tags, counts,
        )  # fmt: skip
        after = line_end(raw, stop, size, final, state) if stop >= 0 else NO
        is_plain = after >= 0
        expected = expected if is_plain else -1
        state[STATUS] = MORE
        state[ROW] = row
        if is_plain:
            state[FIELDS] = columns
            state[TEXT_END] = stop
        elif csv:
            after = csv_line(raw, size, final, special, delimiter, null, quote, escape, out, state, starts, ends)
        else:
            after = text_line(raw, size, final, special, delimiter, null, out, state, starts, ends)
        if after < 0:
            return row
        if state[STATUS] == END and state[TEXT_END] == begin:
            state[AT] = after
            return row
        unterminated = state[STATUS] == UNTERMINATED
        whole = close_line(state, begin, columns, lines, line_starts, line_ends)
        if unterminated:
            state[STATUS] = UNTERMINATED
        if unterminated or not whole:
            return row
        state[AT] = after
        if not is_plain:
            slow[counts[SLOW]] = row
            counts[SLOW] += 1
        if tag_first >= 0:
            if expected < 0:
                last_end = state[TEXT_END] if tag_last == columns - 1 else int64(starts[tag_last + 1, row]) - 1
                # What stands at the end of lines has no delimiter to be compared with.
                comparable = is_plain and tag_last < columns - 1
                expected = _number_of(raw, row, last_end, comparable, tag_first, seed, starts, tags, slots, counts)
            tags[NUMBER, row] = expected
            if last >= 0:
                tags[NEXT, last] = expected
            last = expected
        if state[STATUS] == END:
            return row + 1
    state[STATUS] = FULL
    return capacity
