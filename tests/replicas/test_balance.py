"""A node joins: what a rebalance plans, for whole databases, and what of it becomes goals."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from tests.metadata.draws import uuid
from tests.metadata.test_rules import Cluster
from tsdb.cluster.group.balancing import check_gathered, rebalance, text_of, told, unanswered
from tsdb.cluster.metadata.commands import (
    Action,
    AddMember,
    Assign,
    Assignment,
    ChangeMember,
    ChangeSchema,
    Expected,
    NewMember,
    SetGoals,
    SetReplication,
    SpreadDatabase,
)
from tsdb.cluster.metadata.records import Answer, LocationRecord, Member, goal_number
from tsdb.cluster.metadata.state import State
from tsdb.cluster.placement.limits import Limits
from tsdb.cluster.placement.plan import Plan
from tsdb.cluster.placement.table import plan_text
from tsdb.cluster.replicas.balance import BUSY_US, goals_of, plan_of, too_busy
from tsdb.cluster.replicas.moving import Waiting, arcs, coming_back, next_steps
from tsdb.cluster.routing.messages import LOADS, Values
from tsdb.errors import ObjectNotInPrerequisiteState, SerializationFailure
from tsdb.model.schema import CreateDatabase

GIB = 1 << 30
NO_LOADS: Mapping[int, int] = MappingProxyType({})


def cluster_of(nodes: int, factor: int, databases: int) -> Cluster:
    """Database 1 is of one replica, those from 2 on of so many."""
    cluster = Cluster(nodes)
    cluster.do(SetReplication(0, factor))
    for number in range(databases):
        cluster.do(ChangeSchema.of([CreateDatabase(f"d{number}")]))
    return cluster


def join(cluster: Cluster) -> None:
    count = sum(1 for _ in cluster.machine.state.all(Member))
    assert cluster.do(AddMember(NewMember(uuid(count + 1)))) == (count + 1,)


def planned(cluster: Cluster, silent: int = 0, loads: Mapping[int, int] = NO_LOADS) -> Plan:
    state = cluster.machine.state
    sizes = dict.fromkeys(state.catalog.databases_by_number, GIB)
    return plan_of(state, sizes, loads, lambda node: node != silent, Limits())


def places(cluster: Cluster) -> dict[int, tuple[tuple[int, ...], int]]:
    """By database: where it is, and who leads."""
    return {each.database: (each.voters, each.leader) for each in cluster.machine.state.all(LocationRecord)}


@pytest.mark.parametrize("factor", [2, 3])
def test_a_node_that_has_joined_gets_its_share_and_no_more_moves_than_that(factor: int) -> None:
    cluster = cluster_of(factor, factor, 12)
    assert all(len(nodes) == (factor if database > 1 else 1) for database, nodes in goals_of(planned(cluster)))
    join(cluster)
    plan = planned(cluster)
    goals = dict(goals_of(plan))
    after = {database: goals.get(database, voters) for database, (voters, _) in places(cluster).items() if database > 1}
    held = Counter(node for nodes in after.values() for node in nodes)
    fair = 12 * factor / (factor + 1)
    assert max(held.values()) - min(held.values()) <= 2
    moved = sum(len({*nodes} - {*places(cluster)[database][0]}) for database, nodes in goals.items())
    assert moved <= fair + 1
    text = plan_text(plan, {number: f"d{number - 2}" for number in range(2, 14)})
    assert "database" in text
    assert text.count("\n") > len(goals)


def test_what_is_on_its_way_is_not_planned_again() -> None:
    cluster = cluster_of(3, 3, 8)
    join(cluster)
    goals = goals_of(planned(cluster))
    assert goals
    assert text_of(planned(cluster), cluster.machine.state).startswith("database ")
    assert cluster.do(SetGoals(goals)) == ()
    assert goals_of(planned(cluster)) == ()
    said = text_of(planned(cluster), cluster.machine.state)
    assert said.startswith(f"nothing more to do: {len(goals)} databases are on the way already, ")


def test_a_silent_node_gets_nothing_and_keeps_what_it_has() -> None:
    cluster = cluster_of(3, 3, 8)
    join(cluster)
    assert any(4 in nodes for _, nodes in goals_of(planned(cluster)))
    assert all({*nodes} == {1, 2, 3} for _, nodes in goals_of(planned(cluster, silent=4)))


def test_nothing_is_moved_to_a_node_that_drains() -> None:
    cluster = cluster_of(4, 3, 8)
    cluster.do(ChangeMember(2, draining=True))
    goals = dict(goals_of(planned(cluster)))
    assert goals
    assert all(2 not in nodes for nodes in goals.values())
    assert {database for database, (voters, _) in places(cluster).items() if database > 1 and 2 in voters} <= {*goals}


def test_who_leads_everything_gives_some_of_it_to_others() -> None:
    cluster = cluster_of(3, 3, 9)
    led = Counter(leader for _, leader in places(cluster).values())
    goals = dict(goals_of(planned(cluster)))
    for database, (_, leader) in places(cluster).items():
        if database in goals:
            led[leader] -= 1
            led[goals[database][0]] += 1
    assert max(led.values()) - min(led.values()) <= 2


def test_what_is_busy_is_spread_although_all_have_as_many_bytes() -> None:
    cluster = cluster_of(4, 2, 8)
    before = places(cluster)
    calm = {**before, **{number: (nodes, nodes[0]) for number, nodes in goals_of(planned(cluster))}}
    # Those are busy that would be at the same two nodes.
    together = Counter(frozenset(nodes) for number, (nodes, _) in calm.items() if number > 1).most_common(1)[0][0]
    hot = [number for number, (nodes, _) in calm.items() if number > 1 and {*nodes} == together]
    assert len(hot) >= 2
    for loads, differ in ((100 * BUSY_US, True), (BUSY_US - 1, False)):
        goals = dict(goals_of(planned(cluster, loads=dict.fromkeys(hot, loads))))
        after = {number: goals.get(number, nodes) for number, (nodes, _) in before.items()}
        work = Counter(node for number in hot for node in after[number])
        assert (after == {number: nodes for number, (nodes, _) in calm.items()}) is not differ
        assert (max(work.values()) < len(hot)) is differ


def test_the_plan_says_what_work_nodes_have() -> None:
    cluster = cluster_of(3, 3, 8)
    join(cluster)
    text = text_of(planned(cluster, loads={2: 250_000, 3: BUSY_US - 1}), cluster.machine.state)
    assert re.search(r"^1 .* 250 → (0|250) ms/s  ", text, re.MULTILINE)
    assert "ms/s" not in text_of(planned(cluster, loads={3: BUSY_US - 1}), cluster.machine.state)


def test_what_is_too_busy_for_a_nodes_share_is_said_with_the_arcs_that_it_takes() -> None:
    cluster = cluster_of(4, 2, 4)
    hot = {4: 1_000_000}
    plan = planned(cluster, loads=hot)
    # Four nodes have two times its work: half of it each.
    assert too_busy(plan, cluster.machine.state) == {4: 2}
    assert 'database "d2" makes more work than a node\'s share, wherever it is: cut into 2 arcs' in text_of(
        plan, cluster.machine.state
    )
    assert cluster.do(SpreadDatabase(4, 2)) == (2,)
    assert too_busy(planned(cluster, loads=hot), cluster.machine.state) == {}
    # Nor is anything said where all have about as much, or where all have it.
    assert too_busy(planned(cluster, loads=dict.fromkeys((2, 3, 4, 5), 1_000_000)), cluster.machine.state) == {}
    assert too_busy(planned(cluster), cluster.machine.state) == {}
    everywhere = cluster_of(3, 3, 4)
    assert too_busy(planned(everywhere, loads=hot), everywhere.machine.state) == {}


@pytest.mark.parametrize(("load", "other", "arcs"), [(600_000, 400_000, None), (700_000, 300_000, 2)])
def test_a_little_more_than_a_share_is_not_too_busy(load: int, other: int, arcs: int | None) -> None:
    cluster = cluster_of(4, 2, 2)
    found = too_busy(planned(cluster, loads={2: load, 3: other}), cluster.machine.state)
    assert found == ({} if arcs is None else {2: arcs})


def test_what_has_arcs_is_cut_into_more() -> None:
    cluster = cluster_of(8, 2, 1)
    assert cluster.do(SpreadDatabase(2, 2)) == (2,)
    assert too_busy(planned(cluster, loads={2: 1_000_000}), cluster.machine.state) == {2: 4}


@pytest.mark.parametrize(
    ("nodes", "factor", "has", "said"), [(3, 1, 1, 3), (8, 2, 3, 6), (40, 1, 3, 30), (40, 1, 32, None)]
)
def test_arcs_that_are_cut_into_more_are_cut_into_a_multiple(
    nodes: int, factor: int, has: int, said: int | None
) -> None:
    cluster = cluster_of(nodes, factor, 1)
    assert cluster.do(SpreadDatabase(2, has)) == (has,)
    found = too_busy(planned(cluster, loads={2: 1_000_000}), cluster.machine.state)
    assert found == ({} if said is None else {2: said})


def test_arcs_that_are_not_equal_are_cut_into_as_many_as_it_takes() -> None:
    cluster = cluster_of(8, 2, 1)
    places = [each.low for each in cluster.ring(2).maps[-1].intervals]
    assert cluster.do(SpreadDatabase(2, 3, (places[4], places[8]))) == (3,)
    # A share is a quarter, and the last of the arcs has three of them.
    assert too_busy(planned(cluster, loads={2: 1_000_000}), cluster.machine.state) == {2: 4}
    # There are enough, and one is too large.
    assert cluster.do(SpreadDatabase(2, 8, tuple(places[1:8]))) == (8,)
    assert too_busy(planned(cluster, loads={2: 1_000_000}), cluster.machine.state) == {2: 4}
    assert cluster.do(SpreadDatabase(2, 4)) == (4,)
    assert too_busy(planned(cluster, loads={2: 1_000_000}), cluster.machine.state) == {}


def test_while_arcs_come_together_nothing_else_is_planned() -> None:
    cluster = cluster_of(4, 2, 1)
    check_gathered(cluster.machine.state, cluster.ring(2), lambda node: False)
    cluster.do(SpreadDatabase(2, 2))
    (at,) = (each for each in arcs(cluster.machine.state) if (each.database, each.arc) == (2, 1))
    (leader,) = {each.leader for each in at.locations}
    others = tuple(sorted({1, 2, 3, 4} - {leader}))[:2]
    moved = tuple(Assignment(each.location, each.epoch + 1, others[0], others) for each in at.locations)
    cluster.do(Assign(moved))
    assert cluster.do(SpreadDatabase(2, 1)) == (2,)
    with pytest.raises(ObjectNotInPrerequisiteState, match=r"is being gathered from 2 arcs to 1$") as found:
        check_gathered(cluster.machine.state, cluster.ring(2), lambda node: True)
    assert found.value.hint == "Wait until that is done: tsdb.locations shows how far (goal)."
    with pytest.raises(ObjectNotInPrerequisiteState, match="waited for, and not answering: node") as found:
        check_gathered(cluster.machine.state, cluster.ring(2), lambda node: node == 5)
    assert "spread the database into 32 arcs, which need not come together" in (found.value.hint or "")
    assert cluster.do(SpreadDatabase(2, 32)) == (32,)
    check_gathered(cluster.machine.state, cluster.ring(2), lambda node: False)


def test_an_arc_counts_with_as_much_as_it_has_locations() -> None:
    cluster = cluster_of(3, 3, 1)
    assert cluster.do(SpreadDatabase(2, 3)) == (3,)
    before = planned(cluster, loads={2: 3_200_000}).before
    found = {each.location: (each.size_bytes, each.load) for each in before.locations}
    assert found[goal_number(2, 0)] == (GIB * 11 // 32, 1_100_000)
    assert found[goal_number(2, 2)] == (GIB * 10 // 32, 1_000_000)


def test_who_is_waited_for_in_vain_while_arcs_come_together_is_named() -> None:
    cluster = cluster_of(4, 2, 1)
    assert cluster.do(SpreadDatabase(2, 2)) == (2,)
    assert cluster.do(SetGoals(((goal_number(2, 0), (1, 2)), (goal_number(2, 1), (3, 4))))) == ()
    state = cluster.machine.state
    assert unanswered(state, 2, lambda node: True) == ""
    assert unanswered(state, 2, lambda node: node != 3) == "; waited for, and not answering: node 3"
    assert unanswered(state, 2, lambda node: node == 3) == "; waited for, and not answering: node 1, node 2, node 4"
    assert unanswered(state, 1, lambda node: False) == ""


@pytest.mark.parametrize("nodes", [5, 8, 30])
def test_cut_into_as_many_arcs_as_is_said_no_arc_is_more_than_a_share(nodes: int) -> None:
    cluster = cluster_of(nodes, 2, 2)
    loads = {2: 3_000_000, 3: 400_000}
    said = too_busy(planned(cluster, loads=loads), cluster.machine.state)
    assert said
    for number, count in said.items():
        assert cluster.do(SpreadDatabase(number, count)) == (count,)
    assert too_busy(planned(cluster, loads=loads), cluster.machine.state) == {}


def test_what_a_node_tells_is_read_in_both_forms() -> None:
    assert told((2, 700, 3, 800)) == ({2: 700, 3: 800}, {})
    assert told((LOADS, 2, 700, 5, 3, 800, 0)) == ({2: 700, 3: 800}, {2: 5, 3: 0})
    assert told(()) == ({}, {})


@pytest.mark.parametrize("nodes", [4, 5, 6])
def test_arcs_of_one_database_go_to_all_nodes_which_have_about_as_much_and_lead_about_as_many(nodes: int) -> None:
    cluster = cluster_of(3, 3, 1)
    for _ in range(nodes - 3):
        join(cluster)
    assert cluster.do(SpreadDatabase(2, 8)) == (8,)
    plan = plan_of(cluster.machine.state, {2: 8 * GIB}, {}, lambda node: True, Limits())
    goals = dict(goals_of(plan))
    at = {each.number: (each.locations[0].leader, *each.locations[0].voters) for each in arcs(cluster.machine.state)}
    places = [goals.get(number, at[number]) for number in (goal_number(2, arc) for arc in range(8))]
    held = Counter(node for each in places for node in {*each})
    led = Counter(each[0] for each in places)
    assert {*held} == {*range(1, nodes + 1)}
    assert max(held.values()) - min(held.values()) <= 2
    assert max(led.values()) <= 3
    moved = sum(len({*goals[number]} - {*at[number]}) for number in goals if number != 1)
    assert moved <= 24 * (nodes - 3) / nodes + 1
    assert "d0 1/8" in text_of(plan, cluster.machine.state)


def test_who_only_waits_for_cleaning_has_no_place_of_those_that_come() -> None:
    cluster = cluster_of(5, 3, 1)
    number = 2
    assert cluster.do(SpreadDatabase(number, 8)) == (8,)
    voters = next(arcs(cluster.machine.state)).voters
    spare, other = sorted({1, 2, 3, 4, 5} - voters)
    goals = [(each.number, (spare, *sorted(voters)[1:])) for each in arcs(cluster.machine.state)]
    goals[7] = goals[7][0], (other, *sorted(voters)[1:])
    assert cluster.do(SetGoals(tuple(goals))) == ()

    def step(waiting: Waiting) -> list[int]:
        """The arcs to which somebody comes after it."""
        for action in next_steps(cluster.machine.state, lambda node: False, waiting):
            cluster.do(action)
        return [each.arc for each in arcs(cluster.machine.state) if each.learners]

    assert coming_back(cluster.machine.state) == frozenset()
    assert step({}) == [0, 1, 2, 3]
    assert coming_back(cluster.machine.state) == {spare}
    assert step({}) == [0, 1, 2, 3]
    found = [*arcs(cluster.machine.state)]
    waits = frozenset({found[1].locations[0].location, found[2].locations[3].location})
    assert step({other: waits}) == [0, 1, 2, 3], "somebody else says so"
    assert step({spare: waits}) == [0, 1, 2, 3, 4, 5]
    assert step({spare: waits}) == [0, 1, 2, 3, 4, 5]
    # When they can begin, there are more at once than otherwise, and no others come before these have come.
    assert step({}) == [0, 1, 2, 3, 4, 5]


class Asked:
    """A ``balancing.Balanced``: node 1, of a cluster whose database 2 is spread while the nodes are asked, and when a
    plan has been made."""

    copy_rate = 0
    node = 1

    def __init__(self, cluster: Cluster, meanwhile: int = 0, late: int = 0) -> None:
        self.cluster, self.meanwhile, self.late = cluster, meanwhile, late
        self.engine: Any = self
        self.exchange: Any = self

    @property
    def state(self) -> State:
        return self.cluster.machine.state

    def sizes(self) -> dict[int, int]:
        return dict.fromkeys(self.state.catalog.databases_by_number, GIB)

    def loads(self) -> dict[int, int]:
        return {}

    def answers(self, node: int) -> bool:
        return True

    async def ask(self, *_: object, **__: object) -> Values:
        if self.meanwhile:
            self.cluster.do(SpreadDatabase(2, self.meanwhile))
        return Values((LOADS,))

    async def propose_here(self, action: Action, expected: tuple[Expected, ...] = ()) -> Answer:
        if self.late:
            self.cluster.do(SpreadDatabase(2, self.late))
        found = self.cluster.do(action, expected)
        if isinstance(found, str):
            raise SerializationFailure(found)
        return Answer(found)


def goal_arcs(cluster: Cluster) -> set[int]:
    return {at.arc for at in arcs(cluster.machine.state) if at.database == 2 and at.goal}


def test_a_rebalance_plans_for_the_arcs_that_there_are_when_all_have_answered_and_for_no_others() -> None:
    cluster = cluster_of(4, 2, 1)
    asyncio.run(rebalance(Asked(cluster, meanwhile=8), is_dry=False))
    assert cluster.ring(2).arcs == 8
    assert max(goal_arcs(cluster)) > 0
    cluster = cluster_of(4, 2, 1)
    cluster.do(SpreadDatabase(2, 4))
    with pytest.raises(SerializationFailure):
        asyncio.run(rebalance(Asked(cluster, late=8), is_dry=False))
    assert goal_arcs(cluster) == set()
    asyncio.run(rebalance(Asked(cluster), is_dry=False))
    assert goal_arcs(cluster)
