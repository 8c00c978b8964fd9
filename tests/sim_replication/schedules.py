"""Directed schedules: one for each rule of the log and of epochs. Each function asserts its rule; B… names a bug that
others shipped (replication design, section 7)."""

from __future__ import annotations

from tests.sim_replication.stage import LOCATION, Stage
from tsdb.cluster.replication.clients import Busy, Fate, Unknown, Written
from tsdb.cluster.replication.messages import (
    Ack,
    Beat,
    BeatAck,
    Dirty,
    Fence,
    Fenced,
    Fetch,
    Fetched,
    Gap,
    Mismatch,
    Promise,
    Repl,
    Snapshot,
    SnapshotRequest,
    TruncatedBelow,
)  # fmt: skip
from tsdb.cluster.replication.record import Activate, NewEpoch, Rebuild
from tsdb.cluster.replication.state import Role
from tsdb.cluster.replication.vector import shared


def an_acknowledgement_of_an_earlier_epoch_does_not_count() -> None:
    """B5: random runs found this in none of 12,000."""
    stage = Stage()
    stage.lead(1)
    stage.assign(1)
    stage.run()
    stage.activate()
    stage.run()
    stage.write(1)
    stage.network.clear()
    commit = stage.commit(1)
    for follower in (2, 3):
        stage.deliver(Ack(follower, 1, LOCATION, stage.record.epoch - 1, stage.last(1)))
    assert stage.commit(1) == commit < stage.last(1)


def a_promise_of_an_earlier_epoch_does_not_count() -> None:
    stage = Stage()
    stage.assign(1)
    promises = [Promise(other, 1, LOCATION, 2, (), 0, 0) for other in (2, 3)]
    stage.network.clear()
    stage.assign(1)
    stage.network.clear()
    for promise in promises:
        stage.deliver(promise)
    assert stage[1].standing == (Role.TAKING_OVER, 3, False)


def a_promise_counts_once() -> None:
    stage = Stage(5, (1, 2, 3, 4, 5))
    stage.assign(1)
    for _ in range(3):
        stage.deliver(Promise(2, 1, LOCATION, 2, (), 0, 0))
    assert stage.role(1) is Role.TAKING_OVER
    stage.deliver(Promise(3, 1, LOCATION, 2, (), 0, 0))
    assert stage.role(1) is Role.LEADER


def the_best_log_is_of_the_latest_epoch_and_not_the_longest() -> None:
    """B1, B14."""
    stage = Stage()
    stage.lead(1)
    for _ in range(5):
        stage.write(1)
    stage.network.clear()
    stage.lead(2, without=[1])
    written = stage.write(2)
    stage.run(without=[1])
    answer = stage.answers[written]
    assert isinstance(answer, Written)
    assert stage.last(1) > stage.last(3)
    stage.lead(3, without=[2])
    assert stage[3].confirm(answer.epoch, answer.sequence) is Fate.COMMITTED
    stage.tick()
    stage.run()
    stage.tick()
    stage.run()
    assert stage.ends(1) == stage.ends(2) == stage.ends(3)
    assert stage.reverted


def an_acknowledged_write_outlives_a_follower_that_knows_of_no_commit() -> None:
    """B1 (KIP-101): the follower comes back with an old high watermark, and the leader dies at once."""
    stage = Stage()
    stage.lead(1)
    written = stage.write(1)
    stage.run()
    answer = stage.answers[written]
    assert isinstance(answer, Written)
    stage.restart(2)
    assert stage.commit(2) == 0
    stage.lead(2, without=[1])
    assert stage[2].confirm(answer.epoch, answer.sequence) is Fate.COMMITTED


def leaders_that_alternate_end_with_equal_logs() -> None:
    """B2 (KIP-279): A, B, A, each with ops of its own that nobody else has."""
    stage = Stage()
    for turn in range(4):
        leader, other = (1, 2) if turn % 2 == 0 else (2, 1)
        stage.lead(leader, without=[other])
        for _ in range(turn + 1):
            stage.write(leader)
        stage.network.clear()
    stage.lead(3)
    stage.tick()
    stage.run()
    stage.tick()
    stage.run()
    assert stage.ends(1) == stage.ends(2) == stage.ends(3)
    assert len({stage.commit(n) for n in (1, 2, 3)}) == 1


