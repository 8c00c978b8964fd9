"""Upkeep: what a server does by itself. Floors of series with a retention rise, continuous views are refreshed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from tsdb.clock import Clock
from tsdb.cluster.node import Node
from tsdb.errors import InternalError, TsdbError
from tsdb.model.catalog import Catalog
from tsdb.model.retention import due
from tsdb.model.ring import Slots
from tsdb.model.schema import Series, SetSlots, SettleSlots
from tsdb.model.time import BUCKET_NS
from tsdb.session import slots
from tsdb.session.cancellation import Cancellation
from tsdb.session.continuous import Refresher, Refreshes
from tsdb.sql.context import Context
from tsdb.sql.query import Queries

log = logging.getLogger("tsdb.server")

TICK_SECONDS = 1.0
RETENTION_SECONDS = 60.0
# Whoever has a wish for slots has so long to settle it; and so long before its time it is dropped.
SLOTS_SECONDS = 10.0
# A view whose refresh fails waits longer and longer, at most so many times its interval.
_PATIENCE_MAX = 60
_OWN_NAME = "tsdb"


class Upkeep:
    """One thread for all of it, so that it takes little from those who ask. ``stop`` ends it at once."""

    def __init__(self, node: Node, queries: Queries, clock: Clock, refreshes: Refreshes) -> None:
        self._node = node
        self._queries = queries
        self._clock = clock
        self._refreshes = refreshes
        self._stopping = threading.Event()
        self._cancellation = Cancellation()
        self._next_ns: dict[int, int] = {}
        self._next_floors_ns = 0
        self._there: set[int] = set()
        self._wishes: dict[tuple[int, Slots], int] = {}
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._cancellation.cancel()
        if self._thread.is_alive():
            self._thread.join()

    def gauges(self) -> Mapping[str, float]:
        count, failures, seconds = self._refreshes.totals()
        return {
            "continuous_views": sum(map(len, self._node.catalog.continuous_of.values())),
            "continuous_refreshes": count,
            "continuous_refresh_failures": failures,
            "continuous_refresh_seconds": seconds,
        }

    def _run(self) -> None:
        while True:
            self._raise_floors()
            self._settle_slots()
            self._refresh_views()
            if self._stopping.wait(TICK_SECONDS):
                return

    def _refresher(self) -> Refresher:
        context = Context(
            _OWN_NAME, now_us=self._clock.now_ns() // 1000, user=_OWN_NAME, settings={"timezone": "UTC"},
            running=self._cancellation.watch,
        )  # fmt: skip
        return Refresher(self._node, self._queries, self._refreshes, context, self._cancellation.check)

    def _raise_floors(self) -> None:
        now = self._clock.now_ns()
        if now < self._next_floors_ns:
            return
        self._next_floors_ns = now + int(RETENTION_SECONDS * 1e9)
        for change in due(self._node.catalog, now):
            if self._stopping.is_set():
                return
            try:
                # Who is gone meanwhile has no floor to raise.
                if self._node.leads(self._node.catalog.find(change.database)):
                    self._refresher().raise_floor(change)
            except Exception as error:
                self._tell(f"the retention of {change.database}.{change.series} is left for later", error)

    def _settle_slots(self) -> None:
        """Wishes for slots that whoever had them did not settle; one whose time is near is dropped, since nothing is
        written to its buckets."""
        now, catalog = self._clock.now_ns(), self._node.catalog
        wishes = [
            (found, series, wish)
            for found in catalog.databases.values()
            for series in (catalog.series_by_number[each][1] for each in found.slots_by_number)
            if (wish := slots.wish_of(series)) is not None and self._node.leads(found)
        ]
        since = self._wishes
        self._wishes = {(each.number, wish): since.get((each.number, wish), now) for _, each, wish in wishes}
        for found, series, wish in wishes:
            if now - self._wishes[series.number, wish] < SLOTS_SECONDS * 1e9:
                continue
            try:
                if wish.from_bucket * BUCKET_NS - now < SLOTS_SECONDS * 1e9:
                    self._node.change(SettleSlots(found.name, series.path, wish.from_bucket, dropped=True))
                else:
                    slots.settle(self._node, SetSlots(found.name, series.path, 1 << wish.bits, wish.from_bucket))
            except Exception as error:
                self._tell(f"the slots of {found.name}.{series.path} are left for later", error)

    def _refresh_views(self) -> None:
        now = self._clock.now_ns()
        catalog = self._node.catalog
        # The node that has the data looks after them.
        views = [
            series
            for each in catalog.continuous_of.values()
            for series in each
            if (found := catalog.series_by_number.get(series.number)) is not None and self._node.leads(found[0])
        ]
        there = {series.identity for each in catalog.continuous_of.values() for series in each}
        self._refreshes.forget(self._there - there)
        self._there = there
        self._next_ns = {series.identity: self._next_ns.get(series.identity, 0) for series in views}
        self._fulfil(catalog)
        for series in views:
            if self._stopping.is_set():
                return
            if self._next_ns[series.identity] <= now:
                self._refresh(series)

    def _fulfil(self, catalog: Catalog) -> None:
        """Refreshes that other nodes have asked for."""
        for number, ticket in self._node.wishes.open().items():
            error: TsdbError | None = None
            try:
                found = catalog.series_by_number.get(number)
                if found is not None:
                    self._refresher().refresh(found[1], lag=False)
            except TsdbError as raised:
                error = raised
            except Exception as raised:
                self._tell("a continuous view was not refreshed for another node", raised)
                error = InternalError("a refresh failed", hint="The server's log says more.")
            self._node.wishes.fulfilled(number, ticket, error)

    def _refresh(self, series: Series) -> None:
        assert series.continuous is not None
        try:
            self._refresher().refresh(series)
        except Exception as error:
            self._tell(f'the continuous view "{series.name}" was not refreshed', error)
        patience = min(2 ** self._refreshes.of(series).failed_in_a_row, _PATIENCE_MAX)
        self._next_ns[series.identity] = self._clock.now_ns() + series.continuous.every_ns * patience

    def _tell(self, what: str, error: Exception) -> None:
        if self._stopping.is_set():
            return
        if isinstance(error, TsdbError):
            log.warning("%s: %s", what, error.message)
        else:
            log.error("%s", what, exc_info=error)
