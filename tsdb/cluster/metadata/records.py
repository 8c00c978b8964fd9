"""Records: what the group keeps beside the schema, each with the index of the command that changed it last.

They are values in a fixed order of fields; fields may be appended with a default, never reordered. A record is known by
its name and a number; ``changed`` is what a compare-and-set names. Diagram: docs/format/group.md.
"""

from __future__ import annotations

from bisect import bisect_right
from enum import IntEnum
from itertools import pairwise
from typing import TypeAlias, TypeVar

import msgspec

NODE_MAX = 32_767
"""Node ids are two bytes of a point's sequence; none is given twice."""
PLACE_BITS = 64
"""Of a place on a ring."""
REPLICA_BITS = 40
"""Of a replica's number: the command that made it; the bits above are its node."""
UUID_BYTES = 16
NO_ID = bytes(UUID_BYTES)
FROM_THE_START = -(2**63)
"""The bucket from which a database's first map holds."""
ARCS_MAX = 32
_ARC_BITS = 32


class Member(msgspec.Struct, frozen=True, array_like=True):
    """A node of the cluster, whether it votes in the group or not.

    ``addresses`` are (purpose, host and port). A *draining* node is given nothing new to hold. One that is *gone* is
    kept by its uuid alone, so that a disk that was given up never comes back. ``machine``: what it shares with others
    that fail with it; "" is one of its own. ``name`` is the one in its certificate, if there is one.
    """

    node: int
    uuid: bytes
    addresses: tuple[tuple[str, str], ...]
    zone: str
    capacity_bytes: int
    draining: bool = False
    gone: bool = False
    changed: int = 0
    machine: str = ""
    name: str = ""


class Interval(msgspec.Struct, frozen=True, array_like=True):
    """A location's part of the ring: places from ``low`` through ``last``."""

    location: int
    low: int
    last: int


class RingMap(msgspec.Struct, frozen=True, array_like=True):
    """Which location has which part of a database's ring, for buckets from ``from_bucket`` on to the next map's."""

    version: int
    from_bucket: int
    intervals: tuple[Interval, ...]


class Ring(msgspec.Struct, frozen=True, array_like=True):
    """A database's maps by version, the first from the start of time; older buckets keep their map for ever.

    ``spreadings`` are of an older design and always empty: slots of hot series are in the catalog.

    ``replication_factor`` is how many replicas a location should have; with fewer nodes it has as many as there are.

    Of one node alone the logs are that node's own, and cannot go to others, until the database is *shared*: ``wanted``
    is the factor that it is to have then, 0 if nobody has asked for it. Once ``shared`` it stays so.

    ``arcs``: parts of the ring, of whole locations; those of each are at the same nodes and led by one. They are equal,
    or begin at the places in ``cuts``, each but the first. ``arcs_wanted``, ``cuts_wanted``: they will be these when
    what becomes one is at the same nodes; 0: they stay as they are.
    """

    database: int
    replication_factor: int
    maps: tuple[RingMap, ...]
    changed: int = 0
    spreadings: tuple[()] = ()
    wanted: int = 0
    shared: bool = False
    arcs: int = 1
    arcs_wanted: int = 0
    cuts: tuple[int, ...] = ()
    cuts_wanted: tuple[int, ...] = ()

    @property
    def is_shared(self) -> bool:
        """Whether the logs of its locations are such as several nodes can have."""
        return self.shared or self.replication_factor > 1

    @property
    def is_coming(self) -> bool:
        """Whether its logs are one node's alone, and soon will not be any more."""
        return self.wanted > 0 and not self.is_shared

    def arc_of(self, interval: Interval) -> int:
        """Which arc has an interval."""
        if self.cuts:
            return bisect_right(self.cuts, interval.low)
        return interval.low * self.arcs >> PLACE_BITS

    @property
    def begins(self) -> tuple[int, ...]:
        """The first places of the first locations of all arcs but the first."""
        pairs = pairwise(self.maps[-1].intervals)
        return tuple(b.low for a, b in pairs if self.arc_of(a) != self.arc_of(b))

    def even(self, arcs: int) -> tuple[int, ...]:
        """The same of so many that are as equal as whole locations allow; fewer places if there are not so many."""
        pairs = pairwise(self.maps[-1].intervals)
        return tuple(b.low for a, b in pairs if a.low * arcs >> PLACE_BITS != b.low * arcs >> PLACE_BITS)


def goal_number(database: int, arc: int) -> int:
    """The number of the goal of a database's arc."""
    return arc << _ARC_BITS | database


