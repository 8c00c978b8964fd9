"""What varies from run to run, drawn from the seed: sizes, limits, delays, odds of faults.

Each kind of fault is off in many runs (a swarm), since all at once hide from each other what each would show. Limits
are small, so that corners come often.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tsdb.cluster.raft.entries import NO_LIMIT
from tsdb.cluster.raft.settings import Settings

TICK = 10
"""Units of time between two ticks of a clock that goes right."""


@dataclass(frozen=True)
class Odds:
    """Odds are for each message, write or tick; times are in units."""

    voters: int
    learners: int
    spares: int
    clients: int
    registers: int
    ticks: int
    """How long faults go on."""
    drop: float
    double: float
    delay_max: int
    late: float
    late_max: int
    crash: float
    crash_in_write: float
    cut: float
    slow: float
    slow_max: int
    drift: float
    change: float
    transfer: float
    wipe: bool
    truncate: float
    burst: float
    """Of a few proposals at once that nobody waits for: where they end on a leader that is cut off, logs differ."""
    keep_bytes: int
    piece_bytes: int
    """Of a snapshot."""
    cut_stream: float
    """Of the connection over which a piece goes."""
    forget_ticks: int
    """A snapshot that nothing more comes of."""
    settings: dict[str, object]

    @classmethod
    def drawn(cls, chance: random.Random) -> Odds:
        def sometimes(value: float, share: float = 0.5) -> float:
            return value * chance.random() if chance.random() < share else 0.0

        lease = chance.random() < 0.2
        check_quorum = lease or chance.random() < 0.8
        # A lease is used for half of what was promised, so that clocks may go at half and double speed.
        drift = chance.choice((0.0, 0.1, 0.3)) if lease else chance.choice((0.0, 0.1, 0.5))
        settings: dict[str, object] = {
            "election_ticks": chance.choice((3, 4, 6)),
            # Without it a fast clock with a short log keeps all others from campaigning, for ever.
            "pre_vote": drift > 0.1 or chance.random() < 0.7,
            "check_quorum": check_quorum,
            "lease_reads": lease,
            "forward_by_reference": chance.random() < 0.7,
            "asynchronous": chance.random() < 0.4,
            "append_bytes_max": chance.choice((1, 40, 200, NO_LIMIT)),
            "applying_bytes_max": chance.choice((1, 100, NO_LIMIT)),
            "uncommitted_bytes_max": chance.choice((60, 1000, NO_LIMIT)),
            "pending_bytes_max": chance.choice((10, 60, 1000)),
            "inflight_max": chance.choice((1, 2, 8)),
        }
        return cls(
            voters=chance.choice((1, 2, 3, 3, 3, 4, 5)),
            learners=chance.choice((0, 0, 0, 1)),
            spares=chance.choice((0, 0, 1, 2)),
            clients=chance.choice((1, 2, 3)),
            registers=chance.choice((1, 2)),
            ticks=chance.choice((100, 150, 200)),
            drop=sometimes(0.2),
            double=sometimes(0.2),
            delay_max=chance.choice((2, 8, 25)),
            late=sometimes(0.1),
            late_max=chance.choice((100, 800)),
            crash=sometimes(0.03, 0.6),
            crash_in_write=sometimes(0.02, 0.4),
            cut=sometimes(0.15, 0.7),
            slow=sometimes(0.2, 0.4),
            slow_max=chance.choice((10, 60)),
            drift=drift,
            change=sometimes(0.04, 0.5),
            transfer=sometimes(0.02, 0.4),
            wipe=chance.random() < 0.2,
            truncate=sometimes(0.2, 0.6),
            burst=sometimes(0.2, 0.6),
            keep_bytes=chance.choice((0, 100)),
            piece_bytes=chance.choice((5, 30, 1000)),
            cut_stream=sometimes(0.3),
            forget_ticks=chance.choice((5, 100)),
            settings=settings,
        )

    def settings_of(self, node: int) -> Settings:
        return Settings(node=node, **self.settings)  # type: ignore[arg-type]
