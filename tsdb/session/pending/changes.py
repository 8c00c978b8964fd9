"""What is pending, as immutable values: ``Pending`` for a transaction, ``Changes`` for one of its series.

Rows lie in *chunks* whose sizes fall geometrically (a new chunk joins its neighbour unless that is far larger), so that
many small INSERTs make few chunks and a savepoint shares most of them with what comes after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.points import Points, decode_tagset
from tsdb.model.schema import Series
from tsdb.model.store import Free, KeyDeletion, RangeDeletion, TagIn
from tsdb.session.effects import both_free, size_of
from tsdb.session.pending.keys import KeyIndex
from tsdb.sql.dml.modification import Effect, Write

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# Chunks of this many rows are not joined any more: each is one write to the store.
CHUNK_ROWS_MAX = 65_536


@dataclass(frozen=True, eq=False)
class Chunk:
    """Rows to be written, their ordinals (ascending), and the points of the store that they replace or update."""

    points: Points
    ordinals: Int64s
    replaces: KeyDeletion | None
    updates: KeyDeletion | None = None
    depends: KeyDeletion | None = None
    free: Free | None = None

    @property
    def _write(self) -> Write:
        return Write(self.points, self.replaces, self.updates, self.depends, self.free)

    @cached_property
    def tagsets(self) -> frozenset[bytes]:
        return frozenset(self.points.tagsets)

    @cached_property
    def size(self) -> int:
        return size_of(self._write)

    @property
    def weight(self) -> int:
        named = (self.replaces, self.updates, self.depends)
        return len(self.points) + sum(len(each.times) for each in named if each is not None)

    @property
    def effect(self) -> Effect | None:
        return self._write if len(self.points) else self.replaces

    @cached_property
    def _columns(self) -> dict[int, pa.Array]:
        return {}

    def column(self, number: int) -> pa.Array:
        """A tag's or field's values; they are looked for often, in each statement of a transaction."""
        found = self._columns.get(number)
        if found is None:
            found = self._columns[number] = self.points.column(number)
        return found

    def keep(self, rows: Mask) -> Chunk:
        if rows.all():
            return self
        free = None if self.free is None else free_rows(self.free, rows)
        return replace(self, points=self.points.take(np.flatnonzero(rows)), ordinals=self.ordinals[rows], free=free)


@dataclass(frozen=True, eq=False)
class Changes:
    """What is pending for one series: ``ranges`` and the chunks' ``replaces`` hide points of the store."""

    series: Series
    ranges: tuple[RangeDeletion, ...] = ()
    chunks: tuple[Chunk, ...] = ()

    @property
    def size(self) -> int:
        return sum(chunk.size for chunk in self.chunks) + sum(size_of(each) for each in self.ranges)

    @cached_property
    def points(self) -> Points:
        """All pending rows in the order they were written."""
        filled = [chunk.points for chunk in self.chunks if len(chunk.points)]
        return _joined_points(self.series, filled)

    @cached_property
    def ordinals(self) -> Int64s:
        return np.concatenate([chunk.ordinals for chunk in self.chunks] or [np.empty(0, np.int64)])

    @cached_property
    def deleted(self) -> KeyDeletion | None:
        """All points of the store that are deleted or replaced by name."""
        found = [chunk.replaces for chunk in self.chunks if chunk.replaces is not None]
        return _joined_keys(found) if found else None

    def has_tagsets(self, tagsets: Sequence[bytes]) -> Mask:
        """Which tag sets by value have a pending row."""
        found = np.zeros(len(tagsets), np.bool_)
        for chunk in self.chunks:
            found |= np.fromiter((each in chunk.tagsets for each in tagsets), np.bool_, len(tagsets))
        return found

    def add_rows(
        self,
        points: Points,
        first: int,
        replaces: KeyDeletion | None,
        updates: KeyDeletion | None,
        depends: KeyDeletion | None,
        free: Free | None,
    ) -> Changes:
        ordinals = np.arange(first, first + len(points), dtype=np.int64)
        chunks = [*self.chunks, Chunk(points, ordinals, replaces, updates, depends, free)]
        while len(chunks) > 1 and _belong_together(chunks[-2], chunks[-1]):
            last = chunks.pop()
            chunks[-1] = _joined(self.series, chunks[-1], last)
        return replace(self, series=points.series, chunks=tuple(chunks))

    def without_range(self, deletion: RangeDeletion, mark: int) -> Changes:
        """Rows written before ``mark`` that the deletion names are gone, and the store's will be."""
        chunks = tuple(
            chunk.keep(~(rows_of_range(deletion, chunk.points) & (chunk.ordinals < mark))) for chunk in self.chunks
        )
        ranges = self.ranges if deletion in self.ranges else (*self.ranges, deletion)
        return replace(self, ranges=ranges, chunks=tuple(c for c in chunks if c.effect is not None))

    def without_keys(self, deletion: KeyDeletion, mark: int) -> tuple[Changes, KeyDeletion | None]:
        """(what is left of the rows written before ``mark``, the part of the deletion that concerns the store)."""
        if any(len(chunk.points) and chunk.ordinals[0] < mark for chunk in self.chunks):
            named = _Named(deletion, self.series.keyed)
            chunks = [chunk.keep(~(named.rows(chunk) & (chunk.ordinals < mark))) for chunk in self.chunks]
            changes = replace(self, chunks=tuple(c for c in chunks if c.effect is not None))
        else:
            changes = self
        return changes, _of_store(deletion)


