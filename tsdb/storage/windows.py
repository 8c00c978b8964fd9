"""The windows of a scan: for each 2-hour window the parts that may have rows in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.kernels import kernel
from tsdb.model.time import WINDOW_NS
from tsdb.storage.part import Part

_TABLE_MAX = 1 << 16


@kernel
def _mark(times: npt.NDArray[np.int64], window_ns: int, first: int, seen: npt.NDArray[np.bool_]) -> None:
    for i in range(len(times)):
        seen[times[i] // window_ns - first] = True


def windows_of(part: Part) -> Iterator[int]:
    """The windows in which a part has rows (or, where that is cheap enough to find out later, may have)."""
    first, last = part.rectangle.min_time // WINDOW_NS, part.rectangle.max_time // WINDOW_NS
    if last - first < 3:
        return iter(range(first, last + 1))
    if last - first >= _TABLE_MAX:
        return iter(np.unique(np.floor_divide(part.times(), WINDOW_NS)).tolist())
    seen = np.zeros(last - first + 1, np.bool_)
    _mark(part.times(), WINDOW_NS, first, seen)
    return iter((np.flatnonzero(seen) + first).tolist())


@dataclass(frozen=True, slots=True)
class Window:
    """The parts with rows in [low, high) ns, the window's part of the scan's range."""

    low: int
    high: int
    parts: list[Part]


def cut_by_window(parts: Iterable[Part], low: int, high: int, newest_first: bool) -> Iterator[Window]:
    """Windows in the order of time, each clipped to [low, high)."""
    by_window: dict[int, list[Part]] = {}
    for part in parts:
        for number in windows_of(part):
            by_window.setdefault(number, []).append(part)
    for number in sorted(by_window, reverse=newest_first):
        start, stop = max(low, number * WINDOW_NS), min(high, (number + 1) * WINDOW_NS)
        if start < stop:
            yield Window(start, stop, by_window.pop(number))
