"""The distinct series keys of a measurement, in columns: no object for each of them, however many a body brings."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tsdb.ingest.kernel_names import LENGTH, NAMES, START, TAG_COUNT, Int32s, Int64s
from tsdb.ingest.kernel_tags import alike_written, collect_tags, encode_tagsets
from tsdb.ingest.lexicon import Lexicon
from tsdb.model.byte_strings import VARINT_BYTES_MAX, Bytes, ByteStrings


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
    key i are at [offsets[i], offsets[i + 1]): ``tag`` indexes ``names``, the value is texts[starts:ends], as written.
    ``escapes``: there may be backslashes. ``made``: the last tag sets by value, and of which columns.
    """

    texts: Bytes
    escapes: bool
    names: tuple[str, ...]
    offsets: Int32s
    tag: Int32s
    starts: Int32s
    ends: Int32s
    made: list[tuple[bytes, Int32s | None, ByteStrings]] = field(default_factory=list, compare=False)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def pairs(self, key: int) -> tuple[tuple[str, str], ...]:
        """The tags of one of them, (name, value), sorted."""
        found = []
        for at in range(self.offsets[key], self.offsets[key + 1]):
            value = self.texts[self.starts[at] : self.ends[at]].tobytes().decode()
            found.append((self.names[self.tag[at]], unescape_key(value)))
        return tuple(sorted(found))

    def distinct(self, numbers: Int64s, seed: np.uint64) -> tuple[Int32s | None, ByteStrings]:
        """(for each its number among the distinct tag sets by value, None: each has its own; these): the same object,
        if they are asked for again.
        """
        wanted = numbers.tobytes()
        for known, number, tagsets in self.made:
            if known == wanted:
                return number, tagsets
        made = self._distinct(numbers, seed)
        self.made[:] = [(wanted, *made)]
        return made

    def _distinct(self, numbers: Int64s, seed: np.uint64) -> tuple[Int32s | None, ByteStrings]:
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
        encode_tagsets(self.texts, self.escapes, numbers, self.offsets, self.tag, self.starts, self.ends, out, borders)
        return ByteStrings(out[: borders[-1]], borders)


class SeriesKeyReader:
    """Takes the tags of series keys out of the names after a body's walk, measurement by measurement."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._names = lexicon.names[:, : lexicon.counts[NAMES]]
        # For each name −1; a body may have as many measurements.
        self._first: Int32s | None = None

    def written(self, name: int) -> bytes:
        """A name by its number; of a refused line it may be anything."""
        start = self._names[START, name]
        return self._lexicon.texts[start : start + self._names[LENGTH, name]].tobytes()

    def text(self, name: int) -> str:
        """A good line's tag key or field key by its number."""
        known = self._lexicon.decoded.get(name)
        if known is None:
            known = unescape_key(self.written(name).decode())
            self._lexicon.remember(name, known)
        return known

    def measurement(self, name: int) -> str:
        """A good line's measurement by its number."""
        return unescape_measurement(self.written(name).decode())

    def keys(self, measurement: int, keys: Int32s) -> SeriesKeys:
        """Series keys of one measurement by their numbers: the same object as last time, if they are the same."""
        which = measurement, int(keys[0]), len(keys)
        known: tuple[Int32s, SeriesKeys] | None = self._lexicon.made.get(which)
        if known is not None and bool((known[0] == keys).all()):
            return known[1]
        found = self._collected(keys)
        self._lexicon.keep(which, (keys, found), len(found.tag))
        return found

    def _collected(self, keys: Int32s) -> SeriesKeys:
        total = int(self._names[TAG_COUNT, keys].sum(dtype=np.int64))
        offsets = np.empty(len(keys) + 1, np.int32)
        tag, starts, ends = (np.empty(total, np.int32) for _ in range(3))
        if self._first is None:
            self._first = np.full(self._names.shape[1], -1, np.int32)
        found = collect_tags(self._names, self._lexicon.tags, keys, self._first, offsets, tag, starts, ends)
        written = [self.text(name) for name in found[0].tolist()]
        order = sorted(range(len(written)), key=lambda number: (int(found[1, number]), written[number]))
        if order != list(range(len(order))):
            place = np.empty(len(order), np.int32)
            place[order] = np.arange(len(order), dtype=np.int32)
            tag = place[tag]
        names = tuple(written[number] for number in order)
        return SeriesKeys(self._lexicon.texts, self._lexicon.escapes, names, offsets, tag, starts, ends)
