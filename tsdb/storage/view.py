"""Views: open versions of the data, and the way from a scan request to a running scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tsdb.model.schema import Catalog, Series
from tsdb.model.store import SEQUENCE, TIME_NS, Moment, Scan, ScanRequest, ScanStatistics, TimeRange
from tsdb.model.time import NS_MIN
from tsdb.storage.batches import Output, Piece
from tsdb.storage.block import BlockHeader, BlockReader
from tsdb.storage.cache import RunsCache
from tsdb.storage.field_bounds import within_bounds
from tsdb.storage.overlap import Rectangle
from tsdb.storage.part import BlockPart, Part, RunPart
from tsdb.storage.rocks import Rocks
from tsdb.storage.rules import KeptRules
from tsdb.storage.scan import ScanInput, SeriesScan
from tsdb.storage.selection import Mask
from tsdb.storage.tagsets import TagSetIndex, TagSets
from tsdb.storage.tombstone import AnyTombstone
from tsdb.storage.version import SeriesBlocks, Version
from tsdb.storage.visibility import Visibility

_NO_TAGSETS = TagSetIndex().snapshot()
_NO_BLOCKS = SeriesBlocks()


class StorageView:
    """One version of the data. Implements ``tsdb.model.store.View``."""

    def __init__(self, version: Version, moment: Moment, rocks: Rocks, cache: RunsCache, rules: KeptRules) -> None:
        self.version = version
        self._moment: Moment | None = moment
        self._rocks = rocks
        self._cache = cache
        self._rules = rules

    @property
    def catalog(self) -> Catalog:
        return self.version.catalog

    @property
    def moment(self) -> Moment:
        assert self._moment is not None, "the view is closed"
        return self._moment

    def tagsets(self, series: int) -> TagSets:
        return self.version.tagsets.get(series, _NO_TAGSETS)

    def scan(self, request: ScanRequest) -> Scan:
        """Start a scan. Raises UndefinedColumn."""
        tagsets = self.tagsets(request.series.number)
        output = Output(request, tagsets)
        wanted = tagsets.matching(request.tags) if request.tags and request.prune else None
        statistics = ScanStatistics()
        statistics.tagsets_total = tagsets.count
        statistics.tagsets_matched = tagsets.count if wanted is None else int(wanted.sum())
        return SeriesScan(request, self._input(request, wanted, statistics), statistics).start(output)

    def tombstones(self, series: int) -> Sequence[AnyTombstone]:
        return self.version.tombstones.get(series, ())

    def rows(self, series: Series, span: TimeRange, wanted: Mask, since: int = -1) -> Iterator[Piece]:
        """The tag set, time and sequence of the visible rows in ``span`` whose tag set is ``wanted``.

        Blocks and runs with nothing from after the counter ``since`` are left out.
        """
        request, statistics = ScanRequest(series, (TIME_NS, SEQUENCE), span), ScanStatistics()
        source = self._input(request, wanted, statistics, since)
        return SeriesScan(request, source, statistics, tagsets=True).pieces()

    def _input(
        self, request: ScanRequest, wanted: Mask | None, statistics: ScanStatistics, since: int = -1
    ) -> ScanInput:
        number, version = request.series.number, self.version
        found = version.catalog.series_by_number.get(number)
        database, series = (0, request.series) if found is None else (found[0].number, found[1])
        low, high = max(request.range.low, NS_MIN if series.floor_ns is None else series.floor_ns), request.range.high
        visibility = Visibility(
            database, series, self._rules.rules(series, self.tombstones(number), self.tagsets(number))
        )
        chosen = _Chooser(low, high, wanted, statistics)
        headers = [h for h in chosen.blocks(version.blocks.get(number, _NO_BLOCKS)) if h.high_counter > since]
        runs = chosen.runs([RunPart(run) for run in version.runs(number) if run.max_counter > since])
        if request.bounds and request.prune and headers:
            in_time_and_tags = len(headers)
            headers = within_bounds(series, request.bounds, headers, [run.rectangle for run in runs])
            statistics.blocks_pruned_fields = in_time_and_tags - len(headers)
        blocks = [BlockPart(BlockReader(self._rocks, header, self._cache), statistics) for header in headers]
        parts: list[Part] = [*blocks, *runs]
        return ScanInput(parts, low, high, wanted, visibility, self.moment)

    def close(self) -> None:
        """Let go of the version; scans that are still read keep it for themselves."""
        self._moment = None


class _Chooser:
    """Drops the parts that cannot hold a wanted row."""

    def __init__(self, low: int, high: int, wanted: Mask | None, statistics: ScanStatistics) -> None:
        self._low = low
        self._high = high
        self._statistics = statistics
        # Entry i counts the wanted tag sets below id i: a range of ids is looked at in one step.
        self._below = None if wanted is None else np.concatenate(([0], np.cumsum(wanted)))

    def blocks(self, blocks: SeriesBlocks) -> list[BlockHeader]:
        statistics = self._statistics
        statistics.blocks_total = len(blocks.headers)
        if self._low >= self._high:
            in_time = np.empty(0, np.intp)
        else:
            in_time = np.flatnonzero((blocks.min_time < self._high) & (blocks.max_time >= self._low))
        statistics.blocks_pruned_time = len(blocks.headers) - len(in_time)
        with_tags = [
            header
            for header in map(blocks.headers.__getitem__, in_time.tolist())
            if self._has_tagset(header.min_tagset, header.max_tagset)
        ]
        statistics.blocks_pruned_tags = len(in_time) - len(with_tags)
        return with_tags

    def runs(self, runs: list[RunPart]) -> list[RunPart]:
        chosen = [run for run in runs if self._is_hit(run.rectangle)]
        self._statistics.rows_head = sum(run.rows for run in chosen)
        return chosen

    def _is_hit(self, bounds: Rectangle) -> bool:
        in_time = bounds.min_time < self._high and bounds.max_time >= self._low and self._low < self._high
        return in_time and self._has_tagset(bounds.min_tagset, bounds.max_tagset)

    def _has_tagset(self, low: int, high: int) -> bool:
        below = self._below
        if below is None:
            return True
        last = len(below) - 1
        return bool(below[min(high + 1, last)] > below[min(low, last)])
