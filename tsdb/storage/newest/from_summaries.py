"""The values of blocks' newest (oldest) rows from their summaries, for many blocks at once.

The last cell of a tag set says what its last row has in each numeric field. To decode columns for two dozen rows of
each block, of which every page has some, made the first query for last points slow (76 ms of CPU, now 28, measured once
each on a busy machine).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model import summaries
from tsdb.model.schema import Column
from tsdb.storage.newest.tails import BlockTails
from tsdb.storage.summaries.encode import KINDS
from tsdb.storage.summaries.layout import FIRST_TIME, LAST_TIME, TAGSET
from tsdb.storage.summaries.read import Blocks, SummaryReader

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Ends:
    """Of some blocks the cells whose ends are their tails' rows. ``cells``: how many each block has; ``places``: those
    of each block among the cells of all of them."""

    tails: Sequence[BlockTails]
    cells: Int64s
    places: Sequence[Int64s]


def fill(sources: Sequence[BlockTails], columns: Sequence[Column], reader: SummaryReader) -> None:
    """Give tails the columns that they lack, as far as summaries have them. Raises DataCorrupted, IoError."""
    wanted = [column for column in columns if column.kind in KINDS and not column.former]
    for oldest in (False, True):
        some = [each for each in sources if each.oldest is oldest and each.summed and each.lacks(wanted)]
        ends = _ends(some, reader, oldest=oldest) if some else None
        if ends is not None and ends.tails:
            found = [_values(ends, column, reader, oldest=oldest) for column in wanted]
            for each, *values in zip(ends.tails, *found, strict=True):
                there = zip(wanted, values, strict=True)
                each.add({column.number: array for column, array in there if array is not None})


def _ends(tails: Sequence[BlockTails], reader: SummaryReader, *, oldest: bool) -> _Ends:
    layout, counts = reader.layouts(Blocks.of([each.header for each in tails]))
    stops = np.cumsum(counts)
    kept: list[BlockTails] = []
    cells: list[int] = []
    places: list[Int64s] = []
    for each, count, stop in zip(tails, counts.tolist(), stops.tolist(), strict=True):
        own = layout[:, stop - count : stop]
        borders = np.flatnonzero(own[TAGSET, 1:] != own[TAGSET, :-1])
        ends = np.append(0, borders + 1) if oldest else np.append(borders, count - 1)
        rows, times = each.rows(), own[FIRST_TIME if oldest else LAST_TIME, ends]
        # Where a tag set has two rows in one µs there are more rows than ends.
        if np.array_equal(rows.tagset, own[TAGSET, ends]) and np.array_equal(rows.times, times):
            kept.append(each)
            cells.append(count)
            places.append(ends)
    return _Ends(kept, np.array(cells, np.int64), places)


def _values(ends: _Ends, column: Column, reader: SummaryReader, *, oldest: bool) -> Iterator[pa.Array | None]:
    """A column's values in each block; None where its summaries do not have it."""
    value, there = (summaries.FIRST, summaries.FIRST_THERE) if oldest else (summaries.LAST, summaries.LAST_THERE)
    blocks = Blocks.of([each.header for each in ends.tails])
    found = reader.statistics(blocks, ends.cells, column.number, column.kind, (value, there))
    at = 0
    for each, count, places in zip(ends.tails, ends.cells.tolist(), ends.places, strict=True):
        if found is None or not each.header.has_summary(column.number):
            yield None
        else:
            own = places + at
            absent = found[there][own] == 0
            yield pa.array(found[value][own], column.kind.arrow, mask=absent if absent.any() else None)
        at += count
