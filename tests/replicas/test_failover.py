"""Who leads next, and when: by the records, by who is lost, by what was tried; and what replicas ask for."""

from __future__ import annotations

from itertools import pairwise

from msgspec.structs import replace

from tests.metadata.test_rules import Cluster
from tsdb.cluster.metadata.commands import (
    Activate,
    Assign,
    Assignment,
    ChangeMember,
    ChangeSchema,
    RemoveMember,
    SetLearners,
    SetReplication,
)
from tsdb.cluster.metadata.records import LocationRecord, node_of, replica_on
from tsdb.cluster.replicas.failover import AGAIN_S, HAND_OVER_S, Failover
from tsdb.cluster.replicas.moving import Follower, Followers, heirs_of
from tsdb.cluster.replicas.records import core_record, own_replica, shared_locations
from tsdb.cluster.replicas.requests import actions_of
from tsdb.cluster.replication import record as core
from tsdb.cluster.replication.record import Request
from tsdb.model.changes import DropDatabase
from tsdb.model.schema import CreateDatabase


def cluster_of(nodes: int, factor: int) -> Cluster:
    """Database 1 has one replica, database 2 so many."""
    cluster = Cluster(nodes)
    assert cluster.do(SetReplication(0, factor)) == ()
    cluster.do(ChangeSchema.of([CreateDatabase("shared")]))
    return cluster


def records(cluster: Cluster, database: int = 2) -> list[LocationRecord]:
    return [each for each in cluster.machine.state.all(LocationRecord) if each.database == database]


def test_all_locations_of_a_replicated_database_begin_with_one_leader_and_all_voters() -> None:
    cluster = cluster_of(3, 3)
    found = records(cluster)
    assert len(found) == 32
    assert {each.voters for each in found} == {(1, 2, 3)}
    assert len({each.leader for each in found}) == 1


def test_nobody_is_assigned_while_leaders_are_there_and_those_of_one_replica_never() -> None:
    cluster = cluster_of(3, 3)
    state = cluster.machine.state
    assert Failover().decide(state, lambda node: False, 0.0) == []
    leader = records(cluster)[0].leader
    found = Failover().decide(state, lambda node: node == leader, 0.0)
    assert {each.location for each in found} == {each.location for each in records(cluster)}


def test_a_lost_leaders_locations_go_to_one_of_the_others_in_the_next_epoch() -> None:
    cluster = cluster_of(3, 3)
    leader = records(cluster)[0].leader
    found = Failover().decide(cluster.machine.state, lambda node: node == leader, 0.0)
    assert {each.epoch for each in found} == {2}
    assert {each.voters for each in found} == {(1, 2, 3)}
    (heir,) = {each.leader for each in found}
    assert heir != leader
    assert len(cluster.do(Assign(tuple(found)))) == 32
    assert {(each.leader, each.epoch, each.active_epoch) for each in records(cluster)} == {(heir, 2, 1)}


def test_without_a_majority_nobody_is_assigned() -> None:
    cluster = cluster_of(3, 3)
    leader = records(cluster)[0].leader
    alive = next(node for node in (1, 2, 3) if node != leader)
    assert Failover().decide(cluster.machine.state, lambda node: node != alive, 0.0) == []
    # Nor where the active epoch's majority is gone: the next leader could not be sure of anything.
    cluster = cluster_of(5, 3)
    at = records(cluster)[0]
    others = tuple(node for node in range(1, 6) if node not in at.voters)
    moved = Assignment(at.location, 2, others[0], (*others, at.voters[0]))
    assert cluster.do(Assign((moved,))) == (at.location,)
    gone = {others[0], *at.voters[1:]}
    assert not [
        each
        for each in Failover().decide(cluster.machine.state, lambda node: node in gone, 0.0)
        if each.location == at.location
    ]


def test_what_does_not_help_is_tried_again_later_and_later() -> None:
    cluster = cluster_of(3, 3)
    state = cluster.machine.state
    leader = records(cluster)[0].leader
    failover = Failover()
    tried = [now / 4 for now in range(400) if failover.decide(state, lambda node: node == leader, now / 4)]
    waits = [later - earlier for earlier, later in pairwise(tried)]
    assert waits[:4] == [AGAIN_S, 2 * AGAIN_S, 4 * AGAIN_S, 8 * AGAIN_S]
    # When the leader is back and leads, the next loss is another one.
    assert failover.decide(state, lambda node: False, 1000.0) == []
    assert failover.decide(state, lambda node: node == leader, 1000.25)
    # Of what is dropped nothing is remembered.
    cluster.do(ChangeSchema.of([DropDatabase("shared")]))
    assert failover.decide(cluster.machine.state, lambda node: node == leader, 2000.0) == []
    assert not failover._tried


def test_a_replicas_number_is_its_nodes_and_changes_when_it_comes_again() -> None:
    cluster = cluster_of(4, 3)
    at = records(cluster)[0]
    numbers = {replica_on(at, node) for node in at.voters}
    assert {node_of(number) for number in numbers} == set(at.voters)
    (spare,) = {1, 2, 3, 4} - {*at.voters}
    assert own_replica(at, spare) == 0
    seen = set()
    for _ in range(2):
        cluster.do(SetLearners(at.location, 1, (spare,)))
        seen.add(own_replica(cluster.location(at.location), spare))
        assert {replica_on(cluster.location(at.location), node) for node in at.voters} == numbers
        cluster.do(SetLearners(at.location, 1, ()))
    assert len(seen) == 2
    assert {node_of(number) for number in seen} == {spare}


