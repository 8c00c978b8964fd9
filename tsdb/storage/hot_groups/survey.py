"""Which blocks and runs of the head have rows that are wanted, and the table of their lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb import prompt
from tsdb.model.store import ScanStatistics
from tsdb.model.time import BUCKET_NS
from tsdb.storage.buckets import Buckets
from tsdb.storage.cache import RunsCache
from tsdb.storage.head import Run
from tsdb.storage.hot_groups import kernels
from tsdb.storage.hot_groups.lines import Lines, lines_of_run
from tsdb.storage.rocks import Rocks
from tsdb.storage.tagsets import TagSets
from tsdb.storage.version import SeriesBlocks

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

BLOCKS_MAX = 512
# Of a week, where not all are wanted.
BUCKETS_MAX = 2048
# More rows of a head count as one part more of what is looked at.
HEAD_ROWS = 16_384
# Row runs that are compared to find out whether two have times in common.
COMPARED_MAX = 1 << 20
_NO_IDS: Int32s = np.empty(0, np.int32)
_ALL_SECONDS = np.empty(0, np.bool_)


@dataclass(frozen=True, slots=True)
class HotInput:
    """What is read: the blocks of a series and ``runs`` of its heads of which no row is hidden, [``low``, ``high``)
    above retention's floor, the ids of the ``wanted`` tag sets, rising (None: all), and the ``buckets`` whose rows are
    wanted (None: all)."""

    blocks: SeriesBlocks
    runs: Sequence[Run]
    keyed: bool
    low: int
    high: int
    tagsets: TagSets
    wanted: Int64s | None
    rocks: Rocks
    cache: RunsCache
    buckets: Buckets | None

    @property
    def ids(self) -> Int32s:
        return _NO_IDS if self.wanted is None else self.wanted.astype(np.int32)


@dataclass(frozen=True, slots=True)
class Surveyed:
    """Lines and bounds of the parts at ``places`` of both; the ``first`` and ``last`` time of what may be wanted of
    them, if there are any parts; and what a scan of them counts."""

    table: Int64s
    bounds: Int64s
    places: Int64s
    first: int
    last: int
    counts: ScanStatistics

    def spans(self, source: HotInput) -> Sequence[tuple[int, int, Mask]] | None:
        """The ranges of time in which rows are wanted, and which of a range's seconds are, empty where all are; None
        where they may be too many."""
        buckets, low, high = source.buckets, self.first, self.last + 1
        if buckets is None:
            return [(source.low, source.high, _ALL_SECONDS)]
        if not len(self.places):
            return []
        if (high - low) // BUCKET_NS < BUCKETS_MAX and buckets.are_cut(low, high):
            return [(low, high, buckets.seconds(low, high))]
        found = buckets.spans(low, high, BUCKETS_MAX)
        return None if found is None else [(*span, _ALL_SECONDS) for span in found]

    def begin(self) -> None:
        """Say that they are going to be read. Raises MayWait."""
        prompt.reads(len(self.places) + self.counts.rows_head // HEAD_ROWS)

    def tell(self, statistics: ScanStatistics, rows: int) -> None:
        """Say that they were read."""
        counts = self.counts
        statistics.blocks_total, statistics.blocks_read = counts.blocks_total, counts.blocks_read
        statistics.blocks_pruned_time = counts.blocks_pruned_time
        statistics.blocks_pruned_tags = counts.blocks_pruned_tags
        statistics.blocks_pruned_fields = counts.blocks_pruned_fields
        statistics.rows_head = counts.rows_head
        statistics.rows_read = statistics.rows_returned = rows


def survey(
    source: HotInput, lines: Lines, ids: Int32s, rows_max: int, within: Callable[[Int64s], Int64s] | None = None
) -> Surveyed | None:  # fmt: skip
    """None where rows have to be judged one by one, or about more than ``rows_max`` are wanted.

    ``within`` leaves out blocks of which no row is wanted."""
    blocks = source.blocks
    places, told = _chosen(source, blocks.bounds, lines.known, lines.unfit, ids)
    if told[kernels.UNFIT]:
        return None
    rows, first, last = int(told[kernels.ROWS]), int(told[kernels.FIRST]), int(told[kernels.LAST])
    runs: list[Run] = []
    tables: list[Int64s] = []
    if source.runs:
        bounds = np.array([run.bounds for run in source.runs], np.int64)
        yes, no = np.ones(len(bounds), np.bool_), np.zeros(len(bounds), np.bool_)
        chosen, said = _chosen(source, bounds, yes, no, ids)
        if said[kernels.UNFIT]:
            return None
        rows += int(said[kernels.ROWS])
        first, last = min(first, int(said[kernels.FIRST])), max(last, int(said[kernels.LAST]))
        runs = [source.runs[at] for at in chosen.tolist()]
        for run in runs:
            table = lines_of_run(run, lines.numbers)
            if table is None:
                return None
            tables.append(table)
    if rows > rows_max:
        return None
    if within is not None and len(places):
        places = within(places)
    if not _learned(lines, places, source):
        return None
    counts = ScanStatistics(
        blocks_total=len(blocks.headers),
        blocks_pruned_time=len(blocks.headers) - int(told[kernels.IN_TIME]),
        blocks_pruned_tags=int(told[kernels.IN_TIME] - told[kernels.CHOSEN]),
        blocks_pruned_fields=int(told[kernels.CHOSEN]) - len(places),
        blocks_read=len(places),
        rows_head=sum(len(run.rows) for run in runs),
    )
    if runs:
        table = np.concatenate((lines.table[places], tables))
        bounds = np.concatenate((blocks.bounds[places], bounds[chosen]))
        places = np.arange(len(table))
    else:
        table, bounds = lines.table, blocks.bounds
    found = Surveyed(table, bounds, places, first, last, counts)
    return None if source.keyed and _clash(found, source, ids) else found


def _chosen(
    source: HotInput, bounds: Int64s, known: npt.NDArray[np.bool_], unfit: npt.NDArray[np.bool_], ids: Int32s
) -> tuple[Int64s, Int64s]:
    """(the chosen parts' places, what ``kernels.survey`` told)."""
    places, told = np.empty(BLOCKS_MAX, np.int64), np.empty(kernels.TOLD, np.int64)
    kernels.survey(
        bounds, known, unfit, source.low, source.high, ids, source.wanted is None, source.keyed, places, told
    )  # fmt: skip
    return places[: told[kernels.CHOSEN]], told


def _learned(lines: Lines, places: Int64s, source: HotInput) -> bool:
    """Whether the lines of all blocks are known now."""
    known = lines.known[places]
    if known.all():
        return True
    missing = places[~known].tolist()
    prompt.reads(len(missing))
    return all(lines.learn(place, source.rocks, source.cache) for place in missing)


def _clash(found: Surveyed, source: HotInput, ids: Int32s) -> bool:
    """May a key have versions in two parts?"""
    if not kernels.meet(found.bounds, found.places):
        return False
    if source.wanted is None and source.tagsets.count * len(found.places) > COMPARED_MAX:
        return True
    at, firsts, lasts = (np.zeros(len(found.places) + 1, np.int64) for _ in range(3))
    return kernels.clash(
        found.table, found.places, ids, source.tagsets.count, source.wanted is None, at, firsts, lasts
    )  # fmt: skip
