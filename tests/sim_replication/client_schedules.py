"""Directed schedules for what clients see: acks, exactly once, sessions, reads, moves, splits and merges."""

from __future__ import annotations

from itertools import pairwise

from tests.sim_replication.node import rows_of
from tests.sim_replication.stage import HIGH, LOCATION, Stage
from tsdb.cluster.replication import seals
from tsdb.cluster.replication.clients import (
    ALL,
    Behind,
    Busy,
    Fate,
    NotLeader,
    OtherContent,
    ReadAt,
    SessionExpired,
    StaleMap,
    TokenReverted,
    TooOld,
    Unknown,
    Written,
)  # fmt: skip
from tsdb.cluster.replication.messages import Beat, BeatAck, Fetch, Fetched, Gap, Repl
from tsdb.cluster.replication.ops import Covered, LocationState, Op, OpKind
from tsdb.cluster.replication.producers import Producers
from tsdb.cluster.replication.record import Abdicate, Diverged, Seal, Sealed
from tsdb.cluster.replication.state import Role

HALF = HIGH // 2
OPEN = {"open_at": 1_000}


def each_kind_of_acks_is_answered_when_it_is_that_safe() -> None:
    stage = Stage(5, (1, 2, 3, 4, 5))
    stage.lead(1)
    stage.actors[1].slow = True
    none, one, two, quorum, every = (stage.write(1, acks=acks) for acks in (0, 1, 2, 3, ALL))

    def answered() -> list[int]:
        return [n for n in (none, one, two, quorum, every) if isinstance(stage.answers.get(n), Written)]

    assert answered() == [none]
    stage.sync(1)
    assert answered() == [none, one]
    stage.run(without=[3, 4, 5])
    assert answered() == [none, one, two]
    stage.tick(1)
    stage.run(without=[4, 5])
    assert answered() == [none, one, two, quorum]
    stage.tick(1)
    stage.run()
    assert answered() == [none, one, two, quorum, every]


def what_is_not_safe_enough_in_time_is_told_as_what_it_is() -> None:
    """`all` becomes a quorum, a quorum becomes unknown."""
    stage = Stage(quorum_ticks=50)
    stage.lead(1)
    every = stage.write(1, acks=ALL, ticks=3)
    stage.run(without=[3])
    stage.tick(1, times=4)
    answer = stage.answers[every]
    assert isinstance(answer, Written)
    assert answer.acks == -1
    stage.network.clear()
    quorum = stage.write(1, ticks=3)
    stage.tick(1, times=4)
    assert isinstance(stage.answers[quorum], Unknown)


def a_leader_without_a_majority_takes_no_write() -> None:
    """Check-quorum: else it collects what is reverted later."""
    stage = Stage()
    stage.lead(1)
    stage.tick(1, times=6)
    stage.network.clear()
    assert isinstance(stage.answers[stage.write(1, acks=1)], Busy)
    stage.tick(1)
    stage.run()
    assert isinstance(stage.answers[stage.write(1, acks=1)], Written)


def what_is_reverted_is_kept_and_told() -> None:
    stage = Stage()
    stage.lead(1)
    written = stage.write(1, acks=1)
    stage.network.clear()
    answer = stage.answers[written]
    assert isinstance(answer, Written)
    assert stage[1].confirm(answer.epoch, answer.sequence) is Fate.UNKNOWN
    stage.lead(2, without=[1])
    stage.tick(2, times=2)
    stage.run()
    stage.tick(2)
    stage.run()
    assert [(op.epoch, op.sequence) for op in stage.reverted] == [(answer.epoch, answer.sequence)]
    assert [stage[n].confirm(answer.epoch, answer.sequence) for n in (1, 2, 3)] == [Fate.REVERTED] * 3


def what_a_later_epoch_cannot_have_is_reverted() -> None:
    """Also beyond what is committed: epochs never decrease along a log."""
    stage = Stage()
    stage.lead(1)
    answers = [stage.answers[stage.write(1, acks=1)] for _ in range(4)]
    stage.network.clear()
    stage.lead(2, without=[1])
    last = answers[-1]
    assert isinstance(last, Written)
    assert last.sequence > stage[2].log_end[2]
    assert stage[2].confirm(last.epoch, last.sequence) is Fate.REVERTED
    assert stage[1].confirm(last.epoch, last.sequence) is Fate.UNKNOWN
    committed = stage[2].log_end[2]
    assert stage[2].confirm(stage[2].log_end[0], committed) is Fate.COMMITTED
    assert stage[2].confirm(stage[2].log_end[0], committed + 1) is Fate.UNKNOWN


