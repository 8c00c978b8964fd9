"""A running aggregate: the scan's batches go into cells, and the cells are the answer, one batch of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from tsdb.errors import QueryCanceled
from tsdb.model.store import TIME_NS, ScanRequest, View
from tsdb.sql.aggregation.answer import answer
from tsdb.sql.aggregation.cells import Cells, Unsuitable
from tsdb.sql.aggregation.plan import ScanAggregate
from tsdb.sql.context import Context
from tsdb.sql.deadline import Deadlines
from tsdb.sql.result import ResultColumn, Rows, Statistics
from tsdb.sql.stream import Running

NS_PER_US = 1000
# Rows of one result batch.
BATCH_ROWS = 16_384


def columns_of(plan: ScanAggregate) -> tuple[int | str, ...]:
    """What the scan reads: the time, then tags, then each field once."""
    times = (TIME_NS,) if plan.needs_times else ()
    fields = dict.fromkeys(each.column for each in plan.aggregates if each.column is not None)
    return (*times, *(tag.column for tag in plan.tags), *fields)


class AggregateExecution:
    """``Rows`` of an aggregate over one scan. ``otherwise`` runs the statement in DuckDB, for too many groups."""

    def __init__(
        self,
        plan: ScanAggregate,
        request: ScanRequest,
        view: View,
        columns: tuple[ResultColumn, ...],
        deadlines: Deadlines,
        context: Context,
        otherwise: Callable[[], Rows],
    ) -> None:
        self._plan = plan
        self._request = request
        self._view = view
        self._columns = columns
        self._otherwise = otherwise
        self._running = Running()
        self._timed_out = False
        self._statistics = Statistics()
        self._started = time.perf_counter()
        self._rows: Iterator[pa.RecordBatch] | None = None
        self._instead: Rows | None = None
        self._deadlines = deadlines
        self._deadline = deadlines.add(context.deadline, self._expire) if context.deadline is not None else None

    @property
    def columns(self) -> tuple[ResultColumn, ...]:
        return self._columns

    @property
    def statistics(self) -> Statistics:
        return self._statistics if self._instead is None else self._instead.statistics

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        if self._rows is None:
            try:
                self._rows = _pieces(self._named(answer(self._plan, self._filled())))
            except Unsuitable:
                self._instead = self._otherwise()
                self._rows = self._instead
        batch = next(self._rows)
        if self._instead is None:
            self._statistics.rows += len(batch)
            self._statistics.seconds = time.perf_counter() - self._started
        return batch

    def _filled(self) -> Cells:
        plan, key = self._plan, self._plan.time
        cells = Cells(
            plan.aggregates,
            None if key is None else key.width_us * NS_PER_US,
            0 if key is None else key.origin_us * NS_PER_US,
        )
        if self._request.range.empty:
            return cells
        scan = self._view.scan(replace(self._request, cells=cells.wish()))
        self._statistics.scans = [(self._request.series.name, scan.statistics)]
        first_field = len(plan.tags) + plan.needs_times
        try:
            for found in scan.cells:
                self._check()
                cells.add_summaries(found)
            for batch in scan.batches:
                self._check()
                if len(batch):
                    arrays = batch.columns
                    times = np.asarray(arrays[0]) if plan.needs_times else None
                    tags = arrays[first_field - len(plan.tags) : first_field]
                    fields = dict(zip(self._fields, arrays[first_field:], strict=True))
                    cells.add(times, tags, fields, len(batch))
        finally:
            _close(scan.batches)
        return cells

    @property
    def _fields(self) -> Sequence[int]:
        return [
            c for c in self._request.columns[len(self._plan.tags) + (self._plan.needs_times) :] if isinstance(c, int)
        ]

    def _named(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays(batch.columns, names=[c.name for c in self._columns])

    def _check(self) -> None:
        if self._timed_out:
            raise QueryCanceled("canceling statement due to statement timeout")
        if self._running.cancelled.is_set():
            raise QueryCanceled("canceling statement due to user request")

    def cancel(self) -> None:
        self._running.cancelled.set()
        if self._instead is not None:
            self._instead.cancel()

    def _expire(self) -> None:
        self._timed_out = True
        self.cancel()

    def close(self) -> None:
        if self._deadline is not None:
            self._deadlines.remove(self._deadline)
            self._deadline = None
        self._running.cancelled.set()
        if self._instead is not None:
            self._instead.close()


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(batch), BATCH_ROWS):
        yield batch.slice(start, BATCH_ROWS)


def _close(batches: Iterator[pa.RecordBatch]) -> None:
    close = getattr(batches, "close", None)
    if close is not None:
        close()
