"""Kernels over groups of points: one pass over each group in the order of time.

A group is a run of ``times`` (µs) and ``values`` between two offsets; points without a time or a value were taken out
before. Points of the same time stand in the order of their values, so that no result depends on the order of reading.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tsdb.kernels import kernel

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

DELTA, INCREASE, RATE, GAUGE_RATE, RESETS = range(5)
AVERAGE, INTEGRAL = range(2)
_US_PER_SECOND = 1e6


@kernel
def in_order(times: Any, values: Any) -> Any:
    """Whether points stand by (time, value) already."""
    for i in range(1, len(times)):
        if times[i] < times[i - 1] or (times[i] == times[i - 1] and not values[i - 1] <= values[i]):
            return False
    return True


@kernel
def order_of(times: Any, values: Any) -> Any:
    """The places of points by (time, value)."""
    by_value = np.argsort(values, kind="mergesort")
    return by_value[np.argsort(times[by_value], kind="mergesort")]


@kernel
def change(times: Any, values: Any, which: Any) -> Any:
    """DELTA … of one group in the order of time; NaN with False is no result."""
    count = len(times)
    first, last = values[0], values[count - 1]
    if which == DELTA:
        return last - first, True
    seconds = (times[count - 1] - times[0]) / _US_PER_SECOND
    if which == GAUGE_RATE:
        return (last - first) / seconds, seconds > 0
    lost, resets = 0.0, 0.0
    for i in range(1, count):
        # A counter that is lower than before began again from zero.
        if values[i] < values[i - 1]:
            lost += values[i - 1]
            resets += 1
    if which == RESETS:
        return resets, True
    grown = last - first + lost
    if which == INCREASE:
        return grown, True
    return grown / seconds, seconds > 0


@kernel
def area(times: Any, values: Any, locf: Any) -> Any:
    """The area below a group's values in value · seconds, by straight lines or by steps that last to the next point."""
    total = 0.0
    for i in range(1, len(times)):
        seconds = (times[i] - times[i - 1]) / _US_PER_SECOND
        if seconds > 0:
            height = values[i - 1] if locf else values[i - 1] / 2 + values[i] / 2
            total += height * seconds
    return total


@kernel
def changes(offsets: Any, times: Any, values: Any, which: Any, results: Any, known: Any) -> None:
    """``change`` of each group; what has no result is not ``known``."""
    for group in range(len(offsets) - 1):
        start, end = offsets[group], offsets[group + 1]
        if start == end:
            continue
        t, v = times[start:end], values[start:end]
        if not in_order(t, v):
            order = order_of(t, v)
            t, v = t[order], v[order]
        results[group], known[group] = change(t, v, which)


@kernel
def areas(offsets: Any, times: Any, values: Any, which: Any, locf: Any, results: Any, known: Any) -> None:
    """``area`` of each group, divided by its length for AVERAGE; ``locf`` says for each group which form it takes."""
    for group in range(len(offsets) - 1):
        start, end = offsets[group], offsets[group + 1]
        if start == end:
            continue
        t, v = times[start:end], values[start:end]
        if not in_order(t, v):
            order = order_of(t, v)
            t, v = t[order], v[order]
        total = area(t, v, locf[group])
        seconds = (t[len(t) - 1] - t[0]) / _US_PER_SECOND
        if which == AVERAGE:
            results[group], known[group] = total / seconds, seconds > 0
        else:
            results[group], known[group] = total, True
