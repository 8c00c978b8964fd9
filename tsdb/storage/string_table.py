"""Byte strings that get numbers as they first come, and are found by value: tag sets of a series, values of a tag.

Flat arrays instead of a dictionary of objects: a million tag sets take their own bytes and some twenty more each, and
a batch of them is looked up by one kernel without the GIL. One thread adds; others read a ``Strings``, which knows how
many there were when it was taken. Nothing is changed once written: arrays grow behind what readers look at, or are
replaced by larger copies.
"""

from __future__ import annotations

import secrets
from typing import TypeVar

import numpy as np

from tsdb.kernels import kernel
from tsdb.model.byte_strings import Bytes, ByteStrings, Int32s, Int64s, equal, hash_of

# A process' clients cannot know it, so they cannot choose strings that collide.
SEED = np.uint64(secrets.randbits(64))
_SLOTS_MIN = 8

Grown = TypeVar("Grown", Bytes, Int64s)


class Strings:
    """The first ``count`` strings of a table, at one moment. Immutable; any thread may read it."""

    __slots__ = ("_data", "_offsets", "_slots", "count")

    def __init__(self, count: int, data: Bytes, offsets: Int64s, slots: Int32s) -> None:
        self.count = count
        self._data = data
        self._offsets = offsets
        self._slots = slots

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> bytes:
        at = range(self.count)[number]
        return self._data[self._offsets[at] : self._offsets[at + 1]].tobytes()

    def all(self) -> ByteStrings:
        """All strings, without a copy."""
        offsets = self._offsets[: self.count + 1]
        return ByteStrings(self._data[: offsets[-1]], offsets)

    def find(self, strings: ByteStrings) -> Int32s:
        """The number of each string, −1 where it is not there."""
        found = np.empty(len(strings), np.int32)
        _find(strings.data, strings.offsets, self._data, self._offsets, self._slots, self.count, SEED, found)
        return found

    def find_one(self, string: bytes) -> int | None:
        """The number of a string."""
        found = int(self.find(ByteStrings.of([string]))[0])
        return None if found < 0 else found

    @property
    def nbytes(self) -> int:
        """Memory."""
        return self._data.nbytes + self._offsets.nbytes + self._slots.nbytes


class StringTable:
    """Gives numbers from 0. One thread calls ``add``, ``append`` and ``place``; ``strings`` may be read by any."""

    def __init__(self) -> None:
        self._data: Bytes = np.empty(0, np.uint8)
        self._offsets: Int64s = np.zeros(1, np.int64)
        self._slots: Int32s = np.zeros(_SLOTS_MIN, np.int32)
        self._used = 0
        self.strings = Strings(0, self._data, self._offsets, self._slots)

    def __len__(self) -> int:
        return self.strings.count

    def add(self, strings: ByteStrings) -> Int32s:
        """The number of each string; new ones get the next."""
        found = self.strings.find(strings)
        absent = np.flatnonzero(found < 0)
        if len(absent):
            found[absent] = self.append(strings if len(absent) == len(strings) else strings.take(absent))
        return found

    def append(self, strings: ByteStrings) -> Int32s:
        """The same for strings of which none is there yet, though some may come twice."""
        count = len(self)
        self._reserve(count + len(strings), strings.nbytes, self._used + len(strings))
        numbers = np.empty(len(strings), np.int32)
        added = _append(strings.data, strings.offsets, self._data, self._offsets, self._slots, count, SEED, numbers)
        self._used += added
        self._publish(count + added)
        return numbers

    def place(self, strings: ByteStrings, numbers: Int32s, total: int) -> bool:
        """Into an empty table strings with rising ``numbers`` below ``total``; other numbers stand for no string.

        False, and the table is of no more use, if a string comes twice.
        """
        self._reserve(total, strings.nbytes, len(strings))
        sizes = np.zeros(total, np.int64)
        sizes[numbers] = strings.lengths()
        np.cumsum(sizes, out=self._offsets[1 : total + 1])
        self._data[: strings.nbytes] = strings.data[: strings.nbytes]
        self._used = len(strings)
        self._publish(total)
        return _index(self._data, self._offsets, self._slots, numbers, SEED)

    def _publish(self, count: int) -> None:
        self.strings = Strings(count, self._data, self._offsets, self._slots)

    def _reserve(self, count: int, more_bytes: int, used: int) -> None:
        """Room for ``count`` strings, of which the new ones have ``more_bytes`` in all; ``used`` slots."""
        size = int(self._offsets[len(self)])
        if size + more_bytes > len(self._data):
            self._data = _grown(self._data, size, size + more_bytes)
        if count + 1 > len(self._offsets):
            self._offsets = _grown(self._offsets, len(self) + 1, count + 1)
        if 3 * used > 2 * len(self._slots):
            slots = np.zeros(1 << max(3, (2 * used - 1).bit_length()), np.int32)
            _rehash(self._data, self._offsets, self._slots, slots, SEED)
            self._slots = slots


