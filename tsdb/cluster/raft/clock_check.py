"""How far this node's clock is from the others', by the pairs of heartbeat and answer that pass anyway.

A pair gives offset = the peer's time + half the round trip − this node's time; the median over the voters says whose
clock is wrong, as long as most are right. Safety never depends on it: it says whether leases may be used, and keeps a
node with a wrong clock from leading, since others believe the instants that a leader writes down.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection

from tsdb.cluster.raft.state import ClockState


class ClockCheck:
    """The latest good sample of each peer. All times are nanoseconds."""

    def __init__(self, max_offset_ns: int, expires_ns: int) -> None:
        """``max_offset_ns``: how far apart clocks may be at all; a sample counts for ``expires_ns``."""
        assert max_offset_ns > 0
        self._max = max_offset_ns
        self._expires = expires_ns
        self._samples: dict[int, tuple[int, int]] = {}

    def sample(self, peer: int, sent_ns: int, peer_ns: int, received_ns: int) -> None:
        """A heartbeat left at ``sent_ns``, was answered with the peer's time, and the answer came at ``received_ns``.

        A round trip of more than half the bound says nothing: half of it may be all on one side.
        """
        round_trip = received_ns - sent_ns
        if 0 <= round_trip <= self._max // 2:
            self._samples[peer] = peer_ns + round_trip // 2 - received_ns, received_ns

    def offset_ns(self, node: int, voters: Collection[int], now_ns: int) -> int | None:
        """By how much the median of the voters' clocks is ahead of this node's; None if too few were heard lately."""
        offsets = [0] if node in voters else []
        for peer in voters:
            sample = self._samples.get(peer)
            if peer != node and sample is not None and abs(now_ns - sample[1]) <= self._expires:
                offsets.append(sample[0])
        if len(offsets) <= len(voters) // 2:
            return None
        return int(statistics.median(offsets))

    def state(self, node: int, voters: Collection[int], now_ns: int) -> ClockState:
        """Beyond half the bound there are no leases, beyond four fifths this node does not lead."""
        offset = self.offset_ns(node, voters, now_ns)
        if offset is None or self._max // 2 < abs(offset) <= self._max * 4 // 5:
            return ClockState.DOUBTFUL
        return ClockState.AGREES if abs(offset) <= self._max // 2 else ClockState.WRONG
