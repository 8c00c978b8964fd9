"""A view of all nodes: a scan asks those that lead locations with buckets in its range, and gives what all of them say.

A point's versions are all in one location, so nothing has to be merged but batches: they follow each other in no
particular order, this node's first. Cells of all nodes come before batches of any, as a scan promises.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.cluster.gate import Gate
from tsdb.cluster.led import locations_in_range
from tsdb.cluster.routing.arrow import cells_of_groups, decoded
from tsdb.cluster.routing.conditions import conditions_of, undecided
from tsdb.cluster.routing.exchange import Exchange, NoAnswer
from tsdb.cluster.routing.map import RingMap, by_node
from tsdb.cluster.routing.messages import (
    LEVELS,
    LookAtChanges,
    LookAtProgress,
    Looks,
    Newness,
    Question,
    Reply,
    RunScan,
    SlotsKnown,
    TagValues,
    Values,
)
from tsdb.cluster.routing.moments import RemoteViews, ScatterMoment
from tsdb.cluster.routing.packing import known
from tsdb.cluster.routing.remote import RemoteScan
from tsdb.errors import CannotConnectNow, InternalError
from tsdb.leaving import result_of
from tsdb.model.catalog import Catalog
from tsdb.model.continuous import Progress
from tsdb.model.freshness import Level, ops_in
from tsdb.model.ring import Intervals, Location, intervals_of
from tsdb.model.schema import Database, Series
from tsdb.model.store import Moment, Scan, ScanRequest, ScanStatistics, TimeRange
from tsdb.model.summaries import SummaryCells
from tsdb.model.uniqueness import comparable, matched
from tsdb.prompt import may_wait
from tsdb.storage.batches import Output
from tsdb.storage.tagsets import TagSetIndex
from tsdb.storage.view import StorageView

_NO_TAGSETS = TagSetIndex().snapshot()
_TURNS = itertools.count()


class ScatterView:
    """A ``tsdb.model.store.View`` over this node's. ``gate``: where this node has what others lead, when that is new
    enough."""

    def __init__(self, view: StorageView, gate: Gate | None, ring: RingMap, exchange: Exchange) -> None:
        self._view = view
        self._gate = gate
        self._ring = ring
        self._exchange = exchange
        self._views = RemoteViews(exchange, view.catalog.version, self._newness)
        self._may_be_old = gate is not None and gate.fresh.level is not Level.LINEARIZABLE
        # A statement that is run again asks another node.
        self._turn = next(_TURNS) if self._may_be_old else 0
        self._chosen: dict[int, int] = {}
        self._moment: ScatterMoment | None = None

    @property
    def catalog(self) -> Catalog:
        return self._view.catalog

    @property
    def moment(self) -> Moment:
        if self._moment is None:
            self._moment = ScatterMoment(self._view.moment, self._views)
        return self._moment

    def _nodes(self, series: Series, span: TimeRange) -> dict[int, list[Location]]:
        """Who is to be asked for points of a series in a range: nobody for one that there is not."""
        found = self.catalog.series_by_number.get(series.number)
        if found is None:
            return {}
        if self._gate is not None and (self._chosen or self._ring.is_spread(found[0])):
            return self._nodes_of_arcs(self._gate, found[0], series, span)
        if self._gate is not None and self._gate.is_enough(self._view, series, span):
            return {self._ring.node: list(locations_in_range(found[0], series, span))}
        if self._may_be_old and self._ring.replicated(found[0]):
            return by_node(locations_in_range(found[0], series, span), self._any_replica)
        return self._ring.nodes_in_range(found[0], series, span)

    def _nodes_of_arcs(
        self, gate: Gate, database: Database, series: Series, span: TimeRange
    ) -> dict[int, list[Location]]:
        """What this node has is read here if it is new enough: others would have to ask as many for theirs. What was
        read before is read there again, wherever it may be by now: a view shows one state of each location."""
        locations = locations_in_range(database, series, span)
        new = [each for each in locations if each.number not in self._chosen]
        here = [each for each in new if self._ring.has_replica(each)]
        if here and gate.is_enough(self._view, series, span, intervals_of(here)):
            for each in here:
                self._chosen.setdefault(each.number, self._ring.node)
        for each in new:
            if each.number not in self._chosen and not self._may_be_old:
                self._chosen.setdefault(each.number, self._ring.leader_of(each))
        return by_node(locations, self._any_replica)

    def _any_replica(self, location: Location) -> int:
        """The same one for all of the statement, which sees one state of it."""
        found = self._chosen.get(location.number)
        if found is None:
            found = self._ring.replica_in(location, self._exchange.reaches, self._turn)
            found = self._chosen.setdefault(location.number, found)
        return found

    def _newness(self) -> Newness:
        """What other nodes are told of how new it has to be."""
        if self._gate is None or not self._may_be_old:
            return Newness()
        fresh = self._gate.fresh
        seen = () if fresh.seen is None or fresh.level is not Level.SESSION else ops_in(fresh.seen.token)
        return Newness(LEVELS.index(fresh.level), fresh.staleness_ns, seen)

    def scan(self, request: ScanRequest) -> Scan:
        try:
            return self._scan(request)
        except CannotConnectNow as error:
            self._told_passing(request.series, error)
            raise

    def _told_passing(self, series: Series, error: CannotConnectNow) -> None:
        """What one node refuses another may soon answer, where several have it."""
        found = self.catalog.series_by_number.get(series.number)
        error.passes = found is not None and self._ring.replicated(found[0])

    def _scan(self, request: ScanRequest) -> Scan:
        nodes = self._nodes(request.series, request.range)
        others = {node: locations for node, locations in nodes.items() if node != self._ring.node}
        if not others:
            return self._view.scan(request)
        may_wait()
        own = self._own(request, nodes[self._ring.node]) if self._ring.node in nodes else None
        statistics = ScanStatistics() if own is None else own.statistics
        running: list[RemoteScan] = []
        try:
            for node, locations in others.items():
                running.append(self._started(node, locations, request, statistics))
        except BaseException:
            for each in running:
                each.close()
            if own is not None:
                _close(own.batches)
            raise
        schema = Output(request, _NO_TAGSETS).schema if own is None or own.groups is not None else own.schema
        gathered = _Gathered(own, running, partial(self._told_passing, request.series))
        return Scan(schema, gathered, statistics, gathered.cells(), cancel=gathered.cancel)

    def _own(self, request: ScanRequest, locations: Sequence[Location]) -> Scan:
        """This node's share."""
        found = self.catalog.series_by_number.get(request.series.number)
        if found is not None:
            request = self._ring.restricted(request, found[0], locations)
        return self._view.scan(request)

    def _started(
        self, node: int, locations: Sequence[Location], request: ScanRequest, statistics: ScanStatistics
    ) -> RemoteScan:
        looks = self._looks(node)
        columns = undecided(request)
        values: dict[int, pa.Array] = {}
        if columns:
            numbers = tuple(each.number for each in locations)
            batch = self._told(node, TagValues(looks, request.series.number, columns, numbers))[1]
            values = {column: batch.column(at).drop_null() for at, column in enumerate(columns)}
        led, slots = self._ring.led(locations), self._slots(request.series)
        question = RunScan(looks, led, conditions_of(request, values), self._may_be_old, slots)
        seen = None if self._gate is None else self._gate.seen
        scan = RemoteScan(self._exchange, node, question, statistics, seen, measured=request.measured)
        scan.start()
        return scan

    def _slots(self, series: Series) -> SlotsKnown | None:
        """By which the locations are chosen; None where what is read may be as old as that."""
        found = self.catalog.series_by_number.get(series.number)
        is_any = self._gate is not None and self._gate.fresh.level is Level.ANY
        return None if found is None or is_any else known(found[0].slots_of(series.number))

    def _looks(self, node: int) -> Looks:
        try:
            return self._views.looks(node)
        except NoAnswer as error:
            raise _silent(error) from None

    def _told(self, node: int, question: Question) -> tuple[Reply, pa.RecordBatch]:
        try:
            reply, body = result_of(self._exchange.run(self._exchange.ask_for(node, question)))
        except NoAnswer as error:
            raise _silent(error) from None
        return reply, decoded(body)

    def knows(self, series: Series, tagsets: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        if set(self._nodes(series, TimeRange())) <= {self._ring.node}:
            return self._view.knows(series, tagsets)
        # Another node may have points of any.
        return np.ones(len(tagsets), np.bool_)

    def may_meet(self, request: ScanRequest, values: Sequence[pa.Array]) -> npt.NDArray[np.bool_]:
        if set(self._nodes(request.series, request.range)) <= {self._ring.node}:
            return self._view.may_meet(request, values)
        found = np.zeros(len(values[0]), np.bool_)
        for batch in self.scan(request).batches:
            theirs = comparable(request.series, request.columns[: len(values)], batch.columns[: len(values)])
            found |= matched(values, theirs) >= 0
        return found

    # Continuous views. How far one is stored is known at the home of its database; of a replicated one every node that
    # is read knows of what it has itself.

    def progress(self, series: Series) -> Progress | None:
        nodes = self._nodes(series, TimeRange())
        if self._is_replicated(series):
            return self._progress_of_all(series, nodes)
        home = self._home(series)
        # Where not all is read at one node, all is dirty, however old the progress is.
        whole = set(nodes) <= {home}
        if home == self._ring.node:
            return self._view.progress(series) if whole else self._view.version.progress.get(series.number)
        (numbers,) = self._numbers(series, [(home, LookAtProgress(self._looks(home), series.number, whole))])
        return Progress(*numbers) if numbers else None

    def _progress_of_all(self, series: Series, nodes: Mapping[int, Sequence[Location]]) -> Progress | None:
        """The least that any of the nodes shows: with that each says what is dirty of what it has."""
        others = [
            (node, LookAtProgress(self._looks(node), series.number, False, _numbers_of(locations)))
            for node, locations in nodes.items()
            if node != self._ring.node
        ]
        found: list[Progress | None] = []
        if self._ring.node in nodes or not nodes:
            found.append(self._view.progress(series, self._intervals(series, nodes.get(self._ring.node, ()))))
        if others:
            found += [Progress(*numbers) if numbers else None for numbers in self._numbers(series, others)]
        return least(found)

    def changes(self, series: Series, since: int, span: TimeRange, quantum_ns: int) -> Sequence[tuple[int, int]]:
        nodes = self._nodes(series, span)
        if not self._is_replicated(series) and not set(nodes) <= {self._home(series)}:
            # What changed at other nodes is not known by this one's counters, or not yet.
            return [] if span.empty else [(span.low, span.high)]
        asked = [
            (node, self._look_at_changes(node, series, since, span, quantum_ns, locations))
            for node, locations in nodes.items()
            if node != self._ring.node
        ]
        found: list[tuple[int, int]] = []
        if self._ring.node in nodes or not nodes:
            ring = self._intervals(series, nodes.get(self._ring.node, ()))
            found += self._view.changes(series, since, span, quantum_ns, ring)
        for numbers in self._numbers(series, asked) if asked else ():
            found += zip(numbers[::2], numbers[1::2], strict=True)
        return found

    def _look_at_changes(
        self, node: int, series: Series, since: int, span: TimeRange, quantum_ns: int, locations: Sequence[Location]
    ) -> LookAtChanges:
        numbers = _numbers_of(locations) if self._is_replicated(series) else ()
        return LookAtChanges(
            self._looks(node), series.number, since, span.low, span.high, quantum_ns, numbers, self._slots(series)
        )

    def _is_replicated(self, series: Series) -> bool:
        found = self.catalog.series_by_number.get(series.number)
        return found is not None and self._ring.is_shared(found[0])

    def _intervals(self, series: Series, locations: Sequence[Location]) -> Intervals | None:
        """None where they are all of its database."""
        found = self.catalog.series_by_number.get(series.number)
        whole = found is None or not locations or len(locations) == len(found[0].locations)
        return None if whole else intervals_of(locations)

    def _home(self, series: Series) -> int:
        """Of a database that is not replicated."""
        found = self.catalog.series_by_number.get(series.number)
        return self._ring.node if found is None else self._ring.home_of(found[0])

    def _numbers(self, series: Series, asked: Sequence[tuple[int, Question]]) -> list[tuple[int, ...]]:
        """What nodes answer, all of them asked at once."""
        may_wait()
        answers = [self._exchange.run(self._exchange.ask(node, question)) for node, question in asked]
        found = []
        for answer in answers:
            try:
                reply = result_of(answer)
            except NoAnswer as error:
                silent = _silent(error)
                self._told_passing(series, silent)
                raise silent from None
            except CannotConnectNow as error:
                self._told_passing(series, error)
                raise
            if not isinstance(reply, Values):
                raise InternalError(f"numbers are not told by {reply}")
            found.append(reply.numbers)
        return found

    def close(self) -> None:
        self._view.close()
        self._moment = None


def least(found: Sequence[Progress | None]) -> Progress | None:
    """The least that one of several nodes shows of a continuous view; one that has heard nothing of it shows nothing.
    All show what was agreed on, in its order, or are behind that."""
    known = [each for each in found if each is not None]
    if not known:
        return None
    is_heard = len(known) == len(found)
    return Progress(
        min(each.counter for each in known) if is_heard else 0,
        min(each.watermark_ns for each in known),
        min(each.stored for each in known) if is_heard else 0,
        max(each.final_ns for each in known),
    )


def _numbers_of(locations: Sequence[Location]) -> tuple[int, ...]:
    return tuple(each.number for each in locations)


class _Gathered:
    """The batches of a scan at several nodes, and its cells before them. ``passing`` is told what a node refuses."""

    def __init__(
        self, own: Scan | None, running: Sequence[RemoteScan], passing: Callable[[CannotConnectNow], None]
    ) -> None:
        self._own = own
        self._running = running
        self._passing = passing
        self._batches = self._all()

    def cells(self) -> Iterator[SummaryCells]:
        try:
            if self._own is not None:
                if self._own.groups is not None:
                    yield cells_of_groups(self._own.groups)
                yield from self._own.cells
            for each in self._running:
                yield from each.cells()
        except CannotConnectNow as error:
            self._passing(error)
            raise

    def _all(self) -> Iterator[pa.RecordBatch]:
        try:
            if self._own is not None:
                yield from self._own.batches
            for each in self._running:
                yield from each.batches()
        except CannotConnectNow as error:
            self._passing(error)
            raise

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        return next(self._batches)

    def cancel(self) -> None:
        for each in self._running:
            each.cancel()

    def close(self) -> None:
        """Also before anything was read."""
        for each in self._running:
            each.close()
        if self._own is not None:
            _close(self._own.batches)

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()


def _close(batches: Iterator[pa.RecordBatch]) -> None:
    close = getattr(batches, "close", None)
    if close is not None:
        close()


def _silent(error: NoAnswer) -> CannotConnectNow:
    return CannotConnectNow(str(error), hint="Run the statement again when the node is back.")
