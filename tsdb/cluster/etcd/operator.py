"""What an operator asks of a cluster whose metadata is in etcd. No node is asked: etcd itself is.

Whoever may write to etcd is as good as any node: this folds the log into a state in memory, and appends commands as
nodes do. It is no member, holds no lease, and leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from tsdb.clock import SystemClock
from tsdb.cluster import operations
from tsdb.cluster.etcd.agreement import EtcdAgreement
from tsdb.cluster.etcd.joining import Place
from tsdb.cluster.etcd.layout import Entry, Saved
from tsdb.cluster.etcd.log import CommandLog
from tsdb.cluster.etcd.replica import check_next, check_snapshot
from tsdb.cluster.metadata.agreement import Told
from tsdb.cluster.metadata.commands import ChangeMember, ChangeSchema, RemoveMember
from tsdb.cluster.metadata.machine import Machine, Outcome
from tsdb.cluster.metadata.records import NO_ID, Member
from tsdb.cluster.metadata.state import State
from tsdb.errors import DataCorrupted, ObjectNotInPrerequisiteState
from tsdb.model.catalog import Catalog
from tsdb.model.changes import SchemaChange

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """``runs``: its lease lasts. ``held`` and ``leads`` count locations."""

    node: int
    decides: bool
    draining: bool
    runs: bool
    held: int
    leads: int
    addresses: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A cluster as etcd has it. ``decides`` 0: nobody just now."""

    cluster: bytes
    decides: int
    commands: int
    nodes: tuple[NodeSeen, ...]


class Operator:
    """One operator's view and commands. ``close`` it."""

    def __init__(self, place: Place) -> None:
        """Raises StartupError; ObjectNotInPrerequisiteState where there is no cluster; what the gateway raises."""
        self._gateway = place.gateway()
        try:
            self._log = CommandLog(self._gateway, place.address.prefix)
            log_id = self._log.look().log_id
            self._agreement = EtcdAgreement(
                self._gateway, self._log, log_id, _InMemory(), SystemClock(), _cannot_follow, place.limits
            )
            self._agreement.wait_readable()
            if not log_id or self.state.group.cluster == NO_ID:
                raise ObjectNotInPrerequisiteState(
                    f"there is no cluster at {place.address} yet",
                    hint="The first node that is started there founds it.",
                )
        except BaseException:
            self._gateway.close()
            raise

    def close(self) -> None:
        self._agreement.close()

    @property
    def state(self) -> State:
        return self._agreement.state

    # For ``tsdb cluster``

    def seen(self) -> Seen:
        state, present, running = self.state, self._log.look(), self._log.running()
        held, leads = operations.held(state)
        decides = present.office.coordinator.node if present.office is not None else 0
        nodes = tuple(
            NodeSeen(
                each.node, each.node == decides, each.draining, each.node in running, held[each.node],
                leads[each.node], each.addresses,
            )
            for each in state.all(Member)
            if not each.gone
        )  # fmt: skip
        return Seen(state.group.cluster, decides, state.group.applied, nodes)

    def drain(self, node: int, *, draining: bool) -> str:
        """What there is to say of it. Raises UndefinedObject, and as ``Agreement.propose``."""
        self._check_node(node)
        self._agreement.propose(ChangeMember(node, draining=draining))
        return operations.drained(self.state, node, draining=draining, moves=False)

    def remove(self, node: int, *, accept_loss: bool) -> str:
        """What there is to say of it. Raises UndefinedObject, ObjectInUse, and as ``Agreement.propose``."""
        self._check_node(node)
        self._agreement.propose(RemoveMember(node, accept_loss))
        return operations.removed(node)

    def _check_node(self, node: int) -> None:
        refusal = operations.missing(self.state, node)
        if refusal is not None:
            raise refusal

    # For ``tsdb user``

    @property
    def catalog(self) -> Catalog:
        return self.state.catalog

    def change(self, *changes: SchemaChange) -> Catalog:
        """Raises their errors, and as ``Agreement.propose``."""
        self._agreement.propose(ChangeSchema.of(changes))
        return self.catalog


class _InMemory:
    """An ``agreement.Copy`` that nobody else looks at."""

    def __init__(self) -> None:
        self._machine = Machine()

    @property
    def state(self) -> State:
        return self._machine.state

    @property
    def applied(self) -> int:
        return self.state.group.applied

    def watch(self, told: Told) -> None:
        """Nobody needs to be told: who asks here waits for the answer."""

    def run(self, function: Callable[[], R]) -> R:
        return function()

    def apply(self, entries: Sequence[tuple[Entry, bytes]]) -> list[Outcome]:
        found: list[Outcome] = []
        for entry, body in entries:
            check_next(self.state.group, entry)
            outcome = self._machine.apply(entry.number, body)
            assert outcome is not None, "it comes next"
            found.append(outcome)
        return found

    def install(self, saved: Saved, body: bytes) -> None:
        check_snapshot(saved, body)
        self._machine.restore(body)


def _cannot_follow(reason: str) -> NoReturn:
    raise DataCorrupted(reason)
