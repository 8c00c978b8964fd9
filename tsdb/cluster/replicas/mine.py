"""A replica of this node, as its host has it. Any thread may look where it says so: what is read is one value each."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tsdb.cluster.replicas.disk import ReplicaDisk
from tsdb.cluster.replication.reads import NO_TIME
from tsdb.cluster.replication.record import Record
from tsdb.cluster.replication.replica import Replica


@dataclass(slots=True, weakref_slot=True)
class Mine:
    """``marks``: (op sequence, bytes of ops since the mark before) of the last flushes. ``written``: the last write
    that was applied since the start; ``marked``: the last marker that is known of."""

    disk: ReplicaDisk
    replica: Replica
    record: Record
    database: int
    marks: deque[tuple[int, int]] = field(default_factory=deque)
    applied_bytes: int = 0
    is_behind: bool = False
    written: int = 0
    marked: int = 0
    lead: tuple[int, int] = (0, 0)
    """(the active epoch that it leads, its barrier), when it was last looked at; (0, 0): none."""
    arc: int = 0
    """Of its database's ring, by the metadata."""
    proof: tuple[int, int] = (NO_TIME, 0)
    """How fresh it was when it was last looked at (``Replica.proof``)."""
    shown: tuple[int, int] = (0, 0)
    """(epoch, sequence) of the last op that was visible when it was last looked at (``Host.version``)."""

    @property
    def location(self) -> int:
        return self.disk.location

    @property
    def number(self) -> int:
        """Any thread may look."""
        return self.disk.record.replica

    def looked_at(self) -> bool:
        """Its work was taken, and what it has applied is visible. Whether it shows or leads something else than when it
        was looked at before."""
        before = self.shown, self.lead
        if self.replica.log_end[3] != self.shown[1]:
            self.shown = self.replica.applied
        self.lead = self.replica.lead or (0, 0)
        self.proof = self.replica.proof
        return before != (self.shown, self.lead)

    def committed(self, epoch: int) -> int | None:
        """Its high watermark, if when it was last looked at it led that epoch, and that was active: nobody else commits
        anything in it. Any thread may look."""
        return self.replica.high_watermark if self.lead[0] == epoch else None
