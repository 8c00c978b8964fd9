"""Blocks: an immutable run of points of one series and 2-hour window, sorted by (tag set, time, version).

A block is a header (``blocks``, in memory while the engine runs), its row runs (``runs``), and one encoded value for
each column (``columns``); time and point sequence are columns under reserved numbers. Tag columns are not stored: runs
say which rows belong to which tag set. Most blocks have ``summaries`` too. Diagram: docs/format/block.md.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import DataCorrupted
from tsdb.kernels import kernel
from tsdb.storage import codec, keys
from tsdb.storage.cache import RunsCache
from tsdb.storage.codec import StoredColumn
from tsdb.storage.frame import seal, unseal, unseal_any
from tsdb.storage.hot import HotColumn, hot_of
from tsdb.storage.rocks import Batch, Rocks
from tsdb.storage.rows import COUNTER_MASK, Rows
from tsdb.storage.summaries.encode import KINDS as SUMMARY_KINDS
from tsdb.storage.summaries.encode import LAYOUT, encode_summaries
from tsdb.types import Kind

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

MAGIC = b"TB"
RUNS_MAGIC = b"TR"
VERSION = 2
VERSIONS = (1, 2)
RUNS_VERSION = 1
ROWS_MAX = 65_536

# Column numbers are given from 1 upwards; these two are never given.
TIME_COLUMN = 0
SEQUENCE_COLUMN = 2**32 - 1
_RESERVED = (TIME_COLUMN, SEQUENCE_COLUMN)

Bound = float | int | bool | None


@dataclass(frozen=True, slots=True)
class ColumnStats:
    """What a block's header says of one field: ``nulls`` rows lack it, ``min`` and ``max`` bound the others.

    Bounds are None for text and for a column without values. NaN is above every number, as in PostgreSQL: it is the
    max where there is one, and the min only where there is nothing else. ``bytes`` is the encoded size.
    """

    kind: Kind
    nulls: int
    min: Bound
    max: Bound
    bytes: int


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """A block in the index. Times in ns, both ends inclusive, like the tag set ids and the 48-bit counters.

    ``unique``: no two rows have equal tag set and time. ``time_bytes``, ``sequence_bytes``, ``runs_bytes`` and
    ``summary_bytes`` are encoded sizes, like each column's. ``summary_span`` is the span of its summaries in seconds,
    0 if it has none.
    """

    series: int
    window: int
    block_id: int
    rows: int
    min_time: int
    max_time: int
    min_tagset: int
    max_tagset: int
    low_counter: int
    high_counter: int
    unique: bool
    columns: Mapping[int, ColumnStats]
    time_bytes: int = 0
    sequence_bytes: int = 0
    runs_bytes: int = 0
    summary_span: int = 0
    summary_bytes: int = 0

    @property
    def value_bytes(self) -> int:
        """The encoded size of everything but the header."""
        own = self.time_bytes + self.sequence_bytes + self.runs_bytes + self.summary_bytes
        return own + sum(column.bytes for column in self.columns.values())

    def has_summary(self, column: int) -> bool:
        """Whether a field of the block has statistics of its own."""
        stats = self.columns.get(column)
        return self.summary_span > 0 and stats is not None and stats.kind in SUMMARY_KINDS

    @property
    def key(self) -> bytes:
        return keys.block_key(self.series, self.window, self.block_id)

    def to_bytes(self) -> bytes:
        """The value in ``blocks``; the numbers in its key are not repeated."""
        head = _HEAD.pack(
            self.rows, self.min_time, self.max_time, self.min_tagset, self.max_tagset, self.low_counter,
            self.high_counter, self.unique, self.time_bytes, self.sequence_bytes, self.runs_bytes, self.summary_span,
            self.summary_bytes, len(self.columns),
        )  # fmt: skip
        return seal(MAGIC, VERSION, head, *(_pack_stats(n, stats) for n, stats in self.columns.items()))

    @classmethod
    def from_bytes(cls, key: bytes, data: bytes) -> BlockHeader:
        """The header of a key and a value of ``blocks``. Raises DataCorrupted."""
        series, window, block_id = keys.unpack_block_key(key)
        version, payload = unseal_any(data, MAGIC, VERSIONS, f"header of block {block_id} of series {series}")
        try:
            head = _HEAD if version == VERSION else _HEAD_1
            own = head.unpack_from(payload)
            if version == 1:
                # Before there were summaries.
                own = (*own[:-1], 0, 0, own[-1])
            (
                rows, min_time, max_time, min_tagset, max_tagset, low_counter, high_counter, unique, time_bytes,
                sequence_bytes, runs_bytes, summary_span, summary_bytes, count,
            ) = own  # fmt: skip
            columns = dict(map(_unpack_stats, _STATS.iter_unpack(payload[head.size :])))
        except (struct.error, ValueError) as error:
            raise DataCorrupted(f"header of block {block_id} of series {series}: {error}") from error
        if len(columns) != count:
            raise DataCorrupted(f"header of block {block_id} of series {series}: {len(columns)} of {count} columns")
        return cls(
            series, window, block_id, rows, min_time, max_time, min_tagset, max_tagset, low_counter, high_counter,
            bool(unique), columns, time_bytes, sequence_bytes, runs_bytes, summary_span, summary_bytes,
        )  # fmt: skip


# rows, min and max time, min and max tag set id, low and high counter, unique, bytes of time, sequence and runs,
# summaries' span and bytes, columns
_HEAD = struct.Struct(">IqqIIQQ?IIIIII")
_HEAD_1 = struct.Struct(">IqqIIQQ?IIII")
# column, kind, has bounds, nulls, bytes, min, max
_STATS = struct.Struct(">IB?II8s8s")
_BOUND_FORMATS = {Kind.FLOAT8: ">d", Kind.INT8: ">q", Kind.UINT8: ">Q", Kind.BOOL: ">?7x"}


def _pack_stats(number: int, stats: ColumnStats) -> bytes:
    low = high = bytes(8)
    if stats.min is not None:
        low = struct.pack(_BOUND_FORMATS[stats.kind], stats.min)
        high = struct.pack(_BOUND_FORMATS[stats.kind], stats.max)
    return _STATS.pack(number, stats.kind, stats.min is not None, stats.nulls, stats.bytes, low, high)


def _unpack_stats(packed: tuple[int, int, bool, int, int, bytes, bytes]) -> tuple[int, ColumnStats]:
    number, kind_number, bounded, nulls, size, low, high = packed
    kind = Kind(kind_number)
    if not bounded:
        return number, ColumnStats(kind, nulls, None, None, size)
    layout = _BOUND_FORMATS.get(kind)
    if layout is None:
        raise ValueError(f"column {number} of kind {kind.name} has bounds")
    return number, ColumnStats(kind, nulls, struct.unpack(layout, low)[0], struct.unpack(layout, high)[0], size)


@dataclass(frozen=True, slots=True)
class EncodedBlock:
    """A block ready to be written: ``columns`` has the fields and the two reserved numbers, ``summaries`` the layout
    and the fields."""

    header: BlockHeader
    runs: bytes
    columns: dict[int, bytes]
    summaries: dict[int, bytes]

    def put_values(self, batch: Batch) -> None:
        """Put what only the header makes visible; may go to disk before it, unsynced."""
        series, block_id = self.header.series, self.header.block_id
        batch.put("runs", keys.runs_key(series, block_id), self.runs)
        for number, value in self.columns.items():
            batch.put("columns", keys.column_key(series, number, block_id), value)
        for number, value in self.summaries.items():
            batch.put("summaries", keys.summary_key(series, number, block_id), value)

    def put_header(self, batch: Batch) -> None:
        batch.put("blocks", self.header.key, self.header.to_bytes())


def delete_values(batch: Batch, header: BlockHeader) -> None:
    """Delete by exact keys what ``put_values`` put: ids are not ordered by time."""
    series, block_id = header.series, header.block_id
    batch.delete("runs", keys.runs_key(series, block_id))
    for number in (TIME_COLUMN, SEQUENCE_COLUMN, *header.columns):
        batch.delete("columns", keys.column_key(series, number, block_id))
    if header.summary_span:
        for number in (LAYOUT, *filter(header.has_summary, header.columns)):
            batch.delete("summaries", keys.summary_key(series, number, block_id))


def _go_on() -> None:
    """Nothing to check."""


def encode_block(
    series: int, window: int, block_id: int, rows: Rows, check: Callable[[], None] = _go_on
) -> EncodedBlock:
    """Encode one or more rows, sorted by (tag set, time, version), all of one window. Columns of nulls are left out.

    ``check`` is called between columns, of which there may be thousands; what it raises ends the encoding.
    """
    if len(rows) == 1:
        return _encode_point(series, window, block_id, rows)
    return _encode_rows(series, window, block_id, rows, check)


def _encode_point(series: int, window: int, block_id: int, rows: Rows) -> EncodedBlock:
    """A block of one row, the same bytes as from ``_encode_rows``: a store may have many series of a few points."""
    time, sequence, tagset = rows.times.item(), rows.sequences.item(), rows.tagset.item()
    encoded = {TIME_COLUMN: codec.encode_integer(time), SEQUENCE_COLUMN: codec.encode_integer(sequence)}
    stats: dict[int, ColumnStats] = {}
    for number in sorted(rows.columns):
        values = rows.columns[number]
        value = values[0].as_py()
        if value is None:
            continue
        kind = _KIND_OF_ARROW_ID[values.type.id]
        data = encoded[number] = codec.encode_value(value, kind)
        bound = None if kind is Kind.TEXT else math.nan if value != value else value
        stats[number] = ColumnStats(kind, 0, bound, bound, len(data))
    ids = codec.encode_integer(tagset)
    runs = seal(RUNS_MAGIC, RUNS_VERSION, _RUNS.pack(1, len(ids)), ids, _COUNT_OF_ONE)
    counter = sequence & COUNTER_MASK
    own = (len(encoded[TIME_COLUMN]), len(encoded[SEQUENCE_COLUMN]), len(runs))
    header = BlockHeader(
        series, window, block_id, 1, time, time, tagset, tagset, counter, counter, True, stats, *own
    )  # fmt: skip
    return EncodedBlock(header, runs, encoded, {})


_COUNT_OF_ONE = codec.encode_integer(1)
_KIND_OF_ARROW_ID = {kind.arrow.id: kind for kind in Kind}


def _encode_rows(series: int, window: int, block_id: int, rows: Rows, check: Callable[[], None]) -> EncodedBlock:
    encoded = {
        TIME_COLUMN: codec.encode_integers(rows.times),
        SEQUENCE_COLUMN: codec.encode_integers(rows.sequences),
    }
    stats: dict[int, ColumnStats] = {}
    for number in sorted(rows.columns):
        check()
        values = rows.columns[number]
        if values.null_count == len(values):
            continue
        kind = _KIND_OF_ARROW[values.type]
        data = codec.encode_column(values, kind)
        low, high = bounds(values, kind)
        stats[number] = ColumnStats(kind, values.null_count, low, high, len(data))
        encoded[number] = data
    runs = encode_runs(rows.tagset)
    span, summaries = encode_summaries(rows, check)
    counters = rows.sequences & COUNTER_MASK
    header = BlockHeader(
        series=series,
        window=window,
        block_id=block_id,
        rows=len(rows),
        min_time=int(rows.times.min()),
        max_time=int(rows.times.max()),
        min_tagset=int(rows.tagset[0]),
        max_tagset=int(rows.tagset[-1]),
        low_counter=int(counters.min()),
        high_counter=int(counters.max()),
        unique=bool(_unique(rows.tagset, rows.times)),
        columns=stats,
        time_bytes=len(encoded[TIME_COLUMN]),
        sequence_bytes=len(encoded[SEQUENCE_COLUMN]),
        runs_bytes=len(runs),
        summary_span=span,
        summary_bytes=sum(map(len, summaries.values())),
    )
    return EncodedBlock(header, runs, encoded, summaries)


_KIND_OF_ARROW = {kind.arrow: kind for kind in Kind}


def bounds(values: pa.Array, kind: Kind) -> tuple[Bound, Bound]:
    """(min, max) as ``ColumnStats`` has them; at least one value is there."""
    if kind is Kind.TEXT:
        return None, None
    if kind is Kind.BOOL:
        return values.false_count == 0, values.true_count > 0
    present = (values.drop_null() if values.null_count else values).to_numpy()
    low, high = present.min().item(), present.max().item()
    # NumPy's min and max are NaN if there is one.
    if high != high:
        numbers = present[~np.isnan(present)]
        # One NaN for all, whatever bits it came with.
        low, high = numbers.min().item() if len(numbers) else math.nan, math.nan
    return low, high


@kernel
def _unique(tagset: Int32s, times: Int64s) -> bool:
    for i in range(1, len(times)):  # noqa: SIM110 (numba compiles loops)
        if times[i] == times[i - 1] and tagset[i] == tagset[i - 1]:
            return False
    return True


def encode_runs(tagset: Int32s) -> bytes:
    """Row runs of a sorted column of tag set ids: the distinct ids and how many rows each has."""
    starts = _run_starts(tagset)
    counts = np.diff(np.append(starts, len(tagset)))
    ids = codec.encode_integers(tagset[starts].astype(np.int64))
    return seal(RUNS_MAGIC, RUNS_VERSION, _RUNS.pack(len(starts), len(ids)), ids, codec.encode_integers(counts))


def _run_starts(tagset: Int32s) -> Int64s:
    """The rows at which another tag set than before them starts; row 0 is the first."""
    return np.append(0, np.flatnonzero(tagset[1:] != tagset[:-1]) + 1)


_RUNS = struct.Struct(">II")


def decode_runs(data: bytes) -> tuple[Int32s, Int64s]:
    """(tag set ids int32[k], offsets int64[k + 1]): run i is the rows from offsets[i] to offsets[i + 1].

    Raises DataCorrupted.
    """
    payload = unseal(data, RUNS_MAGIC, RUNS_VERSION, "row runs")
    if len(payload) < _RUNS.size:
        raise DataCorrupted("row runs are cut off")
    count, ids_bytes = _RUNS.unpack_from(payload)
    if count > codec.MAX_ROWS:
        raise DataCorrupted(f"{count} row runs in one block")
    ids = codec.decode_integers(bytes(payload[_RUNS.size : _RUNS.size + ids_bytes]), count)
    counts = codec.decode_integers(bytes(payload[_RUNS.size + ids_bytes :]), count)
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    rising = bool((np.diff(ids) > 0).all())
    if count and not (int(counts.min()) > 0 and int(ids[0]) >= 0 and int(ids[-1]) < 2**31 and rising):
        raise DataCorrupted("row runs are empty or out of order")
    return ids.astype(np.int32), offsets


class BlockReader:
    """Reads one block's values. Its methods may be called by any thread; they raise DataCorrupted and IoError."""

    def __init__(self, rocks: Rocks, header: BlockHeader, cache: RunsCache) -> None:
        self._rocks = rocks
        self.header = header
        self.cache = cache
        self.bytes_read = 0

    def runs(self) -> tuple[Int32s, Int64s]:
        """``decode_runs`` of this block, from the cache if it is there; do not change the arrays."""
        key = keys.runs_key(self.header.series, self.header.block_id)
        found = self.cache.get(key)
        if found is None:
            data = self._rocks.get("runs", key)
            if data is None:
                raise DataCorrupted(f"{self._name()}: its row runs are missing")
            found = decode_runs(data)
            if int(found[1][-1]) != self.header.rows:
                raise DataCorrupted(f"{self._name()}: its runs hold {int(found[1][-1])} rows, not {self.header.rows}")
            self.cache.put(key, found)
            self.bytes_read += len(data)
        return found

    def hot(self, numbers: Sequence[int], *, keep: bool) -> dict[int, HotColumn]:
        """The columns that are kept decoded; with ``keep`` those that were read before may become so."""
        series, block_id = self.header.series, self.header.block_id
        kept = self.cache.hot.get_many([(series, block_id, number) for number in numbers])
        found: dict[int, HotColumn] = {}
        for number, column in zip(numbers, kept, strict=True):
            hot = self._warmed(number) if column is None and keep else column
            if hot is not None:
                found[number] = hot
        return found

    def _warmed(self, number: int) -> HotColumn | None:
        cache, key = self.cache, (self.header.series, self.header.block_id, number)
        stored = cache.columns.get(key)
        if stored is None:
            return None
        stored.found += 1
        found = hot_of(stored) if cache.hot.admits(stored.found) else None
        if found is not None:
            cache.hot.put(key, found)
            cache.columns.remove(key)
        return found

    def stored(self, numbers: Iterable[int], *, keep: bool = False) -> dict[int, StoredColumn]:
        """Columns, the reserved ones too, read at once and not yet decoded; those that no row has are missing.

        With ``keep`` they are cached: a scan of all rows would drive out what others come back to.
        """
        header, cache = self.header, self.cache.columns
        rows, stats = header.rows, header.columns
        found: dict[int, StoredColumn] = {}
        missing: list[int] = []
        for number in numbers:
            if number in stats or number in _RESERVED:
                known = cache.get((header.series, header.block_id, number))
                if known is None:
                    missing.append(number)
                else:
                    found[number] = known
        for number, data in zip(missing, self._values(missing) if missing else (), strict=True):
            kind = stats[number].kind if number in stats else codec.INTEGERS
            column = found[number] = StoredColumn(data, kind, rows)
            if keep:
                cache.put((header.series, header.block_id, number), column)
        return found

    def rows(self) -> Rows:
        """The whole block."""
        found = self.stored((TIME_COLUMN, SEQUENCE_COLUMN, *self.header.columns))
        ids, offsets = self.runs()
        return Rows(
            np.repeat(ids, np.diff(offsets)),
            found[TIME_COLUMN].integers(),
            found[SEQUENCE_COLUMN].integers(),
            {number: found[number].values() for number in self.header.columns},
        )

    def _values(self, numbers: Sequence[int]) -> list[bytes]:
        header = self.header
        wanted = [keys.column_key(header.series, number, header.block_id) for number in numbers]
        found: list[bytes] = []
        for number, value in zip(numbers, self._rocks.get_many("columns", wanted), strict=True):
            if value is None:
                raise DataCorrupted(f"{self._name()}: column {number} is missing")
            found.append(value)
            self.bytes_read += len(value)
        return found

    def _name(self) -> str:
        return f"block {self.header.block_id} of series {self.header.series}"


