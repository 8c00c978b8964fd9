"""Views: open versions of the data, and the way from a scan request to a running scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb import prompt
from tsdb.model.continuous import Progress
from tsdb.model.ring import Intervals
from tsdb.model.schema import Catalog, Series
from tsdb.model.store import SEQUENCE, TIME_NS, Moment, Newest, Scan, ScanRequest, ScanStatistics, TimeRange
from tsdb.model.summaries import Groups
from tsdb.model.time import BUCKET_NS, NS_MIN
from tsdb.model.uniqueness import comparable, matched
from tsdb.storage.batches import Output, Piece
from tsdb.storage.block import BlockReader
from tsdb.storage.buckets import NONE, Buckets, buckets_of
from tsdb.storage.cache import RunsCache
from tsdb.storage.changes import ChangesReader, KnownChanges
from tsdb.storage.field_bounds import within_bounds
from tsdb.storage.head import Runs
from tsdb.storage.hot_groups.groups import hot_groups
from tsdb.storage.hot_groups.lines import LinesTables
from tsdb.storage.hot_groups.rows import hot_rows
from tsdb.storage.hot_groups.survey import HotInput
from tsdb.storage.load import Load, work_of
from tsdb.storage.newest.groups import groups_of
from tsdb.storage.newest.keeping import Keeping, KeptCache
from tsdb.storage.newest.kept import KeptRows
from tsdb.storage.newest.scan import NewestInput, NewestScan
from tsdb.storage.newest.tails import TailsCache
from tsdb.storage.newest.waiting import Waiting
from tsdb.storage.overlap import Rectangle
from tsdb.storage.part import BlockPart, RunPart
from tsdb.storage.rocks import Rocks
from tsdb.storage.rules import KeptRules, moved_by, rules_of
from tsdb.storage.scan import SeriesScan
from tsdb.storage.scan_input import ScanInput
from tsdb.storage.selection import Int64s, Mask
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
_NO_PLACES = np.empty(0, np.intp)
# So many rows of a head count as one part more of what a scan looks at.
HEAD_ROWS = 16_384
_NO_COLUMNS = pa.schema([])


class StorageView:
    """One version of the data. Implements ``tsdb.model.store.View``."""

    def __init__(
        self, version: Version, moment: Moment, rocks: Rocks, cache: RunsCache, rules: KeptRules, tails: TailsCache,
        summaries: SummaryCache, known: KnownChanges, lines: LinesTables, kept: KeptCache,
        load: Load,
    ) -> None:  # fmt: skip
        self.version = version
        self._moment: Moment | None = moment
        self._rocks = rocks
        self._cache = cache
        self._summaries = summaries
        self._rules = rules
        self._tails = tails
        self._known = known
        self._lines = lines
        self._kept = kept
        self._load = load
        self.before: Callable[[StorageView, Series, TimeRange, Intervals | None], None] | None = None
        """Told what is about to be read; it may refuse it, or renew the view."""

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
        self.tell(request.series, request.range, request.ring)
        if request.within is not None:
            return scan_within(self.scan, request)
        scan = self._scan(request)
        found = self.catalog.series_by_number.get(request.series.number)
        if found is not None:
            self._load.count(found[0].number, work_of(scan.statistics))
        return scan

    def _scan(self, request: ScanRequest) -> Scan:
        tagsets = self.tagsets(request.series.number)
        wanted = tagsets.matching(request.tags) if request.tags and request.prune else None
        statistics = ScanStatistics()
        statistics.tagsets_total = tagsets.size
        ids = None if wanted is None else wanted.nonzero()[0]
        statistics.tagsets_matched = statistics.tagsets_total if ids is None else len(ids)
        groups = self._groups(request, ids, statistics) if request.cells is not None else None
        if groups is not None:
            return Scan(_NO_COLUMNS, iter(()), statistics, groups=groups)
        output = Output(request, tagsets)
        if request.newest is not None and request.prune and request.newest.rows > 0:
            return self._newest(request, request.newest, wanted, statistics)
        few = self._few(request, ids, statistics)
        if few is not None:
            return Scan(output.schema, iter([output.batch(few, 0, few.rows)] if few.rows else ()), statistics)
        source = self._input(request, wanted, statistics)
        prompt.reads(len(source) + statistics.rows_head // HEAD_ROWS)
        scan = SeriesScan(request, source, statistics).start(output)
        if request.cells is None or request.bounds or not request.prune:
            return scan
        reader = SummaryReader(request.series.number, self._rocks, self._summaries)
        return replace(scan, cells=SummaryScan(request, source, reader, tagsets, statistics).cells())

    def _groups(self, request: ScanRequest, ids: Int64s | None, statistics: ScanStatistics) -> Groups | None:
        """All points of a scan for an aggregate, if they are few and lie in blocks, and no row has to be judged."""
        if request.bounds or not request.prune:
            return None
        source = self._hot_input(request, ids)
        return None if source is None else hot_groups(request, source, self._lines, statistics)

    def _few(self, request: ScanRequest, ids: Int64s | None, statistics: ScanStatistics) -> Piece | None:
        """All points of a scan, if they are few, under the same condition."""
        source = None if request.cells is not None or not request.prune else self._hot_input(request, ids)
        return None if source is None else hot_rows(request, source, self._lines, statistics)

    def _hot_input(self, request: ScanRequest, ids: Int64s | None) -> HotInput | None:
        """None where rows have to be judged one by one, or there are none."""
        number, version = request.series.number, self.version
        low, high = max(request.range.low, self._floor(number)), request.range.high
        if low >= high or self._stones(request):
            return None
        blocks, runs = version.blocks.get(number, _NO_BLOCKS), version.runs(number)
        return HotInput(
            blocks, runs, request.series.keyed, low, high, self.tagsets(number), ids, self._rocks, self._cache,
            self._buckets(request),
        )  # fmt: skip

    def _buckets(self, request: ScanRequest) -> Buckets | None:
        """Those whose rows are wanted; None: all."""
        if request.ring is None:
            return None
        found = self.version.catalog.series_by_number.get(request.series.number)
        if found is None:
            return buckets_of(0, request.series.number, request.ring)
        return buckets_of(found[0].number, found[1].number, request.ring, found[1].slots)

    def _stones(self, request: ScanRequest) -> Sequence[AnyTombstone]:
        """The tombstones of a scan's series; none where they are all of other parts of the ring than it wants."""
        stones, ring = self.tombstones(request.series.number), request.ring
        if ring is None or any(each.low < high and low < each.high for each in stones for low, high in ring):
            return stones
        return stones if stones and self._may_have_moved(request.series.number) else ()

    def _may_have_moved(self, number: int) -> bool:
        """Whether rows that tombstones have hidden by the place that they had before slots may be there still."""
        version = self.version
        found, blocks = version.catalog.series_by_number.get(number), version.blocks.get(number, _NO_BLOCKS)
        for each in () if found is None else moved_by(found[1]):
            low = each.from_bucket * BUCKET_NS
            if any(run.max_time >= low and run.min_counter <= each.counter for run in version.runs(number)):
                return True
            if bool(((blocks.max_time >= low) & (blocks.low_counter <= each.counter)).any()):
                return True
        return False

    def _floor(self, number: int) -> int:
        """Retention's, by which the series' older points are gone."""
        found = self.version.catalog.series_by_number.get(number)
        return NS_MIN if found is None or found[1].floor_ns is None else found[1].floor_ns

    def renew(self, newer: StorageView) -> None:
        """Show what another view shows, which is closed. Of what this one showed nothing was read yet."""
        self.version, self._moment = newer.version, newer.moment
        newer.close()

    def tell(self, series: Series, span: TimeRange, ring: Intervals | None = None) -> None:
        """This is about to be read, in these intervals or on all of the ring: whoever knows more than the view may
        refuse it, or renew the view."""
        if self.before is not None:
            self.before(self, series, span, ring)

    def knows(self, series: Series, tagsets: Sequence[bytes]) -> Mask:
        self.tell(series, TimeRange())
        return self.tagsets(series.number).known(tagsets)

    def may_meet(self, request: ScanRequest, values: Sequence[pa.Array]) -> Mask:
        found = np.zeros(len(values[0]), np.bool_)
        for batch in self.scan(request).batches:
            theirs = comparable(request.series, request.columns[: len(values)], batch.columns[: len(values)])
            found |= matched(values, theirs) >= 0
        return found

    def progress(self, series: Series, ring: Intervals | None = None) -> Progress | None:
        """``ring``: where it is asked for; None: on all of it."""
        # What is found by it later must be of the same version.
        self.tell(series, TimeRange(), ring)
        return self.version.progress.get(series.number)

    def changes(
        self, series: Series, since: int, span: TimeRange, quantum_ns: int, ring: Intervals | None = None
    ) -> Sequence[tuple[int, int]]:
        """In these intervals of the ring; what else this store has may be among them."""
        self.tell(series, span, ring)
        reader = ChangesReader(self.version, self._rocks, self._cache, self._known)
        return reader.changes(series.number, since, span, quantum_ns, ring)

    def tombstones(self, series: int) -> Sequence[AnyTombstone]:
        return self.version.tombstones.get(series, ())

    def rows(self, series: Series, span: TimeRange, wanted: Mask, since: int = -1) -> Iterator[Piece]:
        """The tag set, time and sequence of the visible rows in ``span`` whose tag set is ``wanted``.

        Blocks and runs with nothing from after the counter ``since`` are left out.
        """
        request, statistics = ScanRequest(series, (TIME_NS, SEQUENCE), span), ScanStatistics()
        source = self._input(request, wanted, statistics, since)
        return SeriesScan(request, source, statistics, tagsets=True).pieces()

    def pieces(self, request: ScanRequest) -> Iterator[Piece]:
        """All visible rows of a series, with their tag sets."""
        statistics = ScanStatistics()
        return SeriesScan(request, self._input(request, None, statistics), statistics, tagsets=True).pieces()

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
        blocks = version.blocks.get(number, _NO_BLOCKS)
        buckets = self._buckets(request)
        chosen = _Chooser(low, high, wanted, statistics, buckets)
        places = chosen.places(blocks)
        if since >= 0:
            places = places[blocks.high_counter[places] > since]
        runs = chosen.runs([RunPart(run) for run in version.runs(number) if run.max_counter > since])
        if request.bounds and request.prune and len(places):
            headers = [blocks.headers[at] for at in places.tolist()]
            within = within_bounds(series, request.bounds, headers, [run.rectangle for run in runs])
            statistics.blocks_pruned_fields = len(places) - int(np.count_nonzero(within))
            places = places[within]
        open_block = self._opener(blocks, statistics)
        return ScanInput(blocks, places, runs, open_block, low, high, wanted, visibility, self.moment, buckets)

    def _opener(self, blocks: SeriesBlocks, statistics: ScanStatistics) -> Callable[[int], BlockPart]:
        """Opens the block at a place of the index."""
        return lambda at: BlockPart(BlockReader(self._rocks, blocks.headers[at], self._cache), statistics)

    def _newest(
        self, request: ScanRequest, newest: Newest, wanted: Mask | None, statistics: ScanStatistics
    ) -> Scan:  # fmt: skip
        """A scan of newest rows, of kept ones if it is of all tag sets and nothing is hidden."""
        number, tagsets = request.series.number, self.tagsets(request.series.number)
        blocks, runs = self.version.blocks.get(number, _NO_BLOCKS), self.version.runs(number)

        def inputs(request: ScanRequest, kept: KeptRows | None, head: bool) -> NewestInput:
            source = self._newest_input(request, newest, wanted, statistics, blocks, runs if head else (), kept)
            prompt.reads(source.blocks + statistics.rows_head // HEAD_ROWS)
            return source

        if wanted is None and not self._stones(request) and Keeping.fits(request, newest, blocks, runs, tagsets):
            low = max(request.range.low, self._floor(number))
            return Keeping(request, newest, blocks, runs, low, tagsets, self._kept).scan(inputs, statistics)
        return NewestScan(request, newest, inputs(request, None, True), statistics).start(Output(request, tagsets))

    def _newest_input(
        self, request: ScanRequest, newest: Newest, wanted: Mask | None, statistics: ScanStatistics,
        blocks: SeriesBlocks, runs: Runs, kept: KeptRows | None,
    ) -> NewestInput:  # fmt: skip
        number = request.series.number
        _, low, high, visibility = self._rules_of(request)
        tagsets = self.tagsets(number)
        if wanted is None:
            wanted = tagsets.present()
        buckets = self._buckets(request)
        chooser = _Chooser(low, high, wanted, statistics, buckets)
        chosen = chooser.places(blocks) if kept is None else _NO_PLACES
        parts = chooser.runs([RunPart(run) for run in runs])
        waiting = Waiting(
            blocks, chosen, parts, self._opener(blocks, statistics), TimeRange(low, high), oldest=newest.oldest
        )
        groups, total = groups_of(tagsets, newest.by)
        reach = self._tails.reaches.of(number, oldest=newest.oldest)
        return NewestInput(
            waiting, len(chosen), low, high, wanted, groups, total, visibility, self._tails, reach, blocks, self.moment,
            SummaryReader(number, self._rocks, self._summaries), kept, buckets,
        )  # fmt: skip

    def _rules_of(self, request: ScanRequest) -> tuple[Series, int, int, Visibility]:
        """The series as it is now, the range above retention's floor, and what tombstones hide."""
        number = request.series.number
        found = self.version.catalog.series_by_number.get(number)
        database, series = (0, request.series) if found is None else (found[0].number, found[1])
        low, high = max(request.range.low, NS_MIN if series.floor_ns is None else series.floor_ns), request.range.high
        stones, every = self._stones(request), self.tombstones(number)
        # What is kept stays for scans of more.
        rules = (self._rules.rules if stones is every else rules_of)(series, stones, self.tagsets(number))
        return series, low, high, Visibility(database, series, rules)

    def close(self) -> None:
        """Let go of the version; scans that are still read keep it for themselves."""
        self._moment = None


class _Chooser:
    """Drops the parts that cannot hold a wanted row."""

    def __init__(
        self, low: int, high: int, wanted: Mask | None, statistics: ScanStatistics, buckets: Buckets | None
    ) -> None:
        self._low = low
        self._high = high
        self._statistics = statistics
        self._buckets = buckets
        # Rising: a range of ids has a wanted one if two places in here differ.
        self._wanted = None if wanted is None else np.flatnonzero(wanted)

    def places(self, blocks: SeriesBlocks) -> npt.NDArray[np.intp]:
        """The places in the index of the blocks that may hold a wanted row."""
        statistics, wanted = self._statistics, self._wanted
        statistics.blocks_total = len(blocks.headers)
        if self._low >= self._high:
            in_time = np.empty(0, np.intp)
        else:
            in_time = np.flatnonzero((blocks.min_time < self._high) & (blocks.max_time >= self._low))
            if self._buckets is not None:
                first = np.maximum(blocks.min_time[in_time], self._low)
                last = np.minimum(blocks.max_time[in_time], self._high - 1)
                in_time = in_time[self._buckets.stretches(first, last) != NONE]
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
