"""What varies from run to run, drawn from the seed. Kinds of faults are off in many runs, limits are small."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tsdb.cluster.replication.settings import Settings

TICK = 10
"""Units of time between two ticks of a clock that goes right."""


@dataclass(frozen=True)
class Odds:
    """Odds are for each message, write or tick; times are in units."""

    factor: int
    nodes: int
    locations: int
    clients: int
    ticks: int
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
    assign: float
    move: float
    learn: float
    split: float
    merge: float
    wipe: float
    flush: float
    forget: float
    close: float
    read: float
    weak_acks: float
    burst: float
    settings: Settings

    @classmethod
    def drawn(cls, chance: random.Random, factor: int) -> Odds:
        def sometimes(value: float, share: float = 0.5) -> float:
            return value * chance.random() if chance.random() < share else 0.0

        settings = Settings(
            quorum_ticks=chance.choice((4, 8)),
            retry_ticks=chance.choice((1, 2, 3)),
            hold_ticks=chance.choice((2, 5)),
            snapshot_ticks=chance.choice((8, 20)),
            append_bytes_max=chance.choice((1, 300, 1_000)),
            window_ops=chance.choice((1, 3, 50)),
            uncommitted_ops_max=chance.choice((4, 20, 100)),
            batches_max=chance.choice((3, 1_000)),
        )
        return cls(
            factor=factor,
            nodes=factor + chance.choice((0, 1, 1, 2)),
            locations=chance.choice((1, 1, 2)),
            clients=chance.choice((1, 2, 3)),
            ticks=chance.choice((60, 90, 120)),
            drop=sometimes(0.2),
            double=sometimes(0.2),
            delay_max=chance.choice((2, 8, 25)),
            late=sometimes(0.1),
            late_max=chance.choice((100, 600)),
            crash=sometimes(0.03, 0.6),
            crash_in_write=sometimes(0.02, 0.4),
            cut=sometimes(0.15, 0.6),
            slow=sometimes(0.2, 0.4),
            slow_max=chance.choice((10, 60)),
            drift=chance.choice((0.0, 0.1, 0.5)),
            assign=sometimes(0.08, 0.6),
            move=sometimes(0.05, 0.4),
            learn=sometimes(0.05, 0.4),
            split=sometimes(0.03, 0.5),
            merge=sometimes(0.2, 0.5),
            wipe=sometimes(0.1, 0.5),
            flush=sometimes(0.2, 0.7),
            forget=sometimes(0.3, 0.6),
            close=sometimes(0.06, 0.4),
            read=sometimes(0.4, 0.7),
            weak_acks=sometimes(0.5, 0.6),
            burst=sometimes(0.3, 0.6),
            settings=settings,
        )
