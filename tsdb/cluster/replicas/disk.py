"""One replica's part of the disk: what the core reads when it begins, and how its batches are written."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from tsdb.cluster.replicas import ops as format_of_ops
from tsdb.cluster.replication.ops import Kept, LocationState, Op, chained
from tsdb.cluster.replication.ready import Batch
from tsdb.errors import DataCorrupted
from tsdb.storage.replica_log import ReplicaLog, ReplicaRecord

_ENCODER = msgspec.msgpack.Encoder()
_STATE = msgspec.msgpack.Decoder(LocationState)


def encode_state(state: LocationState) -> bytes:
    return _ENCODER.encode(state)


def decode_state(data: bytes) -> LocationState:
    """Raises DataCorrupted."""
    try:
        return _STATE.decode(data)
    except msgspec.DecodeError as error:
        raise DataCorrupted(f"the state of a location: {error}") from error


class ReplicaDisk:
    """A ``tsdb.cluster.replication.log.OpStorage``. ``record`` is as it was written last, synced or not."""

    def __init__(self, log: ReplicaLog, location: int, record: ReplicaRecord) -> None:
        self._log = log
        self.location = location
        self.record = record

    def kept(self) -> Kept:
        """Raises DataCorrupted."""
        return Kept(self.record.promised, self.record.base, self._state())

    def _state(self) -> LocationState:
        if not self.record.state:
            return LocationState()
        return decode_state(self.record.state)

    def ops(self, first: int, bytes_max: int | None = None) -> list[Op]:
        """Raises DataCorrupted for a log that is not whole."""
        found: list[Op] = []
        size = 0
        chain = self._state().chain if first == self.record.sequence + 1 else None
        for _, data in self._log.ops(self.location, first):
            op = format_of_ops.decode(self.location, data)
            size += op.size
            if found and bytes_max is not None and size > bytes_max:
                break
            if chain is not None and op.chain != chained(op, chain):
                raise DataCorrupted(
                    f"op log of location {self.location}: op {op.sequence} does not continue the chain of hashes"
                )
            chain = op.chain
            found.append(op)
        return found

    def write(self, batch: Any, ready: Batch) -> None:
        """What the core wants written, into a batch; the points of a snapshot are the caller's."""
        log, location, record = self._log, self.location, self.record
        if ready.promised is not None:
            record = replace(record, promised=ready.promised)
        if ready.snapshot is not None:
            state = ready.snapshot.state
            record = replace(record, sequence=state.sequence, state=encode_state(state))
        if ready.base is not None:
            log.forget(batch, location, record.base + 1, ready.base)
            record = replace(record, base=ready.base)
        if ready.truncate_after is not None:
            log.truncate(batch, location, ready.truncate_after)
        log.append(batch, location, ((op.sequence, format_of_ops.encode(location, op)) for op in ready.ops))
        self._put(batch, record)

    def put_flushed(self, batch: Any, sequence: int, state: bytes) -> None:
        """Points are in blocks through ``sequence``."""
        self._put(batch, replace(self.record, sequence=sequence, state=state))

    def _put(self, batch: Any, record: ReplicaRecord) -> None:
        if record != self.record:
            self.record = record
            self._log.put(batch, self.location, record)
