"""Kernels that write lines of COPY's text and csv formats: what each row takes, then the values in their places.

A length of -1 is NULL and is written as ``null``. ``after`` is what follows a value: the delimiter, or the line end.
"""

from __future__ import annotations

from tsdb.kernels import kernel
from tsdb.wire.digits import Bytes, Lengths
from tsdb.wire.octets import Int64s, put_int32

LINE_HEADER_BYTES = 5

_BACKSLASH, _DOT = 92, 46
_DATA = 100  # d


@kernel
def start_lines(sizes: Int64s, out: Bytes, cursors: Int64s) -> None:
    """Write the header of each CopyData one after the other and leave each row's cursor behind it."""
    at = 0
    for i in range(len(sizes)):
        out[at] = _DATA
        cursors[i] = put_int32(out, at + 1, sizes[i] - 1)
        at += sizes[i]


@kernel
def _letter(octet: int, delimiter: int) -> int:
    """What stands behind a backslash for this octet; 0 where none is needed."""
    if octet > 92:
        return octet if octet == delimiter else 0
    if octet in (_BACKSLASH, delimiter) and not 8 <= octet <= 13:
        return octet
    if octet == 8:
        return 98
    if octet == 9:
        return 116
    if octet == 10:
        return 110
    if octet == 11:
        return 118
    if octet == 12:
        return 102
    if octet == 13:
        return 114
    return 0


@kernel
def add_text_sizes(octets: Bytes, starts: Int64s, lengths: Lengths, null: Bytes, delimiter: int, sizes: Int64s) -> None:
    for i in range(len(lengths)):
        if lengths[i] < 0:
            sizes[i] += len(null) + 1
            continue
        size = lengths[i] + 1
        for k in range(starts[i], starts[i] + lengths[i]):
            octet = octets[k]
            if (octet <= 92 or octet == delimiter) and _letter(octet, delimiter) != 0:
                size += 1
        sizes[i] += size


@kernel
def _put(text: Bytes, out: Bytes, at: int) -> int:
    for k in range(len(text)):
        out[at + k] = text[k]
    return at + len(text)


@kernel
def place_text(
    octets: Bytes,
    starts: Int64s,
    lengths: Lengths,
    null: Bytes,
    delimiter: int,
    after: int,
    out: Bytes,
    cursors: Int64s,
) -> None:
    for i in range(len(lengths)):
        at = cursors[i]
        if lengths[i] < 0:
            at = _put(null, out, at)
        for k in range(starts[i], starts[i] + max(lengths[i], 0)):
            octet = octets[k]
            letter = _letter(octet, delimiter)
            if letter != 0:
                out[at] = _BACKSLASH
                out[at + 1] = letter
                at += 2
            else:
                out[at] = octet
                at += 1
        out[at] = after
        cursors[i] = at + 1


@kernel
def _is_quoted(
    octets: Bytes, start: int, length: int, null: Bytes, delimiter: int, quote: int, force: bool, single: bool
) -> bool:
    """Forced; equal to what NULL is written as; ``\\.`` alone in its line; or with a sign that means something."""
    if force:
        return True
    if length == len(null):
        same = True
        for k in range(length):
            same = same and octets[start + k] == null[k]
        if same:
            return True
    if single and length == 2 and octets[start] == _BACKSLASH and octets[start + 1] == _DOT:
        return True
    for k in range(start, start + length):
        octet = octets[k]
        if octet in (delimiter, quote, 10, 13):
            return True
    return False


@kernel
def add_csv_sizes(
    octets: Bytes,
    starts: Int64s,
    lengths: Lengths,
    null: Bytes,
    delimiter: int,
    quote: int,
    escape: int,
    force: bool,
    single: bool,
    sizes: Int64s,
) -> None:
    for i in range(len(lengths)):
        if lengths[i] < 0:
            sizes[i] += len(null) + 1
            continue
        sizes[i] += lengths[i] + 1
        if _is_quoted(octets, starts[i], lengths[i], null, delimiter, quote, force, single):
            sizes[i] += 2
            for k in range(starts[i], starts[i] + lengths[i]):
                if octets[k] in (quote, escape):
                    sizes[i] += 1


@kernel
def place_csv(
    octets: Bytes,
    starts: Int64s,
    lengths: Lengths,
    null: Bytes,
    delimiter: int,
    quote: int,
    escape: int,
    force: bool,
    single: bool,
    after: int,
    out: Bytes,
    cursors: Int64s,
) -> None:
    for i in range(len(lengths)):
        at = cursors[i]
        start = starts[i]
        if lengths[i] < 0:
            at = _put(null, out, at)
        elif _is_quoted(octets, start, lengths[i], null, delimiter, quote, force, single):
            out[at] = quote
            at += 1
            for k in range(start, start + lengths[i]):
                if octets[k] in (quote, escape):
                    out[at] = escape
                    at += 1
                out[at] = octets[k]
                at += 1
            out[at] = quote
            at += 1
        else:
            for k in range(lengths[i]):
                out[at + k] = octets[start + k]
            at += lengths[i]
        out[at] = after
        cursors[i] = at + 1
