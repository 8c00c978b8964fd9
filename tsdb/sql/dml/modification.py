"""What INSERT, UPDATE, DELETE and TRUNCATE have in common: a modification is prepared, then run for its effects.

An *effect* is a batch of points to write or a deletion. A modification reads (through ``Queries``, on a view) and says
what is to be done; it never touches the store: the session hands the effects on at once, or keeps them until COMMIT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from tsdb.model.schema import Catalog, Series
from tsdb.model.store import Effect, View, Write
from tsdb.sql import permission
from tsdb.sql.context import Context
from tsdb.sql.query import Queries
from tsdb.sql.result import ResultColumn, Rows
from tsdb.sql.statement import Select
from tsdb.types import SqlType

__all__ = ["ROWS_PER_EFFECT", "Effect", "Modification", "Outcome", "Reading", "Write"]

# How many rows one effect holds at most.
ROWS_PER_EFFECT = 65_536


@dataclass(frozen=True, slots=True)
class Reading:
    """All that a running modification reads with. ``repeatable``: it changes the rows that ``view`` shows and no
    others, whatever has come since. ``reads`` is told the bytes of each batch of its queries, ``keeps`` what it has
    returned so far. ``numbered``: the transaction has a producer's number, and may be a retry. ``written`` shows also
    what the parts of the statement have done."""

    queries: Queries
    catalog: Catalog
    view: View
    values: Sequence[object | None]
    context: Context
    repeatable: bool = False
    reads: Callable[[int], None] = lambda size: None
    numbered: bool = False
    keeps: Callable[[Sequence[pa.RecordBatch]], None] = lambda batches: None
    written: Callable[[], View] | None = None

    @property
    def latest(self) -> View:
        """What ``view`` shows with what the statement itself has done by now."""
        return self.view if self.written is None else self.written()


@dataclass
class Outcome:
    """A running modification: iterate it for its effects; then ``count`` and ``returned`` are complete.

    Close it always. Its queries are cancelled by way of ``Context.running``.
    """

    verb: str
    run: Callable[[Outcome], Iterator[Effect]]
    count: int = 0
    returned: list[pa.RecordBatch] = field(default_factory=list)
    # The series that is changed: what its own rows need is asked before the start.
    target: Series | None = None
    _rows: Rows | None = None

    def __iter__(self) -> Iterator[Effect]:
        return self.run(self)

    @property
    def tag(self) -> str:
        return f"INSERT 0 {self.count}" if self.verb == "INSERT" else f"{self.verb} {self.count}"

    def query(
        self, reading: Reading, statement: Select, parameter_types: Sequence[SqlType | None]
    ) -> Iterator[pa.RecordBatch]:
        """The batches of a query that this modification asks."""
        prepared = reading.queries.prepare(statement, reading.context, reading.catalog, parameter_types)
        permission.check_sources(reading.catalog, reading.context, prepared.plan.sources, self.target)
        permission.check_views(reading.catalog, reading.context, prepared.viewed)
        values = reading.values[: len(prepared.parameters)]
        rows = reading.queries.run(prepared, reading.view, values, reading.context)
        # A query may be asked while another one is read.
        around, self._rows = self._rows, rows
        try:
            for batch in rows:
                reading.reads(batch.nbytes)
                yield batch
        finally:
            self._rows = around
            rows.close()

    def close(self) -> None:
        rows = self._rows
        if rows is not None:
            rows.close()


class Modification(Protocol):
    """A prepared modification: RETURNING's columns and the parameters are known. Valid for one catalog version."""

    @property
    def series(self) -> Series: ...

    @property
    def columns(self) -> tuple[ResultColumn, ...]: ...

    @property
    def parameters(self) -> tuple[SqlType, ...]: ...

    @property
    def catalog_version(self) -> int: ...

    @property
    def reads(self) -> bool:
        """Whether it looks at data: INSERT of mere values does not."""
        ...

    def start(self, reading: Reading) -> Outcome: ...
