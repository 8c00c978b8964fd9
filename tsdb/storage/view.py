"""Views: open versions of the data, and the way from a scan request to a running scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb import prompt
from tsdb.model.continuous import Progress
from tsdb.model.schema import Catalog, Series
from tsdb.model.store import SEQUENCE, TIME_NS, Moment, Newest, Scan, ScanRequest, ScanStatistics, TimeRange
from tsdb.model.time import NS_MIN
from tsdb.model.uniqueness import comparable, matched
from tsdb.storage.batches import Output, Piece
from tsdb.storage.block import BlockHeader, BlockReader
from tsdb.storage.cache import RunsCache
from tsdb.storage.changes import ChangesReader, KnownChanges
from tsdb.storage.field_bounds import within_bounds
from tsdb.storage.newest.groups import groups_of
from tsdb.storage.newest.scan import NewestInput, NewestScan
from tsdb.storage.newest.tails import TailsCache
from tsdb.storage.newest.waiting import Waiting
from tsdb.storage.overlap import Rectangle
from tsdb.storage.part import BlockPart, Part, RunPart
from tsdb.storage.rocks import Rocks
from tsdb.storage.rules import KeptRules
from tsdb.storage.scan import ScanInput, SeriesScan
from tsdb.storage.selection import Mask
from tsdb.storage.summaries.cache import SummaryCache
from tsdb.storage.summaries.read import SummaryReader
from tsdb.storage.summary_scan import SummaryScan
from tsdb.storage.tagsets import TagSetIndex, TagSets
from tsdb.storage.tombstone import AnyTombstone
from tsdb.storage.version import SeriesBlocks, Version
from tsdb.storage.visibility import Visibility
from tsdb.storage.within import scan_within

_NO_TAGSETS = TagSetIndex().snapshot()
_NO_BLOCKS = SeriesBlocks()
# So many rows of a head count as one part more of what a scan looks at.
HEAD_ROWS = 16_384


class StorageView:
    """One version of the data. Implements ``tsdb.model.store.View``."""

    def __init__(
        self, version: Version, moment: Moment, rocks: Rocks, cache: RunsCache, rules: KeptRules, tails: TailsCache,
        summaries: SummaryCache, known: KnownChanges,
    ) -> None:  # fmt: skip
        self.version = version
        self._moment: Moment | None = moment
        self._rocks = rocks
        self._cache = cache
        self._summaries = summaries
        self._rules = rules
        self._tails = tails
        self._known = known

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
        if request.within is not None:
            return scan_within(self.scan, request)
        tagsets = self.tagsets(request.series.number)
        output = Output(request, tagsets)
        wanted = tagsets.matching(request.tags) if request.tags and request.prune else None
        statistics = ScanStatistics()
        statistics.tagsets_total = tagsets.size
        statistics.tagsets_matched = statistics.tagsets_total if wanted is None else int(np.count_nonzero(wanted))
        if request.newest is not None and request.prune and request.newest.rows > 0:
            newest = self._newest_input(request, request.newest, wanted, statistics)
            prompt.reads(newest.blocks + statistics.rows_head // HEAD_ROWS)
            return NewestScan(request, request.newest, newest, statistics).start(output)
        source = self._input(request, wanted, statistics)
        prompt.reads(len(source.parts) + statistics.rows_head // HEAD_ROWS)
        scan = SeriesScan(request, source, statistics).start(output)
        if request.cells is None or request.bounds or not request.prune:
            return scan
        reader = SummaryReader(self._rocks, self._summaries)
        return replace(scan, cells=SummaryScan(request, source, reader, tagsets, statistics).cells())

    def knows(self, series: Series, tagsets: Sequence[bytes]) -> Mask:
        return self.tagsets(series.number).known(tagsets)

    def may_meet(self, request: ScanRequest, values: Sequence[pa.Array]) -> Mask:
        found = np.zeros(len(values[0]), np.bool_)
        for batch in self.scan(request).batches:
            theirs = comparable(request.series, request.columns[: len(values)], batch.columns[: len(values)])
            found |= matched(values, theirs) >= 0
        return found

    def progress(self, series: Series) -> Progress | None:
        return self.version.progress.get(series.number)

    def changes(self, series: Series, since: int, span: TimeRange, quantum_ns: int) -> Sequence[tuple[int, int]]:
        reader = ChangesReader(self.version, self._rocks, self._cache, self._known)
        return reader.changes(series.number, since, span, quantum_ns)

    def tombstones(self, series: int) -> Sequence[AnyTombstone]:
        return self.version.tombstones.get(series, ())

    def rows(self, series: Series, span: TimeRange, wanted: Mask, since: int = -1) -> Iterator[Piece]:
        """The tag set, time and sequence of the visible rows in ``span`` whose tag set is ``wanted``.

        Blocks and runs with nothing from after the counter ``since`` are left out.
        """
        request, statistics = ScanRequest(series, (TIME_NS, SEQUENCE), span), ScanStatistics()
        source = self._input(request, wanted, statistics, since)
        return SeriesScan(request, source, statistics, tagsets=True).pieces()

    def newer(self, series: Series, fields: tuple[int, ...], since: int) -> Iterator[Piece]:
        """The tag set, sequence and some fields of visible rows, at least those from after the counter ``since``.

        Of a row that was changed since, only what was written since may be there.
        """
        request, statistics = ScanRequest(series, (TIME_NS, SEQUENCE, *fields)), ScanStatistics()
        return SeriesScan(request, self._input(request, None, statistics, since), statistics, tagsets=True).pieces()

    def _input(
        self, request: ScanRequest, wanted: Mask | None, statistics: ScanStatistics, since: int = -1
    ) -> ScanInput:
        number, version = request.series.number, self.version
        series, low, high, visibility = self._rules_of(request)
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

    def _newest_input(
        self, request: ScanRequest, newest: Newest, wanted: Mask | None, statistics: ScanStatistics
    ) -> NewestInput:
        number, version = request.series.number, self.version
        _, low, high, visibility = self._rules_of(request)
        tagsets, blocks = self.tagsets(number), version.blocks.get(number, _NO_BLOCKS)
        if wanted is None:
            wanted = tagsets.present()
        chooser = _Chooser(low, high, wanted, statistics)
        chosen = chooser.places(blocks)
        runs = chooser.runs([RunPart(run) for run in version.runs(number)])
        waiting = Waiting(
            blocks, chosen, runs,
            lambda at: BlockPart(BlockReader(self._rocks, blocks.headers[at], self._cache), statistics),
            TimeRange(low, high),
            oldest=newest.oldest,
        )  # fmt: skip
        groups, total = groups_of(tagsets, newest.by)
        reach = self._tails.reaches.of(number, oldest=newest.oldest)
        return NewestInput(
            waiting, len(chosen), low, high, wanted, groups, total, visibility, self._tails, reach, blocks, self.moment,
            SummaryReader(self._rocks, self._summaries),
        )  # fmt: skip

    def _rules_of(self, request: ScanRequest) -> tuple[Series, int, int, Visibility]:
        """The series as it is now, the range above retention's floor, and what tombstones hide."""
        number = request.series.number
        found = self.version.catalog.series_by_number.get(number)
        database, series = (0, request.series) if found is None else (found[0].number, found[1])
        low, high = max(request.range.low, NS_MIN if series.floor_ns is None else series.floor_ns), request.range.high
        rules = self._rules.rules(series, self.tombstones(number), self.tagsets(number))
        return series, low, high, Visibility(database, series, rules)

    def close(self) -> None:
        """Let go of the version; scans that are still read keep it for themselves."""
        self._moment = None


