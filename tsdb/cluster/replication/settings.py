"""How a replica behaves: its limits. Times are in ticks."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The defaults suit ticks of 100 ms; tests choose small limits, so that corners come often.

    ``quorum_ticks``: a leader whom no majority answers for that time takes no write. ``retry_ticks``: what was not
    answered is said again. ``hold_ticks``: how long a planned move holds writes at most. ``snapshot_ticks``: a snapshot
    of which nothing was heard for that time is lost. ``window_ops`` bounds what one follower has not acknowledged,
    ``uncommitted_ops_max`` and ``uncommitted_bytes_max`` the ops that are not committed, ``batches_max`` a client's
    batches above the one that it acknowledged, ``waiting_max`` the writes and the reads that wait for their answers.
    """

    heartbeat_ticks: int = 1
    quorum_ticks: int = 20
    retry_ticks: int = 3
    hold_ticks: int = 5
    snapshot_ticks: int = 600
    append_bytes_max: int = MIB
    window_ops: int = 1_024
    uncommitted_ops_max: int = 65_536
    uncommitted_bytes_max: int = 256 * MIB
    batches_max: int = 1_000
    waiting_max: int = 100_000

    def __post_init__(self) -> None:
        assert min(getattr(self, name) for name in self.__slots__) > 0, "limits are positive"
        assert self.heartbeat_ticks < self.quorum_ticks, "heartbeats come more often than they are missed"
