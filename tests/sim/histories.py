"""Is a history of one register linearizable? Every value is written once, so it can be told without search.

A value's *cluster* is its write and the reads that saw it. With f the earliest end and s the latest begin in it, the
cluster needs the register at all times between f and s: from f to s if f < s (a forward zone, in which no other value
may be needed), else at some one moment between s and f (a backward zone). A history is linearizable exactly if no read
ends before its write begins, no two forward zones overlap, and no backward zone lies inside a forward one (Gibbons and
Korach, "Testing Shared Memories", 1997). ``search`` says the same by trying all orders, for short histories.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

NOTHING = 0
"""What a register holds that was never written."""


@dataclass(frozen=True)
class Operation:
    """A write of a value, or a read that saw it. A write that nobody answered may take effect at any later time."""

    write: bool
    value: int
    begin: float
    end: float = math.inf


def fault(history: Sequence[Operation]) -> str | None:
    """Why the history is not linearizable; None if it is."""
    clusters: dict[int, list[Operation]] = {NOTHING: [Operation(True, NOTHING, -math.inf, -math.inf)]}
    for operation in history:
        if operation.write:
            assert operation.value not in clusters, "a value is written once"
            clusters[operation.value] = [operation]
    for operation in history:
        if not operation.write:
            if operation.value not in clusters:
                return f"{operation} saw what was never written"
            if operation.end < clusters[operation.value][0].begin:
                return f"{operation} ended before its write began"
            clusters[operation.value].append(operation)
    forward: list[tuple[float, float, int]] = []
    backward: list[tuple[float, float, int]] = []
    for value, operations in clusters.items():
        if len(operations) == 1 and operations[0].end == math.inf:
            continue  # never answered and never seen: perhaps it never was
        first_end = min(operation.end for operation in operations)
        last_begin = max(operation.begin for operation in operations)
        if first_end < last_begin:
            forward.append((first_end, last_begin, value))
        else:
            backward.append((last_begin, first_end, value))
    forward.sort()
    for (_, end, value), (begin, _, later) in pairwise(forward):
        if begin < end:
            return f"{value} and {later} are both needed at {begin}"
    for low, high, value in backward:
        for begin, end, other in forward:
            if begin < low and high < end:
                return f"{value} between {low} and {high} hides {other}, which is read later"
    return None


def search(history: Sequence[Operation]) -> bool:
    """Whether some order of the operations explains them all."""

    def goes_on(left: frozenset[int], value: int) -> bool:
        if all(history[at].end == math.inf and history[at].write for at in left):
            return True
        horizon = min(history[at].end for at in left)
        for at in left:
            operation = history[at]
            if operation.begin > horizon or not (operation.write or operation.value == value):
                continue
            if goes_on(left - {at}, operation.value):
                return True
        return False

    return goes_on(frozenset(range(len(history))), NOTHING)
