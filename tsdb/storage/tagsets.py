"""Tag sets: a series' dictionary on this node, tag set by value ↔ dense id, and the values of each tag by id.

One thread (the committer) gives ids; any thread reads a *snapshot*. Nothing is ever changed once given: arrays only
grow behind the ids that a snapshot knows, so a snapshot is a count and references, and costs nothing to take.

Ids become durable in the flush that first uses them (``undurable``, ``mark_durable``); nothing durable refers to an id
that is not. Records of the family ``tagsets`` are diagrammed in docs/format/tagset.md.

Tag sets of which no row is left are forgotten (``tsdb.storage.compaction.forget``): another index without them takes
this one's place, and their ids are *holes*. Older snapshots go on to know them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import DataCorrupted
from tsdb.kernels import kernel
from tsdb.model.byte_strings import ByteStrings
from tsdb.model.store import TagIn, TagMatch
from tsdb.storage import tagset_columns
from tsdb.storage.frame import seal, unseal
from tsdb.storage.string_table import Strings, StringTable

Int32s = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

MAGIC = b"TG"
VERSION = 1
ABSENT = -1
# Ids are int32 in rows and blocks.
MAX_TAGSETS = 2**31 - 1
# Tag sets decoded at once: bounds the memory of a million new ones.
CHUNK_TAGSETS = 65_536
# Values of a tag that are compared one by one.
FEW = 8
# Codes that are kept of values that were asked for one by one, and how long such a value is at most.
ASKED_MAX, ASKED_CHARACTERS = 1024, 256


def encode_tagset_record(tagset: bytes) -> bytes:
    """The value in ``tagsets`` of a tag set by value."""
    return seal(MAGIC, VERSION, tagset)


def decode_tagset_record(data: bytes) -> bytes:
    """The tag set by value. Raises DataCorrupted."""
    return bytes(unseal(data, MAGIC, VERSION, "tag set"))


class TagValues(Sequence[str]):
    """The distinct values of one tag by their codes; those that are known at one moment."""

    __slots__ = ("_arrow", "_asked", "_strings")

    def __init__(self, strings: Strings) -> None:
        self._strings = strings
        self._asked: dict[str, int] = {}
        self._arrow: pa.StringArray | None = None

    def __len__(self) -> int:
        return len(self._strings)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._strings[at].decode() for at in range(len(self))[index]]
        return self._strings[index].decode()

    def codes(self, values: Iterable[str]) -> Int32s:
        """The code of each value, −1 where no tag set has it."""
        return self._strings.find(ByteStrings.of([value.encode() for value in values]))

    def code(self, value: str) -> int:
        """The code of one value, −1 where no tag set has it. Dashboards ask for the same few again and again."""
        code = self._asked.get(value)
        if code is None:
            found = self._strings.find_one(value.encode())
            code = ABSENT if found is None else found
            if len(self._asked) >= ASKED_MAX:
                self._asked.clear()
            if len(value) <= ASKED_CHARACTERS:
                self._asked[value] = code
        return code

    def arrow(self) -> pa.StringArray:
        """The values as an Arrow array."""
        if self._arrow is None:
            self._arrow = _arrow_of(self._strings.all())
        return self._arrow

    def take(self, codes: Int32s) -> pa.StringArray:
        """The values of some codes."""
        return _arrow_of(self._strings.all().take(codes))


def _arrow_of(values: ByteStrings) -> pa.StringArray:
    offsets = values.offsets.astype(np.int32)
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(values.data))


_NO_VALUES = TagValues(StringTable().strings)
# Which ids stand for nothing: of those below its length; the others all stand for a tag set.
_NO_HOLES: Bools = np.empty(0, np.bool_)


class _Tag:
    """One tag: a code for each tag set (``ABSENT`` where it has none) and the distinct values the codes stand for."""

    __slots__ = ("codes", "count", "seen", "values")

    def __init__(self) -> None:
        self.codes: Int32s = np.empty(0, np.int32)
        self.count = 0
        self.values = StringTable()
        self.seen = _NO_VALUES

    def grow(self, total: int) -> None:
        """Make room for ``total`` tag sets; new ones have no such tag."""
        if total > len(self.codes):
            grown = np.full(max(64, total * 4 // 3), ABSENT, np.int32)
            grown[: self.count] = self.codes[: self.count]
            self.codes = grown
        self.count = total

    def assign(self, ids: Int32s, values: ByteStrings) -> None:
        """Tag sets ``ids`` have these values."""
        self.codes[ids] = self.values.add(values)
        if len(self.values) != len(self.seen):
            self.seen = TagValues(self.values.strings)


class TagSetIndex:
    """The tag sets of one series. ``ids`` is called by one thread; snapshots are read by any."""

    def __init__(self) -> None:
        self._table = StringTable()
        self._holes = _NO_HOLES
        self._tags: dict[int, _Tag] = {}
        self._durable = 0
        # What was asked for last: most writers have the same tag sets in each batch.
        self._last: tuple[ByteStrings, Int32s] = (ByteStrings.of(()), np.empty(0, np.int32))
        self._snapshot = TagSets(self._table.strings, self._holes, {})

    def __len__(self) -> int:
        """One more than the highest id."""
        return len(self._table)

    @classmethod
    def load(cls, records: Iterable[tuple[int, bytes]]) -> TagSetIndex:
        """The index of durable (id, record), ids rising; ids that are missing were forgotten. Raises DataCorrupted."""
        known: list[bytes] = []
        positions: list[int] = []
        for tagset_id, record in records:
            if positions and tagset_id <= positions[-1]:
                raise DataCorrupted(f"tag set {tagset_id} comes after tag set {positions[-1]}")
            known.append(decode_tagset_record(record))
            positions.append(tagset_id)
        index = cls._restored(ByteStrings.of(known), np.array(positions, np.int32), positions[-1] + 1 if known else 0)
        index._durable = len(index)
        return index

    @classmethod
    def without(cls, known: TagSets, gone: Bools) -> TagSetIndex:
        """The index of a snapshot's tag sets, but for those that are ``gone`` (bool[count])."""
        ids = np.flatnonzero(known.present() & ~gone).astype(np.int32)
        return cls._restored(known.all().take(ids), ids, known.count)

    def follow(self, other: TagSetIndex) -> None:
        """Take over what another index, of which this is a copy without some, has learned since."""
        news = other._table.strings.all()[len(self) :]
        if len(news):
            self._add(news)
        self._durable = other._durable

    @classmethod
    def _restored(cls, tagsets: ByteStrings, ids: Int32s, total: int) -> TagSetIndex:
        """Tag sets with rising ids below ``total``. Raises DataCorrupted."""
        index = cls()
        if not index._table.place(tagsets, ids, total):
            raise DataCorrupted("two ids stand for one tag set")
        if len(ids) < total:
            index._holes = np.ones(total, np.bool_)
            index._holes[ids] = False
        index._assign(tagsets, ids, _taken_apart(tagsets))
        return index

    def ids(self, tagsets: Sequence[bytes]) -> Int32s:
        """The id of each tag set by value, given now if it has none. Do not change it."""
        wanted = ByteStrings.of(tagsets)
        if wanted is self._last[0]:
            return self._last[1]
        found = self._table.strings.find(wanted)
        absent = np.flatnonzero(found < 0)
        if len(absent):
            new = wanted if len(absent) == len(wanted) else wanted.take(absent)
            if len(self) + len(new) > MAX_TAGSETS:
                raise OverflowError(f"a series has at most {MAX_TAGSETS} tag sets")
            found[absent] = self._add(new)
        self._last = wanted, found
        return found

    def snapshot(self) -> TagSets:
        """The tag sets known now."""
        return self._snapshot

    @property
    def durable(self) -> int:
        """Ids below this are on disk."""
        return self._durable

    def undurable(self) -> list[tuple[int, bytes]]:
        """(id, record) of those that are not yet on disk."""
        known = self._table.strings
        return [
            (tagset_id, encode_tagset_record(known[tagset_id]))
            for tagset_id in range(self._durable, len(self))
            if tagset_id >= len(self._holes) or not self._holes[tagset_id]
        ]

    def mark_durable(self, count: int) -> None:
        """Ids below ``count`` are on disk now."""
        self._durable = max(self._durable, count)

    def _add(self, tagsets: ByteStrings) -> Int32s:
        """The ids of new tag sets, of which some may come twice: the next ones."""
        # All are taken apart before anything is changed: a malformed one leaves the index as it was.
        parts = _taken_apart(tagsets)
        ids = self._table.append(tagsets)
        self._assign(tagsets, ids, parts)
        return ids

    def _assign(self, tagsets: ByteStrings, ids: Int32s, parts: Sequence[_Columns]) -> None:
        """Tag sets that are in the table get their tags, and the next snapshot."""
        for number in sorted(set().union(*parts)):
            self._tags.setdefault(number, _Tag())
        for tag in self._tags.values():
            tag.grow(len(self._table))
        for chunk, columns in zip(_chunks(tagsets), parts, strict=True):
            for number, (rows, values) in columns.items():
                self._tags[number].assign(ids[chunk][rows], values)
        tags = {number: (tag.seen, tag.codes) for number, tag in self._tags.items()}
        self._snapshot = TagSets(self._table.strings, self._holes, tags)


