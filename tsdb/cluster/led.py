"""What this node leads, and what it must not answer for.

Who leads a location answers for it, whether others have it as well or not. Where a node cannot ask that one, whoever
asks is told where it is; nothing is stored elsewhere, and nothing is answered by half.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.cluster.metadata import rings
from tsdb.cluster.metadata.agreement import Agreement
from tsdb.cluster.metadata.commands import ChangeSchema
from tsdb.cluster.metadata.records import NAMES, LocationRecord, Member, Ring
from tsdb.cluster.metadata.state import Change, Draft, State
from tsdb.errors import LocationElsewhere
from tsdb.model.catalog import Catalog
from tsdb.model.continuous import Progress
from tsdb.model.places import places_of
from tsdb.model.ring import Location, Slots
from tsdb.model.schema import CreateDatabase, Database, Series
from tsdb.model.store import Moment, Scan, ScanRequest, TimeRange, View
from tsdb.model.time import BUCKET_NS

# Of a range with more buckets than this all locations are looked at: nearly all would be hit anyway.
BUCKETS_LOOKED_AT = 512
# Ranges of buckets whose locations are known, of a database.
FOUND_MAX = 1024


class Leaders:
    """Which locations other nodes lead, kept up with what is agreed on.

    ``shared``: databases, by number, that several nodes have: what is led here is to be confirmed when it is read.
    ``coming``: those that soon will be. ``spread``: those whose locations are led by several nodes for good.
    """

    def __init__(self, agreement: Agreement, node: int) -> None:
        self._node = node
        self._state = agreement.state
        self._elsewhere: Mapping[int, int] = {}
        self._voted: frozenset[int] = frozenset()
        self.shared: frozenset[int] = frozenset()
        self.coming: frozenset[int] = frozenset()
        self.spread: frozenset[int] = frozenset()
        agreement.watch(self._told)
        self._told(agreement.state, ())

    def _told(self, state: State, changes: Sequence[Change]) -> None:
        self._state = state
        if not changes or any(change.name == NAMES[Ring] for change in changes):
            self.shared = frozenset(ring.database for ring in state.all(Ring) if ring.is_shared)
            self.coming = frozenset(ring.database for ring in state.all(Ring) if ring.is_coming)
            self.spread = frozenset(ring.database for ring in state.all(Ring) if ring.arcs > 1)
        if not changes or any(change.name == NAMES[LocationRecord] for change in changes):
            records = [*state.all(LocationRecord)]
            self._elsewhere = {each.location: each.leader for each in records if each.leader != self._node}
            self._voted = frozenset(each.location for each in records if self._node in each.voters)

    @property
    def all_here(self) -> bool:
        return not self._elsewhere

    def has(self, database: Database) -> bool:
        """Whether all of a database is here."""
        return self.all_here or not any(each.number in self._elsewhere for each in database.locations)

    def has_part(self, database: Database) -> bool:
        """Whether anything of a database is here."""
        return self.all_here or any(each.number not in self._elsewhere for each in database.locations)

    def leads_first(self, database: Database) -> bool:
        """Whether what a database has once is here: its first location."""
        return self.all_here or database.locations[0].number not in self._elsewhere

    def leader_of(self, location: int) -> int:
        """The node that leads a location; 0: nobody does, or nobody knows of it."""
        found = self._elsewhere.get(location)
        if found is not None:
            return found
        return self._node if self._state.get(LocationRecord, location) is not None else 0

    def leads(self, location: int) -> bool:
        """Whether this node leads a location."""
        return self.leader_of(location) == self._node

    def voters_of(self, location: int) -> tuple[int, ...]:
        """The nodes that have a vote in a location."""
        found = self._state.get(LocationRecord, location)
        return () if found is None else found.voters

    def epoch_of(self, location: int) -> int:
        found = self._state.get(LocationRecord, location)
        return 0 if found is None else found.epoch

    def replica_count(self, location: int) -> int:
        found = self._state.get(LocationRecord, location)
        return 0 if found is None else len(found.voters)

    def others_may_lead(self, location: int) -> bool:
        """Whether it is worth waiting for another node, or for another epoch."""
        found = self._state.get(LocationRecord, location)
        return found is not None and (len(found.voters) > 1 or found.database in self.shared)

    def has_replica(self, location: int) -> bool:
        """Whether this node has a vote in a location: all of its points, but for those that are on their way."""
        return location in self._voted

    def has_replicas(self, locations: Iterable[int]) -> bool:
        return self._voted.issuperset(locations)

    def replicated(self, database: Database) -> bool:
        """Whether nodes may have points that they do not lead, also where each location has one voter: learners, and
        nodes whose points have not gone yet."""
        return database.number in self.shared

    def check(self, locations: Iterable[Location], what: str) -> None:
        """Raises LocationElsewhere."""
        if self.all_here:
            return
        for location in locations:
            leader = self._elsewhere.get(location.number)
            if leader is not None:
                raise self._error(what, location.number, leader)

    def check_new(self, name: str) -> None:
        """Raises LocationElsewhere for a database that, made now, would be at another node."""
        draft = Draft(self._state, 0)
        rings.change_schema(draft, ChangeSchema.of([CreateDatabase(name, if_not_exists=True)]))
        number = draft.catalog.databases[name].number
        places = [each for each in draft.all(LocationRecord) if each.database == number]
        if places and all(each.leader != self._node for each in places):
            raise self._error(f'database "{name}", which this write would make,', places[0].location, places[0].leader)

    def _error(self, what: str, location: int, leader: int) -> LocationElsewhere:
        member = self._state.get(Member, leader)
        if member is None:
            return LocationElsewhere(f"{what} is in location {location}, and there is no node that leads it")
        addresses = dict(member.addresses)
        places = [f"{label} {addresses[name]}" for name, label in _PLACES if name in addresses]
        name = f" ({member.name})" if member.name else ""
        why = "which does not lead it" if self.replica_count(location) > 1 else "and points are on one node alone"
        return LocationElsewhere(
            f"{what} is at node {leader}{name}{': ' + ', '.join(places) if places else ''}; this is node {self._node}, "
            f"{why}",
            hint=f"Connect to {addresses.get('sql', 'that node')}.",
        )


_PLACES = (("sql", "SQL at"), ("http", "HTTP at"), ("flight", "Flight at"))


def locations_in_range(database: Database, series: Series, span: TimeRange) -> Sequence[Location]:
    """The locations that may hold points of a series in a range."""
    return _parts(database, series, span).locations


def numbers_in_range(database: Database, series: Series, span: TimeRange) -> tuple[int, ...]:
    """The numbers of these locations, ascending."""
    return _parts(database, series, span).numbers


def numbers_of(database: Database) -> tuple[int, ...]:
    """Of all its locations, ascending."""
    return _FOUND.get(database, 0, None).numbers


@dataclass(frozen=True, slots=True)
class _Parts:
    locations: Sequence[Location]
    numbers: tuple[int, ...]


def _parts_of(locations: Sequence[Location]) -> _Parts:
    return _Parts(locations, tuple(sorted({each.number for each in locations})))


_NO_PARTS = _parts_of(())


def _parts(database: Database, series: Series, span: TimeRange) -> _Parts:
    if span.empty:
        return _NO_PARTS
    first, last = span.low // BUCKET_NS, (span.high - 1) // BUCKET_NS
    return _FOUND.get(database, series.number, (first, last) if last - first < BUCKETS_LOOKED_AT else None)


_Stretch: TypeAlias = tuple[int, tuple[Slots, ...], tuple[int, int]] | None
"""A series, its slots, first and last bucket; None: all of the ring."""


class _Found:
    """What was found for ranges of buckets, as long as their database's locations are what they were: a query asks
    several times, and the next one of its kind often for the same. Threads may all look."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Sequence[Location], dict[_Stretch, _Parts]]] = {}

    def get(self, database: Database, series: int, buckets: tuple[int, int] | None) -> _Parts:
        """Of the buckets from the first to the last; None: of all there are."""
        known = self._known.get(database.number)
        if known is None or known[0] is not database.locations or len(known[1]) >= FOUND_MAX:
            known = self._known[database.number] = database.locations, {}
        slots = database.slots_of(series)
        stretch = None if buckets is None else (series, slots, buckets)
        found = known[1].get(stretch)
        if found is None:
            locations = database.locations
            if buckets is not None:
                locations = tuple(places_of(database.number, series, slots).locations(locations, *buckets))
            found = known[1][stretch] = _parts_of(locations)
        return found


