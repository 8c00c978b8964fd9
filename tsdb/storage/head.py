"""The head: recent, committed points in memory, by series, as a few immutable sorted runs.

A new run is folded with its neighbours as in a log-structured merge tree: FAN runs of one size become one of the next,
so a row is copied O(log n) times, whether it came alone or with ten thousand others. Runs keep every version; reads
and the flush merge them.

Everything here is a value: ``folded`` returns new tuples, so a version of the data that a query reads never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tsdb.storage import merge
from tsdb.storage.rows import Rows, bytes_of_column
from tsdb.storage.selection import Layout, layout_of
from tsdb.storage.taking import sort

FAN = 8
# Larger runs are left alone: folding them would hold up the writers for longer than it saves the readers.
ROWS_FOLDED_MAX = 1 << 17
# Rows × columns up to which parts are joined even if they have no column in common.
CELLS_FREE = 1 << 20
# What an array costs beside its values.
_RUN_BYTES = 700
_COLUMN_BYTES = 200


@dataclass(frozen=True, slots=True)
class Run:
    """Sorted rows of one series. ``unique``: no two rows have the same (tag set, time). Bounds are inclusive."""

    rows: Rows
    layout: Layout
    unique: bool
    min_time: int
    max_time: int
    min_tagset: int
    max_tagset: int
    min_counter: int
    max_counter: int
    bytes: int
    # What readers have made of it (``hot_groups.lines``).
    lines: dict[tuple[int, ...], npt.NDArray[np.int64] | None] = field(default_factory=dict, compare=False, repr=False)

    @property
    def bounds(self) -> tuple[int, int, int, int, int, bool]:
        """Min and max time, min and max tag set, rows, unique."""
        return self.min_time, self.max_time, self.min_tagset, self.max_tagset, len(self.rows), self.unique


Runs = tuple[Run, ...]


def run_of(rows: Rows) -> Run:
    """The run of some rows in any order; at least one."""
    ordered, unique = sort(rows)
    bounds = merge.bounds(ordered.times, ordered.sequences)
    size = ordered.tagset.nbytes + ordered.times.nbytes + ordered.sequences.nbytes
    size += sum(map(bytes_of_column, ordered.columns.values()))
    layout = layout_of(ordered.tagset)
    return Run(
        ordered,
        layout,
        unique,
        min_time=bounds[0],
        max_time=bounds[1],
        min_tagset=int(ordered.tagset[0]),
        max_tagset=int(ordered.tagset[-1]),
        min_counter=bounds[2],
        max_counter=bounds[3],
        bytes=size + layout.nbytes + _RUN_BYTES + _COLUMN_BYTES * len(ordered.columns),
    )


def folded(runs: Runs) -> Runs:
    """``runs`` folded at their end where FAN of a size have come together; the same object if there is nothing to do.

    It is asked after each new run.
    """
    out = list(runs)
    while out:
        size = _size_class(len(out[-1].rows))
        first = len(out)
        while first > 0 and _size_class(len(out[first - 1].rows)) <= size:
            first -= 1
        tail = out[first:]
        if len(tail) < FAN or sum(len(r.rows) for r in tail) > ROWS_FOLDED_MAX or not alike([r.rows for r in tail]):
            break
        out[first:] = [run_of(merge.concat([r.rows for r in tail]))]
    return runs if len(out) == len(runs) else tuple(out)


def alike(parts: Sequence[Rows]) -> bool:
    """Do the parts have so many columns in common that joined they are not much larger, or are they small anyway?"""
    columns = parts[0].columns.keys()
    if all(part.columns.keys() == columns for part in parts):
        return True
    together = sum(map(len, parts)) * len({number for part in parts for number in part.columns})
    return joins(together, sum(len(part) * len(part.columns) for part in parts))


def joins(together: int, apart: int) -> bool:
    """May parts of ``apart`` rows × columns become one of ``together``? The rest of it would be nulls."""
    return together <= max(CELLS_FREE, 2 * apart)


def _size_class(rows: int) -> int:
    return (rows.bit_length() - 1) // 3


def bytes_of(runs: Iterable[Run]) -> int:
    return sum(run.bytes for run in runs)


def rows_of(runs: Iterable[Run]) -> int:
    return sum(len(run.rows) for run in runs)
