"""Reading the summaries of many blocks at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tsdb.errors import DataCorrupted
from tsdb.model import summaries as model
from tsdb.storage import keys
from tsdb.storage.block import BlockHeader
from tsdb.storage.rocks import Rocks
from tsdb.storage.summaries import measure, packed
from tsdb.storage.summaries.cache import SummaryCache
from tsdb.storage.summaries.encode import LAYOUT
from tsdb.storage.summaries.layout import LAYOUT_STATISTICS
from tsdb.types import Kind

Int64s = npt.NDArray[np.int64]

# Where a column's statistics are stored.
_PLACES = {
    model.COUNT: measure.COUNT, model.LOW: measure.LOW, model.HIGH: measure.HIGH, model.SUM: measure.LOW,
    model.M2: measure.M2, model.MIN: measure.MIN, model.MAX: measure.MAX, model.FIRST: measure.FIRST,
    model.LAST: measure.LAST, model.FIRST_THERE: measure.VALID, model.LAST_THERE: measure.VALID,
}  # fmt: skip
_ALWAYS_FLOATS = (model.SUM, model.M2)
_FLOATS_OF_FLOATS = (model.MIN, model.MAX, model.FIRST, model.LAST)


class SummaryReader:
    """Reads layouts and statistics. ``bytes_read`` counts what did not come from the cache."""

    def __init__(self, rocks: Rocks, cache: SummaryCache) -> None:
        self._rocks = rocks
        self._cache = cache
        self.bytes_read = 0

    def layouts(self, headers: Sequence[BlockHeader]) -> tuple[Int64s, Int64s]:
        """(the layouts int64[4, cells] of blocks, one after the other; how many cells each block has).

        Raises DataCorrupted, IoError.
        """
        payloads = self._payloads(headers, LAYOUT, LAYOUT_STATISTICS)
        counts = np.fromiter(map(packed.cells_in, payloads), np.int64, len(payloads))
        return packed.unpack(payloads, int(counts.sum()), range(LAYOUT_STATISTICS)), counts

    def statistics(
        self, headers: Sequence[BlockHeader], cells: Int64s, column: int, kind: Kind, wanted: Sequence[str]
    ) -> dict[str, npt.NDArray[np.generic]]:
        """The wanted statistics of a column for all cells of blocks that have it. Raises DataCorrupted, IoError."""
        payloads = self._payloads(headers, column, measure.STATISTICS)
        counts = np.fromiter(map(packed.cells_in, payloads), np.int64, len(payloads))
        if (counts != cells).any():
            raise DataCorrupted(f"summaries of column {column} of series {headers[0].series} do not fit their layout")
        places = sorted({_PLACES[name] for name in wanted})
        table = packed.unpack(payloads, int(counts.sum()), places)
        return {name: _shaped(table[places.index(_PLACES[name])], name, kind) for name in wanted}

    def _payloads(self, headers: Sequence[BlockHeader], column: int, statistics: int) -> list[bytes]:
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
