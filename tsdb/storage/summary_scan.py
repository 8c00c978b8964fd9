"""The summary cells of a scan for an aggregate: which blocks' cells may stand for their points, and their statistics.

A cell is used when

- all its rows are wanted (in the scan's range, above retention's floor, of a wanted tag set, in buckets that hash into
  the wanted intervals of the ring) and in one bucket of the query,
- no tombstone may hide one of them, and
- in a keyed series no row of its tag set in another block or in the head has a time between its first and its last:
  then none of its rows has a version elsewhere. (A block with several versions of a key is not used.)

The rows of the used cells are left out of the scan's parts; a part without another row is not read at all.

A cell of which only a few rows are outside the scan's range or in it is used, too, where nothing but sums is wanted:
then those few are read and taken back (``cut_cells``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.schema import Role
from tsdb.model.store import ScanRequest, ScanStatistics
from tsdb.model.summaries import COUNT, CellRequest, SummaryCells
from tsdb.model.time import BUCKET_NS, NS_PER_SECOND, WINDOW_NS
from tsdb.storage.buckets import NONE, SOME, Buckets
from tsdb.storage.cut_cells import CutBlock, cut_blocks, taken_back
from tsdb.storage.overlap import overlapping, overlaps
from tsdb.storage.part import BlockPart, Part, stored_numbers
from tsdb.storage.scan_input import Places, ScanInput
from tsdb.storage.selection import select
from tsdb.storage.summaries import choose
from tsdb.storage.summaries.encode import KINDS
from tsdb.storage.summaries.layout import FIRST_TIME, LAST_TIME, ROWS, TAGSET, layout_of
from tsdb.storage.summaries.read import Blocks, SummaryReader
from tsdb.storage.tagsets import TagSets

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_NONE = np.empty(0, np.int64)
# Blocks whose cells are looked at together: bounds the memory.
CHUNK_BLOCKS = 1024


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The used cells of some blocks, which are at ``places`` of the index. ``counts``: the cells of each block;
    ``used``: which of all of them; ``other``: those that need not be read, used or not wanted."""

    places: Places
    layout: Int64s
    counts: Int64s
    used: Int64s
    other: Int64s


