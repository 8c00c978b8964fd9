"""Refreshing continuous views: dirty and new buckets are computed and stored, piece by piece.

A refresh reads one view of the data. First it replaces the dirty buckets, then it says that the stored ones are as the
source was in that view; then it stores new buckets in ascending pieces and moves the watermark after each. The rows of
a piece are always there before the progress says so: a crash or an error leaves pieces that are computed again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tsdb.errors import CannotConnectNow, LocationElsewhere, SerializationFailure, TsdbError, UndefinedTable
from tsdb.model.layer import Borrowed
from tsdb.model.refreshing import Refreshing
from tsdb.model.schema import Catalog, Database, SchemaChange, Series, SetRetention
from tsdb.model.store import Effect, RangeDeletion, Scan, ScanRequest, Store, TimeRange, View, Write
from tsdb.model.time import NS_MAX
from tsdb.session import effects
from tsdb.session.patience import LONGEST_S, WAIT_S
from tsdb.sql import permission
from tsdb.sql.context import Context
from tsdb.sql.continuous.reading import Cut, buckets_of, cut
from tsdb.sql.continuous.state import ContinuousState
from tsdb.sql.ddl.create_view import query_of
from tsdb.sql.dml.to_points import points_of
from tsdb.sql.query import Queries
from tsdb.sql.statement import Fragment

# A piece grows and shrinks so that it has about so many rows.
_PIECE_ROWS_LOW, _PIECE_ROWS_HIGH = 20_000, 200_000
_FIRST_PIECE_NS: Final = 86_400 * 10**9
# Where the first points are is looked for no finer than this: what is before them costs a few empty pieces.
_FIRST_QUANTUM_NS: Final = 30 * 86_400 * 10**9
_FLOOR_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Stored:
    """What a refresh has done: rows written; the counter of what it read, and the watermark now."""

    rows: int
    counter: int
    watermark_ns: int


@dataclass(slots=True)
class Runs:
    """What is remembered of a continuous view's refreshes since the start of the server."""

    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    started_ns: int = 0
    seconds: float = 0.0
    count: int = 0
    failures: int = 0
    failed_in_a_row: int = 0
    error: str = ""


class Refreshes:
    """The runs of all continuous views, by the number that stays. Safe for many threads."""

    def __init__(self) -> None:
        self._runs: dict[int, Runs] = {}
        self._lock = threading.Lock()

    def of(self, series: Series) -> Runs:
        with self._lock:
            return self._runs.setdefault(series.identity, Runs())

    def forget(self, identities: set[int]) -> None:
        """Views that are gone. One that another node leads is not: two refreshes at this one never run beside each
        other."""
        with self._lock:
            for number in identities:
                self._runs.pop(number, None)

    def totals(self) -> tuple[int, int, float]:
        """(refreshes, failures, seconds)"""
        with self._lock:
            every = list(self._runs.values())
        return sum(r.count for r in every), sum(r.failures for r in every), sum(r.seconds for r in every)


def _never() -> None:
    """Nobody cancels."""


