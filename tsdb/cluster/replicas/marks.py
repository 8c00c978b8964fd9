"""Markers in the logs of a node's replicas, at which those of all nodes are compared. In the thread of the host."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from tsdb.cluster.replicas.mine import Mine
from tsdb.cluster.replication.digests import differs
from tsdb.cluster.replication.ops import WRITES, Op, OpKind


@dataclass(frozen=True, slots=True)
class Marked:
    """A replica is exactly at a marker, whose body says what is compared."""

    database: int
    location: int
    sequence: int
    body: bytes


class Marks:
    """Of the replicas in ``mine``; ``due`` is told which of them have something to do."""

    def __init__(self, mine: Mapping[int, Mine], due: Callable[[int], None]) -> None:
        self._mine = mine
        self._due = due

    @property
    def led(self) -> Collection[int]:
        """Databases of which this node leads something."""
        return {mine.database for mine in self._mine.values() if mine.replica.standing[2]}

    def written(self, database: int) -> Mapping[int, int]:
        """By location, the sequence of the last write that was applied since the start."""
        return {at: mine.written for at, mine in self._mine.items() if mine.database == database}

    def mark(self, database: int, now_ns: int, body: bytes) -> dict[int, int]:
        """Have the replicas of what this node leads of a database compared; the markers' sequences by location."""
        return {at: mine.marked for at, mine in self._mine.items()
                if mine.database == database and self._append(mine, now_ns, body)}  # fmt: skip

    def mark_new(self, now_ns: int) -> None:
        """A marker without a body for all that this node leads, and that has ops since its last one."""
        for mine in self._mine.values():
            if mine.replica.log_end[1] > mine.marked:
                self._append(mine, now_ns, b"")

    def _append(self, mine: Mine, now_ns: int, body: bytes) -> bool:
        if not mine.replica.mark(now_ns, body):
            return False
        mine.marked = mine.replica.log_end[1]
        self._due(mine.location)
        return True

    def applied(self, mine: Mine, ops: Sequence[Op]) -> Marked | None:
        """Ops that are about to be visible; a marker is the last of them. What is to be compared then."""
        last = ops[-1]
        mine.written = max((op.sequence for op in ops if op.kind in WRITES), default=mine.written)
        if last.kind is not OpKind.MARKER:
            return None
        mine.marked = max(mine.marked, last.sequence)
        if last.body:
            return Marked(mine.database, mine.location, last.sequence, last.body)
        mine.replica.digest(last.sequence, b"")
        return None

    def digest(self, location: int, sequence: int, points: bytes, schema: int) -> None:
        """What this node's replica had when it was exactly at a marker."""
        mine = self._mine.get(location)
        if mine is not None:
            mine.replica.digest(sequence, points, schema)
            self._due(location)

    def outcomes(self, markers: Mapping[int, int]) -> dict[int, bool]:
        """By location, whether all voters have the same at a marker; only of those that all have said so of."""
        found: dict[int, bool] = {}
        for location, sequence in markers.items():
            mine = self._mine.get(location)
            had = {} if mine is None else mine.replica.compared(sequence)
            own = None if mine is None else had.get(mine.number)
            if mine is not None and own is not None and {*mine.record.voters} <= had.keys():
                if any(differs(each, own) for each in had.values()):
                    found[location] = False
                elif all(each.schema == own.schema for each in had.values()):
                    found[location] = True
        return found
