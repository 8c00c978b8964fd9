"""A running selection: the scan's batches, less the rows that do not match, with the columns that were asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from tsdb.errors import QueryCanceled
from tsdb.model.store import ScanRequest, View
from tsdb.sql.context import Context
from tsdb.sql.deadline import Deadlines
from tsdb.sql.result import ResultColumn, Statistics
from tsdb.sql.selection.matches import FieldMatch
from tsdb.sql.selection.plan import ScanSelection
from tsdb.sql.stream import Running, ScanStream

# As many rows as results of DuckDB have at once (``tsdb.sql.execution``).
BATCH_ROWS = 16_384
BATCH_BYTES = 512 << 10


class SelectionExecution:
    """``Rows`` of a selection. ``span`` is LIMIT and OFFSET; ``request`` has the columns of ``plan.columns``.

    With ``dictionaries`` a column of tags stays an Arrow dictionary.
    """

    def __init__(
        self,
        plan: ScanSelection,
        request: ScanRequest,
        matches: tuple[FieldMatch, ...],
        span: tuple[int | None, int],
        view: View,
        columns: tuple[ResultColumn, ...],
        deadlines: Deadlines,
        context: Context,
        *,
        dictionaries: bool,
    ) -> None:
        self._dictionaries = dictionaries
        self._columns = columns
        self._names = [column.name for column in columns]
        self._types = [column.type.arrow for column in columns]
        self._name = request.series.name
        places = {key: at for at, key in enumerate(request.columns)}
        self._outputs = [places[key] for key in plan.outputs]
        self._matches = [(places[match.column], match) for match in matches]
        self._left, self._skipped = span
        self._running = Running()
        self._stream = ScanStream(request, view, self._running)
        self._batches = self._stream.batches()
        self._timed_out = False
        self._statistics = Statistics()
        self._started = time.perf_counter()
        self._pieces: Iterator[pa.RecordBatch] = iter(())
        self._deadlines = deadlines
        self._deadline = deadlines.add(context.deadline, self._expire) if context.deadline is not None else None

    @property
    def columns(self) -> tuple[ResultColumn, ...]:
        return self._columns

    @property
    def statistics(self) -> Statistics:
        self._statistics.scans = [(self._name, each) for each in self._stream.statistics]
        return self._statistics

    @property
    def ended(self) -> bool:
        return False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        while True:
            batch = next(self._pieces, None)
            if batch is not None:
                self._statistics.rows += len(batch)
                self._statistics.seconds = time.perf_counter() - self._started
                return batch
            if self._left == 0:
                raise StopIteration
            self._pieces = self._cut(self._chosen(self._scanned()))

    def _scanned(self) -> pa.RecordBatch:
        """The next rows of the scan. Raises StopIteration at its end."""
        try:
            batch = next(self._batches)
        except QueryCanceled:
            raise self._canceled() from None
        if self._running.cancelled.is_set():
            raise self._canceled()
        return batch

    def _canceled(self) -> QueryCanceled:
        return QueryCanceled(
            "canceling statement due to statement timeout"
            if self._timed_out
            else "canceling statement due to user request"
        )

    def _chosen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that match, within OFFSET and LIMIT."""
        if self._matches:
            keep = np.ones(len(batch), np.bool_)
            for at, match in self._matches:
                match.mark(batch.column(at), keep)
            if not keep.all():
                batch = batch.filter(pa.array(keep))
        skipped = min(self._skipped, len(batch))
        self._skipped -= skipped
        rows = len(batch) - skipped if self._left is None else min(len(batch) - skipped, self._left)
        if self._left is not None:
            self._left -= rows
        return batch.slice(skipped, rows)

    def _cut(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        if not len(batch):
            return
        arrays = [self._array(batch.column(at), self._types[i]) for i, at in enumerate(self._outputs)]
        whole = pa.RecordBatch.from_arrays(arrays, names=self._names)
        rows = max(1, min(BATCH_ROWS, BATCH_BYTES * len(whole) // max(1, whole.nbytes)))
        for start in range(0, len(whole), rows):
            yield whole.slice(start, rows)

    def _array(self, array: pa.Array, wanted: pa.DataType) -> pa.Array:
        if isinstance(array, pa.DictionaryArray):
            if self._dictionaries and array.type.value_type == wanted:
                return array
            array = array.dictionary_decode()
        return array if array.type == wanted else array.cast(wanted)

    def cancel(self) -> None:
        self._running.cancelled.set()

    def _expire(self) -> None:
        self._timed_out = True
        self.cancel()

    def close(self) -> None:
        if self._deadline is not None:
            self._deadlines.remove(self._deadline)
            self._deadline = None
        self._running.cancelled.set()
        self._stream.close()
