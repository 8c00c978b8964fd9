"""Where a cutter puts what it finds, kept for the next COPY: new memory is zeroed page by page, which took longer than
cutting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tsdb.sql.copy.cut_kernels import Bytes, Int32s, Int64s
from tsdb.sql.copy.line_kernels import NULLS, TAGS_SIZE

# As many as statements run at once, usually; larger ones are not kept.
SPARE_MAX = 4
SPARE_BYTES_MAX = 32 << 20


@dataclass(slots=True, eq=False)
class Places:
    """``starts``, ``ends`` int32[columns, rows], ``values`` int64[columns, rows]; of each row its line and where that
    begins and ends; ``slow``, ``tags``, ``slots`` and ``counts`` as in ``line_kernels.Cut``. The kernels fill what they
    say that they have cut."""

    starts: Int32s
    ends: Int32s
    values: Int64s
    lines: Int64s
    line_starts: Int64s
    line_ends: Int64s
    slow: Int32s
    tags: Int32s
    slots: Int32s
    counts: Int64s
    octets: Bytes

    def copy_of(self, source: Bytes) -> Bytes:
        """The same octets, to be changed; until the next copy."""
        if len(self.octets) < len(source):
            self.octets = np.empty(len(source) + len(source) // 8, np.uint8)
        found = self.octets[: len(source)]
        found[:] = source
        return found

    @property
    def nbytes(self) -> int:
        rows = self.lines.nbytes * 3 + self.slow.nbytes + self.tags.nbytes + self.slots.nbytes
        return self.starts.nbytes * 2 + self.values.nbytes + rows + self.octets.nbytes


_spare: list[Places] = []


def taken(columns: int, rows: int) -> Places:
    """To be given back when nobody looks at them any more."""
    for places in reversed(_spare):
        if places.starts.shape == (columns, rows):
            try:
                _spare.remove(places)
            except ValueError:
                continue  # another thread was faster
            return places
    starts, ends = (np.empty((columns, rows), np.int32) for _ in range(2))
    lines, line_starts, line_ends = (np.empty(rows, np.int64) for _ in range(3))
    slow, tags = np.empty(rows, np.int32), np.empty((TAGS_SIZE, rows), np.int32)
    slots, counts = np.empty(2 << max(rows - 1, 1).bit_length(), np.int32), np.zeros(NULLS + columns, np.int64)
    values, octets = np.empty((columns, rows), np.int64), np.empty(0, np.uint8)
    return Places(starts, ends, values, lines, line_starts, line_ends, slow, tags, slots, counts, octets)


def give_back(places: Places) -> None:
    if places.nbytes <= SPARE_BYTES_MAX:
        _spare.append(places)
        del _spare[:-SPARE_MAX]
