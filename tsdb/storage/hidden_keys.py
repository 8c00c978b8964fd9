"""The rows that key tombstones hide, as sorted arrays that each row of a scan is looked up in.

A series that is updated row by row gets a key tombstone for each statement, and keeps them as long as blocks have what
they hide. So they are not judged one by one: their keys are joined into few sorted *levels*, each twice as long
or more as the next (as a log-structured merge tree does), and a key that is named again and again is there once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.kernels import kernel
from tsdb.storage.rows import COUNTER_MASK
from tsdb.storage.tagsets import TagSets
from tsdb.storage.tombstone import KeyTombstone

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class HiddenKeys:
    """Distinct (tag set id, time, sequence), sorted, and for each the highest counter ``limits`` that it hides.

    A sequence of 0 stands for every version of the key; another names one row of a keyless series. Of a keyed series
    all are 0: what a DELETE saw of a key bounds the limit, and what was written since stays.
    """

    tagset: Int32s
    times: Int64s
    sequences: Int64s
    limits: Int64s
    min_time: int
    max_time: int
    max_limit: int
    named: bool

    def __len__(self) -> int:
        return len(self.times)

    @property
    def nbytes(self) -> int:
        return self.tagset.nbytes + self.times.nbytes + self.sequences.nbytes + self.limits.nbytes

    def mark(self, tagset: Int32s, times: Int64s, sequences: Int64s, hidden: Mask) -> None:
        """Set ``hidden`` where a row is hidden."""
        _mark(
            tagset, times, sequences, self.tagset, self.times, self.sequences, self.limits,
            COUNTER_MASK, self.named, hidden,
        )  # fmt: skip

    def meet(self, tagset: Int64s, first: Int64s, last: Int64s, found: Mask) -> None:
        """Set ``found`` where a tag set has a key with a time in [first, last]."""
        _meet(tagset, first, last, self.tagset, self.times, found)


def with_stones(
    levels: tuple[HiddenKeys, ...], stones: Sequence[KeyTombstone], tagsets: TagSets, keyed: bool
) -> tuple[HiddenKeys, ...]:
    """Levels that hide what ``levels`` and ``stones`` hide. Each key is copied log(n) times over all calls."""
    columns = [_columns(stone, tagsets, keyed) for stone in stones]
    new = _sorted([each for each in columns if len(each[0])])
    if new is None:
        return levels
    stack = [*levels, new]
    while len(stack) > 1 and len(stack[-2]) < 2 * len(stack[-1]):
        last = _sorted([(k.tagset, k.times, k.sequences, k.limits) for k in stack[-2:]])
        assert last is not None
        stack[-2:] = [last]
    return tuple(stack)


_Columns = tuple[Int32s, Int64s, Int64s, Int64s]


def _columns(stone: KeyTombstone, tagsets: TagSets, keyed: bool) -> _Columns:
    """Its keys by tag set id; a tag set without an id here has no points here."""
    ids = tagsets.ids(stone.tagsets)[stone.tagset]
    sequences = np.zeros(len(ids), np.int64) if stone.sequences is None else stone.sequences
    limits = np.full(len(ids), (stone.counter & COUNTER_MASK) - 1, np.int64)
    if keyed:
        limits = np.where(sequences == 0, limits, np.minimum(limits, sequences & COUNTER_MASK))
        sequences = np.zeros(len(ids), np.int64)
    known = ids >= 0
    return ids[known], stone.times[known], sequences[known], limits[known]


def _sorted(columns: Sequence[_Columns]) -> HiddenKeys | None:
    if not columns:
        return None
    tagset, times, sequences, limits = (np.concatenate(each) for each in zip(*columns, strict=True))
    order = np.lexsort((limits, sequences, times, tagset))
    tagset, times, sequences, limits = tagset[order], times[order], sequences[order], limits[order]
    # Of equal keys the last has the highest limit.
    last = np.ones(len(times), np.bool_)
    last[:-1] = (tagset[1:] != tagset[:-1]) | (times[1:] != times[:-1]) | (sequences[1:] != sequences[:-1])
    tagset, times, sequences, limits = tagset[last], times[last], sequences[last], limits[last]
    return HiddenKeys(
        tagset, times, sequences, limits, int(times.min()), int(times.max()), int(limits.max()), bool(sequences.any())
    )


@kernel
def _find(
    keys: Int32s, key_times: Int64s, key_sequences: Int64s, tagset: int, time: int, sequence: int
) -> int:  # fmt: skip
    """The place of a key, −1 where there is none."""
    low, high = 0, len(keys)
    while low < high:
        middle = (low + high) // 2
        if keys[middle] != tagset:
            before = keys[middle] < tagset
        elif key_times[middle] != time:
            before = key_times[middle] < time
        else:
            before = key_sequences[middle] < sequence
        if before:
            low = middle + 1
        else:
            high = middle
    if low < len(keys) and keys[low] == tagset and key_times[low] == time and key_sequences[low] == sequence:
        return low
    return -1


@kernel
def _meet(tagset: Int64s, first: Int64s, last: Int64s, keys: Int32s, key_times: Int64s, found: Mask) -> None:
    for i in range(len(tagset)):
        low, high = 0, len(keys)
        while low < high:
            middle = (low + high) // 2
            if keys[middle] < tagset[i] or (keys[middle] == tagset[i] and key_times[middle] < first[i]):
                low = middle + 1
            else:
                high = middle
        if low < len(keys) and keys[low] == tagset[i] and key_times[low] <= last[i]:
            found[i] = True


@kernel
def _mark(
    tagset: Int32s, times: Int64s, sequences: Int64s, keys: Int32s, key_times: Int64s, key_sequences: Int64s,
    limits: Int64s, mask: int, named: bool, hidden: Mask,
) -> None:  # fmt: skip
    for row in range(len(times)):
        if hidden[row]:
            continue
        counter = sequences[row] & mask
        at = _find(keys, key_times, key_sequences, tagset[row], times[row], 0)
        if at >= 0 and counter <= limits[at]:
            hidden[row] = True
        elif named:
            at = _find(keys, key_times, key_sequences, tagset[row], times[row], sequences[row])
            hidden[row] = at >= 0 and counter <= limits[at]