@dataclass(frozen=True, eq=False)
class Pending:
    """All that a transaction has changed, by series number, in the order in which the series were first touched."""

    series: Mapping[int, Changes] = field(default_factory=dict)
    next_ordinal: int = 0

    def __bool__(self) -> bool:
        return bool(self.series)

    @cached_property
    def bytes(self) -> int:
        """About how much memory it holds."""
        return sum(changes.size for changes in self.series.values())

    @cached_property
    def sizes(self) -> Mapping[int, int]:
        """Size by the identity of a chunk: what states share is held once."""
        return {id(chunk): chunk.size for changes in self.series.values() for chunk in changes.chunks}

    def add(self, effect: Effect, mark: int) -> Pending:
        """With one more effect. ``mark`` is the first ordinal of the running statement, whose own rows stay."""
        series = effect.points.series if isinstance(effect, Write) else effect.series
        changes = self.series.get(series.number) or Changes(series)
        after = self.next_ordinal
        if isinstance(effect, RangeDeletion):
            changes = changes.without_range(effect, mark)
        else:
            named = effect.replaces if isinstance(effect, Write) else effect
            if named is not None:
                changes, named = changes.without_keys(named, mark)
            points = effect.points if isinstance(effect, Write) else no_points(series)
            if len(points) or named is not None:
                updates, depends = (effect.updates, effect.depends) if isinstance(effect, Write) else (None, None)
                free = effect.free if isinstance(effect, Write) else None
                changes = changes.add_rows(points, after, named, _of_store(updates), _of_store(depends), free)
                after += len(points)
        return Pending({**self.series, series.number: changes}, after)

    def without(self, number: int) -> Pending:
        """Without a series that is gone."""
        return Pending({each: changes for each, changes in self.series.items() if each != number}, self.next_ordinal)

    def effects(self) -> Iterator[Effect]:
        """What is to be written, in an order that means the same."""
        for changes in self.series.values():
            yield from changes.ranges
            for chunk in changes.chunks:
                if chunk.effect is not None:
                    yield chunk.effect


def no_points(series: Series) -> Points:
    return Points(series, np.empty(0, np.int64), [], np.empty(0, np.int32), {})


def rows_of_range(deletion: RangeDeletion, points: Points) -> Mask:
    """Which points a deletion by time and tags names."""
    times = points.times
    found: Mask = (times >= deletion.range.low) & (times < deletion.range.high)
    if deletion.tags and found.any():
        wanted = np.fromiter((all_match(deletion.tags, each) for each in points.tagsets), np.bool_, len(points.tagsets))
        found &= wanted[points.tagset]
    return found


def all_match(tags: Sequence[TagIn], tagset: bytes) -> bool:
    values = decode_tagset(tagset)
    return all((values.get(each.column) in each.values) != each.negated for each in tags)


