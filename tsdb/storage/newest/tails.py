"""Tails: the newest (or oldest) rows of each tag set in a block, kept decoded.

A block's columns decode as a whole, for the two dozen rows that a query for last points needs of it. Blocks do not
change, so what was found once is kept: some kilobytes a block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.schema import Column
from tsdb.storage.block import BlockHeader
from tsdb.storage.cache import BoundedCache
from tsdb.storage.newest.ranges import ends
from tsdb.storage.newest.reach import Reaches
from tsdb.storage.pages import Spans
from tsdb.storage.part import BlockPart, read_field, stored_numbers
from tsdb.storage.selection import Selection

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

TAILS_BYTES = 32 * 2**20
# An array, its Python object and its entry.
_COLUMN_BYTES = 250


@dataclass(frozen=True, slots=True, eq=False)
class Tails:
    """Of each row run of a block the last rows (or first): all of one µs. ``rows`` are their places in the block.

    ``columns`` and ``sequences`` are there once somebody asked for them; a column that no row of the block has is None.
    """

    tagset: Int32s
    times: Int64s
    rows: Int64s
    columns: Mapping[int, pa.Array | None] = field(default_factory=dict)
    sequences: Int64s | None = None

    @property
    def nbytes(self) -> int:
        size = self.tagset.nbytes + self.times.nbytes + self.rows.nbytes + 4 * _COLUMN_BYTES
        size += sum(_COLUMN_BYTES if each is None else each.nbytes + _COLUMN_BYTES for each in self.columns.values())
        return size + (0 if self.sequences is None else self.sequences.nbytes)


class TailsCache(BoundedCache[Tails]):
    """(series, block id or several, oldest) → their tails; and ``reaches``, in which blocks tag sets are."""

    def __init__(self, limit_bytes: int = TAILS_BYTES) -> None:
        super().__init__(limit_bytes, lambda tails: tails.nbytes)
        self.reaches = Reaches()


class TailsOf(ABC):
    """Where tails are had of: a block, or many."""

    @abstractmethod
    def rows(self) -> Tails: ...

    @abstractmethod
    def with_columns(self, columns: Iterable[Column], *, sequences: bool) -> Tails:
        """The rows with these fields, and their point sequences if wanted."""


class BlockTails(TailsOf):
    """The tails of one block: found, or read and kept."""

    def __init__(self, part: BlockPart, cache: TailsCache, *, oldest: bool, keyed: bool) -> None:
        self._part = part
        self._cache = cache
        self.oldest = oldest
        self._keyed = keyed
        header = part.header
        self._key = (header.series, header.block_id, oldest)

    @property
    def header(self) -> BlockHeader:
        return self._part.header

    @property
    def summed(self) -> bool:
        """May summaries say what is in the rows?"""
        return self.header.summary_span > 0 and self.header.unique

    def lacks(self, columns: Iterable[Column]) -> bool:
        known = self.rows().columns
        return any(column.number not in known for column in columns)

    def add(self, columns: Mapping[int, pa.Array]) -> None:
        """Keep what is known of the rows."""
        tails = self.rows()
        self._keep(replace(tails, columns={**tails.columns, **columns}))

    def rows(self) -> Tails:
        found = self._cache.get(self._key)
        return self._read() if found is None else found

    def with_columns(self, columns: Iterable[Column], *, sequences: bool) -> Tails:
        tails = self.rows()
        missing = [column for column in columns if column.number not in tails.columns]
        if not missing and (tails.sequences is not None or not sequences):
            return tails
        numbers = [number for column in missing for number in stored_numbers(column)]
        self._part.fetch(numbers, times=False, sequences=sequences)
        made, spans = dict(tails.columns), spans_of(tails.rows)
        for column in missing:
            made[column.number] = read_field(self._part, column, spans)
        kept = self._part.sequences(spans) if sequences else tails.sequences
        self._part.release()
        return self._keep(replace(tails, columns=made, sequences=kept))

    def _read(self) -> Tails:
        part = self._part
        part.fetch((), times=True, sequences=False)
        times, layout = part.times(), part.layout()
        part.release()
        whole = Selection(layout.offsets[:-1], layout.offsets[1:], layout.ids, part.rows)
        selection = ends(whole, times, 1, oldest=self.oldest, keyed=self._keyed)
        rows = selection.index()
        return self._keep(Tails(selection.tagset_column(), times[rows], rows))

    def _keep(self, tails: Tails) -> Tails:
        self._cache.put(self._key, tails)
        return tails


def spans_of(rows: Int64s) -> Spans:
    """Rows that rise as ranges."""
    breaks = np.flatnonzero(np.diff(rows) != 1)
    starts = rows[np.concatenate(([0], breaks + 1))]
    stops = rows[np.concatenate((breaks, [len(rows) - 1]))] + 1
    return Spans(starts, stops, len(rows))
