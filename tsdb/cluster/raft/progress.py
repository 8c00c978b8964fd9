"""What a leader knows of each member's log, and how it sends to it.

=============  ===============================================================================================
state          sending
=============  ===============================================================================================
``PROBE``      one message with entries at a time, until an answer shows where the logs match
``REPLICATE``  optimistically, as many messages as the inflight window holds
``SNAPSHOT``   nothing: it gets a snapshot, since the log does not reach back to what it needs
=============  ===============================================================================================

``match`` is the highest index known to be durable there and equal; ``next`` the one to send next. ``paused`` stops
sending until an answer (or a heartbeat's) comes.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from tsdb.cluster.raft.entries import NO_LIMIT


class ProgressState(Enum):
    PROBE = "StateProbe"
    REPLICATE = "StateReplicate"
    SNAPSHOT = "StateSnapshot"


class Inflights:
    """The window of unanswered messages: (last index, bytes) of each, bounded in number and bytes."""

    def __init__(self, count_max: int, bytes_max: int = NO_LIMIT) -> None:
        self.count_max = count_max
        self.bytes_max = bytes_max
        self._sent: deque[tuple[int, int]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def full(self) -> bool:
        return len(self._sent) >= self.count_max or self._bytes >= self.bytes_max

    def add(self, last_index: int, size: int) -> None:
        assert not self.full, "a message beyond the inflight window"
        self._sent.append((last_index, size))
        self._bytes += size

    def free_through(self, index: int) -> None:
        """Every message up to ``index`` is answered: answers are cumulative."""
        while self._sent and self._sent[0][0] <= index:
            self._bytes -= self._sent.popleft()[1]

    def clear(self) -> None:
        self._sent.clear()
        self._bytes = 0


class Progress:
    """One member as its leader sees it."""

    __slots__ = (
        "bodies_through",
        "inflights",
        "learner",
        "match",
        "next",
        "paused",
        "pending_snapshot",
        "promised",
        "recent_active",
        "sent_commit",
        "state",
    )

    def __init__(
        self, next_index: int, inflights: Inflights, *, match: int = 0, learner: bool = False, active: bool = False
    ) -> None:
        self.match = match
        self.next = next_index
        self.sent_commit = 0
        self.state = ProgressState.PROBE
        self.pending_snapshot = 0
        self.recent_active = active
        self.paused = False
        self.inflights = inflights
        self.learner = learner
        # Entries up to here are sent with their bodies although the member had them once.
        self.bodies_through = 0
        # The leader's tick in the last heartbeat that was answered.
        self.promised = -1

    def _reset(self, state: ProgressState) -> None:
        self.paused = False
        self.pending_snapshot = 0
        self.state = state
        self.inflights.clear()

    def become_probe(self) -> None:
        # After a snapshot that was sent and installed, what it covers need not be probed.
        pending = self.pending_snapshot if self.state is ProgressState.SNAPSHOT else 0
        self._reset(ProgressState.PROBE)
        self.next = max(self.match, pending) + 1
        self.sent_commit = min(self.sent_commit, self.next - 1)

    def become_replicate(self) -> None:
        self._reset(ProgressState.REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: int) -> None:
        self._reset(ProgressState.SNAPSHOT)
        self.pending_snapshot = index
        self.next = index + 1
        self.sent_commit = index

    @property
    def is_paused(self) -> bool:
        return self.state is ProgressState.SNAPSHOT or self.paused

    def sent(self, entries: int, size: int, commit: int) -> None:
        """A message with so many entries and bytes of bodies left."""
        if self.state is ProgressState.REPLICATE:
            if entries:
                self.next += entries
                self.inflights.add(self.next - 1, size)
            self.paused = self.inflights.full
        else:
            assert self.state is ProgressState.PROBE, "entries sent while a snapshot is on its way"
            if entries:
                self.paused = True
        self.sent_commit = commit

    def can_raise_commit(self, commit: int) -> bool:
        """Whether a message with this commit index would tell the member anything that none on its way does."""
        return commit > self.sent_commit and self.sent_commit < self.next - 1

    def update(self, index: int) -> bool:
        """The member has matched through ``index``; False if that is old news."""
        if index <= self.match:
            return False
        self.match = index
        self.next = max(self.next, index + 1)
        self.paused = False
        return True

    def decrease(self, rejected: int, hint: int) -> bool:
        """The member has no match at ``rejected`` and perhaps one at ``hint``; False if the rejection is stale."""
        if self.state is ProgressState.REPLICATE:
            if rejected <= self.match:
                return False
            self.next = self.match + 1
            self.sent_commit = min(self.sent_commit, self.next - 1)
            return True
        if self.next - 1 != rejected:
            return False
        self.next = max(min(rejected, hint + 1), self.match + 1)
        self.sent_commit = min(self.sent_commit, self.next - 1)
        self.paused = False
        return True

    def __str__(self) -> str:
        text = f"{self.state.value} match={self.match} next={self.next}"
        if self.learner:
            text += " learner"
        if self.is_paused:
            text += " paused"
        if self.pending_snapshot:
            text += f" pendingSnap={self.pending_snapshot}"
        if not self.recent_active:
            text += " inactive"
        if len(self.inflights):
            text += f" inflight={len(self.inflights)}" + ("[full]" if self.inflights.full else "")
        return text
