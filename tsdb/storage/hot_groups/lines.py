"""The lines of blocks' columns as one table that kernels read: addresses of what is hot, kept from query to query.

A table belongs to one index of blocks and one choice of columns. It holds what its addresses point to, so it is dropped
as a whole as soon as one of the caches has let go of anything: else their bounds would say nothing.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.summaries import CellRequest
from tsdb.storage.block import TIME_COLUMN, BlockReader
from tsdb.storage.cache import RunsCache
from tsdb.storage.head import Run
from tsdb.storage.hot import BITS, LINE_NUMBERS, HotColumn
from tsdb.storage.hot_groups.operations import FIELDS, Operations
from tsdb.storage.rocks import Rocks
from tsdb.storage.version import SeriesBlocks

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# The first lines of a block; a line of runs has the address of the ids, how many they are, the address of the offsets.
RUNS, TIMES = range(FIELDS)
TABLES_BYTES = 8 << 20
RUN_TABLES_MAX = 8
_NUMBERS = (pa.int64(), pa.float64())
_UNKNOWN: Int64s = np.empty(0, np.int64)
OPERATIONS_MAX = 64


class Lines:
    """``table[b, c]`` is line c of block b, where ``known[b]``; ``unfit[b]``: a column of it cannot be hot."""

    def __init__(self, blocks: SeriesBlocks, numbers: tuple[int, ...]) -> None:
        count = len(blocks.headers)
        self.blocks = blocks
        self.numbers = numbers
        self.table: Int64s = np.zeros((count, FIELDS + len(numbers), LINE_NUMBERS), np.int64)
        self.known: Bools = np.zeros(count, np.bool_)
        self.unfit: Bools = np.zeros(count, np.bool_)
        # What plans ask of the columns.
        self.operations: dict[CellRequest, Operations] = {}
        # What the addresses point to.
        self._held: dict[int, object] = {}

    @property
    def nbytes(self) -> int:
        return self.table.nbytes + 2 * len(self.known)

    def keep(self, wish: CellRequest, operations: Operations) -> None:
        if len(self.operations) >= OPERATIONS_MAX:
            self.operations.clear()
        self.operations[wish] = operations

    def take_over(self, older: Lines) -> None:
        """What is known of the blocks that were there before: most are, after a flush or a compaction."""
        known = np.flatnonzero(older.known)
        _, before, now = np.intersect1d(
            older.blocks.block_id[known], self.blocks.block_id, assume_unique=True, return_indices=True
        )
        for was, place in zip(known[before].tolist(), now.tolist(), strict=True):
            self._held[place] = older._held[was]
            self.table[place] = older.table[was]
            self.known[place] = True

    def learn(self, place: int, rocks: Rocks, cache: RunsCache) -> bool:
        """The lines of a block, whose columns become hot if there is room for them. Raises DataCorrupted, IoError."""
        header = self.blocks.headers[place]
        if not all(number in header.columns and not header.columns[number].nulls for number in self.numbers):
            self.unfit[place] = True
            return False
        reader = BlockReader(rocks, header, cache)
        wanted = (TIME_COLUMN, *self.numbers)
        found = reader.hot(wanted, keep=True)
        missing = [number for number in wanted if number not in found]
        if missing:
            if not cache.hot.has_room:
                return False
            reader.stored(missing, keep=True)
            found |= reader.hot(missing, keep=True)
            if len(found) < len(wanted):
                # Nothing is kept, or not this.
                self.unfit[place] = True
                return False
        self._put(place, reader.runs(), [found[number] for number in wanted])
        return True

    def _put(self, place: int, runs: tuple[npt.NDArray[np.int32], Int64s], columns: list[HotColumn]) -> None:
        ids, offsets = runs
        own = self.table[place]
        own[RUNS, :3] = _address(ids), len(ids), _address(offsets)
        own[TIMES:] = np.frombuffer(b"".join([column.line for column in columns]), np.int64).reshape(-1, LINE_NUMBERS)
        self._held[place] = runs, columns
        # Last: other threads read the table meanwhile.
        self.known[place] = True


def lines_of_run(run: Run, numbers: tuple[int, ...]) -> Int64s | None:
    """The lines of a run of a head, valid as long as it is; None where a row has no value, or one that is not hot."""
    found = run.lines.get(numbers, _UNKNOWN)
    if found is _UNKNOWN:
        found = _made_of(run, numbers)
        if len(run.lines) >= RUN_TABLES_MAX:
            run.lines.clear()
        run.lines[numbers] = found
    return found


def _made_of(run: Run, numbers: tuple[int, ...]) -> Int64s | None:
    rows = len(run.rows)
    table = np.zeros((FIELDS + len(numbers), LINE_NUMBERS), np.int64)
    # Everything is as it lies in memory: 64 bits.
    table[TIMES:, 1:] = rows, 8, 0, 1, BITS
    layout, times = run.layout, run.rows.times
    if not (times.flags.c_contiguous and layout.ids.flags.c_contiguous and layout.offsets.flags.c_contiguous):
        return None
    table[RUNS, :3] = _address(layout.ids), len(layout.ids), _address(layout.offsets)
    table[TIMES, 0] = _address(times)
    for at, number in enumerate(numbers):
        values = run.rows.columns.get(number)
        if values is None or values.null_count or values.type not in _NUMBERS:
            return None
        table[FIELDS + at, 0] = values.buffers()[1].address + 8 * values.offset
    return table


def _address(array: npt.NDArray[np.generic]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


class LinesTables:
    """The tables that were used last. Any thread may ask: two that ask for a new one at a time each make it."""

    def __init__(self) -> None:
        self._tables: OrderedDict[tuple[int, tuple[int, ...]], Lines] = OrderedDict()
        self._generation: tuple[int, int] = (0, 0)

    def of(self, blocks: SeriesBlocks, numbers: tuple[int, ...], cache: RunsCache) -> Lines:
        generation = cache.forgotten, cache.hot.forgotten
        if generation != self._generation:
            self._generation, self._tables = generation, OrderedDict()
        tables = self._tables
        key = blocks.headers[0].series, numbers
        found = tables.get(key)
        if found is None or found.blocks is not blocks:
            old, found = found, Lines(blocks, numbers)
            if old is not None:
                found.take_over(old)
            kept = {each: table for each, table in list(tables.items()) if each != key}
            size = found.nbytes + sum(each.nbytes for each in kept.values())
            self._tables = OrderedDict(kept if size <= TABLES_BYTES else {})
            self._tables[key] = found
        return found
