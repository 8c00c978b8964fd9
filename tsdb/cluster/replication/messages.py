"""What replicas of a location say to each other: one small immutable type for each thing that is said (2.2).

Every message has ``sender`` and ``to`` (replicas), ``location`` and ``epoch``. A replica is known by a number that
stands for its node *and* the uuid of its directory, so one whose disk was lost or deleted never speaks, and is never
spoken to, as the one before. A receiver that has promised a later epoch answers ``Fenced`` to anything.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from tsdb.cluster.replication.ops import LocationState, Op
from tsdb.cluster.replication.vector import Ends


class Fence(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Promise me this epoch: nothing of an earlier one is taken from then on."""

    sender: int
    to: int
    location: int
    epoch: int


class Fenced(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """I have promised a later epoch."""

    sender: int
    to: int
    location: int
    epoch: int
    promised: int


class Promise(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Promised, durably; this is my log, and nothing of an earlier epoch comes to it any more."""

    sender: int
    to: int
    location: int
    epoch: int
    vector: Ends
    base: int
    commit: int


class Dirty(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """My disk may have lost something, so I cannot promise. Counts for nothing."""

    sender: int
    to: int
    location: int
    epoch: int


class Fetch(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Send me your ops from ``first`` on."""

    sender: int
    to: int
    location: int
    epoch: int
    first: int


class Fetched(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Ops that follow ``previous``, as far as they are on my disk, and what my log is."""

    sender: int
    to: int
    location: int
    epoch: int
    previous: int
    previous_epoch: int
    ops: tuple[Op, ...]
    vector: Ends


class TruncatedBelow(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """My ops begin after ``base``: ask for a snapshot."""

    sender: int
    to: int
    location: int
    epoch: int
    base: int


class SnapshotRequest(msgspec.Struct, frozen=True, array_like=True, tag=8):
    sender: int
    to: int
    location: int
    epoch: int


class Snapshot(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """The location at a sequence, committed. ``content`` stands for its points and tombstones, which the edge moves in
    bulk and hands over when they came whole, up to the end record."""

    sender: int
    to: int
    location: int
    epoch: int
    state: LocationState
    content: bytes


class Repl(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Ops that follow (``previous``, ``previous_epoch``), the leader's high watermark, and how fresh that is:
    ``lead_ns`` is when the last round of heartbeats began that a majority has answered. Without ops a sign of life.
    With ``round`` it asks what ``Beat`` asks, and what acknowledges it says that as well."""

    sender: int
    to: int
    location: int
    epoch: int
    previous: int
    previous_epoch: int
    ops: tuple[Op, ...]
    commit: int
    lead_ns: int
    round: int = 0


class Ack(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """My log is yours through ``match``, compared in this epoch, and durable. With ``round`` a ``BeatAck``, too."""

    sender: int
    to: int
    location: int
    epoch: int
    match: int
    round: int = 0


class Gap(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """My log ends at ``have``, before what you sent."""

    sender: int
    to: int
    location: int
    epoch: int
    have: int


class Mismatch(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """My log is another before what you sent; this is what it is."""

    sender: int
    to: int
    location: int
    epoch: int
    vector: Ends


class Beat(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """Am I still the one? One round of them serves all reads that wait (the design's HB)."""

    sender: int
    to: int
    location: int
    epoch: int
    round: int


class BeatAck(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """I have promised your epoch and no later one."""

    sender: int
    to: int
    location: int
    epoch: int
    round: int


class Digest(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """What I had when the marker at ``sequence`` was applied: the log's chain hash there, and a hash of the points."""

    sender: int
    to: int
    location: int
    epoch: int
    sequence: int
    sequence_epoch: int
    chain: bytes
    points: bytes
    schema: int = 0


Message: TypeAlias = (
    Fence | Fenced | Promise | Dirty | Fetch | Fetched | TruncatedBelow | SnapshotRequest | Snapshot | Repl | Ack | Gap
    | Mismatch | Beat | BeatAck | Digest
)  # fmt: skip
