"""Words for acknowledgements, and which of two asks for more."""

from __future__ import annotations

import pytest

from tsdb.model.acks import ALL, QUORUM, Fate, acks_of, are_acks, fell_short, replicas_needed, strongest, text_of, worst


@pytest.mark.parametrize("acks", [QUORUM, ALL, 0, 1, 2, 99])
def test_what_is_said_is_read(acks: int) -> None:
    assert acks_of(text_of(acks)) == acks
    assert are_acks(acks)
    assert not are_acks(100)
    assert not are_acks(ALL - 1)


def test_the_strongest_holds_for_all() -> None:
    for replicas in range(1, 8):
        for one in (QUORUM, ALL, *range(9)):
            for other in (QUORUM, ALL, *range(9)):
                needed = replicas_needed(strongest([one, other], replicas), replicas)
                assert needed == max(replicas_needed(one, replicas), replicas_needed(other, replicas)) <= replicas
    assert strongest([], 3) == QUORUM


def test_a_majority_falls_short_of_more() -> None:
    assert [fell_short(acks, QUORUM, 5) for acks in (QUORUM, 0, 1, 3, 4, 5, ALL)] == [False] * 4 + [True] * 3
    assert not fell_short(ALL, ALL, 5)
    # Of one disk, and of two, a majority is all of them.
    assert not fell_short(ALL, QUORUM, 1)
    assert not fell_short(7, QUORUM, 2)


def test_a_whole_is_as_its_worst_part() -> None:
    assert worst([Fate.COMMITTED, Fate.COMMITTED]) is Fate.COMMITTED
    assert worst([Fate.COMMITTED, Fate.UNKNOWN]) is Fate.UNKNOWN
    assert worst([Fate.UNKNOWN, Fate.REVERTED, Fate.COMMITTED]) is Fate.REVERTED
