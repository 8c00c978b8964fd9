"""What a node's connections have done, counted for its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Totals since the start. ``round_trip_ns`` is by peer: of late pings, each counting an eighth."""

    bytes_sent: int = 0
    bytes_received: int = 0
    frames_sent: int = 0
    frames_received: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    dropped: int = 0
    """Raft messages that were not sent: no connection, no room, or lost with their connection."""
    connects: int = 0
    """Connections that were dialed and opened."""
    failures: int = 0
    """Dials that came to nothing, for whatever reason."""
    accepts: int = 0
    refusals: int = 0
    """Nodes that were refused here: another authority, cluster, uuid, version; or too many at once."""
    violations: int = 0
    silences: int = 0
    """Connections that ended because nothing was heard."""
    round_trip_ns: dict[int, float] = field(default_factory=dict)

    def round_trip(self, peer: int, duration_ns: int) -> None:
        before = self.round_trip_ns.get(peer, duration_ns)
        self.round_trip_ns[peer] = before + (duration_ns - before) / 8

    def gauges(self, others: Sequence[Counts] = ()) -> dict[str, float]:
        """By name, for Prometheus; totals with those of ``others``."""
        totals = {
            f"transport_{name}_total": float(sum(getattr(each, name) for each in (self, *others)))
            for name in self.__slots__
            if name != "round_trip_ns"
        }
        slowest = max(self.round_trip_ns.values(), default=0.0)
        return {**totals, "transport_round_trip_seconds_max": slowest / 1e9}
