"""The walk: a request body to flat arrays, in one pass.

A line is: series key, blanks, fields, and perhaps blanks and a time. Distinct series keys, measurements, tag keys and
field keys (of a measurement) get numbers (``kernel_names``); a row is a series key's number, a time and a range of the
body; a value is a row, a field's number, a kind and 64 bits (``kernel_numbers``; of a string where it stands). Series
key and field are guessed first: most writers repeat the order of their series and always that of their fields, so one
comparison of bytes replaces scanning and hashing.

Every read of the body is behind a comparison of its position with the body's length. A bad line leaves a fault and no
values: the counters move when a line is good. Where a bad line ends is ``line_end``'s matter, which knows quotes: text
inside a string never becomes a point.
"""

from __future__ import annotations

from typing import NamedTuple

from tsdb.ingest.kernel_lines import Bytes, int64, line_end, line_ends, separates, string_end
from tsdb.ingest.kernel_names import (
    BAD_TIMESTAMP,
    COLUMN,
    DUPLICATE_FIELD,
    ERROR,
    FULL,
    INVALID_STRING,
    INVALID_UTF8,
    KEY_TOO_LONG,
    LENGTH,
    LINE_TOO_LONG,
    MEASUREMENT,
    MEASUREMENT_NAME,
    MISSING_FIELD_KEY,
    MISSING_FIELD_VALUE,
    MISSING_FIELDS,
    MISSING_TIME,
    NEXT,
    NO_ROOM,
    NUL,
    OK,
    RESERVED_FIELD,
    SEEN,
    SERIES_KEY,
    START,
    STRING_TOO_LONG,
    TAB,
    TIME_RANGE,
    TOO_MANY_FIELDS,
    UNBALANCED_QUOTES,
    Bounds,
    Int32s,
    Int64s,
    Names,
    check_name,
    check_series_key,
    intern,
    reserved,
    series_key_end,
)
from tsdb.ingest.kernel_numbers import (
    BOOL,
    INVALID_BOOLEAN,
    INVALID_NUMBER,
    SLOW,
    TEXT,
    boolean,
    eight_digits,
    eight_digits_value,
    number,
)
from tsdb.kernels import borrowing, inlined
from tsdb.model.byte_strings import equal, valid_utf8

Table = Names  # int32[columns, capacity]

_NEWLINE, _RETURN, _TAB, _BLANK, _QUOTE, _HASH, _COMMA, _MINUS, _POINT = 10, 13, 9, 32, 34, 35, 44, 45, 46
_EQUALS, _BACKSLASH = 61, 92

# Places in ``state`` behind those of names. The LINE_ ones are what the line at hand would add.
ROWS, VALUES, SLOWS, FAULTS, FAULTS_LISTED, LINE_VALUES, LINE_SLOWS, LINE_BREAKS = range(4, 12)
STATE_SIZE = 12

# Columns of ``rows``: number and range of a good line, its series key. ``times`` are apart.
ROW_LINE, ROW_START, ROW_END, ROW_KEY = range(4)
# Columns of ``values``: row, field, tsdb.types.Kind. ``bits`` are apart.
VALUE_ROW, VALUE_FIELD, VALUE_KIND = range(3)
# Columns of ``slows``, the floats left to Python: which value, and the range of its text.
SLOW_VALUE, SLOW_START, SLOW_END = range(3)
# Columns of ``faults``, the first bad lines: number, range, error code, where in the body.
FAULT_LINE, FAULT_START, FAULT_END, FAULT_CODE, FAULT_AT = range(5)

# A string's 64 bits: escape flag (bit 62), start (bits 31 to 61), length (bits 0 to 30).
STRING_START_SHIFT = 31
STRING_LENGTH_MASK = (1 << 31) - 1
STRING_ESCAPED = 1 << 62

# The outermost values of int64 stand for "before" and "after" every point.
TIME_MAX = 2**63 - 2
# So many digits of a time always fit into an int64; they are read eight at once.
_TIME_WORDS = 16


