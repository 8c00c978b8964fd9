"""What waits at the replicas of a node, while they may yet lead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tsdb.cluster.replication.clients import Answer
from tsdb.cluster.replication.replica import Replica
from tsdb.leaving import IsLeft, never

Told: TypeAlias = Callable[[Answer], None]
Question: TypeAlias = Callable[[Replica, int], None]


@dataclass(slots=True)
class Asked:
    """What waits for an answer: asked again until ``until``, or until nobody waits for it, while this replica is about
    to lead."""

    location: int
    ask: Callable[[Replica], None]
    until: int
    told: Told
    is_left: IsLeft = never


@dataclass(slots=True, eq=False)
class Settling:
    """Who waits until nothing is on its way to some locations, for so many ticks at most."""

    locations: tuple[int, ...]
    until: int
    told: Callable[[bool], None]
    is_left: IsLeft = never