def a_leader_that_is_assigned_again_takes_over_anew() -> None:
    """B2 (KAFKA-7164): the same leader, and its followers are compared all the same."""
    stage = Stage()
    stage.lead(1)
    stage.write(1)
    stage.network.clear()
    stage.restart(1)
    stage.lead(1)
    assert stage.ends(1) == stage.ends(2) == stage.ends(3)


def a_leader_never_resumes_its_epoch() -> None:
    """L1: what it said in that epoch it may have forgotten."""
    stage = Stage()
    stage.lead(1)
    stage.actors[1].slow = True
    stage.write(1)
    stage.restart(1)
    stage.actors[1].slow = False
    stage.requests.clear()
    stage[1].learn(stage.record)
    stage.drain(1)
    stage.tick(1)
    assert stage[1].standing == (Role.FOLLOWER, stage.record.epoch, False)
    assert NewEpoch(LOCATION, stage.record.epoch) in stage.requests


def all_stop_and_all_start_and_nothing_is_gone() -> None:
    """B4."""
    stage = Stage()
    stage.lead(1)
    written = [stage.write(1) for _ in range(3)]
    stage.run()
    ends = stage.ends(1)
    for number in (1, 2, 3):
        stage.restart(number)
    stage.lead(2, without=[1])
    assert shared(stage.ends(2), ends) == ends[-1][1]
    for number in written:
        answer = stage.answers[number]
        assert isinstance(answer, Written)
        assert stage[2].confirm(answer.epoch, answer.sequence) is Fate.COMMITTED


def a_dirty_replica_neither_promises_nor_leads() -> None:
    """B3: its disk may have lost what it acknowledged."""
    stage = Stage()
    stage.lead(1)
    stage.write(1)
    stage.run()
    stage.restart(3, dirty=True)
    stage.assign(2)
    stage.run(without=[1])
    assert stage.role(2) is Role.TAKING_OVER
    stage.deliver(Dirty(3, 2, LOCATION, stage.record.epoch))
    assert stage.role(2) is Role.TAKING_OVER
    stage.assign(3)
    assert stage.role(3) is Role.FOLLOWER
    assert any(isinstance(request, Rebuild) for request in stage.requests)


def a_message_for_an_earlier_replica_of_the_node_is_refused() -> None:
    """B10: what was wiped is another replica, with another number."""
    stage = Stage(2, (1, 2))
    try:
        stage[1].step(Fence(2, 7, LOCATION, 5))
    except AssertionError:
        return
    raise AssertionError("a replica took what was for another one")


def nothing_is_said_before_it_is_durable() -> None:
    """B6: F1 before PROMISE and FENCE, F2 before ACK."""
    stage = Stage()
    stage.actors[1].slow = stage.actors[2].slow = True
    stage.assign(1)
    assert stage.take(Fence) == []
    stage.sync(1)
    assert len(stage.take(Fence)) == 2
    stage.deliver(Fence(1, 2, LOCATION, 2))
    assert stage.take(Promise) == []
    stage.sync(2)
    (promise,) = stage.take(Promise)
    stage.deliver(promise)
    stage.actors[2].slow = True
    (first, *_) = stage.take(Repl)
    assert isinstance(first, Repl)
    stage.deliver(first)
    assert stage.take(Ack) == []
    stage.sync(2)
    (ack,) = stage.take(Ack)
    assert isinstance(ack, Ack)
    assert ack.match == 1


def an_acknowledgement_is_void_once_a_later_epoch_is_promised() -> None:
    """2.2, message 2: those of lower epochs that wait for the disk are dropped."""
    stage = Stage()
    stage.lead(1)
    stage.actors[2].slow = True
    stage.write(1)
    for message in stage.take(Repl):
        stage.deliver(message)
    stage.take(Ack)
    stage.deliver(Fence(3, 2, LOCATION, 9))
    stage.sync(2)
    assert stage.take(Ack) == []
    (promise,) = stage.take(Promise)
    assert isinstance(promise, Promise)
    assert promise.vector == stage.ends(2)


