"""A ring of three servers grows to four, with replication factors 1, 2 and 3; and other clusters that grow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.placement.layouts import GIB, Cluster, counts, held, led, nodes_of, ring_of, uneven
from tests.placement.optimum import least_bytes, least_replicas
from tsdb.cluster.placement.layout import Layout
from tsdb.cluster.placement.limits import Bounds, Limits
from tsdb.cluster.placement.plan import Plan, dry_run
from tsdb.cluster.placement.solver import Why
from tsdb.cluster.placement.steps import EPOCHS, Kind

TEN_PER_CENT = 1.1


def carried_out(plan: Plan) -> Cluster:
    """The plan's steps on a cluster that checks each."""
    cluster = Cluster(plan.before)
    for timed in plan.steps:
        if timed.step.kind in (Kind.CHANGE, Kind.LEAD):
            cluster.catch_up(timed.step.location)
        cluster.take(timed.step)
        if timed.step.kind in EPOCHS:
            cluster.activate([timed.step.location])
    return cluster


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_three_servers_become_four_and_each_owns_a_fourth(factor: int) -> None:
    three = nodes_of(3)
    layout = dry_run(ring_of(three, factor), begun=True).after
    grown = Layout(nodes_of(4), layout.locations)
    plan = dry_run(grown)
    after = carried_out(plan).now()
    assert [(a.voters, a.leader) for a in after.locations] == [(a.voters, a.leader) for a in plan.after.locations]
    assert plan.waiting == ()
    assert all(len(set(each.voters)) == factor for each in after.locations)
    assert all(each.leader in each.voters and not each.learners and not each.left for each in after.locations)
    found = counts(after)
    # As near as a whole location, or the part of a share that bounds allow.
    assert all(abs(each - 8 * factor) <= Bounds().aim * 8 * factor for each in found.values())
    assert max(led(after).values()) - min(led(after).values()) <= 1
    least = least_replicas(grown, min(found.values()), max(found.values()))
    assert least <= least_replicas(grown, 8 * factor, 8 * factor) == 8 * factor
    assert plan.moved_bytes <= TEN_PER_CENT * least * GIB
    assert {each.taker for each in plan.moves if each.why is Why.BYTES} == {4}


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_a_ring_as_the_metadata_begin_it_is_made_even_with_the_least_movement(factor: int) -> None:
    """Hashing gives nodes more or less of it, and the fourth has nothing."""
    layout = ring_of(nodes_of(3), factor, extra=nodes_of(4)[3:])
    plan = dry_run(layout, begun=True)
    found = counts(carried_out(plan).now())
    assert all(abs(each - 8 * factor) <= max(0.5, Bounds().aim * 8 * factor) for each in found.values())
    least = least_replicas(layout, min(found.values()), max(found.values()))
    assert plan.moved_bytes <= TEN_PER_CENT * least * GIB


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_locations_of_many_sizes_move_little_more_than_they_must(factor: int, seed: int) -> None:
    """To be as even as the plan leaves it, at least what nodes lack then must come to them, and what they have too
    much must go."""
    layout = dry_run(ring_of(nodes_of(3), factor, uneven(seed, 64)), begun=True).after
    grown = Layout(nodes_of(4), layout.locations)
    plan = dry_run(grown)
    before, after = held(grown), held(carried_out(plan).now())
    share = sum(before.values()) / 4
    off = max(abs(each - share) for each in after.values())
    assert off <= Bounds().aim * share + 1e-6
    least = max(
        sum(max(0.0, share - off - each) for each in before.values()),
        sum(max(0.0, each - share - off) for each in before.values()),
    )
    assert plan.moved_bytes <= TEN_PER_CENT * least


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("factor", "count"), [(1, 7), (2, 7), (1, 12)])
def test_of_few_locations_no_placement_that_is_as_even_moves_much_less(factor: int, count: int, seed: int) -> None:
    """Of so few a location is a tenth of all: which of them moves matters."""
    layout = ring_of(nodes_of(3), factor, uneven(seed, count, 2 * GIB, 4 * GIB), extra=nodes_of(4)[3:])
    plan = dry_run(layout, begun=True)
    after = held(carried_out(plan).now())
    share = sum(after.values()) / 4
    least = least_bytes(layout, max(abs(each - share) for each in after.values()))
    assert plan.moved_bytes <= TEN_PER_CENT * least


def test_zones_get_one_replica_each_when_they_grow() -> None:
    layout = ring_of(nodes_of(3, zones=3), 3, uneven(1, 64), extra=nodes_of(6, zones=3)[3:])
    plan = dry_run(layout)
    after = carried_out(plan).now()
    assert all({node % 3 for node in each.voters} == {0, 1, 2} for each in after.locations)
    found = held(after)
    assert max(found.values()) <= 1.05 * sum(found.values()) / 6
    # Half of each zone's data goes to its second node, and nothing to another zone.
    assert plan.moved_bytes <= TEN_PER_CENT * sum(found.values()) / 2


def test_a_node_that_leaves_again_takes_its_share_away() -> None:
    four = dry_run(ring_of(nodes_of(4), 3, uneven(2, 64)), begun=True).after
    nodes = (*four.nodes[:3], replace(four.nodes[3], draining=True))
    plan = dry_run(Layout(nodes, four.locations))
    after = held(carried_out(plan).now())
    assert after[4] == 0
    assert plan.moved_bytes <= TEN_PER_CENT * held(four)[4]
    assert {each.why for each in plan.moves if each.taker and each.why is not Why.LEADERS} == {Why.DRAIN}


def test_no_node_sends_or_receives_more_at_once_than_it_may() -> None:
    layout = ring_of(nodes_of(3), 2, uneven(3, 64), extra=nodes_of(9)[3:])
    limits = Limits(transfers_a_node_max=2, transfers_max=5, bytes_per_second=100 << 20)
    plan = dry_run(layout, limits=limits)
    running: dict[tuple[int, int], tuple[float, int]] = {}
    for timed in plan.steps:
        step, size = timed.step, {each.location: each.size_bytes for each in layout.locations}
        running = {key: each for key, each in running.items() if each[0] > timed.at_s + 1e-9}
        if step.kind is Kind.ADD:
            ends = timed.at_s + size[step.location] / limits.transfer_rate
            running[step.location, step.node] = ends, step.leader
            assert len(running) <= 5
            assert sum(leader == step.leader for _, leader in running.values()) <= 2
            assert sum(node == step.node for _, node in running) <= 2
    assert plan.seconds * 5 * limits.transfer_rate >= plan.moved_bytes
