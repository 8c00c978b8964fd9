"""Kernels that cut COPY's input at record and field borders: text, csv, binary. One pass, bounds kept at every byte.

All three take ``raw`` from ``state[AT]`` to ``size`` and fill, for record r and column c, ``starts[c, r]`` and
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

_LF, _RETURN, _BACKSLASH, _DOT = 10, 13, 92, 46
# What ``_line_end`` and ``_marker`` say beside a position: no line end; input is missing.
_NO, _WAIT = -1, -2


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
def _equal(raw: Bytes, start: int, end: int, text: Bytes) -> bool:
    if end - start != len(text):
        return False
    for k in range(len(text)):  # noqa: SIM110 (numba knows no generators)
        if raw[start + k] != text[k]:
            return False
    return True


@borrowing
def _line_end(raw: Bytes, at: int, size: int, final: bool, state: Int64s) -> int:
    """The position after the line end at ``at``; _WAIT, or _NO with an error in the state. Learns which line end."""
    eol = state[EOL]
    if raw[at] == _LF:
        if eol in (CR, CRNL):
            state[STATUS] = LITERAL_NL
            return _NO
        state[EOL] = NL
        return at + 1
    if eol in (UNKNOWN, CRNL):
        if at + 1 >= size and not final:
            return _WAIT
        if at + 1 < size and raw[at + 1] == _LF:
            state[EOL] = CRNL
            return at + 2
        if eol == CRNL:
            state[STATUS] = LITERAL_CR
            return _NO
        state[EOL] = CR
    elif eol == NL:
        state[STATUS] = LITERAL_CR
        return _NO
    return at + 1


@borrowing
def _marker(raw: Bytes, at: int, size: int, final: bool, csv: bool, state: Int64s) -> int:
    r"""Whether ``\.`` at ``at`` ends the data: the position after its line end; _WAIT; _NO, in csv as data, in
    text with an error in the state."""
    eol = state[EOL]
    after = at + 2
    if after >= size and not final:
        return _WAIT
    if eol == CRNL:
        octet = raw[after] if after < size else np.uint8(0)
        if octet != _RETURN:
            state[STATUS] = MORE if csv else MARKER_STYLE if octet == _LF else MARKER_CORRUPT
            return _NO
        after += 1
        if after >= size and not final:
            return _WAIT
    octet = raw[after] if after < size else np.uint8(0)
    if octet not in (_LF, _RETURN):
        state[STATUS] = MORE if csv else MARKER_CORRUPT
        return _NO
    if (eol in (NL, CRNL) and octet != _LF) or (eol == CR and octet != _RETURN):
        state[STATUS] = MARKER_STYLE
        return _NO
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
        ends[column, row] = -1 if not quoted and _equal(raw, field, stop, null) else to
    state[FIELDS] = column + 1


@borrowing
def _close_line(state: Int64s, begin: int, columns: int, lines: Int64s, starts: Int64s, ends: Int64s) -> bool:
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
def _text_line(
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
                ends[column, row] = -1 if null_like and _equal(raw, field, at, null) else to
            column += 1
            at += 1
            field = to = at
            continue
        state[FIELDS] = column
        state[TEXT_END] = at
        after = _NO
        if at >= size:
            after = at if final else _WAIT
        elif octet in (_LF, _RETURN):
            after = _line_end(raw, at, size, final, state)
        elif at + 1 >= size:  # a backslash at the very end is left out
            after = at + 1 if final else _WAIT
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
def cut_text(
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
    lines: Int64s,
    line_starts: Int64s,
    line_ends: Int64s,
) -> Any:
    columns, capacity = starts.shape
    state[NEWLINES] = 0
    for row in range(capacity):
        begin = state[AT]
        state[STATUS] = MORE
        if begin >= size:
            return row
        state[ROW] = row
        after = _text_line(raw, size, final, special, delimiter, null, out, state, starts, ends)
        if after < 0:
            return row
        if state[STATUS] == END and state[TEXT_END] == begin:
            state[AT] = after
            return row
        if not _close_line(state, begin, columns, lines, line_starts, line_ends):
            return row
        state[AT] = after
        if state[STATUS] == END:
            return row + 1
    state[STATUS] = FULL
    return capacity


@borrowing
def _quoted(
    raw: Bytes, at: int, size: int, final: bool, quote: int, escape: int, out: Bytes, to: int, state: Int64s
) -> tuple[int, int]:
    """What stands in quotes, from the octet after the first of them, to ``out[to:]``: (the position after the closing
    quote or the end of the input, or _WAIT; the end in ``out``). The status is UNTERMINATED where there is no closing
    quote at all."""
    newline = _LF if state[EOL] == NL else _RETURN
    while at < size:
        octet = raw[at]
        if octet == escape:
            if at + 1 >= size and not final:
                return _WAIT, to
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
    return _WAIT, to


@borrowing
def _csv_line(
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
                ends[column, row] = -1 if null_like and _equal(raw, field, at, null) else to
            column += 1
            at += 1
            field = to = at
            saw_quote = False
            continue
        state[FIELDS] = column
        after = _NO
        if at >= size:
            after = at if final else _WAIT
        elif octet in (_LF, _RETURN):
            after = _line_end(raw, at, size, final, state)
        else:
            saw_quote = True
            at, to = _quoted(raw, at + 1, size, final, quote, escape, out, to, state)
            if at == _WAIT:
                return _WAIT
            continue
        state[TEXT_END] = at
        if after >= 0:
            _last_field(raw, field, at, to, saw_quote, null, state, starts, ends)
        return after


@borrowing
def _csv_marker(raw: Bytes, size: int, final: bool, state: Int64s) -> int:
    r"""Whether the line at AT is ``\.``: the position after it, _NO for data or an error in the state, _WAIT."""
    begin = state[AT]
    if raw[begin] != _BACKSLASH:
        return _NO
    if begin + 1 >= size:
        return _NO if final else _WAIT
    return _marker(raw, begin, size, final, True, state) if raw[begin + 1] == _DOT else _NO


@borrowing
def cut_csv(
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
    lines: Int64s,
    line_starts: Int64s,
    line_ends: Int64s,
) -> Any:
    columns, capacity = starts.shape
    for row in range(capacity):
        begin = state[AT]
        state[STATUS] = MORE
        state[NEWLINES] = 0
        if begin >= size:
            return row
        after = _csv_marker(raw, size, final, state)
        if after >= 0:
            state[STATUS] = END
            state[AT] = after
            return row
        if after == _WAIT or state[STATUS] != MORE:
            return row
        state[ROW] = row
        after = _csv_line(raw, size, final, special, delimiter, null, quote, escape, out, state, starts, ends)
        if after < 0:
            return row
        unterminated = state[STATUS] == UNTERMINATED
        whole = _close_line(state, begin, columns, lines, line_starts, line_ends)
        if unterminated:
            state[STATUS] = UNTERMINATED
        if unterminated or not whole:
            return row
        state[AT] = after
    state[STATUS] = FULL
    return capacity


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
