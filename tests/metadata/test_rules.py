"""The rules of members, rings and location records, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.metadata.draws import CLUSTER, commands, uuid
from tests.metadata.test_machine import SEEDS, run
from tsdb.cluster.metadata.commands import (
    Action,
    Activate,
    AddMember,
    Assign,
    Assignment,
    ChangeMember,
    ChangeRing,
    ChangeSchema,
    Command,
    Expected,
    Found,
    NewMember,
    Recover,
    RemoveMember,
    SetGoals,
    SetIntent,
    SetLearners,
    SetReplication,
    Share,
    encode,
)
from tsdb.cluster.metadata.locations import first_nodes
from tsdb.cluster.metadata.machine import Machine
from tsdb.cluster.metadata.records import (
    FROM_THE_START,
    NO_ID,
    Goal,
    Intent,
    Interval,
    LocationRecord,
    Member,
    Ring,
)
from tsdb.model.ring import RING_SIZE
from tsdb.model.schema import (
    CreateDatabase,
    DropDatabase,
)


class Cluster:
    """A machine of so many nodes with a database ``d``; ``do`` gives the values, or the error's name."""

    def __init__(self, nodes: int = 1, factor: int = 1) -> None:
        self.machine = Machine()
        self.index = 0
        if nodes:
            self.do(Found(CLUSTER, NewMember(uuid(1)), factor))
        for number in range(2, nodes + 1):
            self.do(AddMember(NewMember(uuid(number))))
        self.do(ChangeSchema.of([CreateDatabase("d")]))

    def do(self, action: Action, expected: tuple[Expected, ...] = ()) -> Any:
        self.index += 1
        outcome = self.machine.apply(self.index, encode(Command(action, expected=expected)))
        assert outcome is not None
        return outcome.answer.error or outcome.answer.values

    def location(self, number: int) -> LocationRecord:
        found = self.machine.state.get(LocationRecord, number)
        assert found is not None
        return found

    def ring(self, number: int = 1) -> Ring:
        found = self.machine.state.get(Ring, number)
        assert found is not None
        return found


# Members


def test_a_cluster_is_founded_once_and_nobody_joins_before() -> None:
    cluster = Cluster(0)
    assert cluster.do(AddMember(NewMember(uuid(1)))) == "ObjectNotInPrerequisiteState"
    assert cluster.do(Found(CLUSTER, NewMember(uuid(1)))) == (1,)
    assert cluster.do(Found(CLUSTER, NewMember(uuid(2)))) == "ObjectNotInPrerequisiteState"


def test_a_cluster_is_founded_whole_or_not_at_all() -> None:
    cluster = Cluster(0)
    assert cluster.do(Found(CLUSTER, NewMember(b"short"))) == "InvalidParameterValue"
    assert cluster.machine.state.group.cluster == NO_ID
    assert cluster.do(Found(CLUSTER, NewMember(uuid(1)))) == (1,)


def test_a_disk_has_one_node_id_and_a_removed_one_never_comes_back() -> None:
    cluster = Cluster(1)
    assert cluster.do(AddMember(NewMember(uuid(2)))) == (2,)
    assert cluster.do(AddMember(NewMember(uuid(2)))) == (2,)
    assert cluster.do(RemoveMember(2)) == ()
    assert cluster.do(RemoveMember(2)) == "UndefinedObject"
    assert cluster.do(AddMember(NewMember(uuid(2)))) == "DuplicateObject"
    assert cluster.do(AddMember(NewMember(uuid(3)))) == (3,)


def test_who_holds_a_location_or_is_the_last_one_is_not_removed() -> None:
    cluster = Cluster(1)
    cluster.do(AddMember(NewMember(uuid(2))))
    assert cluster.do(RemoveMember(1)) == "ObjectInUse"
    locations = range(1, 33)
    cluster.do(Assign(tuple(Assignment(each, 2, 2, (2,)) for each in locations)))
    # Its promise is still needed: the epoch that it has is the active one.
    assert cluster.do(RemoveMember(1)) == "ObjectInUse"
    cluster.do(Activate(tuple((each, 2) for each in locations)))
    assert cluster.do(RemoveMember(1)) == ()
    assert cluster.do(RemoveMember(2)) == "ObjectInUse"


