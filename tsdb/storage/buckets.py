"""Which buckets of a series are wanted, where a scan is for some intervals of its database's ring alone.

A node has points that another one answers for, and a scan that several nodes share must give each point once. Where a
point lies on the ring is a hash of its bucket of five minutes, so what is wanted of a series is stretches of time, each
a bucket or a few long: blocks, summary cells and rows are judged by their times. A bucket is hashed once: what came of
it is kept, for the next scan of the same intervals as well.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tsdb.kernels import borrowing, inlined, kernel
from tsdb.model.ring import RING_SIZE, Intervals
from tsdb.model.time import BUCKET_NS, NS_MAX, NS_MIN
from tsdb.storage.selection import Selection

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

# What a stretch of time has of wanted buckets.
NONE, SOME, ALL = range(3)
# Buckets whose judgement is kept: two weeks, at 32 KiB.
_KEPT = 4096
_KEPT_CHOICES = 128
# 2 · bucket + whether it is wanted, which is never negative by so much.
_UNKNOWN = NS_MIN

_WORD = RING_SIZE - 1
_C1, _C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
_M1, _M2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_A1, _A2, _FIVE = np.uint64(0x52DCE729), np.uint64(0x38495AB5), np.uint64(5)
_S27, _S31, _S33, _S37 = np.uint64(27), np.uint64(31), np.uint64(33), np.uint64(37)
_S8, _OCTET, _OCTETS = np.uint64(8), np.uint64(0xFF), np.uint64(32)


class Buckets:
    """The buckets of a series that hash into some intervals [low, high) of the ring. Any thread may ask."""

    def __init__(self, database: int, series: int, intervals: Intervals) -> None:
        self._state = _after_first_block(database, series)
        self._intervals: UInt64s = np.array(
            [(low, high - 1) for low, high in intervals if low < high], np.uint64
        ).reshape(-1, 2)
        self._known: Int64s = np.full(_KEPT, _UNKNOWN, np.int64)

    def keep(self, times: Int64s) -> Mask:
        """Which times are in wanted buckets."""
        keep = np.empty(len(times), np.bool_)
        _mark(times, self._state, self._intervals, self._known, keep)
        return keep

    def stretches(self, first: Int64s, last: Int64s) -> npt.NDArray[np.int8]:
        """NONE, SOME or ALL of the buckets of each stretch of time, from ``first`` to ``last``, are wanted."""
        found = np.empty(len(first), np.int8)
        _judge(first, last, self._state, self._intervals, self._known, found)
        return found

    def stretch(self, first: int, last: int) -> int:
        return int(self.stretches(np.array([first], np.int64), np.array([last], np.int64))[0])

    def spans(self, low: int, high: int, most: int) -> list[tuple[int, int]] | None:
        """The times in [``low``, ``high``) that are wanted, as ranges; None where they are more than ``most`` buckets
        that have to be looked at."""
        if low >= high:
            return []
        first, last = low // BUCKET_NS, (high - 1) // BUCKET_NS
        if last - first >= most:
            return None
        wanted = np.empty(last - first + 1, np.bool_)
        _tell(first, self._state, self._intervals, self._known, wanted)
        edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False)) + first
        return [
            (max(low, begin * BUCKET_NS), min(high, end * BUCKET_NS))
            for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        ]

    def trimmed(self, selection: Selection, times: Int64s, *, oldest: bool) -> Selection:
        """Row ranges without the rows behind their last wanted one (or before their first); ``times`` are of all
        rows."""
        starts, stops = selection.starts.copy(), selection.stops.copy()
        _trim(starts, stops, times, oldest, self._state, self._intervals, self._known)
        filled = starts < stops
        starts, stops = starts[filled], stops[filled]
        return Selection(starts, stops, selection.tagsets[filled], int((stops - starts).sum()))


@lru_cache(_KEPT_CHOICES)
def buckets_of(database: int, series: int, intervals: Intervals) -> Buckets:
    return Buckets(database, series, intervals)


# --- MurmurHash3 x64 128, as ``tsdb.model.ring.bucket_hash``: of the buckets of one series the first 16 octets are the
# --- same.


def _after_first_block(database: int, series: int) -> UInt64s:
    """The hash's state after the database and the series."""
    first, second = (int.from_bytes(number.to_bytes(8, "big", signed=True), "little") for number in (database, series))
    c1, c2 = int(_C1), int(_C2)
    h1 = _rotated(_rotated(first * c1 & _WORD, 31) * c2 & _WORD, 27) * 5 + int(_A1) & _WORD
    h2 = _rotated(_rotated(second * c2 & _WORD, 33) * c1 & _WORD, 31) + h1 & _WORD
    return np.array([h1, h2 * 5 + int(_A2) & _WORD], np.uint64)


