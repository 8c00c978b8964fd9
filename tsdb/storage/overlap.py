"""Where parts of one series may hold versions of one key: rectangles of (tag sets × times) that overlap.

Only rows in such places have to be sorted and merged; all others of a scan pass as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tsdb.kernels import kernel

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# Beyond this many parts in one window the pairs are not looked at one by one: all of the window is merged.
PARTS_MAX = 500
# How many others of its time a rectangle is compared with on average, at most: where there are more, the rest counts
# as not alone.
COMPARED_MAX = 1024


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Bounds, all inclusive."""

    min_time: int
    max_time: int
    min_tagset: int
    max_tagset: int


@dataclass(frozen=True, slots=True)
class Overlaps:
    """``group`` of each part: parts that hang together by overlaps have one number, −1 for a part alone.

    ``stretches`` of each part: the time intervals [low, high], apart and ascending, in which it overlaps others.
    """

    group: list[int]
    stretches: list[list[tuple[int, int]]]


def overlaps(parts: Sequence[Rectangle]) -> Overlaps:
    """How parts overlap each other."""
    count = len(parts)
    if _apart(parts):
        return Overlaps([-1] * count, [[] for _ in parts])
    if count > PARTS_MAX:
        return Overlaps([0] * count, [[(part.min_time, part.max_time)] for part in parts])
    bounds = np.array([(p.min_time, p.max_time, p.min_tagset, p.max_tagset) for p in parts], np.int64).reshape(-1, 4)
    first, second = _pairs(bounds)
    group = [-1] * count
    stretches: list[list[tuple[int, int]]] = [[] for _ in parts]
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        low, high = max(parts[i].min_time, parts[j].min_time), min(parts[i].max_time, parts[j].max_time)
        stretches[i].append((low, high))
        stretches[j].append((low, high))
        _join(group, i, j)
    return Overlaps([_root(group, i) if group[i] >= 0 else -1 for i in range(count)], [_union(s) for s in stretches])


def _apart(parts: Sequence[Rectangle]) -> bool:
    """Has no tag set rows in two parts, to judge from their bounds? So it is in most windows."""
    bounds = sorted((part.min_tagset, part.max_tagset) for part in parts)
    return all(one[1] < next_one[0] for one, next_one in pairwise(bounds))


def _pairs(bounds: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    min_time, max_time, min_tagset, max_tagset = bounds.T
    meet = (min_time[:, None] <= max_time) & (min_time <= max_time[:, None])
    meet &= (min_tagset[:, None] <= max_tagset) & (min_tagset <= max_tagset[:, None])
    first, second = np.nonzero(np.triu(meet, 1))
    return first, second


def _root(group: list[int], i: int) -> int:
    while group[i] != i:
        group[i] = group[group[i]]
        i = group[i]
    return i


def _join(group: list[int], i: int, j: int) -> None:
    for part in (i, j):
        if group[part] < 0:
            group[part] = part
    group[_root(group, j)] = _root(group, i)


def _union(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for low, high in sorted(intervals):
        if out and low <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return out


def alone(min_time: Int64s, max_time: Int64s, min_tagset: Int64s, max_tagset: Int64s) -> Mask:
    """Which rectangles overlap no other one. One that does not may be missing, where many lie at one time."""
    found = np.ones(len(min_time), np.bool_)
    order = np.argsort(min_time, kind="stable")
    _part(order, min_time, max_time, min_tagset, max_tagset, COMPARED_MAX * len(order), found)
    return found


@kernel
def _part(
    order: npt.NDArray[np.intp], min_time: Int64s, max_time: Int64s, min_tagset: Int64s, max_tagset: Int64s, most: int,
    found: Mask,
) -> None:  # fmt: skip
    """Go through rectangles by the time they begin, with those at hand that have not ended."""
    at_hand = np.empty(len(order), np.int64)
    count = compared = 0
    for i in order:
        if compared > most:
            # What is at hand may overlap this one and others that come.
            found[i] = False
            for k in range(count):
                found[at_hand[k]] = False
            count = 0
            continue
        kept = 0
        for k in range(count):
            j = at_hand[k]
            if max_time[j] >= min_time[i]:
                at_hand[kept] = j
                kept += 1
                if min_tagset[j] <= max_tagset[i] and min_tagset[i] <= max_tagset[j]:
                    found[i] = False
                    found[j] = False
        compared += count
        at_hand[kept] = i
        count = kept + 1


def overlapping(
    others: Sequence[Rectangle], min_time: Int64s, max_time: Int64s, min_tagset: Int64s, max_tagset: Int64s
) -> Mask:
    """Which of many rectangles overlap one of a few ``others``."""
    found = np.zeros(len(min_time), np.bool_)
    for other in others:
        meets = (min_time <= other.max_time) & (max_time >= other.min_time)
        found |= meets & (min_tagset <= other.max_tagset) & (max_tagset >= other.min_tagset)
    return found
