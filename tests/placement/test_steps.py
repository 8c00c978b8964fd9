"""The way from a layout to its placement: safe at each step, and the same from wherever it is taken up again."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.placement.layouts import GIB, Cluster, drawn, held, location_of, nodes_of, ring_of, uneven
from tsdb.cluster.metadata.commands import Assign, Assignment, SetLearners
from tsdb.cluster.metadata.records import Intent
from tsdb.cluster.placement.layout import Layout, LocationState, NodeState
from tsdb.cluster.placement.limits import Bounds, Limits
from tsdb.cluster.placement.plan import dry_run
from tsdb.cluster.placement.schedule import next_steps, up_of
from tsdb.cluster.placement.solver import solve
from tsdb.cluster.placement.steps import Kind, action_of, next_step

BOUNDS = Bounds()
ROUNDS_MAX = 3_000


def interrupted(layout: Layout, chance: random.Random, *, begun: bool) -> Cluster:
    """A cluster in which whoever decides crashes all the time: each round decides anew, by what is there, takes some of
    the steps, in any order, and then some of what is under way arrives."""
    cluster = Cluster(layout, frozenset(each.node for each in layout.nodes) - up_of(layout.nodes, BOUNDS))
    limits = Limits(chance.choice((1, 2, 8)), chance.choice((3, 100)), chance.choice((1, 100)))
    for _ in range(ROUNDS_MAX):
        now = cluster.now()
        steps = next_steps(now, solve(now, BOUNDS, begun=begun), BOUNDS, limits)
        under_way = [*cluster.inactive(), *cluster.in_transfer()]
        if not steps and not under_way:
            return cluster
        chance.shuffle(steps)
        for step in steps[: chance.randint(0 if under_way else 1, len(steps))]:
            cluster.take(step)
        cluster.activate(each for each in cluster.inactive() if chance.random() < 0.7)
        for each in cluster.in_transfer():
            if chance.random() < 0.4:
                cluster.catch_up(each)
    raise AssertionError("it never ends")


@pytest.mark.parametrize("seed", range(30))
def test_any_cluster_comes_to_rest_by_safe_steps_however_often_it_is_interrupted(seed: int) -> None:
    chance = random.Random(seed)
    layout = drawn(chance)
    after = interrupted(layout, chance, begun=chance.random() < 0.5).now()
    by_node = {each.node: each for each in layout.nodes}
    up = up_of(layout.nodes, BOUNDS)
    keeping = [each for each in layout.nodes if not each.draining and each.silence_s <= BOUNDS.lost_after_s]
    for before, at in zip(layout.locations, after.locations, strict=True):
        if before.leader not in up or len(keeping) < at.factor or any(each.node not in up for each in keeping):
            continue
        if 2 * len(up & {*before.voters}) <= len(before.voters):
            continue
        assert len(at.voters) == at.factor
        assert not at.learners
        assert not at.left
        assert not any(by_node[node].draining for node in at.voters)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_a_ring_that_grows_moves_no_more_for_being_interrupted(factor: int, seed: int) -> None:
    layout = dry_run(ring_of(nodes_of(3), factor, uneven(seed, 48)), begun=True).after
    grown = Layout(nodes_of(4), layout.locations)
    whole = dry_run(grown)
    cluster = interrupted(grown, random.Random(seed), begun=True)
    after = cluster.now()
    assert cluster.sent_bytes <= 1.1 * whole.moved_bytes
    found = held(after)
    assert max(found.values()) <= (1 + BOUNDS.aim) * sum(found.values()) / 4 + 1
    assert {each.node for each in grown.nodes} == set(found)


@pytest.mark.parametrize("seed", range(2))
def test_factors_go_up_and_down_one_voter_at_a_time(seed: int) -> None:
    chance = random.Random(seed)
    layout = ring_of(nodes_of(5), 1, uneven(seed, 16))
    for factor in (3, 2, 5, 1):
        wanted = tuple(replace(each, factor=factor) for each in layout.locations)
        cluster = interrupted(Layout(layout.nodes, wanted), chance, begun=False)
        layout = cluster.now()
        assert all(len(each.voters) == factor for each in layout.locations)
        assert all(cluster.data[each.location] == set(each.voters) for each in layout.locations)


@pytest.mark.parametrize("seed", range(4))
def test_a_lost_node_is_replaced_and_its_replicas_are_made_first(seed: int) -> None:
    four = dry_run(ring_of(nodes_of(4), 3, uneven(seed, 32)), begun=True).after
    led_by_others = tuple(
        replace(each, leader=next(node for node in each.voters if node != 4)) for each in four.locations
    )
    nodes = (*nodes_of(3), NodeState(4, silence_s=1e6), NodeState(5))
    layout = Layout(nodes, led_by_others)
    first = next_steps(layout, solve(layout), limits=Limits(transfers_max=4))
    lacking = {each.location for each in layout.locations if 4 in each.voters}
    assert {step.location for step in first if step.kind is Kind.ADD} <= lacking
    after = interrupted(layout, random.Random(seed), begun=False).now()
    assert all(4 not in each.voters and len(each.voters) == 3 for each in after.locations)


def settled(**changes: object) -> LocationState:
    return replace(location_of(1, 3, (1, 2, 3)), **changes)  # type: ignore[arg-type]


EVERYBODY = frozenset(range(1, 9))


def kind_of(at: LocationState, wanted: tuple[int, ...], leader: int, up: frozenset[int] = EVERYBODY) -> Kind | None:
    step = next_step(at, wanted, leader, up)
    return step.kind if step is not None else None


def test_each_state_of_a_location_has_its_step() -> None:
    assert kind_of(settled(), (1, 2, 3), 1) is None
    assert kind_of(settled(), (1, 2, 4), 1) is Kind.ADD
    assert kind_of(settled(learners=(4,)), (1, 2, 4), 1) is None
    caught_up = settled(learners=(4,), caught_up=frozenset((4,)))
    step = next_step(caught_up, (1, 2, 4), 1, EVERYBODY)
    assert step is not None
    assert (step.kind, step.voters, step.learners, step.leader, step.epoch, step.instead) == (
        Kind.CHANGE, (1, 2, 4), (), 1, 2, 3,
    )  # fmt: skip
    assert kind_of(settled(epoch=2), (1, 2, 4), 1) is None
    assert kind_of(settled(left=(5,)), (1, 2, 3), 1) is Kind.DROP
    assert kind_of(settled(learners=(5,)), (1, 2, 3), 1) is Kind.CANCEL
    assert kind_of(settled(), (1, 2, 3), 2) is Kind.LEAD


def test_a_leader_that_goes_hands_over_first_and_a_single_one_with_its_epoch() -> None:
    step = next_step(settled(), (2, 3, 4), 4, EVERYBODY)
    assert step is not None
    assert (step.kind, step.leader) == (Kind.LEAD, 2)
    alone = replace(location_of(1, 1, (1,)), learners=(4,), caught_up=frozenset((4,)))
    step = next_step(alone, (4,), 4, EVERYBODY)
    assert step is not None
    assert (step.kind, step.leader, step.voters) == (Kind.CHANGE, 4, (4,))


def test_nothing_is_done_to_a_location_that_is_being_split_or_has_no_leader() -> None:
    for intent in (Intent.SPLIT, Intent.MERGE):
        assert kind_of(settled(intent=intent), (1, 2, 4), 1) is None
    assert kind_of(settled(intent=Intent.MOVE), (1, 2, 4), 1) is Kind.ADD
    assert kind_of(settled(), (2, 3, 4), 4, EVERYBODY - {1}) is None


def test_no_epoch_is_begun_without_a_majority_of_both() -> None:
    at = settled(learners=(4,), caught_up=frozenset((4,)))
    assert kind_of(at, (1, 2, 4), 1, EVERYBODY - {2, 3}) is None
    assert kind_of(at, (1, 2, 4), 1, EVERYBODY - {3}) is Kind.CHANGE
    assert kind_of(at, (1, 2, 4), 1, EVERYBODY - {2}) is Kind.CHANGE
    # The learner itself is gone.
    assert kind_of(at, (1, 2, 4), 1, EVERYBODY - {4}) is None


def test_a_silent_node_is_waited_for() -> None:
    assert kind_of(settled(), (1, 2, 4), 1, EVERYBODY - {4}) is None
    assert kind_of(settled(), (1, 2, 3), 2, EVERYBODY - {2}) is None


def test_what_has_begun_goes_on() -> None:
    """A learner is on a node that is the fuller one by now: its transfer is not for nothing."""
    rest = tuple(location_of(n, 1, (4,), GIB) for n in range(2, 8))
    at = settled(learners=(4,), size_bytes=GIB)
    layout = Layout(nodes_of(4), (at, *rest))
    placement = solve(layout)
    assert 4 in placement.replicas[0]
    assert all(step.kind is not Kind.CANCEL for step in next_steps(layout, placement))


def test_with_nowhere_to_go_a_replica_stays() -> None:
    nodes = (*nodes_of(2), NodeState(3, draining=True))
    layout = Layout(nodes, (settled(),))
    plan = dry_run(layout)
    assert plan.after.locations[0].voters == (1, 2, 3)
    assert plan.waiting == (1,)


def test_steps_are_commands_of_the_metadata() -> None:
    layout = Layout(nodes_of(4), (settled(), replace(settled(), location=2, learners=(4,), caught_up=frozenset((4,)))))
    steps = [next_step(at, (1, 2, 4), 1, EVERYBODY) for at in layout.locations]
    assert action_of([step for step in steps if step is not None]) == [
        Assign((Assignment(2, 2, 1, (1, 2, 4), ()),)),
        SetLearners(1, 1, (4,)),
    ]
    drop = next_step(settled(left=(5,)), (1, 2, 3), 1, EVERYBODY)
    assert drop is not None
    assert action_of([drop]) == []


def test_a_transfer_that_waits_for_room_is_not_forgotten() -> None:
    three = dry_run(ring_of(nodes_of(3), 1, (GIB,) * 12), begun=True).after
    plan = dry_run(
        Layout(nodes_of(4), three.locations), limits=Limits(transfers_a_node_max=1, transfers_max=1), begun=True
    )
    assert plan.waiting == ()
    assert sum(timed.step.kind is Kind.ADD for timed in plan.steps) == 3
