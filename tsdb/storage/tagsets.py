"""Tag sets: a series' dictionary on this node, tag set by value ↔ dense id, and the values of each tag by id.

One thread (the committer) gives ids; any thread reads a *snapshot*. Nothing is ever changed once given: arrays only
grow behind the ids that a snapshot knows, so a snapshot is a count and references, and costs nothing to take.

Ids become durable in the flush that first uses them (``undurable``, ``mark_durable``); nothing durable refers to an id
that is not. Records of the family ``tagsets`` are diagrammed in docs/format/tagset.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import DataCorrupted
from tsdb.kernels import kernel
from tsdb.model.store import TagIn, TagMatch
from tsdb.storage import tagset_columns
from tsdb.storage.frame import seal, unseal

Int32s = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

MAGIC = b"TG"
VERSION = 1
ABSENT = -1
# Ids are int32 in rows and blocks.
MAX_TAGSETS = 2**31 - 1
# Tag sets decoded at once: bounds the memory of a million new ones.
CHUNK_TAGSETS = 65_536


def encode_tagset_record(tagset: bytes) -> bytes:
    """The value in ``tagsets`` of a tag set by value."""
    return seal(MAGIC, VERSION, tagset)


def decode_tagset_record(data: bytes) -> bytes:
    """The tag set by value. Raises DataCorrupted."""
    return bytes(unseal(data, MAGIC, VERSION, "tag set"))


class _Tag:
    """One tag: a code for each tag set (``ABSENT`` where it has none) and the distinct values the codes stand for."""

    __slots__ = ("codes", "count", "dictionary", "lookup", "values")

    def __init__(self) -> None:
        self.codes: Int32s = np.empty(0, np.int32)
        self.count = 0
        self.values: list[str] = []
        self.lookup: dict[str, int] = {}
        self.dictionary: pa.StringArray = pa.array([], pa.string())

    def grow(self, total: int) -> None:
        """Make room for ``total`` tag sets; new ones have no such tag."""
        if total > len(self.codes):
            grown = np.full(max(64, total * 3 // 2), ABSENT, np.int32)
            grown[: self.count] = self.codes[: self.count]
            self.codes = grown
        self.count = total

    def assign(self, ids: Int32s, codes: Int32s, distinct: Sequence[str]) -> None:
        """Tag sets ``ids`` have the value ``distinct[code]``, or none where the code is −1."""
        mapped = np.empty(len(distinct) + 1, np.int32)
        for i, value in enumerate(distinct):
            code = self.lookup.get(value)
            if code is None:
                # The value first: readers look codes up in ``values``.
                self.values.append(value)
                code = self.lookup[value] = len(self.values) - 1
            mapped[i] = code
        # A code of −1 picks the last entry.
        mapped[-1] = ABSENT
        self.codes[ids] = mapped[codes]

    def arrow(self) -> pa.StringArray:
        """The values as an Arrow array, made anew only when there are more of them."""
        dictionary = self.dictionary
        count = len(self.values)
        if len(dictionary) != count:
            dictionary = self.dictionary = pa.array(self.values[:count], pa.string())
        return dictionary


class TagSetIndex:
    """The tag sets of one series. ``ids`` is called by one thread; snapshots are read by any."""

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        self._tagsets: list[bytes | None] = []
        self._tags: dict[int, _Tag] = {}
        self._durable = 0
        self._snapshot = TagSets(0, self._tagsets, self._ids, {})

    def __len__(self) -> int:
        """One more than the highest id."""
        return len(self._tagsets)

    @classmethod
    def load(cls, records: Iterable[tuple[int, bytes]]) -> TagSetIndex:
        """The index of durable (id, record), ids rising; ids that are missing were forgotten. Raises DataCorrupted."""
        index = cls()
        known: list[bytes] = []
        positions: list[int] = []
        for tagset_id, record in records:
            if positions and tagset_id <= positions[-1]:
                raise DataCorrupted(f"tag set {tagset_id} comes after tag set {positions[-1]}")
            known.append(decode_tagset_record(record))
            positions.append(tagset_id)
        index._add(known, np.array(positions, np.int32), positions[-1] + 1 if positions else 0)
        if len(index._ids) != len(known):
            raise DataCorrupted("two ids stand for one tag set")
        index._durable = len(index)
        return index

    def ids(self, tagsets: Sequence[bytes]) -> Int32s:
        """The id of each tag set by value, given now if it has none."""
        found = list(map(self._ids.get, tagsets))
        if None in found:
            new = list(dict.fromkeys(tagset for tagset, known in zip(tagsets, found, strict=True) if known is None))
            start = len(self)
            if start + len(new) > MAX_TAGSETS:
                raise OverflowError(f"a series has at most {MAX_TAGSETS} tag sets")
            self._add(new, np.arange(start, start + len(new), dtype=np.int32), start + len(new))
            found = list(map(self._ids.get, tagsets))
        return np.array(found, np.int32)

    def snapshot(self) -> TagSets:
        """The tag sets known now."""
        return self._snapshot

    @property
    def durable(self) -> int:
        """Ids below this are on disk."""
        return self._durable

    def undurable(self) -> list[tuple[int, bytes]]:
        """(id, record) of those that are not yet on disk."""
        return [
            (tagset_id, encode_tagset_record(tagset))
            for tagset_id, tagset in enumerate(self._tagsets[self._durable :], self._durable)
            if tagset is not None
        ]

    def mark_durable(self, count: int) -> None:
        """Ids below ``count`` are on disk now."""
        self._durable = max(self._durable, count)

    def _add(self, tagsets: Sequence[bytes], ids: Int32s, total: int) -> None:
        """``tagsets`` get ``ids`` (rising, from the present count on), and there are ``total`` ids then."""
        # All are decoded before anything is changed: a malformed one leaves the index as it was.
        chunks = [slice(i, i + CHUNK_TAGSETS) for i in range(0, len(tagsets), CHUNK_TAGSETS)]
        decoded = [tagset_columns.decode(tagsets[chunk]) for chunk in chunks]
        for number in sorted(set().union(*decoded)):
            self._tags.setdefault(number, _Tag())
        for tag in self._tags.values():
            tag.grow(total)
        for chunk, columns in zip(chunks, decoded, strict=True):
            for number, (codes, distinct) in columns.items():
                self._tags[number].assign(ids[chunk], codes, distinct)
        start = len(self)
        by_id: list[bytes | None] = [None] * (total - start)
        for tagset_id, tagset in zip(ids.tolist(), tagsets, strict=True):
            by_id[tagset_id - start] = tagset
            self._ids[tagset] = tagset_id
        self._tagsets.extend(by_id)
        tags = {number: (tag, tag.codes) for number, tag in self._tags.items()}
        self._snapshot = TagSets(total, self._tagsets, self._ids, tags)


@dataclass(frozen=True, slots=True)
class TagSets:
    """The tag sets of one series at one moment: ids 0 … count − 1. Immutable."""

    count: int
    _tagsets: list[bytes | None]
    _ids: dict[bytes, int]
    _tags: Mapping[int, tuple[_Tag, Int32s]]

    def column(self, number: int) -> tuple[Int32s, list[str]]:
        """(codes int32[count], values): tag set i has the value values[codes[i]], or no such tag if the code is −1.

        There may be more values than codes use: they belong to later tag sets. Do not change either.
        """
        found = self._tags.get(number)
        if found is None:
            return np.full(self.count, ABSENT, np.int32), []
        tag, codes = found
        return codes[: self.count], tag.values

    def by_value(self, tagset_id: int) -> bytes:
        """Raises KeyError for an id that is not there (any more)."""
        tagset = self._tagsets[tagset_id] if 0 <= tagset_id < self.count else None
        if tagset is None:
            raise KeyError(tagset_id)
        return tagset

    def find(self, tagset: bytes) -> int | None:
        """The id of a tag set by value."""
        found = self._ids.get(tagset)
        return found if found is not None and found < self.count else None

    def known(self, tagsets: Sequence[bytes]) -> Bools:
        """Which tag sets by value have an id."""
        count = self.count
        found = (known is not None and known < count for known in map(self._ids.get, tagsets))
        return np.fromiter(found, np.bool_, len(tagsets))

    def matching(self, tags: Sequence[TagMatch | TagIn]) -> Bools:
        """Which tag sets satisfy all of ``tags``; bool[count]. Tests are called once for each distinct value."""
        mask = np.ones(self.count, np.bool_)
        for tag in tags:
            codes, values = self.column(tag.column)
            if isinstance(tag, TagIn) or tag.values is not None:
                found = self._tags.get(tag.column)
                table = _member(tag, found[0].lookup if found is not None else {}, len(values))
            else:
                table = _tested(tag, values, codes[mask])
            # A code of −1 picks the last entry: an absent tag.
            mask &= table[codes]
        return mask

    def dictionary(self, number: int, ids: Int32s) -> pa.DictionaryArray:
        """The values of one tag for rows of tag set ``ids``: dictionary<int32, string>, null where absent."""
        codes, _ = self.column(number)
        found = self._tags.get(number)
        values = found[0].arrow() if found is not None else pa.array([], pa.string())
        rows = codes[ids]
        # A reader converts the whole dictionary of every batch: keep it in proportion to the rows.
        if len(values) > 2 * len(rows) + 64:
            remap = np.full(len(values), ABSENT, np.int32)
            used = _compact(rows, remap)
            values = values.take(pa.array(used))
        return pa.DictionaryArray.from_arrays(_nullable(rows), values, safe=False)


def _member(tag: TagIn | TagMatch, lookup: Mapping[str, int], count: int) -> Bools:
    """Entry i: does the value of code i satisfy ``tag``; the last entry: does an absent tag."""
    negated = isinstance(tag, TagIn) and tag.negated
    table = np.full(count + 1, negated, np.bool_)
    for value in tag.values or ():
        code = -1 if value is None else lookup.get(value, count)
        # A code from ``count`` on was given after we looked.
        if code < count:
            table[code] = not negated
    return table


def _tested(tag: TagMatch, values: list[str], codes: Int32s) -> Bools:
    """Entry i: does the value of code i, if ``codes`` has it, satisfy ``tag``; the last entry: does an absent tag."""
    count = len(values)
    used = np.zeros(count + 1, np.bool_)
    used[codes] = True
    table = np.zeros(count + 1, np.bool_)
    for code in np.flatnonzero(used[:-1]).tolist():
        table[code] = tag.test(values[code])
    if used[-1]:
        table[-1] = tag.test(None)
    return table


def _nullable(codes: Int32s) -> pa.Int32Array:
    """Codes as an Arrow array, −1 as null."""
    absent = codes < 0
    return pa.array(codes, mask=absent) if absent.any() else pa.array(codes)


@kernel
def _compact(codes: Int32s, remap: Int32s) -> Int32s:
    """Number the codes in use from 0 in the order they come, in place; returns the codes by their new numbers."""
    used = np.empty(len(codes), np.int32)
    count = 0
    for i in range(len(codes)):
        code = codes[i]
        if code < 0:
            continue
        if remap[code] < 0:
            remap[code] = count
            used[count] = code
            count += 1
        codes[i] = remap[code]
    return used[:count]
