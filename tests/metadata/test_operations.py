"""What an operator is told of nodes that drain and of databases that wait for nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tsdb.cluster.metadata.records import LocationRecord, Member, Ring
from tsdb.cluster.metadata.state import State
from tsdb.cluster.operations import NAMES_MAX, NOTES_MAX, drained, notes


def state_of(*records: Member | Ring | LocationRecord) -> State:
    state = State()
    for each in records:
        number = each.node if isinstance(each, Member) else each.location if isinstance(each, LocationRecord) else 0
        state.tables[type(each)][number or each.database] = each  # type: ignore[union-attr]
    return state


def member(node: int, *, draining: bool = False) -> Member:
    return Member(node, bytes([node]) * 16, (), "", 0, draining=draining)


def locations(database: int, *voters: int, active: tuple[int, ...] = (), count: int = 2) -> list[LocationRecord]:
    first = 100 * database
    return [
        LocationRecord(first + each, database, 2, voters[0], voters, (), 2, active or voters) for each in range(count)
    ]


THREE = [member(1), member(2), member(3)]


def test_nothing_is_noted_of_a_cluster_that_is_well() -> None:
    assert notes(state_of(*THREE, Ring(7, 3, ()), *locations(7, 1, 2, 3)), (1, 2, 3)) == ()
    assert notes(state_of(*THREE, Ring(7, 3, ()), *locations(7, 1, 2, 3)), (1, 2)) == ()


@pytest.mark.parametrize(
    ("voters", "active", "said"),
    [
        ((1,), (), "they are on one node. Start node 1 again"),
        ((1, 3), (), "of the nodes 1, 3 too few answer. Start node 1 again"),
        ((1, 2, 3), (1, 3), "of the nodes 1, 3 too few answer. Start node 1 again"),
        ((1, 2, 4), (), "of the nodes 1, 2, 4 too few answer. Start node 1, 4 again"),
    ],
)
def test_a_database_without_a_majority_is_noted_with_the_nodes_to_start(
    voters: tuple[int, ...], active: tuple[int, ...], said: str
) -> None:
    state = state_of(*THREE, member(4), Ring(7, len(voters), ()), *locations(7, *voters, active=active))
    assert notes(state, (2, 3)) == (f"no writes to and no queries of 7 (2 locations): {said}",)


def test_a_drain_says_what_goes_and_what_waits_for_another_node() -> None:
    draining = state_of(*THREE[:2], member(3, draining=True), *(Ring(n, n, ()) for n in (2, 3)),
                        *locations(2, 1, 3), *locations(3, 1, 2, 3))  # fmt: skip
    said = (
        "It has 4 locations: 2 go to other nodes; "
        "2 stay until another node joins: 2 nodes are too few for their databases"
    )
    assert drained(draining, 3, draining=True, moves=True) == f"node 3 is given nothing new to hold. {said}"
    assert notes(draining, (1, 2, 3)) == (f"node 3 drains. {said}",)
    roomy = replace(draining, tables=draining.tables | {Member: {**draining.tables[Member], 4: member(4)}})
    assert notes(roomy, (1, 2, 3, 4)) == ("node 3 drains. It has 4 locations: 4 go to other nodes",)


def test_databases_of_the_same_nodes_are_one_note_and_of_many_the_first_are_named() -> None:
    databases = range(2, 2 + NAMES_MAX + 3)
    rings = [Ring(each, 1, ()) for each in databases]
    (said,) = notes(state_of(*THREE, *rings, *(r for each in databases for r in locations(each, 1))), (2, 3))
    assert "2, 3, 4, 5, 6 and 3 more (16 locations): they are on one node" in said


def test_of_many_notes_the_first_are_said() -> None:
    count = NOTES_MAX + 3
    members = [member(each, draining=True) for each in range(1, count + 1)]
    apart = [each for node in range(1, count + 1) for each in locations(node, node)]
    found = notes(state_of(*members, *(Ring(each, 1, ()) for each in range(1, count + 1)), *apart), range(1, count + 1))
    assert len(found) == NOTES_MAX + 1
    assert found[-1] == "… and 3 more of that kind"
