"""Partial aggregates from kernels, and the rest of the statement over them in DuckDB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa

from tsdb.model.store import ScanRequest, View
from tsdb.sql.aggregation.answer import answer
from tsdb.sql.aggregation.execution import AggregateExecution
from tsdb.sql.aggregation.plan import Partial
from tsdb.sql.context import Context
from tsdb.sql.deadline import Deadlines
from tsdb.sql.kernel_execution import Unsuitable
from tsdb.sql.result import ResultColumn, Rows, Statistics


class PartialExecution(AggregateExecution):
    """``Rows`` of a statement over partial aggregates: ``over`` runs it in DuckDB once they are there."""

    def __init__(
        self,
        partial: Partial,
        request: ScanRequest,
        view: View,
        columns: tuple[ResultColumn, ...],
        deadlines: Deadlines,
        context: Context,
        otherwise: Callable[[], Rows],
        over: Callable[[pa.Table], Rows],
    ) -> None:
        super().__init__(partial.aggregate, request, view, columns, deadlines, context, otherwise)
        self._names = list(partial.names)
        self._over = over

    def answer(self) -> Rows:
        try:
            batch = answer(self._plan, self._filled())
        except (pa.ArrowInvalid, OverflowError):
            # A sum beyond int8.
            raise Unsuitable from None
        return self._over(pa.Table.from_batches([batch]).rename_columns(self._names))

    @property
    def statistics(self) -> Statistics:
        found = super().statistics
        return found if found.scans else replace(found, scans=self.own_statistics.scans)
