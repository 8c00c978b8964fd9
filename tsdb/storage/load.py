"""How much work each database makes at this node, as means over minutes: what a rebalance goes by; and how many rows
were written of late to each location, by which an arc is split.

It is an estimate of CPU time from what was asked for, in round numbers of the profile in ARCHITECTURE.md: what is done
for several databases at once, or by threads of other libraries, could not be told apart by a clock. Each count fades by
halves, in ``HALF_LIFE_S`` that of work: so a rate that stays is shown as it is after some minutes, and one that has
ended fades (an exponentially weighted mean, as Unix's load average).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from tsdb.model.store import ScanStatistics

HALF_LIFE_S = 300.0
WRITTEN_HALF_LIFE_S = 6 * 3600.0
"""Within minutes a few series write to a few locations, and to others in the next ones."""
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
    """By number, of a database or of a location. Any thread may count: when two do at once one may be lost."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic, half_life_s: float = HALF_LIFE_S) -> None:
        self._now_s = now_s
        self._half_life_s = half_life_s
        self._counted: dict[int, tuple[float, float]] = {}

    def count(self, number: int, amount: float) -> None:
        now = self._now_s()
        counted, at = self._counted.get(number, (0.0, now))
        self._counted[number] = counted * 0.5 ** ((now - at) / self._half_life_s) + amount, now

    def forget(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._counted.pop(number, None)

    def means(self) -> dict[int, int]:
        """What was counted in a second; of what comes to none nothing is kept."""
        return self._left(math.log(2) / self._half_life_s)

    def counts(self) -> dict[int, int]:
        """What is left of what was counted."""
        return self._left(1.0)

    def _left(self, by: float) -> dict[int, int]:
        now = self._now_s()
        found: dict[int, int] = {}
        for number, (counted, at) in self._counted.copy().items():
            left = round(counted * 0.5 ** ((now - at) / self._half_life_s) * by)
            if left:
                found[number] = left
            else:
                self._counted.pop(number, None)
        return found
