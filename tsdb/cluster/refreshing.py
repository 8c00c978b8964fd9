"""Refreshes of continuous views at a node: of databases that it alone has, and of those that several nodes have.

How far a view is stored is in the store of the one node that has it, or in the metadata for all that do. There the node
that leads the database's first location refreshes, and has the rows written by whoever leads their locations.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Protocol

from tsdb.cluster.metadata.agreement import Agreement
from tsdb.cluster.metadata.commands import Advance, Expected
from tsdb.cluster.metadata.records import NAMES, ContinuousRecord
from tsdb.errors import CannotConnectNow, SerializationFailure, TsdbError
from tsdb.model.acks import QUORUM
from tsdb.model.continuous import Progress
from tsdb.model.refreshing import Held, Holding
from tsdb.model.schema import Database, Series, SetRetention
from tsdb.model.store import Effect, Producer, TimeRange, View, Written
from tsdb.model.time import BUCKET_NS, NS_MIN
from tsdb.storage.engine import Engine

TICKET_BITS = 62
SHOWN_S, SHOWN_AGAIN_S = 2.0, 0.05
"""How long a refresh waits for nodes to show what the last one has done, and how often it looks."""

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


class Holds(Protocol):
    """What of this node a refresh of a replicated database goes through."""

    def view(self) -> View: ...

    def hold(self, database: Database, held: Held, counter: int | None) -> Holding: ...

    def commit_held(self, effects: Sequence[Effect], held: Held) -> Future[Written]: ...


class SharedRefreshing:
    """A ``tsdb.model.store.Refreshing`` of a database that several nodes have, wherever its locations are led.

    It holds the view there: rows of an earlier refresh that are late are taken by nobody. Counters of different nodes
    are made comparable first: the highest that any leader knows is told to all of them (Lamport, Time, Clocks, and the
    Ordering of Events, 1978), so that whatever comes later is above it, and what is not above it is applied.
    """

    def __init__(self, agreement: Agreement, here: Holds, node: int, database: Database, series: Series) -> None:
        """Raises CannotConnectNow."""
        self._agreement = agreement
        self._here = here
        self._node = node
        self._database = database
        self._series = series
        self._held = Held(series.number, secrets.randbits(TICKET_BITS))
        # A decision on what is agreed on now; what the view shows is that, or older.
        record = agreement.state.get(ContinuousRecord, series.number)
        self._changed = 0 if record is None else record.changed
        holding = self._agree(self._here.hold(database, self._held, None).counter)
        self.counter = holding.counter
        self._epochs = holding.epochs
        self.view: View = self._opened(record)

    def _agree(self, highest: int) -> Holding:
        """That counters go on above the highest that any leader had."""
        return replace(self._here.hold(self._database, self._held, highest), counter=highest)

    def _opened(self, record: ContinuousRecord | None) -> View:
        """When all nodes show what is agreed on."""
        end = time.monotonic() + SHOWN_S
        while True:
            view = self._here.view()
            try:
                shown = view.progress(self._series)
            except BaseException:
                view.close()
                raise
            if record is None or (shown is not None and _is(shown, record)):
                return view
            view.close()
            if time.monotonic() > end:
                raise CannotConnectNow(
                    f'how far "{self._series.name}" is stored has just changed, or is not known everywhere yet',
                    hint="Try again.",
                )
            time.sleep(SHOWN_AGAIN_S)

    def commit(self, effects: Sequence[Effect]) -> None:
        self._here.commit_held(effects, self._held).result()

    def advance(self, watermark_ns: int) -> None:
        holding = self._agree(self._here.hold(self._database, self._held, 0).counter)
        action = Advance(
            self._database.number, self._series.number, self.counter, holding.counter, watermark_ns, holding.applied,
            self._node, self._epochs,
        )  # fmt: skip
        seen = Expected(NAMES[ContinuousRecord], self._series.number, self._changed)
        (self._changed,) = self._agreement.propose(action, (seen,)).values

    def close(self) -> None:
        self.view.close()


def _is(shown: Progress, record: ContinuousRecord) -> bool:
    return (shown.counter, shown.stored) == (record.counter, record.stored)


def check_unchanged(open_view: Callable[[], View], floors: Iterable[SetRetention]) -> None:
    """As ``Engine.check_unchanged``, of what other nodes have as well: what changes after it counts as if it came after
    the floor has risen. Raises SerializationFailure, CannotConnectNow."""
    view = open_view()
    try:
        for floor in floors:
            assert floor.unchanged_since is not None
            counter, until = floor.unchanged_since
            series = view.catalog.find(floor.database).find(floor.series)
            span = TimeRange(NS_MIN if series.floor_ns is None else series.floor_ns, until)
            if view.changes(series, counter, span, BUCKET_NS):
                raise SerializationFailure(
                    f'"{series.name}" was changed while its floor was to rise',
                    hint="Try again: it has to be looked at anew.",
                )
    finally:
        view.close()