def hot_of_blocks(readers: Sequence[BlockReader], numbers: Sequence[int]) -> list[dict[int, HotColumn]]:
    """Of blocks of one store the columns that are kept decoded."""
    keys = [(each.header.series, each.header.block_id, number) for each in readers for number in numbers]
    found = readers[0].cache.hot.get_many(keys)
    width = len(numbers)
    return [
        {number: column for number, column in zip(numbers, found[at : at + width], strict=True) if column is not None}
        for at in range(0, len(found), width)
    ]


def cut_rows(rows: Rows, limit: int = ROWS_MAX) -> list[slice]:
    """Cut the sorted rows of a window into blocks of at most ``limit`` rows.

    Cuts are at tag set borders. A tag set with more rows than a block holds gets blocks of its own, of about one size
    and cut at a time's border (so that versions of one point stay in one block), or anywhere only if one point has
    more versions than ``limit``. So the blocks, as rectangles of tag sets × times, overlap nowhere.
    """
    total = len(rows)
    starts = np.append(_run_starts(rows.tagset), total)
    slices: list[slice] = []
    begin = 0
    while begin < total:
        end = min(begin + limit, total)
        border = int(starts[np.searchsorted(starts, end, side="right") - 1])
        if border > begin:
            slices.append(slice(begin, border))
        else:
            border = int(starts[np.searchsorted(starts, begin, side="right")])
            slices += _cut_tagset(rows.times, begin, border, limit)
        begin = border
    return slices


def _cut_tagset(times: Int64s, begin: int, stop: int, limit: int) -> Iterator[slice]:
    while begin < stop:
        blocks = -(-(stop - begin) // limit)
        end = begin + -(-(stop - begin) // blocks)
        if end < stop:
            end = _time_border(times, begin, end)
        yield slice(begin, end)
        begin = end


def _time_border(times: Int64s, begin: int, end: int) -> int:
    """The last place in (begin, end] of one tag set's rows where a new time starts; ``end`` if there is none."""
    # Times of one tag set are sorted.
    border = begin + int(np.searchsorted(times[begin:end], times[end], side="left"))
    return border if border > begin else end