@pytest.mark.parametrize(
    "new",
    [
        NewMember(b"short"),
        NewMember(bytes(16)),
        NewMember(uuid(9), tuple((str(n), "h:1") for n in range(17))),
        NewMember(uuid(9), (("peer", "h:1"), ("peer", "h:2"))),
        NewMember(uuid(9), zone="z" * 256),
        NewMember(uuid(9), capacity_bytes=-1),
    ],
)
def test_what_a_node_says_of_itself_has_bounds(new: NewMember) -> None:
    assert Cluster(1).do(AddMember(new)) == "InvalidParameterValue"


def test_a_draining_node_gets_nothing_new_and_keeps_what_it_has() -> None:
    cluster = Cluster(2)
    cluster.do(ChangeSchema.of([CreateDatabase(name) for name in "abcghi"]))
    cluster.do(ChangeMember(2, draining=True))
    held = [r for r in cluster.machine.state.all(LocationRecord) if r.voters == (2,)]
    other = [r for r in cluster.machine.state.all(LocationRecord) if r.voters == (1,)]
    assert held
    assert other
    assert cluster.do(Assign((Assignment(other[0].location, 2, 2, (1, 2)),))) == "InvalidParameterValue"
    assert cluster.do(Assign((Assignment(held[0].location, 2, 1, (1, 2)),))) == (held[0].location,)
    cluster.do(ChangeSchema.of([CreateDatabase("e")]))
    last = max(cluster.machine.state.catalog.databases_by_number)
    assert {r.voters for r in cluster.machine.state.all(LocationRecord) if r.database == last} == {(1,)}


def test_a_name_is_one_nodes_until_that_is_gone() -> None:
    cluster = Cluster(1)
    assert cluster.do(AddMember(NewMember(uuid(2), name="n2"))) == (2,)
    assert cluster.do(AddMember(NewMember(uuid(2), name="n2"))) == (2,), "asked again, answered again"
    # Its disk was wiped: it comes with another uuid, and may only be let in when the old one was given up.
    assert cluster.do(AddMember(NewMember(uuid(3), name="n2"))) == "DuplicateObject"
    assert cluster.do(ChangeMember(1, name="n2")) == "DuplicateObject"
    assert cluster.do(RemoveMember(2)) == ()
    assert cluster.do(AddMember(NewMember(uuid(3), name="n2"))) == (3,)
    assert cluster.do(AddMember(NewMember(uuid(2), name="n4"))) == "DuplicateObject", "its uuid never comes back"
    assert cluster.do(ChangeMember(1, name="n1")) == ()
    assert cluster.do(ChangeMember(1, name="n" * 65)) == "InvalidParameterValue"


def test_a_node_that_is_removed_by_force_leaves_its_locations_to_others() -> None:
    cluster = Cluster(3)
    cluster.do(ChangeSchema.of([CreateDatabase(name) for name in "abcefghijklmnopqrstu"]))
    records = list(cluster.machine.state.all(LocationRecord))
    (alone,) = [r.location for r in records if r.leader == 2][:1]
    shared = next(r.location for r in records if r.leader == 1)
    cluster.do(Assign((Assignment(shared, 2, 2, (1, 2), (3,)),)))
    assert cluster.do(RemoveMember(2)) == "ObjectInUse"
    assert cluster.do(RemoveMember(2, accept_loss=True)) == ()
    for record in cluster.machine.state.all(LocationRecord):
        assert record.leader in record.voters
        assert 2 not in (*record.voters, *record.learners, *record.active_voters)
    taken = cluster.location(shared)
    assert (taken.epoch, taken.leader, taken.voters, taken.learners) == (3, 1, (1,), (3,))
    begun = cluster.location(alone)
    assert (begun.epoch, begun.active_epoch, begun.voters) == (2, 2, begun.active_voters)
    others = [r for r in records if 2 not in r.voters and r.location != shared]
    assert all(cluster.location(r.location) == r for r in others), "nothing else has changed"