def a_retry_finds_what_is_in_the_tail_and_what_is_applied() -> None:
    stage = Stage()
    stage.lead(1)
    first = stage.write(1, client=5, batch=1, **OPEN)
    again = stage.write(1, client=5, batch=1, **OPEN)
    last = stage.last(1)
    assert {first, again}.isdisjoint(stage.answers)
    stage.run()
    later = stage.write(1, client=5, batch=1, **OPEN)
    assert stage.last(1) == last
    answers = [stage.answers[n] for n in (first, again, later)]
    assert [a.duplicate for a in answers if isinstance(a, Written)] == [False, True, True]


def a_retry_at_the_next_leader_finds_it_too_also_after_a_snapshot() -> None:
    stage = Stage()
    stage.lead(1)
    stage.write(1, client=5, batch=1, **OPEN)
    stage.run(without=[3])
    stage.tick(1)
    stage.run(without=[3])
    for number in (1, 2):
        stage.actors[number].flush()
        stage.drain(number)
    stage.lead(3, without=[1])
    last = stage.last(3)
    answer = stage.answers[stage.write(3, client=5, batch=1, **OPEN)]
    assert isinstance(answer, Written)
    assert answer.duplicate
    assert stage.last(3) == last


def only_what_is_not_covered_is_written() -> None:
    """The hash interval in the key: with the batch alone, rows are lost."""
    stage = Stage()
    stage.lead(1)
    stage.write(1, client=5, batch=1, low=8, high=16, **OPEN)
    stage.run()
    whole = stage.write(1, client=5, batch=1, **OPEN)
    stage.run()
    assert isinstance(stage.answers[whole], Written)
    rows = sorted(place for _, _, place in stage.actors[1].rows)
    assert rows == [0, 8, 15, HIGH - 1]


def what_a_client_acknowledges_is_forgotten_and_not_written_again() -> None:
    stage = Stage()
    stage.lead(1)
    stage.write(1, client=5, batch=1, **OPEN)
    stage.write(1, client=5, batch=2, acknowledged=1, **OPEN)
    stage.run()
    assert stage[1]._state.log.producers.covered(5, 1) == ()
    last = stage.last(1)
    answer = stage.answers[stage.write(1, client=5, batch=1, **OPEN)]
    assert answer == TooOld(answer.id, 1)
    assert stage.last(1) == last


def another_content_is_no_retry() -> None:
    stage = Stage()
    stage.lead(1)
    stage.write(1, client=5, batch=1, digest=7, **OPEN)
    last = stage.last(1)
    assert isinstance(stage.answers[stage.write(1, client=5, batch=1, digest=8, **OPEN)], OtherContent)
    stage.run()
    assert isinstance(stage.answers[stage.write(1, client=5, batch=1, digest=8, **OPEN)], OtherContent)
    for digest in (7, 0):
        answer = stage.answers[stage.write(1, client=5, batch=1, digest=digest, **OPEN)]
        assert isinstance(answer, Written)
        assert answer.duplicate
    assert stage.last(1) == last


def a_forgotten_client_is_not_taken_for_a_new_one() -> None:
    stage = Stage()
    stage.lead(1)
    stage.write(1, client=5, batch=1, **OPEN)
    stage.run()
    assert stage[1].forget(5, 2_000)
    stage.drain(1)
    assert isinstance(stage.answers[stage.write(1, client=5, batch=1, **OPEN)], SessionExpired)
    stage.run()
    behind = stage.answers[stage.write(1, client=5, batch=1, **OPEN)]
    assert behind == Behind(behind.id, 2_000)
    closed = stage.write(1, client=5, batch=1, open_at=2_000, is_open=False)
    assert isinstance(stage.answers[closed], SessionExpired)


def of_a_client_of_whom_a_part_may_be_forgotten_is_asked_whether_its_session_is_over() -> None:
    """As a union has it, of whose parents one has forgotten the client and the other not yet."""
    stage = Stage()
    stage.lead(1)
    for client in (5, 6):
        stage.write(1, client=client, batch=1, **OPEN)
    stage.run()
    assert stage[1].forget(6, 2_000)
    stage.run()
    behind = stage.answers[stage.write(1, client=5, batch=1, **OPEN)]
    assert behind == Behind(behind.id, 2_000)
    closed = stage.write(1, client=5, batch=1, open_at=2_000, is_open=False)
    assert isinstance(stage.answers[closed], SessionExpired)
    again = stage.answers[stage.write(1, client=5, batch=1, open_at=2_000)]
    assert isinstance(again, Written)
    assert again.duplicate


