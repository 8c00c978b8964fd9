"""A running statement that is answered without DuckDB, in one piece; or by DuckDB after all."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import pyarrow as pa

from tsdb.errors import QueryCanceled
from tsdb.model.store import View
from tsdb.sql.context import Context
from tsdb.sql.deadline import Deadlines
from tsdb.sql.result import ResultColumn, Rows, Statistics
from tsdb.sql.stream import Running

# Rows of one result batch, and of those that are made while the ones before are sent.
BATCH_ROWS = 16_384
FIRST_ROWS = 4096


class Unsuitable(Exception):
    """DuckDB has to do it after all."""


class Later:
    """Rows that are made as they are asked for: ``made`` gives those of a slice. Nothing that fails is left to do."""

    def __init__(self, rows: int, made: Callable[[slice], pa.RecordBatch]) -> None:
        self._rows = rows
        self._made = made

    def __len__(self) -> int:
        return self._rows

    def slice(self, start: int, rows: int) -> pa.RecordBatch:
        return self._made(slice(start, start + rows))


class KernelExecution(ABC):
    """``Rows`` of a statement. ``otherwise`` runs it in DuckDB, when ``answer`` raises Unsuitable."""

    def __init__(
        self,
        view: View,
        columns: tuple[ResultColumn, ...],
        deadlines: Deadlines,
        context: Context,
        otherwise: Callable[[], Rows],
    ) -> None:
        self.view = view
        self.running = Running()
        self.own_statistics = Statistics()
        self._columns = columns
        self._otherwise = otherwise
        self._timed_out = False
        self._started = time.perf_counter()
        self._rows: Iterator[pa.RecordBatch] | None = None
        self._left = -1
        self._instead: Rows | None = None
        self._deadlines = deadlines
        self._deadline = deadlines.add(context.deadline, self._expire) if context.deadline is not None else None

    @abstractmethod
    def answer(self) -> pa.RecordBatch | Later | Rows:
        """All rows, their columns in the types that were promised, under any names; or what goes on to give them.
        Raises Unsuitable."""

    @property
    def columns(self) -> tuple[ResultColumn, ...]:
        return self._columns

    @property
    def statistics(self) -> Statistics:
        return self.own_statistics if self._instead is None else self._instead.statistics

    @property
    def ended(self) -> bool:
        return self._left == 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        if self._rows is None:
            try:
                found = self.answer()
                if isinstance(found, pa.RecordBatch | Later):
                    self._rows, self._left = self._pieces(found), len(found)
                else:
                    self._rows = self._instead = found
                    self.check()  # who has cancelled meanwhile did not know of it
            except Unsuitable:
                self._instead = self._otherwise()
                self._rows = self._instead
        batch = next(self._rows)
        if self._instead is None:
            self._left -= len(batch)
            self.own_statistics.rows += len(batch)
            self.own_statistics.seconds = time.perf_counter() - self._started
        return batch

    def _pieces(self, found: pa.RecordBatch | Later) -> Iterator[pa.RecordBatch]:
        rows = FIRST_ROWS if isinstance(found, Later) else BATCH_ROWS
        for start in range(0, len(found), rows):
            batch = found.slice(start, rows)
            yield pa.RecordBatch.from_arrays(batch.columns, names=[c.name for c in self._columns])

    def check(self) -> None:
        """Called between batches. Raises QueryCanceled."""
        if self._timed_out:
            raise QueryCanceled("canceling statement due to statement timeout")
        if self.running.cancelled.is_set():
            raise QueryCanceled("canceling statement due to user request")

    def cancel(self) -> None:
        self.running.cancelled.set()
        if self._instead is not None:
            self._instead.cancel()

    def _expire(self) -> None:
        self._timed_out = True
        self.cancel()

    def close(self) -> None:
        if self._deadline is not None:
            self._deadlines.remove(self._deadline)
            self._deadline = None
        self.running.cancelled.set()
        if self._instead is not None:
            self._instead.close()
        elif self._rows is not None:
            self._rows = iter(())  # a portal is kept for longer than its rows