class Refresher:
    """Refreshes continuous views. ``context`` is the surroundings of whoever asks; ``check`` raises to cancel."""

    def __init__(
        self,
        store: Store,
        queries: Queries,
        refreshes: Refreshes,
        context: Context,
        check: Callable[[], None] = _never,
    ) -> None:
        self._store = store
        self._queries = queries
        self._refreshes = refreshes
        self._context = context
        self._check = check

    def refresh(self, series: Series, *, lag: bool = True) -> Stored:
        """Bring one up to date; without ``lag`` up to the last bucket that has ended. Raises UndefinedTable."""
        runs = self._refreshes.of(series)
        while not runs.lock.acquire(timeout=0.1):
            self._check()
        started, counts = time.monotonic(), True
        try:
            refreshing = self._store.refreshing(series)
            runs.started_ns = self._context.now_us * 1000
            try:
                done = _Refresh(self, refreshing, series.identity).run(lag=lag)
            finally:
                refreshing.close()
            runs.error, runs.failed_in_a_row = "", 0
            return done
        except LocationElsewhere:
            counts = False
            raise
        except Exception as error:
            runs.failures, runs.failed_in_a_row = runs.failures + 1, runs.failed_in_a_row + 1
            runs.error = error.message if isinstance(error, TsdbError) else type(error).__name__
            raise
        finally:
            runs.count += counts
            runs.seconds += time.monotonic() - started
            runs.lock.release()

    def refresh_anywhere(self, series: Series) -> int:
        """Bring one up to date, here or, if another node looks after it, there. The rows that were stored here.

        While it changes who looks after it, or how, it is tried again: what was stored in vain is stored anew.
        """
        end: float | None = None
        while True:
            try:
                return self._refresh_anywhere(series)
            except CannotConnectNow:
                now = time.monotonic()
                end = end or now + WAIT_S
                if now + LONGEST_S >= end:
                    raise
            self._check()
            time.sleep(LONGEST_S)

    def _refresh_anywhere(self, series: Series) -> int:
        try:
            return self.refresh(series, lag=False).rows
        except LocationElsewhere:
            self._store.refresh_elsewhere(series, self._check)
            return 0

    def raise_floor(self, change: SetRetention) -> None:
        """Raise a series' floor after its continuous views have stored what goes with it, and no higher than that.

        In a cluster the node that has the rows does this, and a change of them that comes after the look and before all
        have agreed on the floor counts as one that came after the floor: its buckets are history by then.
        Raises SerializationFailure when the series keeps changing there; the floor stays. Raises LocationElsewhere.
        """
        for attempt in range(_FLOOR_ATTEMPTS):
            try:
                self._store.change(self._prepared(change))
                return
            except SerializationFailure:
                if attempt == _FLOOR_ATTEMPTS - 1:
                    raise

    def _prepared(self, change: SetRetention) -> SetRetention:
        catalog = self._store.catalog
        series = catalog.find(change.database).find(change.series)
        floor, views = change.floor_ns, catalog.continuous_of.get(series.number, ())
        if floor is None or not views:
            return change
        done = [(self.refresh(each, lag=False), buckets_of(each.continuous)) for each in views if each.continuous]
        floor = min(floor, *(stored.watermark_ns for stored, _ in done))
        until = max(buckets.high(floor) for _, buckets in done)
        counter = min(stored.counter for stored, _ in done)
        return replace(change, floor_ns=floor, unchanged_since=(counter, until))

    # --- for a running refresh ---

    @property
    def store(self) -> Store:
        return self._store

    @property
    def queries(self) -> Queries:
        return self._queries

    @property
    def context(self) -> Context:
        return self._context

    def check(self) -> None:
        self._check()


