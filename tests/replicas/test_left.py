"""Replicas that left a node and are to be there again: when their points go, and when the next ones begin."""

from __future__ import annotations

import pytest

from tests.replicas.moving import DATABASE, MEMBERS, Moving
from tsdb.cluster.metadata.commands import Activate, Assign, Assignment, RemoveMember, SetGoals, SpreadDatabase
from tsdb.cluster.metadata.locations import first_nodes
from tsdb.cluster.metadata.records import Member, goal_number


@pytest.fixture
def moving(monkeypatch: pytest.MonkeyPatch) -> Moving:
    """A database of one replica with two arcs of two locations: the first at ``first(moving)``, and the second at
    another node."""
    monkeypatch.setattr("tsdb.model.change_databases.LOCATIONS_PER_DATABASE", 4)
    moving = Moving(1, 1, alone=True, spread=True)
    moving.heal()
    assert moving.cluster.do(SpreadDatabase(DATABASE, 2)) == (2,)
    go(moving, first(moving), first(moving))
    for node in MEMBERS:
        moving.drop_points(moving[node])
    moving.heal()
    return moving


def first(moving: Moving) -> int:
    """Where a location of the database begins anew."""
    return first_nodes(1 << 62 | DATABASE, [*moving.state.all(Member)], 1)[0]


def go(moving: Moving, *nodes: int) -> None:
    """Each arc to one."""
    assert moving.cluster.do(SetGoals(tuple((goal_number(DATABASE, arc), (n,)) for arc, n in enumerate(nodes)))) == ()


def leave_one(moving: Moving) -> int:
    """The second arc goes to another node, which is named, and the first node has masked and not cleaned it."""
    at, other = first(moving), next(node for node in MEMBERS if node != first(moving))
    go(moving, at, other)
    moving.cleans = False
    moving.heal()
    assert moving[at].masked
    return other


def test_an_arc_that_begins_anew_where_it_is_still_cleaned_begins(moving: Moving) -> None:
    at, other = first(moving), leave_one(moving)
    lost = {each.location for each in moving.all_arcs[1].locations}
    moving.cluster.do(RemoveMember(other, accept_loss=True))
    moving.away = moving.lost = {other}
    assert {each.voters for arc in moving.all_arcs for each in arc.locations} == {(at,)}
    moving[at].learn()
    assert {*moving[at].host.left.waits} == lost
    moving.cleans = True
    for _ in range(30):
        moving.drop_points(moving[at])
        moving[at].tick()
    assert {*moving[at].host.locations} == {*moving.records}


def test_so_does_one_that_became_one_with_another_meanwhile(moving: Moving) -> None:
    at, other = first(moving), leave_one(moving)
    moving.cluster.do(RemoveMember(other, accept_loss=True))
    moving.away = moving.lost = {other}
    assert moving.cluster.do(SpreadDatabase(DATABASE, 1)) == (1,)
    moving[at].learn()
    moving.cleans = True
    for _ in range(30):
        moving.drop_points(moving[at])
        moving[at].tick()
    assert {*moving[at].host.locations} == {*moving.records}
    assert not {*moving[at].host.left.known}


def test_a_location_begins_anew_beside_others_of_its_arc_that_stay_and_that_left(moving: Moving) -> None:
    at, other = first(moving), next(node for node in MEMBERS if node != first(moving))
    third = next(node for node in MEMBERS if node not in (at, other))
    assert moving.cluster.do(SpreadDatabase(DATABASE, 1)) == (1,)
    _, one, two, _ = moving.database.locations
    for location, node in ((one, other), (two, third)):
        epoch = moving.records[location.location][0].epoch
        for voters, leader in (((at, node), at), ((at, node), node), ((node,), node)):
            epoch += 1
            assert moving.cluster.do(Assign((Assignment(location.location, epoch, leader, voters),)))
            assert moving.cluster.do(Activate(((location.location, epoch),)))
    moving[at].learn()
    assert {*moving[at].host.left.known} == {one.location, two.location}
    assert not moving[at].host.left.leaving_arcs, "they go with the others"
    moving.cluster.do(RemoveMember(other, accept_loss=True))
    moving.away = moving.lost = {other}
    moving[at].learn()
    for _ in range(30):
        moving.drop_points(moving[at])
        moving[at].tick()
    assert one.location in {*moving[at].host.locations}
    assert {*moving[at].host.left.known} == {two.location}
