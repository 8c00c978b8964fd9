"""Which nodes a balancer sends clients to: by who leads, whom a node reaches, and for how long."""

from __future__ import annotations

from tests.replicas.test_failover import cluster_of, records
from tsdb.cluster.group.readiness import LASTS_S, Readiness, obstacle_of


class Shared:
    """A database of so many of four nodes, beside one of node 1 alone."""

    def __init__(self, factor: int = 3) -> None:
        cluster = cluster_of(4, factor)
        self._state = cluster.machine.state
        record = records(cluster)[0]
        self.leader = record.leader
        self.others = [node for node in record.voters if node != record.leader]
        self.stranger = next(node for node in (4, 3, 2, 1) if node not in record.voters)

    def obstacle(self, *away: int) -> str | None:
        """Where these are not reached."""
        return obstacle_of(self._state, has_leader=True, answers=lambda node: node not in away)


def test_who_reaches_those_that_lead_has_nothing_in_its_way() -> None:
    shared = Shared()
    assert shared.obstacle() is None
    assert shared.obstacle(shared.stranger, shared.others[0]) is None


def test_a_leader_that_others_reach_and_this_node_does_not_is_in_the_way() -> None:
    shared = Shared()
    found = shared.obstacle(shared.leader)
    assert found is not None
    assert f"node {shared.leader}," in found


def test_what_is_away_for_all_is_no_reason_to_go_to_another_node() -> None:
    shared = Shared()
    assert shared.obstacle(shared.leader, shared.others[0]) is None
    both = Shared(2)
    assert both.obstacle(both.leader) is None
    single = Shared(1)
    assert single.obstacle(single.leader) is None


def test_without_a_majority_of_those_that_vote_a_node_is_not_ready() -> None:
    state = cluster_of(3, 3).machine.state
    assert obstacle_of(state, has_leader=False, answers=lambda node: True) is not None


def test_what_passes_soon_is_waited_for_but_not_at_the_beginning() -> None:
    readiness = Readiness()
    assert readiness.obstacle is not None
    readiness.look("no leader", 0.0)
    assert readiness.obstacle == "no leader"
    readiness.look(None, 1.0)
    assert readiness.obstacle is None
    readiness.look("no leader", 2.0)
    readiness.look("another leader", 2.0 + LASTS_S / 2)
    assert readiness.obstacle is None
    readiness.look("another leader", 2.0 + LASTS_S)
    assert readiness.obstacle == "another leader"
    readiness.look(None, 20.0)
    assert readiness.obstacle is None
