"""A running aggregate: the scan's batches go into cells, and the cells are the answer, one batch of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pyarrow as pa

from tsdb.errors import QueryCanceled
from tsdb.model.store import TIME_NS, ScanRequest, View
from tsdb.model.summaries import CellRequest
from tsdb.sql.aggregation.answer import later
from tsdb.sql.aggregation.cells import Cells
from tsdb.sql.aggregation.group_cells import GroupCells
from tsdb.sql.aggregation.plan import PLANS_KEPT, ScanAggregate
from tsdb.sql.aggregation.states import TIMES, states_of, statistics_for
from tsdb.sql.context import Context
from tsdb.sql.deadline import Deadlines
from tsdb.sql.kernel_execution import KernelExecution, Later
from tsdb.sql.result import ResultColumn, Rows

NS_PER_US = 1000


@lru_cache(maxsize=PLANS_KEPT)
def columns_of(plan: ScanAggregate) -> tuple[int | str, ...]:
    """What the scan reads: the time, then tags, then each field once."""
    times = (TIME_NS,) if plan.needs_times else ()
    fields = dict.fromkeys(each.column for each in plan.aggregates if each.column is not None)
    return (*times, *(tag.column for tag in plan.tags), *fields)


class AggregateExecution(KernelExecution):
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
        super().__init__(view, columns, deadlines, context, otherwise)
        self._plan = plan
        self._request = request

    def answer(self) -> pa.RecordBatch | Later | Rows:
        return later(self._plan, self._filled())

    def _filled(self) -> Cells | GroupCells:
        plan = self._plan
        wish = _wish_of(plan)
        if self._request.range.empty:
            return Cells(plan.aggregates, wish.width_ns, wish.origin_ns, self._request.range)
        scan = self.view.scan(replace(self._request, cells=wish))
        self.own_statistics.scans = [(self._request.series.name, scan.statistics)]
        if scan.groups is not None:
            return GroupCells(scan.groups)
        if scan.cancel is not None:
            self.running.cancelled.then(scan.cancel)
        cells = Cells(plan.aggregates, wish.width_ns, wish.origin_ns, self._request.range)
        first_field = len(plan.tags) + plan.needs_times
        try:
            for found in scan.cells:
                self.check()
                cells.add_summaries(found)
            for batch in scan.batches:
                self.check()
                if len(batch):
                    arrays = batch.columns
                    times = np.asarray(arrays[0]) if plan.needs_times else None
                    tags = arrays[first_field - len(plan.tags) : first_field]
                    fields = dict(zip(self._fields, arrays[first_field:], strict=True))
                    cells.add(times, tags, fields, len(batch))
        except QueryCanceled:
            # Who waits for another node does not know why.
            self.check()
            raise
        finally:
            _close(scan.batches)
        return cells

    @property
    def _fields(self) -> Sequence[int]:
        return [
            c for c in self._request.columns[len(self._plan.tags) + (self._plan.needs_times) :] if isinstance(c, int)
        ]


@lru_cache(maxsize=PLANS_KEPT)
def _wish_of(plan: ScanAggregate) -> CellRequest:
    """What the aggregates need of points that a scan says in cells."""
    floating = {each.column for each in plan.aggregates if each.floating}
    wanted: dict[int, list[str]] = {}
    found = dict.fromkeys(state for each in plan.aggregates for state in states_of(each))
    for state in found:
        if state.column != TIMES:
            needed = statistics_for(state.name, floating=state.column in floating)
            wanted.setdefault(state.column, []).extend(needed)
    statistics = {column: tuple(dict.fromkeys(names)) for column, names in wanted.items()}
    key, times = plan.time, any(state.column == TIMES for state in found)
    if key is None:
        return CellRequest(None, 0, statistics, times)
    return CellRequest(key.width_us * NS_PER_US, key.origin_us * NS_PER_US, statistics, times)


def _close(batches: Iterator[pa.RecordBatch]) -> None:
    close = getattr(batches, "close", None)
    if close is not None:
        close()