class SummaryScan:
    """Runs before the rest of a scan: read ``cells`` to the end, then scan what is left of the source."""

    def __init__(
        self, request: ScanRequest, source: ScanInput, reader: SummaryReader, tagsets: TagSets,
        statistics: ScanStatistics,
    ) -> None:  # fmt: skip
        assert request.cells is not None
        self._request = request
        self._wish: CellRequest = request.cells
        self._source = source
        self._reader = reader
        self._tagsets = tagsets
        self._statistics = statistics
        self._tags = [c for c in request.columns if isinstance(c, int) and request.series.by_number[c].role is Role.TAG]
        self._fields = [request.series.by_number[number] for number in self._wish.statistics]
        self._summed = all(column.kind in KINDS for column in self._fields)
        # The numbers that columns had before an ALTER TYPE.
        self._former = [number for column in self._fields for number in stored_numbers(column)[1:]]
        self._cut: list[CutBlock] = []

    def cells(self) -> Iterator[SummaryCells]:
        places = self._source.places
        usable = self._usable(places)
        alone = self._alone(places)
        chosen = places[usable & alone]
        for start in range(0, len(chosen), CHUNK_BLOCKS):
            yield from self._of(chosen[start : start + CHUNK_BLOCKS], None)
        together = places[usable & ~alone]
        if len(together):
            yield from self._of_overlapping(together, places[~usable & ~alone])

    def _usable(self, places: Places) -> Mask:
        """Which blocks have summaries that may say what is asked."""
        index, width = self._source.index, self._wish.width_ns
        span = index.summary_span[places]
        usable: Mask = span > 0 if self._summed else np.zeros(len(places), np.bool_)
        if self._request.series.keyed:
            usable &= index.unique[places] > 0
        if width is not None:
            usable &= width >= np.minimum(span * NS_PER_SECOND, index.max_time[places] - index.min_time[places])
        if self._former:
            headers = [index.headers[place].columns for place in places.tolist()]
            usable &= np.array([not any(number in columns for number in self._former) for columns in headers], np.bool_)
        return usable

    def _alone(self, places: Places) -> Mask:
        """Which blocks overlap no other one of the index, and no run of a head; without a key it does not matter."""
        if not self._request.series.keyed:
            return np.ones(len(places), np.bool_)
        index = self._source.index
        alone = index.alone[places]
        if self._source.runs:
            bounds = (each[places] for each in (index.min_time, index.max_time, index.min_tagset, index.max_tagset))
            alone &= ~overlapping([run.rectangle for run in self._source.runs], *bounds)
        return alone

    def _of_overlapping(self, together: Places, rest: Places) -> Iterator[SummaryCells]:
        """The used cells of blocks that may overlap each other, those of the ``rest`` and runs."""
        source = self._source
        candidates = source.blocks(together)
        others: list[Part] = [*source.blocks(rest), *source.runs]
        clashing = _overlapping(others, candidates)
        alone = np.array([id(part) not in clashing for part in candidates], np.bool_)
        if alone.any():
            yield from self._of(together[alone], None)
        if not alone.all():
            yield from self._of(together[~alone], [part for part in others if id(part) in clashing])

    def _of(self, places: Places, others: Sequence[Part] | None) -> Iterator[SummaryCells]:
        """The used cells of blocks. They overlap with ``others`` and each other; None: nothing overlaps with them."""
        chosen = _without_unused(self._choose(places, others))
        if len(chosen.used):
            self._statistics.cells_used += len(chosen.used)
            self._statistics.rows_in_cells += int(chosen.layout[ROWS, chosen.used].sum())
            yield self._made(chosen)
        cut, self._cut = self._cut, []
        for cells in taken_back(cut, self._source, self._request.series, self._fields, self._statistics):
            self._statistics.rows_in_cells -= len(cells)
            tags = [self._tagsets.dictionary(number, cells.tagset) for number in self._tags]
            yield SummaryCells(tags, cells.times, cells.times, np.full(len(cells), -1, np.int64), cells.fields)

    def _choose(self, places: Places, others: Sequence[Part] | None) -> _Chosen:
        source, wish, index = self._source, self._wish, self._source.index
        layout, counts = self._reader.layouts(Blocks.at(index, places))
        found = choose.judge(
            layout, source.low, source.high, source.wanted, wish.width_ns, wish.origin_ns, cuts=wish.only_sums
        )
        starts = np.concatenate(([0], np.cumsum(counts)))
        if source.visibility:
            for at, part in enumerate(source.blocks(places)):
                if source.visibility.touches(part, source.low, source.high):
                    cells = slice(int(starts[at]), int(starts[at + 1]))
                    hidden = source.visibility.may_hide(
                        layout[TAGSET, cells], layout[FIRST_TIME, cells], layout[LAST_TIME, cells], part.min_counter
                    )
                    found[cells][hidden & (found[cells] != choose.NOT_WANTED)] = choose.READ
        if source.buckets is not None:
            self._restrict(layout, found, source.buckets)
        if others is not None:
            found[_clashing(layout, others) & (found != choose.NOT_WANTED)] = choose.READ
        cut = found == choose.CUT
        used, other = np.flatnonzero(cut | (found == choose.USABLE)), np.flatnonzero(found != choose.READ)
        chosen = _Chosen(places, layout, counts, used, other)
        if cut.any():
            self._cut += cut_blocks(places, layout, counts, cut)
        self._leave_out(chosen)
        return chosen

    def _restrict(self, layout: Int64s, found: npt.NDArray[np.int8], buckets: Buckets) -> None:
        """Judge cells by the buckets that they are in, of which not all are wanted."""
        cells = np.flatnonzero(found != choose.NOT_WANTED)
        first = np.maximum(layout[FIRST_TIME, cells], self._source.low)
        last = np.minimum(layout[LAST_TIME, cells], self._source.high - 1)
        has = buckets.stretches(first, last)
        found[cells[has == NONE]] = choose.NOT_WANTED
        found[cells[has == SOME]] = choose.READ

    def _leave_out(self, chosen: _Chosen) -> None:
        """Parts that nothing is left of need not be read; the others are told which of their rows need not be."""
        borders = np.concatenate(([0], np.cumsum(chosen.counts)))
        between = np.searchsorted(chosen.other, borders)
        less = np.diff(between)
        self._source.drop(chosen.places[less == chosen.counts])
        for at in np.flatnonzero((less > 0) & (less < chosen.counts)).tolist():
            other = chosen.other[between[at] : between[at + 1]]
            ends = np.cumsum(chosen.layout[ROWS, borders[at] : borders[at + 1]])
            stops = ends[other - borders[at]]
            part = self._source.block(int(chosen.places[at]))
            part.leave_out(stops - chosen.layout[ROWS, other], stops)

    def _made(self, chosen: _Chosen) -> SummaryCells:
        layout, used = chosen.layout, chosen.used
        everything = len(used) == layout.shape[1]
        tagset = (layout[TAGSET] if everything else layout[TAGSET, used]).astype(np.int32)
        tags: list[pa.DictionaryArray] = [self._tagsets.dictionary(number, tagset) for number in self._tags]
        fields = {}
        blocks, before = Blocks.at(self._source.index, chosen.places), self._reader.bytes_read
        for column in self._fields:
            wanted = list(dict.fromkeys((COUNT, *self._wish.statistics[column.number])))
            made = self._reader.statistics(blocks, chosen.counts, column.number, column.kind, wanted)
            if made is not None:
                fields[column.number] = made if everything else {name: values[used] for name, values in made.items()}
        self._statistics.bytes_read += self._reader.bytes_read - before
        # Of cells that are cut as well these times lie in the range, and in the bucket of what is in it.
        first = np.maximum(layout[FIRST_TIME, used], self._source.low)
        last = np.minimum(layout[LAST_TIME, used], self._source.high - 1)
        return SummaryCells(tags, first, last, layout[ROWS, used], fields)


