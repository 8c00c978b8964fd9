"""Kernels that cut COPY's input at record and field borders: text, csv, binary. One pass, bounds kept at every byte.

Lines of text and of csv are cut one by one here; ``line_kernels.cut_lines`` goes through them. Both that and
``cut_binary`` take ``raw`` from ``state[AT]`` to ``size`` and fill, for record r and column c, ``starts[c, r]`` and
``ends[c, r]`` (-1: NULL) into ``out``, which is a copy of ``raw`` in which escapes and quotes are undone in place: what
is undone is never longer. ``lines[r]`` is the record's line as PostgreSQL counts, its text ``raw[line_starts[r]:
line_ends[r]]``. They return the number of whole records; the state says where and why they stopped. A record that is
not complete is left for the next call, unless ``final``.

Source: PostgreSQL 15, src/backend/commands/copyfromparse.c (CopyReadLineText, CopyReadAttributesText,
CopyReadAttributesCSV, NextCopyFrom).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tsdb.kernels import borrowing

Bytes = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# Places in ``state``.
AT, EOL, LINE, STATUS, DETAIL, TEXT_END, NEWLINES, ROW, FIELDS = 0, 1, 2, 3, 4, 5, 6, 7, 8
STATE_SIZE = 9

# Line ends: not known yet, \n, \r, \r\n.
UNKNOWN, NL, CR, CRNL = 0, 1, 2, 3

# Why a kernel stopped. From EXTRA on it is an error; DETAIL is then the number of fields, or the column.
MORE, FULL, END = 0, 1, 2
EXTRA, MISSING, UNTERMINATED = 3, 4, 5
LITERAL_CR, LITERAL_NL, MARKER_STYLE, MARKER_CORRUPT = 6, 7, 8, 9
WRONG_COUNT, WRONG_SIZE, UNEXPECTED_END = 10, 11, 12

LF, RETURN, BACKSLASH, _DOT = 10, 13, 92, 46
# What ``line_end`` and ``_marker`` say beside a position: no line end; input is missing.
NO, WAIT = -1, -2


@borrowing
def octet_at(octets: Bytes, at: int) -> Any:
    """An octet as int64: unsigned and signed together would be floats to numba."""
    return np.int64(octets[at])


@borrowing
def _hex_digit(octet: int) -> int:
    if 48 <= octet <= 57:
        return octet - 48
    lower = octet | 32
    return lower - 87 if 97 <= lower <= 102 else -1


@borrowing
def _unescape(raw: Bytes, at: int, end: int, out: Bytes, to: int) -> int:
    """Undo the escape whose backslash stands at ``at``; the octet goes to ``out[to]``. The position after it."""
    octet = raw[at + 1]
    after = at + 2
    if 48 <= octet <= 55:
        value = octet - 48
        count = 1
        while count < 3 and after < end and 48 <= raw[after] <= 55:
            value = value * 8 + raw[after] - 48
            after += 1
            count += 1
        out[to] = value & 0xFF
        return after
    if octet == 120 and after < end and _hex_digit(raw[after]) >= 0:
        value = _hex_digit(raw[after])
        after += 1
        if after < end and _hex_digit(raw[after]) >= 0:
            value = value * 16 + _hex_digit(raw[after])
            after += 1
        out[to] = value
        return after
    plain = octet
    if octet == 98:
        plain = np.uint8(8)
    elif octet == 102:
        plain = np.uint8(12)
    elif octet == 110:
        plain = np.uint8(10)
    elif octet == 114:
        plain = np.uint8(13)
    elif octet == 116:
        plain = np.uint8(9)
    elif octet == 118:
        plain = np.uint8(11)
    out[to] = plain
    return after


@borrowing
def same_octets(raw: Bytes, start: int, end: int, text: Bytes) -> bool:
    if end - start != len(text):
        return False
    for k in range(len(text)):  # noqa: SIM110 (numba knows no generators)
        if raw[start + k] != text[k]:
            return False
    return True


@borrowing
def line_end(raw: Bytes, at: int, size: int, final: bool, state: Int64s) -> int:
    """The position after the line end at ``at``; WAIT, or NO with an error in the state. Learns which line end."""
    eol = state[EOL]
    if raw[at] == LF:
        if eol in (CR, CRNL):
            state[STATUS] = LITERAL_NL
            return NO
        state[EOL] = NL
        return at + 1
    if eol in (UNKNOWN, CRNL):
        if at + 1 >= size and not final:
            return WAIT
        if at + 1 < size and raw[at + 1] == LF:
            state[EOL] = CRNL
            return at + 2
        if eol == CRNL:
            state[STATUS] = LITERAL_CR
            return NO
        state[EOL] = CR
    elif eol == NL:
        state[STATUS] = LITERAL_CR
        return NO
    return at + 1


@borrowing
def _marker(raw: Bytes, at: int, size: int, final: bool, csv: bool, state: Int64s) -> int:
    r"""Whether ``\.`` at ``at`` ends the data: the position after its line end; WAIT; NO, in csv as data, in
    text with an error in the state."""
    eol = state[EOL]
    after = at + 2
    if after >= size and not final:
        return WAIT
    if eol == CRNL:
        octet = raw[after] if after < size else np.uint8(0)
        if octet != RETURN:
            state[STATUS] = MORE if csv else MARKER_STYLE if octet == LF else MARKER_CORRUPT
            return NO
        after += 1
        if after >= size and not final:
            return WAIT
    octet = raw[after] if after < size else np.uint8(0)
    if octet not in (LF, RETURN):
        state[STATUS] = MORE if csv else MARKER_CORRUPT
        return NO
    if (eol in (NL, CRNL) and octet != LF) or (eol == CR and octet != RETURN):
        state[STATUS] = MARKER_STYLE
        return NO
    return after + 1


@borrowing
def _moved(raw: Bytes, start: int, end: int, out: Bytes, to: int) -> int:
    """Put octets that stand for themselves behind what was undone before them: their end in ``out``."""
    for k in range(end - start):
        out[to + k] = raw[start + k]
    return to + end - start


@borrowing
def _last_field(
    raw: Bytes, field: int, stop: int, to: int, quoted: bool, null: Bytes, state: Int64s, starts: Int32s, ends: Int32s
) -> None:
    """Note the field that ends a line. Fields beyond the last column are only counted."""
    column, row = state[FIELDS], state[ROW]
    if column < starts.shape[0]:
        starts[column, row] = field
        ends[column, row] = -1 if not quoted and same_octets(raw, field, stop, null) else to
    state[FIELDS] = column + 1


@borrowing
def close_line(state: Int64s, begin: int, columns: int, lines: Int64s, starts: Int64s, ends: Int64s) -> bool:
    """Note the line that ends; False, with an error in the state, if it has another number of fields."""
    row, fields = state[ROW], state[FIELDS]
    state[LINE] += 1 + state[NEWLINES]
    lines[row] = state[LINE]
    starts[row] = begin
    ends[row] = state[TEXT_END]
    if fields != columns:
        state[STATUS] = EXTRA if fields > columns else MISSING
        state[DETAIL] = fields
        return False
    return True


@borrowing
def text_line(
    raw: Bytes,
    size: int,
    final: bool,
    special: Mask,
    delimiter: int,
    null: Bytes,
    out: Bytes,
    state: Int64s,
    starts: Int32s,
    ends: Int32s,
) -> int:
    """Cut one line of text; the position after it, or below 0 where it is not whole or not right. The status is END
    when the marker ends it."""
    at = field = to = state[AT]
    row, column = state[ROW], 0
    columns = starts.shape[0]
    while True:
        start = at
        while at < size and not special[raw[at]]:
            at += 1
        to = at if to == start else _moved(raw, start, at, out, to)
        octet = raw[at] if at < size else np.uint8(0)
        if octet == delimiter and at < size:
            if column < columns:
                starts[column, row] = field
                null_like = at - field == len(null)
                ends[column, row] = -1 if null_like and same_octets(raw, field, at, null) else to
            column += 1
            at += 1
            field = to = at
            continue
        state[FIELDS] = column
        state[TEXT_END] = at
        after = NO
        if at >= size:
            after = at if final else WAIT
        elif octet in (LF, RETURN):
            after = line_end(raw, at, size, final, state)
        elif at + 1 >= size:  # a backslash at the very end is left out
            after = at + 1 if final else WAIT
            state[TEXT_END] = at + 1
        elif raw[at + 1] != _DOT:
            at = _unescape(raw, at, size, out, to)
            to += 1
            continue
        else:
            after = _marker(raw, at, size, final, False, state)
            if after >= 0:
                state[STATUS] = END
        if after >= 0:
            _last_field(raw, field, at, to, False, null, state, starts, ends)
        return after


@borrowing
def _quoted(
    raw: Bytes, at: int, size: int, final: bool, quote: int, escape: int, out: Bytes, to: int, state: Int64s
) -> tuple[int, int]:
    """What stands in quotes, from the octet after the first of them, to ``out[to:]``: (the position after the closing
    quote or the end of the input, or WAIT; the end in ``out``). The status is UNTERMINATED where there is no closing
    quote at all."""
    newline = LF if state[EOL] == NL else RETURN
    while at < size:
        octet = raw[at]
        if octet == escape:
            if at + 1 >= size and not final:
                return WAIT, to
            if at + 1 < size and raw[at + 1] in (escape, quote):
                out[to] = raw[at + 1]
                to += 1
                at += 2
                continue
        at += 1
        if octet == quote:
            return at, to
        if octet == newline:
            state[NEWLINES] += 1
        out[to] = octet
        to += 1
    if final:
        state[STATUS] = UNTERMINATED
        return at, to
    return WAIT, to


@borrowing
def csv_line(
    raw: Bytes,
    size: int,
    final: bool,
    special: Mask,
    delimiter: int,
    null: Bytes,
    quote: int,
    escape: int,
    out: Bytes,
    state: Int64s,
    starts: Int32s,
    ends: Int32s,
) -> int:
    """Cut one line of csv; the position after it, or below 0 where it is not whole or not right."""
    saw_quote = False
    at = field = to = state[AT]
    row, column = state[ROW], 0
    columns = starts.shape[0]
    while True:
        start = at
        while at < size and not special[raw[at]]:
            at += 1
        to = at if to == start else _moved(raw, start, at, out, to)
        octet = raw[at] if at < size else np.uint8(0)
        if octet == delimiter and at < size:
            if column < columns:
                starts[column, row] = field
                null_like = at - field == len(null) and not saw_quote
                ends[column, row] = -1 if null_like and same_octets(raw, field, at, null) else to
            column += 1
            at += 1
            field = to = at
            saw_quote = False
            continue
        state[FIELDS] = column
        after = NO
        if at >= size:
            after = at if final else WAIT
        elif octet in (LF, RETURN):
            after = line_end(raw, at, size, final, state)
        else:
            saw_quote = True
            at, to = _quoted(raw, at + 1, size, final, quote, escape, out, to, state)
            if at == WAIT:
                return WAIT
            continue
        state[TEXT_END] = at
        if after >= 0:
            _last_field(raw, field, at, to, saw_quote, null, state, starts, ends)
        return after


@borrowing
def csv_marker(raw: Bytes, size: int, final: bool, state: Int64s) -> int:
    r"""Whether the line at AT is ``\.``: the position after it, NO for data or an error in the state, WAIT."""
    begin = state[AT]
    if raw[begin] != BACKSLASH:
        return NO
    if begin + 1 >= size:
        return NO if final else WAIT
    return _marker(raw, begin, size, final, True, state) if raw[begin + 1] == _DOT else NO


@borrowing
def _int32(raw: Bytes, at: int) -> Any:
    value = (
        (octet_at(raw, at) << 24) | (octet_at(raw, at + 1) << 16) | (octet_at(raw, at + 2) << 8) | octet_at(raw, at + 3)
    )
    return value - 4294967296 if value >= 2147483648 else value


@borrowing
def cut_binary(raw: Bytes, size: int, final: bool, state: Int64s, starts: Int32s, ends: Int32s, lines: Int64s) -> int:
    """Tuples of the binary format. At the end of the data, what is left of a tuple is an error."""
    columns, capacity = starts.shape
    row = 0
    state[STATUS] = MORE
    while row < capacity:
        at = state[AT]
        if at + 2 > size:
            if final and at < size:
                state[STATUS] = UNEXPECTED_END
                state[DETAIL] = -1
            return row
        count = (octet_at(raw, at) << 8) | octet_at(raw, at + 1)
        at += 2
        if count == 65535:
            state[STATUS] = END
            state[AT] = at
            return row
        if count != columns:
            state[LINE] += 1
            state[STATUS] = WRONG_COUNT
            state[DETAIL] = count - 65536 if count >= 32768 else count
            return row
        for column in range(columns):
            length = _int32(raw, at) if at + 4 <= size else -2
            if at + 4 > size or (length > 0 and at + 4 + length > size):
                if final:
                    state[LINE] += 1
                    state[STATUS] = UNEXPECTED_END
                    state[DETAIL] = column
                return row
            if length < -1:
                state[LINE] += 1
                state[STATUS] = WRONG_SIZE
                state[DETAIL] = column
                return row
            at += 4
            starts[column, row] = at
            ends[column, row] = at + length if length >= 0 else -1
            at += max(length, 0)
        state[LINE] += 1
        lines[row] = state[LINE]
        state[AT] = at
        row += 1
    state[STATUS] = FULL
    return row
