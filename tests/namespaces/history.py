"""What clients were told and when, and whether that can be.

A point has a number, and was sent until somebody acknowledged it. Of every read is checked that it had what its level
promises, and nothing that nobody had sent; and of what is there at the end, that it is each acknowledged point, once,
and whatever a read has ever shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

LINEARIZABLE, SESSION, BOUNDED, ANY = "linearizable", "session", "bounded", "any"
STALENESS_S = 2.0
"""What bounded reads ask for."""


@dataclass(frozen=True, slots=True)
class Read:
    begun: float
    ended: float
    seen: frozenset[int]
    level: str = LINEARIZABLE
    before: frozenset[int] = frozenset()
    """What its session had written and read before it."""


@dataclass(slots=True)
class History:
    """Times are of this process' monotonic clock."""

    sent: dict[int, float] = field(default_factory=dict)
    acknowledged: dict[int, float] = field(default_factory=dict)
    shown: dict[int, float] = field(default_factory=dict)
    """By point: when a read first ended that had it. What is shown is committed, at every level."""
    reads: list[Read] = field(default_factory=list)
    refused: int = 0
    tries: int = 0
    failed_reads: int = 0
    faults: list[str] = field(default_factory=list)
    checked: int = 0
    """So many reads were checked before."""

    def longest_pause(self, begin: float, end: float) -> float:
        """The longest time within which nothing was acknowledged."""
        times = [begin, *sorted(at for at in self.acknowledged.copy().values() if begin <= at <= end), end]
        return max(later - earlier for earlier, later in pairwise(times))

    def check(self, wrong_clocks: Sequence[tuple[float, float]] = ()) -> None:
        """Of the reads that have come since it was asked last. What bounded reads lack is not judged while clocks are
        wrong: their bound is by the nodes' clocks."""
        reads = self.reads[self.checked :]
        self.checked += len(reads)
        for read in sorted(reads, key=lambda each: each.ended):
            self.shown |= dict.fromkeys(read.seen - self.shown.keys(), read.ended)
        known = self.known_since()
        for read in reads:
            missing = self._needed(read, known, wrong_clocks) - read.seen
            if missing:
                what = f"lacks {len(missing)} points that it must have: {sorted(missing)[:5]}"
                self.faults.append(f"a {read.level} read of {read.begun:.3f} {what}")
            invented = read.seen - self.sent.copy().keys()
            if invented:
                self.faults.append(f"a {read.level} read has points that nobody sent: {sorted(invented)[:5]}")
        assert not self.faults, self.faults[:10]

    def known_since(self) -> dict[int, float]:
        """By point: since when somebody has known that it is committed, by an acknowledgement or a read."""
        known = dict(self.shown)
        # Clients go on meanwhile; a copy is one step of the interpreter, a list of items is not.
        for number, at in self.acknowledged.copy().items():
            known[number] = min(at, known.get(number, at))
        return known

    def _needed(self, read: Read, known: dict[int, float], wrong_clocks: Sequence[tuple[float, float]]) -> set[int]:
        if read.level == LINEARIZABLE:
            return {number for number, at in known.items() if at < read.begun}
        if read.level == SESSION:
            return {*read.before}
        if read.level == BOUNDED and not any(begin < read.ended and read.begun < end for begin, end in wrong_clocks):
            return {number for number, at in known.items() if at < read.begun - STALENESS_S}
        return set()

    def check_end(self, values: list[int], who: str) -> None:
        """After ``check``."""
        found = {*values}
        assert len(values) == len(found), f"{who}: points are there twice"
        missing = self.acknowledged.keys() - found
        assert not missing, f"{who}: {len(missing)} of {len(self.acknowledged)} acknowledged points are missing"
        assert self.shown.keys() <= found, f"{who}: points are gone that a read has shown"
        assert found <= self.sent.keys(), f"{who}: points that nobody sent"
