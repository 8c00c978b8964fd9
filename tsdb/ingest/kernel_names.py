"""Names of line protocol: where they end, what they must not hold, and the tables that give each distinct one a number.

A ``,``, ``=`` or blank is escaped exactly when a backslash stands right before it; a backslash escapes nothing else
and is never escaped itself. Hence equal texts are equal names, and the tables compare bytes.

The table of names is open-addressed and its hash seeded; it compares the bytes, so that a collision costs time and
never correctness. A full table is reported, and the caller starts again with a larger one. What is in it has its text
in the table's own array (``texts``), and so serves the next bodies, too (``tsdb.ingest.lexicon``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsdb.ingest.kernel_lines import Bytes, int64, line_ends
from tsdb.kernels import borrowing, copy, inlined, load_word
from tsdb.model.byte_strings import equal, hash_of

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Names = npt.NDArray[np.int32]

# What is wrong with a line. 0 to 4 are tsdb.ingest.kernel_numbers' outcomes; −1: the table of names is full, −2: an
# array for rows or values is.
FULL = -1
NO_ROOM = -2
OK = 0
MISSING_MEASUREMENT = 10
MISSING_TAG_KEY = 11
MISSING_TAG_VALUE = 12
TAG_FORMAT = 13
DUPLICATE_TAG = 14
RESERVED_TAG = 15
TOO_MANY_TAGS = 16
KEY_TOO_LONG = 17
NAME_TOO_LONG = 18
CONTROL_CHARACTER = 19
TAB = 20
NUL = 21
MISSING_FIELDS = 22
MISSING_FIELD_KEY = 23
MISSING_FIELD_VALUE = 24
RESERVED_FIELD = 25
DUPLICATE_FIELD = 26
TOO_MANY_FIELDS = 27
INVALID_STRING = 28
UNBALANCED_QUOTES = 29
STRING_TOO_LONG = 30
BAD_TIMESTAMP = 31
TIME_RANGE = 32
MISSING_TIME = 33
INVALID_UTF8 = 34
LINE_TOO_LONG = 35

_TAB, _BLANK, _COMMA, _EQUALS, _BACKSLASH = 9, 32, 44, 61, 92
_ABOVE_BLANKS, _HIGH_BITS = np.uint64(0x2121212121212121), np.uint64(0x8080808080808080)
_NO_BITS = np.uint64(0)

# The state's first places, which belong to the table of names: how many there are, 1 + the tag key that was first last
# time, the number of tags, the bytes of ``texts``. The others are tsdb.ingest.kernel's.
NAMES, TAG_FIRST, TAGS, TEXT = 0, 1, 2, 3

# The columns of ``names``, int32[NAME_COLUMNS, capacity]. A name is a range of ``texts`` (START, LENGTH); OWNER keeps
# equal texts of different meanings apart; ERROR and COLUMN say what is wrong with it and where in it; SEEN is the last
# line or series key it was on; NEXT the number that came after it last time (a measurement's: its first field), a
# guess that is verified; MEASUREMENT is a series key's measurement, TAG and TAG_COUNT where its tags are in ``tags``.
START, LENGTH, OWNER, ERROR, COLUMN, SEEN, NEXT, MEASUREMENT, TAG, TAG_COUNT = range(10)
NAME_COLUMNS = 10

# The columns of ``tags``, int32[3, capacity], the tags of each good distinct series key: number of the tag key, and
# where in ``texts`` the value is.
TAG_NAME, TAG_START, TAG_END = range(3)

# OWNER of what is no field; a field's owner is its measurement's number.
SERIES_KEY, MEASUREMENT_NAME, TAG_KEY = -1, -2, -3


class Bounds(NamedTuple):
    """Limits and the request's parameters, as numbers; see ``tsdb.ingest.lineprotocol.Limits``."""

    seed: np.uint64
    ascii: bool
    line_first: int
    require_time: bool
    time_default: int
    time_factor: int
    line_bytes_max: int
    key_bytes_max: int
    name_bytes_max: int
    string_bytes_max: int
    fields_max: int
    tags_max: int


