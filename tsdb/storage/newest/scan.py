"""The scan of the newest (oldest) rows of each group, as it runs: best parts first, until the rest cannot matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.schema import Role
from tsdb.model.store import SEQUENCE, Moment, Newest, Scan, ScanRequest, ScanStatistics
from tsdb.model.time import NS_PER_US
from tsdb.storage.batches import Output, Piece
from tsdb.storage.buckets import ALL, Buckets
from tsdb.storage.merge import merge_versions, sort, sort_order
from tsdb.storage.newest.found import Found, fetch
from tsdb.storage.newest.from_summaries import fill
from tsdb.storage.newest.joined import JOINED_MIN, JoinedTails
from tsdb.storage.newest.kept import KeptRows
from tsdb.storage.newest.pool import Pool
from tsdb.storage.newest.ranges import ends
from tsdb.storage.newest.reach import Reach
from tsdb.storage.newest.tails import BlockTails, TailsCache, TailsOf
from tsdb.storage.newest.waiting import LAST, Waiting
from tsdb.storage.overlap import Rectangle
from tsdb.storage.part import BlockPart, Part
from tsdb.storage.rows import Rows
from tsdb.storage.selection import Mask, Selection, in_time, layout_of, narrow, of_tagsets
from tsdb.storage.summaries.read import SummaryReader
from tsdb.storage.version import SeriesBlocks
from tsdb.storage.visibility import Visibility

Int64s = npt.NDArray[np.int64]

BATCH_ROWS = 128 * 1024
_NO_ROWS = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class NewestInput:
    """What is read: parts not yet looked at, in range [``low``, ``high``) and of ``wanted`` tag sets (a mask over ids).

    ``blocks`` of them are on disk; ``index`` has all there are, and ``reach`` knows some. ``groups`` is the group of
    each tag set, a number below ``groups_total``. ``moment`` is held, as in ``ScanInput``. ``kept`` are rows of the
    blocks in range that were found before; then no block waits. ``buckets`` are those whose rows are wanted, None: all.
    """

    waiting: Waiting
    blocks: int
    low: int
    high: int
    wanted: Mask
    groups: Int64s
    groups_total: int
    visibility: Visibility
    tails: TailsCache
    reach: Reach
    index: SeriesBlocks
    moment: Moment
    summaries: SummaryReader
    kept: KeptRows | None = None
    buckets: Buckets | None = None


class NewestScan:
    """One scan as it runs."""

    def __init__(self, request: ScanRequest, newest: Newest, source: NewestInput, statistics: ScanStatistics) -> None:
        self._newest = newest
        self._source = source
        self._statistics = statistics
        columns = [request.series.by_number[c] for c in request.columns if isinstance(c, int)]
        self._fields = [c for c in columns if c.role is Role.FIELD]
        self._has_sequences = SEQUENCE in request.columns
        self._keyed = request.series.keyed
        self._open: Mask = np.ones(source.groups_total, np.bool_)
        self._pool = Pool(newest, self._keyed, source.groups, source.groups_total)
        self._steps = 0

    def start(self, output: Output) -> Scan:
        return Scan(output.schema, self._batches(output), self._statistics)

    def _batches(self, output: Output) -> Iterator[pa.RecordBatch]:
        for piece in self.pieces():
            for start in range(0, piece.rows, BATCH_ROWS):
                batch = output.batch(piece, start, min(BATCH_ROWS, piece.rows - start))
                self._statistics.rows_returned += batch.num_rows
                yield batch

    def pieces(self) -> Iterator[Piece]:
        """The rows that matter, in no order."""
        source, pool = self._source, self._pool
        waiting = source.waiting
        if source.kept is not None:
            pool.add([source.kept.found(source.low)])
        while True:
            wanted = source.wanted if self._open.all() else source.wanted & self._open[source.groups]
            waiting.drop_closed(np.concatenate(([0], np.cumsum(wanted))))
            waiting.drop_known(source.reach.known(source.index), source.reach.best(wanted))
            if not len(waiting):
                break
            pool.add(self._look_at(self._next(), wanted))
            settled = pool.settled(waiting.rank) & self._open
            if settled.any():
                if int(pool.worst[settled].max()) >= waiting.rank:
                    self._complete(wanted)
                self._open &= ~settled
                yield from self._piece(settled)
        self._statistics.blocks_older += source.blocks - self._statistics.blocks_read
        yield from self._piece(np.ones(source.groups_total, np.bool_))

    def _next(self) -> list[Part]:
        waiting = self._source.waiting
        if self._newest.by:
            return waiting.together()
        self._steps += 1
        return waiting.next(1 << (self._steps - 1))

    def _complete(self, wanted: Mask) -> None:
        """Look for versions of rows that count in parts that have rows as new as these; without ties it may be so."""
        waiting = self._source.waiting
        while self._keyed and len(self._pool):
            parts = waiting.overlapping(self._pool.bounds())
            if not parts:
                break
            self._pool.add(self._look_at(parts, wanted))

    # --- parts ---

    def _look_at(self, parts: Sequence[Part], wanted: Mask) -> list[Found]:
        """The rows of parts that may count, as far as each part can say."""
        told = [part for part in parts if isinstance(part, BlockPart) and self._tails_tell(part)]
        if len(told) < JOINED_MIN or not wanted.all():
            return [self._look(part, wanted) for part in parts]
        own = {id(part) for part in told}
        found = [self._look(part, wanted) for part in parts if id(part) not in own]
        for part in told:
            self._learn(part)
            part.visited()
        joined = JoinedTails([self._tails(part) for part in told], self._source.tails, self._source.summaries)
        return [*found, self._of_tails(joined, wanted)]

    def _tails_tell(self, part: BlockPart) -> bool:
        """Whether a block's tails are all that it can say: no tombstone hides one, and none is out of range."""
        source, bounds = self._source, part.rectangle
        touched = source.visibility.touches(part, source.low, source.high)
        return self._newest.rows == 1 and self._has_ends(bounds) and not touched and self._all_wanted(bounds)

    def _has_ends(self, bounds: Rectangle) -> bool:
        """Whether the ends of a part's row runs are all in range, if anything of them is."""
        source = self._source
        return bounds.min_time >= source.low if self._newest.oldest else bounds.max_time < source.high

    def _all_wanted(self, bounds: Rectangle) -> bool:
        """Whether all buckets of a part are wanted."""
        buckets = self._source.buckets
        return buckets is None or buckets.stretch(bounds.min_time, bounds.max_time) == ALL

    def _tails(self, part: BlockPart) -> BlockTails:
        return BlockTails(part, self._source.tails, oldest=self._newest.oldest, keyed=self._keyed)

    def _look(self, part: Part, wanted: Mask) -> Found:
        source, bounds = self._source, part.rectangle
        if isinstance(part, BlockPart):
            self._learn(part)
            if self._tails_tell(part):
                part.visited()
                return self._of_tails(self._tails(part), wanted)
        touched = source.visibility.touches(part, source.low, source.high)
        selection = of_tagsets(part.layout(), wanted)
        if not selection.rows:
            return Found(part, selection.tagsets, _NO_ROWS, _NO_ROWS)
        has_ends = self._has_ends(bounds) and (self._newest.rows == 1 or source.buckets is None)
        if part.divisible and not touched and self._newest.by and has_ends:
            return self._ends_of_run(part, selection)
        part.fetch((), times=True, sequences=touched)
        times = part.times(selection.spans)
        low, high = self._limits()
        if low > bounds.min_time or bounds.max_time >= high:
            selection, inside = in_time(selection, times, low, high)
            times = inside.take(times)
        if source.buckets is not None and selection.rows:
            selection, inside = narrow(selection, source.buckets.keep(times))
            times = inside.take(times)
        self._statistics.rows_read += selection.rows
        made = self._ends(part, selection, times, touched=touched)
        part.release()
        return made

    def _learn(self, part: BlockPart) -> None:
        header, reach = part.header, self._source.reach
        if not reach.knows(header.block_id):
            rank = header.min_time // NS_PER_US if self._newest.oldest else -(header.max_time // NS_PER_US)
            reach.learn(header.block_id, part.layout().ids, rank)

    def _limits(self) -> tuple[int, int]:
        """The times that matter: of one group, not beyond the worst row that counts."""
        source, worst = self._source, int(self._pool.worst[0])
        if self._newest.by or worst == LAST:
            return source.low, source.high
        if self._newest.oldest:
            return source.low, min(source.high, (worst + 1) * NS_PER_US)
        return max(source.low, -worst * NS_PER_US), source.high

    def _of_tails(self, tails: TailsOf, wanted: Mask) -> Found:
        source = self._source
        ends = tails.rows()
        chosen = (ends.times >= source.low) & (ends.times < source.high) & (ends.tagset < len(wanted))
        chosen[chosen] = wanted[ends.tagset[chosen]]
        rows = np.flatnonzero(chosen)
        self._statistics.rows_read += len(rows)
        return Found(tails, ends.tagset[rows], ends.times[rows], rows)

    def _ends_of_run(self, part: Part, selection: Selection) -> Found:
        """Of selected rows of a head's run, which are in memory, those that may count: no others are looked at."""
        source, times = self._source, part.times()
        if source.buckets is not None:
            # Rows as new as the newest one, by µs, are in its bucket.
            selection = source.buckets.trimmed(selection, times, oldest=self._newest.oldest)
        found = ends(selection, times, self._newest.rows, oldest=self._newest.oldest, keyed=self._keyed)
        rows = found.index()
        self._statistics.rows_read += len(rows)
        own, tagset = times[rows], found.tagset_column()
        inside = (own >= source.low) & (own < source.high)
        if not inside.all():
            rows, tagset, own = rows[inside], tagset[inside], own[inside]
        return Found(part, tagset, own, rows)

    def _ends(self, part: Part, selection: Selection, times: Int64s, *, touched: bool) -> Found:
        """Of the selected rows with these times those that may count, without what tombstones hide."""
        rows, tagset = selection.index(), selection.tagset_column()
        if touched and len(rows):
            hidden = self._source.visibility.hidden(tagset, times, part.sequences(selection.spans))
            if hidden is not None:
                rows, tagset, times = rows[~hidden], tagset[~hidden], times[~hidden]
        layout = layout_of(tagset)
        left = Selection(layout.offsets[:-1], layout.offsets[1:], layout.ids, len(rows))
        chosen = ends(left, times, self._newest.rows, oldest=self._newest.oldest, keyed=self._keyed).index()
        return Found(part, tagset[chosen], times[chosen], rows[chosen])

    # --- on the way out ---

    def _piece(self, groups: Mask) -> Iterator[Piece]:
        """The rows of these groups, versions merged."""
        source, row, tagset, times = self._pool.take(groups)
        if not len(row):
            return
        merges = self._keyed and _repeats(tagset, times)
        chosen = [each for at in np.unique(source).tolist() if isinstance(each := self._pool.sources[at], BlockTails)]
        fill(chosen, self._fields, self._source.summaries)
        fetched = fetch(self._pool.sources, source, row, self._fields, sequences=merges or self._has_sequences)
        if not merges:
            yield Piece(len(row), tagset, times, fetched.sequences, fetched.columns)
            return
        assert fetched.sequences is not None
        ordered, unique = sort(Rows(tagset, times, fetched.sequences, fetched.columns))
        self._statistics.merged_rows += len(ordered)
        rows = ordered if unique else merge_versions(ordered)
        yield Piece(len(rows), rows.tagset, rows.times, rows.sequences, rows.columns)


def _repeats(tagset: npt.NDArray[np.int32], times: Int64s) -> bool:
    """Has a key several rows?"""
    return not sort_order(tagset, times, np.zeros(len(times), np.int64))[1]