class _Chooser:
    """Drops the parts that cannot hold a wanted row."""

    def __init__(self, low: int, high: int, wanted: Mask | None, statistics: ScanStatistics) -> None:
        self._low = low
        self._high = high
        self._statistics = statistics
        # Rising: a range of ids has a wanted one if two places in here differ.
        self._wanted = None if wanted is None else np.flatnonzero(wanted)

    def blocks(self, blocks: SeriesBlocks) -> list[BlockHeader]:
        return [blocks.headers[at] for at in self.places(blocks).tolist()]

    def places(self, blocks: SeriesBlocks) -> npt.NDArray[np.intp]:
        """The places in the index of the blocks that may hold a wanted row."""
        statistics, wanted = self._statistics, self._wanted
        statistics.blocks_total = len(blocks.headers)
        if self._low >= self._high:
            in_time = np.empty(0, np.intp)
        else:
            in_time = np.flatnonzero((blocks.min_time < self._high) & (blocks.max_time >= self._low))
        statistics.blocks_pruned_time = len(blocks.headers) - len(in_time)
        if wanted is None:
            return in_time
        first, last = blocks.min_tagset[in_time], blocks.max_tagset[in_time]
        with_tags = in_time[np.searchsorted(wanted, last, "right") > np.searchsorted(wanted, first)]
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
        wanted = self._wanted
        return wanted is None or bool(np.searchsorted(wanted, high, "right") > np.searchsorted(wanted, low))
