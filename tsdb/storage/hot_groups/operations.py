"""What is asked of columns as operations of the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.model import summaries
from tsdb.model.schema import Column
from tsdb.model.summaries import CellRequest
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.storage.hot_groups import kernels
from tsdb.types import Kind

Int64s = npt.NDArray[np.int64]

# A block's lines before those of its columns: its row runs and its times.
FIELDS = 2
_NAN_BITS, _LEAST_BITS = np.array([np.nan, -np.inf]).view(np.int64).tolist()
_INT_MIN, _INT_MAX = int(np.iinfo(np.int64).min), int(np.iinfo(np.int64).max)

# (operation, what its places begin with) by statistic, for integers and for float8s.
_INTEGERS: Mapping[str, tuple[int, tuple[int, ...]]] = {
    summaries.LOW: (kernels.SUM, (0, 0)),
    summaries.MIN: (kernels.MIN, (_INT_MAX,)),
    summaries.MAX: (kernels.MAX, (_INT_MIN,)),
    summaries.FIRST: (kernels.FIRST_VALUE, (0,)),
    summaries.LAST: (kernels.LAST_VALUE, (0,)),
}
_FLOATS: Mapping[str, tuple[int, tuple[int, ...]]] = {
    summaries.SUM: (kernels.FLOAT_SUM, (0,)),
    summaries.MIN: (kernels.FLOAT_MIN, (_NAN_BITS,)),
    summaries.MAX: (kernels.FLOAT_MAX, (_LEAST_BITS,)),
    summaries.FIRST: (kernels.FIRST_VALUE, (0,)),
    summaries.LAST: (kernels.LAST_VALUE, (0,)),
}
# What other places say as well.
_ELSEWHERE = (summaries.COUNT, summaries.HIGH, summaries.FIRST_THERE, summaries.LAST_THERE)


@dataclass(frozen=True, slots=True)
class Operations:
    """``table`` for the kernel; what all places begin with, and the place of each statistic of each column."""

    table: Int64s
    start: Int64s
    places: Mapping[int, Mapping[str, int]]


_NONE = Operations(np.empty((0, 3), np.int64), np.empty(0, np.int64), {})


def operations_of(columns: Sequence[Column], wish: CellRequest) -> Operations:
    """None of them where a column, or what is asked of it, is not for the kernel."""
    table: list[tuple[int, int, int]] = []
    start = [0, NS_MAX, NS_MIN]
    places: dict[int, dict[str, int]] = {}
    for at, column in enumerate(columns):
        known = _INTEGERS if column.kind is Kind.INT8 else _FLOATS if column.kind is Kind.FLOAT8 else None
        if known is None or column.former:
            return _NONE
        own = places[column.number] = {}
        for name in wish.statistics[column.number]:
            if name in _ELSEWHERE:
                continue
            if name not in known:
                return _NONE
            operation, begins = known[name]
            table.append((operation, FIELDS + at, len(start)))
            own[name] = len(start)
            start += begins
        if summaries.LOW in own:
            own[summaries.HIGH] = own[summaries.LOW] + 1
    # And one to work in.
    return Operations(np.array(table, np.int64).reshape(-1, 3), np.array([*start, 0], np.int64), places)
