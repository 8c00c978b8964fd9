"""Scans of newest rows whose blocks' part is kept (``kept``), or becomes so.

1. Rows of these blocks are kept: they are all, or, if there is something in the head, what a scan of the head's runs
   begins with.
2. Nothing is in the head: the blocks are looked at from ``low`` on, and what is found is kept.
3. There is something in the head: it may settle all groups, and no block is looked at. If that was not so, the next
   scan of these blocks keeps what it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pyarrow as pa

from tsdb.model.schema import Role
from tsdb.model.store import SEQUENCE, TIME_NS, Newest, Scan, ScanRequest, ScanStatistics, TimeRange
from tsdb.model.time import NS_MAX
from tsdb.storage.batches import Output
from tsdb.storage.cache import BoundedCache
from tsdb.storage.head import Runs
from tsdb.storage.newest.kept import ROWS_MAX, KeptRows, Key, kept_rows
from tsdb.storage.newest.scan import NewestInput, NewestScan
from tsdb.storage.tagsets import TagSets
from tsdb.storage.version import SeriesBlocks

KEPT_BYTES = 16 << 20
WISHED_MAX = 256


class KeptCache(BoundedCache[KeptRows]):
    """What is kept, by what was asked; ``wished``: the blocks for which somebody would have liked it."""

    def __init__(self) -> None:
        super().__init__(KEPT_BYTES, lambda kept: kept.nbytes)
        self.wished: BoundedCache[SeriesBlocks] = BoundedCache(WISHED_MAX, lambda blocks: 1)


class Keeping:
    """A scan of one row of each group of all tag sets of a series, [``low``, ``high``) above retention's floor.

    ``blocks`` are all of them, ``runs`` those of the head with rows from ``low`` on. No tombstone hides anything.
    """

    def __init__(
        self, request: ScanRequest, newest: Newest, blocks: SeriesBlocks, runs: Runs, low: int, tagsets: TagSets,
        cache: KeptCache,
    ) -> None:  # fmt: skip
        self._request = request
        self._newest = newest
        self._blocks = blocks
        self._runs = tuple(run for run in runs if run.max_time >= low)
        self._low = low
        self._tagsets = tagsets
        self._cache = cache
        columns = [request.series.by_number[c] for c in request.columns if isinstance(c, int)]
        self._fields = [column for column in columns if column.role is Role.FIELD]
        self._key: Key = (request.series.number, newest, tuple(c.number for c in self._fields), request.ring)

    @classmethod
    def fits(cls, request: ScanRequest, newest: Newest, blocks: SeriesBlocks, runs: Runs, tagsets: TagSets) -> bool:
        """Whether a newest row of the blocks and runs is in the range if any of its group is."""
        high = request.range.high
        if newest.rows != 1 or newest.oldest or not newest.by or SEQUENCE in request.columns:
            return False
        if not blocks.headers or tagsets.count > ROWS_MAX:
            return False
        if high <= blocks.latest or any(run.max_time >= high for run in runs):
            return False
        # Kept versions are merged: those of the head have to come after all of them.
        return not request.series.keyed or all(run.min_counter > blocks.last_counter for run in runs)

    def scan(
        self, inputs: Callable[[ScanRequest, KeptRows | None, bool], NewestInput], statistics: ScanStatistics
    ) -> Scan:  # fmt: skip
        """``inputs`` makes what is read: with kept rows the head alone, without them the blocks, and the head if
        wanted."""
        output = Output(self._request, self._tagsets)
        kept = self._found()
        if kept is not None:
            batches = self._with(kept, inputs, output, statistics)
        elif not self._runs or self._cache.wished.get(self._key) is self._blocks:
            wide = replace(self._request, columns=self._columns(), range=TimeRange(self._low, NS_MAX))
            scan = NewestScan(wide, self._newest, inputs(wide, None, False), statistics)
            batches = self._made(scan, inputs, output, statistics)
        else:
            source = inputs(self._request, None, True)
            batches = self._noted(NewestScan(self._request, self._newest, source, statistics).start(output))
        return Scan(output.schema, batches, statistics)

    def _found(self) -> KeptRows | None:
        found = self._cache.get(self._key)
        return found if found is not None and found.blocks is self._blocks and found.low <= self._low else None

    def _columns(self) -> tuple[int | str, ...]:
        """What is read of blocks to be kept."""
        return (TIME_NS, *(column.number for column in self._fields))

    def _with(
        self, kept: KeptRows, inputs: Callable[[ScanRequest, KeptRows | None, bool], NewestInput], output: Output,
        statistics: ScanStatistics,
    ) -> Iterator[pa.RecordBatch]:  # fmt: skip
        """Of the kept rows and the head's."""
        statistics.blocks_total = statistics.blocks_older = len(self._blocks.headers)
        if self._runs:
            source = inputs(self._request, kept, True)
            return iter(NewestScan(self._request, self._newest, source, statistics).start(output).batches)
        return self._all(kept, output, statistics)

    def _all(self, kept: KeptRows, output: Output, statistics: ScanStatistics) -> Iterator[pa.RecordBatch]:
        batch = kept.batch(self._request.columns, output, self._low)
        statistics.rows_read += len(batch)
        statistics.rows_returned += len(batch)
        yield batch

    def _made(
        self, scan: NewestScan, inputs: Callable[[ScanRequest, KeptRows | None, bool], NewestInput], output: Output,
        statistics: ScanStatistics,
    ) -> Iterator[pa.RecordBatch]:  # fmt: skip
        """Keep what a scan of the blocks finds, and go on with it."""
        kept = kept_rows(self._blocks, self._low, list(scan.pieces()), self._fields, self._newest.by, self._tagsets)
        self._cache.put(self._key, kept)
        counted = ScanStatistics()
        yield from self._with(kept, inputs, output, counted)
        statistics.rows_read += counted.rows_read
        statistics.rows_returned += counted.rows_returned

    def _noted(self, scan: Scan) -> Iterator[pa.RecordBatch]:
        yield from scan.batches
        if scan.statistics.blocks_read:
            self._cache.wished.put(self._key, self._blocks)
