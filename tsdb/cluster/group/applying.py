"""Raft's storage whose commands are applied in the committer's thread, where the data that follow them are changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tsdb.cluster.metadata.durable import StoredMetadata
from tsdb.cluster.metadata.group_of_one import METADATA_GROUP
from tsdb.cluster.metadata.machine import Outcome
from tsdb.cluster.raft.entries import Entry, HardState, Snapshot
from tsdb.cluster.raft.node import Node
from tsdb.cluster.raft_store import RaftStore
from tsdb.storage.engine import Engine


class AppliedStore(RaftStore):
    """``told`` and ``shown`` are called in the committer's thread when commands are applied, before and after the
    schema that they made is visible; with nothing after a snapshot."""

    def __init__(
        self, engine: Engine, told: Callable[[Sequence[Outcome]], None], shown: Callable[[Sequence[Outcome]], None]
    ) -> None:
        """Raises DataCorrupted."""
        self.metadata = StoredMetadata(engine.records, engine, engine.catalog)
        super().__init__(engine.records, METADATA_GROUP, self.metadata)
        self._engine = engine
        self._told = told
        self._shown = shown

    def write(self, state: HardState | None, entries: tuple[Entry, ...], snapshot: Snapshot | None, sync: bool) -> None:
        if snapshot is None:
            super().write(state, entries, snapshot, sync)
        else:
            self._engine.call(lambda: super(AppliedStore, self).write(state, entries, snapshot, sync))

    def apply(self, node: Node, entries: tuple[Entry, ...]) -> None:
        self._engine.call(lambda: super(AppliedStore, self).apply(node, entries))

    def _show(self) -> None:
        outcomes = self.metadata.take()
        self._told(outcomes)
        catalog = self.metadata.machine.state.catalog
        if catalog is not self._engine.catalog:
            self._engine.publish_catalog(catalog)
        self._shown(outcomes)
