"""A node that agrees with itself: no network, no thread of its own; a command is applied when ``propose`` returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tsdb.cluster.etcd.directory import check_follows_none
from tsdb.cluster.founding import change_schema, found, leftovers
from tsdb.cluster.metadata.agreement import Standing, Told, unchecked
from tsdb.cluster.metadata.commands import Action, Command, Expected
from tsdb.cluster.metadata.group_of_one import METADATA_GROUP, GroupOfOne
from tsdb.cluster.metadata.machine import Outcome
from tsdb.cluster.metadata.records import Answer
from tsdb.cluster.metadata.state import State
from tsdb.errors import StartupError
from tsdb.storage.engine import Engine
from tsdb.storage.options import Options
from tsdb.storage.raft_log import RaftLog


class Alone:
    """A ``metadata.agreement.Agreement``: the group of one, in the thread of the engine's committer."""

    def __init__(self, engine: Engine, options: Options) -> None:
        """Raises DataCorrupted, StartupError for a directory of a group that has other members."""
        check_follows_none(engine)
        _check_belongs_to_none(engine)
        self._engine = engine
        self._clock = options.clock
        self._node = engine.node
        self._told: list[Told] = []
        self._group: GroupOfOne = engine.call(
            lambda: GroupOfOne(engine.records, engine.node, engine, engine.catalog, options.abort)
        )
        found(engine, self)
        left = tuple(leftovers(engine.catalog))
        if left:
            change_schema(engine, self, left)

    @property
    def state(self) -> State:
        return self._group.state

    @property
    def standing(self) -> Standing:
        return Standing(self._node, self._node, (self._node,), (), self.state.group.applied)

    def propose(
        self, action: Action, expected: tuple[Expected, ...] = (), check: Callable[[], None] = unchecked
    ) -> Answer:
        outcome = self._engine.call(lambda: self._propose(action, expected, check))
        if outcome.error is not None:
            raise outcome.error
        return outcome.answer

    def _propose(self, action: Action, expected: tuple[Expected, ...], check: Callable[[], None]) -> Outcome:
        """In the committer's thread: nothing changes between the check and the command."""
        check()
        outcome = self._group.propose(Command(action, self._clock.now_ns(), expected))
        # A new schema is visible already: nothing that it says is anywhere but here.
        for told in self._told:
            told(self.state, outcome.changes)
        return outcome

    @property
    def has_others(self) -> bool:
        return False

    @property
    def shared(self) -> None:
        """One node by itself has nothing that others have as well."""

    def wait_readable(self, seconds: float | None = None) -> None:
        """There is nobody else."""

    @property
    def obstacle(self) -> None:
        """There is nobody who would do better."""

    def watch(self, told: Told) -> None:
        self._told.append(told)

    def introduce(self, addresses: Mapping[str, str]) -> None:
        """There is nobody to be told."""

    def gauges(self) -> Mapping[str, float]:
        return {}

    def hand_over(self, seconds: float) -> None:
        """There is nobody to take it."""

    def close(self) -> None:
        """There is nothing to end."""


def _check_belongs_to_none(engine: Engine) -> None:
    """Raises StartupError for a directory that has begun to join a cluster, and has nothing of its metadata yet.

    By itself it would make up a history of its own under the number that the cluster has given it.
    """
    known = engine.identity
    if known is None or engine.catalog.next_database > 1 or RaftLog(engine.records, METADATA_GROUP).applied_index:
        return
    which = f"is node {known.node} of cluster {known.cluster}" if known.joined else "has asked to join a cluster"
    raise StartupError(
        f"this data directory {which} and has not got its metadata yet: start it once more with --cluster-listen, its "
        "certificate and --join HOST:PORT, or begin with an empty directory"
    )
