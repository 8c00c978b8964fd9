"""Reading the summaries of many blocks at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tsdb.errors import DataCorrupted
from tsdb.model import summaries as model
from tsdb.storage import keys
from tsdb.storage.block import BlockHeader
from tsdb.storage.rocks import Rocks
from tsdb.storage.summaries import measure, packed
from tsdb.storage.summaries.cache import SummaryCache, Together
from tsdb.storage.summaries.encode import LAYOUT
from tsdb.storage.summaries.layout import LAYOUT_STATISTICS
from tsdb.storage.summaries.packed import Joined
from tsdb.storage.version import SeriesBlocks
from tsdb.types import Kind

Int64s = npt.NDArray[np.int64]

# So many blocks that a scan reads together are kept together: a look-up for each block and column would be most of it.
TOGETHER_MIN = 32

# Where a column's statistics are stored.
_PLACES = {
    model.COUNT: measure.COUNT, model.LOW: measure.LOW, model.HIGH: measure.HIGH, model.SUM: measure.LOW,
    model.M2: measure.M2, model.MIN: measure.MIN, model.MAX: measure.MAX, model.FIRST: measure.FIRST,
    model.LAST: measure.LAST, model.FIRST_THERE: measure.VALID, model.LAST_THERE: measure.VALID,
}  # fmt: skip
_ALWAYS_FLOATS = (model.SUM, model.M2)
_FLOATS_OF_FLOATS = (model.MIN, model.MAX, model.FIRST, model.LAST)


class Blocks:
    """Blocks of one series whose summaries are read together; ``key``, of many, is what they are known by."""

    def __init__(self, count: int, ids: Callable[[], Int64s], headers: Callable[[], Sequence[BlockHeader]]) -> None:
        self.key = ids().tobytes() if count >= TOGETHER_MIN else None
        self._headers = headers

    @cached_property
    def headers(self) -> Sequence[BlockHeader]:
        return self._headers()

    @classmethod
    def of(cls, headers: Sequence[BlockHeader]) -> Blocks:
        return cls(len(headers), lambda: np.array([header.block_id for header in headers], np.int64), lambda: headers)

    @classmethod
    def at(cls, index: SeriesBlocks, places: npt.NDArray[np.intp]) -> Blocks:
        """The blocks at places of an index."""
        return cls(
            len(places), lambda: index.block_id[places], lambda: [index.headers[place] for place in places.tolist()]
        )


class SummaryReader:
    """Reads layouts and statistics. ``bytes_read`` counts what did not come from the cache."""

    def __init__(self, series: int, rocks: Rocks, cache: SummaryCache) -> None:
        self._series = series
        self._rocks = rocks
        self._cache = cache
        self.bytes_read = 0

    def layouts(self, blocks: Blocks) -> tuple[Int64s, Int64s]:
        """(the layouts int64[4, cells] of blocks, one after the other; how many cells each block has).

        Raises DataCorrupted, IoError.
        """
        joined, _ = self._together(blocks, LAYOUT)
        return joined.unpack(range(LAYOUT_STATISTICS)), joined.cells

    def statistics(
        self, blocks: Blocks, cells: Int64s, column: int, kind: Kind, wanted: Sequence[str]
    ) -> dict[str, npt.NDArray[np.generic]] | None:
        """The wanted statistics of a column for all cells of blocks: zeros for a block that does not have it, None if
        none has. Raises DataCorrupted, IoError."""
        joined, have = self._together(blocks, column)
        if not len(joined.cells):
            return None
        if not np.array_equal(joined.cells, cells if have is None else cells[have]):
            raise DataCorrupted(f"summaries of column {column} of series {self._series} do not fit their layout")
        places = sorted({_PLACES[name] for name in wanted})
        table = joined.unpack(places)
        if have is not None:
            found, table = table, np.zeros((len(places), int(cells.sum())), np.int64)
            table[:, np.repeat(have, cells)] = found
        return {name: _shaped(table[places.index(_PLACES[name])], name, kind) for name in wanted}

    def _together(self, blocks: Blocks, column: int) -> Together:
        """The payloads of a column, and which of the blocks have it (None: all)."""
        known = None if blocks.key is None else (self._series, column, blocks.key)
        found = None if known is None else self._cache.together.get(known)
        if found is None:
            headers = blocks.headers
            have: npt.NDArray[np.bool_] | None = None
            if column != LAYOUT:
                have = np.array([header.has_summary(column) for header in headers])
                headers = [header for header, there in zip(headers, have.tolist(), strict=True) if there]
                have = None if len(headers) == len(have) else have
            payloads = self._payloads(headers, column, alone=known is None)
            found = Joined.of(payloads), have
            if known is not None:
                self._cache.together.put(known, found)
        return found

    def _payloads(self, headers: Sequence[BlockHeader], column: int, *, alone: bool) -> list[bytes]:
        """``alone``: each is to be kept for itself."""
        statistics = LAYOUT_STATISTICS if column == LAYOUT else measure.STATISTICS
        blocks = [(header.series, header.block_id) for header in headers]
        found = self._cache.get_many(blocks, column)
        missing = [at for at, payload in enumerate(found) if payload is None]
        if missing:
            wanted = [
                keys.summary_key(series, column, block_id) for series, block_id in map(blocks.__getitem__, missing)
            ]
            for at, value in zip(missing, self._rocks.get_many("summaries", wanted), strict=True):
                what = f"summary of column {column} in block {headers[at].block_id} of series {headers[at].series}"
                if value is None:
                    raise DataCorrupted(f"{what} is missing")
                found[at] = packed.opened(value, statistics, None, what)
                self.bytes_read += len(value)
            if alone:
                read = [(blocks[at], payload) for at in missing if (payload := found[at]) is not None]
                self._cache.put_many(column, read)
        return [payload for payload in found if payload is not None]


def _shaped(values: Int64s, name: str, kind: Kind) -> npt.NDArray[np.generic]:
    if name == model.FIRST_THERE:
        return values & 1
    if name == model.LAST_THERE:
        return values >> 1
    if name in _ALWAYS_FLOATS or (kind is Kind.FLOAT8 and name in _FLOATS_OF_FLOATS):
        return values.view(np.float64)
    return values