class Goal(msgspec.Struct, frozen=True, array_like=True):
    """Where an arc of a replicated database is to be, and who of them is to lead it: the first one. A rebalance has
    said so; when it is so, or cannot become so any more, the goal is gone. ``number``: see ``goal_number``."""

    number: int
    nodes: tuple[int, ...]
    changed: int = 0

    @property
    def database(self) -> int:
        return self.number & (1 << _ARC_BITS) - 1

    @property
    def arc(self) -> int:
        return self.number >> _ARC_BITS


class Intent(IntEnum):
    """What is to become of a location. The numbers are on disk: never change one."""

    NONE = 0
    SPLIT = 1
    MERGE = 2
    MOVE = 3


class LocationRecord(msgspec.Struct, frozen=True, array_like=True):
    """Who leads a location and who has replicas of it (replication design, 2.0): node ids, sorted.

    Voters are a function of the epoch. Epoch 0 has nobody: there was no node yet. Until an epoch is *active* its leader
    acknowledges nothing, and whoever leads next has to fence the active voters.

    ``replicas`` are (node, number): each time that a node comes to have a replica, that gets a number which no other
    had before, so that nobody takes it for an earlier one of the same node, whose promises it does not know.
    """

    location: int
    database: int
    epoch: int = 0
    leader: int = 0
    voters: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    active_epoch: int = 0
    active_voters: tuple[int, ...] = ()
    intent: Intent = Intent.NONE
    map_version: int = 1
    changed: int = 0
    replicas: tuple[tuple[int, int], ...] = ()


def replica_on(record: LocationRecord, node: int) -> int:
    """The number of a node's replica."""
    return dict(record.replicas).get(node, node << REPLICA_BITS)


def node_of(replica: int) -> int:
    """The node that has a replica."""
    return replica >> REPLICA_BITS


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What became of a command: numbers that it gave or touched, or the error's class (``tsdb.errors``) and message.

    No detail: it may list what depends on something in an order that a node's past has made.
    """

    values: tuple[int, ...] = ()
    error: str = ""
    message: str = ""


class ClientSession(msgspec.Struct, frozen=True, array_like=True):
    """A client whose numbered commands count once; its number is the index of the command that opened it.

    It ends when nothing was heard of it for ``ttl_ns`` by the group's time. ``answers`` are of numbers above
    ``acknowledged``, by number. ``database``: it is the session of a producer there, whose batches are in op logs and
    count once in these; 0: of somebody who sends commands.
    """

    client: int
    name: str
    ttl_ns: int
    heard_ns: int
    acknowledged: int = 0
    answers: tuple[tuple[int, Answer], ...] = ()
    changed: int = 0
    database: int = 0

    @property
    def ends_ns(self) -> int:
        return self.heard_ns + self.ttl_ns


class Counted(msgspec.Struct, frozen=True, array_like=True):
    """How far a sequence of a replicated database has counted: ``following`` is the first value that is not reserved, a
    text, since it may be beyond 64 bits. Not ``called``: it is to be given first, whatever the increment."""

    sequence: int
    database: int
    following: str
    called: bool
    changed: int = 0


class ContinuousRecord(msgspec.Struct, frozen=True, array_like=True):
    """How far a continuous view of a replicated database is stored: see ``tsdb.model.continuous.Progress``.

    ``applied``: by location the op sequence with which a replica has the source as it was read, and all that was stored
    of it. With none, and counters 0, all that has a row is dirty: nobody knows any more what is stored.
    """

    series: int
    database: int
    counter: int
    stored: int
    watermark_ns: int
    applied: tuple[tuple[int, int], ...] = ()
    changed: int = 0


class Group(msgspec.Struct, frozen=True, array_like=True):
    """What there is once: the cluster's id, the node id to be given next, the replication factor of new databases, the
    group's time (the highest that a command brought), the last command's index, and the digest of all changes."""

    cluster: bytes = NO_ID
    next_node: int = 1
    replication_factor: int = 1
    time_ns: int = 0
    applied: int = 0
    digest: bytes = NO_ID
    changed: int = 0


Record: TypeAlias = Member | Ring | Goal | LocationRecord | ClientSession | Counted | ContinuousRecord | Group
R = TypeVar("R", Member, Ring, Goal, LocationRecord, ClientSession, Counted, ContinuousRecord, Group)

# The records' names: in keys, in a command's expectations, in what watchers are told.
NAMES: dict[type[Record], str] = {
    Member: "member",
    Ring: "ring",
    Goal: "goal",
    LocationRecord: "location",
    ClientSession: "client",
    Counted: "values",
    ContinuousRecord: "continuous",
    Group: "group",
}
LATER: dict[type[Record], int] = {Ring: 2}
"""How many of the last fields nodes of an older version do not know (``Ring.cuts``, ``cuts_wanted``)."""
BY_NAME: dict[str, type[Record]] = {name: kind for kind, name in NAMES.items()}
CATALOG = "catalog"
"""The schema and the roles as a whole, by name: its version is what a compare-and-set names."""