def the_leaders_own_copy_counts_when_it_is_on_its_disk() -> None:
    stage = Stage(3, (1, 2, 3))
    stage.lead(1)
    commit = stage.commit(1)
    stage.actors[1].slow = True
    written = stage.write(1)
    stage.run(without=[3])
    assert stage.commit(1) == commit
    stage.sync(1)
    assert stage.commit(1) == commit + 1
    assert isinstance(stage.answers[written], Written)


def a_leader_that_was_stuck_in_its_disk_does_nothing_in_its_old_epoch() -> None:
    """B9 (etcd #12528): fdatasync takes five seconds; meanwhile others have gone on."""
    stage = Stage()
    stage.assign(1)
    stage.run(without=[3])
    stage.network.clear()
    asked = [request for request in stage.requests if isinstance(request, Activate)]
    stage.activate()
    stage.actors[1].slow = True
    written = stage.write(1)
    stage.network.clear()
    stage.lead(2, without=[1])
    stage.sync(1)
    read = stage.read(1)
    stage.requests += asked
    assert stage.activate()
    assert stage.record.leader == 2
    stage.run()
    assert not isinstance(stage.answers.get(written), Written)
    assert not stage.is_read(read)
    stage.tick()
    stage.run()
    assert stage.role(1) is Role.FOLLOWER
    assert isinstance(stage.answers[written], Unknown)


def the_active_voters_are_fenced_and_not_the_new_ones() -> None:
    """B11: any change of voters is safe because of this."""
    stage = Stage(5, (1, 2, 3))
    stage.lead(1)
    stage.write(1)
    stage.run(without=[3])
    stage.assign(4, (3, 4, 5))
    stage.run(without=[1, 2])
    assert stage.role(4) is Role.TAKING_OVER
    stage.tick(4)
    stage.run(without=[1])
    assert stage.role(4) is Role.LEADER
    assert stage.activate()
    assert shared(stage.ends(4), stage.ends(2)) == stage.last(2)


def a_fence_that_is_late_stops_nobody_and_counts_later() -> None:
    """B10 (BookKeeper #2614): one replica is not fenced yet, and acknowledges the old leader meanwhile."""
    stage = Stage()
    stage.lead(1)
    stage.assign(3)
    (early, late) = stage.take(Fence)
    assert late.to == 2
    written = stage.write(1)
    old = stage.take(Repl)
    stage.deliver(early)
    stage.run(without=[2])
    assert stage.role(3) is Role.LEADER
    stage.network += old
    for message in [m for m in stage.take(Repl) if m.to == 2]:
        stage.deliver(message)
    stage.run(without=[3])
    assert not isinstance(stage.answers.get(written), Written)
    stage.deliver(late)
    stage.tick(3)
    stage.run()
    assert stage.activate()
    stage.tick(3)
    stage.run()
    assert stage.ends(2) == stage.ends(3)


def an_epoch_that_is_over_is_never_active() -> None:
    stage = Stage()
    stage.assign(1)
    stage.run()
    asked = [request for request in stage.requests if isinstance(request, Activate)]
    assert asked
    stage.assign(2, to=[1])
    assert stage.role(1) is Role.FOLLOWER
    stage.requests = [*asked]
    assert not stage.activate()


def nothing_is_committed_answered_or_read_before_the_epoch_is_active() -> None:
    stage = Stage()
    stage.lead(1)
    stage.write(1)
    stage.run()
    stage.assign(2)
    stage.run()
    assert stage.role(2) is Role.LEADER
    commit = stage.commit(2)
    written, read = stage.write(2, acks=1), stage.read(2)
    stage.tick(2)
    assert all(message.commit == 0 for message in stage.network if isinstance(message, Repl))
    stage.run()
    assert stage.commit(2) == commit
    assert isinstance(stage.answers[written], Busy)
    assert not stage.is_read(read)


