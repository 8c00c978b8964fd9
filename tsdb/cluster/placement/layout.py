"""What a placement is decided on: nodes and locations as they are now, by records and reports.

A layout is a value.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from tsdb.cluster.metadata.records import Intent


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node: where it stands, what it can hold (0: not known), and for how long nothing was heard of it.

    Nodes without a machine have one each. A *draining* node is to hold nothing in the end.
    """

    node: int
    zone: str = ""
    machine: str = ""
    capacity_bytes: int = 0
    draining: bool = False
    silence_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LocationState:
    """A location: what a replica of it weighs, how many it should have, and who has them (see ``LocationRecord``).

    ``load`` is any rate, the same for all locations. ``caught_up``: learners that lack next to nothing. ``left``: nodes
    that are neither voters nor learners and still have a replica.
    """

    location: int
    factor: int
    size_bytes: int
    load: float
    leader: int
    voters: tuple[int, ...]
    learners: tuple[int, ...] = ()
    caught_up: frozenset[int] = frozenset()
    left: tuple[int, ...] = ()
    epoch: int = 1
    active_epoch: int = 1
    active_voters: tuple[int, ...] = ()
    intent: Intent = Intent.NONE

    @property
    def is_settled(self) -> bool:
        """Its epoch has begun and nothing else is to become of it."""
        return self.epoch == self.active_epoch and self.intent in (Intent.NONE, Intent.MOVE)

    def can_change(self, up: Collection[int]) -> bool:
        """Whether its replicas can be moved: its leader and a majority of its voters are up, and it is not being split
        or merged."""
        majority = 2 * sum(node in up for node in self.voters) > len(self.voters)
        return self.leader in up and majority and self.intent in (Intent.NONE, Intent.MOVE)


@dataclass(frozen=True, slots=True)
class Layout:
    """Nodes by number; locations by number, of all databases."""

    nodes: tuple[NodeState, ...] = ()
    locations: tuple[LocationState, ...] = field(default=())
