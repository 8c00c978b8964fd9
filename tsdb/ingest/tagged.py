"""Which lines of a measurement have which tag. What is sorted once is asked for each tag key: a body may have as many
of these as lines."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.ingest.lineprotocol import Lines

Ints = npt.NDArray[np.intp]


class Tagged:
    """The lines of one measurement by tag key; what is asked costs as much as it returns."""

    def __init__(self, lines: Lines) -> None:
        keys = lines.keys
        self._number = {name: number for number, name in enumerate(keys.names)}
        # The lines of series key i are lines[borders[i]:borders[i + 1]], those of tag key i have keys[places[i]: …].
        self._lines = np.argsort(lines.key, kind="stable")
        self._borders = np.searchsorted(lines.key[self._lines], np.arange(len(keys) + 1))
        by_name = np.argsort(keys.tag, kind="stable")
        self._keys = np.repeat(np.arange(len(keys)), np.diff(keys.offsets))[by_name]
        self._places = np.searchsorted(keys.tag[by_name], np.arange(len(keys.names) + 1))

    def rows(self, name: str) -> Ints:
        """The lines that have a tag, rising; none have one that is no tag of theirs."""
        keys = self._having(name)
        starts = self._borders[keys]
        counts = self._borders[keys + 1] - starts
        before = np.cumsum(counts) - counts
        found: Ints = self._lines[np.arange(int(counts.sum())) + np.repeat(starts - before, counts)]
        found.sort()
        return found

    def first(self, name: str) -> int:
        """The first line that has a tag, which one must have."""
        return int(self._lines[self._borders[self._having(name)]].min())

    def _having(self, name: str) -> Ints:
        number = self._number.get(name)
        found: Ints = self._keys[:0] if number is None else self._keys[self._places[number] : self._places[number + 1]]
        return found
