"""Tags of distinct series keys, from where the walk found them to tag sets by value (``tsdb.model.points``)."""

from __future__ import annotations

import numpy as np

from tsdb.ingest.kernel_lines import int64
from tsdb.ingest.kernel_names import (
    LENGTH,
    MEASUREMENT,
    OWNER,
    START,
    TAG,
    TAG_COUNT,
    TAG_END,
    TAG_KEY,
    TAG_NAME,
    TAG_START,
    Names,
    known,
)
from tsdb.kernels import borrowing, copy, kernel
from tsdb.model.byte_strings import Bytes, Int32s, Int64s, put_varint

_COMMA, _BLANK, _EQUALS, _BACKSLASH = 44, 32, 61, 92
# Below this many tags, insertion is the fastest way to sort; from here on its worst case would be felt.
_FEW = 16


@kernel
def number_groups(names: Names, used: Bytes, groups: Int32s) -> Int32s:
    """Number the measurements of the series keys in use as they first come, into ``groups`` by the measurement's name
    (−1: none yet). Returns those names.
    """
    found = np.empty(names.shape[1], np.int32)
    count = 0
    for key in range(len(used)):
        if used[key]:
            measurement = names[MEASUREMENT, key]
            if groups[measurement] < 0:
                groups[measurement] = count
                found[count] = measurement
                count += 1
    return found[:count]


@kernel
def collect_tags(
    names: Names, tags: Names, keys: Int32s, first: Int32s, offsets: Int32s, tag: Int32s, starts: Int32s, ends: Int32s
) -> Int32s:
    """The tags of ``keys``, one key after the other: key i has those in [offsets[i], offsets[i + 1]).

    ``tag`` gets numbers of their tag keys from 0 as they first come, ``first`` (−1 for each name) is where a name
    gets its number meanwhile. Returns for each number the name and the first key, int32[2, numbers].
    """
    found = np.empty((2, len(tag)), np.int32)
    count = 0
    position = 0
    offsets[0] = 0
    for i in range(len(keys)):
        begin = names[TAG, keys[i]]
        for at in range(begin, begin + names[TAG_COUNT, keys[i]]):
            name = tags[TAG_NAME, at]
            if first[name] < 0:
                first[name] = count
                found[0, count] = name
                found[1, count] = i
                count += 1
            tag[position] = first[name]
            starts[position] = tags[TAG_START, at]
            ends[position] = tags[TAG_END, at]
            position += 1
        offsets[i + 1] = position
    for number in range(count):
        first[found[0, number]] = -1
    return found[:, :count]


@borrowing
def unescaped_length(texts: Bytes, start: int, end: int) -> int:
    r"""The bytes of a tag value without the backslash of ``\,``, ``\=`` and ``\ ``."""
    length = end - start
    for p in range(start, end - 1):
        if texts[p] == _BACKSLASH and texts[p + 1] in (_COMMA, _EQUALS, _BLANK):
            length -= 1
    return length


@borrowing
def _put_value(texts: Bytes, start: int, end: int, escapes: bool, out: Bytes, position: int) -> int:
    if not escapes:
        position = put_varint(out, position, end - start)
        copy(texts, start, out, position, end - start)
        return position + end - start
    position = put_varint(out, position, unescaped_length(texts, start, end))
    for p in range(start, end):
        c = texts[p]
        if c == _BACKSLASH and p + 1 < end:
            after = texts[p + 1]
            if after in (_COMMA, _EQUALS, _BLANK):
                continue
        out[position] = c
        position += 1
    return position


@kernel
def _sort(order: Int32s, ranks: Int64s, tag: Int32s, begin: int, count: int) -> None:
    """The first ``count`` of ``order``: a key's tags by the rank of their tag keys."""
    for i in range(count):
        at = i
        while at > 0 and ranks[tag[order[at - 1]]] > ranks[tag[begin + i]]:
            order[at] = order[at - 1]
            at -= 1
            if count > _FEW:  # out of order, and long: once by a sort that has no bad case
                wanted = np.empty(count, np.int64)
                for k in range(count):
                    wanted[k] = ranks[tag[begin + k]]
                by = np.argsort(wanted)
                for k in range(count):
                    order[k] = begin + by[k]
                return
        order[at] = begin + i


@kernel
def encode_tagsets(
    texts: Bytes,
    escapes: bool,
    numbers: Int64s,
    offsets: Int32s,
    tag: Int32s,
    starts: Int32s,
    ends: Int32s,
    out: Bytes,
    borders: Int64s,
) -> None:
    """Each series key's tag set by value, one behind the other; ``borders`` says where they begin and end.

    ``numbers`` are the column numbers of the tag keys; tags whose number is negative are left out. ``escapes``: values
    may have escaping backslashes.
    """
    longest = 0
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    order = np.empty(longest, np.int32)
    position = 0
    borders[0] = 0
    for i in range(len(offsets) - 1):
        begin, count = offsets[i], offsets[i + 1] - offsets[i]
        _sort(order, numbers, tag, begin, count)
        for k in range(count):
            at = order[k]
            number = numbers[tag[at]]
            if number >= 0:
                position = put_varint(out, position, number)
                position = _put_value(texts, starts[at], ends[at], escapes, out, position)
        borders[i + 1] = position


@borrowing
def number_fields(
    texts: Bytes, names: Names, slots: Int32s, seed: np.uint64, number: Int32s, tag_of_field: Int32s
) -> tuple[int, bool]:
    """Give each field's name a number from 0, in ``number``, −1 for all others; ``tag_of_field`` gets the tag key that
    is written alike, or −1. Returns how many fields there are, and whether one has such a tag key.
    """
    alike = False
    count = 0
    for name in range(names.shape[1]):
        tag = -1
        number[name] = -1
        if names[OWNER, name] >= 0:
            number[name] = count
            count += 1
            start, length = int64(names[START, name]), int64(names[LENGTH, name])
            tag, _ = known(texts, start, length, TAG_KEY, seed, texts, names, slots)
            alike = alike or tag >= 0
        tag_of_field[name] = tag
    return count, alike


@kernel
def alike_written(offsets: Int32s, tag: Int32s) -> bool:
    """Whether all series keys have the same tag keys in the same order."""
    count = offsets[1] - offsets[0]
    if len(tag) != count * (len(offsets) - 1):
        return False
    for at in range(count, len(tag)):  # noqa: SIM110  (numba has no all())
        if tag[at] != tag[at - count]:
            return False
    return True


@kernel
def clashing(
    names: Names, tags: Names, row_key: Int32s, value_row: Int32s, value_field: Int32s, tag_of_field: Int32s
) -> tuple[Int32s, Int32s]:
    """(rows that have a tag and a field of one name, such a field of each). ``tag_of_field``: by a field's name the
    tag key that is written alike, or −1; values come row by row.
    """
    rows, fields = np.empty(len(row_key), np.int32), np.empty(len(row_key), np.int32)
    seen = np.full(names.shape[1], -1, np.int32)
    count = 0
    marked = -1
    for value in range(len(value_row)):
        row = value_row[value]
        tag = tag_of_field[value_field[value]]
        if tag < 0 or (count > 0 and rows[count - 1] == row):
            continue
        if marked != row:
            begin = names[TAG, row_key[row]]
            for at in range(begin, begin + names[TAG_COUNT, row_key[row]]):
                seen[tags[TAG_NAME, at]] = row
            marked = row
        if seen[tag] == row:
            rows[count] = row
            fields[count] = value_field[value]
            count += 1
    return rows[:count], fields[:count]
