"""What a node has on its disk of the replicas that several nodes have of a location: a record of each, and its ops.

The ops are the family ``ops``, as those of a location that one node has; the record says whose replica it is, what it
has promised, from where on its ops are there, and what the location was when its points became blocks (``state``, which
only ``tsdb.cluster`` reads). Ops after that are a *tail*: durable, and not applied by a start, for only the replicas
together know what of it is committed. Nothing is written here: changes go into a batch of the caller's, so that many
replicas' are one, and one with what they rest on.

A replica that left is remembered by a record that says only so: points of its location may still be here, and one that
came to them with an empty log would take them for its own. Layout: docs/format/op.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tsdb.errors import DataCorrupted
from tsdb.storage import keys
from tsdb.storage.frame import seal, unseal
from tsdb.storage.raft_log import Records

MAGIC = b"TP"
VERSION = 1
NAME = "replica"
FAMILY = "state"
OPS = "ops"
# Of keys: above every sequence that there is.
_BEYOND = 2**64 - 1


class ReplicaRecord(msgspec.Struct, frozen=True, array_like=True):
    """``replica``: its number, 0 for one that has left. Ops begin after ``base``; points are durable through
    ``sequence``, of which ``state`` is what the location was there."""

    replica: int
    promised: int = 0
    base: int = 0
    sequence: int = 0
    state: bytes = b""

    @property
    def has_left(self) -> bool:
        return self.replica == 0


LEFT = ReplicaRecord(0)
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(ReplicaRecord)


class ReplicaLog:
    """All replicas of a node. It belongs to one thread at a time."""

    def __init__(self, records: Records) -> None:
        self._records = records

    # What there is

    def all(self) -> dict[int, ReplicaRecord]:
        """By location. Raises DataCorrupted."""
        prefix = keys.state_key(NAME)
        return {
            keys.unpack_state_key(key)[1][0]: _decoded(value)
            for key, value in self._records.scan(FAMILY, prefix, keys.after(prefix))
        }

    def record(self, location: int) -> ReplicaRecord | None:
        """Raises DataCorrupted."""
        value = self._records.get(FAMILY, keys.state_key(NAME, location))
        return None if value is None else _decoded(value)

    def ops(self, location: int, first: int) -> Iterator[tuple[int, bytes]]:
        """(op sequence, op) from ``first`` on, in order. Raises DataCorrupted for a gap."""
        expected = first
        low, high = keys.op_key(location, first), keys.op_key(location, _BEYOND)
        for key, op in self._records.scan(OPS, low, high):
            sequence = keys.unpack_op_key(key)[1]
            if sequence != expected:
                raise DataCorrupted(f"op log of location {location}: op {sequence} is there where {expected} is due")
            yield sequence, op
            expected += 1

    # Into a batch

    def put(self, batch: Any, location: int, record: ReplicaRecord) -> None:
        batch.put(FAMILY, keys.state_key(NAME, location), seal(MAGIC, VERSION, _ENCODER.encode(record)))

    def append(self, batch: Any, location: int, ops: Iterable[tuple[int, bytes]]) -> None:
        for sequence, op in ops:
            batch.put(OPS, keys.op_key(location, sequence), op)

    def truncate(self, batch: Any, location: int, after: int) -> None:
        """All ops after a sequence go: before others are appended in the same batch."""
        batch.delete_range(OPS, keys.op_key(location, after + 1), keys.op_key(location, _BEYOND))

    def forget(self, batch: Any, location: int, first: int, base: int) -> None:
        """Ops from ``first`` up to ``base`` go."""
        batch.delete_range(OPS, keys.op_key(location, first), keys.op_key(location, base + 1))

    def leave(self, batch: Any, location: int) -> None:
        """The replica goes, and is remembered as gone."""
        self._drop_ops(batch, location)
        self.put(batch, location, LEFT)

    def drop(self, batch: Any, location: int) -> None:
        """Nothing of it is remembered: its database is gone, and its number is not given again."""
        self._drop_ops(batch, location)
        batch.delete(FAMILY, keys.state_key(NAME, location))

    @staticmethod
    def _drop_ops(batch: Any, location: int) -> None:
        batch.delete_range(OPS, keys.number_prefix(location), keys.number_prefix(location + 1))


def _decoded(value: bytes) -> ReplicaRecord:
    try:
        return _DECODER.decode(unseal(value, MAGIC, VERSION, "a replica"))
    except msgspec.DecodeError as error:
        raise DataCorrupted(f"a replica's record: {error}") from error
