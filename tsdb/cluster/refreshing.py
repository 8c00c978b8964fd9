"""Refreshes of continuous views at a node: of databases that it alone has, and of those that several nodes have.

How far a view is stored is in the store of the one node that has it, or in the metadata for all that do. There the rows
are written by the node that leads all of the database, and by no other: what it logs in an epoch that is over is never
committed, so nobody's late rows come after those of who refreshes next, unless with a higher counter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from tsdb.cluster.metadata.agreement import Agreement, Shared
from tsdb.cluster.metadata.commands import Advance, Expected
from tsdb.cluster.metadata.records import NAMES, ContinuousRecord
from tsdb.errors import CannotConnectNow
from tsdb.model.acks import QUORUM
from tsdb.model.continuous import Progress
from tsdb.model.schema import Database, Series
from tsdb.model.store import Effect, Producer, View, Written
from tsdb.storage.engine import Engine

Commit = Callable[[Sequence[Effect], Producer | None, int], Future[Written]]


class Data(Protocol):
    """What of ``node.Node`` is needed."""

    def view(self) -> View: ...

    def commit(self, effects: Sequence[Effect]) -> Future[Written]: ...


class OwnRefreshing:
    """A ``tsdb.model.store.Refreshing`` of a database with one replica."""

    def __init__(self, here: Data, engine: Engine, series: Series) -> None:
        self._here = here
        self._engine = engine
        self._series = series
        self.view = here.view()
        self.counter = self.view.moment.counter

    def commit(self, effects: Sequence[Effect]) -> None:
        self._here.commit(effects).result()

    def advance(self, watermark_ns: int) -> None:
        self._engine.advance(self._series, Progress(self.counter, watermark_ns))

    def close(self) -> None:
        self.view.close()


class SharedRefreshing:
    """A ``tsdb.model.store.Refreshing`` of a database that several nodes have, all of which this ``node`` leads.

    ``commit`` is this node's own: nothing of it is done elsewhere if others lead meanwhile.
    """

    def __init__(
        self, agreement: Agreement, shared: Shared, node: int, database: Database, series: Series, commit: Commit
    ) -> None:
        """Raises CannotConnectNow."""
        self._agreement = agreement
        self._shared = shared
        self._node = node
        self._database = database
        self._series = series
        self._commit = commit
        self._locations = [each.number for each in database.locations]
        # A decision on what is agreed on now; what the view shows is that, or older.
        record = agreement.state.get(ContinuousRecord, series.number)
        self._changed = 0 if record is None else record.changed
        basis = shared.basis(self._locations)
        self.view: View = basis.view
        self.counter = basis.counter
        self._epochs = basis.epochs
        shown = basis.view.progress(series)
        if record is not None and (shown is None or shown.stored != record.stored or shown.counter != record.counter):
            basis.view.close()
            raise CannotConnectNow(
                f'how far "{series.name}" is stored has just changed, or is not known here yet', hint="Try again."
            )

    def commit(self, effects: Sequence[Effect]) -> None:
        self._commit(effects, None, QUORUM).result()

    def advance(self, watermark_ns: int) -> None:
        stored, applied = self._shared.stored(self._locations)
        action = Advance(
            self._database.number, self._series.number, self.counter, stored, watermark_ns, applied, self._node,
            self._epochs,
        )  # fmt: skip
        seen = Expected(NAMES[ContinuousRecord], self._series.number, self._changed)
        (self._changed,) = self._agreement.propose(action, (seen,)).values

    def close(self) -> None:
        self.view.close()
