"""What clients ask of a replica, and what they are answered (2.2, message 9, and 2.8)."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from tsdb.cluster.replication.ops import OpKind
from tsdb.model.acks import ALL as ALL
from tsdb.model.acks import QUORUM as QUORUM
from tsdb.model.acks import Fate as Fate

NOBODY = 0
"""No replica, no client, no batch."""


class Write(msgspec.Struct, frozen=True):
    """Rows for [low, high) of one location under one map version; ``body`` is opaque.

    ``id`` is the caller's, and in the answer. ``client`` is a session's number, which is the metadata index that opened
    it, or NOBODY; ``open_at`` and ``is_open`` are what the node that passes the write on knows of that session: at that
    metadata index it was open or not. ``ticks`` is how long an answer is waited for. ``metadata_index``: the version of
    the schema that the rows were made under. ``digest`` is of all that the client sends as this batch (0: unknown).
    """

    id: int
    low: int
    high: int
    map_version: int
    body: bytes
    rows: int = 1
    client: int = NOBODY
    batch: int = 0
    acknowledged: int = 0
    open_at: int = 0
    is_open: bool = True
    acks: int = QUORUM
    ticks: int = 100
    wall_ns: int = 0
    kind: OpKind = OpKind.WRITE
    metadata_index: int = 0
    digest: int = 0


class Written(msgspec.Struct, frozen=True):
    """It is in the log under (epoch, sequence), the token of a session's reads, and as safe as ``acks`` says: less than
    was asked for when that did not come about in time.
    ``duplicate``: it was there before."""

    id: int
    epoch: int
    sequence: int
    acks: int
    duplicate: bool = False


class Unknown(msgspec.Struct, frozen=True):
    """In the log, and its fate is not known: send the same batch again, or ask by ``confirm``."""

    id: int
    epoch: int
    sequence: int


class NotLeader(msgspec.Struct, frozen=True):
    """Not taken. ``leader`` is who may be it."""

    id: int
    leader: int
    epoch: int


class StaleMap(msgspec.Struct, frozen=True):
    """Not taken: the location has, or is about to have, another interval. ``map_version`` is the one it has."""

    id: int
    map_version: int


class Busy(msgspec.Struct, frozen=True):
    """Not taken: later, perhaps."""

    id: int
    reason: str


class Behind(msgspec.Struct, frozen=True):
    """Not taken: whether the session is open has to be asked at this metadata index or later."""

    id: int
    metadata_index: int


class SessionExpired(msgspec.Struct, frozen=True):
    """Not taken: what this client wrote under which number is forgotten."""

    id: int


class TooOld(msgspec.Struct, frozen=True):
    """Not taken: the client has said that it wants no answer any more up to ``acknowledged``, which is not below."""

    id: int
    acknowledged: int


class OtherContent(msgspec.Struct, frozen=True):
    """Not taken: the client has sent something else as this batch."""

    id: int


class ReadAt(msgspec.Struct, frozen=True):
    """Read what is applied through ``sequence`` or later. (epoch, sequence) is a token. A version of the data that was
    opened before the question was put is as good if it has what is applied through ``needs``."""

    id: int
    epoch: int
    sequence: int
    needs: int


class TokenReverted(msgspec.Struct, frozen=True):
    """The write that the token names was reverted (acks below a quorum): there is nothing to wait for."""

    id: int


Answer: TypeAlias = (
    Written | Unknown | NotLeader | StaleMap | Busy | Behind | SessionExpired | TooOld | OtherContent | ReadAt
    | TokenReverted
)  # fmt: skip
