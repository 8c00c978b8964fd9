"""A part: sorted rows of one series that a scan reads, be they a run of the head or a block on disk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.model.schema import Column
from tsdb.storage.casts import cast
from tsdb.storage.head import Run
from tsdb.storage.overlap import Rectangle
from tsdb.storage.selection import Layout

Int64s = npt.NDArray[np.int64]


class Part(Protocol):
    """Rows in full length; which of them are read is the scan's business (``selection``)."""

    @property
    def rectangle(self) -> Rectangle: ...

    @property
    def rows(self) -> int: ...

    @property
    def unique(self) -> bool:
        """No two rows have the same (tag set, time)."""
        ...

    @property
    def min_counter(self) -> int: ...

    def layout(self) -> Layout: ...

    def fetch(self, columns: Iterable[int], *, times: bool, sequences: bool) -> None:
        """Announce what will be asked for, so that it is read in one go."""
        ...

    def release(self) -> None:
        """Forget what was fetched: the scan has gone on."""
        ...

    def times(self) -> Int64s: ...

    def sequences(self) -> Int64s: ...

    def column(self, number: int) -> pa.Array | None:
        """The values of a column by its stored number; None where no row has one."""
        ...


class RunPart:
    """A run of a head."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.rectangle = Rectangle(run.min_time, run.max_time, run.min_tagset, run.max_tagset)
        self.rows = len(run.rows)
        self.unique = run.unique
        self.min_counter = run.min_counter

    def layout(self) -> Layout:
        return self._run.layout

    def fetch(self, columns: Iterable[int], *, times: bool, sequences: bool) -> None:
        """All is in memory."""

    def release(self) -> None:
        """The head keeps its rows."""

    def times(self) -> Int64s:
        return self._run.rows.times

    def sequences(self) -> Int64s:
        return self._run.rows.sequences

    def column(self, number: int) -> pa.Array | None:
        return self._run.rows.columns.get(number)


def stored_numbers(column: Column) -> list[int]:
    """The numbers under which a field's values may be stored: its own, then those from before each ALTER TYPE."""
    return [column.number, *(number for number, _ in column.former)]


def read_field(part: Part, column: Column) -> pa.Array | None:
    """A field's values in its present kind, ``part.rows`` of them; None where no row has one."""
    values = part.column(column.number)
    for number, kind in column.former:
        if values is not None and values.null_count == 0:
            break
        older = part.column(number)
        if older is not None:
            older = cast(older, kind, column.kind)
            values = older if values is None else pc.coalesce(values, older)
    return values