def a_linearizable_read_asks_a_majority_after_it_came() -> None:
    stage = Stage()
    stage.lead(1)
    read = stage.read(1)
    assert read not in stage.answers
    stage.run()
    assert stage.is_read(read)
    first = stage.read(1)
    (to_two, _) = stage.take(Beat)
    stage.deliver(to_two)
    (early,) = stage.take(BeatAck)
    stage.lead(2, without=[1])
    late = stage.read(1)
    stage.network.clear()
    stage.deliver(early)
    assert stage.is_read(first)
    assert late not in stage.answers
    stage.tick(1)
    stage.run()
    assert isinstance(stage.answers[late], NotLeader)


def a_token_names_an_op_and_not_a_place() -> None:
    stage = Stage()
    stage.lead(1)
    written = stage.write(1, acks=1)
    stage.network.clear()
    answer = stage.answers[written]
    assert isinstance(answer, Written)
    number = stage.number()
    stage[3].read_after(number, answer.epoch, answer.sequence, 50)
    stage.drain(3)
    assert number not in stage.answers
    stage.lead(2, without=[1])
    stage.tick(2)
    stage.run(without=[1])
    assert stage.answers[number] == TokenReverted(number)


def a_session_reads_its_own_write_where_it_is_applied() -> None:
    stage = Stage()
    stage.lead(1)
    written = stage.write(1)
    stage.run()
    answer = stage.answers[written]
    assert isinstance(answer, Written)
    number = stage.number()
    stage[3].read_after(number, answer.epoch, answer.sequence, 50)
    stage.drain(3)
    assert number not in stage.answers
    stage.tick(1)
    stage.run()
    assert stage.answers[number] == ReadAt(number, answer.epoch, answer.sequence, answer.sequence)


def a_follower_of_a_leader_that_is_cut_off_is_not_fresh() -> None:
    """What a leader says of its own time proves nothing: it must have been one, by a majority, at that time."""
    stage = Stage(5, (1, 2, 3, 4, 5))
    stage.lead(1)
    stage.tick(1, 2)
    stage.run()
    stage.tick(1, 2)
    stage.run()
    since = stage.now
    stage.lead(3, without=[1, 2])
    for _ in range(6):
        stage.tick(1, 2)
        stage.run(without=[3, 4, 5])
    number = stage.number()
    stage[2].read_since(number, since + 1)
    stage.drain(2)
    assert isinstance(stage.answers[number], Busy)
    number = stage.number()
    stage[2].read_since(number, since - 2)
    stage.drain(2)
    assert stage.is_read(number)


def a_version_from_before_a_takeover_is_not_enough() -> None:
    """Its replica had an acknowledged op and did not know that it was committed."""
    stage = Stage()
    stage.lead(1)
    stage.tick(1)
    stage.run()
    written = stage.answers[_written(stage, without=3)]
    opened = stage[2].log_end[3]
    assert isinstance(written, Written)
    assert opened < written.sequence
    stage.lead(2, without=[1])
    read = stage.read(2)
    stage.run(without=[1])
    found = stage.answers[read]
    assert isinstance(found, ReadAt)
    assert opened < written.sequence < found.needs <= stage[2].log_end[3]


def _written(stage: Stage, without: int) -> int:
    number = stage.write(1)
    stage.run(without=[without])
    return number


def a_version_from_before_a_follower_was_fresh_is_not_enough() -> None:
    stage = Stage()
    stage.lead(1)
    stage.tick(1)
    stage.run()
    opened = stage[2].log_end[3]
    written = stage.answers[_written(stage, without=2)]
    assert isinstance(written, Written)
    since = stage.now
    for _ in range(6):
        stage.tick(1)
        stage.run()
    number = stage.number()
    stage[2].read_since(number, since)
    stage.drain(2)
    found = stage.answers[number]
    assert isinstance(found, ReadAt)
    assert opened < written.sequence <= found.needs


def anything_that_is_read_is_committed() -> None:
    stage = Stage()
    stage.lead(1)
    stage.tick(1)
    stage.run()
    _written(stage, without=3)
    number = stage.number()
    stage[2].read_anything(number)
    stage.drain(2)
    assert stage.commit(2) < stage.last(2)
    assert stage.answers[number] == ReadAt(number, stage.record.epoch, stage.commit(2), 0)


