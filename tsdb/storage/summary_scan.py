"""The summary cells of a scan for an aggregate: which blocks' cells may stand for their points, and their statistics.

A cell is used when

- all its rows are wanted (in the scan's range, above retention's floor, of a wanted tag set) and in one bucket,
- no tombstone may hide one of them, and
- in a keyed series no row of its tag set in another block or in the head has a time between its first and its last:
  then none of its rows has a version elsewhere. (A block with several versions of a key is not used.)

The rows of the used cells are left out of the scan's parts; a part without another row is not read at all.
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
from tsdb.storage.overlap import overlaps
from tsdb.storage.part import BlockPart, Part, stored_numbers
from tsdb.storage.scan import ScanInput
from tsdb.storage.selection import select
from tsdb.storage.summaries import choose
from tsdb.storage.summaries.encode import KINDS
from tsdb.storage.summaries.layout import FIRST_TIME, LAST_TIME, ROWS, TAGSET, layout_of
from tsdb.storage.summaries.read import Blocks, SummaryReader
from tsdb.storage.tagsets import TagSets

Int64s = npt.NDArray[np.int64]

_NONE = np.empty(0, np.int64)
# Blocks whose cells are looked at together: bounds the memory.
CHUNK_BLOCKS = 1024


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The used cells of some blocks. ``counts``: the cells of each block; ``used``: which of all of them; ``other``:
    those that need not be read, used or not wanted."""

    parts: Sequence[BlockPart]
    layout: Int64s
    counts: Int64s
    used: Int64s
    other: Int64s


class SummaryScan:
    """Runs before the rest of a scan: read ``cells`` to the end, then scan what is in ``rest``."""

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
        self._gone: set[int] = set()

    def cells(self) -> Iterator[SummaryCells]:
        candidates = [part for part in self._source.parts if isinstance(part, BlockPart) and self._may_use(part)]
        clashing = _overlapping(self._source.parts, candidates) if self._request.series.keyed and candidates else set()
        alone = [part for part in candidates if id(part) not in clashing]
        for start in range(0, len(alone), CHUNK_BLOCKS):
            yield from self._of(alone[start : start + CHUNK_BLOCKS], [])
        together = [part for part in candidates if id(part) in clashing]
        if together:
            own = {id(part) for part in together}
            yield from self._of(together, [p for p in self._source.parts if id(p) in clashing and id(p) not in own])
        self._source.parts[:] = [part for part in self._source.parts if id(part) not in self._gone]

    def _may_use(self, part: BlockPart) -> bool:
        header, width = part.header, self._wish.width_ns
        if not header.summary_span or not (part.unique or not self._request.series.keyed):
            return False
        if width is not None and width < min(header.summary_span * NS_PER_SECOND, header.max_time - header.min_time):
            return False
        return self._summed and not any(number in header.columns for number in self._former)

    def _of(self, parts: Sequence[BlockPart], others: Sequence[Part]) -> Iterator[SummaryCells]:
        """The used cells of blocks; ``others`` overlap with them, and they may with each other."""
        chosen = self._choose(parts, others)
        self._leave_out(chosen)
        chosen = _without_unused(chosen)
        if len(chosen.used):
            self._statistics.cells_used += len(chosen.used)
            self._statistics.rows_in_cells += int(chosen.layout[ROWS, chosen.used].sum())
            yield self._made(chosen)

    def _choose(self, parts: Sequence[BlockPart], others: Sequence[Part]) -> _Chosen:
        source, wish = self._source, self._wish
        layout, counts = self._reader.layouts(Blocks.of([part.header for part in parts]))
        found = choose.judge(layout, source.low, source.high, source.wanted, wish.width_ns, wish.origin_ns)
        starts = np.concatenate(([0], np.cumsum(counts)))
        for at, part in enumerate(parts):
            if source.visibility.touches(part, source.low, source.high):
                cells = slice(int(starts[at]), int(starts[at + 1]))
                hidden = source.visibility.may_hide(
                    layout[TAGSET, cells], layout[FIRST_TIME, cells], layout[LAST_TIME, cells], part.min_counter
                )
                found[cells][hidden & (found[cells] == choose.USABLE)] = choose.READ
        if others or any(part.overlapped for part in parts):
            found[_clashing(layout, others) & (found == choose.USABLE)] = choose.READ
        self._drop(parts, starts, found)
        used, other = np.flatnonzero(found == choose.USABLE), np.flatnonzero(found != choose.READ)
        return _Chosen(parts, layout, counts, used, other)

    def _drop(self, parts: Sequence[BlockPart], starts: Int64s, found: npt.NDArray[np.int8]) -> None:
        """Parts that nothing is left of need not be read."""
        read = np.concatenate(([0], np.cumsum(found == choose.READ)))
        whole = read[starts[1:]] == read[starts[:-1]]
        self._gone.update(id(part) for part, gone in zip(parts, whole.tolist(), strict=True) if gone)

    def _leave_out(self, chosen: _Chosen) -> None:
        """Tell the parts that are read nevertheless which of their rows need not be."""
        borders = np.concatenate(([0], np.cumsum(chosen.counts)))
        between = np.searchsorted(chosen.other, borders)
        for at, part in enumerate(chosen.parts):
            other = chosen.other[between[at] : between[at + 1]]
            if id(part) not in self._gone and len(other):
                ends = np.cumsum(chosen.layout[ROWS, borders[at] : borders[at + 1]])
                stops = ends[other - borders[at]]
                part.leave_out(stops - chosen.layout[ROWS, other], stops)

    def _made(self, chosen: _Chosen) -> SummaryCells:
        layout, used = chosen.layout, chosen.used
        everything = len(used) == layout.shape[1]
        tagset = (layout[TAGSET] if everything else layout[TAGSET, used]).astype(np.int32)
        tags: list[pa.DictionaryArray] = [self._tagsets.dictionary(number, tagset) for number in self._tags]
        fields = {}
        blocks, before = Blocks.of([part.header for part in chosen.parts]), self._reader.bytes_read
        for column in self._fields:
            wanted = list(dict.fromkeys((COUNT, *self._wish.statistics[column.number])))
            made = self._reader.statistics(blocks, chosen.counts, column.number, column.kind, wanted)
            if made is not None:
                fields[column.number] = made if everything else {name: values[used] for name, values in made.items()}
        self._statistics.bytes_read += self._reader.bytes_read - before
        return SummaryCells(tags, layout[FIRST_TIME, used], layout[LAST_TIME, used], layout[ROWS, used], fields)


