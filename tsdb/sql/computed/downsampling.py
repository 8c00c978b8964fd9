"""Largest triangle three buckets: the points that show a curve's shape.

Source: Sveinn Steinarsson, Downsampling Time Series for Visual Representation (2013), 4.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tsdb.errors import InvalidParameterValue
from tsdb.kernels import kernel
from tsdb.sql.computed.over_time import POINTS
from tsdb.sql.computed.registry import over_vectors


@kernel
def triangles(times: Any, values: Any, wanted: Any, chosen: Any) -> None:
    """``chosen``: the places of ``wanted`` (3 or more) of more points than that, which are in the order of time."""
    count = len(times)
    width = (count - 2) / (wanted - 2)
    last = 0
    chosen[0], chosen[wanted - 1] = 0, count - 1
    for bucket in range(wanted - 2):
        start, end = int(bucket * width) + 1, int((bucket + 1) * width) + 1
        following = min(int((bucket + 2) * width) + 1, count)
        x, y = 0.0, 0.0
        for i in range(end, following):
            x += times[i] - times[0]
            y += values[i]
        x, y = x / (following - end), y / (following - end)
        largest = -1.0
        found = start
        x0, y0 = float(times[last] - times[0]), values[last]
        for i in range(start, end):
            area = abs((x0 - x) * (values[i] - y0) - (x0 - (times[i] - times[0])) * (y - y0))
            if area > largest:
                largest, found = area, i
        chosen[bucket + 1] = found
        last = found


@over_vectors("py_lttb", POINTS, "BIGINT", result="BIGINT[]")
def lttb(groups: pa.ListArray, wanted: pa.Array) -> pa.Array:
    """For each group of points the places (from 1) of at most ``wanted`` of them, in the order of time. Points without
    a time or a number for their value are left out."""
    offsets = groups.offsets.to_numpy()
    points = groups.values
    times = points.field("t").fill_null(0).to_numpy()
    values = points.field("v").fill_null(np.nan).to_numpy()
    known = points.field("t").is_valid().to_numpy(zero_copy_only=False) & np.isfinite(values)
    places: list[Any] = []
    for group, number in enumerate(wanted.to_pylist()):
        if number is None or number < 2:
            raise InvalidParameterValue("lttb needs a number of points that is at least 2")
        kept = np.flatnonzero(known[offsets[group] : offsets[group + 1]])
        at = kept + offsets[group]
        order = np.lexsort((values[at], times[at]))
        kept, at = kept[order], at[order]
        if len(kept) > number:
            chosen = np.zeros(number, np.int64)
            chosen[-1] = len(kept) - 1
            if number > 2:
                triangles(times[at], values[at], number, chosen)
            kept = kept[chosen]
        places.append(kept + 1)
    ends = np.cumsum([0, *map(len, places)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(np.concatenate([np.zeros(0, np.int64), *places])))
