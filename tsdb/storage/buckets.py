"""Which buckets of a series are wanted, where a scan is for some intervals of its database's ring alone.

A node has points that another one answers for, and a scan that several nodes share must give each point once. Where a
point lies on the ring is a hash of its bucket of five minutes, so what is wanted of a series is stretches of time, each
a bucket or a few long: blocks, summary cells and rows are judged by their times. Buckets of a hot series may be cut
into slots (``tsdb.model.places``): then it is each second of such a bucket that is wanted or is not. A slot of a bucket
is hashed once: what came of it is kept, for the next scan of the same intervals as well.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tsdb.kernels import borrowing, inlined, kernel
from tsdb.model.places import bits_of, cell_of, ends_of, place_of, places_of, slot_of
from tsdb.model.ring import Intervals, Slots
from tsdb.model.time import BUCKET_NS, NS_MIN, NS_PER_SECOND
from tsdb.storage.selection import Selection

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

# What a stretch of time has of wanted points.
NONE, SOME, ALL = range(3)
# Slots whose judgement is kept: two weeks of whole buckets, at 32 KiB; a week of buckets in 8 slots.
_KEPT, _KEPT_OF_SLOTS = 4096, 16384
_KEPT_CHOICES = 128
# 2 · bucket + whether it is wanted, which is never negative by so much.
_UNKNOWN = NS_MIN


class Buckets:
    """The buckets of a series, or slots of them, that hash into some intervals [low, high) of the ring. Any thread may
    ask."""

    def __init__(self, database: int, series: int, intervals: Intervals, slots: tuple[Slots, ...] = ()) -> None:
        places = places_of(database, series, slots)
        self._begins, self._bits = places.begins, places.bits
        wanted = np.array([(low, high - 1) for low, high in intervals if low < high], np.uint64).reshape(-1, 2)
        # Slots of a bucket have places of their own in it.
        known = np.full(_KEPT_OF_SLOTS if self._bits.any() else _KEPT, _UNKNOWN, np.int64)
        self._rule = places.state, places.begins, places.bits, wanted, known

    def keep(self, times: Int64s) -> Mask:
        """Which times are wanted."""
        keep = np.empty(len(times), np.bool_)
        _mark(times, keep, *self._rule)
        return keep

    def stretches(self, first: Int64s, last: Int64s) -> npt.NDArray[np.int8]:
        """NONE, SOME or ALL of each stretch of time, from ``first`` to ``last``, is wanted, whatever is in it."""
        found = np.empty(len(first), np.int8)
        _judge(first, last, found, *self._rule)
        return found

    def stretch(self, first: int, last: int) -> int:
        return int(self.stretches(np.array([first], np.int64), np.array([last], np.int64))[0])

    def are_cut(self, low: int, high: int) -> bool:
        """Whether a bucket with times in [``low``, ``high``) is cut into slots."""
        first, last = low // BUCKET_NS, (high - 1) // BUCKET_NS
        begins = self._begins.tolist()
        found = zip(begins, [*begins[1:], last + 1], self._bits.tolist(), strict=False)
        return any(bits and begin <= last and first < end for begin, end, bits in found)

    def spans(self, low: int, high: int, most: int) -> list[tuple[int, int]] | None:
        """The times in [``low``, ``high``) that are wanted, as ranges; None where they are more than ``most`` buckets
        that have to be looked at, or some of these are cut (see ``seconds``)."""
        if low >= high:
            return []
        first, last = low // BUCKET_NS, (high - 1) // BUCKET_NS
        if last - first >= most or self.are_cut(low, high):
            return None
        wanted = np.empty(last - first + 1, np.bool_)
        _tell(first, wanted, *self._rule)
        edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False)) + first
        return [
            (max(low, begin * BUCKET_NS), min(high, end * BUCKET_NS))
            for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        ]

    def seconds(self, low: int, high: int) -> Mask:
        """Which seconds are wanted, from that of ``low`` on, which has to begin after the begin of all time."""
        first, last = low // NS_PER_SECOND, (high - 1) // NS_PER_SECOND
        return self.keep(np.arange(first, last + 1, dtype=np.int64) * NS_PER_SECOND)

    def trimmed(self, selection: Selection, times: Int64s, *, oldest: bool) -> Selection:
        """Row ranges without the rows behind their last wanted one (or before their first); ``times`` are of all
        rows."""
        starts, stops = selection.starts.copy(), selection.stops.copy()
        _trim(starts, stops, times, oldest, *self._rule)
        filled = starts < stops
        starts, stops = starts[filled], stops[filled]
        return Selection(starts, stops, selection.tagsets[filled], int((stops - starts).sum()))


@lru_cache(_KEPT_CHOICES)
def buckets_of(database: int, series: int, intervals: Intervals, slots: tuple[Slots, ...] = ()) -> Buckets:
    return Buckets(database, series, intervals, slots)


@inlined
def _is_wanted(bucket: int, slot: int, cut: int, state: UInt64s, intervals: UInt64s, known: Int64s) -> bool:
    """``cut``: into how many slots the bucket is cut, as a power of two."""
    # One word says which bucket it is about and what: other threads write them, too.
    at = (bucket << cut) + slot & (len(known) - 1)
    told = known[at]
    if told >> 1 != bucket:
        told = known[at] = 2 * bucket + _is_within(place_of(bucket, slot, state), intervals)
    return bool(told & 1)


@borrowing
def _is_within(place: np.uint64, intervals: UInt64s) -> bool:
    within = False
    for i in range(len(intervals)):
        within |= intervals[i, 0] <= place and place <= intervals[i, 1]
    return within


@borrowing
def _is_time_wanted(
    time: int, state: UInt64s, begins: Int64s, bits: Int64s, intervals: UInt64s, known: Int64s
) -> bool:  # fmt: skip
    bucket, slot, cut, _, _ = cell_of(time, begins, bits)
    return _is_wanted(bucket, slot, cut, state, intervals, known)


@borrowing
def _of_slots(
    bucket: int, cut: int, first: int, last: int, state: UInt64s, intervals: UInt64s, known: Int64s
) -> int:  # fmt: skip
    """What is wanted of a bucket that is cut, within a stretch."""
    wanted = _is_wanted(bucket, 0, cut, state, intervals, known)
    slot = 1
    while slot < 1 << cut and _is_wanted(bucket, slot, cut, state, intervals, known) == wanted:
        slot += 1
    if slot == 1 << cut:
        return ALL if wanted else NONE
    # A bucket may begin before all times, and end after them: that of the stretch's own end.
    time = first if first // BUCKET_NS == bucket else bucket * BUCKET_NS
    end = last if last // BUCKET_NS == bucket else bucket * BUCKET_NS + (BUCKET_NS - 1)
    wanted = _is_wanted(bucket, slot_of(time, cut), cut, state, intervals, known)
    until = ends_of(time, NS_PER_SECOND)[1]
    while until < end:
        if _is_wanted(bucket, slot_of(until + 1, cut), cut, state, intervals, known) != wanted:
            return SOME
        until = ends_of(until + 1, NS_PER_SECOND)[1]
    return ALL if wanted else NONE


@inlined
def _of_bucket(
    bucket: int, first: int, last: int, state: UInt64s, begins: Int64s, bits: Int64s, intervals: UInt64s,
    known: Int64s,
) -> int:  # fmt: skip
    """What is wanted of a bucket, within a stretch."""
    cut = bits_of(bucket, begins, bits)
    if cut:
        return _of_slots(bucket, cut, first, last, state, intervals, known)
    return ALL if _is_wanted(bucket, 0, 0, state, intervals, known) else NONE


@kernel
def _mark(
    times: Int64s, keep: Mask, state: UInt64s, begins: Int64s, bits: Int64s, intervals: UInt64s, known: Int64s
) -> None:  # fmt: skip
    begin, end, wanted = 1, 0, False
    for i in range(len(times)):
        time = times[i]
        if time < begin or time > end:
            bucket, slot, cut, begin, end = cell_of(time, begins, bits)
            wanted = _is_wanted(bucket, slot, cut, state, intervals, known)
        keep[i] = wanted


@kernel
def _judge(
    first: Int64s, last: Int64s, found: npt.NDArray[np.int8], state: UInt64s, begins: Int64s, bits: Int64s,
    intervals: UInt64s, known: Int64s,
) -> None:  # fmt: skip
    for i in range(len(first)):
        bucket, end = first[i] // BUCKET_NS, last[i] // BUCKET_NS
        has = _of_bucket(bucket, first[i], last[i], state, begins, bits, intervals, known)
        while bucket < end and has != SOME:
            bucket += 1
            if _of_bucket(bucket, first[i], last[i], state, begins, bits, intervals, known) != has:
                has = SOME
        found[i] = has


@kernel
def _tell(
    first: int, wanted: Mask, state: UInt64s, begins: Int64s, bits: Int64s, intervals: UInt64s, known: Int64s
) -> None:  # fmt: skip
    """Of buckets that are not cut."""
    for i in range(len(wanted)):
        wanted[i] = _is_wanted(first + i, 0, 0, state, intervals, known)


@kernel
def _trim(
    starts: Int64s, stops: Int64s, times: Int64s, oldest: bool, state: UInt64s, begins: Int64s, bits: Int64s,
    intervals: UInt64s, known: Int64s,
) -> None:  # fmt: skip
    for i in range(len(starts)):
        if oldest:
            while starts[i] < stops[i] and not _is_time_wanted(
                times[starts[i]], state, begins, bits, intervals, known
            ):  # fmt: skip
                starts[i] += 1
        else:
            while starts[i] < stops[i] and not _is_time_wanted(
                times[stops[i] - 1], state, begins, bits, intervals, known
            ):  # fmt: skip
                stops[i] -= 1
