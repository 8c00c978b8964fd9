"""Arcs of a database's ring: how many there may be, where they are to be, and when they become fewer again."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metadata.test_rules import Cluster
from tsdb.cluster.metadata.commands import (
    Activate,
    Assign,
    Assignment,
    ChangeRing,
    ChangeSchema,
    Expected,
    SetGoals,
    SetReplication,
    SpreadDatabase,
)
from tsdb.cluster.metadata.machine import read_snapshot, snapshot_of, state_of
from tsdb.cluster.metadata.records import Goal, Interval, LocationRecord, Ring, goal_number
from tsdb.cluster.replicas.dividing import merge
from tsdb.cluster.replicas.moving import arcs, expected_of, next_steps
from tsdb.model.schema import CreateDatabase


def replicated() -> Cluster:
    """Database 2 has two replicas, at some of four nodes."""
    cluster = Cluster(4)
    cluster.do(SetReplication(0, 2))
    cluster.do(ChangeSchema.of([CreateDatabase("e")]))
    return cluster


def goals(cluster: Cluster) -> dict[int, tuple[int, ...]]:
    return {each.number: each.nodes for each in cluster.machine.state.all(Goal)}


def move(cluster: Cluster, arc: int, nodes: tuple[int, ...]) -> None:
    """All locations of an arc of database 2, at once."""
    (at,) = (each for each in arcs(cluster.machine.state) if (each.database, each.arc) == (2, arc))
    chosen = [Assignment(each.location, each.epoch + 1, nodes[0], nodes, ()) for each in at.locations]
    assert isinstance(cluster.do(Assign(tuple(chosen))), tuple)
    assert isinstance(cluster.do(Activate(tuple((each.location, each.epoch) for each in chosen))), tuple)


def apart(*nodes: tuple[int, ...]) -> Cluster:
    """Database 2 with an arc at each of these nodes, the first of which lead."""
    cluster = replicated()
    cluster.do(SpreadDatabase(2, len(nodes)))
    for arc, each in enumerate(nodes):
        move(cluster, arc, each)
    return cluster


def become_one(cluster: Cluster) -> None:
    for _ in range(3):
        for action in next_steps(cluster.machine.state, lambda node: False):
            cluster.do(action)
    assert (cluster.ring(2).arcs, cluster.ring(2).arcs_wanted, goals(cluster)) == (1, 0, {})


@pytest.mark.parametrize("count", range(1, 33))
def test_a_ring_is_cut_into_arcs_of_whole_locations_that_are_as_equal_as_can_be(count: int) -> None:
    cluster = replicated()
    assert cluster.do(SpreadDatabase(2, count)) == (count,)
    found = [each for each in arcs(cluster.machine.state) if each.database == 2]
    assert [each.arc for each in found] == [*range(count)]
    assert {len(each.locations) for each in found} <= {32 // count, -(-32 // count)}
    numbers = [each.location for at in found for each in at.locations]
    assert numbers == sorted(numbers)


def test_a_ring_has_1_to_32_arcs() -> None:
    cluster = replicated()
    for count in (0, 33, 64, -1):
        assert cluster.do(SpreadDatabase(2, count)) == "InvalidParameterValue"
    assert cluster.do(SpreadDatabase(9, 2)) == "InvalidCatalogName"


def test_one_that_a_node_has_for_itself_is_to_be_shared() -> None:
    cluster = replicated()
    assert not cluster.ring().is_coming
    assert cluster.do(SpreadDatabase(1, 4)) == (4,)
    assert (cluster.ring().is_coming, cluster.ring().wanted, cluster.ring().arcs) == (True, 1, 4)


def test_each_arc_has_a_goal_of_its_own_and_none_when_the_arcs_change() -> None:
    cluster = replicated()
    cluster.do(SpreadDatabase(2, 4))
    wanted = {goal_number(2, arc): (arc + 1, (arc + 1) % 4 + 1) for arc in range(4)}
    assert cluster.do(SetGoals(tuple(wanted.items()))) == ()
    assert goals(cluster) == wanted
    assert {each.goal for each in arcs(cluster.machine.state) if each.database == 2} == {*wanted.values()}
    assert cluster.do(SetGoals(((goal_number(2, 4), (1, 2)),))) == "SerializationFailure"
    # Each of them was half of another one, which goes there.
    assert cluster.do(SpreadDatabase(2, 8)) == (8,)
    assert goals(cluster) == {goal_number(2, arc): wanted[goal_number(2, arc // 2)] for arc in range(8)}


def test_arcs_at_other_nodes_become_one_when_they_are_at_the_same() -> None:
    cluster = apart((1, 2), (4, 3))
    assert cluster.do(SpreadDatabase(2, 1)) == (2,)
    assert (cluster.ring(2).arcs, cluster.ring(2).arcs_wanted) == (2, 1)
    assert goals(cluster) == {goal_number(2, arc): (1, 2) for arc in (0, 1)}
    assert SpreadDatabase(2, 1) not in next_steps(cluster.machine.state, lambda node: False)
    move(cluster, 1, (1, 2))
    become_one(cluster)


def test_arcs_at_the_same_nodes_become_one_when_one_of_them_leads_all() -> None:
    cluster = apart((1, 2), (2, 1))
    assert cluster.do(SpreadDatabase(2, 1)) == (2,)
    assert goals(cluster) == {goal_number(2, arc): (1, 2) for arc in (0, 1)}
    move(cluster, 1, (1, 2))
    become_one(cluster)


def test_goals_that_are_gone_before_the_arcs_are_together_are_set_again() -> None:
    cluster = apart((1, 2), (4, 3))
    cluster.do(SpreadDatabase(2, 1))
    cluster.do(SetGoals(tuple((number, ()) for number in goals(cluster))))
    steps = next_steps(cluster.machine.state, lambda node: False)
    (step,) = [each for each in steps if isinstance(each, SpreadDatabase)]
    assert cluster.do(step) == (2,)
    assert len(goals(cluster)) == 2


def test_more_arcs_take_back_that_there_should_be_fewer() -> None:
    cluster = apart((1, 2), (4, 3))
    cluster.do(SpreadDatabase(2, 1))
    assert cluster.do(SpreadDatabase(2, 4)) == (4,)
    assert (cluster.ring(2).arcs, cluster.ring(2).arcs_wanted, goals(cluster)) == (4, 0, {})
    assert {each.voters for each in cluster.machine.state.all(LocationRecord) if each.database == 2} == {(1, 2), (3, 4)}


def settle(cluster: Cluster) -> None:
    """All arcs go where they are to be, and have come there."""
    for _ in range(4):
        for each in [*arcs(cluster.machine.state)]:
            if each.goal:
                move(cluster, each.arc, each.goal)
        for action in next_steps(cluster.machine.state, lambda node: False):
            cluster.do(action)


PAIRS = ((1, 2), (3, 4), (2, 3), (4, 1), (1, 3), (2, 4))


@pytest.mark.parametrize(
    ("was", "count", "meanwhile"),
    [(2, 3, 4), (3, 2, 4), (3, 4, 6), (4, 6, 8), (6, 3, 6), (5, 3, 7), (5, 7, 11), (32, 31, 32)],
)
def test_to_any_other_number_of_arcs_a_ring_goes_over_parts_of_both(was: int, count: int, meanwhile: int) -> None:
    cluster = apart(*(PAIRS[each % len(PAIRS)] for each in range(was)))
    before = {each.location: each.voters for each in cluster.machine.state.all(LocationRecord) if each.database == 2}
    assert cluster.do(SpreadDatabase(2, count)) == (meanwhile,)
    assert (cluster.ring(2).arcs, cluster.ring(2).arcs_wanted) == (meanwhile, count)
    found = [each for each in arcs(cluster.machine.state) if each.database == 2]
    assert [each.arc for each in found] == [*range(meanwhile)]
    after = {each.location: each.voters for at in found for each in at.locations}
    assert after == before
    # None of these has anything of two arcs, of the old ones or of the new ones.
    assert all(len({each.voters for each in at.locations}) == 1 for at in found)
    wanted = {goal_number(2, at.arc): at.goal for at in found}
    assert goals(cluster) == wanted
    settle(cluster)
    assert (cluster.ring(2).arcs, cluster.ring(2).arcs_wanted, goals(cluster)) == (count, 0, {})
    places = [{each.voters for each in at.locations} for at in arcs(cluster.machine.state) if at.database == 2]
    assert len(places) == count
    assert all(len(each) == 1 for each in places)


def test_what_becomes_one_arc_goes_where_its_first_part_is() -> None:
    cluster = apart((1, 2), (3, 4))
    cluster.do(SpreadDatabase(2, 3))
    # Two thirds of the first half, a third of it with a third of the second one, and the rest of that.
    found = [each for each in arcs(cluster.machine.state) if each.database == 2]
    assert [len(each.locations) for each in found] == [11, 5, 6, 10]
    assert [each.goal for each in found] == [(1, 2), (1, 2), (1, 2), (3, 4)]


def test_another_number_may_be_said_while_arcs_come_together() -> None:
    cluster = apart((1, 2), (3, 4), (2, 3))
    assert cluster.do(SpreadDatabase(2, 4)) == (6,)
    assert cluster.do(SpreadDatabase(2, 2)) == (6,)
    assert (cluster.ring(2).arcs, cluster.ring(2).arcs_wanted) == (6, 2)
    assert cluster.do(SpreadDatabase(2, 32)) == (32,)
    assert (cluster.ring(2).arcs, cluster.ring(2).arcs_wanted, goals(cluster)) == (32, 0, {})
    assert cluster.do(SpreadDatabase(2, 3)) == (3,), "which are where they were"


def test_arcs_at_the_same_nodes_and_led_by_one_are_cut_anew_at_once() -> None:
    cluster = replicated()
    for count in (5, 3, 32, 7, 1):
        assert cluster.do(SpreadDatabase(2, count)) == (count,)
        assert (cluster.ring(2).arcs, cluster.ring(2).arcs_wanted, goals(cluster)) == (count, 0, {})


def lows(cluster: Cluster) -> list[int]:
    return [each.low for each in cluster.ring(2).maps[-1].intervals]


CUTS = st.sets(st.integers(1, 31), max_size=8).map(lambda found: tuple(sorted(found)))


@settings(max_examples=40)
@given(before=CUTS, wanted=CUTS)
def test_arcs_begin_where_somebody_says_and_become_others(before: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    cluster = replicated()
    place = lows(cluster)
    assert cluster.do(SpreadDatabase(2, len(before) + 1, tuple(place[at] for at in before))) == (len(before) + 1,)
    sizes = [len(each.locations) for each in arcs(cluster.machine.state) if each.database == 2]
    assert sizes == [b - a for a, b in pairwise((0, *before, 32))]
    for arc in range(len(before) + 1):
        move(cluster, arc, PAIRS[arc % len(PAIRS)])
    meanwhile = tuple(sorted({*before, *wanted}))
    finer = SpreadDatabase(2, len(wanted) + 1, tuple(place[at] for at in wanted))
    assert cluster.do(finer) == (len(meanwhile) + 1,)
    assert cluster.ring(2).begins == tuple(place[at] for at in meanwhile)
    settle(cluster)
    ring = cluster.ring(2)
    assert (ring.begins, ring.arcs, ring.arcs_wanted, ring.cuts_wanted) == (finer.cuts, finer.arcs, 0, ())
    assert goals(cluster) == {}
    # Equal ones are kept as such, however they were asked for.
    intervals = ring.maps[-1].intervals
    equal = [each.low * ring.arcs >> 64 for each in intervals] == [ring.arc_of(each) for each in intervals]
    assert (ring.cuts == ()) == equal


def test_an_arc_begins_with_a_location() -> None:
    cluster = replicated()
    place = lows(cluster)
    for arcs_, cuts in (
        (2, (place[3] + 1,)), (2, (0,)), (3, (place[3],)), (3, (place[3], place[3])), (3, (place[4], place[3])),
        (1, (place[3],)), (34, tuple(place[1:])),
    ):  # fmt: skip
        assert cluster.do(SpreadDatabase(2, arcs_, cuts)) == "InvalidParameterValue"
    assert cluster.do(SpreadDatabase(2, 32, tuple(place[1:]))) == (32,)
    assert cluster.ring(2).cuts == ()


def test_a_ring_of_an_older_version_has_equal_arcs() -> None:
    cluster = replicated()
    cluster.do(SpreadDatabase(2, 5))
    *fields, cuts, wanted = msgspec.to_builtins(cluster.ring(2))
    assert (cuts, wanted) == ((), ())
    older = msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=Ring)
    assert older == cluster.ring(2)
    assert [older.arc_of(each) for each in older.maps[-1].intervals] == [at * 5 // 32 for at in range(32)]
    (*command,) = msgspec.to_builtins(SpreadDatabase(2, 5))
    assert command == [23, 2, 5, ()]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(command[:3]), type=SpreadDatabase) == SpreadDatabase(2, 5)


def test_a_goal_of_uneven_arcs_is_set_again_for_the_same_ones() -> None:
    cluster = apart((1, 2), (4, 3))
    place = lows(cluster)
    assert cluster.do(SpreadDatabase(2, 2, (place[5],))) == (3,)
    cluster.do(SetGoals(tuple((number, ()) for number in goals(cluster))))
    (step,) = [each for each in next_steps(cluster.machine.state, lambda node: False) if type(each) is SpreadDatabase]
    assert step == SpreadDatabase(2, 2, (place[5],))
    settle(cluster)
    assert (cluster.ring(2).cuts, cluster.ring(2).arcs_wanted) == ((place[5],), 0)


def test_a_digest_is_that_of_an_older_version_until_there_are_cuts() -> None:
    """Over etcd a node stops that has another one than who sent the next command."""
    cluster = replicated()
    for action in (SpreadDatabase(2, 4), SetReplication(2, 3), SpreadDatabase(2, 8)):
        assert isinstance(cluster.do(action), tuple)
    # As the last version without cuts computes it.
    assert cluster.machine.state.group.digest.hex() == "9ccdc1cd7c4c0bf44d9254b54bd6660f"
    other = replicated()
    other.do(SpreadDatabase(2, 8, tuple(lows(other)[1:8])))
    assert other.ring(2).cuts
    again = state_of(read_snapshot(snapshot_of(other.machine.state)))
    assert again.get(Ring, 2) == other.ring(2)


def test_arcs_that_are_cut_while_they_are_on_their_way_go_on() -> None:
    cluster = apart((1, 2), (1, 2), (1, 2))
    place = lows(cluster)
    cluster.do(SetGoals(((goal_number(2, 2), (3, 4)),)))
    # The first of them is split.
    assert cluster.do(SpreadDatabase(2, 4, (place[5], *cluster.ring(2).begins))) == (4,)
    assert goals(cluster) == {goal_number(2, 3): (3, 4)}
    # The first and the second of these are at the same nodes; the third and the fourth come together where that goes.
    assert cluster.do(SpreadDatabase(2, 3, (place[11], place[22]))) == (3,)
    assert goals(cluster) == {goal_number(2, 2): (3, 4)}
    assert cluster.do(SpreadDatabase(2, 2, (place[22],))) == (2,)
    assert goals(cluster) == {goal_number(2, 1): (3, 4)}
    assert cluster.do(SetGoals(((goal_number(2, 0), (4, 1)),))) == ()
    assert cluster.do(SpreadDatabase(2, 1)) == (1,), "they are at the same nodes still"
    assert goals(cluster) == {}, "and were on their way to others"
    cluster = apart((1, 2), (1, 2), (1, 3))
    cluster.do(SetGoals(((goal_number(2, 1), (3, 4)),)))
    assert cluster.do(SpreadDatabase(2, 2, (place[11],))) == (3,)
    assert goals(cluster) == {goal_number(2, 0): (1, 2), goal_number(2, 1): (3, 4), goal_number(2, 2): (3, 4)}
    # Those of arcs that come together are forgotten when they are not to any more.
    assert cluster.do(SpreadDatabase(2, 3)) == (3,)
    assert goals(cluster) == {}


def test_steps_that_were_decided_on_other_arcs_are_not_taken() -> None:
    cluster = apart((1, 2), (4, 3))
    cluster.do(SpreadDatabase(2, 1))
    cluster.do(SetGoals(tuple((number, ()) for number in goals(cluster))))
    state = cluster.machine.state
    (late,) = [each for each in next_steps(state, lambda node: False) if isinstance(each, SpreadDatabase)]
    expected = expected_of(state, late)
    assert expected == (Expected("ring", 2, cluster.ring(2).changed),)
    # Nothing but the goals is new, as often as it is done.
    for _ in range(3):
        assert cluster.do(late) == (2,)
    assert expected_of(cluster.machine.state, late) == expected
    assert cluster.do(SpreadDatabase(2, 2)) == (2,)
    assert cluster.do(late, expected) == "SerializationFailure"
    assert (cluster.ring(2).arcs, cluster.ring(2).arcs_wanted) == (2, 0)
    cluster.do(SetGoals(((goal_number(2, 0), (3, 4)),)))
    reached = SetGoals(((goal_number(2, 0), ()),))
    expected = expected_of(cluster.machine.state, reached)
    cluster.do(SetGoals(((goal_number(2, 0), (2, 4)),)))
    assert cluster.do(reached, expected) == "SerializationFailure"
    assert goals(cluster) == {goal_number(2, 0): (2, 4)}
    assert cluster.do(reached, expected_of(cluster.machine.state, reached)) == ()


def test_arcs_begin_with_locations_of_the_newest_map() -> None:
    cluster = apart((1, 2), (3, 4), (1, 2))
    cluster.do(SpreadDatabase(2, 3, tuple(lows(cluster)[at] for at in (3, 5))))
    settle(cluster)
    assert cluster.ring(2).arcs == 3
    cluster.do(SetGoals(((goal_number(2, 2), (2, 3)),)))
    last = cluster.ring(2).maps[-1].intervals
    joined = (*last[:2], Interval(0, last[2].low, last[8].last), *last[9:])
    assert isinstance(cluster.do(ChangeRing(2, 2, 10, joined)), tuple)
    ring = cluster.ring(2)
    # The first has three locations more, the second none any more.
    assert (ring.arcs, ring.begins, ring.arcs_wanted) == (2, (last[9].low,), 0)
    assert [ring.arc_of(each) for each in ring.maps[-1].intervals] == [0] * 3 + [1] * 23
    assert goals(cluster) == {}
    assert merge(ring, {}).begins == ()
