"""Sorting versions by (tag set, time, version), and merging those of equal keys: the kernels of head, flush and scan.

Data that comes in order is cheap: sorted rows are only looked at once; rows in time order, whatever the order of
their tag sets, take one counting sort. Only tag sets whose own rows are out of order are merge-sorted.

*Merge* (design section 2): of the versions of one key, each field's value is the non-null value of the highest version;
the row's sequence is the highest one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.kernels import kernel
from tsdb.storage.rows import COUNTER_MASK, Rows

Int64s = npt.NDArray[np.int64]

_UNSORTED, _SORTED, _UNIQUE = 0, 1, 2
# A counting sort's table may have this many slots for each row; beyond it, an ordinary stable sort is cheaper.
_SLOTS_PER_ROW = 4
_SLOTS_FREE = 1 << 16


@kernel
def _version(sequence: np.int64) -> np.uint64:
    """The order of versions, (counter, node id), as one number: the sequence rotated by the node id's 16 bits."""
    bits = np.uint64(sequence)
    return (bits << np.uint64(16)) | (bits >> np.uint64(48))


@kernel
def _order_of(tagset: npt.NDArray[np.int32], times: Int64s, sequences: Int64s) -> int:
    """_UNSORTED, _SORTED, or _UNIQUE when sorted and no two rows have the same (tag set, time)."""
    state = 2
    for i in range(1, len(times)):
        if tagset[i] != tagset[i - 1]:
            if tagset[i] < tagset[i - 1]:
                return 0
        elif times[i] != times[i - 1]:
            if times[i] < times[i - 1]:
                return 0
        else:
            if _version(sequences[i]) < _version(sequences[i - 1]):
                return 0
            state = 1
    return state


@kernel
def bounds(times: Int64s, sequences: Int64s) -> tuple[int, int, int, int]:
    """The least and the most of times, and of counters; of at least one row."""
    first = sequences[0] & COUNTER_MASK
    least, most, low, high = times[0], times[0], first, first
    for row in range(1, len(times)):
        least, most = min(least, times[row]), max(most, times[row])
        counter = sequences[row] & COUNTER_MASK
        low, high = min(low, counter), max(high, counter)
    return least, most, low, high


@kernel
def _counting_order(tagset: npt.NDArray[np.int32], low: int, slots: int) -> Int64s:
    """Stable order by tag set; ids lie in [low, low + slots)."""
    starts = np.zeros(slots + 1, np.int64)
    for i in range(len(tagset)):
        starts[tagset[i] - low + 1] += 1
    for slot in range(slots):
        starts[slot + 1] += starts[slot]
    order = np.empty(len(tagset), np.int64)
    for i in range(len(tagset)):
        slot = tagset[i] - low
        order[starts[slot]] = i
        starts[slot] += 1
    return order


@kernel
def _before(a: int, b: int, times: Int64s, sequences: Int64s) -> bool:
    """Does row ``a`` come strictly before row ``b`` within a tag set?"""
    if times[a] != times[b]:
        return bool(times[a] < times[b])
    return bool(_version(sequences[a]) < _version(sequences[b]))


@kernel
def _merge_pass(source: Int64s, target: Int64s, bounds: Int64s, runs: int, times: Int64s, sequences: Int64s) -> int:
    """Merge neighbouring ascending runs of ``source`` two by two into ``target``; ``bounds`` shrink in place."""
    merged = 0
    run = 0
    while run < runs:
        low, middle = bounds[run], bounds[run + 1]
        high = bounds[run + 2] if run + 2 <= runs else middle
        i, j = low, middle
        for k in range(low, high):
            if i < middle and (j >= high or not _before(source[j], source[i], times, sequences)):
                target[k] = source[i]
                i += 1
            else:
                target[k] = source[j]
                j += 1
        bounds[merged] = low
        merged += 1
        bounds[merged] = high
        run += 2
    return merged


@kernel
def _sort_segment(segment: Int64s, times: Int64s, sequences: Int64s) -> None:
    """Natural merge sort of the row indices of one tag set, in place; stable."""
    n = len(segment)
    bounds = np.empty(n + 2, np.int64)
    bounds[0] = 0
    runs = 1
    for i in range(1, n):
        if _before(segment[i], segment[i - 1], times, sequences):
            bounds[runs] = i
            runs += 1
    bounds[runs] = n
    source, target = segment.copy(), np.empty(n, np.int64)
    while runs > 1:
        runs = _merge_pass(source, target, bounds, runs, times, sequences)
        source, target = target, source
    segment[:] = source


@kernel
def _sort_tagsets(order: Int64s, tagset: npt.NDArray[np.int32], times: Int64s, sequences: Int64s) -> bool:
    """Sort each tag set's rows by (time, version); ``order`` is grouped by tag set already. Returns: keys unique?"""
    unique = True
    n = len(order)
    start = 0
    while start < n:
        stop = start + 1
        ascending = True
        while stop < n and tagset[order[stop]] == tagset[order[start]]:
            if ascending and _before(order[stop], order[stop - 1], times, sequences):
                ascending = False
            stop += 1
        if not ascending:
            _sort_segment(order[start:stop], times, sequences)
        for i in range(start + 1, stop):
            if times[order[i]] == times[order[i - 1]]:
                unique = False
        start = stop
    return unique


