"""Applying ops: from the points of a write to sorted runs of the live head, from a DELETE to tombstones.

The same functions serve the committer, which still has the points in memory, and recovery, which decodes them from the
op log. They are given the version before and return what the next version is made of.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.points import Points
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.storage.append import Write, WritePart
from tsdb.storage.head import Runs, alike, joins, run_of
from tsdb.storage.merge import concat
from tsdb.storage.rows import Rows
from tsdb.storage.tagsets import TagSetIndex
from tsdb.storage.tombstone import AnyTombstone, KeyTombstone, Tombstone

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Appended:
    """A part of a write that is in the log: its points' sequences are ``first`` and up."""

    part: WritePart
    first: int


def sequences_of(write: Write, appended: Sequence[Appended]) -> list[Int64s]:
    """For each batch of the write the sequences of its points; 0 for a point whose part was a duplicate."""
    sequences = [np.zeros(len(points), np.int64) for points in write.batches]
    for done in appended:
        first = done.first
        for piece in done.part.pieces:
            target = sequences[piece.batch]
            rows = len(target) if piece.rows is None else len(piece.rows)
            numbers = np.arange(first, first + rows, dtype=np.int64)
            if piece.rows is None:
                target[:] = numbers
            else:
                target[piece.rows] = numbers
            first += rows
    return sequences


def points_with_sequences(write: Write, appended: Sequence[Appended]) -> list[tuple[Points, Int64s]]:
    """The points of a write that are new, with their sequences."""
    found: list[tuple[Points, Int64s]] = []
    whole = len(appended) == len(write.parts)
    for points, sequences in zip(write.batches, sequences_of(write, appended), strict=True):
        if whole:
            found.append((points, sequences))
            continue
        rows = np.flatnonzero(sequences)
        if len(rows):
            found.append((points.take(rows), sequences[rows]))
    return found


def rows_of(
    times: Int64s,
    tagsets: Sequence[bytes],
    tagset: npt.NDArray[np.int32],
    fields: Mapping[int, pa.Array],
    sequences: Int64s,
    index: TagSetIndex,
) -> Rows:
    """Points as rows: their tag sets become this node's ids, new ones are given."""
    return Rows(index.ids(tagsets)[tagset], times, sequences, _plain(fields))


def _plain(fields: Mapping[int, pa.Array]) -> dict[int, pa.Array]:
    return {number: values for number, values in fields.items() if values.null_count < len(values)}


def add_rows(live: Mapping[int, Runs], rows: Mapping[int, Sequence[Rows]]) -> dict[int, Runs]:
    """The live head with new rows, by series number: one run for all that came in a group and is alike. They are
    ``folded`` later: nobody waits for that."""
    changed = dict(live)
    for series, parts in rows.items():
        changed[series] = (*changed.get(series, ()), *(run_of(concat(group)) for group in _groups(parts)))
    return changed


def _groups(parts: Sequence[Rows]) -> Iterator[Sequence[Rows]]:
    """Neighbours that can be joined."""
    if alike(parts):
        yield parts
        return
    start = rows = cells = 0
    columns: set[int] = set()
    for at, part in enumerate(parts):
        rows, cells = rows + len(part), cells + len(part) * len(part.columns)
        columns.update(part.columns)
        if at > start and not joins(rows * len(columns), cells):
            yield parts[start:at]
            start, rows, cells, columns = at, len(part), len(part) * len(part.columns), set(part.columns)
    yield parts[start:]


def add_tombstones(
    tombstones: Mapping[int, tuple[AnyTombstone, ...]], stones: Iterable[AnyTombstone]
) -> dict[int, tuple[AnyTombstone, ...]]:
    """With new ones; one that hides all that an older one hides takes its place (TRUNCATE again and again)."""
    added: dict[int, list[AnyTombstone]] = {}
    for stone in stones:
        added.setdefault(stone.series, []).append(stone)
    changed = dict(tombstones)
    for series, new in added.items():
        # One pass over those there are, however many come: a DELETE makes one for each location.
        last = {_extent(stone): stone for stone in new if isinstance(stone, Tombstone)}
        ranges = {(stone.range_low, stone.range_high) for stone in last.values()}
        widest = _widest(last.values())
        kept = [
            old for old in changed.get(series, ()) if not (_is_covered(old, widest) or _is_replaced(old, ranges, last))
        ]
        kept += [stone for stone in new if isinstance(stone, KeyTombstone) or last[_extent(stone)] is stone]
        changed[series] = tuple(kept)
    return changed


def _extent(stone: Tombstone) -> tuple[object, ...]:
    """What a tombstone hides, but for its counter."""
    return stone.low, stone.high, stone.range_low, stone.range_high, stone.tags


def _is_replaced(old: AnyTombstone, ranges: Container[tuple[int, int]], last: Container[tuple[object, ...]]) -> bool:
    return isinstance(old, Tombstone) and (old.range_low, old.range_high) in ranges and _extent(old) in last


_Widest = Mapping[tuple[int, int, bool], Tombstone]


def _widest(stones: Iterable[Tombstone]) -> _Widest:
    """By interval, and whether it has tags: the one with the longest time range: each old one is compared with two."""
    widest: dict[tuple[int, int, bool], Tombstone] = {}
    for stone in stones:
        other = widest.setdefault((stone.low, stone.high, bool(stone.tags)), stone)
        if stone.range_high - stone.range_low > other.range_high - other.range_low:
            widest[stone.low, stone.high, bool(stone.tags)] = stone
    return widest


def _is_covered(old: AnyTombstone, widest: _Widest) -> bool:
    """Does a newer one of the same interval hide all that ``old`` hides? Deletions up to a time that moves on do."""
    new = widest.get((old.low, old.high, False))
    if isinstance(old, KeyTombstone):
        return new is not None and new.range_low == NS_MIN and new.range_high == NS_MAX
    if new is not None and new.range_low <= old.range_low and old.range_high <= new.range_high:
        return True
    new = widest.get((old.low, old.high, True))
    return (
        new is not None and new.range_low <= old.range_low and old.range_high <= new.range_high and new.tags == old.tags
    )
