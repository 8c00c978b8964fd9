"""Who a node talks to, and where."""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.cluster.transport.greeting import Identity


@dataclass(frozen=True, slots=True)
class Member:
    """A node of the cluster, and the address at which other nodes reach it."""

    identity: Identity
    host: str
    port: int
