"""Flush: a frozen head becomes blocks.

Series by series, window by window, a block's worth of tag sets at a time: select the rows of all runs, drop what
tombstones hide and what lies below retention's floor, sort, merge the versions of equal keys (tombstones first: every
version left is newer than any DELETE that was there; and never across a moment at which somebody who may still delete
what he saw has looked), cut into blocks, encode in parallel threads.

Values and tag sets go to disk first, in small unsynced batches; nothing refers to them until the committer writes the
headers with a sync (``install``). A record of the unfinished flush comes before the first of them, so that recovery
can delete what never got a header.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from tsdb.model.schema import Series
from tsdb.model.time import NS_MAX, NS_MIN, WINDOW_NS
from tsdb.storage import keys, state
from tsdb.storage.block import (
    SEQUENCE_COLUMN,
    TIME_COLUMN,
    BlockHeader,
    delete_values,
)
from tsdb.storage.block_writer import NewBlock, Values, encode_blocks, new_blocks, rows_of_block, tagset_ranges
from tsdb.storage.gather import gather
from tsdb.storage.head import Run
from tsdb.storage.options import Options
from tsdb.storage.part import Part, RunPart, stored_numbers
from tsdb.storage.rocks import Rocks
from tsdb.storage.rows import Rows
from tsdb.storage.rules import rules_of
from tsdb.storage.selection import Selection, select, take_selected, take_selected_ints
from tsdb.storage.tagsets import TagSetIndex, TagSets, encode_tagset_record
from tsdb.storage.taking import take
from tsdb.storage.version import FrozenHead, Version
from tsdb.storage.visibility import Visibility
from tsdb.storage.windows import Window, cut_by_window


@dataclass(frozen=True, slots=True)
class Flushed:
    """What a flush has written: the headers of its blocks, and up to which id each series' tag sets are on disk.

    ``judged`` is the number of the version whose tombstones it has carried out.
    """

    head: FrozenHead
    judged: int
    headers: dict[int, list[BlockHeader]] = field(default_factory=dict)
    tagsets: dict[int, int] = field(default_factory=dict)


class FlushAbandoned(Exception):
    """A flush was given up because the node stops: nothing refers to what it wrote, and the log still has it all."""


def write_blocks(
    rocks: Rocks,
    flushed: Flushed,
    version: Version,
    durable: Callable[[int], int],
    next_block: Callable[[], int],
    options: Options,
    pool: Executor,
    abandoned: Callable[[], bool],
) -> None:
    """Write the blocks of ``flushed.head``, all but their headers, which are added to ``flushed``.

    ``version`` is the newest; ``durable`` gives the number of a series' tag sets that are on disk; ``abandoned`` is
    asked again and again whether to stop. Raises FatalStorageError, FlushAbandoned; after any error ``take_back``.
    """
    values = Values(rocks, options.values_batch_bytes)
    _announce(values, flushed.head, next_block())
    blocks = _all_blocks(values, flushed, version, durable, next_block, options)

    def check() -> None:
        if abandoned():
            raise FlushAbandoned(f"the flush of head {flushed.head.number} was given up")

    for block in encode_blocks(blocks, pool, options.encode_threads, check):
        check()
        flushed.headers[block.header.series].append(block.header)
        block.put_values(values.batch)
    values.write()


def take_back(rocks: Rocks, flushed: Flushed) -> None:
    """Delete the values of blocks that get no header, by exact keys: the next try has other block ids, and its record
    of an unfinished flush would not cover them. Raises FatalStorageError."""
    batch = rocks.batch()
    for headers in flushed.headers.values():
        for header in headers:
            delete_values(batch, header)
    state.delete_flushing(batch, flushed.head.number)
    rocks.write(batch, sync=False)


def _all_blocks(
    values: Values,
    flushed: Flushed,
    version: Version,
    durable: Callable[[int], int],
    next_block: Callable[[], int],
    options: Options,
) -> Iterator[NewBlock]:
    """The blocks of all series, not yet encoded; the tag sets of each series are put before them."""
    for number, runs in sorted(flushed.head.series.items()):
        found = version.catalog.series_by_number.get(number)
        if found is None or not runs:
            continue
        database, series = found
        tagsets = version.tagsets[number]
        _put_tagsets(values, number, tagsets, durable(number))
        flushed.tagsets[number] = tagsets.count
        flushed.headers[number] = []
        visibility = Visibility(database.number, series, rules_of(series, version.tombstones.get(number, ()), tagsets))
        yield from _blocks(series, runs, flushed.head.moments, visibility, next_block, options)


def _announce(values: Values, head: FrozenHead, first_block: int) -> None:
    columns = {
        (number, column)
        for number, runs in head.series.items()
        for run in runs
        for column in (TIME_COLUMN, SEQUENCE_COLUMN, *run.rows.columns)
    }
    state.put_flushing(values.batch, head.number, state.Flushing(first_block, sorted(columns)))
    values.write()


def _put_tagsets(values: Values, series: int, tagsets: TagSets, durable: int) -> None:
    for tagset_id in range(durable, tagsets.count):
        record = encode_tagset_record(tagsets.by_value(tagset_id))
        values.batch.put("tagsets", keys.tagset_key(series, tagset_id), record)


def _blocks(
    series: Series,
    runs: Sequence[Run],
    moments: Sequence[int],
    visibility: Visibility,
    next_block: Callable[[], int],
    options: Options,
) -> Iterator[NewBlock]:
    """The blocks of a series, not yet encoded."""
    floor = NS_MIN if series.floor_ns is None else series.floor_ns
    numbers = {number for column in series.fields for number in stored_numbers(column)}
    limit = _rows_of_block(runs, options.rows_per_block)
    if not visibility and _fit_one_block(runs, floor, limit):
        rows = gather([_with_columns(run.rows, numbers) for run in runs], merges=series.keyed, moments=moments)
        yield NewBlock(series.number, runs[0].min_time // WINDOW_NS, next_block(), rows)
        return
    for window in cut_by_window([RunPart(run) for run in runs], floor, NS_MAX):
        selections = [select(part.layout(), None, part.times(), window.low, window.high) for part in window.parts]
        for low, high in tagset_ranges(selections, limit):
            parts = [
                _visible_rows(part, selection.of_tagsets(low, high), numbers, visibility, window)
                for part, selection in zip(window.parts, selections, strict=True)
            ]
            rows = gather(parts, merges=series.keyed, moments=moments)
            yield from new_blocks(series.number, window.low // WINDOW_NS, rows, limit, next_block)


def _rows_of_block(runs: Sequence[Run], limit: int) -> int:
    texts: dict[int, int] = {}
    for run in runs:
        for number, values in run.rows.columns.items():
            if not pa.types.is_primitive(values.type):
                texts[number] = texts.get(number, 0) + values.nbytes
    return rows_of_block(sum(len(run.rows) for run in runs), max(texts.values(), default=0), limit)


def _fit_one_block(runs: Sequence[Run], floor: int, limit: int) -> bool:
    """Does one block hold the rows of all runs? What most series of a store with many of them have: a few points."""
    low, high = min(run.min_time for run in runs), max(run.max_time for run in runs)
    return low >= floor and low // WINDOW_NS == high // WINDOW_NS and sum(len(run.rows) for run in runs) <= limit


def _with_columns(rows: Rows, numbers: Container[int]) -> Rows:
    """Without columns that were dropped."""
    return replace(rows, columns={number: values for number, values in rows.columns.items() if number in numbers})


def _visible_rows(
    part: Part, selection: Selection, numbers: Iterable[int], visibility: Visibility, window: Window
) -> Rows:
    columns = {number: part.column(number) for number in numbers}
    rows = Rows(
        selection.tagset_column(),
        take_selected_ints(part.times(), selection),
        take_selected_ints(part.sequences(), selection),
        {number: take_selected(values, selection) for number, values in columns.items() if values is not None},
    )
    hides = visibility.touches(part, window.low, window.high)
    hidden = visibility.hidden(rows.tagset, rows.times, rows.sequences) if hides else None
    return rows if hidden is None else take(rows, np.flatnonzero(~hidden))


def durable_tagsets(indexes: dict[int, TagSetIndex], series: int) -> int:
    """How many tag sets of a series are on disk."""
    index = indexes.get(series)
    return 0 if index is None else index.durable
