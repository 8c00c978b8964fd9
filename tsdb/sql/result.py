"""What a query gives: its columns, and its rows as Arrow batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Protocol

import pyarrow as pa

from tsdb.model.schema import Column, Series
from tsdb.model.store import ScanStatistics
from tsdb.sql.catalog import oids
from tsdb.types import SqlType


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of a row description. ``table_oid`` and ``attnum`` are 0 where it is no plain column of a table."""

    name: str
    type: SqlType
    typmod: int = -1
    table_oid: int = 0
    attnum: int = 0


def of_column(name: str, column: Column, series: Series) -> ResultColumn:
    """A series' own column; one that is hidden is none of a table's."""
    places = {each.number: i + 1 for i, each in enumerate(series.columns)}
    if column.number not in places:
        return ResultColumn(name, column.type, column.typmod)
    return ResultColumn(name, column.type, column.typmod, oids.of(series.identity), places[column.number])


@dataclass(slots=True)
class Statistics:
    """Counted while a query runs: ``scans`` by the name of their series, in order."""

    scans: list[tuple[str, ScanStatistics]] = field(default_factory=list)
    rows: int = 0
    seconds: float = 0.0

    def add(self, other: Statistics) -> None:
        """Take in the scans of one more run of the same statement."""
        for at, (name, counted) in enumerate(other.scans):
            if at == len(self.scans):
                self.scans.append((name, ScanStatistics()))
            known = self.scans[at][1]
            for each in fields(known):
                setattr(known, each.name, getattr(known, each.name) + getattr(counted, each.name))


class Rows(Protocol):
    """A running query: iterate it for its batches (some thousand rows each), then close it.

    Errors while iterating are TsdbErrors; after ``cancel`` from any thread, or past the deadline, QueryCanceled.
    """

    @property
    def columns(self) -> tuple[ResultColumn, ...]: ...

    @property
    def statistics(self) -> Statistics: ...

    @property
    def ended(self) -> bool:
        """Whether it is known that no more batches come. What computes as it goes only knows it when it is asked."""
        ...

    def __iter__(self) -> Iterator[pa.RecordBatch]: ...

    def __next__(self) -> pa.RecordBatch: ...

    def cancel(self) -> None: ...

    def close(self) -> None: ...


Cancel = Callable[[], None]
