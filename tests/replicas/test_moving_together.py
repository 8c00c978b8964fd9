"""Four nodes, all but ports for clients: databases move between them, whole, while they are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.setting import START
from tests.fixtures.waiting import until
from tests.group.together import OPTIONS, Together
from tests.replicas.replicated import HOUR, Replicated, replicated
from tsdb.cluster.group.control import Done, Drain, Rebalance, Remove, Replicate
from tsdb.cluster.metadata.commands import SetGoals
from tsdb.cluster.metadata.records import Goal, LocationRecord, replica_on
from tsdb.errors import InvalidCatalogName
from tsdb.model.schema import CreateDatabase
from tsdb.model.store import RangeDeletion, TimeRange


class Moved(Replicated):
    def holders(self) -> set[int]:
        """The nodes of a database all of whose locations have the same ones and are settled; none otherwise."""
        state = self.any().metadata
        number = self.database(self.any()).number
        own = [each for each in state.all(LocationRecord) if each.database == number]
        voters = {each.voters for each in own}
        settled = all(each.active_epoch == each.epoch and not each.learners for each in own)
        return {*voters.pop()} if len(voters) == 1 and settled else set()

    def at(self, node: int) -> list[int]:
        """What a node has, whoever leads."""
        return sorted(self.values(self.together.nodes[node].engine.view()))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Moved]:
    together = Together(tmp_path, replace(OPTIONS, replica_log_bytes=0))
    together.lost_node_s = 6.0
    with replicated(together, Moved) as cluster:
        yield cluster


def fill(cluster: Moved) -> list[int]:
    """Points of many hours, some of them deleted, in blocks, and none of their ops in any log any more."""
    cluster.write([*range(2000)])
    leader = cluster.leader()
    gone = TimeRange(START + 2 * HOUR, START + 3 * HOUR)
    leader.delete(cluster.database(leader), RangeDeletion(cluster.series(leader), gone)).result(30)
    expected = [each for each in range(2000) if not 120 <= each < 180]
    cluster.everywhere(expected)
    for node in cluster.nodes.values():
        node.flush()
    return expected


def test_a_drained_node_is_replaced_by_one_that_gets_a_copy_and_its_points_go(cluster: Moved) -> None:
    expected = fill(cluster)
    together = cluster.together
    together.start(4, join=1)
    assert isinstance(together.ask(1, Drain(2, True)), Done)
    until(lambda: cluster.holders() == {1, 3, 4})
    cluster.write([5000], START + 100 * HOUR)
    expected = [*expected, 5000]
    assert sorted(cluster.read()) == expected
    for node in (1, 3, 4):
        until(lambda: cluster.at(node) == expected)  # noqa: B023
    until(lambda: cluster.at(2) == [])
    assert together.nodes[4].agreement.gauges()["replica_copies_received_total"] in (1, 2)
    assert isinstance(together.ask(1, Remove(2, accept_loss=False)), Done)


def test_a_lost_node_is_replaced_and_may_come_back(cluster: Moved) -> None:
    expected = fill(cluster)
    together = cluster.together
    together.start(4, join=1)
    until(lambda: together.roles(1).get(4) is not None)
    first = cluster.leader().engine.node
    together.stop(first)
    cluster.write([5000], START + 100 * HOUR)
    until(lambda: cluster.holders() == {1, 2, 3, 4} - {first})
    cluster.write([5001], START + 200 * HOUR)
    expected = [*expected, 5000, 5001]
    assert sorted(cluster.read()) == expected
    for node in {1, 2, 3, 4} - {first}:
        until(lambda: cluster.at(node) == expected)  # noqa: B023
    together.start(first)
    until(lambda: cluster.at(first) == [])


def test_a_node_that_was_away_for_too_long_drops_what_it_has_and_is_rebuilt(cluster: Moved) -> None:
    expected = fill(cluster)
    together = cluster.together
    together.end()
    together.start(1)
    together.start(2)
    cluster.write([5000], START + 100 * HOUR)
    for node in cluster.nodes.values():
        until(lambda: 5000 in cluster.values(node.engine.view()))  # noqa: B023
        node.flush()
    cluster.write([5001], START + 200 * HOUR)
    before = {record.location: replica_on(record, 3) for record in cluster.any().metadata.all(LocationRecord)}
    together.start(3)
    expected = [*expected, 5000, 5001]
    until(lambda: cluster.holders() == {1, 2, 3} and cluster.at(3) == expected)
    number = cluster.database(cluster.any()).number
    own = [each for each in cluster.any().metadata.all(LocationRecord) if each.database == number]
    assert all(replica_on(each, 3) != before[each.location] for each in own)
    assert together.nodes[3].agreement.gauges()["replica_copies_received_total"] >= 1
    assert sorted(cluster.read()) == expected
    # It counts: without one of the others there is a majority.
    together.stop(1)
    cluster.write([5002], START + 300 * HOUR)
    assert sorted(cluster.read()) == [*expected, 5002]


@pytest.mark.nightly
def test_a_rebalance_moves_databases_to_a_node_that_has_joined_and_a_goal_is_reached(cluster: Moved) -> None:
    expected = fill(cluster)
    together = cluster.together
    for number in range(3):
        cluster.any().change(CreateDatabase(f"empty{number}"))
    together.start(4, join=1)
    until(lambda: together.roles(1).get(4) is not None)
    asked = together.ask(2, Rebalance(True))
    assert isinstance(asked, Done)
    assert "balance of" in asked.text
    assert not [*together.nodes[2].metadata.all(Goal)]
    asked = together.ask(2, Rebalance(False))
    assert isinstance(asked, Done)
    assert "on their way" in asked.text
    assert [*together.nodes[2].metadata.all(Goal)]
    until(lambda: not [*together.nodes[2].metadata.all(Goal)])
    state = together.nodes[2].metadata
    assert any(4 in each.voters for each in state.all(LocationRecord))
    assert "nothing to do" in str(getattr(together.ask(3, Rebalance(True)), "text", ""))
    # Whatever was moved: the one with the points goes to these, and is led by the first.
    number = cluster.database(cluster.any()).number
    together.nodes[3].agreement.propose(SetGoals(((number, (4, 2, 1)),)))
    until(lambda: cluster.holders() == {1, 2, 4} and cluster.leader() is together.nodes[4])
    cluster.write([5000], START + 100 * HOUR)
    assert sorted(cluster.read()) == [*expected, 5000]
    until(lambda: cluster.at(3) == [] and cluster.at(4) == [*expected, 5000])


def test_a_replicated_database_gets_more_replicas_and_fewer(cluster: Moved) -> None:
    expected = fill(cluster)
    together = cluster.together
    together.start(4, join=1)
    until(lambda: together.roles(1).get(4) is not None)
    assert isinstance(together.ask(1, Replicate(4, "shared")), Done)
    until(lambda: cluster.holders() == {1, 2, 3, 4})
    until(lambda: cluster.at(4) == expected)
    assert isinstance(together.ask(1, Replicate(2, "shared")), Done)
    until(lambda: len(cluster.holders()) == 2)
    left = cluster.holders()
    assert sorted(cluster.read()) == expected
    for node in {1, 2, 3, 4} - left:
        until(lambda: cluster.at(node) == [])  # noqa: B023
    until(lambda: "has 2 replicas already" in str(together.ask(1, Replicate(2, "shared"))))
    assert "one replica already" in str(together.ask(1, Replicate(1, "tsdb")))
    with pytest.raises(InvalidCatalogName):
        together.ask(1, Replicate(3, "nothing"))