_Columns = Mapping[int, tuple[Int32s, ByteStrings]]


def _chunks(tagsets: ByteStrings) -> list[slice]:
    return [slice(at, at + CHUNK_TAGSETS) for at in range(0, len(tagsets), CHUNK_TAGSETS)]


def _taken_apart(tagsets: ByteStrings) -> list[_Columns]:
    chunks = _chunks(tagsets)
    return [tagset_columns.decode(tagsets if len(chunks) == 1 else tagsets[chunk]) for chunk in chunks]


@dataclass(frozen=True, slots=True)
class TagSets:
    """The tag sets of one series at one moment: ids 0 … count − 1, but for holes. Immutable."""

    _known: Strings
    _holes: Bools
    _tags: Mapping[int, tuple[TagValues, Int32s]]

    @property
    def holes(self) -> Bools:
        """Which ids stand for nothing, of those below its length: the same array until more are forgotten."""
        return self._holes

    @property
    def count(self) -> int:
        """One more than the highest id."""
        return self._known.count

    @property
    def size(self) -> int:
        """How many tag sets there are."""
        return self.count - int(np.count_nonzero(self._holes)) if len(self._holes) else self.count

    def present(self) -> Bools:
        """Which ids stand for a tag set; bool[count]."""
        mask = np.ones(self.count, np.bool_)
        if len(self._holes):
            mask[: len(self._holes)] = ~self._holes
        return mask

    def all(self) -> ByteStrings:
        """The tag sets by value, those of holes empty; without a copy."""
        return self._known.all()

    def column(self, number: int) -> tuple[Int32s, TagValues]:
        """(codes int32[count], values): tag set i has the value values[codes[i]], or no such tag if the code is −1.

        Do not change the codes.
        """
        found = self._tags.get(number)
        if found is None:
            return np.full(self.count, ABSENT, np.int32), _NO_VALUES
        values, codes = found
        return codes[: self.count], values

    def by_value(self, tagset_id: int) -> bytes:
        """Raises KeyError for an id that is not there (any more)."""
        if not 0 <= tagset_id < self.count or (tagset_id < len(self._holes) and self._holes[tagset_id]):
            raise KeyError(tagset_id)
        return self._known[tagset_id]

    def find(self, tagset: bytes) -> int | None:
        """The id of a tag set by value."""
        return self._known.find_one(tagset)

    def ids(self, tagsets: Sequence[bytes]) -> Int32s:
        """The id of each tag set by value, −1 where there is none."""
        return self._known.find(ByteStrings.of(tagsets))

    def known(self, tagsets: Sequence[bytes]) -> Bools:
        """Which tag sets by value have an id."""
        known: Bools = self.ids(tagsets) >= 0
        return known

    def matching(self, tags: Sequence[TagMatch | TagIn]) -> Bools:
        """Which tag sets satisfy all of ``tags``; bool[count]. Tests are called once for each distinct value."""
        mask: Bools | None = None
        for tag in tags:
            codes, values = self.column(tag.column)
            few = _few(tag, values)
            if few is not None:
                own = _equals(codes, few)
                # A hole has no codes.
                mask = own if mask is None else mask & own
                continue
            mask = self.present() if mask is None else mask
            if isinstance(tag, TagIn) or tag.values is not None:
                table = _member(tag, values)
            else:
                table = _tested(tag, values, codes[mask])
            # A code of −1 picks the last entry: an absent tag.
            mask &= table[codes]
        return self.present() if mask is None else mask

    def dictionary(self, number: int, ids: Int32s) -> pa.DictionaryArray:
        """The values of one tag for rows of tag set ``ids``: dictionary<int32, string>, null where absent."""
        codes, values = self.column(number)
        rows = codes[ids]
        # A reader converts the whole dictionary of every batch: keep it in proportion to the rows.
        if len(values) > 2 * len(rows) + 64:
            remap = np.full(len(values), ABSENT, np.int32)
            used = _compact(rows, remap)
            return pa.DictionaryArray.from_arrays(_nullable(rows), values.take(used), safe=False)
        return pa.DictionaryArray.from_arrays(_nullable(rows), values.arrow(), safe=False)


