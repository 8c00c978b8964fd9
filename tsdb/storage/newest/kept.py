"""Kept rows: the newest row of each group in a series' blocks, as it was found once, in the order of the groups' tags.

Last points are asked for again and again, and which blocks there are changes only with a flush or a compaction. So what
a scan found in them is kept with its columns, and the next one has all of it at once. What is in the head is looked at
beside it each time.

Nothing is kept of what tombstones may hide, nor of a part of the tag sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.model.ring import Intervals
from tsdb.model.schema import Column
from tsdb.model.store import Newest
from tsdb.storage.batches import Output, Piece
from tsdb.storage.merge import take_values
from tsdb.storage.newest.found import Found
from tsdb.storage.newest.tails import Tails, TailsOf
from tsdb.storage.tagsets import ABSENT, TagSets
from tsdb.storage.version import SeriesBlocks

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

# (series, what is asked, its fields, of which intervals of the ring)
Key = tuple[int, Newest, tuple[int, ...], Intervals | None]

ROWS_MAX = 1 << 16
BATCHES_MAX = 4


class KeptRows(TailsOf):
    """Rows of the ``blocks`` of a series from ``low`` on: of each group those that matter, versions merged.

    They hold for all scans of these blocks from ``low`` or later on.
    """

    def __init__(self, blocks: SeriesBlocks, low: int, piece: Piece) -> None:
        assert piece.tagset is not None
        assert piece.times is not None
        self.blocks = blocks
        self.low = low
        self._piece = piece
        # Nobody asks for sequences but to merge versions of the head with these, and those come after them.
        self._tails = Tails(
            piece.tagset, piece.times, np.arange(piece.rows), piece.columns, np.zeros(piece.rows, np.int64)
        )
        self._first = int(piece.times.min()) if piece.rows else low
        self._batches: dict[tuple[int | str, ...], pa.RecordBatch] = {}

    def __len__(self) -> int:
        return self._piece.rows

    @property
    def nbytes(self) -> int:
        """With what is made of them."""
        return 2 * self._tails.nbytes

    def rows(self) -> Tails:
        return self._tails

    def with_columns(self, columns: Iterable[Column], *, sequences: bool) -> Tails:
        return self._tails

    def found(self, low: int) -> Found:
        """Those from ``low`` on."""
        tails = self._tails
        rows = tails.rows if low <= self._first else np.flatnonzero(tails.times >= low)
        return Found(self, tails.tagset[rows], tails.times[rows], rows)

    def batch(self, columns: tuple[int | str, ...], output: Output, low: int) -> pa.RecordBatch:
        """Those from ``low`` on, as ``output`` has them. The same one each time, where it is all of them."""
        if low > self._first:
            piece = _taken(self._piece, np.flatnonzero(self._tails.times >= low))
            return output.batch(piece, 0, piece.rows)
        made = self._batches.get(columns)
        if made is None:
            made = output.batch(self._piece, 0, self._piece.rows)
            if len(self._batches) < BATCHES_MAX:
                self._batches[columns] = made
        return made


def kept_rows(
    blocks: SeriesBlocks,
    low: int,
    pieces: Sequence[Piece],
    fields: Sequence[Column],
    by: Sequence[int],
    tagsets: TagSets,
) -> KeptRows:
    """What a scan of all tag sets in ``blocks`` from ``low`` on has found, sorted by the tags ``by``."""
    joined = _joined(pieces, fields)
    assert joined.tagset is not None
    return KeptRows(blocks, low, _taken(joined, _order(joined.tagset, by, tagsets)))


def _joined(pieces: Sequence[Piece], fields: Sequence[Column]) -> Piece:
    rows = sum(piece.rows for piece in pieces)
    columns = {}
    for column in fields:
        arrays = [piece.columns.get(column.number) for piece in pieces]
        columns[column.number] = pa.concat_arrays(
            [
                pa.nulls(piece.rows, column.kind.arrow) if array is None else array
                for piece, array in zip(pieces, arrays, strict=True)
            ]
            or [pa.nulls(0, column.kind.arrow)]
        )
    none = np.empty(0, np.int64)
    tagset = np.concatenate([none.astype(np.int32), *(each.tagset for each in pieces if each.tagset is not None)])
    times = np.concatenate([none, *(each.times for each in pieces if each.times is not None)])
    return Piece(rows, tagset, times, None, columns)


def _order(tagset: Int32s, by: Sequence[int], tagsets: TagSets) -> Int64s:
    """By the octets of each tag's text, absent ones last; in one group as they come."""
    keys: list[Int64s] = []
    for number in reversed(by):
        codes, values = tagsets.column(number)
        order = np.asarray(pc.array_sort_indices(values.arrow().cast(pa.binary())))
        ranks = np.full(len(values) + 1, len(values), np.int64)
        ranks[order] = np.arange(len(order))
        own = codes[tagset]
        # A code of −1 is the last entry.
        assert ABSENT == -1
        keys.append(ranks[own])
    return np.lexsort(keys).astype(np.int64, copy=False)


def _taken(piece: Piece, rows: npt.NDArray[np.intp]) -> Piece:
    assert piece.tagset is not None
    assert piece.times is not None
    columns = {number: take_values(values, rows) for number, values in piece.columns.items()}
    return Piece(len(rows), piece.tagset[rows], piece.times[rows], None, columns)
