"""A running query: scans opened, DuckDB's result as Arrow batches in the types that were promised."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tsdb.errors import QueryCanceled, TsdbError
from tsdb.model.store import ScanRequest, View
from tsdb.sql import shared_names
from tsdb.sql.catalog import names
from tsdb.sql.catalog.calls import MARKER
from tsdb.sql.catalog.live import Glance, glance_of
from tsdb.sql.context import Context
from tsdb.sql.deadline import Deadlines
from tsdb.sql.duckdb_errors import to_error
from tsdb.sql.instance import Cursor, Instance
from tsdb.sql.plan import Plan
from tsdb.sql.result import ResultColumn, Statistics
from tsdb.sql.stream import LateRow, Running, ScanStream
from tsdb.types import NAMED_OID, NUMERIC, REFERENCES, SqlType

# DuckDB gives units of a few vectors; they are gathered up to so many rows or bytes. A client that does not read holds
# one batch: the smaller, the more such clients fit into memory. The first unit goes alone: the first row comes soon.
UNIT_ROWS_MIN, UNIT_ROWS_MAX = 2048, 8192
BATCH_ROWS = 16_384
BATCH_BYTES = 512 << 10
# So long after an interrupt that may have come too early comes the next one.
INTERRUPT_AGAIN_S = 0.01
_VALUE_BYTES = 16  # for the choice of units, before any value was seen


class Execution:
    """``Rows`` of a query that runs in DuckDB. Iterate in one thread; ``cancel`` comes from any."""

    def __init__(
        self,
        instance: Instance,
        cursor: Cursor,
        deadlines: Deadlines,
        columns: tuple[ResultColumn, ...],
        context: Context,
    ) -> None:
        self._instance = instance
        self._cursor: Cursor | None = cursor
        # A cancel must not interrupt a cursor that was given back: its next query would pay for it.
        self._holding = threading.Lock()
        self._deadlines = deadlines
        self._columns = columns
        self._context = context
        self._glance: Glance | None = None
        self._token = 0
        self._running = Running()
        self._streams: list[tuple[str, ScanStream]] = []
        self._reader: Any = None
        self._ended = False
        self._timed_out = False
        self._started = time.perf_counter()
        self._statistics = Statistics()
        self._deadline = deadlines.add(context.deadline, self._expire) if context.deadline is not None else None

    @property
    def columns(self) -> tuple[ResultColumn, ...]:
        return self._columns

    @property
    def statistics(self) -> Statistics:
        self._statistics.scans = [(n, s) for n, stream in self._streams for s in stream.statistics]
        return self._statistics

    @property
    def ended(self) -> bool:
        return self._ended and self._running.error is None

    def glance(self, view: View, sql: str) -> int:
        """The token by which the catalog's functions in ``sql`` know this statement; 0 when there are none."""
        named = any(_is_named(c.type) for c in self._columns)
        if not named and MARKER not in sql and "\x01" not in sql:
            return 0
        self._glance = glance_of(self._context, view.catalog)
        self._token = self._instance.catalog_calls.open(self._glance)
        return self._token

    def start(
        self,
        plan: Plan,
        sql: str,
        requests: Sequence[tuple[str, ScanRequest]],
        view: View,
        context: Context,
        given: Mapping[str, pa.Table],
    ) -> None:
        """Register the scans, and tables that are there, and begin. Raises what DuckDB's binding or a system relation
        raises."""
        assert self._cursor is not None
        connection = self._cursor.connection
        try:
            for name, request in requests:
                stream = ScanStream(request, view, self._running)
                self._streams.append((request.series.name, stream))
                self._cursor.show(name, stream)
            for name, table in given.items():
                self._cursor.show(name, table)
            for source in plan.sources:
                if source.delay_seconds is not None:
                    self._cursor.show(source.name, LateRow(source.delay_seconds, self._running))
                if source.table is not None:
                    names = tuple(str(key) for key in source.columns) or ("tableoid",)
                    name, sql = shared_names.registered(sql, source, names)
                    table = source.table(view.catalog, context, names)
                    self._cursor.show(name, table.rename_columns([f"c{i + 1}" for i in range(len(names))]))
            self._reader = connection.sql(sql).to_arrow_reader(_unit_rows(len(self._columns)))
        except Exception as error:
            made = self._error(error)
            self.close()
            raise made from error

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        if self._reader is None:
            raise StopIteration
        try:
            made = self._promised(self._gathered())
        except StopIteration:
            self._statistics.seconds = time.perf_counter() - self._started
            if self._running.error is not None:
                raise self._error(self._running.error) from None
            raise
        except Exception as error:
            raise self._error(error) from error
        self._statistics.rows += len(made)
        self._statistics.seconds = time.perf_counter() - self._started
        return made

    def _gathered(self) -> pa.RecordBatch:
        """The next rows, as DuckDB has them. Raises StopIteration at the end."""
        if self._ended:
            raise StopIteration
        units = [self._unit()]
        rows, size = units[0].num_rows, units[0].nbytes
        while self._statistics.rows and rows < BATCH_ROWS and size < BATCH_BYTES:
            try:
                unit = self._unit()
            except StopIteration:
                self._ended = True
                break
            units.append(unit)
            rows, size = rows + unit.num_rows, size + unit.nbytes
        return units[0] if len(units) == 1 else pa.concat_batches(units)

    def _unit(self) -> pa.RecordBatch:
        batch = self._reader.read_next_batch()
        while not len(batch):
            batch = self._reader.read_next_batch()
        return batch

    def _promised(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [self._as_promised(a, c.type) for a, c in zip(batch.columns, self._columns, strict=False)]
        return pa.RecordBatch.from_arrays(arrays, names=[c.name for c in self._columns])

    def _as_promised(self, array: pa.Array, sql_type: SqlType) -> pa.Array:
        if (sql_type.element or sql_type).fields is not None:
            return self._rows(array, sql_type)
        return self._referring(array, sql_type) if _is_named(sql_type) else _promised(array, sql_type.arrow)

    def _rows(self, array: pa.Array, sql_type: SqlType) -> pa.Array:
        """Rows, or arrays of them, with each field as it is promised."""
        if array.null_count == len(array):
            return pa.nulls(len(array))
        mask = array.is_null() if array.null_count else None
        if sql_type.element is not None:
            return pa.ListArray.from_arrays(array.offsets, self._as_promised(array.values, sql_type.element), mask=mask)
        assert sql_type.fields is not None
        parts = [self._as_promised(array.field(i), f.type) for i, f in enumerate(sql_type.fields)]
        return (
            pa.StructArray.from_arrays(parts, names=[f"f{i + 1}" for i in range(len(parts))], mask=mask)
            if parts
            else array
        )

    def _referring(self, array: pa.Array, sql_type: SqlType) -> pa.Array:
        """A reg* column with its names, as the wire wants it; each distinct OID is looked up once."""
        assert self._glance is not None
        if sql_type.element is not None:
            inner = self._referring(array.values, sql_type.element)
            return pa.ListArray.from_arrays(array.offsets, inner, mask=array.is_null() if array.null_count else None)
        numbers = array.cast(pa.int64()).dictionary_encode()
        outline = self._glance.outline
        texts = [names.name(sql_type.typname, outline, oid) for oid in numbers.dictionary.to_pylist()]
        shown = pa.array(texts, pa.string()).take(numbers.indices)
        mask = array.is_null()
        return pa.StructArray.from_arrays([array.cast(pa.int64()), shown], fields=list(NAMED_OID), mask=mask)

    def _error(self, error: BaseException) -> TsdbError:
        if self._timed_out:
            return QueryCanceled("canceling statement due to statement timeout")
        if self._running.cancelled.is_set():
            return QueryCanceled("canceling statement due to user request")
        kept = self._running.error
        if kept is not None:
            # What is no TsdbError is a defect of a floor below: the session logs it.
            if not isinstance(kept, TsdbError):
                raise kept
            return kept
        if not isinstance(error, Exception):
            raise error
        return to_error(error)

    def cancel(self) -> None:
        self._running.cancelled.set()
        self._interrupt()

    def _interrupt(self) -> None:
        """DuckDB forgets one that comes before it has begun with the statement: then again, until it has."""
        begun = self._reader is not None
        with self._holding:
            if self._cursor is None:
                return
            self._cursor.connection.interrupt()
        if not begun:
            self._deadlines.add(time.monotonic() + INTERRUPT_AGAIN_S, self._interrupt)

    def _expire(self) -> None:
        self._timed_out = True
        self.cancel()

    def close(self) -> None:
        """Release the cursor and the scans. May be called twice."""
        with self._holding:
            cursor, self._cursor = self._cursor, None
        if cursor is None:
            return
        if self._deadline is not None:
            self._deadlines.remove(self._deadline)
        self._running.cancelled.set()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        cursor.clear()
        if self._token:
            self._instance.catalog_calls.forget(self._token)
        for _, stream in self._streams:
            stream.close()
        self._instance.give_back(cursor)


def _unit_rows(columns: int) -> int:
    return max(UNIT_ROWS_MIN, min(UNIT_ROWS_MAX, BATCH_BYTES // (_VALUE_BYTES * max(1, columns))))


def _is_named(sql_type: SqlType) -> bool:
    plain = sql_type.element or sql_type
    return plain in REFERENCES or any(_is_named(f.type) for f in plain.fields or ())


def _promised(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if array.type == wanted:
        return array
    # A numeric comes as decimals of one scale, or as the texts of numbers that have each their own.
    if wanted == NUMERIC.arrow and (pa.types.is_decimal(array.type) or pa.types.is_string(array.type)):
        return array
    if pa.types.is_list(wanted) and wanted.value_type == NUMERIC.arrow:
        return array
    return array.cast(wanted)
