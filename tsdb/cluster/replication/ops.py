"""Ops as replication sees them: the header that orders them, and a body it never looks into."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import TypeAlias

import msgspec

from tsdb.cluster.replication.vector import Ends
from tsdb.storage.op import GENESIS, OpKind

__all__ = ["GENESIS", "SEALS", "WRITES", "Interval", "Kept", "LocationState", "Op", "OpKind", "chained", "sealed_by"]

Interval: TypeAlias = tuple[int, int]
"""A half-open interval of the ring."""

WRITES = (OpKind.WRITE, OpKind.DELETE, OpKind.CHANGE)
"""What clients send, and what counts once."""
SEALS = (OpKind.SPLIT, OpKind.MERGE_SEAL)
"""After one of these its location takes no write any more, only barriers."""

_HEAD = struct.Struct(">QQBQQQQQQqQII16s")
_REST = struct.Struct(">QH")
_DIGEST = struct.Struct(">Q")
_CHAIN_BYTES = 16
_TOP = 2**64 - 1


class Op(msgspec.Struct, frozen=True, array_like=True):
    """One op. (epoch, sequence) names it for ever.

    ``client``, ``batch`` and the hash interval [low, high) say what it covers of whose write; ``acknowledged`` is the
    batch up to which that client wants no answer any more. Row i has point counter ``first_counter`` + i, given by node
    ``origin``. ``metadata_index`` is what has to be known of the metadata: of FORGET_CLIENT the command that ended the
    session, of a write the version of the schema that it was made under. ``chain`` is a hash over the op and the log
    before it: equal names with unequal chains are a broken disk or a bug, never an opinion. ``digest`` is of what the
    client sent as that batch (0: unknown).
    """

    sequence: int
    epoch: int
    kind: OpKind
    client: int = 0
    batch: int = 0
    acknowledged: int = 0
    low: int = 0
    high: int = 0
    map_version: int = 0
    wall_ns: int = 0
    first_counter: int = 0
    rows: int = 0
    metadata_index: int = 0
    origin: int = 0
    body: bytes = b""
    chain: bytes = GENESIS
    digest: int = 0

    @property
    def size(self) -> int:
        """About what it takes in memory and on the way, in bytes."""
        return _HEAD.size + len(self.body)


def chained(op: Op, previous: bytes) -> bytes:
    """The chain hash of an op that follows one with chain hash ``previous``."""
    head = _HEAD.pack(
        op.sequence, op.epoch, op.kind, op.client, op.batch, op.acknowledged, op.low, min(op.high, _TOP),
        op.map_version, op.wall_ns, op.first_counter, op.rows, zlib.crc32(op.body), previous,
    )  # fmt: skip
    rest = _REST.pack(op.metadata_index, op.origin) + (_DIGEST.pack(op.digest) if op.digest else b"")
    return hashlib.blake2b(head + rest, digest_size=_CHAIN_BYTES).digest()


def sealed_by(op: Op) -> bool:
    return op.kind in SEALS


class Covered(msgspec.Struct, frozen=True, array_like=True):
    """One client in the producer table: batches above ``acknowledged``, with the intervals that are in the log, and the
    digests of those that have one."""

    client: int
    acknowledged: int
    batches: tuple[tuple[int, tuple[Interval, ...]], ...]
    digests: tuple[tuple[int, int], ...] = ()


class LocationState(msgspec.Struct, frozen=True, array_like=True):
    """What a location is at an op sequence, beside its points: what a flush makes durable with them, and what a
    snapshot carries.

    ``counter`` is the highest point counter in the log so far, ``forgotten_at`` the highest metadata index that ended a
    session of the log's, ``seal`` the sequence of the location's own seal (0: none).
    """

    sequence: int = 0
    vector: Ends = ()
    chain: bytes = GENESIS
    counter: int = 0
    clients: tuple[Covered, ...] = ()
    forgotten_at: int = 0
    seal: int = 0


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What of a replica is on its disk beside the ops: they begin after ``base``, which is not after ``state``."""

    promised: int = 0
    base: int = 0
    state: LocationState = LocationState()