def test_one_node_is_the_cluster_when_an_operator_gives_up_the_others() -> None:
    cluster = Cluster(3)
    other = uuid(77)
    assert cluster.do(Recover(4, other)) == "UndefinedObject"
    assert cluster.do(Recover(2, CLUSTER)) == "InvalidParameterValue", "it needs another id"
    assert cluster.do(Recover(2, b"short")) == "InvalidParameterValue"
    cluster.do(ChangeMember(2, draining=True))
    assert cluster.do(Recover(2, other)) == (1, 3)
    state = cluster.machine.state
    assert state.group.cluster == other
    assert [each.node for each in state.all(Member) if not each.gone] == [2]
    assert {(r.leader, r.voters, r.active_voters) for r in state.all(LocationRecord)} == {(2, (2,), (2,))}


# Locations


def test_with_one_replica_a_database_is_whole_at_one_node_and_databases_are_spread() -> None:
    cluster = Cluster(3)
    cluster.do(ChangeSchema.of([CreateDatabase(f"d{n}") for n in range(20)]))
    leaders: dict[int, set[int]] = {}
    for record in cluster.machine.state.all(LocationRecord):
        leaders.setdefault(record.database, set()).add(record.leader)
    assert all(len(found) == 1 for found in leaders.values())
    assert set.union(*leaders.values()) == {1, 2, 3}


