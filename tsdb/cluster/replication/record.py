"""What the metadata say of a location (2.0), and what a replica asks of the metadata."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from tsdb.cluster.replication.ops import OpKind


class Seal(msgspec.Struct, frozen=True, array_like=True):
    """A committed SPLIT or MERGE_SEAL by its name; it is the last op of its location that counts."""

    epoch: int
    sequence: int


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A location, by replicas. Voters are a function of the epoch; learners may change within it.

    ``active_epoch`` and ``active_voters`` are whom the next leader must fence. ``wanted`` is the seal that a split or a
    merge waits for; it is never taken back. ``retired`` says that others have taken the location's place, from that
    seal on. ``changed`` rises with every change.
    """

    location: int
    low: int
    high: int
    epoch: int
    leader: int
    voters: tuple[int, ...]
    learners: tuple[int, ...]
    active_epoch: int
    active_voters: tuple[int, ...]
    map_version: int = 1
    wanted: OpKind | None = None
    retired: Seal | None = None
    changed: int = 0


class Activate(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The epoch's barrier is durable with a majority of its voters. Refused if the epoch is not the record's."""

    location: int
    epoch: int
    barrier: int


class Abdicate(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A planned move's second stage: ``to`` has all there is, and nothing is added meanwhile."""

    location: int
    epoch: int
    to: int
    last: int


class NewEpoch(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """I am to lead this epoch and cannot: I have promised it before my restart (L1)."""

    location: int
    epoch: int


class Sealed(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The seal that was wanted is committed."""

    location: int
    epoch: int
    seal: Seal


class Rebuild(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """My disk cannot be trusted: this replica has to come back as another one."""

    location: int
    epoch: int


class Had(msgspec.Struct, frozen=True, array_like=True):
    """What a replica had at a marker: the op's epoch and the log's chain hash there, and of the points a hash, as they
    were under a schema."""

    epoch: int
    chain: bytes
    schema: int
    points: bytes


class Diverged(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """A replica has something else than a majority of the voters, as of a marker: it has to come back as another."""

    location: int
    epoch: int
    replica: int
    sequence: int
    agreed: tuple[int, ...]
    theirs: Had
    its: Had


class Behind(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """I am to lead, and cannot catch up: I have points, and not what comes before the ops that ``source`` has kept."""

    location: int
    epoch: int
    replica: int
    source: int


Request: TypeAlias = Activate | Abdicate | NewEpoch | Sealed | Rebuild | Diverged | Behind