class Output(NamedTuple):
    """All that a walk fills: int32[columns, capacity], but for ``texts`` uint8[n], ``slots`` int32[2^k] and the int64
    arrays. The names that are there already, and the first places of ``state`` with them, are of earlier bodies."""

    state: Int64s
    texts: Bytes
    names: Names
    slots: Int32s
    tags: Names
    rows: Table
    times: Int64s
    values: Table
    bits: Int64s
    slows: Table
    faults: Table


@inlined
def _series_key(
    body: Bytes, p: int, n: int, last: int, bounds: Bounds, texts: Bytes, names: Names, slots: Int32s, tags: Names,
    state: Int64s,
) -> tuple[int, int, int]:  # fmt: skip
    """Outcome, number of the series key at ``p`` (``last``: the one before, or −1), where it or the error is."""
    guess = int64(names[NEXT, last]) if last >= 0 else -1
    if guess >= 0:
        end = p + names[LENGTH, guess]
        if (
            end < n
            and body[end] == _BLANK
            and body[end - 1] != _BACKSLASH  # or the blank is escaped: a key that ends so is one where its line ends
            and equal(texts, names[START, guess], body, p, names[LENGTH, guess])
        ):
            return OK, guess, end
    end = series_key_end(body, p, n)
    key, new = intern(body, p, end - p, SERIES_KEY, bounds.seed, texts, names, slots, state)
    if key == FULL:
        return FULL, 0, p
    if new:
        code, at, measurement_end = check_series_key(body, p, end, key, bounds, texts, names, slots, tags, state)
        if code == FULL:
            return FULL, 0, p
        names[ERROR, key] = code
        names[COLUMN, key] = at - p
        if code == OK:
            length = measurement_end - p
            measurement, _ = intern(body, p, length, MEASUREMENT_NAME, bounds.seed, texts, names, slots, state)
            if measurement == FULL:
                return FULL, 0, p
            names[MEASUREMENT, key] = measurement
    if names[ERROR, key] != OK:
        return names[ERROR, key], key, p + names[COLUMN, key]
    if last >= 0:
        names[NEXT, last] = key
    return OK, key, end


@borrowing
def _field_key(
    body: Bytes, p: int, n: int, measurement: int, bounds: Bounds, texts: Bytes, names: Names, slots: Int32s,
    state: Int64s,
) -> tuple[int, int, int]:  # fmt: skip
    """Outcome, number of the field at ``p``, and where its ``=`` is, or where the error is."""
    end = p
    while end < n:
        c = body[end]
        if c in (_EQUALS, _COMMA, _BLANK) and (end == p or body[end - 1] != _BACKSLASH):
            break
        if c < _BLANK and line_ends(body, end, n):
            break
        end += 1
    if end == p:
        return MISSING_FIELD_KEY, 0, p
    if end >= n or body[end] != _EQUALS:
        code, at = check_name(body, p, end, n)
        return (code, 0, at) if code != OK else (MISSING_FIELD_VALUE, 0, end)
    field, new = intern(body, p, end - p, measurement, bounds.seed, texts, names, slots, state)
    if field == FULL:
        return FULL, 0, p
    if new:
        code, at = check_name(body, p, end, bounds.name_bytes_max)
        if code == OK and reserved(body, p, end):
            code = RESERVED_FIELD
        names[ERROR, field] = code
        names[COLUMN, field] = at - p
    if names[ERROR, field] != OK:
        return names[ERROR, field], 0, p + names[COLUMN, field]
    return OK, field, end


@borrowing
def _string(body: Bytes, p: int, n: int, bounds: Bounds, state: Int64s) -> tuple[int, int, int]:
    """Outcome, bits and where the string at ``p`` stops, or where the error is."""
    close, escaped, breaks, nul = string_end(body, p, n)
    if close >= n:
        return UNBALANCED_QUOTES, 0, p
    if not separates(body, close + 1, n):
        return (UNBALANCED_QUOTES, 0, p) if breaks > 0 else (INVALID_STRING, 0, close + 1)
    if nul:
        return NUL, 0, p
    length = close - p - 1
    if length > bounds.string_bytes_max:
        return STRING_TOO_LONG, 0, p
    state[LINE_BREAKS] += breaks
    bits = (p + 1) << STRING_START_SHIFT | length
    return OK, (bits | STRING_ESCAPED if escaped else bits), close + 1


