"""History of any length from one rendered workload: the same lines again, later. A line ends with its time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.render import Batches

DIGITS = 19  # of a time in nanoseconds between 2001 and 2286


class Shifted:
    """Batches of line protocol whose times are moved by ``shift_ns``; otherwise as `Batches`."""

    def __init__(self, batches: Batches, shift_ns: int) -> None:
        self._batches = batches
        self._shift_ns = shift_ns

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> memoryview:
        return shifted(self._batches[index], self._shift_ns)


def shifted(lines: memoryview, shift_ns: int) -> memoryview:
    """The lines with ``shift_ns`` added to each time."""
    if shift_ns == 0:
        return lines
    text = np.array(np.frombuffer(lines, np.uint8))
    ends = np.flatnonzero(text == 10)
    places = ends[:, None] + np.arange(-DIGITS, 0)
    powers: npt.NDArray[np.int64] = 10 ** np.arange(DIGITS - 1, -1, -1, dtype=np.int64)
    times = (text[places] - 48).astype(np.int64) @ powers + shift_ns
    text[places] = times[:, None] // powers % 10 + 48
    return text.data
