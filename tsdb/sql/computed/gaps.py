"""Kernels of time_bucket_gapfill: where each bucket of a group finds its own row, the one before and the one after.

DuckDB collects a group's rows in lists. A *place* is a row's position in these lists from 1, ``NONE`` where there is
none: DuckDB's list_select gives NULL for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import InvalidParameterValue, ProgramLimitExceeded
from tsdb.kernels import kernel
from tsdb.sql.computed.registry import over_vectors

NONE = 2**31 - 1
# DuckDB hands over up to 2,048 groups at once; a cell takes some 50 bytes until it is sent.
CELLS_MAX = 8_000_000
PLACES = "BIGINT[]"

Int64s = npt.NDArray[np.int64]


@kernel
def fill(offsets: Any, times: Any, series: Any, ends: Any, all_times: Any, places: Any) -> Any:
    """Each group's times and those of ``series`` (sorted, distinct), in order; returns how many there are."""
    count = 0
    for group in range(len(offsets) - 1):
        own = times[offsets[group] : offsets[group + 1]]
        order = np.argsort(own)
        i = j = 0
        while i < len(own) or j < len(series):
            if i < len(own) and (j >= len(series) or own[order[i]] <= series[j]):
                time = own[order[i]]
                all_times[count], places[count] = time, order[i] + 1
                i += 1
                if j < len(series) and series[j] == time:
                    j += 1
            else:
                all_times[count], places[count] = series[j], NONE
                j += 1
            count += 1
        ends[group] = count
    return count


@kernel
def carry(offsets: Any, places: Any, step: Any, results: Any) -> None:
    """The nearest place at or before (``step`` 1) or at or after (-1) each cell of its group."""
    for group in range(len(offsets) - 1):
        first, last = offsets[group], offsets[group + 1]
        found = NONE
        for i in range(last - first):
            at = first + i if step > 0 else last - 1 - i
            if places[at] != NONE:
                found = places[at]
            results[at] = found


@kernel
def forget(offsets: Any, places: Any, known_offsets: Any, known: Any, results: Any) -> None:
    """The places whose row has a value."""
    for group in range(len(offsets) - 1):
        for at in range(offsets[group], offsets[group + 1]):
            place = places[at]
            has = place != NONE and known[known_offsets[group] + place - 1]
            results[at] = place if has else NONE


@over_vectors("py_gapfill", "BIGINT[]", "BIGINT[]", result=f"STRUCT(b BIGINT[], own {PLACES})")
def gapfill(groups: pa.ListArray, buckets: pa.ListArray) -> pa.Array:
    """All times of each group: its own and the buckets', which are the same for all groups."""
    if not len(groups):
        return pa.StructArray.from_arrays([pa.array([], pa.list_(pa.int64()))] * 2, names=["b", "own"])
    if groups.values.null_count:
        raise InvalidParameterValue("invalid time_bucket_gapfill argument: ts cannot be NULL")
    offsets, times = groups.offsets.to_numpy(), groups.values.to_numpy()
    first, last = buckets.offsets.to_numpy()[:2]
    series = np.unique(buckets.values.to_numpy()[first:last])
    cells = len(times) + len(groups) * len(series)
    if cells > CELLS_MAX:
        raise ProgramLimitExceeded(
            f"time_bucket_gapfill would make {cells} rows of {len(groups)} groups at once, more than {CELLS_MAX}",
            hint="Ask for a shorter time, wider buckets or fewer groups.",
        )
    ends, all_times, places = np.zeros(len(groups), np.int32), np.empty(cells, np.int64), np.empty(cells, np.int64)
    count = fill(offsets, times, series, ends, all_times, places)
    bounds = pa.array(np.concatenate([np.zeros(1, np.int32), ends]))
    lists = [pa.ListArray.from_arrays(bounds, pa.array(values[:count])) for values in (all_times, places)]
    return pa.StructArray.from_arrays(lists, names=["b", "own"])


def _carried(places: pa.ListArray, step: int, kept: Int64s | None = None) -> pa.Array:
    offsets = places.offsets.to_numpy()
    values = places.values.to_numpy() if kept is None else kept
    results = np.empty(len(values), np.int64)
    carry(offsets, values, step, results)
    return pa.ListArray.from_arrays(places.offsets, pa.array(results))


@over_vectors("py_places_before", PLACES, result=PLACES)
def places_before(places: pa.ListArray) -> pa.Array:
    return _carried(places, 1)


@over_vectors("py_places_after", PLACES, result=PLACES)
def places_after(places: pa.ListArray) -> pa.Array:
    return _carried(places, -1)


@over_vectors("py_places_known", PLACES, "BOOLEAN[]", result=PLACES)
def places_known(places: pa.ListArray, known: pa.ListArray) -> pa.Array:
    """As ``places_before``, of rows that have a value alone."""
    kept = np.empty(len(places.values), np.int64)
    flags = known.values.to_numpy(zero_copy_only=False).astype(bool)
    forget(places.offsets.to_numpy(), places.values.to_numpy(), known.offsets.to_numpy(), flags, kept)
    return _carried(places, 1, kept)
