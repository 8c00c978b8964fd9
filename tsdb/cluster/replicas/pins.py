"""What keeps a leader's ops for others beyond what it would keep anyway: copies on their way, and who follows it.

A copy that is sent ends at a sequence of each log; what comes after has to be there until its receiver asks for it, and
then until it has caught up. Nor do ops go that a follower is about to get. Who is not heard of for ``PIN_TICKS`` holds
nothing up, and nobody holds more than a few times as much as is kept for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tsdb.cluster.replication.replica import Replica

PIN_TICKS = 600
PINNED_TIMES = 8
"""So many times as many bytes as are kept without pins."""
PINNED_BYTES = 16 << 20
"""Of a location, however little is kept without pins."""
NO_LIMIT = 1 << 62


class Pins:
    """Of a node's replicas; ticks are the host's."""

    def __init__(self) -> None:
        self._copies: dict[tuple[int, int], tuple[int, int]] = {}

    def hold(self, replica: int, sequences: Mapping[int, int]) -> None:
        """A copy for a replica's node has begun, which ends at these sequences by location."""
        for location, sequence in sequences.items():
            self._copies[location, replica] = sequence, NO_LIMIT

    def release(self, replica: int, locations: Iterable[int], tick: int) -> None:
        """It was sent, or given up; whoever has it will say so soon."""
        for location in locations:
            held = self._copies.get((location, replica))
            if held is not None:
                self._copies[location, replica] = held[0], tick + PIN_TICKS

    def limit(self, location: int, replica: Replica, tick: int) -> int:
        """Ops after this one are wanted by somebody."""
        self._copies = {key: held for key, held in self._copies.items() if held[1] > tick}
        limit = min((held[0] for key, held in self._copies.items() if key[0] == location), default=NO_LIMIT)
        for match, silent, is_behind in replica.followers.values():
            if not is_behind and match and silent < PIN_TICKS:
                limit = min(limit, match)
        return limit
