"""How much work each database makes at this node, as means over minutes: what a rebalance goes by.

It is an estimate of CPU time from what was asked for, in round numbers of the profile in ARCHITECTURE.md: what is done
for several databases at once, or by threads of other libraries, could not be told apart by a clock. Each count fades by
halves in ``HALF_LIFE_S``, so a rate that stays is shown as it is after some minutes, and one that has ended fades (an
exponentially weighted mean, as Unix's load average).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from tsdb.model.store import ScanStatistics

HALF_LIFE_S = 300.0
ROW_US = 1.0
"""To log a row and apply it."""
SCAN_US = 200.0
"""A scan with what is made of it, however little that is."""
BLOCK_US = 30.0
"""To look at a block."""
HEAD_ROW_US = 0.01


def work_of(statistics: ScanStatistics) -> float:
    """Of a scan that has begun: by what it is going to look at."""
    left = statistics.blocks_pruned_time + statistics.blocks_pruned_tags + statistics.blocks_pruned_fields
    blocks = max(statistics.blocks_total - left - statistics.blocks_older, 0)
    return SCAN_US + blocks * BLOCK_US + statistics.rows_head * HEAD_ROW_US


class Load:
    """By database, by number. Any thread may count: when two do at once one may be lost."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._counted: dict[int, tuple[float, float]] = {}

    def count(self, database: int, work_us: float) -> None:
        now = self._now_s()
        counted, at = self._counted.get(database, (0.0, now))
        self._counted[database] = counted * 0.5 ** ((now - at) / HALF_LIFE_S) + work_us, now

    def means(self) -> dict[int, int]:
        """Microseconds a second; databases that make none are forgotten."""
        now = self._now_s()
        found: dict[int, int] = {}
        for database, (counted, at) in self._counted.copy().items():
            mean = round(counted * 0.5 ** ((now - at) / HALF_LIFE_S) * math.log(2) / HALF_LIFE_S)
            if mean:
                found[database] = mean
            else:
                self._counted.pop(database, None)
        return found
