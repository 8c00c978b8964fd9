"""The replicas of a node in turns: one sync for all; what is committed is visible; crashes, flushes, other leaders."""

from __future__ import annotations

import pytest

from tests.replicas.hosts import World
from tsdb.cluster.replication.clients import NotLeader, Unknown, Written
from tsdb.cluster.replication.messages import TruncatedBelow
from tsdb.cluster.replication.replica import Replica
from tsdb.storage.replica_log import LEFT


@pytest.fixture
def world() -> World:
    world = World()
    world.run()
    return world


def test_a_location_takes_writes_as_soon_as_a_majority_has_its_first_barrier(world: World) -> None:
    told = world[1].write(1, b"a")
    world[1].turn()
    assert not told
    world.run()
    assert isinstance(told[0], Written)
    world.tick(3)
    assert world.visible(1) == [[b"a"]] * 3


def test_writes_to_many_locations_are_one_sync_and_become_visible_together(world: World) -> None:
    before = world[1].disk.syncs
    told = [world[1].write(location, b"x") for location in world.records]
    world[1].turn()
    assert world[1].disk.syncs == before + 1
    world[1].applied_at_once.clear()
    world.run()
    assert all(isinstance(each[0], Written) for each in told)
    assert max(world[2].applied_at_once, default=0) <= 4
    world.tick(3)
    assert all(world.visible(location) == [[b"x"]] * 3 for location in world.records)


def test_nothing_is_answered_or_visible_without_a_majority(world: World) -> None:
    told = world[1].write(1, b"lost")
    world[1].turn()
    world.run(without={2, 3})
    assert not told
    assert world.visible(1) == [[]] * 3


def test_a_write_waits_for_the_epoch_to_become_active_and_then_is_told_what_became_of_it(world: World) -> None:
    world.assign(2)
    world.tell(2)
    told = world[2].write(1, b"early")
    world[2].turn()
    assert not told
    world.tick(3)
    assert isinstance(told[0], Written)
    refused = world[1].write(1, b"elsewhere")
    world[1].turn()
    assert isinstance(refused[0], NotLeader)


def test_patience_ends(world: World) -> None:
    world.assign(2)
    world.tell(2)
    told = world[2].write(1, b"early", patience=3)
    world[2].turn()
    for _ in range(5):
        world[2].tick()
    assert len(told) == 1
    assert not isinstance(told[0], Written)


def test_after_a_crash_the_tail_is_there_and_applied_when_a_leader_says_so(world: World) -> None:
    told = world[1].write(1, b"kept")
    world[1].turn()
    world.run()
    assert told
    for node in (1, 2, 3):
        world[node].crash()
    assert world.visible(1) == [[]] * 3
    world.tick(4)
    assert world.visible(1) == [[b"kept"]] * 3
    assert {record.epoch for record, _ in world.records.values()} == {2}


def test_the_next_leader_has_what_was_acknowledged_and_not_what_was_reverted(world: World) -> None:
    kept = world[1].write(1, b"kept")
    world[1].turn()
    world.run(without={3})
    lost = world[1].write(1, b"lost")
    world[1].turn()
    world.network.clear()
    assert kept
    world.assign(3)
    world.tell(2, 3)
    world.tick(3, without={1})
    again = world[3].write(1, b"later")
    world[3].turn()
    world.tick(2, without={1})
    assert isinstance(again[0], Written)
    world.tell()
    world.tick(4)
    assert isinstance(lost[0], Unknown)
    assert world.visible(1) == [[b"kept", b"later"]] * 3
    assert world[1].host.ops_reverted == 1


def test_an_op_waits_for_the_schema_that_it_was_made_under(world: World) -> None:
    world.schema = world[1].known = world[3].known = 5
    told = world[1].write(1, b"new")
    world[1].turn()
    world.tick(3)
    assert told
    assert world.visible(1) == [[b"new"], [], [b"new"]]
    world[2].known = 5
    world[2].host.wake()
    world[2].turn()
    assert world.visible(1) == [[b"new"]] * 3


def test_a_flush_is_where_a_restart_begins_and_nothing_is_applied_twice(world: World) -> None:
    world[1].write(1, b"one")
    world[1].turn()
    world.tick(3)
    frozen = world[2].freeze()
    world[1].write(1, b"two")
    world[1].turn()
    world.tick(3)
    world[2].flush(*frozen)
    world[2].crash()
    assert world[2].visible[1] == [b"one"]
    world.tick(4)
    assert world.visible(1) == [[b"one", b"two"]] * 3


def test_ops_that_are_in_blocks_and_more_than_are_kept_go(world: World) -> None:
    for number in range(3):
        world[1].write(1, b"%d" % number)
        world[1].turn()
        world.tick(3)
        world[1].flush(*world[1].freeze())
        world[1].tick()
    assert [*world[1].host._log.ops(1, 5)] == []
    assert world[1].host._log.record(1).base == 4  # type: ignore[union-attr]
    assert len([*world[2].host._log.ops(1, 1)]) == 4


