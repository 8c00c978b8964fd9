"""What an operator reads in a node's log of the replicated databases: who leads them, and what comes and goes here."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.metadata.state import State
from tsdb.cluster.operations import locations_text, name_of

log = logging.getLogger(__name__)


class LeadLog:
    """One line for a database, not one for each of its locations, when what the metadata say of it has changed.

    ``node``: the one whose log it is. It hears of the databases that it has a replica of. What has changed since the
    last ``say`` is said together: the locations of a database often change one after the other.
    """

    def __init__(self, node: int) -> None:
        self._node = node
        self._said: dict[int, tuple[int, bool]] = {}
        self._changed: dict[int, LocationRecord] = {}

    def start(self, records: Iterable[LocationRecord]) -> None:
        """What is so at a start is no news."""
        self._said = {record.location: self._seen(record) for record in records}
        self._changed = {}

    def look(self, changed: Mapping[int, LocationRecord | None]) -> None:
        """``changed``: locations as they are now, None for one that is no more."""
        for location, record in changed.items():
            if record is None:
                self._said.pop(location, None)
                self._changed.pop(location, None)
            else:
                self._changed[location] = record

    @property
    def has_news(self) -> bool:
        return bool(self._changed)

    def say(self, state: State) -> None:
        """Log what has changed."""
        leads: Counter[tuple[int, int, int]] = Counter()
        held: Counter[tuple[int, bool]] = Counter()
        for location, record in self._changed.items():
            # One that is heard of for the first time and has one replica had it before its log became shared.
            before, was_here = self._said.get(location, (0, record.voters == (self._node,)))
            leader, is_here = self._said[location] = self._seen(record)
            if is_here != was_here:
                held[record.database, is_here] += 1
            if leader != before and (is_here or was_here):
                leads[record.database, before, leader] += 1
        self._changed.clear()
        for (database, is_here), count in held.items():
            has = "gets" if is_here else "no longer has"
            log.info("this node %s a replica of %s (%s)", has, name_of(state, database), locations_text(count))
        for (database, before, leader), count in leads.items():
            after = f", after node {before}" if before else ""
            log.info("node %d leads %s%s (%s)", leader, name_of(state, database), after, locations_text(count))

    def _seen(self, record: LocationRecord) -> tuple[int, bool]:
        return record.leader, self._node in record.voters or self._node in record.learners