def _rotated(word: int, by: int) -> int:
    return (word << by | word >> 64 - by) & _WORD


@inlined
def _mixed(word: np.uint64) -> np.uint64:
    word ^= word >> _S33
    word *= _M1
    word ^= word >> _S33
    word *= _M2
    return word ^ (word >> _S33)


@borrowing
def _place(bucket: int, state: UInt64s) -> np.uint64:
    """Where a bucket lies on the ring."""
    rest, word = np.uint64(bucket), np.uint64(0)
    for _ in range(8):
        word = (word << _S8) | (rest & _OCTET)
        rest >>= _S8
    word *= _C1
    word = (word << _S31) | (word >> _S33)
    word *= _C2
    h1, h2 = state[0] ^ word, state[1]
    h1 = (h1 << _S27) | (h1 >> _S37)
    h1 = (h1 + h2) * _FIVE + _A1
    h2 = (h2 << _S31) | (h2 >> _S33)
    h2 = (h2 + h1) * _FIVE + _A2
    h1 ^= _OCTETS
    h2 ^= _OCTETS
    h1 += h2
    h2 += h1
    return _mixed(h1) + _mixed(h2)


@borrowing
def _is_wanted(bucket: int, state: UInt64s, intervals: UInt64s, known: Int64s) -> bool:
    # One word says which bucket it is about and what: other threads write them, too.
    slot = bucket & (_KEPT - 1)
    told = known[slot]
    if told >> 1 == bucket and told != _UNKNOWN:
        return bool(told & 1)
    place = _place(bucket, state)
    wanted = False
    for i in range(len(intervals)):
        wanted |= intervals[i, 0] <= place and place <= intervals[i, 1]
    known[slot] = 2 * bucket + wanted
    return wanted


@kernel
def _mark(times: Int64s, state: UInt64s, intervals: UInt64s, known: Int64s, keep: Mask) -> None:
    begin, end, wanted = 1, 0, False
    for i in range(len(times)):
        time = times[i]
        if time < begin or time > end:
            bucket = time // BUCKET_NS
            into = time - bucket * BUCKET_NS
            rest = BUCKET_NS - 1 - into
            # A bucket may begin before all times, and end after them.
            begin = time - into if time >= NS_MIN + into else NS_MIN
            end = time + rest if time <= NS_MAX - rest else NS_MAX
            wanted = _is_wanted(bucket, state, intervals, known)
        keep[i] = wanted


@kernel
def _judge(
    first: Int64s, last: Int64s, state: UInt64s, intervals: UInt64s, known: Int64s, found: npt.NDArray[np.int8]
) -> None:
    for i in range(len(first)):
        bucket, end = first[i] // BUCKET_NS, last[i] // BUCKET_NS
        wanted = _is_wanted(bucket, state, intervals, known)
        found[i] = ALL if wanted else NONE
        while bucket < end:
            bucket += 1
            if _is_wanted(bucket, state, intervals, known) != wanted:
                found[i] = SOME
                break


@kernel
def _tell(first: int, state: UInt64s, intervals: UInt64s, known: Int64s, wanted: Mask) -> None:
    for i in range(len(wanted)):
        wanted[i] = _is_wanted(first + i, state, intervals, known)


@kernel
def _trim(
    starts: Int64s, stops: Int64s, times: Int64s, oldest: bool, state: UInt64s, intervals: UInt64s, known: Int64s
) -> None:
    for i in range(len(starts)):
        if oldest:
            while starts[i] < stops[i] and not _is_wanted(times[starts[i]] // BUCKET_NS, state, intervals, known):
                starts[i] += 1
        else:
            while starts[i] < stops[i] and not _is_wanted(times[stops[i] - 1] // BUCKET_NS, state, intervals, known):
                stops[i] -= 1