class _Refresh:
    """One refresh as it runs, over one view of the data."""

    def __init__(self, refresher: Refresher, refreshing: Refreshing, identity: int) -> None:
        self._refresher = refresher
        self._store = refresher.store
        self._refreshing = refreshing
        self._view = view = refreshing.view
        database, series, source = _found(view.catalog, identity)
        assert series.continuous is not None
        assert series.definition is not None
        self._series, self._source = series, source
        self._continuous = series.continuous
        self._buckets = buckets_of(series.continuous)
        self._query = query_of(Fragment(series.definition.text))
        self._inside = replace(
            refresher.context, database=database.name, role=series.owner, written_in=series.definition.time_zone,
            uses=series.definition.uses, deadline=refresher.context.deadline,
        )  # fmt: skip
        self._size_ns = _FIRST_PIECE_NS
        self._rows = 0

    def run(self, *, lag: bool) -> Stored:
        counter = self._refreshing.counter
        found = cut(self._view, self._series, self._source)
        progress = self._view.progress(self._series)
        for low, high in found.dirty:
            for piece in self._pieces(low, high):
                self._replace(*piece)
        if progress is not None and progress.watermark_ns > found.low and progress.counter != counter:
            self._advance(found.watermark)
        watermark = self._new(found, lag=lag)
        return Stored(self._rows, counter, watermark)

    def _new(self, found: Cut, *, lag: bool) -> int:
        """Store the buckets that have ended; the watermark after that."""
        ended = self._refresher.context.now_us * 1000 - (self._continuous.lag_ns if lag else 0)
        goal = self._buckets.low(ended)
        there = self._view.changes(self._source, 0, TimeRange(found.watermark, NS_MAX), _FIRST_QUANTUM_NS)
        begin = max(found.watermark, self._buckets.low(min(low for low, _ in there))) if there else goal
        if goal <= found.watermark:
            return found.watermark
        if self._view.changes(self._series, 0, TimeRange(found.watermark, NS_MAX), self._buckets.quantum_ns):
            # A refresh that did not end left them.
            self._commit([RangeDeletion(self._series, TimeRange(found.watermark, NS_MAX))])
        for low, high in self._pieces(begin, goal):
            self._commit(list(self._computed(low, high)))
            self._advance(high)
        if begin >= goal:
            self._advance(goal)
        return goal

    def _advance(self, watermark_ns: int) -> None:
        self._refresher.check()
        self._refreshing.advance(watermark_ns)

    def _pieces(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """[low, high), which are edges, in pieces; how long they are changes with what comes of them."""
        at = low
        while at < high:
            before = self._rows
            end = min(high, self._buckets.high(at + self._size_ns)) if high - at > self._size_ns else high
            yield at, end
            if self._rows - before < _PIECE_ROWS_LOW:
                self._size_ns = min(self._size_ns * 2, 2**60)
            elif self._rows - before > _PIECE_ROWS_HIGH:
                self._size_ns = max(self._size_ns // 2, self._buckets.quantum_ns)
            at = end

    def _replace(self, low: int, high: int) -> None:
        self._commit([RangeDeletion(self._series, TimeRange(low, high)), *self._computed(low, high)])

    def _commit(self, changes: list[Effect]) -> None:
        self._refresher.check()
        if changes:
            self._refreshing.commit(list(effects.joined(changes)))

    def _computed(self, low: int, high: int) -> Iterator[Write]:
        """The rows of the buckets in [low, high), with the rights of the view's owner."""
        queries, view, inside = self._refresher.queries, self._view, self._inside
        prepared = queries.prepare(self._query, inside, view.catalog)
        permission.check_sources(view.catalog, inside, prepared.plan.sources)
        only = OnlyWithin(view, self._source.number, (low, high))
        rows = queries.run(prepared, only, (), inside)
        try:
            for batch in rows:
                self._refresher.check()
                values = {column.name: batch.column(i) for i, column in enumerate(self._series.columns)}
                points = points_of(self._series, values, batch.num_rows, now_ns=inside.now_us * 1000)
                self._rows += len(points)
                if len(points):
                    yield Write(points)
        finally:
            rows.close()


def states_of(view: View, views: Iterable[Series], refreshes: Refreshes) -> dict[int, ContinuousState]:
    """What is known of continuous views, by series number."""
    found = {}
    for each in views:
        there = view.catalog.series_by_number.get(each.number)
        source = None if there is None else there[0].source_of(each)
        if source is None:
            continue
        at, runs = cut(view, each, source), refreshes.of(each)
        found[each.number] = ContinuousState(
            source.name, at.watermark, at.history, at.dirty, runs.started_ns or None, runs.count, runs.failures,
            runs.seconds, runs.error or None,
        )  # fmt: skip
    return found


def later_floors(
    changes: Sequence[SchemaChange], catalog: Catalog
) -> tuple[tuple[SchemaChange, ...], list[SetRetention]]:
    """Changes without the floors of sources of continuous views, and those, for ``Refresher.raise_floor``."""
    now: list[SchemaChange] = []
    later = []
    for change in changes:
        if isinstance(change, SetRetention) and change.floor_ns is not None:
            series = catalog.find(change.database).series.get(change.series)
            if series is not None and series.number in catalog.continuous_of:
                later.append(change)
                change = replace(change, floor_ns=None)
        now.append(change)
    return tuple(now), later


def _found(catalog: Catalog, identity: int) -> tuple[Database, Series, Series]:
    """(database, view, source) as a catalog has them now."""
    for database in catalog.databases.values():
        series = database.by_identity.get(identity)
        if isinstance(series, Series) and series.continuous is not None:
            source = database.source_of(series)
            assert source is not None, "a source is not dropped without its views"
            return database, series, source
    raise UndefinedTable("the continuous view does not exist any more")


class OnlyWithin(Borrowed):
    """A view that of one series has the rows in a span of time alone."""

    def __init__(self, view: View, series: int, span: tuple[int, int]) -> None:
        super().__init__(view)
        self.series = series
        self.span = span

    def scan(self, request: ScanRequest) -> Scan:
        if request.series.number != self.series:
            return self.view.scan(request)
        return self.view.scan(replace(request, within=(self.span,)))
