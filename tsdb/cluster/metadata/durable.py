"""The state machine on the node's store: what it keeps is records in ``state``, and those are its snapshot.

A ``raft_store.StateMachine``: effects go into the batch that says that their command is applied. What became of the
commands is fetched with ``take`` once the batch is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from tsdb.cluster.metadata.machine import FAMILY, Machine, Outcome, snapshot_of, state_of
from tsdb.cluster.metadata.records import NAMES
from tsdb.model.catalog import Catalog
from tsdb.model.schema import Applied
from tsdb.storage import keys, metadata
from tsdb.storage.raft_log import Records

# All names of records that a group keeps, the catalog's included.
_RECORDS = (
    metadata.NUMBERS, metadata.DATABASE, metadata.SERIES, metadata.ROLE, metadata.VIEW, metadata.SEQUENCE,
    *NAMES.values(),
)  # fmt: skip


class Follower(Protocol):
    """Who has data that follow the catalog: what a change of it does to them goes into the same batch."""

    def stage_catalog(self, batch: Any, before: Catalog, applied: Applied) -> None: ...


class StoredMetadata:
    """The machine of one group on one node."""

    def __init__(self, records: Records, follower: Follower | None = None, catalog: Catalog | None = None) -> None:
        """``catalog``: as it was loaded from ``records`` already. Raises DataCorrupted."""
        self._follower = follower
        self._outcomes: list[Outcome] = []
        self.machine = Machine(state_of(_there(records, _RECORDS if catalog is None else NAMES.values()), catalog))

    def stage(self, batch: Any, index: int, command: bytes) -> None:
        """Raises DataCorrupted for a command that this version cannot read: the node must stop."""
        outcome = self.machine.apply(index, command)
        if outcome is None:
            return
        for key, value in outcome.writes:
            if value is None:
                batch.delete(FAMILY, key)
            else:
                batch.put(FAMILY, key, value)
        if outcome.applied is not None and self._follower is not None:
            self._follower.stage_catalog(batch, outcome.before, outcome.applied)
        self._outcomes.append(outcome)

    def stage_install(self, batch: Any, index: int, body: bytes) -> None:
        before = self.machine.state.catalog
        for name in _RECORDS:
            low = keys.state_key(name)
            high = keys.after(low)
            assert high is not None
            batch.delete_range(FAMILY, low, high)
        for key, value in self.machine.restore(body):
            batch.put(FAMILY, key, value)
        if self._follower is not None:
            self._follower.stage_catalog(batch, before, _became(before, self.machine.state.catalog))

    def frozen(self) -> Callable[[], bytes]:
        # A state is never changed: the next one is another.
        state = self.machine.state
        return lambda: snapshot_of(state)

    def snapshot(self) -> bytes:
        return self.machine.snapshot()

    def take(self) -> list[Outcome]:
        """What became of the commands that were staged since, now that they are written."""
        taken, self._outcomes = self._outcomes, []
        return taken


def _became(before: Catalog, after: Catalog) -> Applied:
    """What happened to the catalog, as far as data have to follow: what is gone. Numbers are never given again."""
    gone = before.series_by_number.series.keys() - after.series_by_number.series.keys()
    databases = before.databases_by_number.keys() - after.databases_by_number.keys()
    return Applied(after, frozenset(gone), frozenset(databases))


def _there(records: Records, names: Iterable[str]) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    for name in names:
        prefix = keys.state_key(name)
        found += records.scan(FAMILY, prefix, keys.after(prefix))
    return found
