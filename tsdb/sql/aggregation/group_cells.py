"""Groups that the store has made, as cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tsdb.model import summaries
from tsdb.model.summaries import Groups
from tsdb.sql.aggregation.states import TIMES, Table

Int64s = npt.NDArray[np.int64]

_THERE = (summaries.COUNT, summaries.FIRST_THERE, summaries.LAST_THERE)


class AnyCells(Protocol):
    """What ``answer`` asks of cells. A cell's *place* is its bucket, from ``first_bucket`` on, · ``room`` + the number
    of its combination; arrays are by place."""

    @property
    def first_bucket(self) -> int: ...

    @property
    def room(self) -> int: ...

    @property
    def combinations(self) -> Sequence[tuple[str | None, ...]]: ...

    @property
    def rows(self) -> Int64s: ...

    @property
    def nbytes(self) -> int: ...

    def of(self, name: str, column: int) -> Table: ...


class GroupCells:
    """Implements ``AnyCells``."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    @property
    def first_bucket(self) -> int:
        return self._groups.first_bucket

    @property
    def room(self) -> int:
        return self._groups.room

    @property
    def rows(self) -> Int64s:
        return self._groups.rows

    @property
    def combinations(self) -> Sequence[tuple[str | None, ...]]:
        return self._groups.combinations

    def of(self, name: str, column: int) -> Table:
        """One state of a column, or of ``TIMES``, by place."""
        groups = self._groups
        if column == TIMES:
            return groups.first_times if name == summaries.MIN else groups.last_times
        # No value is absent.
        return groups.rows if name in _THERE else groups.fields[column][name]

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes * (3 + sum(map(len, self._groups.fields.values())))
