"""Linearizable reads without a log entry (thesis, 6.4): the leader notes its commit index, then makes sure by a round
of heartbeats that a majority still follows it. A later round answers all earlier requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tsdb.cluster.raft.messages import ReadIndex


@dataclass(frozen=True, slots=True)
class ReadState:
    """A read that ``context`` names may be answered once the entry at ``index`` is applied."""

    index: int
    context: bytes


@dataclass(slots=True)
class PendingRead:
    request: ReadIndex
    index: int
    acks: dict[int, bool] = field(default_factory=dict)


class PendingReads:
    """Requests that wait for their round, in order."""

    def __init__(self) -> None:
        self._reads: dict[bytes, PendingRead] = {}

    def __len__(self) -> int:
        return len(self._reads)

    def add(self, request: ReadIndex, index: int) -> bool:
        """False if a request of this context waits already."""
        if request.context in self._reads:
            return False
        self._reads[request.context] = PendingRead(request, index)
        return True

    def acknowledge(self, node: int, context: bytes) -> dict[int, bool]:
        """Who has answered the round of this context by now."""
        read = self._reads.get(context)
        if read is None:
            return {}
        read.acks[node] = True
        return read.acks

    def advance(self, context: bytes) -> list[PendingRead]:
        """The requests that this round answers: its own and all before it."""
        answered: list[PendingRead] = []
        if context in self._reads:
            for name in list(self._reads):
                answered.append(self._reads.pop(name))
                if name == context:
                    break
        return answered

    def last_context(self) -> bytes:
        """Of the latest request; every heartbeat carries it, in case the round's own were lost."""
        return next(reversed(self._reads), b"")