def a_planned_move_waits_for_its_successor() -> None:
    stage = Stage()
    stage.lead(1)
    stage.tick(1)
    stage.run()
    before = stage.write(1)
    assert stage[1].abdicate(2)
    stage.drain(1)
    held = stage.write(1)
    assert held not in stage.answers
    assert not any(isinstance(request, Abdicate) for request in stage.requests)
    stage.run()
    assert isinstance(stage.answers[before], Written)
    asked = [request for request in stage.requests if isinstance(request, Abdicate)]
    assert asked == [Abdicate(LOCATION, stage.record.epoch, 2, stage.last(1))]
    stage.lead(2)
    answer = stage.answers[held]
    assert isinstance(answer, NotLeader)


def a_planned_move_that_comes_to_nothing_goes_on_in_its_epoch() -> None:
    stage = Stage(quorum_ticks=50)
    stage.lead(1)
    stage.write(1)
    assert stage[1].abdicate(2)
    held = stage.write(1)
    stage.network.clear()
    stage.tick(1, times=5)
    stage.run()
    assert isinstance(stage.answers[held], Written)
    assert not any(isinstance(request, Abdicate) for request in stage.requests)


def a_seal_is_appended_once_and_ends_the_writes() -> None:
    stage = Stage()
    stage.lead(1)
    stage.change(wanted=OpKind.SPLIT)
    assert isinstance(stage.answers[stage.write(1)], StaleMap)
    stage.network = [m for m in stage.network if m.to == 2]
    stage.run()
    stage.network.clear()
    stage.lead(2, without=[1])
    stage.tick(2, times=2)
    stage.run(without=[1])
    ops = stage.actors[2].store.ops(1)
    assert [op.kind for op in ops].count(OpKind.SPLIT) == 1
    assert isinstance(stage.answers[stage.write(2)], StaleMap)


def a_seal_is_told_when_it_is_committed() -> None:
    stage = Stage()
    stage.lead(1)
    stage.change(wanted=OpKind.SPLIT)
    stage.network.clear()
    stage.tick(1, times=3)
    assert not any(isinstance(request, Sealed) for request in stage.requests)
    stage.run()
    stage.tick(1)
    told = [request for request in stage.requests if isinstance(request, Sealed)]
    assert told
    assert told[0].seal == Seal(stage.record.epoch, stage.last(1))


def a_retired_location_is_fenced_and_reaches_its_seal() -> None:
    stage = Stage()
    stage.lead(1)
    stage.write(1)
    stage.run(without=[3])
    stage.change(wanted=OpKind.SPLIT, to=[1])
    stage.run(without=[3])
    seal = Seal(stage.record.epoch, stage.last(1))
    stage.change(retired=seal, to=[2, 3])
    assert stage[2].is_retired
    assert not stage[3].is_retired
    read = stage.read(1)
    stage.run()
    assert not stage.is_read(read)
    stage.tick(3, times=3)
    stage.run()
    assert stage[3].is_retired
    assert sorted(stage.actors[3].rows) == sorted(stage.actors[2].rows)


def a_retired_location_takes_ops_only_from_a_log_with_the_seal() -> None:
    stage = Stage()
    stage.lead(1)
    stage.run()
    seal = Seal(9, 3)
    stage.change(retired=seal, to=[3])
    stage.tick(3)
    assert stage.take(Fetch)
    op = Op(2, 2, OpKind.WRITE)
    stage.deliver(Fetched(1, 3, LOCATION, stage[3].standing[1], 1, 2, (op,), ((2, 7),)))
    assert stage.last(3) == 1


def a_retired_location_asks_the_active_voters_as_well() -> None:
    """The voters of a later epoch that never was active may have nothing."""
    stage = Stage(4, (1,))
    stage.lead(1)
    stage.change(wanted=OpKind.SPLIT, to=[1])
    seal = Seal(stage.record.epoch, stage.last(1))
    stage.assign(4, (4,))
    stage.network.clear()
    stage.change(retired=seal, to=[1, 4])
    stage.tick(4, times=2)
    stage.run()
    stage.tick(4)
    stage.run()
    assert stage[4].is_retired


