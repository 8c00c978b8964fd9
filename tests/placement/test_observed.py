"""The layout that the group's leader sees: what is recorded, and what was reported."""

from __future__ import annotations

from tsdb.cluster.metadata.commands import (
    Action,
    Activate,
    AddMember,
    ChangeMember,
    ChangeSchema,
    Command,
    Found,
    NewMember,
    SetReplication,
    encode,
)
from tsdb.cluster.metadata.machine import Machine
from tsdb.cluster.metadata.records import LocationRecord
from tsdb.cluster.metadata.soft import Heartbeat, LocationReport, SoftState
from tsdb.cluster.placement.layout import NodeState
from tsdb.cluster.placement.observed import LAG_OPS_MAX, observed
from tsdb.cluster.placement.schedule import next_steps
from tsdb.cluster.placement.solver import solve
from tsdb.cluster.placement.steps import Kind, action_of
from tsdb.model.schema import CreateDatabase

TICKS = 10.0


class Group:
    """Three nodes with a database of 32 locations, and what their leader heard."""

    def __init__(self, factor: int = 1) -> None:
        self.machine = Machine()
        self.soft = SoftState(0)
        self._index = 0
        self._beats = 0
        self.do(Found(b"cluster-id-bytes", NewMember(b"1" * 16, zone="a", capacity_bytes=5, machine="m"), factor))
        self.do(AddMember(NewMember(b"2" * 16)))
        self.do(AddMember(NewMember(b"3" * 16)))
        self.do(ChangeSchema.of([CreateDatabase("d")]))

    def do(self, action: Action) -> None:
        self._index += 1
        outcome = self.machine.apply(self._index, encode(Command(action)))
        assert outcome is not None
        assert outcome.error is None, outcome.error

    def location(self, number: int) -> LocationRecord:
        found = self.machine.state.get(LocationRecord, number)
        assert found is not None
        return found

    def report(self, node: int, *reports: LocationReport, tick: int = 100) -> None:
        self._beats += 1
        assert self.soft.hear(Heartbeat(node, 1, self._beats, reports), tick, (1, 2, 3))

    def hear_all(self, tick: int = 100) -> None:
        for node in (1, 2, 3):
            self.report(node, tick=tick)


def test_members_are_nodes_with_the_time_since_they_were_heard() -> None:
    group = Group()
    group.do(ChangeMember(2, draining=True))
    group.report(1, tick=95)
    group.report(2, tick=60)
    found = observed(group.machine.state, group.soft.heard, 100, 20, TICKS)
    assert found.nodes == (
        NodeState(1, "a", "m", 5, False, 0.5),
        NodeState(2, "", "", 0, True, 4.0),
        # Of who was never heard of, the leader knows since it leads.
        NodeState(3, "", "", 0, False, 8.0),
    )


def test_locations_weigh_what_their_leader_says() -> None:
    group = Group(2)
    record = group.location(5)
    other = next(node for node in record.voters if node != record.leader)
    third = next(node for node in (1, 2, 3) if node not in record.voters)
    group.do(SetReplication(1, 3))
    group.report(record.leader, LocationReport(5, 1, 1, 40, 40, 7, 0, 1_000, 2.5))
    group.report(other, LocationReport(5, 1, 1, 40, 40, 7, 0, 900, 9.0))
    group.report(third, LocationReport(5, 1, 1, 40, 40, 7, 0, 800, 9.0))
    found = observed(group.machine.state, group.soft.heard, 100, 0, TICKS).locations[4]
    assert (found.location, found.factor, found.size_bytes, found.load) == (5, 3, 1_000, 2.5)
    assert (found.leader, found.voters, found.left) == (record.leader, record.voters, (third,))


def test_a_learner_has_caught_up_when_next_to_nothing_is_missing_in_its_leaders_epoch() -> None:
    group = Group()
    leader = group.location(1).leader
    learner = next(node for node in (1, 2, 3) if node != leader)
    group.hear_all()
    layout = observed(group.machine.state, group.soft.heard, 100, 0, TICKS)
    steps = [step for step in next_steps(layout, solve(layout, begun=True)) if step.kind is Kind.ADD]
    for action in action_of(steps):
        group.do(action)
    assert {each for step in steps for each in group.location(step.location).learners} >= {steps[0].node}
    step = steps[0]
    leader, learner = step.leader, step.node
    group.report(leader, LocationReport(step.location, 1, 1, 1_000, 1_000, 7))
    for epoch, last, wanted in ((1, 1_000 - LAG_OPS_MAX, True), (1, 999 - LAG_OPS_MAX, False), (0, 1_000, False)):
        group.report(learner, LocationReport(step.location, epoch, epoch, last, last, 7))
        layout = observed(group.machine.state, group.soft.heard, 100, 0, TICKS)
        assert (learner in layout.locations[step.location - 1].caught_up) is wanted


def test_a_new_database_over_the_metadata_is_made_even_by_its_commands() -> None:
    """Decide, propose, activate, and again, until there is nothing to do."""
    group = Group(2)
    for _ in range(200):
        for node in (1, 2, 3):
            held = [r for r in group.machine.state.all(LocationRecord) if node in (*r.voters, *r.learners)]
            group.report(node, *(LocationReport(r.location, r.epoch, r.epoch, 5, 5, 7, 0, 10, 1.0) for r in held))
        layout = observed(group.machine.state, group.soft.heard, 100, 0, TICKS)
        actions = action_of(next_steps(layout, solve(layout, begun=True)))
        for action in actions:
            group.do(action)
        begun = [r for r in group.machine.state.all(LocationRecord) if r.epoch != r.active_epoch]
        if begun:
            group.do(Activate(tuple((r.location, r.epoch) for r in begun)))
        if not actions and not begun:
            break
    records = list(group.machine.state.all(LocationRecord))
    # Node 1 is alone in its zone, and so has a replica of each.
    for node, share in ((1, 32), (2, 16), (3, 16)):
        assert abs(sum(node in r.voters for r in records) - share) <= 1
        assert abs(sum(node == r.leader for r in records) - share / 2) <= 1
    assert all(not r.learners and len(r.voters) == 2 for r in records)
