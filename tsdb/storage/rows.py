"""Rows: versions of points of one series in memory, the form that head, blocks and scans share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

COUNTER_BITS = 48
COUNTER_MASK = (1 << COUNTER_BITS) - 1


@dataclass(frozen=True, slots=True)
class Rows:
    """n versions of one series, sorted by (tag set id, time, version) unless said otherwise.

    ``tagset`` int32[n], this node's tag set ids; ``times`` int64[n] ns; ``sequences`` int64[n], the point sequences
    (2 bytes node id, 6 bytes counter; versions are ordered by (counter, node id)); ``columns`` column number → Arrow
    array of n values in the kind's Arrow type, null = absent. A column that no row has may be missing.
    """

    tagset: npt.NDArray[np.int32]
    times: npt.NDArray[np.int64]
    sequences: npt.NDArray[np.int64]
    columns: Mapping[int, pa.Array]

    def __len__(self) -> int:
        return len(self.times)


# Arrow's arrays of numbers of 64 bits.
WORDS = pa.Int64Array, pa.DoubleArray, pa.UInt64Array


def bytes_of_column(values: pa.Array) -> int:
    """Bytes of a column's values; of numbers without their bitmap: to go through buffers takes as long as to add."""
    return 8 * len(values) if isinstance(values, WORDS) else int(values.nbytes)