def the_barrier_must_be_on_a_majority_of_the_new_voters() -> None:
    stage = Stage(5, (1, 2, 3))
    stage.lead(1)
    stage.requests.clear()
    stage.assign(1, (1, 4, 5))
    stage.run(without=[4, 5])
    assert stage.requests == []
    stage.tick(1)
    stage.run(without=[5])
    assert [type(request) for request in stage.requests] == [Activate]


def what_an_earlier_epoch_left_is_not_counted_before_the_barrier() -> None:
    """Raft's figure 8: on a majority's disks and yet not committed."""
    stage = Stage()
    stage.lead(1)
    stage.write(1)
    stage.run(without=[2, 3])
    stage.assign(1)
    for message in stage.take(Fence):
        stage.deliver(message)
    for message in stage.take(Promise):
        stage.deliver(message)
    stage.network.clear()
    barrier = stage.last(1)
    commit = stage.commit(1)
    stage.requests.clear()
    for follower in (2, 3):
        stage.deliver(Ack(follower, 1, LOCATION, stage.record.epoch, barrier - 1))
    assert stage.requests == []
    assert stage.commit(1) == commit


def a_follower_commits_and_acknowledges_only_what_was_compared() -> None:
    """2.4: min(c, ver) and not min(c, last)."""
    stage = Stage()
    stage.lead(1)
    for _ in range(3):
        stage.write(1)
    (message, *_) = [m for m in stage.take(Repl) if m.to == 3]
    assert isinstance(message, Repl)
    stage.network.clear()
    stage.lead(2, without=[1])
    stage.write(2)
    stage.run(without=[1])
    assert stage.last(1) >= stage.commit(2) > 1
    stage.deliver(Repl(2, 1, LOCATION, stage.record.epoch, 1, 2, (), stage.commit(2), 0))
    assert stage.commit(1) == 1
    (ack,) = stage.take(Ack)
    assert isinstance(ack, Ack)
    assert ack.match == 1


def nothing_is_appended_over_a_hole() -> None:
    stage = Stage()
    stage.lead(1)
    stage.write(1)
    stage.network.clear()
    stage.write(1)
    (message, *_) = [m for m in stage.take(Repl) if m.to == 2]
    assert isinstance(message, Repl)
    stage.deliver(message)
    assert [type(m) for m in stage.network if m.sender == 2] == [Gap]
    stage.run()
    assert stage.last(2) == stage.last(1)


def a_mismatch_truncates_nothing_until_there_is_something_better() -> None:
    stage = Stage()
    stage.lead(1)
    for _ in range(3):
        stage.write(1)
    stage.network.clear()
    stage.lead(2, without=[1])
    last = stage.last(1)
    stage.deliver(Repl(2, 1, LOCATION, stage.record.epoch, 2, stage.record.epoch, (), 0, 0))
    (mismatch,) = stage.take(Mismatch)
    assert stage.last(1) == last
    stage.deliver(mismatch)
    stage.run()
    assert stage.ends(1) == stage.ends(2)


def an_old_message_truncates_nothing() -> None:
    """B5: ops that came before, again, after more have come."""
    stage = Stage()
    stage.lead(1)
    stage.tick(1)
    stage.run()
    for _ in range(3):
        stage.write(1)
    sent = [message for message in stage.take(Repl) if message.to == 2]
    assert len(sent) == 3
    for message in sent:
        stage.deliver(message)
    last = stage.last(2)
    assert last == stage.last(1)
    for message in sent:
        stage.deliver(message)
        assert stage.last(2) == last


def who_has_promised_more_says_so_and_the_leader_follows() -> None:
    stage = Stage()
    stage.lead(1)
    written = stage.write(1)
    stage.network.clear()
    stage.deliver(Fence(3, 2, LOCATION, 9))
    stage.network.clear()
    stage.tick(1)
    for message in stage.take(Repl):
        stage.deliver(message)
    assert any(isinstance(message, Fenced) for message in stage.network)
    stage.run()
    assert stage.role(1) is Role.FOLLOWER
    assert isinstance(stage.answers[written], Unknown)


