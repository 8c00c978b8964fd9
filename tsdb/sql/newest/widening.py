"""Statements whose rows come in the order of time, a few of them, whatever decides which: the newest part first.

``SELECT time_bucket('1 minute', time) AS t, max(usage) … GROUP BY t ORDER BY t DESC LIMIT 5`` and ``SELECT … WHERE
usage > 90 ORDER BY time DESC LIMIT 10`` need nothing that lies before their last row. So the statement runs over the
newest part of its range, and over a wider one as long as that gives fewer rows than LIMIT asks for. A part begins where
a bucket does: all groups in it are whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from tsdb.model.store import TIME_NS, Newest, ScanRequest, TimeRange, View
from tsdb.model.time import NS_PER_SECOND, NS_PER_US, clamp_ns
from tsdb.sql.context import Cancellable, Context
from tsdb.sql.deadline import Deadlines
from tsdb.sql.expressions.choice import Choice
from tsdb.sql.kernel_execution import KernelExecution
from tsdb.sql.newest.needs import count_of
from tsdb.sql.newest.path import Path, Unfit
from tsdb.sql.newest.plan import Widening
from tsdb.sql.plan import Undecided, Values
from tsdb.sql.result import ResultColumn, Rows
from tsdb.sql.rules.time_keys import time_key

# A statement that asks for more rows than this is none that few rows answer.
ROWS_MAX = 10_000
# The first part holds so many rows for each one that is asked for, where rows are not grouped, and so much time.
ROWS_FOR_ONE = 4
FIRST_NS = 900 * NS_PER_SECOND
# Each part is so many times as long as the one before: what was in vain is a fraction of the last one's work.
FACTOR = 8


def widening_of(choice: Choice, path: Path) -> Widening:
    """Raises Unfit."""
    if choice.limit is None or not choice.order or choice.on is not None or not choice.plain:
        raise Unfit
    every = [*choice.targets, *choice.groups, *(key.expr for key in choice.order)]
    every += [condition.expr for block in path.blocks for condition in block.conditions]
    every += [] if choice.having is None else [choice.having]
    if not all(each.stable for each in every):
        raise Unfit
    first = choice.order[0]
    key = time_key(first.expr)
    if choice.grouped and (key is None or not any(first.expr.sql == group.sql for group in choice.groups)):
        raise Unfit
    if key is None:
        resolved = path.resolve(first.expr)
        if not path.is_time(resolved) and not path.is_time_ns(resolved):
            raise Unfit
    width, origin = (1, 0) if key is None else (key.width_us, key.origin_us)
    return Widening(choice.limit, choice.offset, not first.descending, width, origin, choice.grouped)


def rows_of(plan: Widening, values: Values) -> tuple[int, int]:
    """(LIMIT, OFFSET) of a run. Raises Undecided for numbers that are not known, not allowed or not small."""
    limit, offset = count_of(plan.limit, values), count_of(plan.offset, values)
    if not 0 < limit + offset <= ROWS_MAX or not limit:
        raise Undecided
    return limit, offset


class _Spans:
    """Parts of a request's range, wider and wider; the last is all of it. ``rows`` are wanted."""

    def __init__(self, plan: Widening, request: ScanRequest, view: View, rows: int) -> None:
        self._plan = plan
        self._request = request
        self._view = view
        self._rows = rows

    def __iter__(self) -> Iterator[TimeRange]:
        whole, oldest = self._request.range, self._plan.oldest
        near = None if whole.empty else self._edge(1, oldest=oldest)
        if near is not None:
            reach = self._first_reach(near)
            far: int | None = None
            while True:
                bound = self._aligned(near + reach if oldest else near - reach)
                if far is None and reach > FIRST_NS:
                    far = self._edge(1, oldest=not oldest)
                if bound is None or (far is not None and (bound > far if oldest else bound <= far)):
                    break
                low, high = (whole.low, min(bound, whole.high)) if oldest else (max(bound, whole.low), whole.high)
                yield TimeRange(low, high)
                reach = max(reach * FACTOR, FIRST_NS + 1, self._plan.width_us * NS_PER_US)
        yield whole

    def _first_reach(self, near: int) -> int:
        plan = self._plan
        if plan.grouped:
            return (self._rows - 1) * plan.width_us * NS_PER_US
        last = self._edge(self._rows * ROWS_FOR_ONE, oldest=plan.oldest)
        return max(FIRST_NS, 0 if last is None else abs(near - last))

    def _edge(self, rows: int, *, oldest: bool) -> int | None:
        """About the time of the last of the ``rows`` points that come first, conditions on fields aside; None: no
        point. A part that begins a little late or early is as right."""
        slack_us = self._plan.width_us if self._plan.grouped else FIRST_NS // NS_PER_US
        request, newest = self._request, Newest(rows, oldest=oldest, ties=False, slack_us=slack_us)
        scan = self._view.scan(ScanRequest(request.series, (TIME_NS,), request.range, request.tags, newest=newest))
        times = [np.asarray(batch.column(0)) for batch in scan.batches if len(batch)]
        if not times:
            return None
        # A scan may give more than it was asked for.
        found = np.sort(np.concatenate(times))
        return int(found[:rows][-1] if oldest else found[-rows:][0])

    def _aligned(self, time_ns: int) -> int | None:
        """The begin of the bucket of a time, or the end of it if the oldest come first; None beyond all times."""
        plan = self._plan
        bucket = (time_ns // NS_PER_US - plan.origin_us) // plan.width_us + plan.oldest
        edge = (bucket * plan.width_us + plan.origin_us) * NS_PER_US
        return edge if clamp_ns(edge) == edge else None


class WideningExecution(KernelExecution):
    """``Rows`` of such a statement. ``run`` runs it over a part of its range, and says first what runs."""

    def __init__(
        self,
        plan: Widening,
        rows: tuple[int, int],
        request: ScanRequest,
        run: Callable[[TimeRange, Callable[[Cancellable], None]], Rows],
        view: View,
        columns: tuple[ResultColumn, ...],
        deadlines: Deadlines,
        context: Context,
        otherwise: Callable[[], Rows],
    ) -> None:
        super().__init__(view, columns, deadlines, context, otherwise)
        self._plan = plan
        self._limit, self._offset = rows
        self._request = request
        self._run = run
        self._part: Cancellable | None = None

    def answer(self) -> pa.RecordBatch:
        found: list[pa.RecordBatch] = []
        for span in _Spans(self._plan, self._request, self.view, self._limit + self._offset):
            self.check()
            found = self._of(span)
            if sum(map(len, found)) >= self._limit:
                break
        if not found:
            return pa.RecordBatch.from_arrays(
                [pa.array([], column.type.arrow) for column in self.columns], names=[c.name for c in self.columns]
            )
        return found[0] if len(found) == 1 else pa.concat_batches(found)

    def _of(self, span: TimeRange) -> list[pa.RecordBatch]:
        part = self._run(span, self._began)
        try:
            batches = list(part)
            self.own_statistics.add(part.statistics)
            return batches
        finally:
            part.close()

    def _began(self, part: Cancellable) -> None:
        self._part = part
        if self.running.cancelled.is_set():  # before there was a part to be told of it
            part.cancel()

    def cancel(self) -> None:
        super().cancel()
        part = self._part
        if part is not None:
            part.cancel()
