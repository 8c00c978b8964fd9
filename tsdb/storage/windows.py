"""The windows of a scan: for each 2-hour window, or range of windows that a block spans, the parts with rows in it."""

from __future__ import annotations

from bisect import bisect_right
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


def cut_by_window(parts: Iterable[Part], low: int, high: int) -> Iterator[Window]:
    """Windows in the order of time, each clipped to [low, high).

    A part that is not divisible (a block that compaction made of several windows) is in one window with all that is
    beside it: it is read once.
    """
    by_window: dict[int, list[Part]] = {}
    parts = list(parts)
    spans = Spans(span for part in parts if not part.divisible and (span := _span(part))[0] < span[1])
    for part in parts:
        if part.divisible:
            numbers = dict.fromkeys(map(spans.first, windows_of(part)))
        else:
            numbers = dict.fromkeys((spans.first(_span(part)[0]),))
        for number in numbers:
            by_window.setdefault(number, []).append(part)
    for number in sorted(by_window):
        start, stop = max(low, number * WINDOW_NS), min(high, (spans.last(number) + 1) * WINDOW_NS)
        if start < stop:
            yield Window(start, stop, by_window.pop(number))


def _span(part: Part) -> tuple[int, int]:
    return part.rectangle.min_time // WINDOW_NS, part.rectangle.max_time // WINDOW_NS


class Spans:
    """Ranges [first, last] of window numbers, those that overlap joined; every other window is one by itself."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(spans):
            if self._lasts and first <= self._lasts[-1]:
                self._lasts[-1] = max(self._lasts[-1], last)
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def first(self, number: int) -> int:
        """The first window of the range that a window is in."""
        at = bisect_right(self._firsts, number) - 1
        return self._firsts[at] if at >= 0 and number <= self._lasts[at] else number

    def last(self, number: int) -> int:
        """The last window of the range that starts with window ``number``."""
        at = bisect_right(self._firsts, number) - 1
        return self._lasts[at] if at >= 0 and number <= self._lasts[at] else number