def _without_unused(chosen: _Chosen) -> _Chosen:
    """Without the blocks of which no cell is used: nobody asks for their statistics."""
    borders = np.concatenate(([0], np.cumsum(chosen.counts)))
    asked = np.diff(np.searchsorted(chosen.used, borders)) > 0
    if asked.all():
        return chosen
    kept = np.repeat(asked, chosen.counts)
    place = np.cumsum(kept) - 1
    return _Chosen(chosen.places[asked], chosen.layout[:, kept], chosen.counts[asked], place[chosen.used], _NONE)


def _overlapping(others: Sequence[Part], candidates: Sequence[BlockPart]) -> set[int]:
    """The parts (their ids) that overlap with another, of windows in which there are candidates."""
    windows: dict[int, list[Part]] = {}
    for candidate in candidates:
        for number in _windows(candidate):
            windows.setdefault(number, []).append(candidate)
    for part in others:
        numbers = _windows(part)
        for number in numbers if len(numbers) <= len(windows) else [n for n in windows if n in numbers]:
            if number in windows:
                windows[number].append(part)
    found: set[int] = set()
    for members in windows.values():
        if len(members) > 1:
            groups = overlaps([part.rectangle for part in members]).group
            found.update(id(part) for part, group in zip(members, groups, strict=True) if group >= 0)
    return found


def _windows(part: Part) -> range:
    return range(part.rectangle.min_time // WINDOW_NS, part.rectangle.max_time // WINDOW_NS + 1)


def _clashing(layout: Int64s, others: Sequence[Part]) -> npt.NDArray[np.bool_]:
    """Which cells of the layouts have a time in common with another cell of their tag set, or with rows of others."""
    stretches = [layout[[TAGSET, FIRST_TIME, LAST_TIME]]]
    for part in others:
        rows = select(part.layout(), None, None, 0, 0)
        _, table = layout_of(rows.tagset_column(), part.times(), BUCKET_NS // NS_PER_SECOND)
        stretches.append(table[[TAGSET, FIRST_TIME, LAST_TIME]])
    tagset, first, last = np.concatenate(stretches, axis=1)
    return choose.clashes(tagset, first, last)[: layout.shape[1]]
