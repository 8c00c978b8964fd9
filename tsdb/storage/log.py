"""The op logs of this node's ring locations: positions, counters and chain hashes; ops into batches and out of the way.

Owned by the committer's thread. ``append`` stamps an op's header and puts it into a batch; durable and thereby real it
is when the committer has written that batch with a sync. Op sequences of a location are gapless from 1; counters of
points are the node's and rise along every log; both go on above everything that recovery found, so that none is given
twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tsdb.clock import Clock
from tsdb.errors import ProgramLimitExceeded
from tsdb.model.ring import Location
from tsdb.model.store import Producer
from tsdb.storage import keys
from tsdb.storage.op import GENESIS, OpHeader, OpKind, chain_hash, encode_op
from tsdb.storage.rocks import Batch
from tsdb.storage.rows import COUNTER_BITS, COUNTER_MASK

EPOCH = 1


@dataclass(frozen=True, slots=True)
class LogPosition:
    """How far a location's log has come: the last op's sequence and the chain hash after it."""

    sequence: int = 0
    chain: bytes = GENESIS


@dataclass(slots=True)
class LocationLog:
    """One location's log: ops ``first`` … ``last.sequence`` are on disk; ``marked`` is the last marker's. One that has
    ``ended`` goes on as a replica's, after ``last``."""

    location: Location
    last: LogPosition = LogPosition()
    first: int = 1
    marked: int = 0
    ended: bool = False


class OpLog:
    """All logs of a node. ``counter`` is the highest one given so far, ``node_id`` the sequences' upper 16 bits."""

    def __init__(self, clock: Clock, node_id: int, counter: int = 0) -> None:
        self._clock = clock
        self.node_id = node_id
        self._logs: dict[int, LocationLog] = {}
        self.shared: set[int] = set()
        """Locations whose logs several nodes have: nothing is appended to them here (``replica_log``)."""
        self.counter = counter
        self.ops_appended = 0
        self.bytes_appended = 0

    def log_of(self, location: Location) -> LocationLog:
        found = self._logs.get(location.number)
        if found is None:
            found = self._logs[location.number] = LocationLog(location)
        return found

    def logs(self) -> Iterable[LocationLog]:
        return self._logs.values()

    def has(self, location: int) -> bool:
        return location in self._logs

    def end(self, location: int) -> LogPosition | None:
        """A log goes on as a replica's: where it has come to; None if nothing is in it, or it has ended before."""
        found = self._logs.get(location)
        if found is None or found.ended or location in self.shared or not found.last.sequence:
            return None
        found.ended = True
        return found.last

    def positions(self) -> dict[int, LogPosition]:
        """Where every log stands, by location number."""
        return {number: log.last for number, log in self._logs.items()}

    def check_counters(self, counters: int) -> None:
        """Whether so many points can still be numbered. Raises ProgramLimitExceeded.

        Asked before the first of several ops of one change, so that none is logged without the others.
        """
        if self.counter + counters > COUNTER_MASK:
            raise ProgramLimitExceeded(f"node {self.node_id} has given all {COUNTER_MASK} counters to points")

    def append(
        self,
        batch: Batch,
        kind: OpKind,
        location: Location,
        body: bytes,
        *,
        rows: int = 0,
        counters: int = 0,
        producer: Producer | None = None,
        checksum: int | None = None,
    ) -> int:
        """Put the location's next op into ``batch``; it takes ``counters`` counters. Returns the first sequence.
        ``checksum``: the body's, where it is known.

        The first sequence (node id and counter) is row 0's, row i has i more; a DELETE takes one for itself.
        """
        assert self.counter + counters <= COUNTER_MASK, "check_counters comes first"
        assert location.number not in self.shared, f"the log of location {location.number} is not this node's alone"
        log = self.log_of(location)
        first = self.node_id << COUNTER_BITS | (self.counter + 1)
        header = OpHeader(
            kind=kind,
            epoch=EPOCH,
            location=location.number,
            sequence=log.last.sequence + 1,
            low=location.low,
            high=location.high,
            first_counter=first,
            rows=rows,
            wall_ns=self._clock.now_ns(),
            producer=producer.name if producer else "",
            batch=producer.batch if producer else 0,
            previous=log.last.chain,
            digest=producer.digest if producer else 0,
        )
        op = encode_op(header, body, checksum)
        batch.put("ops", keys.op_key(location.number, header.sequence), op)
        log.last = LogPosition(header.sequence, chain_hash(op, len(body)))
        self.counter += counters
        self.ops_appended += 1
        self.bytes_appended += len(op)
        return first

    def drop_flushed(self, batch: Batch, flushed: Mapping[int, LogPosition], kept: int) -> None:
        """Delete the ops that are in blocks, but for the last ``kept`` of each location."""
        for number, position in flushed.items():
            log = self._logs.get(number)
            first = position.sequence - kept + 1
            if log is not None and first > log.first:
                batch.delete_range("ops", keys.op_key(number, log.first), keys.op_key(number, first))
                log.first = first

    def drop_ended(self, batch: Batch, flushed: Mapping[int, LogPosition]) -> list[int]:
        """Delete logs that have ended, and are in blocks to their end. Which they are."""
        gone = [
            number
            for number, position in flushed.items()
            if (log := self._logs.get(number)) is not None and log.ended and log.last == position
        ]
        for number in gone:
            last = self._logs.pop(number).last.sequence
            prefix = keys.number_prefix(number)
            batch.delete_range("ops", prefix, keys.op_key(number, last + 1))
            batch.delete_range("markers", prefix, keys.number_prefix(number + 1))
        return gone

    def forget(self, batch: Batch, locations: Iterable[Location]) -> None:
        """Delete the logs of locations whose database is gone."""
        for location in locations:
            self._logs.pop(location.number, None)
            prefix = keys.number_prefix(location.number)
            for family in ("ops", "markers"):
                batch.delete_range(family, prefix, keys.number_prefix(location.number + 1))
