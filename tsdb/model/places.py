"""Where the points of a series lie on its database's ring.

Points of a bucket lie at one place. Those of a hot series may be cut into 2^k *slots* from some bucket on, by a hash of
the second of their time, each with a place of its own: slot 0's is the whole bucket's, so a series without slots is no
special case. Places are hashed by a kernel that does what ``tsdb.model.ring.bucket_hash`` does; whole seconds stay
together, so that points that come faster are still judged in stretches.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tsdb.kernels import borrowing, inlined, kernel
from tsdb.model.catalog import Database
from tsdb.model.ring import RING_SIZE, Location, Slots
from tsdb.model.time import BUCKET_NS, NS_MAX, NS_MIN, NS_PER_SECOND

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
UInt64s = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.intp]

_KEPT = 1024

_WORD = RING_SIZE - 1
_C1, _C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
_M1, _M2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_A1, _A2, _FIVE = np.uint64(0x52DCE729), np.uint64(0x38495AB5), np.uint64(5)
_S27, _S31, _S33, _S37 = np.uint64(27), np.uint64(31), np.uint64(33), np.uint64(37)
_S8, _OCTET, _OCTETS, _ONE = np.uint64(8), np.uint64(0xFF), np.uint64(32), np.uint64(1)


class Places:
    """The places of one series' points. Any thread may ask. ``state``, ``begins`` and ``bits`` are for kernels that ask
    for single ones (``place_of``): the hash's state, and the slots from the bucket at which each number of them begins.
    """

    def __init__(self, database: int, series: int, slots: tuple[Slots, ...] = ()) -> None:
        self.state = _after_first_block(database, series)
        settled = [each for each in slots if each.settled]
        self.begins: Int64s = np.array([each.from_bucket for each in settled], np.int64)
        self.bits: Int64s = np.array([each.bits for each in settled], np.int64)
        # What is wished for may be settled elsewhere by now: then points are in those slots.
        before, widest = 0, []
        for each in slots:
            widest.append(each.bits if each.settled else max(before, each.bits))
            before = each.bits if each.settled else before
        self._wished: tuple[Int64s, Int64s] = (
            np.array([each.from_bucket for each in slots], np.int64),
            np.array(widest, np.int64),
        )

    def indexes(self, locations: Sequence[Location], times: Int64s) -> Int32s:
        """Which of the locations, which cover the ring in order without a gap, has each point."""
        found = np.empty(len(times), np.int32)
        lows = np.array([each.low for each in locations], np.uint64)
        _locate(times, self.state, self.begins, self.bits, lows, found)
        return found

    def cut(self, locations: Sequence[Location], times: Int64s) -> list[tuple[Location, Rows | None]]:
        """The rows of a batch by location, in the order of these: (location, row indices in order); None means all."""
        if not len(times):
            return []
        at = self.indexes(locations, times)
        counts = np.bincount(at, minlength=len(locations))
        used = np.flatnonzero(counts).tolist()
        if len(used) == 1:
            return [(locations[used[0]], None)]
        return [(locations[each], np.flatnonzero(at == each)) for each in used]

    def locations(self, locations: Sequence[Location], first_bucket: int, last_bucket: int) -> list[Location]:
        """Those that may have points of these buckets, in order, also by slots that are wished for."""
        lows = np.array([each.low for each in locations], np.uint64)
        wanted = np.zeros(len(locations), np.bool_)
        _meet(first_bucket, last_bucket, self.state, *self._wished, lows, wanted)
        return [locations[each] for each in np.flatnonzero(wanted).tolist()]


@lru_cache(_KEPT)
def places_of(database: int, series: int, slots: tuple[Slots, ...] = ()) -> Places:
    return Places(database, series, slots)


def places_in(database: Database, series: int) -> Places:
    """Those of a series of a database, by its number, as the database has it now."""
    return places_of(database.number, series, database.slots_of(series))


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


@inlined
def _turned(rest: np.uint64) -> np.uint64:
    """The octets of a word in the other order."""
    word = np.uint64(0)
    for _ in range(8):
        word = (word << _S8) | (rest & _OCTET)
        rest >>= _S8
    return word


@borrowing
def place_of(bucket: int, slot: int, state: UInt64s) -> np.uint64:
    """Where a slot of a bucket lies on the ring."""
    h1, h2 = state[0], state[1]
    word = _turned(np.uint64(bucket)) * _C1
    word = (word << _S31) | (word >> _S33)
    h1 ^= word * _C2
    h1 = (h1 << _S27) | (h1 >> _S37)
    h1 = (h1 + h2) * _FIVE + _A1
    if slot:
        word = _turned(np.uint64(slot)) * _C2
        word = (word << _S33) | (word >> _S31)
        h2 ^= word * _C1
    h2 = (h2 << _S31) | (h2 >> _S33)
    h2 = (h2 + h1) * _FIVE + _A2
    h1 ^= _OCTETS
    h2 ^= _OCTETS
    h1 += h2
    h2 += h1
    return _mixed(h1) + _mixed(h2)


@borrowing
def bits_of(bucket: int, begins: Int64s, bits: Int64s) -> int:
    """Into how many slots a bucket is cut, as a power of two."""
    at = len(begins) - 1
    while at >= 0 and begins[at] > bucket:
        at -= 1
    return 0 if at < 0 else bits[at]


@borrowing
def slot_of(time: int, bits: int) -> int:
    """The slot of a time, in ns: the low bits of MurmurHash3's last mixing step over its second."""
    # Signed, as other numbers of slots are: with those, unsigned ones become floats in a kernel.
    return int(np.int64(_mixed(np.uint64(time // NS_PER_SECOND)) & ((_ONE << np.uint64(bits)) - _ONE)))


@borrowing
def ends_of(time: int, step: int) -> tuple[int, int]:
    """The first and the last ns of the step that a time is in; a step may begin before all times, and end after."""
    into = time - time // step * step
    rest = step - 1 - into
    first = time - into if time >= NS_MIN + into else NS_MIN
    return first, time + rest if time <= NS_MAX - rest else NS_MAX


@borrowing
def cell_of(time: int, begins: Int64s, bits: Int64s) -> tuple[int, int, int, int, int]:
    """What a time has its place with: its bucket, or a second of it. The bucket, the slot, into how many the bucket is
    cut, as a power of two, and the first and the last ns of the cell."""
    bucket = time // BUCKET_NS
    cut = bits_of(bucket, begins, bits)
    # Two calls: a step that the compiler knows needs no division.
    if cut:
        first, last = ends_of(time, NS_PER_SECOND)
        return bucket, slot_of(time, cut), cut, first, last
    first, last = ends_of(time, BUCKET_NS)
    return bucket, 0, cut, first, last


@borrowing
def index_of(place: np.uint64, lows: UInt64s) -> int:
    """Which of the parts of the ring that begin at ``lows``, rising from 0, has a place."""
    low, high = 0, len(lows)
    while high - low > 1:
        middle = (low + high) // 2
        if lows[middle] <= place:
            low = middle
        else:
            high = middle
    return low


@kernel
def _locate(times: Int64s, state: UInt64s, begins: Int64s, bits: Int64s, lows: UInt64s, found: Int32s) -> None:
    begin, end, at = 1, 0, 0
    for i in range(len(times)):
        time = times[i]
        if time < begin or time > end:
            bucket, slot, _, begin, end = cell_of(time, begins, bits)
            at = index_of(place_of(bucket, slot, state), lows)
        found[i] = at


@kernel
def _meet(
    first: int, last: int, state: UInt64s, begins: Int64s, bits: Int64s, lows: UInt64s, wanted: npt.NDArray[np.bool_]
) -> None:
    missing = len(wanted)
    for bucket in range(first, last + 1):
        for slot in range(1 << bits_of(bucket, begins, bits)):
            at = index_of(place_of(bucket, slot, state), lows)
            if not wanted[at]:
                wanted[at] = True
                missing -= 1
                if not missing:
                    return