@inlined
def _value(body: Bytes, p: int, n: int, bounds: Bounds, state: Int64s) -> tuple[int, int, int, int]:
    """Outcome, kind, bits and where the value at ``p`` stops, or where the error is."""
    if separates(body, p, n):
        return MISSING_FIELD_VALUE, 0, 0, p
    c = body[p]
    if c == _QUOTE:
        code, bits, p = _string(body, p, n, bounds, state)
        return code, TEXT, bits, p
    if 48 <= c <= 57 or c in (_MINUS, _POINT):
        code, kind, bits, stop = number(body, p, n)
        if code > SLOW:
            return code, kind, 0, p
        wrong = INVALID_NUMBER
    elif c == 116 or c == 84 or c == 102 or c == 70:
        truth, stop = boolean(body, p, n)
        code, kind, bits = OK, BOOL, truth
        wrong = INVALID_BOOLEAN
    else:
        return INVALID_NUMBER, 0, 0, p
    if not separates(body, stop, n):
        return wrong, 0, 0, (stop if body[stop] == _TAB else p)
    return code, kind, bits, stop


@inlined
def _fields(
    body: Bytes, p: int, n: int, key: int, line: int, bounds: Bounds,
    texts: Bytes, names: Names, slots: Int32s, state: Int64s, values: Table, bits: Int64s, slows: Table,
) -> tuple[int, int]:  # fmt: skip
    """Outcome and where the fields at ``p`` stop, or where the error is. The values wait for the line to be good."""
    measurement = int64(names[MEASUREMENT, key])
    first = value = state[VALUES]
    slow = state[SLOWS]
    previous = measurement
    while True:
        field = int64(names[NEXT, previous])
        start = p
        end = p + names[LENGTH, field] if field >= 0 else n
        if end < n and body[end] == _EQUALS and equal(texts, names[START, field], body, p, names[LENGTH, field]):
            p = end
        else:
            code, field, p = _field_key(body, p, n, measurement, bounds, texts, names, slots, state)
            if code != OK:
                return code, p
            names[NEXT, previous] = field
        if names[SEEN, field] == line:
            return DUPLICATE_FIELD, start
        names[SEEN, field] = line
        if names[LENGTH, key] + names[LENGTH, field] > bounds.key_bytes_max:
            return KEY_TOO_LONG, start
        if value - first >= bounds.fields_max:
            return TOO_MANY_FIELDS, start
        start = p + 1
        code, kind, value_bits, p = _value(body, start, n, bounds, state)
        if code != OK and code != SLOW:
            return code, p
        if value >= len(bits) or slow >= slows.shape[1]:
            return NO_ROOM, p
        values[VALUE_ROW, value] = state[ROWS]
        values[VALUE_FIELD, value] = field
        values[VALUE_KIND, value] = kind
        bits[value] = value_bits
        if code == SLOW:
            slows[SLOW_VALUE, slow] = value
            slows[SLOW_START, slow] = start
            slows[SLOW_END, slow] = p
            slow += 1
        value += 1
        if p >= n or body[p] != _COMMA:
            break
        p += 1
        previous = field
    state[LINE_VALUES] = value
    state[LINE_SLOWS] = slow
    return OK, p


@inlined
def _time(body: Bytes, p: int, n: int, bounds: Bounds) -> tuple[int, int, int]:
    """Outcome, time in ns and where the line ends, from the blanks behind the fields on."""
    while p < n and body[p] == _BLANK:
        p += 1
    if line_ends(body, p, n):
        return (MISSING_TIME if bounds.require_time else OK), bounds.time_default, p
    start = p
    negative = body[p] == _MINUS
    if negative:
        p += 1
    digits = p
    value = 0
    limit = TIME_MAX // bounds.time_factor
    while p + 8 <= n and p - digits < _TIME_WORDS and eight_digits(body, p):
        value = value * 100_000_000 + eight_digits_value(body, p)
        p += 8
    value = min(value, limit + 1)
    while p < n and 48 <= body[p] <= 57:
        digit = int64(body[p]) - 48
        # Saturates one above the limit: more digits cannot bring it back.
        value = value * 10 + digit if value <= (limit - digit) // 10 else limit + 1
        p += 1
    found = p > digits
    stop = p
    while p < n and body[p] == _BLANK:
        p += 1
    if not found or not line_ends(body, p, n):
        return BAD_TIMESTAMP, 0, (p if found and (p > stop or body[p] == _TAB) else start)
    if value > limit:
        return TIME_RANGE, 0, start
    value *= bounds.time_factor
    return OK, (-value if negative else value), p