@inlined
def known(
    body: Bytes, start: int, length: int, owner: int, seed: np.uint64, texts: Bytes, names: Names, slots: Int32s
) -> tuple[int, int]:
    """The number of the text, −1 if it has none, and the slot where it is or would be."""
    mask = len(slots) - 1
    slot = int64(hash_of(body, start, length, seed + np.uint64(owner)) & np.uint64(mask))
    while slots[slot] != 0:
        found = int64(slots[slot]) - 1
        if (
            names[LENGTH, found] == length
            and names[OWNER, found] == owner
            and equal(texts, names[START, found], body, start, length)
        ):
            return found, slot
        slot = (slot + 1) & mask
    return -1, slot


@borrowing
def intern(
    body: Bytes, start: int, length: int, owner: int, seed: np.uint64, texts: Bytes, names: Names, slots: Int32s,
    state: Int64s,
) -> tuple[int, bool]:  # fmt: skip
    """The number of the text and whether it is new; FULL when a new one has no room."""
    found, slot = known(body, start, length, owner, seed, texts, names, slots)
    if found >= 0:
        return found, False
    number = state[NAMES]
    place = state[TEXT]
    if number >= names.shape[1] or place + length > len(texts):
        return FULL, False
    copy(body, start, texts, place, length)
    state[TEXT] = place + length
    state[NAMES] = number + 1
    slots[slot] = number + 1
    names[START, number] = place
    names[LENGTH, number] = length
    names[OWNER, number] = owner
    names[ERROR, number] = OK
    names[COLUMN, number] = 0
    names[SEEN, number] = -1
    names[NEXT, number] = -1
    names[MEASUREMENT, number] = -1
    return number, True


@borrowing
def name_end(body: Bytes, p: int, end: int, stop: int, other: int) -> int:
    """Where the name at ``p`` ends: at the first unescaped ``stop`` or ``other``, or at ``end``."""
    first = p
    while p < end:
        c = body[p]
        if c in (stop, other) and (p == first or body[p - 1] != _BACKSLASH):
            break
        p += 1
    return p


@inlined
def _has_blank(word: np.uint64) -> bool:
    """Whether one of eight octets is at most a blank."""
    return bool((word - _ABOVE_BLANKS) & ~word & _HIGH_BITS != _NO_BITS)


@borrowing
def series_key_end(body: Bytes, p: int, n: int) -> int:
    """Where the series key at ``p`` ends: at the first unescaped blank or where its line does."""
    while p < n:
        while p + 8 <= n and not _has_blank(load_word(body, p)):
            p += 8
        if p >= n:
            break
        c = body[p]
        if c <= _BLANK:
            if c == _BLANK and body[p - 1] != _BACKSLASH:  # a key never begins with a blank
                break
            if line_ends(body, p, n):
                break
        p += 1
    return p


@borrowing
def check_name(body: Bytes, start: int, end: int, name_bytes_max: int) -> tuple[int, int]:
    """Control characters and the length of a measurement, tag key or field key; escaping backslashes count."""
    for p in range(start, end):
        if body[p] < 32 or body[p] == 127:
            return CONTROL_CHARACTER, p
    if end - start > name_bytes_max:
        return NAME_TOO_LONG, start
    return OK, start


def _bytes(text: str) -> Bytes:
    return np.frombuffer(text.encode(), dtype=np.uint8)


_TIME, _TIME_NS, _SEQUENCE = _bytes("time"), _bytes("time_ns"), _bytes("sequence")
_FIELD, _MEASUREMENT = _bytes("_field"), _bytes("_measurement")


@borrowing
def _is(body: Bytes, start: int, end: int, word: Bytes) -> bool:
    if end - start != len(word):
        return False
    for k in range(len(word)):  # noqa: SIM110  (numba has no all())
        if body[start + k] != word[k]:
            return False
    return True


@borrowing
def reserved(body: Bytes, start: int, end: int) -> bool:
    """The names of the time and of the hidden columns (design section 2)."""
    return (
        _is(body, start, end, _TIME) or _is(body, start, end, _TIME_NS) or _is(body, start, end, _SEQUENCE)
    )  # fmt: skip


