"""What a node knows of who leads what: ``tsdb.cluster.led``."""

from __future__ import annotations

from typing import cast

from tests.metadata.test_rules import Cluster
from tsdb.cluster.led import Leaders
from tsdb.cluster.metadata.agreement import Agreement
from tsdb.cluster.metadata.commands import Assign, Assignment, SetReplication, Share
from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.metadata.state import State


class Agreed:
    """As much of an ``Agreement`` as is asked for."""

    def __init__(self, state: State) -> None:
        self.state = state

    def watch(self, told: object) -> None:
        pass


def test_a_node_may_have_points_that_it_does_not_lead_also_of_a_database_with_one_voter_each() -> None:
    """What has left it may be there still: its own share has to be cut out of what it has, or it would count twice."""
    cluster = Cluster(2)

    def leaders() -> Leaders:
        return Leaders(cast(Agreement, Agreed(cluster.machine.state)), 1)

    database = cluster.machine.state.catalog.databases_by_number[1]
    assert not leaders().replicated(database)
    cluster.do(SetReplication(1, 1))
    cluster.do(Share(1))
    for each in [each for each in cluster.machine.state.all(LocationRecord) if each.database == 1][:16]:
        other = 3 - each.leader
        cluster.do(Assign((Assignment(each.location, each.epoch + 1, other, (other,), ()),)))
    assert {leaders().replica_count(each.number) for each in database.locations} == {1}
    assert leaders().replicated(database)
