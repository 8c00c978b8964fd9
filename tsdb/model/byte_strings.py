"""Byte strings one behind the other in one array: what a million tag sets by value are, without a million objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from tsdb.kernels import borrowing, inlined, kernel, load_half, load_word, readonly

Bytes = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

# Of a tag's column number and its value's length, together (``tsdb.model.points``).
VARINT_BYTES_MAX = 10

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)
_U8 = np.uint64(8)
_NO_BITS, _NO_HALF = np.uint64(0), np.uint32(0)


class ByteStrings(Sequence[bytes]):
    """String i of n is ``data[offsets[i]:offsets[i + 1]]``; ``data`` uint8, ``offsets`` int64[n + 1] rising from 0.

    Immutable; equal to any sequence of the same strings. ``made`` is what others made of them, by what it is: the tag
    sets of a writer are the same ones again and again.
    """

    __slots__ = ("data", "made", "offsets")

    def __init__(self, data: Bytes, offsets: Int64s) -> None:
        self.data = readonly(data)
        self.offsets = readonly(offsets)
        self.made: dict[str, bytes] = {}

    @staticmethod
    def of(strings: Sequence[bytes]) -> ByteStrings:
        """The same strings; themselves if they are ``ByteStrings``."""
        if isinstance(strings, ByteStrings):
            return strings
        offsets = np.zeros(len(strings) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, strings), np.int64, len(strings)), out=offsets[1:])
        return ByteStrings(np.frombuffer(b"".join(strings), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> ByteStrings: ...

    def __getitem__(self, index: int | slice) -> bytes | ByteStrings:
        if isinstance(index, slice):
            return self.take(np.arange(len(self), dtype=np.int32)[index])
        at = range(len(self))[index]
        return self.data[self.offsets[at] : self.offsets[at + 1]].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        raw = self.data.tobytes()
        start = 0
        for end in self.offsets[1:].tolist():
            yield raw[start:end]
            start = end

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(other) != len(self):
            return False
        return all(map(bytes.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ByteStrings({list(self)!r})"

    @property
    def nbytes(self) -> int:
        """The bytes of all strings."""
        return int(self.offsets[-1])

    @staticmethod
    def concatenated(parts: Sequence[ByteStrings]) -> ByteStrings:
        """The strings of all parts, one part after the other."""
        sizes = np.concatenate([np.diff(part.offsets) for part in parts])
        offsets = np.zeros(len(sizes) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        return ByteStrings(np.concatenate([part.data[: part.nbytes] for part in parts]), offsets)

    def lengths(self) -> Int64s:
        """Of each string."""
        return np.diff(self.offsets)

    def take(self, indexes: npt.NDArray[np.integer]) -> ByteStrings:
        """The strings at ``indexes``, which may come in any order."""
        starts = self.offsets[:-1][indexes]
        return gathered(self.data, starts, self.offsets[1:][indexes] - starts)

    def distinct(self, seed: np.uint64) -> tuple[Int32s, ByteStrings]:
        """(for each string its number among the distinct ones, these in the order they come)."""
        numbers, first = _distinct(self.data, self.offsets, _slots(len(self)), seed)
        return numbers, (self if len(first) == len(self) else self.take(first))


def gathered(data: Bytes, starts: Int64s, sizes: Int64s) -> ByteStrings:
    """The strings at ``starts`` of ``data``."""
    offsets = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    out = np.empty(int(offsets[-1]), np.uint8)
    _gather(data, starts, offsets, out)
    return ByteStrings(out, offsets)


def _slots(count: int) -> Int32s:
    """An empty table for ``count`` strings, at most half full."""
    return np.zeros(1 << max(3, (2 * count - 1).bit_length()), np.int32)


@borrowing
def hash_of(data: Bytes, start: int, length: int, seed: np.uint64) -> np.uint64:
    """A hash of ``length`` bytes at ``start``. Who does not know the seed cannot choose strings that collide."""
    p = start
    value = seed ^ np.uint64(length)
    for _ in range(length >> 3):
        value = (value ^ load_word(data, p)) * _MULTIPLIER
        value ^= value >> _SHIFT
        p += 8
    word = np.uint64(0)
    for k in range(length & 7):
        word = word << _U8 | np.uint64(data[p + k])
    value = (value ^ word) * _MULTIPLIER
    return value ^ value >> _SHIFT


@inlined
def equal(left: Bytes, a: int, right: Bytes, b: int, length: int) -> bool:
    """Whether the ``length`` bytes at ``a`` of ``left`` and at ``b`` of ``right`` are equal; both are there."""
    if length >= 8:
        different = load_word(left, a + length - 8) ^ load_word(right, b + length - 8)
        for k in range(length >> 3):  # without a branch, so that it becomes vector instructions
            different |= load_word(left, a + 8 * k) ^ load_word(right, b + 8 * k)
        return bool(different == _NO_BITS)
    if length >= 4:
        first = load_half(left, a) ^ load_half(right, b)
        return bool(first | load_half(left, a + length - 4) ^ load_half(right, b + length - 4) == _NO_HALF)
    for k in range(length):  # noqa: SIM110  (numba has no all())
        if left[a + k] != right[b + k]:
            return False
    return True


@borrowing
def put_varint(out: Bytes, position: int, value: int) -> int:
    """Write ``value`` as LEB128; the position after it."""
    while value >= 0x80:
        out[position] = value & 0x7F | 0x80
        position += 1
        value >>= 7
    out[position] = value
    return position + 1


@borrowing
def valid_utf8(body: Bytes, p: int, end: int) -> bool:
    """RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF."""
    while p < end:
        c = body[p]
        p += 1
        if c < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= c <= 0xDF:
            rest = 1
        elif 0xE0 <= c <= 0xEF:
            rest = 2
            low = 0xA0 if c == 0xE0 else 0x80
            high = 0x9F if c == 0xED else 0xBF
        elif 0xF0 <= c <= 0xF4:
            rest = 3
            low = 0x90 if c == 0xF0 else 0x80
            high = 0x8F if c == 0xF4 else 0xBF
        else:
            return False
        if p + rest > end or body[p] < low or body[p] > high:
            return False
        for k in range(1, rest):
            if body[p + k] & 0xC0 != 0x80:
                return False
        p += rest
    return True


@kernel
def _gather(data: Bytes, starts: Int64s, offsets: Int64s, out: Bytes) -> None:
    for i in range(len(starts)):
        start, position = starts[i], offsets[i]
        for k in range(offsets[i + 1] - position):
            out[position + k] = data[start + k]


@kernel
def _distinct(data: Bytes, offsets: Int64s, slots: Int32s, seed: np.uint64) -> tuple[Int32s, Int32s]:
    """(the number of each string, where each distinct one comes first)."""
    count = len(offsets) - 1
    numbers = np.empty(count, np.int32)
    first = np.empty(count, np.int32)
    mask = len(slots) - 1
    found = 0
    for i in range(count):
        start, length = offsets[i], offsets[i + 1] - offsets[i]
        slot = np.int64(hash_of(data, start, length, seed) & np.uint64(mask))
        number = -1
        while slots[slot] != 0 and number < 0:
            known = first[slots[slot] - 1]
            if offsets[known + 1] - offsets[known] == length and equal(data, offsets[known], data, start, length):
                number = slots[slot] - 1
            slot = (slot + 1) & mask
        if number < 0:
            first[found] = i
            number = found
            found += 1
            slots[slot] = found
        numbers[i] = number
    return numbers, first[:found]
