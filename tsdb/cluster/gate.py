"""What stands before the data of replicated databases at a node: nothing is read that is older than it may be.

A view is opened before it is known what of it is read. At the first read the replicas are asked, and the view is
renewed by what they have then; what is read later from other locations has to be new enough in that same version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tsdb.cluster.led import Leaders, locations_in_range, numbers_in_range, numbers_of
from tsdb.cluster.metadata.agreement import Opened, Shared
from tsdb.errors import CannotConnectNow
from tsdb.model.catalog import Catalog
from tsdb.model.freshness import LINEARIZABLE, Freshness, Level, Token
from tsdb.model.ring import Intervals
from tsdb.model.schema import Database, Series
from tsdb.model.store import TimeRange
from tsdb.storage.view import StorageView


class Gate:
    """Of one view, whose schema was ``catalog`` when it was opened. ``shared`` gives the way to the replicas, or raises
    FeatureNotSupported."""

    def __init__(self, catalog: Catalog, leaders: Leaders, shared: Callable[[], Shared], fresh: Freshness) -> None:
        self._catalog = catalog
        self._leaders = leaders
        self._shared = shared
        self._fresh = fresh
        self.fresh = fresh
        self.seen = fresh.seen
        self._applied: Token = {}
        self._passed: set[int] = set()

    def tell(self, view: StorageView, series: Series, span: TimeRange, ring: Intervals | None = None) -> None:
        """This is about to be read here, in these intervals or on all of the ring. Raises CannotConnectNow where
        another node would have to answer."""
        found = self._found(series)
        if found is not None and not self.is_enough(view, series, span, ring):
            missing = self._missing(*found, span, ring)
            if missing:
                self._check_led(missing)
                self._pass(view, found[0], missing, LINEARIZABLE)
        self._check_same(view.catalog, series)

    def is_enough(self, view: StorageView, series: Series, span: TimeRange, ring: Intervals | None = None) -> bool:
        """Whether this node may answer with what it has, whoever leads. After one refusal the leaders are asked."""
        found = self._found(series)
        if found is None or (self._fresh.level is Level.LINEARIZABLE and not self._fresh.anywhere):
            return False
        missing = self._missing(*found, span, ring)
        try:
            if not self._leaders.has_replicas(missing):
                raise CannotConnectNow("this node has not all of what is read")
            if missing:
                self._pass(view, found[0], missing, self._fresh)
        except CannotConnectNow:
            self._fresh = LINEARIZABLE
            return False
        return True

    def _found(self, series: Series) -> tuple[Database, Series] | None:
        """None for what only one node has, and for what is gone."""
        found = self._catalog.series_by_number.get(series.number)
        return found if found is not None and found[0].number in self._leaders.shared else None

    def _missing(self, database: Database, series: Series, span: TimeRange, ring: Intervals | None) -> Sequence[int]:
        read: Sequence[int] = numbers_in_range(database, series, span)
        if ring is not None:
            there = locations_in_range(database, series, span)
            read = sorted({each.number for each in there if any(low <= each.low < high for low, high in ring)})
        return [each for each in read if each not in self._passed] if self._passed else read

    def _pass(self, view: StorageView, database: Database, locations: Sequence[int], fresh: Freshness) -> None:
        opened = self._shared().open(locations, fresh, numbers_of(database))
        if not self._passed:
            view.renew(opened.view)
            self._applied = opened.applied
        else:
            opened.view.close()
            self._check_enough(opened)
        self._passed.update(locations)
        if self.seen is not None:
            self.seen.saw(self._applied, locations)

    def _check_enough(self, opened: Opened) -> None:
        """Something of this view was read already: it cannot be another one any more."""
        if any(self._applied.get(location, (0, -1))[1] < needs for location, needs in opened.needs.items()):
            raise CannotConnectNow(
                "what a statement reads here has become older than it may be", hint="Run the statement again."
            )

    def _check_led(self, locations: Sequence[int]) -> None:
        """Who asks for what may be old asks somebody else if this node does not have it, at once."""
        if self.fresh.level is not Level.LINEARIZABLE and not all(map(self._leaders.leads, locations)):
            raise CannotConnectNow("this node has not all of what is read, or nothing as new, and does not lead it")

    def _check_same(self, catalog: Catalog, series: Series) -> None:
        """What the statement was made for is what the view has, also when it was renewed."""
        if catalog is self._catalog:
            return
        known, now = (each.series_by_number.get(series.number) for each in (self._catalog, catalog))
        if known is not None and (now is None or not _has_all(now[1], known[1])):
            raise CannotConnectNow(
                f'relation "{series.name}" was changed while a statement began', hint="Run the statement again."
            )


def _has_all(series: Series, known: Series) -> bool:
    """Whether all columns are as they were known, and points in the same places; it may have more columns."""
    if series.slots != known.slots:
        return False
    if series.columns == known.columns:
        return True
    columns = {column.number: column for column in series.columns}
    return all(columns.get(column.number) == column for column in known.columns)
