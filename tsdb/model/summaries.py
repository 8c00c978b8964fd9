"""Summary cells: what a scan for an aggregate says of points without giving them.

A *cell* is some points of one tag set that lie together in time: all of them visible and wanted, in one bucket of the
query. Their statistics stand for them; they are not among the scan's batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int64s = npt.NDArray[np.int64]

# Statistics of a field's values in a cell, each int64 but where noted. FLOATS are float64 for fields of float8.
COUNT = "count"  # values that are there; the others mean nothing where it is 0
LOW, HIGH = "low", "high"  # an integers' sum is high · 2³² + low
SUM = "sum"  # of float8: float64
M2 = "m2"  # the sum of the squared deviations from the mean: float64
MIN, MAX = "min", "max"  # NaN is above every number
FIRST, LAST = "first", "last"  # of the first and of the last point in time
FIRST_THERE, LAST_THERE = "first there", "last there"  # 0: that point has no value


@dataclass(frozen=True, slots=True)
class CellRequest:
    """What a scan may say in cells. Points of one cell lie in one bucket of ``width_ns`` from ``origin_ns`` on (None:
    in any). ``statistics``: the wanted ones of each field."""

    width_ns: int | None
    origin_ns: int
    statistics: Mapping[int, Sequence[str]]


@dataclass(frozen=True, slots=True)
class SummaryCells:
    """Cells. ``tags`` are the scan's tag columns in their order, as in its batches; times of the first and of the last
    point in ns; ``rows`` counts points. ``fields`` lacks those without any value."""

    tags: Sequence[pa.DictionaryArray]
    first_times: Int64s
    last_times: Int64s
    rows: Int64s
    fields: Mapping[int, Mapping[str, npt.NDArray[np.generic]]]

    def __len__(self) -> int:
        return len(self.rows)