_FOUND = _Found()


class LedView:
    """A view whose reads are refused where another node would have to answer. A ``tsdb.model.store.View``."""

    def __init__(self, view: View, leaders: Leaders) -> None:
        self._view = view
        self._leaders = leaders

    @property
    def catalog(self) -> Catalog:
        return self._view.catalog

    @property
    def moment(self) -> Moment:
        return self._view.moment

    def _check(self, series: Series, span: TimeRange) -> None:
        found = self._view.catalog.series_by_number.get(series.number)
        if found is not None:
            database = found[0]
            self._leaders.check(
                locations_in_range(database, series, span), f'"{series.name}" of database "{database.name}"'
            )

    def scan(self, request: ScanRequest) -> Scan:
        self._check(request.series, request.range)
        return self._view.scan(request)

    def knows(self, series: Series, tagsets: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        self._check(series, TimeRange())
        return self._view.knows(series, tagsets)

    def may_meet(self, request: ScanRequest, values: Sequence[pa.Array]) -> npt.NDArray[np.bool_]:
        self._check(request.series, request.range)
        return self._view.may_meet(request, values)

    def progress(self, series: Series) -> Progress | None:
        return self._view.progress(series)

    def changes(self, series: Series, since: int, span: TimeRange, quantum_ns: int) -> Sequence[tuple[int, int]]:
        self._check(series, span)
        return self._view.changes(series, since, span, quantum_ns)

    def close(self) -> None:
        self._view.close()
