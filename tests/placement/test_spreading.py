"""Slots for hot series: as many as it takes, and not up and down."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tsdb.cluster.metadata.rings import SLOT_BITS_MAX
from tsdb.cluster.placement.spreading import Heat, bits_for

HEAT = Heat(hot=1_000.0, cold=200.0)


def test_a_series_is_whole_until_it_is_hot_and_then_a_slot_has_half_of_what_is_hot() -> None:
    assert [bits_for(load, 0, HEAT) for load in (0, 999, 1_000, 1_001, 4_000, 4_001)] == [0, 0, 0, 2, 3, 4]


def test_slots_are_given_back_when_they_are_cold() -> None:
    assert bits_for(8 * 200, 3, HEAT) == 3
    assert bits_for(8 * 199, 3, HEAT) == 2
    assert bits_for(0, 3, HEAT) == 0


@given(st.floats(0, 1e12), st.integers(0, SLOT_BITS_MAX))
def test_what_was_decided_is_not_decided_otherwise_at_once(load: float, bits: int) -> None:
    chosen = bits_for(load, bits, HEAT)
    assert 0 <= chosen <= SLOT_BITS_MAX
    assert bits_for(load, chosen, HEAT) == chosen
    # Nor after a change of load by less than half.
    if chosen != bits and 0 < chosen < SLOT_BITS_MAX:
        for factor in (0.85, 1.0, 1.15, 1.9):
            assert bits_for(load * factor, chosen, HEAT) == chosen


@given(st.integers(0, 10**9))
def test_a_load_that_varies_by_a_third_changes_the_slots_once(seed: int) -> None:
    chance = random.Random(seed)
    mean, bits, changes = chance.uniform(1, 50_000), 0, 0
    for _ in range(50):
        now = bits_for(mean * chance.uniform(0.67, 1.33), bits, HEAT)
        changes += now != bits
        bits = now
    assert changes <= 2
