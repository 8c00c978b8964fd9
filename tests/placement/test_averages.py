"""Means of loads: slow enough for peaks, fast enough for what stays."""

from __future__ import annotations

import random

import pytest

from tests.placement.layouts import location_of, nodes_of, ring_of, uneven
from tsdb.cluster.placement.averages import Averages
from tsdb.cluster.placement.layout import Layout
from tsdb.cluster.placement.plan import dry_run
from tsdb.cluster.placement.solver import solve


def test_a_mean_is_half_way_after_its_half_life_whatever_the_steps() -> None:
    at_once, step_by_step = Averages(100.0), Averages(100.0)
    layout = Layout(nodes_of(1), (location_of(1, 1, (1,)),))
    for each in (at_once, step_by_step):
        each.hear({1: 10.0}, 0.0)
    at_once.hear({1: 20.0}, 100.0)
    for second in range(1, 101):
        step_by_step.hear({1: 20.0}, float(second))
    assert at_once.keep(layout).locations[0].load == pytest.approx(15.0)
    assert step_by_step.keep(layout).locations[0].load == pytest.approx(15.0)


def test_what_was_never_heard_is_as_it_is_and_what_is_gone_is_forgotten() -> None:
    averages = Averages()
    averages.hear({1: 5.0, 2: 6.0}, 0.0)
    layout = Layout(nodes_of(1), (location_of(1, 1, (1,), load=9.0), location_of(3, 1, (1,), load=9.0)))
    assert [each.load for each in averages.keep(layout).locations] == [5.0, 9.0]
    again = Layout(nodes_of(1), (location_of(2, 1, (1,), load=9.0),))
    assert [each.load for each in averages.keep(again).locations] == [9.0]


@pytest.mark.parametrize("seed", range(5))
def test_peaks_of_a_minute_move_nothing_and_a_load_that_stays_does(seed: int) -> None:
    chance = random.Random(seed)
    usual = {n: chance.uniform(80, 120) for n in range(1, 97)}
    layout = dry_run(ring_of(nodes_of(4), 2, uneven(seed, 96), list(usual.values())), begun=True).after
    averages = Averages()
    averages.hear(usual, 0.0)
    now = 0.0
    for _ in range(20):
        hot = set(chance.sample(sorted(usual), 8))
        for _ in range(12):
            now += 5.0
            averages.hear({n: load * (4 if n in hot else 1) for n, load in usual.items()}, now)
        assert solve(averages.keep(layout)).is_even
    hot = {each.location for each in layout.locations if 1 in each.voters}
    for _ in range(200):
        now += 5.0
        averages.hear({n: load * (4 if n in hot else 1) for n, load in usual.items()}, now)
    assert not solve(averages.keep(layout)).is_even
