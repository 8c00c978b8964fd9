"""Who comes, who votes and who goes: by the records, by who is lost, and by what leaders know of their followers."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping

import pytest

from tests.metadata.test_rules import Cluster
from tests.replicas.test_failover import cluster_of, records
from tsdb.cluster.metadata.commands import (
    Activate,
    Assign,
    Assignment,
    ChangeMember,
    SetGoals,
    SetLearners,
    SetReplication,
)
from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.replicas.moving import Follower, changes, handed_over, heirs_by_goal, next_epoch, next_steps
from tsdb.cluster.replicas.records import replica_on
from tsdb.cluster.replicas.requests import actions_of
from tsdb.cluster.replication import record as core

GOOD, BEHIND, SLOW = Follower(True), Follower(False, True), Follower(False)


def nobody(node: int) -> bool:
    return False


def done(cluster: Cluster, lost: Collection[int] = ()) -> int:
    """Carry out what the leader of the metadata decides; how many commands."""
    found = next_steps(cluster.machine.state, lambda node: node in lost)
    for action in found:
        assert cluster.do(action) == ()
    return len(found)


Known = Mapping[int, Follower]


def led(cluster: Cluster, known: Known, *, but: Mapping[int, Known] | None = None) -> int:
    """What the leaders of locations decide that know all others so; how many locations get an epoch."""
    count = 0
    for leader in {each.leader for each in records(cluster)}:
        followers = {
            each.location: {n: f for n, f in {**known, **(but or {}).get(each.location, {})}.items() if n != leader}
            for each in records(cluster)
            if each.leader == leader
        }
        for action in changes(cluster.machine.state, leader, followers):
            cluster.do(action)
            count += len(action.assignments) if isinstance(action, Assign) else 0
    return count


def activate(cluster: Cluster) -> None:
    cluster.do(Activate(tuple((each.location, each.epoch) for each in records(cluster))))


def voters(cluster: Cluster) -> set[tuple[int, ...]]:
    return {each.voters for each in records(cluster)}


def spare_of(cluster: Cluster, count: int) -> int:
    return next(node for node in range(1, count + 1) if node not in records(cluster)[0].voters)


def test_a_database_that_has_its_nodes_is_left_alone() -> None:
    cluster = cluster_of(4, 3)
    assert done(cluster) == 0
    assert led(cluster, dict.fromkeys(range(1, 5), GOOD)) == 0


def test_a_drained_node_is_replaced_step_by_step_and_never_missed() -> None:
    cluster = cluster_of(4, 3)
    spare, gone = spare_of(cluster, 4), next(n for n in records(cluster)[0].voters if n != records(cluster)[0].leader)
    cluster.do(ChangeMember(gone, draining=True))
    before = records(cluster)[0].voters
    # The one that only this node has is to be shared first.
    alone = [each for each in cluster.machine.state.all(LocationRecord) if each.database == 1]
    assert done(cluster) == 32 + any(each.leader == gone for each in alone)
    assert {each.learners for each in records(cluster)} == {(spare,)}
    assert done(cluster) == 0
    all_good = dict.fromkeys(range(1, 5), GOOD)
    # A learner that has not caught up is waited for, and so is one that has not in all locations, of those others.
    assert led(cluster, {**all_good, spare: SLOW}) == 0
    first = records(cluster)[0].location
    assert led(cluster, all_good, but={first: {spare: SLOW}}) == 31
    activate(cluster)
    assert led(cluster, all_good) == 1
    activate(cluster)
    assert voters(cluster) == {tuple(sorted((*before, spare)))}
    assert led(cluster, all_good) == 32
    assert voters(cluster) == {tuple(sorted({*before, spare} - {gone}))}
    # It has its points until the next epoch is active.
    assert replica_on(records(cluster)[0], gone) != gone << 40
    activate(cluster)
    assert gone not in dict(records(cluster)[0].replicas)
    assert (done(cluster), led(cluster, all_good)) == (0, 0)


def test_who_is_lost_is_replaced_and_who_comes_back_in_time_is_not() -> None:
    cluster = cluster_of(4, 3)
    lost = records(cluster)[0].voters[-1]
    assert done(cluster, lost={lost}) == 32
    assert done(cluster) == 32
    assert {each.learners for each in records(cluster)} == {()}
    # Nobody else is there: nothing is done.
    cluster = cluster_of(3, 3)
    assert done(cluster, lost={1}) == 0


def test_nobody_goes_without_whom_no_majority_would_be_good() -> None:
    cluster = cluster_of(3, 3)
    assert cluster.do(SetReplication(2, 2)) == ()
    leader = records(cluster)[0].leader
    one, other = (node for node in (1, 2, 3) if node != leader)
    assert led(cluster, {one: SLOW, other: SLOW}) == 0
    # Of those that may go it is the one that is not good.
    assert led(cluster, {one: SLOW, other: GOOD}) == 32
    assert voters(cluster) == {tuple(sorted((leader, other)))}


def test_a_voter_that_cannot_catch_up_leaves_all_locations_and_comes_again_as_another() -> None:
    cluster = cluster_of(3, 3)
    leader = records(cluster)[0].leader
    bad, good = (node for node in (1, 2, 3) if node != leader)
    first = records(cluster)[0].location
    number = replica_on(records(cluster)[0], bad)
    known = dict.fromkeys((1, 2, 3), GOOD)
    assert led(cluster, known, but={first: {bad: BEHIND}}) == 1
    activate(cluster)
    # In the others it is a stray now.
    assert led(cluster, known) == 31
    activate(cluster)
    assert voters(cluster) == {tuple(sorted((leader, good)))}
    assert done(cluster) == 32
    assert {each.learners for each in records(cluster)} == {(bad,)}
    assert replica_on(records(cluster)[0], bad) != number
    assert led(cluster, known) == 32
    activate(cluster)
    assert voters(cluster) == {(1, 2, 3)}


def test_a_stray_leader_hands_over_first() -> None:
    cluster = cluster_of(3, 3)
    leader = records(cluster)[0].leader
    others = [node for node in (1, 2, 3) if node != leader]
    first = records(cluster)[0].location
    at = records(cluster)[0]
    for action in actions_of(
        cluster.machine.state, [core.Behind(first, 1, replica_on(at, leader), replica_on(at, others[0]))]
    ):
        cluster.do(action)
    activate(cluster)
    assert cluster.location(first).leader == others[0]
    known = dict.fromkeys((1, 2, 3), GOOD)
    assert led(cluster, known, but={first: {leader: BEHIND}}) == 1
    activate(cluster)
    assert led(cluster, known) == 31
    assert leader not in {each.leader for each in records(cluster)}
    activate(cluster)
    assert led(cluster, known) == 31
    assert voters(cluster) == {tuple(sorted(others))}


@pytest.mark.parametrize("nodes", [2, 3])
def test_one_node_has_all_of_it_when_one_replica_is_left_whoever_led_what(nodes: int) -> None:
    """Each leader decides by the same state, before it hears of what others decide."""
    cluster = cluster_of(nodes, nodes)
    for each, leader in zip(records(cluster), itertools.cycle(range(1, nodes + 1))):
        if each.leader != leader:
            cluster.do(Assign((next_epoch(each, leader),)))
    activate(cluster)
    assert len({each.leader for each in records(cluster)}) == nodes
    cluster.do(SetReplication(2, 1))
    for _ in range(4):
        assert done(cluster) == 0
        decided = []
        for leader in range(1, nodes + 1):
            followers = {
                each.location: {node: GOOD for node in each.voters if node != leader}
                for each in records(cluster)
                if each.leader == leader
            }
            decided += changes(cluster.machine.state, leader, followers)
        for action in decided:
            cluster.do(action)
        activate(cluster)
        assert any(all(node in each.voters for each in records(cluster)) for node in range(1, nodes + 1))
    assert len(voters(cluster)) == 1
    assert {len(each.voters) for each in records(cluster)} == {1}


def test_a_node_of_its_goal_that_has_left_some_locations_leaves_all_before_it_comes_again() -> None:
    """Points of a database go from a node together: it would wait for a copy that it cannot take."""
    cluster = cluster_of(3, 3)
    leader = records(cluster)[0].leader
    gone = next(node for node in (1, 2, 3) if node != leader)
    staying = tuple(node for node in (1, 2, 3) if node != gone)
    for each in records(cluster)[:16]:
        cluster.do(Assign((Assignment(each.location, each.epoch + 1, leader, staying, ()),)))
    activate(cluster)
    cluster.do(SetGoals(((2, (leader, *(node for node in (1, 2, 3) if node != leader))),)))
    assert done(cluster) == 0
    assert led(cluster, dict.fromkeys((1, 2, 3), GOOD)) == 16
    activate(cluster)
    assert voters(cluster) == {staying}
    assert done(cluster) == 32
    assert {each.learners for each in records(cluster)} == {(gone,)}


def test_who_has_not_come_to_all_locations_gets_no_vote_in_any() -> None:
    cluster = cluster_of(4, 3)
    spare, lost = spare_of(cluster, 4), records(cluster)[0].voters[-1]
    assert done(cluster, lost={lost}) == 32
    last = records(cluster)[-1].location
    good = dict.fromkeys(range(1, 5), GOOD)
    assert led(cluster, good, but={last: {spare: Follower(False, has_come=False)}}) == 0
    # It is there, and only slow now and then.
    assert led(cluster, good, but={last: {spare: SLOW}}) == 31


def test_one_that_is_to_have_it_alone_comes_to_all_locations_one_after_the_other() -> None:
    """A copy comes in pieces: it is not taken out of what it has before it has the rest, and then leads all."""
    cluster = cluster_of(2, 2)
    cluster.do(SetReplication(2, 1))
    assert led(cluster, {1: GOOD, 2: GOOD}) == 32
    activate(cluster)
    ((leader,),) = voters(cluster)
    comes = 3 - leader
    cluster.do(SetGoals(((2, (comes,)),)))
    assert done(cluster) == 32
    first, second, *rest = (each.location for each in records(cluster))
    assert led(cluster, {comes: SLOW}, but={first: {comes: GOOD}, second: {comes: GOOD}}) == 2
    activate(cluster)
    known = {each: {comes: SLOW} for each in rest}
    for _ in range(2):
        assert done(cluster) == 0
        assert led(cluster, {comes: GOOD}, but=known) == 0
    assert led(cluster, {comes: GOOD}) == 30
    activate(cluster)
    heirs = heirs_by_goal(cluster.machine.state, leader, {each: {comes: GOOD} for each in (first, second, *rest)})
    assert heirs == dict.fromkeys((first, second, *rest), comes)


def test_an_epoch_that_cannot_become_active_is_taken_back() -> None:
    cluster = cluster_of(3, 3)
    cluster.do(SetReplication(2, 2))
    assert led(cluster, dict.fromkeys((1, 2, 3), GOOD)) == 32
    (left,) = voters(cluster)
    leader = records(cluster)[0].leader
    stays = next(node for node in left if node != leader)
    assert led(cluster, {1: GOOD, 2: GOOD, 3: GOOD, stays: SLOW}) == 0
    assert led(cluster, {stays: BEHIND}) == 32
    assert voters(cluster) == {(1, 2, 3)}
    assert {each.epoch for each in records(cluster)} == {3}


def test_a_learner_that_fell_behind_and_one_of_some_locations_go_and_come_again() -> None:
    cluster = cluster_of(4, 3)
    spare, lost = spare_of(cluster, 4), records(cluster)[0].voters[-1]
    assert done(cluster, lost={lost}) == 32
    first = records(cluster)[0].location
    known = {**dict.fromkeys(range(1, 5), GOOD), spare: SLOW}
    led(cluster, known, but={first: {spare: BEHIND}})
    assert cluster.location(first).learners == ()
    assert done(cluster, lost={lost}) == 31
    assert done(cluster, lost={lost}) == 32


def test_a_new_node_is_in_a_zone_of_its_own_and_has_least() -> None:
    cluster = cluster_of(5, 3)
    first = records(cluster)[0]
    free = sorted({1, 2, 3, 4, 5} - {*first.voters})
    for node in first.voters:
        cluster.do(ChangeMember(node, zone=f"z{node}"))
    lost, stays = first.voters[0], first.voters[1]
    cluster.do(ChangeMember(free[0], zone=f"z{stays}"))
    cluster.do(ChangeMember(free[1], zone="other"))
    assert done(cluster, lost={lost}) == 32
    assert {each.learners for each in records(cluster)} == {(free[1],)}
    for each in records(cluster):
        cluster.do(SetLearners(each.location, each.epoch, ()))


def test_a_replica_that_is_to_lead_and_cannot_is_succeeded_by_who_has_more() -> None:
    cluster = cluster_of(3, 3)
    at = records(cluster)[0]
    source = next(node for node in at.voters if node != at.leader)
    found = handed_over(at, source)
    assert found is not None
    assert (found.leader, found.epoch, found.voters) == (source, at.epoch + 1, at.voters)
    old = core.Behind(at.location, at.epoch, 77, replica_on(at, source))
    assert actions_of(cluster.machine.state, [old]) == []


@pytest.mark.parametrize(("factor", "left"), [(1, (1,)), (2, (1, 3))])
def test_where_nobody_has_all_of_it_or_ever_will_those_go_who_are_of_no_use(factor: int, left: tuple[int, ...]) -> None:
    """Node 4 has all locations but one alone, and lacks ops of that one which nobody has kept; 1 and 3 have only it."""
    cluster = cluster_of(5, 2)
    assert cluster.do(SetReplication(2, factor)) == ()
    first, *others = records(cluster)
    parts = [Assignment(first.location, 2, 1, (1, 3, 4), ())]
    parts += [Assignment(each.location, 2, 4, (4,), ()) for each in others]
    cluster.do(Assign(tuple(parts)))
    activate(cluster)
    known = {1: GOOD, 3: GOOD, 4: BEHIND}
    for _ in range(3):
        led(cluster, known)
        activate(cluster)
    assert records(cluster)[0].voters == left
    assert {each.voters for each in records(cluster)[1:]} == {(4,)}
    # Somebody comes who has nothing of it, and gets all; also where it is to be at a node that has a part of it.
    if factor == 1:
        assert cluster.do(SetGoals(((2, (4,)),))) == ()
    assert done(cluster) == 32
    (spare,) = {each.learners for each in records(cluster)}
    assert {*spare} <= {2, 5}
