"""Who agrees on commands, as the node above sees it: an action goes in, and what became of it comes out.

There are several that agree in different ways: a node by itself (``tsdb.cluster.alone``), the embedded group of
several nodes (``tsdb.cluster.group``), and a store of the operator's that keeps the commands in their order. All of
them hand every command, once and in the same order on each node, to ``machine.Machine`` through
``durable.StoredMetadata``, and show the data below what became of the catalog (``group_of_one.Publisher``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from tsdb.cluster.metadata.commands import Action, Expected
from tsdb.cluster.metadata.records import Answer
from tsdb.cluster.metadata.state import Change, State
from tsdb.model.acks import QUORUM, Fate
from tsdb.model.cluster import ReplicaDifference
from tsdb.model.freshness import Freshness, Ops, Token
from tsdb.model.refreshing import Held, Holding
from tsdb.model.store import RevertedOp, Written
from tsdb.storage.append import Append
from tsdb.storage.view import StorageView

Told: TypeAlias = Callable[[State, Sequence[Change]], None]
"""Hears of what was applied: the state now, and what changed. After a snapshot nobody knows what changed: nothing."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a node stands among those that agree: its number, who leads (0: nobody that it knows of), who has a vote, and
    up to which command it has applied what was agreed on."""

    node: int
    leader: int
    voters: tuple[int, ...]
    learners: tuple[int, ...]
    applied: int

    @property
    def leads(self) -> bool:
        return self.node == self.leader


def unchecked() -> None:
    """Nothing has to hold."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A view of a node's data that is as new as was asked for. ``applied``: of a database's locations, what it shows.
    ``needs``: another view is as good for a location that was asked about, if it has that."""

    view: StorageView
    applied: Token
    needs: Mapping[int, int]


class Shared(Protocol):
    """Databases that several nodes have, at one of them: see ``tsdb.cluster.replicas.shared``."""

    def write(self, append: Append, rests_on: Collection[int] = (), acks: int = QUORUM) -> Future[Written]: ...

    def confirm(self, ops: Ops) -> list[Fate]: ...

    def reverted(self) -> Sequence[RevertedOp]: ...

    def open(self, locations: Sequence[int], fresh: Freshness, whole: Sequence[int]) -> Opened: ...

    def differences(self) -> Sequence[ReplicaDifference]: ...

    def hold(self, held: Held, counter: int | None, locations: Collection[int]) -> Holding: ...


class Agreement(Protocol):
    """Safe to call from any thread but the one that applies commands."""

    @property
    def state(self) -> State:
        """What was agreed on, as this node has applied it. It never changes: a later one takes its place."""
        ...

    @property
    def standing(self) -> Standing: ...

    def propose(
        self, action: Action, expected: tuple[Expected, ...] = (), check: Callable[[], None] = unchecked
    ) -> Answer:
        """Have an action agreed on, once; when this returns it is durable, and applied and visible on this node.

        ``check`` is called in the thread that applies commands, before anything is proposed; what it raises is raised
        here, and nothing is proposed then — unless others may have agreed on something that this node does not know
        yet: then it catches up and asks once more. For a node by itself nothing changes between check and command.

        Raises the refusal, as every node gives it. Raises ProgramLimitExceeded for a command that is too large,
        CannotConnectNow when nobody decides (the action was not proposed and never will be) and
        StatementCompletionUnknown when the deadline passed after it was: it may be done, or not.
        """
        ...

    @property
    def has_others(self) -> bool:
        """Whether somebody else may agree on something."""
        ...

    @property
    def shared(self) -> Shared | None:
        """The way to databases that several nodes have; None where that cannot be."""
        ...

    def wait_readable(self, seconds: float | None = None) -> None:
        """Until this node has applied everything that was agreed on anywhere before this was called.

        ``seconds``: the deadline, if it is to be another than usual. Raises CannotConnectNow when nobody says in time
        what that is.
        """
        ...

    @property
    def obstacle(self) -> str | None:
        """Why clients are better sent to another node, for writes and for queries at the default level. Known at
        once, and at any time."""
        ...

    def watch(self, told: Told) -> None:
        """Have ``told`` called for each command that is applied from now on, in the thread that applies them and before
        a new schema is visible. It must not wait and must not raise.
        """
        ...

    def introduce(self, addresses: Mapping[str, str]) -> None:
        """Where this node is reached, by purpose (``sql``, ``http``, …): soon all nodes know it."""
        ...

    def gauges(self) -> Mapping[str, float]:
        """Metrics by name."""
        ...

    def hand_over(self, seconds: float) -> None:
        """Before a planned stop: have others lead what they can, and wait for that, so many seconds at most. Meanwhile
        all goes on."""
        ...

    def close(self) -> None:
        """Agree on nothing more. Before the engine is closed; can be called again."""
        ...
