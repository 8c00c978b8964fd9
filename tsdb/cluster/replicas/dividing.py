"""Where an arc is split, and which two become one: by what was written to its locations. Pure.

Half of it lies on each side of a split, as far as whole locations allow. In the long run hashing writes as much to each
location, and the median is the middle; what there was in some hours need not be even.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from tsdb.cluster.metadata.records import ARCS_MAX, Ring
from tsdb.errors import InvalidParameterValue, ObjectNotInPrerequisiteState, ProgramLimitExceeded


@dataclass(frozen=True, slots=True)
class Division:
    """``arc``: the first one that is touched, from 0 on; ``begins``: of the ring's arcs but the first, afterwards.
    ``shares``: of the two arcs that become of one, or one of, the part of what was written to the database; None:
    nothing is known to have been written. ``locations``: how many they have."""

    arc: int
    begins: tuple[int, ...]
    shares: tuple[float, float] | None
    locations: tuple[int, int]


def split(ring: Ring, written: Mapping[int, int], arc: int | None = None) -> Division:
    """``arc`` None: the one to which most was written, of those that have two locations. Raises ProgramLimitExceeded,
    InvalidParameterValue, ObjectNotInPrerequisiteState."""
    if ring.arcs >= ARCS_MAX:
        raise ProgramLimitExceeded(f"the ring has {ring.arcs} arcs, and no more are made")
    arcs = _arcs(ring, written)
    if arc is None:
        divisible = [each for each in range(ring.arcs) if len(arcs[each]) > 1]
        if not divisible:
            raise ObjectNotInPrerequisiteState(f"all arcs of the ring are single locations{_NOT_CUT}", hint=_SLOTS)
        arc = max(divisible, key=lambda each: (_sum(arcs[each]), len(arcs[each]), -each))
    _check(ring, arc)
    locations = arcs[arc]
    if len(locations) < 2:
        raise ObjectNotInPrerequisiteState(f"arc {arc + 1} is a single location{_NOT_CUT}", hint=_SLOTS)
    # Where nothing is known each location counts as one.
    rows = [rows for _, rows in locations] if _sum(locations) else [1] * len(locations)
    whole, middle = sum(rows), len(rows) / 2
    before = [*accumulate(rows)]
    at = min(range(1, len(rows)), key=lambda each: (abs(2 * before[each - 1] - whole), abs(each - middle)))
    begins = tuple(sorted((*ring.begins, locations[at][0])))
    return Division(arc, begins, _shares(arcs, locations[:at], locations[at:]), (at, len(rows) - at))


def merge(ring: Ring, written: Mapping[int, int], arc: int | None = None) -> Division:
    """An arc and the next one; ``arc`` None: the two to which least was written. Raises InvalidParameterValue,
    ObjectNotInPrerequisiteState."""
    if ring.arcs == 1:
        raise ObjectNotInPrerequisiteState("the ring has one arc")
    arcs = _arcs(ring, written)
    if arc is None:
        pairs = [(_sum(a) + _sum(b), len(a) + len(b)) for a, b in pairwise(arcs)]
        arc = pairs.index(min(pairs))
    _check(ring, arc)
    if arc + 1 == ring.arcs:
        raise InvalidParameterValue(f"arc {arc + 1} is the last one, and no arc comes after it")
    first, second = arcs[arc : arc + 2]
    begins = tuple(each for each in ring.begins if each != second[0][0])
    return Division(arc, begins, _shares(arcs, first, second), (len(first), len(second)))


_NOT_CUT = ", which is not cut"
_SLOTS = "One table of which much is written at a time gets slots: ALTER TABLE … SET (slots = 16)."
_Locations = Sequence[tuple[int, int]]
"""(first place, rows written) of each."""


def _arcs(ring: Ring, written: Mapping[int, int]) -> list[list[tuple[int, int]]]:
    found: list[list[tuple[int, int]]] = [[] for _ in range(ring.arcs)]
    for each in ring.maps[-1].intervals:
        found[ring.arc_of(each)].append((each.low, written.get(each.location, 0)))
    return found


def _check(ring: Ring, arc: int) -> None:
    if not 0 <= arc < ring.arcs:
        raise InvalidParameterValue(f"there is no arc {arc + 1}: the ring has {ring.arcs}")


def _sum(locations: _Locations) -> int:
    return sum(rows for _, rows in locations)


def _shares(arcs: Sequence[_Locations], first: _Locations, second: _Locations) -> tuple[float, float] | None:
    whole = sum(map(_sum, arcs))
    return (_sum(first) / whole, _sum(second) / whole) if whole else None
