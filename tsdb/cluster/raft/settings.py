"""How a node behaves: its limits and which parts of the protocol it uses. Times are in ticks."""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.cluster.raft.entries import NO_LIMIT, NOBODY

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The defaults are what a metadata group runs with; tests choose small limits, so that corners come often.

    ``election_ticks``: a follower that hears nothing campaigns after this many ticks and up to as many again.
    ``check_quorum``: a leader that a majority does not answer for that time steps down, and who hears a leader
    votes for nobody else. ``lease_reads``: a leader answers reads from its lease while ``Node.clock`` says that clocks
    agree. A leader that is no
    voter any more hands over within an election's time; with ``step_down_on_removal`` it stops at once, and if nobody
    else knows yet that its removal is committed, its vote is needed by who may not have the log to get it.
    ``pending_bytes_max`` bounds the bodies that a follower keeps of proposals that it forwarded.
    ``asynchronous``: storage and state machine answer by messages of their own (``Store``, ``Apply``) and a second
    batch may be on its way while the first is written; else ``advance`` says that a ``Ready`` is carried out.
    """

    node: int
    election_ticks: int = 10
    heartbeat_ticks: int = 1
    pre_vote: bool = True
    check_quorum: bool = True
    lease_reads: bool = False
    forward_by_reference: bool = True
    step_down_on_removal: bool = False
    validate_changes: bool = True
    asynchronous: bool = False
    append_bytes_max: int = MIB
    applying_bytes_max: int = 4 * MIB
    uncommitted_bytes_max: int = 64 * MIB
    pending_bytes_max: int = 16 * MIB
    inflight_max: int = 256
    inflight_bytes_max: int = NO_LIMIT

    def __post_init__(self) -> None:
        assert self.node > NOBODY, "a node id is positive"
        assert 0 < self.heartbeat_ticks < self.election_ticks, "heartbeats come more often than elections"
        assert min(self.inflight_max, self.inflight_bytes_max, self.applying_bytes_max) > 0, "limits are positive"
        assert self.check_quorum or not self.lease_reads, "a lease is what check-quorum gives"