def children_and_unions_know_what_their_parents_knew() -> None:
    parts = ((5, ((1, ((0, HIGH),)),)),)
    state = LocationState(7, ((2, 7),), clients=tuple(Covered(c, 0, b) for c, b in parts), seal=7, forgotten_at=3)
    low = seals.halves(state, (), 2, 0, HALF)
    high = seals.halves(state, (), 2, HALF, HIGH)
    assert [child.state.clients[0].batches for child in (low, high)] == [
        ((1, ((0, HALF),)),),
        ((1, ((HALF, HIGH),)),),
    ]
    assert [(child.promised, child.state.vector, child.state.seal) for child in (low, high)] == [(2, ((2, 7),), 0)] * 2
    union = seals.union(low.state, high.state, (Seal(2, 7), Seal(3, 9)), 6)
    assert union.state.vector == ((6, 9),)
    assert (union.promised, union.base, union.state.forgotten_at) == (6, 9, 3)
    assert Producers(union.state.clients).covered(5, 1) == ((0, HIGH),)


def a_union_has_what_either_of_its_parents_knew() -> None:
    one = LocationState(7, ((2, 7),), clients=(Covered(5, 2, ((3, ((0, HALF),)),)),))
    two = LocationState(4, ((3, 4),), clients=(Covered(6, 0, ((1, ((HALF, HIGH),)),)), ), forgotten_at=8)  # fmt: skip
    for pair in ((one, two), (two, one)):
        state = seals.union(*pair, (Seal(2, 7), Seal(3, 4)), 5).state
        table = Producers(state.clients)
        assert (table.covered(5, 3), table.covered(6, 1)) == (((0, HALF),), ((HALF, HIGH),))
        assert (table.acknowledged(5), state.forgotten_at) == (2, 8)


def counters_rise_along_a_log_that_was_taken_over() -> None:
    stage = Stage()
    stage.lead(1)
    for _ in range(3):
        stage.write(1)
    stage.run()
    stage.lead(2)
    stage.write(2)
    stage.run()
    counted = [op for op in stage.actors[2].store.ops(1) if op.rows]
    firsts = [op.first_counter for op in counted]
    assert firsts == sorted(firsts)
    assert all(a.first_counter + a.rows <= b.first_counter for a, b in pairwise(counted))


def who_has_something_else_than_a_majority_is_found_at_the_next_marker() -> None:
    for spoilt in (1, 3):
        stage = Stage()
        stage.lead(1)
        stage.write(1)
        stage.run()
        stage.tick(1)
        stage.run()
        stage[1].mark(0)
        stage.drain(1)
        stage.run()
        stage.tick(1)
        stage.run()
        assert not any(isinstance(request, Diverged) for request in stage.requests)
        stage.actors[spoilt].rows.pop()
        stage[1].mark(1)
        stage.drain(1)
        marker = stage.last(1)
        stage.run()
        stage.tick(1)
        stage.run()
        named = [request for request in stage.requests if isinstance(request, Diverged)]
        assert [(each.epoch, each.replica, each.sequence) for each in named] == [(stage.record.epoch, spoilt, marker)]
        assert spoilt not in named[0].agreed
        assert len(named[0].agreed) == 2


def a_window_is_not_exceeded_and_what_is_lost_is_sent_again() -> None:
    stage = Stage(window_ops=2, append_bytes_max=1)
    stage.lead(1)
    stage.tick(1)
    stage.run()
    for _ in range(6):
        stage.write(1)
    sent = [message for message in stage.take(Repl) if message.to == 2]
    assert len(sent) == 2
    for _ in range(8):
        stage.tick(1)
        stage.run()
    assert stage.last(2) == stage.last(1) == stage.commit(1)
    assert len(rows_of(stage.actors[2].store.ops(stage.last(2))[0].body)) == 2
    assert stage[1].standing == (Role.LEADER, stage.record.epoch, True)


def a_leader_knows_who_has_something_and_cannot_catch_up() -> None:
    """Who has nothing can be given all; who has something must leave first. Of who said nothing nothing is known."""
    stage = Stage(4, (1, 2, 3))
    stage.lead(1)
    stage.write(1)
    stage.run()
    stage.write(1)
    stage.run(without=[3])
    stage.tick(1)
    stage.run(without=[3])
    stage.actors[1].flush()
    stage.drain(1)
    stage.change(learners=(4,))
    assert stage[4].is_empty
    assert not stage[3].is_empty
    assert not stage[1].followers[4][2]
    stage.network.clear()
    stage.tick(1)
    for message in stage.take(Repl):
        stage.deliver(message)
    for message in stage.take(Gap):
        stage.deliver(message)
    assert {number: each[2] for number, each in stage[1].followers.items()} == {2: False, 3: True, 4: False}
    assert not stage[3].followers


SCHEDULES = tuple(
    value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__ and not name.startswith("_")
)
