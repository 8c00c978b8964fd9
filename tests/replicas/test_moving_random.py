"""A database moves between five nodes through crashes, losses and drains: what was acknowledged is there, once."""

from __future__ import annotations

import pytest

from tests.replicas.moving import DATABASE, MEMBERS, Moving
from tsdb.cluster.metadata.commands import SetGoals, SpreadDatabase
from tsdb.cluster.metadata.records import goal_number

STEPS = 600


@pytest.fixture(autouse=True)
def few_locations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three a database: more show nothing else here."""
    monkeypatch.setattr("tsdb.model.change_databases.LOCATIONS_PER_DATABASE", 3)


def run(seed: int, steps: int = STEPS, *, alone: bool = False, spread: bool = False) -> Moving:
    moving = Moving(seed, alone=alone, spread=spread)
    for _ in range(steps):
        moving.step()
    moving.heal()
    moving.check()
    return moving


@pytest.mark.parametrize("seed", range(30))
def test_what_was_acknowledged_is_at_all_voters_once(seed: int) -> None:
    run(seed)


@pytest.mark.parametrize("seed", range(20))
def test_logs_that_were_one_node_s_alone_go_on_as_replicas(seed: int) -> None:
    run(seed, 300, alone=True)


@pytest.mark.parametrize("seed", range(20))
def test_a_goal_is_reached_from_wherever_it_was_set(seed: int) -> None:
    moving = Moving(seed)
    for _ in range(200):
        moving.step()
    moving.heal()
    nodes = tuple(moving.chance.sample(MEMBERS, moving.database.factor))
    assert moving.cluster.do(SetGoals(((DATABASE, nodes),))) == ()
    moving.heal()
    at = moving.database
    assert ({*at.voters}, {each.leader for each in at.locations}) == ({*nodes}, {nodes[0]})
    moving.check()


@pytest.mark.parametrize("seed", range(20))
def test_arcs_of_a_database_go_their_own_ways_and_come_together(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    locations = 4 if seed % 2 else 8
    monkeypatch.setattr("tsdb.model.change_databases.LOCATIONS_PER_DATABASE", locations)
    moving = run(seed, spread=True)
    assert moving.cluster.do(SpreadDatabase(DATABASE, locations)) == (locations,)
    goals = {goal_number(DATABASE, arc): tuple(moving.chance.sample(MEMBERS, 3)) for arc in range(locations)}
    if {at.factor for at in moving.all_arcs} == {3}:
        assert moving.cluster.do(SetGoals(tuple(goals.items()))) == ()
        moving.heal()
        found = {at.number: ({*at.voters}, {each.leader for each in at.locations}) for at in moving.all_arcs}
        assert found == {number: ({*nodes}, {nodes[0]}) for number, nodes in goals.items()}
        moving.check()
    for count in (3, 2, 1):
        moving.cluster.do(SpreadDatabase(DATABASE, count))
        moving.heal()
        assert len(moving.all_arcs) == count
        moving.check()


def test_the_runs_move_copy_and_acknowledge_much() -> None:
    """Or they would show nothing."""
    runs = [run(seed) for seed in range(10)]
    assert sum(each.installed for each in runs) > 3
    assert sum(each.begun_again for each in runs) > 3
    assert sum(each.written for each in runs) > 100
    assert sum(each.handed for each in runs) > 10


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(0, 4_000, 400))
def test_many_runs(first: int) -> None:
    for seed in range(first, first + 400):
        run(seed, alone=seed % 3 == 0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tsdb.model.change_databases.LOCATIONS_PER_DATABASE", 4 if seed % 2 else 8)
            run(seed, alone=seed % 3 == 0, spread=True)
