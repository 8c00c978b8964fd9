"""Digests of the visible points of a database, by location and slice of time: what its replicas compare.

A digest is how many points there are and the sum, modulo 2**64, of their hashes. So it says what is there, and nothing
of how it came: neither the layout of blocks nor what is still in a head, neither tag set ids nor point sequences are in
it, and no order of rows. A point's hash is of its series, tag set by value, time, and fields that are not null.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.kernels import borrowing, readonly
from tsdb.model.byte_strings import Bytes, Int64s, hash_of
from tsdb.model.places import places_in
from tsdb.model.schema import Database, Series
from tsdb.model.store import SEQUENCE, TIME_NS, ScanRequest, TimeRange
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.storage.batches import Piece, joined
from tsdb.storage.view import StorageView

UInt64s = npt.NDArray[np.uint64]

SLICES = 16
"""So many slices of a time range are told apart."""
_SEED = np.uint64(0x9E3779B97F4A7C15)
_TEXT_SEED = np.uint64(0xD6E8FEB86659FD93)
_NAN = np.uint64(0x7FF8000000000000)
_SHIFTS = tuple(np.uint64(each) for each in (30, 27, 31))
_FACTORS = tuple(np.uint64(each) for each in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_DIGEST = struct.Struct("<QQ")
BYTES = _DIGEST.size
"""Of a slice."""


def digests_of(
    view: StorageView, database: Database, edges: Sequence[int], pause: Callable[[], None]
) -> dict[int, bytes]:
    """By location, the digests of the slices [edges[i], edges[i + 1]) in ns; ``decode`` reads them. ``pause`` is called
    again and again meanwhile, and may raise. Raises DataCorrupted."""
    locations = database.locations
    table = np.zeros((len(locations) * (len(edges) - 1), 2), np.uint64)
    for series in database.series.values():
        _add(table, view, database, series, edges, pause)
    sizes = (len(locations), len(edges) - 1, 2)
    return {
        location.number: slices.astype("<u8").tobytes()
        for location, slices in zip(locations, table.reshape(sizes), strict=True)
    }


def decode(digests: bytes) -> list[tuple[int, int]]:
    """(points, sum of their hashes) by slice."""
    return [*_DIGEST.iter_unpack(digests)]


def edges_of(view: StorageView, database: Database, points_max: int, after: int) -> tuple[int, ...]:
    """Slices of about as many points each: of all, or of about ``points_max``, those that begin at ``after`` or later,
    and if there are none, of the oldest. What is older or newer than all points is in the first and the last slice."""
    blocks = [view.version.blocks[each] for each in (s.number for s in database.series.values())
              if each in view.version.blocks]  # fmt: skip
    times = np.concatenate([np.empty(0, np.int64), *(each.min_time for each in blocks)])
    rows = np.concatenate([np.empty(0, np.int64), *(each.rows for each in blocks)])
    order = np.argsort(times, kind="stable")
    times, rows = times[order], rows[order]
    first = int(np.searchsorted(times, after)) if rows.sum() > points_max else 0
    first = 0 if first == len(times) else first
    sums = np.cumsum(rows[first:])
    count = int(np.searchsorted(sums, points_max, "right")) or 1
    wanted = np.arange(1, SLICES) * (sums[min(count, len(sums)) - 1] / SLICES if len(sums) else 0)
    inner = times[first:][np.minimum(np.searchsorted(sums, wanted), len(sums) - 1)] if len(sums) else times
    low = NS_MIN if first == 0 else int(times[first])
    high = int(times[first + count]) if first + count < len(times) else NS_MAX
    return (low, *(int(each) for each in np.unique(inner) if low < each < high), high)


def _add(
    table: UInt64s, view: StorageView, database: Database, series: Series, edges: Sequence[int],
    pause: Callable[[], None],
) -> None:  # fmt: skip
    """A series' points, to the digests of their locations and slices."""
    slices = len(edges) - 1
    inner = np.array(edges[1:-1], np.int64)
    places = places_in(database, series.number)
    known = view.tagsets(series.number).all()
    tagsets = _hashed(known.data, known.offsets)
    # Sequences are in no digest, but who cannot read them has lost something.
    columns: tuple[int | str, ...] = (TIME_NS, SEQUENCE, *(c.number for c in series.fields))
    request = ScanRequest(series, columns, TimeRange(edges[0], edges[-1]))
    for piece in joined(view.pieces(request)):
        pause()
        assert piece.times is not None
        group = places.indexes(database.locations, piece.times) * slices + np.searchsorted(inner, piece.times, "right")
        order = np.argsort(group, kind="stable")
        group = group[order]
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        table[group[starts], 0] += np.diff(starts, append=len(group)).astype(np.uint64)
        table[group[starts], 1] += np.add.reduceat(_rows(series.number, piece, tagsets)[order], starts)


def _rows(series: int, piece: Piece, tagsets: UInt64s) -> UInt64s:
    """A hash of each row."""
    assert piece.times is not None
    assert piece.tagset is not None
    keys = _mixed(piece.times.view(np.uint64) + _mixed(np.full(1, series, np.uint64)))
    fields = np.zeros(piece.rows, np.uint64)
    for number, values in piece.columns.items():
        if values.null_count == len(values):
            continue
        own = _mixed(_words(values) ^ _mixed(np.full(1, number, np.uint64)))
        if values.null_count:
            own[values.is_null().to_numpy(zero_copy_only=False)] = 0
        fields += own
    return _mixed((keys ^ tagsets[piece.tagset]) + _mixed(fields))


def _words(values: pa.Array) -> UInt64s:
    """64 bits that stand for each value; of what is null, any."""
    if isinstance(values, pa.StringArray):
        offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]
        text = values.buffers()[2]
        return _hashed(np.frombuffer(text if text is not None else b"", np.uint8), offsets.astype(np.int64))
    if isinstance(values, pa.BooleanArray):
        bits: UInt64s = values.cast(pa.uint8()).fill_null(0).to_numpy(zero_copy_only=False).astype(np.uint64)
        return bits
    words: UInt64s = np.frombuffer(values.buffers()[1], np.uint64)[values.offset : values.offset + len(values)]
    if isinstance(values, pa.DoubleArray):
        return np.where(np.isnan(words.view(np.float64)), _NAN, words)
    return words


def _mixed(words: UInt64s) -> UInt64s:
    """Each word as another one: every bit depends on all (splitmix64)."""
    words = words + _SEED
    for shift, factor in zip(_SHIFTS, _FACTORS, strict=False):
        words ^= words >> shift
        words *= factor
    return words ^ words >> _SHIFTS[-1]


def _hashed(data: Bytes, offsets: Int64s) -> UInt64s:
    """A hash of each string ``data[offsets[i]:offsets[i + 1]]``."""
    found = np.empty(len(offsets) - 1, np.uint64)
    _hash_strings(readonly(data), readonly(offsets), _TEXT_SEED, found)
    return found


@borrowing
def _hash_strings(data: Bytes, offsets: Int64s, seed: np.uint64, found: UInt64s) -> None:
    for i in range(len(found)):
        found[i] = hash_of(data, offsets[i], offsets[i + 1] - offsets[i], seed)
