"""A group whose only voter is this node: it elects itself in one cycle, and what it proposes is committed at once.

It drives the core of ``tsdb.cluster.raft`` as any driver does, and needs neither ticks nor messages for it, nor a
thread: ``propose`` returns when the command is on disk and applied. A directory from before there were groups becomes
one here: its catalog is the state that the log begins after.

It belongs to one thread at a time; ``state`` may be read by any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tsdb.cluster.metadata.commands import Command, encode
from tsdb.cluster.metadata.durable import Follower, StoredMetadata
from tsdb.cluster.metadata.machine import Outcome
from tsdb.cluster.metadata.state import State
from tsdb.cluster.raft.entries import Configuration
from tsdb.cluster.raft.node import Node
from tsdb.cluster.raft.ready import Ready
from tsdb.cluster.raft.settings import MIB, Settings
from tsdb.cluster.raft.state import Role
from tsdb.cluster.raft_store import RaftStore
from tsdb.errors import StartupError
from tsdb.model.catalog import Catalog
from tsdb.storage.raft_log import Records

METADATA_GROUP = 1
LOG_BYTES_KEPT = 4 * MIB
"""Of the log, for nodes that join: who is further behind gets a snapshot."""


class Publisher(Follower, Protocol):
    """Who has data that follow the catalog, and shows it."""

    def publish_catalog(self, catalog: Catalog) -> None:
        """Make a catalog visible whose batches are written."""
        ...


class GroupOfOne:
    """Opened, it leads and everything in its log is applied."""

    def __init__(
        self, records: Records, node: int, publisher: Publisher, catalog: Catalog, abort: Callable[[str], None]
    ) -> None:
        """``catalog``: what ``records`` hold. Raises DataCorrupted; StartupError for a group that has other members."""
        self._publisher = publisher
        self._abort = abort
        self._metadata = StoredMetadata(records, publisher, catalog)
        self._store = RaftStore(records, METADATA_GROUP, self._metadata)
        if self._store.log.is_new:
            self._store.bootstrap(Configuration((node,)))
        configuration = self._store.initial()[1]
        if configuration != Configuration((node,)):
            raise StartupError(
                f"this is node {node} of a cluster of several ({configuration}), which it cannot decide for: start it "
                "with --cluster-listen and its certificate"
            )
        # Nobody campaigns against it, so that no chance is needed.
        self._node = Node(Settings(node=node), self._store, lambda below: 0, self._store.applied)
        self._node.campaign()
        self._drain()
        assert self._node.status.role is Role.LEADER, "a group of one leads when it has its own vote"

    @property
    def state(self) -> State:
        return self._metadata.machine.state

    @property
    def term(self) -> int:
        return self._node.status.term

    @property
    def log_bytes(self) -> int:
        return self._store.log.byte_count

    def propose(self, command: Command) -> Outcome:
        """Have a command committed and applied: all of it is durable and visible when this returns.

        Raises ProgramLimitExceeded for one that is too large. A refusal is the outcome's ``error``.
        """
        self._node.propose(encode(command))
        try:
            outcomes = self._drain()
        except BaseException as error:
            # The command is in the log, and its state is not what the log says: a start applies it again.
            self._abort(f"a committed command could not be applied: {type(error).__name__}: {error}")
            raise
        (outcome,) = outcomes
        self._truncate()
        return outcome

    def _drain(self) -> list[Outcome]:
        before = self.state.catalog
        outcomes: list[Outcome] = []
        while self._node.has_ready():
            ready = self._node.ready()
            self._carry_out(ready)
            self._node.advance()
            outcomes += self._metadata.take()
        if self.state.catalog is not before:
            self._publisher.publish_catalog(self.state.catalog)
        return outcomes

    def _carry_out(self, ready: Ready) -> None:
        assert not ready.messages_at_once, "there is nobody to send anything to"
        assert not ready.messages, "there is nobody to send anything to"
        self._store.write(ready.state, ready.entries, ready.snapshot, ready.must_sync)
        self._store.apply(self._node, ready.committed)

    def _truncate(self) -> None:
        log = self._store.log
        if log.byte_count > 2 * LOG_BYTES_KEPT:
            log.truncate(0, [log.base_index], LOG_BYTES_KEPT)