def _without_unused(chosen: _Chosen) -> _Chosen:
    """Without the blocks of which no cell is used: nobody asks for their statistics."""
    borders = np.concatenate(([0], np.cumsum(chosen.counts)))
    asked = np.diff(np.searchsorted(chosen.used, borders)) > 0
    if asked.all():
        return chosen
    kept = np.repeat(asked, chosen.counts)
    parts = [part for part, there in zip(chosen.parts, asked.tolist(), strict=True) if there]
    place = np.cumsum(kept) - 1
    return _Chosen(parts, chosen.layout[:, kept], chosen.counts[asked], place[chosen.used], _NONE)


def _overlapping(parts: Sequence[Part], candidates: Sequence[BlockPart]) -> set[int]:
    """The parts (their ids) that overlap with another, of windows in which there are candidates."""
    windows: dict[int, list[Part]] = {}
    for candidate in candidates:
        for number in _windows(candidate):
            windows.setdefault(number, []).append(candidate)
    own = {id(candidate) for candidate in candidates}
    for part in parts:
        if id(part) not in own:
            numbers = _windows(part)
            for number in numbers if len(numbers) <= len(windows) else [n for n in windows if n in numbers]:
                if number in windows:
                    windows[number].append(part)
    found: set[int] = set()
    for members in windows.values():
        if len(members) > 1:
            groups = overlaps([part.rectangle for part in members]).group
            found.update(id(part) for part, group in zip(members, groups, strict=True) if group >= 0)
    for candidate in candidates:
        candidate.overlapped = id(candidate) in found
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