def test_a_replicated_database_is_at_the_same_nodes_in_all_zones_and_active_at_once() -> None:
    cluster = Cluster(0)
    cluster.do(Found(CLUSTER, NewMember(uuid(1), zone="a"), 3))
    for number in range(2, 7):
        cluster.do(AddMember(NewMember(uuid(number), zone="abc"[(number - 1) // 2])))
    cluster.do(ChangeSchema.of([CreateDatabase(f"e{n}") for n in range(40)]))
    nodes: dict[int, set[tuple[int, tuple[int, ...]]]] = {}
    for record in cluster.machine.state.all(LocationRecord):
        if record.database > 1:
            nodes.setdefault(record.database, set()).add((record.leader, record.voters))
            assert (record.epoch, record.active_epoch, record.active_voters) == (1, 1, record.voters)
            assert record.leader in record.voters
            assert {(node - 1) // 2 for node in record.voters} == {0, 1, 2}
    assert all(len(found) == 1 for found in nodes.values())
    assert {leader for found in nodes.values() for leader, _ in found} == {1, 2, 3, 4, 5, 6}


def test_locations_that_are_older_than_the_first_node_get_it_when_it_comes() -> None:
    cluster = Cluster(0)
    assert {r.epoch for r in cluster.machine.state.all(LocationRecord)} == {0}
    cluster.do(Found(CLUSTER, NewMember(uuid(1))))
    assert {(r.epoch, r.leader) for r in cluster.machine.state.all(LocationRecord)} == {(1, 1)}


def test_places_do_not_depend_on_the_order_of_members() -> None:
    members = [Member(n, uuid(n), (), "ab"[n % 2], 0) for n in range(1, 8)]
    for location in range(50):
        assert first_nodes(location, members, 3) == first_nodes(location, members[::-1], 3)


def test_an_epoch_follows_the_last_one_and_each_location_is_for_itself() -> None:
    cluster = Cluster(2)
    wanted = [Assignment(1, 2, 1, (1,)), Assignment(2, 3, 1, (1,)), Assignment(3, 2, 2, (1, 2), ())]
    assert cluster.do(Assign(tuple(wanted))) == (1, 3)
    assert cluster.do(Assign(tuple(wanted))) == "SerializationFailure"
    assert (cluster.location(3).leader, cluster.location(3).voters) == (2, (1, 2))
    assert cluster.location(2).epoch == 1


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (Assignment(99, 1, 1, (1,)), "UndefinedObject"),
        (Assignment(1, 2, 2, (1,)), "InvalidParameterValue"),
        (Assignment(1, 2, 1, (1, 1)), "InvalidParameterValue"),
        (Assignment(1, 2, 1, (1,), (1,)), "InvalidParameterValue"),
        (Assignment(1, 2, 9, (9,)), "UndefinedObject"),
        (Assignment(1, 2, 1, (1,), (9,)), "UndefinedObject"),
    ],
)
def test_an_assignment_names_nodes_that_are_there_once(wanted: Assignment, error: str) -> None:
    assert Cluster(2).do(Assign((wanted,))) == error


def test_the_active_epoch_stays_until_the_next_one_is_activated() -> None:
    cluster = Cluster(2)
    before = cluster.location(1).active_voters
    cluster.do(Assign((Assignment(1, 2, 1, (1, 2)),)))
    assert (cluster.location(1).active_epoch, cluster.location(1).active_voters) == (1, before)
    assert cluster.do(Activate(((1, 1),))) == "SerializationFailure"
    assert cluster.do(Activate(((1, 2),))) == (1,)
    assert cluster.do(Activate(((1, 2),))) == (1,)
    assert (cluster.location(1).active_epoch, cluster.location(1).active_voters) == (2, (1, 2))


def test_learners_come_and_go_within_an_epoch() -> None:
    cluster = Cluster(3)
    (leader,) = cluster.location(1).voters
    one, two = sorted({1, 2, 3} - {leader})
    assert cluster.do(SetLearners(1, 1, (two, one))) == ()
    assert (cluster.location(1).learners, cluster.location(1).epoch) == ((one, two), 1)
    assert cluster.do(SetLearners(1, 2, (one,))) == "SerializationFailure"
    assert cluster.do(SetLearners(1, 1, (leader,))) == "InvalidParameterValue"
    assert cluster.do(SetLearners(1, 1, (9,))) == "UndefinedObject"
    cluster.do(ChangeMember(one, draining=True))
    assert cluster.do(SetLearners(1, 1, (one,))) == ()
    assert cluster.do(SetLearners(1, 1, ())) == ()
    assert cluster.do(SetLearners(1, 1, (one,))) == "InvalidParameterValue"
    assert cluster.do(SetLearners(1, 1, (two,))) == ()
    assert cluster.do(RemoveMember(two)) == "ObjectInUse"


def test_a_member_says_on_which_machine_it_is() -> None:
    cluster = Cluster(1)
    assert cluster.do(AddMember(NewMember(uuid(2), machine="m1"))) == (2,)
    assert cluster.do(ChangeMember(1, machine="m2")) == ()
    assert cluster.do(ChangeMember(1, zone="z")) == ()
    assert [each.machine for each in cluster.machine.state.all(Member)] == ["m2", "m1"]
    assert cluster.do(ChangeMember(1, machine="m" * 256)) == "InvalidParameterValue"


def test_a_location_gets_one_epoch_at_once() -> None:
    twice = (Assignment(1, 2, 1, (1,)), Assignment(1, 3, 1, (1,)))
    cluster = Cluster(1)
    assert cluster.do(Assign(twice)) == "InvalidParameterValue"
    assert cluster.location(1).epoch == 1


def test_an_intent_stays_with_its_location() -> None:
    cluster = Cluster(1)
    cluster.do(SetIntent(1, Intent.SPLIT))
    cluster.do(Assign((Assignment(1, 2, 1, (1,)),)))
    assert cluster.location(1).intent is Intent.SPLIT


@pytest.mark.parametrize("seed", SEEDS)
def test_epochs_and_time_and_floors_only_rise_and_an_active_epoch_was_assigned(seed: int) -> None:
    machine = Machine()
    assigned: dict[tuple[int, int], tuple[int, ...]] = {}
    for index, each in enumerate(commands(seed, 120), 1):
        before = machine.state
        machine.apply(index, encode(each))
        now = machine.state
        assert now.group.time_ns >= before.group.time_ns
        assert now.group.next_node >= before.group.next_node
        assert now.catalog.next_location >= before.catalog.next_location
        for record in now.all(LocationRecord):
            was = before.get(LocationRecord, record.location)
            if was is not None:
                assert was.epoch <= record.epoch <= was.epoch + 1 or was.epoch == 0
                assert was.active_epoch <= record.active_epoch <= record.epoch
                assert record.epoch > was.epoch or record.voters == was.voters
            assert assigned.setdefault((record.location, record.epoch), record.voters) == record.voters
            if record.active_epoch:
                assert assigned[record.location, record.active_epoch] == record.active_voters
        for member in before.all(Member):
            later = now.get(Member, member.node)
            assert later is not None
            assert later.uuid == member.uuid
            assert later.gone >= member.gone


# Rings


def split(ring: Ring) -> tuple[Interval, ...]:
    first, *rest = ring.maps[-1].intervals
    middle = first.last // 2
    return Interval(0, 0, middle), Interval(0, middle + 1, first.last), *rest


def test_a_database_begins_with_a_map_for_all_time_and_takes_it_along() -> None:
    cluster = Cluster(1)
    (only,) = cluster.ring().maps
    assert (only.version, only.from_bucket) == (1, FROM_THE_START)
    assert [each.location for each in only.intervals] == list(range(1, 33))
    cluster.do(ChangeSchema.of([DropDatabase("d")]))
    assert cluster.machine.state.get(Ring, 1) is None
    assert not list(cluster.machine.state.all(LocationRecord))


def test_a_later_map_names_its_bucket_and_gives_new_locations_numbers_of_their_own() -> None:
    cluster = Cluster(1)
    assert cluster.do(ChangeRing(1, 2, 1_000, split(cluster.ring()))) == (33, 34)
    assert [m.from_bucket for m in cluster.ring().maps] == [FROM_THE_START, 1_000]
    assert cluster.location(33).map_version == 2
    assert (cluster.location(2).map_version, cluster.location(1).map_version) == (2, 1)
    assert cluster.machine.state.catalog.next_location == 35
    cluster.do(ChangeSchema.of([CreateDatabase("e")]))
    assert cluster.ring(2).maps[0].intervals[0].location == 35


def test_a_map_is_refused_that_follows_another_one_or_reaches_into_its_time() -> None:
    cluster = Cluster(1)
    assert cluster.do(ChangeRing(1, 3, 1_000, split(cluster.ring()))) == "SerializationFailure"
    cluster.do(ChangeRing(1, 2, 1_000, split(cluster.ring())))
    assert cluster.do(ChangeRing(1, 2, 2_000, split(cluster.ring()))) == "SerializationFailure"
    assert cluster.do(ChangeRing(1, 3, 1_000, split(cluster.ring()))) == "InvalidParameterValue"
    assert cluster.do(ChangeRing(9, 2, 1_000, split(cluster.ring()))) == "InvalidCatalogName"


@pytest.mark.parametrize(
    "intervals",
    [
        (),
        (Interval(0, 1, RING_SIZE - 1),),
        (Interval(0, 0, RING_SIZE - 2),),
        (Interval(0, 0, 9), Interval(0, 11, RING_SIZE - 1)),
        (Interval(0, 0, 9), Interval(0, 9, RING_SIZE - 1)),
        (Interval(1, 0, 9), Interval(0, 10, RING_SIZE - 1)),
        (Interval(77, 0, 9), Interval(0, 10, RING_SIZE - 1)),
    ],
)
def test_a_map_covers_the_ring_and_a_location_keeps_its_interval(intervals: tuple[Interval, ...]) -> None:
    assert Cluster(1).do(ChangeRing(1, 2, 5, intervals)) == "InvalidParameterValue"


@pytest.mark.parametrize("seed", SEEDS)
def test_every_map_covers_the_ring_and_a_location_is_of_one_interval_for_ever(seed: int) -> None:
    machine, _ = run(commands(seed, 200))
    for ring in machine.state.all(Ring):
        places: dict[int, tuple[int, int]] = {}
        assert [m.version for m in ring.maps] == list(range(1, len(ring.maps) + 1))
        assert sorted({m.from_bucket for m in ring.maps}) == [m.from_bucket for m in ring.maps]
        for each in ring.maps:
            assert sum(i.last - i.low + 1 for i in each.intervals) == RING_SIZE
            for interval in each.intervals:
                place = interval.low, interval.last
                assert places.setdefault(interval.location, place) == place
                record = machine.state.get(LocationRecord, interval.location)
                assert record is not None
                assert record.database == ring.database


def test_the_replication_factor_of_new_databases_is_the_groups() -> None:
    cluster = Cluster(3)
    assert cluster.do(SetReplication(0, 2)) == ()
    cluster.do(ChangeSchema.of([CreateDatabase("e")]))
    assert (cluster.ring(1).replication_factor, cluster.ring(2).replication_factor) == (1, 2)
    assert {len(r.voters) for r in cluster.machine.state.all(LocationRecord) if r.database == 2} == {2}
    assert cluster.do(SetReplication(1, 3)) == ()
    assert cluster.do(SetReplication(1, 8)) == "InvalidParameterValue"


def test_a_goal_is_as_many_nodes_as_a_replicated_database_has_and_goes_with_it() -> None:
    cluster = Cluster(4)
    cluster.do(SetReplication(0, 2))
    cluster.do(ChangeSchema.of([CreateDatabase("e")]))
    assert cluster.do(SetGoals(((2, (4, 1)),))) == ()
    found = cluster.machine.state.get(Goal, 2)
    assert found is not None
    assert found.nodes == (4, 1)
    for nodes in ((4,), (4, 4), (1, 2, 3)):
        assert cluster.do(SetGoals(((2, nodes),))) == "InvalidParameterValue"
    assert cluster.do(SetGoals(((2, (4, 9)),))) == "UndefinedObject"
    assert cluster.do(SetGoals(((1, (4, 2)),))) == "InvalidParameterValue"
    # One that only a node has is to be shared, so that it can move.
    assert not cluster.ring().is_coming
    assert cluster.do(SetGoals(((1, (4,)),))) == ()
    assert (cluster.ring().is_coming, cluster.ring().is_shared, cluster.ring().wanted) == (True, False, 1)
    assert cluster.do(SetGoals(((7, ()),))) == "InvalidCatalogName"
    assert cluster.do(SetGoals(((2, ()),))) == ()
    assert cluster.machine.state.get(Goal, 2) is None
    cluster.do(SetGoals(((2, (3, 2)),)))
    cluster.do(ChangeSchema.of([DropDatabase("e")]))
    assert cluster.machine.state.get(Goal, 2) is None


def test_a_database_of_one_node_is_shared_when_that_was_asked_for_in_a_new_epoch_and_stays_so() -> None:
    cluster = Cluster(3)

    def own() -> list[LocationRecord]:
        return [each for each in cluster.machine.state.all(LocationRecord) if each.database == 1]

    before = own()
    assert cluster.do(Share(1)) == "ObjectNotInPrerequisiteState"
    assert cluster.do(Share(7)) == "InvalidCatalogName"
    assert cluster.do(SetReplication(1, 3)) == ()
    ring = cluster.ring()
    assert (ring.replication_factor, ring.wanted, ring.is_coming, ring.is_shared) == (1, 3, True, False)
    assert own() == before
    assert cluster.do(SetReplication(1, 2)) == ()
    assert cluster.do(Share(1)) == ()
    ring = cluster.ring()
    assert (ring.replication_factor, ring.wanted, ring.is_coming, ring.is_shared) == (2, 0, False, True)
    for was, now in zip(before, own(), strict=True):
        assert (now.leader, now.voters, now.replicas) == (was.leader, was.voters, was.replicas)
        assert (now.epoch, now.active_epoch, now.active_voters) == (was.epoch + 1, was.epoch + 1, was.voters)
    after = own()
    assert cluster.do(Share(1)) == ()
    assert cluster.do(SetReplication(1, 1)) == ()
    assert (cluster.ring().replication_factor, cluster.ring().is_shared) == (1, True)
    assert own() == after
