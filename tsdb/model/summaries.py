"""Summary cells: what a scan for an aggregate says of points without giving them.

A *cell* is some points of one tag set that lie together in time: all of them visible and wanted, in one bucket of the
query. Their statistics stand for them; they are not among the scan's batches.

*Groups* are all of a scan's points, already by bucket and values of the scan's tags: of few points a store may say so.
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

_TAKEN_BACK = frozenset((COUNT, LOW, HIGH))


@dataclass(frozen=True, slots=True, eq=False)
class CellRequest:
    """What a scan may say in cells; a plan asks the same in each of its runs. Points of one cell lie in one bucket of
    ``width_ns`` from ``origin_ns`` on (None: in any). ``statistics``: the wanted ones of each field. Where ``times``
    are not, those of cells only say in which bucket their points lie."""

    width_ns: int | None
    origin_ns: int
    statistics: Mapping[int, Sequence[str]]
    times: bool = True

    @property
    def only_sums(self) -> bool:
        """Is all that is wanted what points can be taken back from?"""
        return not self.times and all(set(names) <= _TAKEN_BACK for names in self.statistics.values())


@dataclass(frozen=True, slots=True)
class SummaryCells:
    """Cells. ``tags`` are the scan's tag columns in their order, as in its batches; times of the first and of the last
    point in ns; ``rows`` counts points. ``fields`` lacks those without any value.

    A cell of −1 points takes one back that another cell of its tag set and bucket has too many, with its value: only
    where sums are all that is wanted.
    """

    tags: Sequence[pa.DictionaryArray]
    first_times: Int64s
    last_times: Int64s
    rows: Int64s
    fields: Mapping[int, Mapping[str, npt.NDArray[np.generic]]]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Groups:
    """All points of a scan. Group i is bucket ``first_bucket + i // room`` and combination ``i % room``, which stands
    for values of the scan's tags in their order; a group without points (``rows`` 0) means nothing. Times of the first
    and of the last point in ns. Fields have the statistics that were asked for but COUNT, which is ``rows``; no value
    is absent."""

    first_bucket: int
    room: int
    combinations: Sequence[tuple[str | None, ...]]
    rows: Int64s
    first_times: Int64s
    last_times: Int64s
    fields: Mapping[int, Mapping[str, npt.NDArray[np.generic]]]