@kernel
def _key_starts(tagset: npt.NDArray[np.int32], times: Int64s) -> Int64s:
    """The first row of each distinct (tag set, time) of sorted rows."""
    starts = np.empty(len(times), np.int64)
    keys = 0
    for i in range(len(times)):
        if i == 0 or tagset[i] != tagset[i - 1] or times[i] != times[i - 1]:
            starts[keys] = i
            keys += 1
    return starts[:keys].copy()


@kernel
def _last_present(bitmap: npt.NDArray[np.uint8], offset: int, starts: Int64s, rows: int) -> Int64s:
    """For each key the row of its highest version whose value is there, −1 where no version has one."""
    found = np.empty(len(starts), np.int64)
    for key in range(len(starts)):
        stop = starts[key + 1] if key + 1 < len(starts) else rows
        found[key] = -1
        for row in range(stop - 1, starts[key] - 1, -1):
            bit = row + offset
            if bitmap[bit >> 3] >> (bit & 7) & 1:
                found[key] = row
                break
    return found


def take_values(values: pa.Array, rows: Int64s) -> pa.Array:
    """``values`` at ``rows``, which must be in range."""
    return pc.take(values, pa.array(rows), boundscheck=False)


def take(rows: Rows, index: npt.NDArray[np.int64]) -> Rows:
    """The rows at ``index``, in that order."""
    return Rows(
        rows.tagset[index],
        rows.times[index],
        rows.sequences[index],
        {number: take_values(values, index) for number, values in rows.columns.items()},
    )


def cut(rows: Rows, start: int, stop: int) -> Rows:
    """The rows in [start, stop), without a copy."""
    return Rows(
        rows.tagset[start:stop],
        rows.times[start:stop],
        rows.sequences[start:stop],
        {number: values.slice(start, stop - start) for number, values in rows.columns.items()},
    )


def concat(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts one after the other; a column that a part lacks is null there."""
    if len(parts) == 1:
        return parts[0]
    types = {number: values.type for part in parts for number, values in part.columns.items()}
    return Rows(
        np.concatenate([part.tagset for part in parts]),
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.sequences for part in parts]),
        {number: concat_column(parts, number, kind) for number, kind in types.items()},
    )


def concat_column(parts: Sequence[Rows], number: int, kind: pa.DataType) -> pa.Array:
    """One column of the rows of all parts."""
    columns = [part.columns.get(number) for part in parts]
    return pa.concat_arrays(
        [pa.nulls(len(part), kind) if values is None else values for part, values in zip(parts, columns, strict=True)]
    )


def sort_order(
    tagset: npt.NDArray[np.int32], times: Int64s, sequences: Int64s
) -> tuple[npt.NDArray[np.int64] | None, bool]:
    """The order that sorts rows by (tag set, time, version), None when they are sorted; and whether keys are unique."""
    state = _order_of(tagset, times, sequences)
    if state != _UNSORTED:
        return None, state == _UNIQUE
    low = int(tagset.min())
    slots = int(tagset.max()) - low + 1
    if slots <= _SLOTS_PER_ROW * len(tagset) + _SLOTS_FREE:
        order = _counting_order(tagset, low, slots)
    else:
        order = np.argsort(tagset, kind="stable").astype(np.int64, copy=False)
    return order, bool(_sort_tagsets(order, tagset, times, sequences))


def sort(rows: Rows) -> tuple[Rows, bool]:
    """The rows sorted by (tag set, time, version), and whether no two have the same (tag set, time)."""
    order, unique = sort_order(rows.tagset, rows.times, rows.sequences)
    return (rows if order is None else take(rows, order)), unique


def merge_versions(rows: Rows) -> Rows:
    """One row for each (tag set, time) of sorted rows: the merge of its versions."""
    starts, last = key_rows(rows.tagset, rows.times, rows.sequences)
    if len(starts) == len(rows):
        return rows
    return Rows(
        rows.tagset[last],
        rows.times[last],
        rows.sequences[last],
        {number: merge_column(values, starts, last) for number, values in rows.columns.items()},
    )


def key_rows(
    tagset: npt.NDArray[np.int32], times: Int64s, sequences: Int64s, moments: Sequence[int] = ()
) -> tuple[Int64s, Int64s]:
    """The first and the last row of each distinct (tag set, time) of sorted rows.

    With ``moments``, ascending counters, versions up to one of them and later ones count as of different keys.
    """
    if moments:
        between = np.searchsorted(np.array(moments, np.int64), sequences & COUNTER_MASK)
        new = (tagset[1:] != tagset[:-1]) | (times[1:] != times[:-1]) | (between[1:] != between[:-1])
        starts = np.append(0, np.flatnonzero(new) + 1)
    else:
        starts = _key_starts(tagset, times)
    return starts, np.append(starts[1:], len(times)) - 1


def merge_column(values: pa.Array, starts: Int64s, last: Int64s) -> pa.Array:
    """For each key, the rows from ``starts`` to ``last``, the value of its highest version that has one."""
    bitmap = values.buffers()[0] if values.null_count else None
    if bitmap is None:
        return take_values(values, last)
    index = _last_present(np.frombuffer(bitmap, np.uint8), values.offset, starts, len(values))
    return pc.take(values, pa.array(index, mask=index < 0), boundscheck=False)