class _Named:
    """The pending rows that a deletion by keys names."""

    def __init__(self, deletion: KeyDeletion, keyed: bool) -> None:
        sequences = deletion.sequences
        self._ordinals = np.empty(0, np.int64) if sequences is None else -1 - sequences[sequences < 0]
        # In a keyed series the key is all; in a keyless one only what names no version stands for all of its key.
        by_key = np.ones(len(deletion.times), np.bool_) if keyed or sequences is None else sequences == 0
        part = deletion if by_key.all() else _part(deletion, by_key)
        self._index = KeyIndex(part.tagsets, part.tagset, part.times)

    def rows(self, chunk: Chunk) -> Mask:
        points = chunk.points
        found = np.isin(chunk.ordinals, self._ordinals)
        if len(self._index) and len(points):
            found |= self._index.find(points.tagsets, points.tagset, points.times) >= 0
        return found


def _of_store(deletion: KeyDeletion | None) -> KeyDeletion | None:
    """What it names of the store's points; None if that is nothing."""
    if deletion is None or deletion.sequences is None:
        return deletion
    stored = deletion.sequences >= 0
    if stored.all():
        return deletion
    return _part(deletion, stored) if stored.any() else None


def _part(deletion: KeyDeletion, rows: Mask) -> KeyDeletion:
    sequences = None if deletion.sequences is None else deletion.sequences[rows]
    return replace(deletion, tagset=deletion.tagset[rows], times=deletion.times[rows], sequences=sequences)


def _belong_together(before: Chunk, after: Chunk) -> bool:
    together = before.weight + after.weight
    return together <= CHUNK_ROWS_MAX and before.weight <= 2 * after.weight


def _joined(series: Series, before: Chunk, after: Chunk) -> Chunk:
    filled = [each for each in (before.points, after.points) if len(each)]
    return Chunk(
        _joined_points(series, filled),
        np.concatenate([before.ordinals, after.ordinals]),
        _both(before.replaces, after.replaces),
        _both(before.updates, after.updates),
        _both(before.depends, after.depends),
        both_free((before.free, len(before.points)), (after.free, len(after.points))),
    )


def free_rows(free: Free, rows: Mask) -> Free:
    return replace(free, since=free.since[rows], again=free.again[rows])


def _both(before: KeyDeletion | None, after: KeyDeletion | None) -> KeyDeletion | None:
    named = [each for each in (before, after) if each is not None]
    return _joined_keys(named) if named else None


def _joined_points(series: Series, batches: Sequence[Points]) -> Points:
    if len(batches) < 2:
        return batches[0] if batches else no_points(series)
    tagsets, tagset = _joined_tagsets([each.tagsets for each in batches], [each.tagset for each in batches])
    types = {number: values.type for each in batches for number, values in each.fields.items()}
    fields = {
        number: pa.concat_arrays([each.fields.get(number, pa.nulls(len(each), kind)) for each in batches])
        for number, kind in types.items()
    }
    return Points(batches[-1].series, np.concatenate([each.times for each in batches]), tagsets, tagset, fields)


def _joined_keys(deletions: Sequence[KeyDeletion]) -> KeyDeletion:
    if len(deletions) == 1:
        return deletions[0]
    tagsets, tagset = _joined_tagsets([each.tagsets for each in deletions], [each.tagset for each in deletions])
    sequences = [np.zeros(len(d.times), np.int64) if d.sequences is None else d.sequences for d in deletions]
    times = np.concatenate([each.times for each in deletions])
    # One of each version that was read is enough.
    moments = {moment.number: moment for each in deletions for moment in each.moments}
    return KeyDeletion(deletions[-1].series, tagsets, tagset, times, np.concatenate(sequences), tuple(moments.values()))


def _joined_tagsets(
    tagsets: Sequence[Sequence[bytes]], tagset: Sequence[npt.NDArray[np.int32]]
) -> tuple[list[bytes], npt.NDArray[np.int32]]:
    numbers: dict[bytes, int] = {}
    columns: list[npt.NDArray[np.int32]] = []
    for values, rows in zip(tagsets, tagset, strict=True):
        ours = np.fromiter((numbers.setdefault(each, len(numbers)) for each in values), np.int32, len(values))
        columns.append(ours[rows])
    return list(numbers), np.concatenate(columns)