def a_fetch_truncates_nothing_and_what_is_forgotten_comes_as_a_snapshot() -> None:
    stage = Stage(4, (1, 2, 3))
    stage.lead(1)
    for _ in range(3):
        stage.write(1)
    stage.run()
    stage.actors[2].flush()
    stage.drain(2)
    before = stage.ends(2)
    stage.deliver(Fetch(4, 2, LOCATION, stage.record.epoch, 1))
    assert [type(m) for m in stage.take(TruncatedBelow)] == [TruncatedBelow]
    stage.deliver(Fetch(4, 3, LOCATION, stage.record.epoch, 1))
    (fetched,) = stage.take(Fetched)
    assert isinstance(fetched, Fetched)
    assert [op.sequence for op in fetched.ops] == list(range(1, len(fetched.ops) + 1)) != []
    assert stage.ends(2) == before
    stage.deliver(SnapshotRequest(4, 2, LOCATION, stage.record.epoch))
    (snapshot,) = stage.take(Snapshot)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.state.sequence == stage.commit(2)


def a_new_leader_gets_a_snapshot_where_the_best_log_has_forgotten_its_ops() -> None:
    stage = Stage()
    stage.lead(1)
    written = stage.write(1)
    stage.run(without=[3])
    stage.tick(1)
    stage.run(without=[3])
    for number in (1, 2):
        stage.actors[number].flush()
        stage.drain(number)
    stage.lead(3, without=[1])
    answer = stage.answers[written]
    assert isinstance(answer, Written)
    assert stage[3].confirm(answer.epoch, answer.sequence) is Fate.COMMITTED
    assert len(stage.actors[3].rows) == 2


def a_snapshot_keeps_what_continues_it() -> None:
    """B6: what was acknowledged after it must not be lost by it."""
    stage = Stage()
    stage.lead(1)
    stage.write(1)
    stage.run()
    snapshot = stage[1].snapshot(2, b"\x90")
    stage.restart(2)
    stage.write(1)
    stage.run()
    stage.tick(1)
    stage.network.clear()
    stage.restart(2)
    last = stage.last(2)
    assert last > snapshot.state.sequence > stage.commit(2)
    stage.deliver(snapshot)
    assert stage.last(2) == last
    stage.restart(2)
    assert stage.last(2) == last


def a_flush_waits_until_what_is_applied_is_in_the_log() -> None:
    """Else a crash leaves points, no ops for them, and a log that goes on after a hole."""
    stage = Stage()
    stage.lead(1)
    stage.tick(1)
    stage.run()
    stage.write(1)
    stage.run(without=[3])
    stage.actors[3].slow = True
    stage.tick(1, times=2)
    stage.run()
    assert stage.commit(3) == stage.last(1)
    assert not stage[3].can_flush
    stage.sync(3)
    assert stage[3].can_flush


def learners_do_not_count() -> None:
    stage = Stage(4, (1, 2, 3))
    stage.lead(1)
    stage.change(learners=(4,))
    commit = stage.commit(1)
    written = stage.write(1)
    stage.run(without=[2, 3])
    assert stage.last(4) == stage.last(1)
    assert stage.commit(1) == commit
    assert written not in stage.answers
    stage.tick(1)
    stage.run(without=[3])
    assert stage.commit(1) > commit


def a_source_that_dies_holds_no_takeover_up() -> None:
    stage = Stage(5, (1, 2, 3, 4, 5))
    stage.lead(1)
    stage.write(1)
    stage.run(without=[3, 4, 5])
    stage.write(1)
    stage.run(without=[2, 3, 4, 5])
    stage.assign(3)
    for message in stage.take(Fence):
        stage.deliver(message)
    stage.run(without=[1])
    stage.tick(3, times=8)
    stage.run(without=[1])
    stage.tick(3, times=8)
    stage.run(without=[1])
    assert stage.role(3) is Role.LEADER


def an_answer_to_a_beat_needs_the_same_epoch() -> None:
    stage = Stage()
    stage.lead(1)
    stage.deliver(Fence(3, 2, LOCATION, 9))
    stage.network.clear()
    stage.deliver(Beat(1, 2, LOCATION, stage.record.epoch, 1))
    assert stage.take(BeatAck) == []
    assert len(stage.take(Fenced)) == 1


SCHEDULES = tuple(
    value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__ and not name.startswith("_")
)
