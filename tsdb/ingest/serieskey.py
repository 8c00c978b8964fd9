"""The distinct series keys of a measurement, in columns: no object for each of them, however many a body brings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.ingest.kernel_names import LENGTH, START, TAG_COUNT, Int32s, Int64s, Names
from tsdb.ingest.kernel_tags import alike_written, collect_tags, encode_tagsets
from tsdb.kernels import readonly
from tsdb.model.byte_strings import VARINT_BYTES_MAX, ByteStrings

Bools = npt.NDArray[np.bool_]


def unescape_measurement(text: str) -> str:
    r"""``\,`` and ``\ `` lose their backslash; ``\=`` keeps it, since ``=`` needs none there."""
    return text.replace("\\,", ",").replace("\\ ", " ") if "\\" in text else text


def unescape_key(text: str) -> str:
    r"""Tag keys, tag values and field keys: ``\,``, ``\=`` and ``\ `` lose their backslash."""
    return text.replace("\\,", ",").replace("\\=", "=").replace("\\ ", " ") if "\\" in text else text


@dataclass(frozen=True, slots=True)
class SeriesKeys:
    """k distinct series keys as written; two of them may be one tag set, written in another order.

    ``names``: the tag keys, those of the first series key first, and of one series key in their own order. The tags of
    key i are at [offsets[i], offsets[i + 1]): ``tag`` indexes ``names``, the value is body[starts:ends], as written.
    ``escapes``: the body has backslashes.
    """

    body: bytes | bytearray
    escapes: bool
    names: tuple[str, ...]
    offsets: Int32s
    tag: Int32s
    starts: Int32s
    ends: Int32s

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def having(self, name: str) -> Bools:
        """Which of them have a tag; bool[k]."""
        has = np.zeros(len(self), np.bool_)
        if name in self.names:
            key = np.repeat(np.arange(len(self)), np.diff(self.offsets))
            has[key[self.tag == self.names.index(name)]] = True
        return has

    def pairs(self, key: int) -> tuple[tuple[str, str], ...]:
        """The tags of one of them, (name, value), sorted."""
        found = []
        for at in range(self.offsets[key], self.offsets[key + 1]):
            value = self.body[self.starts[at] : self.ends[at]].decode()
            found.append((self.names[self.tag[at]], unescape_key(value)))
        return tuple(sorted(found))

    def distinct(self, numbers: Int64s, seed: np.uint64) -> tuple[Int32s | None, ByteStrings]:
        """(for each its number among the distinct tag sets by value, None: each has its own; these)."""
        found = self.encoded(numbers)
        # One backslash more or less is another text, but the same value.
        if not self.escapes and bool((numbers >= 0).all()) and alike_written(self.offsets, self.tag):
            return None, found
        number, distinct = found.distinct(seed)
        return (None if len(distinct) == len(self) else number), distinct

    def encoded(self, numbers: Int64s) -> ByteStrings:
        """Their tag sets by value; ``numbers``: the column of each name, −1 of one that is left out."""
        size = int((self.ends - self.starts).sum(dtype=np.int64)) + VARINT_BYTES_MAX * len(self.tag)
        out, borders = np.empty(size, np.uint8), np.empty(len(self) + 1, np.int64)
        body = readonly(np.frombuffer(self.body, np.uint8))
        encode_tagsets(body, self.escapes, numbers, self.offsets, self.tag, self.starts, self.ends, out, borders)
        return ByteStrings(out[: borders[-1]], borders)


class SeriesKeyReader:
    """Takes the tags of series keys out of one body's walk, measurement by measurement."""

    def __init__(self, body: bytes | bytearray, names: Names, tags: Names) -> None:
        self._body = body
        self._escapes = b"\\" in body
        self._names = names
        self._tags = tags
        self._first = np.full(names.shape[1], -1, np.int32)

    def written(self, name: int) -> bytes:
        """A name by its number; of a refused line it may be anything."""
        start = self._names[START, name]
        return bytes(self._body[start : start + self._names[LENGTH, name]])

    def text(self, name: int) -> str:
        """A good line's tag key or field key by its number."""
        return unescape_key(self.written(name).decode())

    def measurement(self, name: int) -> str:
        """A good line's measurement by its number."""
        return unescape_measurement(self.written(name).decode())

    def keys(self, keys: Int32s) -> SeriesKeys:
        """Series keys of one measurement by their numbers."""
        total = int(self._names[TAG_COUNT, keys].sum(dtype=np.int64))
        offsets = np.empty(len(keys) + 1, np.int32)
        tag, starts, ends = (np.empty(total, np.int32) for _ in range(3))
        found = collect_tags(self._names, self._tags, keys, self._first, offsets, tag, starts, ends)
        written = [self.text(name) for name in found[0].tolist()]
        order = sorted(range(len(written)), key=lambda number: (int(found[1, number]), written[number]))
        if order != list(range(len(order))):
            place = np.empty(len(order), np.int32)
            place[order] = np.arange(len(order), dtype=np.int32)
            tag = place[tag]
        names = tuple(written[number] for number in order)
        return SeriesKeys(self._body, self._escapes, names, offsets, tag, starts, ends)