@inlined
def _point(
    body: Bytes, p: int, n: int, line: int, bounds: Bounds, texts: Bytes, names: Names, slots: Int32s, tags: Names,
    state: Int64s, rows: Table, times: Int64s, values: Table, bits: Int64s, slows: Table,
) -> tuple[int, int]:  # fmt: skip
    """Outcome and where the point at ``p`` stops (the line's end), or where the error is."""
    start = p
    row = state[ROWS]
    last = int64(rows[ROW_KEY, row - 1]) if row > 0 else -1
    code, key, p = _series_key(body, p, n, last, bounds, texts, names, slots, tags, state)
    if code != OK:
        return code, p
    while p < n and body[p] == _BLANK:
        p += 1
    if line_ends(body, p, n):
        return MISSING_FIELDS, p
    code, p = _fields(body, p, n, key, line, bounds, texts, names, slots, state, values, bits, slows)
    if code != OK:
        return code, p
    code, time, p = _time(body, p, n, bounds)
    if code != OK:
        return code, p
    if p - start > bounds.line_bytes_max:
        return LINE_TOO_LONG, start
    if not bounds.ascii and not valid_utf8(body, start, p):
        return INVALID_UTF8, start
    if row >= len(times):
        return NO_ROOM, start
    rows[ROW_LINE, row] = line
    rows[ROW_START, row] = start
    rows[ROW_END, row] = p
    rows[ROW_KEY, row] = key
    times[row] = time
    state[ROWS] = row + 1
    state[VALUES] = state[LINE_VALUES]
    state[SLOWS] = state[LINE_SLOWS]
    return OK, p


@borrowing
def _fault(
    body: Bytes, start: int, n: int, line: int, code: int, at: int, state: Int64s, faults: Table
) -> tuple[int, int]:
    """Note the bad line at ``start``; where it ends and how many newlines it holds."""
    if at < n and body[at] == _TAB:
        code = TAB
    end = line_end(body, start, n)
    breaks = 0
    for p in range(start, end):
        breaks += body[p] == _NEWLINE
    listed = state[FAULTS_LISTED]
    if listed < faults.shape[1]:
        faults[FAULT_LINE, listed] = line
        faults[FAULT_START, listed] = start
        faults[FAULT_END, listed] = end
        faults[FAULT_CODE, listed] = code
        faults[FAULT_AT, listed] = at
        state[FAULTS_LISTED] = listed + 1
    state[FAULTS] += 1
    return end, breaks


@borrowing
def walk(body: Bytes, bounds: Bounds, out: Output) -> int:
    """Fill ``out`` from the whole body: OK; or FULL or NO_ROOM, when an array of it was too small: start again with
    larger ones. After NO_ROOM the names that are there are whole."""
    # numba counts references of a tuple's arrays whenever they are taken out of it: once, here.
    state, texts, names, slots, tags, rows, times, values, bits, slows, faults = out
    n = len(body)
    p = 0
    line = bounds.line_first
    while p < n:
        begin = p
        while p < n and (body[p] == _BLANK or body[p] == _TAB):
            p += 1
        breaks = 0
        if p < n and body[p] == _HASH:
            while p < n and body[p] != _NEWLINE:
                p += 1
        elif not line_ends(body, p, n):
            state[LINE_BREAKS] = 0
            code, p = _point(
                body, p, n, line, bounds, texts, names, slots, tags, state, rows, times, values, bits, slows
            )
            breaks = state[LINE_BREAKS]
            if code in (FULL, NO_ROOM):
                return code
            if code != OK:
                p, breaks = _fault(body, begin, n, line, code, p, state, faults)
        if p < n and body[p] == _RETURN:
            p += 1
        p += 1  # the newline, or one beyond the body
        line += breaks + 1
    return OK