def _few(tag: TagIn | TagMatch, values: TagValues) -> list[int] | None:
    """The codes that satisfy ``tag`` if they are few and an absent tag does not."""
    negated = isinstance(tag, TagIn) and tag.negated
    if tag.values is None or negated or len(tag.values) > FEW or None in tag.values:
        return None
    return [code for value in tag.values if value is not None and (code := values.code(value)) >= 0]


def _equals(codes: Int32s, few: Sequence[int]) -> Bools:
    """Which codes are among a few: one comparison each is faster than looking up a million codes in a table."""
    if not few:
        return np.zeros(len(codes), np.bool_)
    mask: Bools = codes == few[0]
    for code in few[1:]:
        mask |= codes == code
    return mask


def _member(tag: TagIn | TagMatch, values: TagValues) -> Bools:
    """Entry i: does the value of code i satisfy ``tag``; the last entry: does an absent tag."""
    negated = isinstance(tag, TagIn) and tag.negated
    table = np.full(len(values) + 1, negated, np.bool_)
    codes = values.codes(value for value in tag.values or () if value is not None)
    table[codes[codes >= 0]] = not negated
    if None in (tag.values or ()):
        table[-1] = not negated
    return table


def _tested(tag: TagMatch, values: TagValues, codes: Int32s) -> Bools:
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
