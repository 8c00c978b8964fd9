"""A DoPut's batches on their way into the store, one after the other, in order.

A batch is durable and visible before the next one is read: who waits for its acknowledgement before it sends more gets
it, and fsync is a small part of what a batch takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from tsdb.clock import Clock
from tsdb.errors import DataError, InvalidParameterValue, ProgramLimitExceeded, TsdbError
from tsdb.flight.digest import digest_of
from tsdb.flight.placing import place
from tsdb.flight.points import points_of_batch
from tsdb.flight.requests import Put
from tsdb.flight.sizes import check_plain
from tsdb.model.points import Points
from tsdb.model.schema import Series
from tsdb.model.store import Store, Write, Written
from tsdb.sql.context import Context
from tsdb.sql.dml import checks
from tsdb.sql.dml.modification import Reading
from tsdb.sql.query import Queries

# Rows of a batch, which is one step of the store.
ROWS_MAX = 1 << 20
# Points of one op.
_OP_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class WriteOptions:
    message_bytes_max: int
    create_database: bool


class Incoming:
    """One stream. Used by one thread: ``begin``, ``add`` each batch, then ``finish``.

    Any error ends the stream; ``stored`` counts the rows that stay.
    """

    def __init__(
        self,
        store: Store,
        queries: Queries,
        clock: Clock,
        pool: Executor,
        options: WriteOptions,
        put: Put,
        role: int,
    ) -> None:
        self._store = store
        self._queries = queries
        self._clock = clock
        self._pool = pool
        self._options = options
        self._put = put
        self._role = role
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self.stored = 0
        self.duplicate = False
        self.fell_short = False

    def begin(self, schema: pa.Schema) -> None:
        """Make what the series lacks, also if no rows come. Raises what ``place`` raises."""
        self._pool.submit(self._place, schema).result()

    def _place(self, schema: pa.Schema) -> Series:
        create = self._options.create_database
        return place(self._store, self._put, schema, self._role, create_database=create)[1]

    def add(self, batch: pa.RecordBatch) -> int:
        """Store a batch; how many rows are stored by now."""
        self._check_size(batch)
        if self._put.numbered is not None:
            self._hold(batch)
            return 0
        if batch.num_rows:
            self._store_one(batch)
        return self.stored

    def finish(self) -> int:
        """The stream has ended well; how many rows are stored."""
        if self._put.numbered is not None:
            self._whole()
        return self.stored

    def told(self, error: TsdbError) -> TsdbError:
        """An error, with how many rows are stored whatever it says."""
        if self.stored:
            error.detail = f"{self.stored} rows had been stored before and stay."
        return error

    def _check_size(self, batch: pa.RecordBatch) -> None:
        limit = self._options.message_bytes_max
        if batch.nbytes > limit:
            raise ProgramLimitExceeded(
                f"a record batch of {batch.nbytes} bytes is longer than {limit}", hint="Send smaller batches."
            )
        if batch.num_rows > ROWS_MAX:
            raise ProgramLimitExceeded(
                f"a record batch of {batch.num_rows} rows is too large: it has at most {ROWS_MAX}",
                hint="Send smaller batches.",
            )

    def _hold(self, batch: pa.RecordBatch) -> None:
        """A numbered batch is one step: it waits for its end in memory."""
        self._held.append(batch)
        self._held_bytes += batch.nbytes
        rows = sum(each.num_rows for each in self._held)
        if self._held_bytes > self._options.message_bytes_max or rows > ROWS_MAX:
            raise ProgramLimitExceeded(
                f"a numbered batch has at most {self._options.message_bytes_max} bytes and {ROWS_MAX} rows",
                hint="Number smaller batches.",
            )

    def _whole(self) -> None:
        held, self._held = self._held, []
        rows = sum(each.num_rows for each in held)
        if rows != self._put.rows:
            raise InvalidParameterValue(
                f"the numbered batch has {rows} rows and was to have {self._put.rows}: nothing of it is stored"
            )
        if rows:
            table = pa.Table.from_batches(held).combine_chunks()
            self._store_one(table.to_batches()[0])

    def _store_one(self, batch: pa.RecordBatch) -> None:
        done = self._pool.submit(self._submit, batch).result().result()
        self.duplicate = self.duplicate or done.duplicate
        self.fell_short = self.fell_short or done.fell_short
        self.stored += batch.num_rows

    def _submit(self, batch: pa.RecordBatch) -> Future[Written]:
        """Bind a batch to the series as it is now, and hand its points to the store."""
        try:
            batch.validate(full=True)
        except pa.ArrowInvalid as error:
            raise DataError(f"a record batch is not valid: {error}") from None
        check_plain(batch, self._options.message_bytes_max)
        put, series = self._put, self._place(batch.schema)
        context = Context(put.database, self._clock.now_ns() // 1000)
        points = points_of_batch(series, batch, put.time, context)
        self._check(series, points, context)
        numbered = put.numbered
        if numbered is not None:
            numbered = replace(numbered, digest=digest_of(batch))
        return self._store.commit([Write(part) for part in _parts(points)], numbered, put.acks_wanted)

    def _check(self, series: Series, points: Points, context: Context) -> None:
        """CHECK constraints hold here, too. Raises CheckViolation."""
        if not series.checks:
            return
        view = self._store.view()
        try:
            checks.check(Reading(self._queries, view.catalog, view, (), context), points)
        finally:
            view.close()


def _parts(points: Points) -> Iterator[Points]:
    """Ops of a bounded size."""
    if len(points) <= _OP_ROWS:
        yield points
        return
    for first in range(0, len(points), _OP_ROWS):
        part = points.take(np.arange(first, min(first + _OP_ROWS, len(points)), dtype=np.intp))
        yield replace(part, fields={n: a for n, a in part.fields.items() if a.null_count < len(a)})
