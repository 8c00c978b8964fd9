"""Epoch vectors: which epochs an op log's ops are of, and where each ends (replication design, 2.0).

A vector is kept for the whole log, also for the part whose ops are gone: it is as long as there were leaders. One epoch
has one leader, so two logs that both have ops of an epoch are equal up to where the shorter one's of that epoch end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import TypeAlias

Ends: TypeAlias = tuple[tuple[int, int], ...]
"""(epoch, op sequence of its last op), rising in both."""


class Vector:
    """The epochs of one log. Sequences count from 1, epoch 0 is before the first op."""

    __slots__ = ("_epochs", "_lasts")

    def __init__(self, ends: Iterable[tuple[int, int]] = ()) -> None:
        ends = tuple(ends)
        self._epochs = [epoch for epoch, _ in ends]
        self._lasts = [last for _, last in ends]

    @property
    def last(self) -> int:
        """The last op's sequence, 0 of an empty log."""
        return self._lasts[-1] if self._lasts else 0

    @property
    def last_epoch(self) -> int:
        return self._epochs[-1] if self._epochs else 0

    @property
    def rank(self) -> tuple[int, int]:
        """By which the best log is chosen (2.3): never by length alone."""
        return self.last_epoch, self.last

    def ends(self) -> Ends:
        return tuple(zip(self._epochs, self._lasts, strict=True))

    def epoch_at(self, sequence: int) -> int:
        """The epoch of an op of the log; 0 before the first and after the last."""
        at = bisect_left(self._lasts, sequence)
        return self._epochs[at] if sequence > 0 and at < len(self._lasts) else 0

    def extend(self, epoch: int, sequence: int) -> None:
        """One op more."""
        assert sequence == self.last + 1, f"a log is gapless: {sequence} after {self.last} (I4)"
        assert epoch >= self.last_epoch, f"epochs never decrease along a log: {epoch} after {self.last_epoch} (I4)"
        if epoch == self.last_epoch:
            self._lasts[-1] = sequence
        else:
            self._epochs.append(epoch)
            self._lasts.append(sequence)

    def cut(self, sequence: int) -> None:
        """The log ends at ``sequence``."""
        while self._lasts and (self._lasts[-2] if len(self._lasts) > 1 else 0) >= sequence:
            self._lasts.pop()
            self._epochs.pop()
        if self._lasts:
            self._lasts[-1] = min(self._lasts[-1], sequence)

    def through(self, sequence: int) -> Ends:
        """The vector of the log's beginning, up to ``sequence``."""
        beginning = Vector(self.ends())
        beginning.cut(sequence)
        return beginning.ends()


def shared(one: Ends, two: Ends) -> int:
    """The last sequence up to which two logs are certainly equal: the design's common(V1, V2).

    With x the largest epoch in both, the lower of its two ends. Exact by log matching, in one round trip (KIP-279 is
    what comes of comparing ends alone).
    """
    ends = dict(two)
    for epoch, last in reversed(one):
        if epoch in ends:
            return min(last, ends[epoch])
    return 0