def _grown(array: Grown, count: int, wanted: int) -> Grown:
    """A larger copy of the first ``count`` entries; a third more than wanted, but for a first filling."""
    grown = np.empty(wanted + (wanted // 3 if count > 1 else 0), array.dtype)
    grown[:count] = array[:count]
    return grown


@kernel
def _find(
    texts: Bytes, ends: Int64s, data: Bytes, offsets: Int64s, slots: Int32s, count: int, seed: np.uint64, found: Int32s
) -> None:
    """Numbers from ``count`` on are later than the reader's moment, whatever is there by now."""
    mask = len(slots) - 1
    for i in range(len(found)):
        start, length = ends[i], ends[i + 1] - ends[i]
        slot = np.int64(hash_of(texts, start, length, seed) & np.uint64(mask))
        number = -1
        while number < 0 and slots[slot] != 0:
            known = slots[slot] - 1
            if (
                known < count
                and offsets[known + 1] - offsets[known] == length
                and equal(data, offsets[known], texts, start, length)
            ):
                number = known
            slot = (slot + 1) & mask
        found[i] = number


@kernel
def _append(
    texts: Bytes, ends: Int64s, data: Bytes, offsets: Int64s, slots: Int32s, count: int, seed: np.uint64, found: Int32s
) -> int:
    """Returns how many were appended."""
    mask = len(slots) - 1
    total = count
    for i in range(len(found)):
        start, length = ends[i], ends[i + 1] - ends[i]
        slot = np.int64(hash_of(texts, start, length, seed) & np.uint64(mask))
        number = -1
        while number < 0 and slots[slot] != 0:
            known = slots[slot] - 1
            if offsets[known + 1] - offsets[known] == length and equal(data, offsets[known], texts, start, length):
                number = known
            else:
                slot = (slot + 1) & mask
        if number < 0:
            number = total
            position = offsets[number]
            for k in range(length):
                data[position + k] = texts[start + k]
            offsets[number + 1] = position + length
            total += 1
            slots[slot] = total  # last: who reads meanwhile finds what it stands for, or nothing
        found[i] = number
    return total - count


@kernel
def _rehash(data: Bytes, offsets: Int64s, before: Int32s, slots: Int32s, seed: np.uint64) -> None:
    mask = len(slots) - 1
    for old in range(len(before)):
        if before[old] == 0:
            continue
        known = before[old] - 1
        start, length = offsets[known], offsets[known + 1] - offsets[known]
        slot = np.int64(hash_of(data, start, length, seed) & np.uint64(mask))
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = before[old]


@kernel
def _index(data: Bytes, offsets: Int64s, slots: Int32s, numbers: Int32s, seed: np.uint64) -> bool:
    """Put the strings of some numbers into empty slots; False if one is there twice."""
    mask = len(slots) - 1
    for i in range(len(numbers)):
        start, length = offsets[numbers[i]], offsets[numbers[i] + 1] - offsets[numbers[i]]
        slot = np.int64(hash_of(data, start, length, seed) & np.uint64(mask))
        while slots[slot] != 0:
            known = slots[slot] - 1
            if offsets[known + 1] - offsets[known] == length and equal(data, offsets[known], data, start, length):
                return False
            slot = (slot + 1) & mask
        slots[slot] = numbers[i] + 1
    return True
