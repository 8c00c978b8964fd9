"""The kernel that writes lines of COPY's text and csv formats, row by row (as ``tsdb.wire.row_kernels`` DataRows).

NULL is written as ``null``, which is not escaped or quoted; behind a value comes the delimiter, or the line's end.
"""

from __future__ import annotations

from tsdb.kernels import borrowing, copy, inlined, int64_at, octet_at
from tsdb.wire.digits import INTEGER_WIDTH, Bytes, put_signed
from tsdb.wire.row_kernels import SLACK_BYTES, Written, put_length
from tsdb.wire.table import (
    CODES,
    KIND,
    NUMBERS,
    OCTETS,
    OCTETS_COUNT,
    STRETCH,
    VALUES,
    Repeats,
    Table,
    is_null,
    longest,
    where,
)

LINE_HEADER_BYTES = 5

_BACKSLASH, _DOT, _NEWLINE = 92, 46, 10
_DATA = 100  # d


@inlined
def _letter(octet: int, delimiter: int) -> int:
    """What stands behind a backslash for this octet; 0 where none is needed."""
    letter = 0
    if octet in (delimiter, _BACKSLASH):
        letter = octet
    if 8 <= octet <= 13:
        # b t n v f r
        letter = (98, 116, 110, 118, 102, 114)[octet - 8]
    return letter


@inlined
def _put(text: Bytes, out: Bytes, at: int) -> int:
    copy(text, 0, out, at, len(text))
    return at + len(text)


@inlined
def _put_text(table: Table, c: int, start: int, length: int, delimiter: int, out: Bytes, at: int) -> int:
    octets, total = table[c, OCTETS], table[c, OCTETS_COUNT]
    for k in range(start, start + length):
        octet = octet_at(octets, k, total)
        letter = _letter(octet, delimiter)
        if letter != 0:
            out[at] = _BACKSLASH
            out[at + 1] = letter
            at += 2
        else:
            out[at] = octet
            at += 1
    return at


@inlined
def _is_quoted(
    table: Table, c: int, start: int, length: int, null: Bytes, delimiter: int, quote: int, force: bool
) -> bool:
    """Forced; equal to what NULL is written as; ``\\.`` alone in its line; or with a sign that means something."""
    octets, total = table[c, OCTETS], table[c, OCTETS_COUNT]
    quoted = force
    if length == len(null):
        same = True
        for k in range(length):
            same = same and octet_at(octets, start + k, total) == null[k]
        quoted = quoted or same
    if len(table) == 1 and length == 2:
        first, second = octet_at(octets, start, total), octet_at(octets, start + 1, total)
        quoted = quoted or (first == _BACKSLASH and second == _DOT)
    for k in range(start, start + length):
        octet = octet_at(octets, k, total)
        quoted = quoted or octet in (delimiter, quote) or octet == 10 or octet == 13
    return quoted


@inlined
def _put_csv(
    table: Table, c: int, start: int, length: int, null: Bytes, signs: tuple[int, int, int], force: bool, out: Bytes,
    at: int,
) -> int:  # fmt: skip
    """``signs`` are delimiter, quote and escape."""
    delimiter, quote, escape = signs
    octets, total = table[c, OCTETS], table[c, OCTETS_COUNT]
    quoted = _is_quoted(table, c, start, length, null, delimiter, quote, force)
    if quoted:
        out[at] = quote
        at += 1
    for k in range(start, start + length):
        octet = octet_at(octets, k, total)
        if quoted and (octet in (quote, escape)):
            out[at] = escape
            at += 1
        out[at] = octet
        at += 1
    if quoted:
        out[at] = quote
        at += 1
    return at


@inlined
def _put_value(
    table: Table, c: int, row: int, rows: int, null: Bytes, signs: tuple[int, int, int], csv: bool, force: bool,
    out: Bytes, at: int,
) -> int:  # fmt: skip
    if table[c, KIND] == NUMBERS:
        if is_null(table, c, row, rows):
            at = _put(null, out, at)
        else:
            at = put_signed(out, at, int64_at(table[c, VALUES], row, rows))
    else:
        start, length = where(table, c, row, rows)
        if length < 0:
            at = _put(null, out, at)
        elif csv:
            at = _put_csv(table, c, start, length, null, signs, force, out, at)
        else:
            at = _put_text(table, c, start, length, signs[0], out, at)
    out[at] = signs[0] if c < len(table) - 1 else _NEWLINE
    return at + 1


@borrowing
def line_bytes_max(table: Table, rows: int, null_bytes: int) -> int:
    """How much a line takes at most: every octet escaped, and quotes."""
    most = LINE_HEADER_BYTES
    for c in range(len(table)):
        value = INTEGER_WIDTH if table[c, KIND] == NUMBERS else 2 * longest(table, c, rows) + 2
        most += max(value, null_bytes) + 1
    return most


@borrowing
def line_bytes(table: Table, row: int, rows: int, null_bytes: int) -> int:
    """The same for one line."""
    size = LINE_HEADER_BYTES
    for c in range(len(table)):
        value = INTEGER_WIDTH if table[c, KIND] == NUMBERS else 2 * max(where(table, c, row, rows)[1], 0) + 2
        size += max(value, null_bytes) + 1
    return size


@borrowing
def write_lines(
    table: Table, first: int, rows: int, most: int, repeats: Repeats, written: Written, null: Bytes,
    signs: tuple[int, int, int], csv: bool, forced: Bytes, out: Bytes,
) -> tuple[int, int]:  # fmt: skip
    """Write CopyData messages of a line each while they fit, as ``row_kernels.write_rows`` does. ``forced``: 1 for each
    column whose values are all quoted."""
    limit = len(out) - SLACK_BYTES
    columns = len(table)
    at = 0
    for i in range(first, rows):
        if at + most > limit and at + line_bytes(table, i, rows, len(null)) > limit:
            return i, at
        begin = at
        out[at] = _DATA
        at += LINE_HEADER_BYTES
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
            at = _put_value(table, c, i, rows, null, signs, csv, forced[c] != 0, out, at)
            ends = table[c, KIND] == CODES and (c + 1 == columns or table[c + 1, KIND] != CODES)
            c += 1
            if ends:
                written[stretch, 1] = at - written[stretch, 0]
                stretch += 1
        put_length(out, begin + 1, at - begin - 1)
    return rows, at
