"""Scans as Arrow streams for DuckDB, which pulls them batch by batch while the query runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from tsdb.errors import QueryCanceled
from tsdb.leaving import Statement
from tsdb.model.schema import Column, Role, Series
from tsdb.model.store import SEQUENCE, TIME, TIME_NS, ScanRequest, ScanStatistics, View
from tsdb.sql import storage_form
from tsdb.types import TIMESTAMPTZ


class Cancelled:
    """Whether it is; any thread may say so. Few wait for that: an event for each run takes longer than many runs' look
    at a block."""

    __slots__ = ("_calls", "_events", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._events: tuple[threading.Event, ...] = ()
        self._calls: tuple[Callable[[], None], ...] = ()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for event in self._events:
            event.set()
        for call in self._calls:
            call()

    def then(self, call: Callable[[], None]) -> None:
        """Have something called when it is, or now. It must not wait."""
        self._calls = (*self._calls, call)
        if self._is_set:
            call()

    def wait(self, seconds: float) -> bool:
        """Until it is, or for so long; whether it is. For one thread."""
        event = threading.Event()
        self._events = (*self._events, event)
        # Who has said so before did not see the event.
        return self._is_set or event.wait(seconds)


class Running:
    """What a run's streams share: whether it was cancelled and the first error of a scan."""

    def __init__(self) -> None:
        self.cancelled = Cancelled()
        self.error: BaseException | None = None


class ScanStream:
    """One scan under its generated column names. DuckDB asks for a stream each time it reads the relation; each is a
    scan of its own over the same view, so reading twice gives the same rows twice."""

    def __init__(self, request: ScanRequest, view: View, running: Running) -> None:
        self._request = request
        self._view = view
        self._running = running
        self._columns = [_column(request.series, key) for key in request.columns]
        self._open: list[Iterator[pa.RecordBatch]] = []
        self.statistics: list[ScanStatistics] = []
        self.schema = pa.schema(
            [(f"c{i + 1}", _arrow_type(c)) for i, c in enumerate(zip(request.columns, self._columns, strict=True))]
        )

    def __arrow_c_schema__(self) -> Any:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return pa.RecordBatchReader.from_batches(self.schema, self.batches()).__arrow_c_stream__(requested_schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows of one scan, in the columns' query form; a tag's texts are a dictionary."""
        try:
            if self._request.range.empty:
                return
            # Any of DuckDB's threads may be here: it may have to wait for other nodes.
            with Statement(self._running.cancelled.is_set):
                scan = self._view.scan(self._request)
            self.statistics.append(scan.statistics)
            self._open.append(scan.batches)
            if scan.cancel is not None:
                self._running.cancelled.then(scan.cancel)
            for batch in scan.batches:
                if self._running.cancelled.is_set():
                    raise QueryCanceled("canceling statement due to user request")
                if len(batch):
                    arrays = [self._array(i, array) for i, array in enumerate(batch.columns)]
                    yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        except Exception as error:
            # DuckDB hands on the text alone: the error itself is kept for the client.
            self._running.error = self._running.error or error
            raise

    def _array(self, index: int, array: pa.Array) -> pa.Array:
        column, wanted = self._columns[index], self.schema.field(index).type
        if column is not None and column.role is not Role.TIME and not storage_form.is_identity(column):
            array = storage_form.from_stored(array, column)
        if array.type == wanted:
            return array
        if isinstance(array, pa.DictionaryArray):
            return array.dictionary_decode().cast(wanted)
        return array.cast(wanted)

    def close(self) -> None:
        """End scans that DuckDB did not read to their end (LIMIT, cancel)."""
        for batches in self._open:
            close = getattr(batches, "close", None)
            if close is not None:
                close()
        self._open = []


class LateRow:
    """One row with one empty text, after some seconds."""

    schema = pa.schema([("c1", pa.string())])

    def __init__(self, seconds: float, running: Running) -> None:
        self._seconds = seconds
        self._running = running

    def __arrow_c_schema__(self) -> Any:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return pa.RecordBatchReader.from_batches(self.schema, self._batches()).__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if self._running.cancelled.wait(max(0.0, self._seconds)):
            self._running.error = QueryCanceled("canceling statement due to user request")
            raise self._running.error
        yield pa.record_batch([pa.array([""])], schema=self.schema)


def _column(series: Series, key: int | str) -> Column | None:
    return series.by_number[key] if isinstance(key, int) else series.time if key == TIME else None


def _arrow_type(pair: tuple[int | str, Column | None]) -> pa.DataType:
    key, column = pair
    if key in (TIME_NS, SEQUENCE):
        return pa.int64()
    if key == TIME or column is None:
        return TIMESTAMPTZ.arrow
    if column.role is Role.TAG and storage_form.is_identity(column):
        return pa.dictionary(pa.int32(), pa.string())
    return storage_form.arrow_type(column)
