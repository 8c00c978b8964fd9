"""Refreshes of continuous views at a node: of databases that it alone has, and of those that several nodes have.

How far a view is stored is in the store of the one node that has it, or in the metadata for all that do. There the rows
are written by the node that leads all of the database, and by no other: what it logs in an epoch that is over is never
committed, so nobody's late rows come after those of who refreshes next, unless with a higher counter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from tsdb.cluster.metadata.agreement import Agreement, Shared
from tsdb.cluster.metadata.commands import Advance, Expected
from tsdb.cluster.metadata.records import NAMES, ContinuousRecord
from tsdb.errors import CannotConnectNow, TsdbError
from tsdb.model.acks import QUORUM
from tsdb.model.continuous import Progress
from tsdb.model.schema import Database, Series
from tsdb.model.store import Effect, Producer, View, Written
from tsdb.storage.engine import Engine

Commit = Callable[[Sequence[Effect], Producer | None, int], Future[Written]]


class Wishes:
    """Refreshes of continuous views, by number, that were asked for here and are done by who looks after them (the
    server's upkeep): a wish is fulfilled by one that begins after it. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wished: dict[int, int] = {}
        self._done: dict[int, tuple[int, TsdbError | None]] = {}

    def want(self, series: int, ticket: int) -> tuple[int, bool]:
        """(the ticket of a wish, whether it is fulfilled); a new one for ticket 0. Raises what spoke against it, and
        CannotConnectNow for one of an earlier life of this node."""
        with self._lock:
            last = self._wished.get(series, 0)
            if not ticket:
                ticket = last = self._wished[series] = last + 1
            done, error = self._done.get(series, (0, None))
        if ticket > last:
            raise CannotConnectNow("the node that was asked for a refresh was started again", hint="Try again.")
        if done >= ticket and error is not None:
            raise error
        return ticket, done >= ticket

    def open(self) -> Mapping[int, int]:
        """By view, the last wish that is not fulfilled."""
        with self._lock:
            return {at: last for at, last in self._wished.items() if last > self._done.get(at, (0, None))[0]}

    def fulfilled(self, series: int, ticket: int, error: TsdbError | None) -> None:
        with self._lock:
            self._done[series] = ticket, error


class OwnRefreshing:
    """A ``tsdb.model.store.Refreshing`` of a database with one replica. It ends without a word on how far it has come
    when the database begins to be shared; ``commit`` is then this node's own, as that of ``SharedRefreshing``."""

    def __init__(self, view: View, engine: Engine, series: Series, commit: Commit) -> None:
        self.view = view
        self.counter = view.moment.counter
        self._engine = engine
        self._series = series
        self._commit = commit

    def commit(self, effects: Sequence[Effect]) -> None:
        self._commit(effects, None, QUORUM).result()

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
