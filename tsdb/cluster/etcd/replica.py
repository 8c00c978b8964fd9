"""This node's copy of what was agreed on: commands of the log, in order, applied in its own store.

It works in the thread that applies commands, the engine's committer. That an entry fits is checked before anything is
touched: it comes next, and its sender saw the state that this node has, by the digest. Nothing is synced: what a crash
takes away is in the log, and the batch says up to which command it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tsdb.cluster.etcd.layout import Entry, Saved
from tsdb.cluster.metadata.agreement import Told
from tsdb.cluster.metadata.durable import StoredMetadata
from tsdb.cluster.metadata.machine import Machine, Outcome, read_snapshot, state_of
from tsdb.cluster.metadata.records import Group
from tsdb.cluster.metadata.state import Change, State
from tsdb.errors import DataCorrupted
from tsdb.storage.engine import Engine

R = TypeVar("R")


class Replica:
    """``state`` may be read by any thread; what changes it is called by one at a time, and not by the committer."""

    def __init__(self, engine: Engine, abort: Callable[[str], None]) -> None:
        """Raises DataCorrupted."""
        self._engine = engine
        self._abort = abort
        self._told: list[Told] = []
        self._metadata = engine.call(lambda: StoredMetadata(engine.records, engine, engine.catalog))
        self._shown = self._metadata.machine.state

    @property
    def state(self) -> State:
        """What is applied, told of and visible: whoever waits for it finds the schema there."""
        return self._shown

    @property
    def applied(self) -> int:
        return self.state.group.applied

    def watch(self, told: Told) -> None:
        self._told.append(told)

    def run(self, function: Callable[[], R]) -> R:
        """In the thread that applies commands."""
        return self._engine.call(function)

    def apply(self, entries: Sequence[tuple[Entry, bytes]]) -> list[Outcome]:
        """What became of commands that come next. Raises DataCorrupted, before anything is done, if they do not."""
        return self._engine.call(lambda: self._apply(entries))

    def _apply(self, entries: Sequence[tuple[Entry, bytes]]) -> list[Outcome]:
        self._check(entries[0][0])
        batch = self._engine.records.batch()
        try:
            for entry, body in entries:
                self._check(entry)
                self._metadata.stage(batch, entry.number, body)
            self._engine.records.write(batch, sync=False)
            outcomes = self._metadata.take()
            for outcome in outcomes:
                self._tell(outcome.changes)
            self._show()
        except BaseException as error:
            # Some of it is in the state and not in the store: a start reads both again.
            self._abort(f"a command of the metadata could not be applied: {type(error).__name__}: {error}")
            raise
        return outcomes

    def _tell(self, changes: Sequence[Change]) -> None:
        for told in self._told:
            told(self._metadata.machine.state, changes)

    def _show(self) -> None:
        state = self._metadata.machine.state
        if state.catalog is not self._shown.catalog:
            self._engine.publish_catalog(state.catalog)
        self._shown = state

    def _check(self, entry: Entry) -> None:
        check_next(self._metadata.machine.state.group, entry)

    def install(self, saved: Saved, body: bytes) -> None:
        """Become what a snapshot says. Raises DataCorrupted, before anything is done, if it is not what it says."""
        check_snapshot(saved, body)
        self._engine.call(lambda: self._install(saved, body))

    def _install(self, saved: Saved, body: bytes) -> None:
        batch = self._engine.records.batch()
        try:
            self._metadata.stage_install(batch, saved.number, body)
            self._engine.records.write(batch, sync=True)
            self._tell(())
            self._show()
        except BaseException as error:
            self._abort(f"a snapshot of the metadata could not be taken over: {type(error).__name__}: {error}")
            raise


def check_next(group: Group, entry: Entry) -> None:
    """Raises DataCorrupted for a command that does not follow."""
    if entry.number != group.applied + 1:
        raise DataCorrupted(f"command {entry.number} of the log comes after {group.applied}")
    if entry.digest != group.digest:
        raise DataCorrupted(
            f"command {entry.number} in etcd was meant for another state than the one that this node has at "
            f"{group.applied}: either has been put back to an older one, or they differ by an error"
        )


def check_snapshot(saved: Saved, body: bytes) -> None:
    """Raises DataCorrupted for one that is not what it says."""
    found = state_of(read_snapshot(body)).group
    if (found.applied, found.digest) != (saved.number, saved.digest):
        raise DataCorrupted(f"the snapshot at command {saved.number} in etcd is of command {found.applied}")


def snapshot_of(state: State) -> bytes:
    """A state, whole; in any thread, since a state never changes."""
    return Machine(state).snapshot()
