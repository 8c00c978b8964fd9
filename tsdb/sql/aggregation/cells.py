"""The dense table of cells: (bucket, combination of tag values) → the aggregates so far. It grows as data comes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.kernels import readonly
from tsdb.model.store import TimeRange
from tsdb.model.summaries import SummaryCells
from tsdb.sql.aggregation import kernels, states
from tsdb.sql.aggregation.plan import Aggregate
from tsdb.sql.aggregation.states import State, Table, states_of
from tsdb.sql.kernel_execution import Unsuitable

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

# Cells × states of aggregates: at 8 bytes each, 64 MiB at most.
STATES_MAX = 8 << 20
# Buckets of a range that there is room for before a row is in them.
EXPECTED_MAX = 256
_ALL_TIMES = TimeRange()
# Combinations of dictionaries' values up to which numbers are looked up in a table.
TABLE_MAX = 1 << 17


_INT64 = np.iinfo(np.int64)


class TooManyCells(Unsuitable):
    """The groups do not fit into a dense table: DuckDB can spill."""


class Cells:
    """``width_ns`` None: there are no buckets, all rows are in one. ``range_ns``: where rows will be, at most."""

    def __init__(
        self, aggregates: Sequence[Aggregate], width_ns: int | None, origin_ns: int, range_ns: TimeRange = _ALL_TIMES
    ) -> None:
        self._states = tuple(dict.fromkeys(state for each in aggregates for state in states_of(each)))
        self._fields = tuple(dict.fromkeys(state.column for state in self._states if state.column != states.TIMES))
        self._has_times = any(state.column == states.TIMES for state in self._states)
        self._floating = {each.column for each in aggregates if each.floating}
        self._width = width_ns
        self._origin = origin_ns
        self._expected = self._few_buckets(range_ns)
        self.first_bucket = 0
        self._buckets = 0
        self._room = 0
        self._combinations: dict[tuple[str | None, ...], int] = {}
        # Codes of rows in the dictionaries of the batches at hand, which are held so that none takes another's place.
        self._codes: dict[int, int] = {}
        self._table: Int32s | None = None
        self._dictionaries: list[int] = []
        self._kept: list[pa.Array] = []
        self._rows: Int64s = np.zeros((0, 0), np.int64)
        self._tables: dict[State, Table] = {}

    @property
    def combinations(self) -> list[tuple[str | None, ...]]:
        """The combinations of tag values, by their number."""
        return list(self._combinations)

    # Cells are told by their *place*: bucket · ``room`` + combination.

    @property
    def room(self) -> int:
        """How many places a bucket has: there may be more than combinations."""
        return max(1, self._room)

    @property
    def rows(self) -> Int64s:
        """How many rows each cell has, by place."""
        return self._rows.reshape(-1)

    def of(self, name: str, column: int) -> Table:
        """One state of a column, or of ``TIMES``, by place."""
        return next(t for s, t in self._tables.items() if s.name == name and s.column == column).reshape(-1)

    @property
    def nbytes(self) -> int:
        return self._rows.nbytes * (1 + len(self._tables))

    # --- adding a batch ---

    def add(self, times: Int64s | None, tags: Sequence[pa.Array], fields: dict[int, pa.Array], rows: int) -> None:
        """``times`` in ns, when there are buckets. Raises TooManyCells."""
        times = None if times is None else readonly(times)
        cell = self._cells_of(times, tags, rows)
        kernels.count_rows(cell, self.rows)
        for column, array in fields.items():
            states.add_points(self._tables_of(column), cell, array, times, floating=column in self._floating)
        if self._has_times and times is not None:
            states.add_times(self._tables_of(states.TIMES), cell, times, times)

    def add_summaries(self, found: SummaryCells) -> None:
        """What a scan says in cells of its own. Raises TooManyCells."""
        cell = self._cells_of(readonly(found.first_times), found.tags, len(found))
        kernels.add(cell, readonly(found.rows), self.rows)
        if self._has_times:
            first, last = readonly(found.first_times), readonly(found.last_times)
            states.add_times(self._tables_of(states.TIMES), cell, first, last)
        for column in self._fields:
            statistics = found.fields.get(column, {})
            states.add_cells(self._tables_of(column), cell, found, statistics, floating=column in self._floating)

    def _tables_of(self, column: int) -> dict[str, Table]:
        return {s.name: t.reshape(-1) for s, t in self._tables.items() if s.column == column}

    def _cells_of(self, times: Int64s | None, tags: Sequence[pa.Array], rows: int) -> Int32s:
        """The cell of each row; there is room for all of them."""
        starts, combination = self._combine(tags)
        cell = np.empty(rows, np.int32)
        if self._width is None or times is None:
            self._grow(0, 0)
            cell[:] = combination[0] if len(starts) == 1 else np.repeat(combination, np.diff(starts, append=rows))
        else:
            low, high = kernels.extent(times)
            self._grow((low - self._origin) // self._width, (high - self._origin) // self._width)
            first = self._origin + self.first_bucket * self._width
            # The kernel counts from the first bucket: over 292 years, or in a bucket that begins before all times, it
            # would leave int64.
            if first < _INT64.min or high - first > _INT64.max:
                raise TooManyCells
            kernels.cells_of(times, starts, combination, self._width, first, self._room, cell)
        return cell

    def _combine(self, tags: Sequence[pa.Array]) -> tuple[Int64s, Int32s]:
        """(the first row of each stretch of rows with equal tags, the stretches' combinations)."""
        if not tags:
            return np.zeros(1, np.int64), np.array([self._combinations.setdefault((), 0)], np.int32)
        dictionaries = [tag.dictionary for tag in tags]
        places = [d.buffers()[-1].address if d.buffers()[-1] is not None else 0 for d in dictionaries]
        sizes = [len(d) + 1 for d in dictionaries]
        if places != self._dictionaries:
            # What a code means is a matter of the dictionary.
            self._dictionaries, self._kept, self._codes = places, dictionaries, {}
            self._table = np.full(math.prod(sizes), -1, np.int32) if math.prod(sizes) <= TABLE_MAX else None
        code = _codes(tags, sizes)
        starts = kernels.stretch_starts(code)
        firsts = code[starts]
        table = self._table
        if table is None:
            known = self._codes
            distinct, inverse = np.unique(firsts, return_inverse=True)
            new = [each for each in distinct.tolist() if each not in known]
            known.update(zip(new, self._numbers_of(new, dictionaries), strict=True))
            found = np.fromiter(map(known.__getitem__, distinct.tolist()), np.int32, len(distinct))
            return starts, found[inverse]
        combination = table[firsts]
        missing = np.unique(firsts[combination < 0])
        if len(missing):
            table[missing] = self._numbers_of(missing.tolist(), dictionaries)
            combination = table[firsts]
        return starts, combination

    def _numbers_of(self, codes: Sequence[int], dictionaries: Sequence[pa.Array]) -> list[int]:
        """The numbers of the combinations that codes stand for, new ones if need be. Raises TooManyCells."""
        if len(self._combinations) + len(codes) > STATES_MAX:
            raise TooManyCells
        columns: list[list[str | None]] = []
        rest = np.array(codes, np.int64)
        for dictionary in reversed(dictionaries):
            rest, place = np.divmod(rest, len(dictionary) + 1)
            columns.append(dictionary.take(pa.array(place - 1, mask=place == 0)).to_pylist())
        combinations = self._combinations
        return [combinations.setdefault(each, len(combinations)) for each in zip(*reversed(columns), strict=True)]

    # --- room ---

    def _few_buckets(self, span: TimeRange) -> tuple[int, int] | None:
        """The first and the last bucket of a range, if there are few: then there is room for all from the start."""
        if self._width is None or span.empty or span.high - span.low > EXPECTED_MAX * self._width:
            return None
        return (span.low - self._origin) // self._width, (span.high - 1 - self._origin) // self._width

    def _grow(self, low: int, high: int) -> None:
        """Make room for the buckets [low, high] and all known combinations. Raises TooManyCells."""
        first, last = low, high
        combinations = len(self._combinations)
        if self._buckets:
            first, last = min(low, self.first_bucket), max(high, self.first_bucket + self._buckets - 1)
        elif self._expected is not None and EXPECTED_MAX * combinations * (1 + len(self._states)) <= STATES_MAX:
            first, last = min(low, self._expected[0]), max(high, self._expected[1])
        buckets = last - first + 1
        height = len(self._rows)
        if first == self.first_bucket and buckets <= height and combinations <= self._room:
            self._buckets = buckets
            return
        if buckets * combinations * (1 + len(self._states)) > STATES_MAX:
            raise TooManyCells
        room = self._room if combinations <= self._room else max(2 * self._room, combinations)
        room = combinations if self._buckets == 0 else room
        # Time mostly goes forward: there is more to come after the last bucket than before the first.
        tall = buckets if self._buckets == 0 or buckets <= height else max(buckets, 2 * height)
        if tall * room * (1 + len(self._states)) > STATES_MAX:
            tall, room = buckets, combinations
        shift = self.first_bucket - first if self._buckets else 0
        self._rows = self._moved(self._rows, tall, room, shift, 0)
        empty: npt.NDArray[np.int64] = np.zeros((0, 0), np.int64)
        self._tables = {
            state: self._moved(self._tables.get(state, empty), tall, room, shift, state.start) for state in self._states
        }
        self.first_bucket, self._buckets, self._room = first, buckets, room

    def _moved(self, table: Table, tall: int, room: int, shift: int, start: float) -> Table:
        kind = np.float64 if isinstance(start, float) else np.int64
        made: Table = np.full((tall, room), start, kind) if start else np.zeros((tall, room), kind)
        if self._buckets:
            width = min(self._room, room)
            made[shift : shift + self._buckets, :width] = table[: self._buckets, :width]
        return made


def _codes(tags: Sequence[pa.Array], sizes: Sequence[int]) -> Int64s:
    """One number for each row's values: their places in the dictionaries from 1, 0 for an absent one. Raises
    TooManyCells when the numbers would not fit."""
    if math.prod(sizes) >= 1 << 62:
        raise TooManyCells
    code: Int64s = np.zeros(len(tags[0]), np.int64)
    for tag, size in zip(tags, sizes, strict=True):
        indices = tag.indices.fill_null(-1) if tag.null_count else tag.indices
        code *= size
        code += np.asarray(indices)
        code += 1
    return code