def test_who_is_removed_loses_its_numbers_and_the_others_keep_theirs() -> None:
    cluster = cluster_of(3, 3)
    at = records(cluster)[0]
    gone = at.voters[0]
    cluster.do(RemoveMember(gone, accept_loss=True))
    left = cluster.location(at.location)
    assert gone not in dict(left.replicas)
    assert {node: replica_on(left, node) for node in left.voters} == {n: replica_on(at, n) for n in left.voters}


def test_records_by_replicas_say_what_those_by_nodes_say() -> None:
    cluster = cluster_of(3, 2)
    shared = shared_locations(cluster.machine.state)
    assert shared.keys() == {each.location for each in records(cluster)}
    for record, interval in shared.values():
        found = core_record(record, interval)
        assert [node_of(each) for each in found.voters] == list(record.voters)
        assert node_of(found.leader) == record.leader
        assert found.active_voters == found.voters
        assert (found.low, found.high) == (interval.low, min(interval.last + 1, 2**64 - 1))


def test_requests_become_compare_and_set_and_what_is_out_of_date_is_left_out() -> None:
    cluster = cluster_of(3, 3)
    first, second, third = records(cluster)[:3]
    other = next(node for node in first.voters if node != first.leader)
    found = Assign((Assignment(first.location, 2, other, first.voters),))
    assert cluster.do(found) == (first.location,)
    state = cluster.machine.state
    asked: list[Request] = [
        core.Activate(first.location, 2, 9),
        core.Activate(second.location, 1, 9),
        core.NewEpoch(second.location, 1),
        core.Abdicate(third.location, 1, replica_on(third, other), 9),
        core.NewEpoch(first.location, 1),
    ]
    activate, assign = actions_of(state, asked)
    assert activate == Activate(((first.location, 2),))
    assert isinstance(assign, Assign)
    assert {(each.location, each.epoch, each.leader) for each in assign.assignments} == {
        (second.location, 2, second.leader), (third.location, 2, other),
    }  # fmt: skip
    cluster.do(activate)
    assert replace(cluster.location(first.location), changed=0).active_epoch == 2
    assert actions_of(cluster.machine.state, asked[:2]) == []


def test_a_drained_node_that_does_not_give_away_what_it_leads_loses_it() -> None:
    cluster = cluster_of(3, 3)
    leader = records(cluster)[0].leader
    cluster.do(ChangeMember(leader, draining=True))
    failover = Failover()
    assert failover.decide(cluster.machine.state, lambda node: False, 10.0) == []
    assert failover.decide(cluster.machine.state, lambda node: False, 10.0 + HAND_OVER_S - 0.1) == []
    found = failover.decide(cluster.machine.state, lambda node: False, 10.0 + HAND_OVER_S)
    assert len(found) == 32
    assert leader not in {each.leader for each in found}
    for node in {1, 2, 3} - {leader}:
        cluster.do(ChangeMember(node, draining=True))
    assert failover.decide(cluster.machine.state, lambda node: False, 20.0) == []


def followers(cluster: Cluster, good: set[int], database: int = 2) -> Followers:
    """What a leader knows of the others."""
    return {
        each.location: {node: Follower(node in good) for node in each.voters if node != each.leader}
        for each in records(cluster, database)
    }


def test_what_a_node_leads_goes_to_one_of_those_that_have_it_and_answer() -> None:
    cluster = cluster_of(3, 3)
    state = cluster.machine.state
    leader = records(cluster)[0].leader
    one, other = sorted({1, 2, 3} - {leader})
    known = followers(cluster, {one, other})
    found = heirs_of(state, leader, known, {1, 2, 3})
    assert found.keys() == {each.location for each in records(cluster)}
    assert len({*found.values()}) == 1
    assert {*heirs_of(state, leader, known, {leader, one}).values()} == {one}
    assert {*heirs_of(state, leader, followers(cluster, {other}), {1, 2, 3}).values()} == {other}
    assert heirs_of(state, leader, followers(cluster, set()), {1, 2, 3}) == {}
    assert heirs_of(state, one, {}, {1, 2, 3}) == {}
    # One that drains takes it if nobody else can.
    cluster.do(ChangeMember(one, draining=True))
    assert {*heirs_of(cluster.machine.state, leader, known, {1, 2, 3}).values()} == {other}
    assert {*heirs_of(cluster.machine.state, leader, known, {leader, one}).values()} == {one}


def test_all_of_a_database_goes_to_who_leads_some_of_it_already() -> None:
    cluster = cluster_of(3, 3)
    first, *rest = records(cluster)
    one, other = sorted({1, 2, 3} - {first.leader})
    for heir in (one, other):
        at = cluster.location(rest.pop().location)
        cluster.do(Assign((Assignment(at.location, 2, heir, at.voters),)))
        last = cluster.location(rest.pop().location)
        cluster.do(Assign((Assignment(last.location, 2, heir, last.voters),)))
        found = heirs_of(cluster.machine.state, first.leader, followers(cluster, {one, other}), {1, 2, 3})
        if heir == one:
            assert {*found.values()} == {one}
        assert at.location not in found
