"""What any placement keeps: properties over random clusters."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tests.placement.layouts import GIB, drawn, location_of, nodes_of, ring_of, uneven
from tsdb.cluster.placement.filling import CELLS_MAX, Filling
from tsdb.cluster.placement.layout import Layout, NodeState
from tsdb.cluster.placement.limits import Bounds
from tsdb.cluster.placement.plan import dry_run
from tsdb.cluster.placement.solver import Placement, Why, solve
from tsdb.errors import ProgramLimitExceeded

SEEDS = range(100)
BOUNDS = Bounds()


def placed(layout: Layout, placement: Placement) -> Layout:
    """As if all had been done."""
    locations = [
        replace(each, voters=replicas or each.voters, leader=leader or each.leader, learners=(), caught_up=frozenset())
        for each, replicas, leader in zip(layout.locations, placement.replicas, placement.leaders, strict=True)
    ]
    return Layout(layout.nodes, tuple(locations))


@pytest.mark.parametrize("seed", SEEDS)
def test_replicas_are_on_different_nodes_that_may_have_them_and_as_many_as_can_be(seed: int) -> None:
    layout = drawn(random.Random(seed))
    placement = solve(layout)
    assert placement == solve(layout)
    by_node = {each.node: each for each in layout.nodes}
    keeping = [each for each in layout.nodes if not each.draining and each.silence_s <= BOUNDS.lost_after_s]
    for at, replicas, leader in zip(layout.locations, placement.replicas, placement.leaders, strict=True):
        assert list(replicas) == sorted(set(replicas))
        assert leader in replicas if replicas else leader == 0
        for node in replicas:
            assert by_node[node] in keeping
            assert by_node[node].silence_s <= BOUNDS.silence_s_max or node in (*at.voters, *at.learners)
        if all(each.silence_s <= BOUNDS.silence_s_max for each in keeping):
            assert len(replicas) == min(at.factor, len(keeping))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_zone_and_no_machine_has_more_of_a_location_than_it_must(seed: int) -> None:
    layout = drawn(random.Random(seed))
    layout = Layout(tuple(replace(each, silence_s=0.0) for each in layout.nodes), layout.locations)
    keeping = [each for each in layout.nodes if not each.draining]
    by_node = {each.node: each for each in layout.nodes}
    for at, replicas in zip(layout.locations, solve(layout).replicas, strict=True):
        for key, members in (("zone", keeping), ("machine", keeping)):
            sizes = Counter(domain(each, key) for each in members)
            most = max(Counter(domain(by_node[node], key) for node in replicas).values(), default=0)
            if key == "zone" or len({each.zone for each in keeping}) == 1:
                assert most == next(m for m in range(9) if sum(min(m, n) for n in sizes.values()) >= len(replicas))
        assert len(replicas) <= at.factor


def domain(node: NodeState, key: str) -> object:
    if key == "zone":
        return node.zone
    return node.zone, node.machine or node.node


@pytest.mark.parametrize("seed", SEEDS)
def test_each_node_has_at_most_its_share_and_the_bound(seed: int) -> None:
    layout = drawn(random.Random(seed))
    layout = Layout(tuple(replace(each, silence_s=0.0) for each in layout.nodes), layout.locations)
    after = placed(layout, solve(layout, begun=True))
    filling = Filling(after, BOUNDS)
    if not layout.locations or not filling.nodes:
        return
    largest = filling.weights.max(axis=1, keepdims=True)
    assert (filling.excess <= BOUNDS.aim * filling.shares + (1 + BOUNDS.reluctance) * largest + 1e-9).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_placed_stays(seed: int) -> None:
    layout = drawn(random.Random(seed))
    for begun in (False, True):
        layout = placed(layout, solve(layout, begun=begun))
        again = solve(layout, begun=begun)
        assert again.replicas == solve(placed(layout, again), begun=begun).replicas
        for at, replicas in zip(layout.locations, again.replicas, strict=True):
            assert set(replicas) == set(at.voters) or not set(replicas) >= set(at.voters) or len(replicas) < at.factor


@pytest.mark.parametrize("seed", range(10))
def test_loads_that_vary_by_less_than_the_bounds_move_nothing(seed: int) -> None:
    chance = random.Random(seed)
    loads = [chance.uniform(50, 500) for _ in range(96)]
    layout = ring_of(nodes_of(5, zones=chance.choice((1, 5))), 3, uneven(seed, 96), loads)
    for _ in range(3):
        layout = placed(layout, solve(layout, begun=True))
    for _ in range(30):
        now = tuple(replace(each, load=each.load * chance.uniform(0.9, 1.1)) for each in layout.locations)
        placement = solve(Layout(layout.nodes, now))
        assert placement.is_even
        assert placement.replicas == tuple(each.voters for each in layout.locations)
        assert placement.leaders == tuple(each.leader for each in layout.locations)


@pytest.mark.parametrize("seed", range(10))
def test_load_that_comes_and_goes_does_not_move_replicas_for_ever(seed: int) -> None:
    """A load that is on one half of the locations now and on the other then finds its balance for both."""
    layout = ring_of(nodes_of(4), 2, uneven(seed, 64), [100.0] * 64)
    moved = []
    for turn in range(12):
        high = [100.0 * (4 if (each.location + turn) % 2 else 1) for each in layout.locations]
        loaded = tuple(replace(each, load=load) for each, load in zip(layout.locations, high, strict=True))
        layout = Layout(layout.nodes, loaded)
        plan = dry_run(layout)
        moved.append(plan.moved_bytes)
        layout = plan.after
    assert sum(moved[6:]) == 0


def test_a_hot_location_and_a_large_one_do_not_stay_together() -> None:
    sizes = [8 * GIB, 8 * GIB, GIB, GIB, GIB, GIB, GIB, GIB]
    loads = [10.0, 10.0, 800.0, 800.0, 10.0, 10.0, 10.0, 10.0]
    locations = tuple(
        location_of(n, 1, (1 if n in (1, 2, 3, 4) else 2,), size, load)
        for n, (size, load) in enumerate(zip(sizes, loads, strict=True), 1)
    )
    after = placed(layout := Layout(nodes_of(2), locations), solve(layout)).locations
    assert after[0].voters != after[1].voters
    assert after[2].voters != after[3].voters


def test_bytes_are_even_although_all_load_is_of_one_location() -> None:
    locations = tuple(location_of(n, 1, (1,), GIB, load=5.0 * (n == 3)) for n in range(1, 7))
    placement = solve(Layout(nodes_of(3), locations))
    assert Counter(node for nodes in placement.replicas for node in nodes) == {1: 2, 2: 2, 3: 2}
    assert placement.replicas[2] == (1,), "to move it would be worth nothing"
    assert {*placement.why.values()} == {Why.BYTES}


def test_larger_nodes_get_more() -> None:
    nodes = (NodeState(1, capacity_bytes=100), NodeState(2, capacity_bytes=100), NodeState(3, capacity_bytes=200))
    layout = ring_of(nodes, 1, (GIB,) * 40)
    found = Counter(replicas[0] for replicas in solve(layout, begun=True).replicas)
    assert found == {1: 10, 2: 10, 3: 20}


def test_leaders_are_even_although_replicas_cannot_be() -> None:
    """Two nodes share one half of the locations, two the other: all leaders were in one place."""
    locations = tuple(location_of(n, 2, (1, 2) if n % 2 else (3, 4)) for n in range(1, 41))
    placement = solve(Layout(nodes_of(4), locations))
    assert Counter(placement.leaders) == {1: 10, 2: 10, 3: 10, 4: 10}
    assert placement.replicas == tuple(each.voters for each in locations)


def test_leading_goes_by_way_of_others_where_there_is_no_straight_way() -> None:
    """Node 1 leads all that it has; node 3 leads nothing and shares nothing with it."""
    one = [location_of(n, 2, (1, 2)) for n in range(1, 21)]
    two = [location_of(n, 2, (2, 3)) for n in range(21, 41)]
    chosen = solve(Layout(nodes_of(3), (*one, *two)), Bounds(trigger=9.0)).leaders
    assert Counter(chosen) == {1: 20, 2: 20}
    found = Counter(solve(Layout(nodes_of(3), (*one, *two)), replace(BOUNDS, aim=0.0)).leaders)
    assert found[3] > 10
    assert found[1] < 20


def test_why_something_moves_is_said() -> None:
    nodes = nodes_of(6)
    three = tuple(location_of(n, 3, (1, 2, 3)) for n in range(1, 3))
    lost = Layout((replace(nodes[0], silence_s=1e6), *nodes[1:4]), three)
    assert set(solve(lost).why.values()) == {Why.LOST}
    drain = Layout((replace(nodes[0], draining=True), *nodes[1:4]), three)
    assert set(solve(drain).why.values()) == {Why.DRAIN}
    factor = Layout(nodes[:3], tuple(location_of(n, 3, (1,)) for n in range(1, 3)))
    assert set(solve(factor).why.values()) == {Why.FACTOR}
    near = Layout(
        tuple(replace(each, zone="a" if each.node < 3 else "b") for each in nodes[:3]), (location_of(1, 2, (1, 2)),)
    )
    assert solve(near).why == {(1, 3): Why.SPREAD}


def test_a_silent_node_keeps_what_it_has_and_gets_nothing() -> None:
    layout = ring_of(nodes_of(3), 2, extra=(NodeState(4, silence_s=60.0),))
    silent = Layout((replace(layout.nodes[0], silence_s=60.0), *layout.nodes[1:]), layout.locations)
    placement = solve(silent)
    assert all(4 not in replicas for replicas in placement.replicas)
    assert [1 in replicas for replicas in placement.replicas] == [1 in at.voters for at in layout.locations]


def test_what_is_too_large_to_be_decided_is_refused() -> None:
    count = CELLS_MAX // 4_000 + 1
    locations = (location_of(1, 1, (1,)),) * count
    with pytest.raises(ProgramLimitExceeded):
        Filling(Layout(nodes_of(4_000), locations), BOUNDS)


def test_shares_follow_zones_before_capacities() -> None:
    """Of three zones one is a single node: with three replicas it has one of each location, however small it is."""
    nodes = (NodeState(1, "a", capacity_bytes=1), *(NodeState(n, "bc"[n % 2], capacity_bytes=9) for n in range(2, 6)))
    filling = Filling(Layout(nodes, (location_of(1, 3, (1, 2, 3)),)), BOUNDS)
    shares = filling.shares[0] / filling.shares[0].sum() * 3
    assert np.allclose(shares, [1.0, 0.5, 0.5, 0.5, 0.5])
