"""Pending rows as a scan sees them: those of a keyed series merged by key, as the store will merge them.

Of the rows of one key each field's value is the last one that is there (design: NULL means absent).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.session.pending.changes import Changes
from tsdb.session.pending.keys import KeyIndex

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MergedRows:
    """One row for each key (keyed) or for each point. ``index`` numbers the rows of a keyed series as they are here."""

    tagsets: list[bytes]
    tagset: npt.NDArray[np.int32]
    times: Int64s
    sequences: Int64s
    fields: dict[int, pa.Array]
    index: KeyIndex | None

    def __len__(self) -> int:
        return len(self.times)


def merged_rows(changes: Changes) -> MergedRows:
    points = changes.points
    sequences = -1 - changes.ordinals
    if not changes.series.keyed:
        return MergedRows(list(points.tagsets), points.tagset, points.times, sequences, points.fields, None)
    index = KeyIndex(points.tagsets, points.tagset, points.times)
    order = np.argsort(index.number, kind="stable")
    starts = np.searchsorted(index.number[order], np.arange(len(index)))
    last = np.append(starts[1:], len(order))[: len(starts)] - 1
    rows = order[last]
    fields = {number: _last_values(values, order, starts, last) for number, values in points.fields.items()}
    return MergedRows(list(points.tagsets), points.tagset[rows], points.times[rows], sequences[rows], fields, index)


def _last_values(values: pa.Array, order: Int64s, starts: Int64s, last: Int64s) -> pa.Array:
    """For each key the value of its last row that has one."""
    if not values.null_count:
        return values.take(pa.array(order[last]))
    there = values.is_valid().to_numpy(zero_copy_only=False)[order]
    newest = np.maximum.accumulate(np.where(there, np.arange(len(order)), -1))[last]
    return values.take(pa.array(order[np.maximum(newest, 0)], mask=newest < starts))