@borrowing
def _tag_key(
    body: Bytes, p: int, end: int, bounds: Bounds, texts: Bytes, names: Names, slots: Int32s, state: Int64s
) -> tuple[int, int, int]:
    """Outcome, number of the tag key at ``p``, and where its ``=`` is, or where the error is."""
    stop = name_end(body, p, end, _EQUALS, _COMMA)
    if stop == p:
        return MISSING_TAG_KEY, 0, p
    if stop == end or body[stop] == _COMMA:
        return MISSING_TAG_VALUE, 0, stop
    code, at = check_name(body, p, stop, bounds.name_bytes_max)
    if code != OK:
        return code, 0, at
    if reserved(body, p, stop) or _is(body, p, stop, _FIELD) or _is(body, p, stop, _MEASUREMENT):
        return RESERVED_TAG, 0, p
    tag, _ = intern(body, p, stop - p, TAG_KEY, bounds.seed, texts, names, slots, state)
    return (FULL if tag == FULL else OK), tag, stop


@borrowing
def _tag_value(body: Bytes, p: int, end: int) -> tuple[int, int]:
    """Outcome and where the tag value at ``p`` stops (a comma or ``end``), or where the error is."""
    value = p
    tab = -1
    while p < end:
        c = body[p]
        if c in (_COMMA, _EQUALS) and body[p - 1] != _BACKSLASH:  # an unescaped = stands before the value
            break
        if c == 0:
            return NUL, p
        if c == _TAB:
            tab = p
        p += 1
    if p == value:
        return MISSING_TAG_VALUE, p
    if p < end and body[p] == _EQUALS:
        return (TAB, tab) if tab >= 0 else (TAG_FORMAT, p)
    return OK, p


@borrowing
def check_series_key(
    body: Bytes, start: int, end: int, key: int, bounds: Bounds, texts: Bytes, names: Names, slots: Int32s, tags: Names,
    state: Int64s,
) -> tuple[int, int, int]:  # fmt: skip
    """What is wrong with a distinct series key, where, and where its measurement ends; its tags, if it is good.

    Tag keys in the table have been checked, and series keys repeat their order, so each is guessed from the last.
    """
    if end - start > bounds.key_bytes_max:
        return KEY_TOO_LONG, start, start
    measurement_end = name_end(body, start, end, _COMMA, _COMMA)
    if measurement_end == start:
        return MISSING_MEASUREMENT, start, start
    code, p = check_name(body, start, measurement_end, bounds.name_bytes_max)
    if code != OK:
        return code, p, measurement_end
    count = 0
    guess = state[TAG_FIRST] - 1
    previous = -1
    p = measurement_end
    while p < end:
        if count == bounds.tags_max:
            return TOO_MANY_TAGS, p, measurement_end
        p += 1
        tag = guess
        stop = p + names[LENGTH, tag] if tag >= 0 else end
        if stop >= end or body[stop] != _EQUALS or not equal(texts, names[START, tag], body, p, names[LENGTH, tag]):
            code, tag, stop = _tag_key(body, p, end, bounds, texts, names, slots, state)
            if code != OK:
                return code, stop, measurement_end
            if previous >= 0:
                names[NEXT, previous] = tag
            else:
                state[TAG_FIRST] = tag + 1
        if names[SEEN, tag] == key:
            return DUPLICATE_TAG, p, measurement_end
        names[SEEN, tag] = key
        code, p = _tag_value(body, stop + 1, end)
        if code != OK:
            return code, p, measurement_end
        at = state[TAGS] + count
        if at >= tags.shape[1]:
            return FULL, p, measurement_end
        tags[TAG_NAME, at] = tag
        tags[TAG_START, at] = stop + 1 - start + names[START, key]
        tags[TAG_END, at] = p - start + names[START, key]
        previous = tag
        guess = int64(names[NEXT, tag])
        count += 1
    names[TAG, key] = state[TAGS]
    names[TAG_COUNT, key] = count
    state[TAGS] += count
    return OK, end, measurement_end