def test_a_node_that_a_location_left_forgets_it_and_takes_no_other_replica_of_it(world: World) -> None:
    record, _ = world.records[1]
    world.change(1, voters=(1, 2), active_voters=(1, 2), epoch=2, active_epoch=2, replicas=record.replicas[:2])
    world.tell()
    assert 1 not in world[3].host.locations
    assert world[3].host._log.record(1) == LEFT
    world.change(1, learners=(3,), replicas=(*record.replicas[:2], (3, 3 << 40 | 9)))
    world.tell()
    assert 1 not in world[3].host.locations
    world[3].crash()
    assert 1 not in world[3].host.locations


def test_a_writer_whose_replica_leaves_is_not_told_that_nothing_is_logged(world: World) -> None:
    """Others go on, and may have it."""
    told = world[1].write(1, b"x")
    world[1].turn()
    record, _ = world.records[1]
    world.change(
        1, voters=(2, 3), active_voters=(2, 3), leader=2, epoch=2, active_epoch=2, replicas=record.replicas[1:]
    )
    world.tell()
    assert 1 not in world[1].host.locations
    assert isinstance(told[0], Unknown)


def test_what_waits_for_an_epoch_is_not_logged_when_nobody_waits_for_it_any_more(world: World) -> None:
    left: list[bool] = []
    world.assign(2)
    world.tell(2)
    told = world[2].write(1, b"late", patience=1000, is_left=lambda: bool(left))
    settled: list[bool] = []
    world[2].host.when_settled((1,), 1000, settled.append, lambda: bool(left))
    world[2].tick()
    assert not told
    assert not settled
    left.append(True)
    world[2].tick(2)
    assert isinstance(told[0], NotLeader)
    assert settled == [False]
    world.tick(5)
    assert world.visible(1) == [[]] * 3


def test_a_dropped_location_is_forgotten_and_its_writers_are_told(world: World) -> None:
    told = world[1].write(1, b"x")
    for node in (1, 2, 3):
        batch = world[node].disk.batch()
        world[node].host.drop(batch, [1, 77])
        world[node].disk.write(batch, sync=True)
        assert world[node].host._log.record(1) is None
    assert isinstance(told[0], NotLeader)
    world.tick(2)


def test_reads_are_confirmed_by_a_majority_and_by_the_leader_alone(world: World) -> None:
    told: list[object] = []
    world[1].host.read(1, Replica.read, 3, told.append)
    world[1].turn()
    assert not told
    world.run()
    assert type(told.pop()).__name__ == "ReadAt"
    world[1].host.read(1, Replica.read, 3, told.append)
    world[1].turn()
    world.assign(2)
    world.tell(2, 3)
    world.tick(2, without={1})
    world.tell(1)
    world.tick()
    assert isinstance(told.pop(), NotLeader)


def test_who_rests_on_what_is_there_is_told_when_nothing_is_on_its_way(world: World) -> None:
    told: list[bool] = []
    world[1].host.when_settled({1, 2}, 10, told.append)
    world[1].turn()
    assert told == [True]
    on_its_way = world[1].write(2, b"before")
    world[1].turn()
    world[1].host.when_settled({1, 2}, 10, told.append)
    world[1].turn()
    # It is in the log, and not known to be on a majority: not visible, and not gone either.
    assert told == [True]
    world.run()
    assert on_its_way
    assert told == [True, True]


def test_who_waits_for_nothing_to_be_on_its_way_waits_for_so_long_and_only_at_the_leader(world: World) -> None:
    told: list[bool] = []
    world[2].host.when_settled({1}, 10, told.append)
    world[2].turn()
    assert told == [False]
    world[1].write(1, b"x")
    world[1].turn()
    world[1].host.when_settled({1}, 3, told.append)
    for _ in range(4):
        world[1].tick()
    assert told == [False, False]


def test_one_who_logs_when_told_is_waited_for_by_the_next(world: World) -> None:
    told: list[str] = []

    def first(is_settled: bool) -> None:
        assert is_settled
        told.append("first")
        world[1].write(1, b"x")

    world[1].host.when_settled({1}, 10, first)
    world[1].host.when_settled({1}, 10, lambda _: told.append("second"))
    world[1].turn()
    assert told == ["first"]
    world.run()
    assert told == ["first", "second"]


@pytest.mark.parametrize("has", [False, True])
def test_who_gets_the_ops_that_it_lacks_from_another_leader_wants_no_copy_and_is_not_behind(has: bool) -> None:
    world = World()
    world.tick(3, without=set() if has else {3})
    leads, lacks = (world.records[1][0].replicas[node - 1][1] for node in (1, 3))
    # The log does not have them any more there.
    world[3].host.step([TruncatedBelow(leads, lacks, 1, 1, 50)])
    world[3].turn()
    assert world[3].host.wishes == ({} if has else {1: leads})
    assert world[3].host.gauges()["replicas_behind"] == 1
    world.assign(2)
    world.tell()
    world.tick(5)
    assert world[3].host.log_ends()[1] == world[2].host.log_ends()[1]
    assert world[3].host.wishes == {}
    assert world[3].host.gauges()["replicas_behind"] == 0
