"""A node's leads go to several heirs: each arc to one, all together so that nobody leads much more than others."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.metadata.test_rules import Cluster
from tsdb.cluster.metadata.commands import Assign, Assignment, ChangeSchema, SetReplication, SpreadDatabase
from tsdb.cluster.metadata.records import LocationRecord, Member
from tsdb.cluster.replicas.failover import Failover
from tsdb.cluster.replicas.moving import Follower, arcs, heirs_of
from tsdb.model.changes import DropDatabase
from tsdb.model.schema import CreateDatabase


def cluster_of(nodes: int, spread: Iterable[int]) -> Cluster:
    """Databases from 2 on, of three replicas, with so many arcs each."""
    cluster = Cluster(nodes)
    first = cluster.machine.state.catalog.databases_by_number[1].name
    cluster.do(ChangeSchema.of([DropDatabase(first)]))
    cluster.do(SetReplication(0, 3))
    for number, count in enumerate(spread, start=2):
        cluster.do(ChangeSchema.of([CreateDatabase(f"d{number}")]))
        if count > 1:
            assert cluster.do(SpreadDatabase(number, count)) == (count,)
    return cluster


def records(cluster: Cluster) -> list[LocationRecord]:
    return [*cluster.machine.state.all(LocationRecord)]


def lead(cluster: Cluster, leaders: dict[int, int]) -> None:
    """By the goal number of an arc, who leads all of it."""
    assert cluster.do(
        Assign(
            tuple(
                Assignment(each.location, each.epoch + 1, leaders[at.number], each.voters)
                for at in arcs(cluster.machine.state)
                if at.number in leaders
                for each in at.locations
                if each.leader != leaders[at.number]
            )
        )
    )


def lose(cluster: Cluster, node: int) -> dict[int, int]:
    """The heirs, by location."""
    return {each.location: each.leader for each in Failover().decide(cluster.machine.state, lambda n: n == node, 0.0)}


def hand_over(cluster: Cluster, node: int) -> dict[int, int]:
    """The same, when that node stops."""
    others = {each.node for each in cluster.machine.state.all(Member)} - {node}
    known = {each.location: dict.fromkeys(others, Follower(True)) for each in records(cluster) if each.leader == node}
    return heirs_of(cluster.machine.state, node, known, others)


@pytest.mark.parametrize("goes", [lose, hand_over])
def test_arcs_of_the_same_voters_go_to_all_that_are_left(goes: object) -> None:
    cluster = cluster_of(3, [4])
    (leader,) = {each.leader for each in records(cluster)}
    heirs = lose(cluster, leader) if goes is lose else hand_over(cluster, leader)
    assert {*Counter(heirs.values()).values()} == {16}
    assert len(heirs) == 32
    for at in arcs(cluster.machine.state):
        assert len({heirs[each.location] for each in at.locations}) == 1, "who leads one can answer for all"


@pytest.mark.parametrize("goes", [lose, hand_over])
def test_who_leads_more_already_gets_less(goes: object) -> None:
    cluster = cluster_of(3, [4])
    (leader,) = {each.leader for each in records(cluster)}
    busy, idle = sorted({1, 2, 3} - {leader})
    first, second, *_ = arcs(cluster.machine.state)
    lead(cluster, {first.number: busy, second.number: busy})
    heirs = lose(cluster, leader) if goes is lose else hand_over(cluster, leader)
    assert {*heirs.values()} == {idle}
    assert len(heirs) == 16


def test_whole_databases_go_to_all_that_are_left() -> None:
    cluster = cluster_of(3, [1] * 6)
    lead(cluster, {at.number: 1 for at in arcs(cluster.machine.state)})
    assert Counter(lose(cluster, 1).values()) == {2: 96, 3: 96}


def test_who_leads_some_of_an_arc_gets_the_rest_of_it() -> None:
    cluster = cluster_of(3, [4])
    (leader,) = {each.leader for each in records(cluster)}
    heir = max({1, 2, 3} - {leader})
    for at in arcs(cluster.machine.state):
        some = at.locations[0]
        assert cluster.do(Assign((Assignment(some.location, 2, heir, some.voters),)))
    assert {*lose(cluster, leader).values()} == {heir}


@pytest.mark.parametrize("seed", range(30))
def test_nobody_leads_much_more_than_another_that_could(seed: int) -> None:
    """Of two that have the same: what one leads more, it led before, or it is at most a database."""
    chance = random.Random(seed)
    cluster = cluster_of(chance.choice([3, 3, 4]), chance.choices([1, 2, 4, 8], k=chance.randint(1, 4)))
    found = [*arcs(cluster.machine.state)]
    lead(
        cluster, {at.number: chance.choice(at.locations[0].voters) for at in chance.sample(found, len(found) // 2 + 1)}
    )
    state = cluster.machine.state
    before = Counter(each.leader for each in records(cluster))
    node = before.most_common(1)[0][0]
    heirs = lose(cluster, node)
    assert heirs == lose(cluster, node), "anybody would decide the same"
    assert {*heirs} == {each.location for each in records(cluster) if each.leader == node}
    after = before + Counter(heirs.values())
    for at in arcs(state):
        given = {heirs[each.location] for each in at.locations if each.location in heirs}
        assert len(given) <= 1
        for heir in given:
            assert all(after[heir] - after[other] <= 32 for other in {*at.voters} - {node, heir})
