"""The cluster, for who only looks: its nodes, the locations of its databases, and replicas that differed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClusterMember:
    """A node of the cluster; ``name`` as its certificate says, empty for a server by itself; ``addresses`` as "purpose
    host:port"."""

    node: int
    name: str
    uuid: str
    addresses: tuple[str, ...]
    zone: str
    capacity_bytes: int
    draining: bool


@dataclass(frozen=True, slots=True)
class ClusterLocation:
    """A ring location: its part of the ring, places from ``first`` through ``last``, and the nodes that have it.

    ``active_voters`` were the voters of the last epoch that has begun; ``leader`` None: there is no node yet. ``goal``:
    the nodes to which its ``arc`` of the database's ring is on its way, the leader first.
    """

    number: int
    database: str
    first: int
    last: int
    map_version: int
    epoch: int
    leader: int | None
    voters: tuple[int, ...]
    learners: tuple[int, ...]
    active_epoch: int
    active_voters: tuple[int, ...]
    intent: str
    goal: tuple[int, ...] = ()
    arc: int = 0


@dataclass(frozen=True, slots=True)
class ReplicaDifference:
    """Something that a node's replica of a location had at a marker, and a majority, the ``agreed`` nodes, had not.

    ``what`` is "points" (of the times [low, high) in ns; None: no bound), "log", or "unreadable". The last four: how
    many points there were, and their digest, at the node and at the others; None where that is not known.
    """

    found_ns: int
    location: int
    node: int
    agreed: tuple[int, ...]
    epoch: int
    marker: int
    what: str
    low: int | None
    high: int | None
    points: int | None
    digest: str | None
    agreed_points: int | None
    agreed_digest: str | None
