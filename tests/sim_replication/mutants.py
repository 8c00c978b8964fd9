"""Bugs put into replication on purpose: the design's twenty, and more. Most have been somebody's, in production.

A mutant is a function that is handed pytest's ``patch`` (``monkeypatch.setattr``) and breaks one thing with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import msgspec

from tests.sim_replication.node import Node
from tsdb.cluster.replication import digests, follower, leader, log, reading, seals, takeover, writing
from tsdb.cluster.replication.clients import QUORUM, Fate, ReadAt
from tsdb.cluster.replication.messages import Ack, BeatAck, Promise
from tsdb.cluster.replication.ops import OpKind
from tsdb.cluster.replication.producers import Producers, Tail
from tsdb.cluster.replication.record import Seal, Sealed
from tsdb.cluster.replication.replica import Replica
from tsdb.cluster.replication.state import Counters, Role, State
from tsdb.cluster.replication.vector import Vector

Patch: TypeAlias = Callable[[Any, str, Any], None]
Mutant: TypeAlias = Callable[[Patch], None]


# The design's twenty (section 3)


def truncates_to_the_high_watermark(patch: Patch) -> None:
    promise = State.promise

    def forgets(self: Any, epoch: int) -> None:
        promise(self, epoch)
        self.log.truncate(self.log.commit)

    patch(State, "promise", forgets)


def the_longest_log_is_best(patch: Patch) -> None:
    patch(Vector, "rank", property(lambda self: (self.last, self.last_epoch)))


def answers_before_the_epoch_is_active(patch: Patch) -> None:
    begin = leader.begin

    def active(state: Any, vectors: Any) -> None:
        begin(state, vectors)
        state.active = True

    patch(leader, "begin", active)


def truncates_blindly(patch: Patch) -> None:
    take_over = log.Log.take_over

    def blind(self: Any, ops: Any) -> None:
        if ops and ops[-1].sequence > self.commit:
            self.truncate(max(ops[0].sequence - 1, self.commit))
        take_over(self, ops)

    patch(log.Log, "take_over", blind)


def acknowledges_before_the_disk(patch: Patch) -> None:
    def early(self: Any, *, written: bool = False) -> None:
        settle(self, written=written)
        if self.ack_to and self.promised_durable == self.promised:
            self.send(Ack(self.replica, self.ack_to, self.location, self.promised, self.verified))
            self.ack_to = 0

    settle = State.settle
    patch(State, "settle", early)


def a_wiped_replica_keeps_its_number(patch: Patch) -> None:
    lose = Node.lose_disk

    def keeps(self: Any) -> None:
        lose(self)
        self.world.operator.dead.clear()

    patch(Node, "lose_disk", keeps)


def a_retry_is_not_looked_up_in_the_tail(patch: Patch) -> None:
    patch(Tail, "covered", lambda self, client, batch: [])


def reads_do_not_ask(patch: Patch) -> None:
    def at_once(state: Any, id: int) -> None:
        if state.role is Role.LEADER and state.active:
            state.answer(ReadAt(id, state.log.epoch_at(state.log.commit), state.log.commit, state.barrier))
        else:
            ask(state, id)

    ask = reading.linearizable
    patch(reading, "linearizable", at_once)


def fences_the_new_voters(patch: Patch) -> None:
    def fewer(state: Any) -> None:
        record = state.record
        if record is not None:
            state.record = msgspec.structs.replace(record, active_voters=state.voters)
        proceed(state)
        state.record = record

    proceed = takeover.proceed
    patch(takeover, "proceed", fewer)


def a_leader_resumes_its_epoch(patch: Patch) -> None:
    consider = takeover.consider

    def again(state: Any, record: Any) -> None:
        if record.leader == state.replica and record.epoch == state.promised and state.role is Role.FOLLOWER:
            state.promised -= 1
        consider(state, record)

    patch(takeover, "consider", again)


def no_barrier(patch: Patch) -> None:
    append = leader.append

    def without(state: Any, kind: Any, **fields: Any) -> Any:
        if kind is OpKind.BARRIER and state.log.last > state.log.base:
            return state.log.ops(state.log.last, 1, state.log.last)[0]
        return append(state, kind, **fields)

    patch(leader, "append", without)


def promises_are_not_written(patch: Patch) -> None:
    batch = Replica._batch
    patch(Replica, "_batch", lambda self: replace(batch(self), promised=None))


def commits_what_was_not_compared(patch: Patch) -> None:
    replicated = follower.replicated

    def eager(state: Any, message: Any) -> None:
        replicated(state, message)
        if message.epoch == state.promised:
            state.log.commit_to(min(message.commit, state.log.last))

    patch(follower, "replicated", eager)


def a_snapshot_drops_what_follows_it(patch: Patch) -> None:
    patch(log.Log, "has", lambda self, epoch, sequence: False)


def a_snapshot_without_producers(patch: Patch) -> None:
    whole = Replica.snapshot

    def without(self: Any, to: int, content: bytes) -> Any:
        snapshot = whole(self, to, content)
        return msgspec.structs.replace(snapshot, state=msgspec.structs.replace(snapshot.state, clients=()))

    patch(Replica, "snapshot", without)


def forgets_ops_that_are_not_committed(patch: Patch) -> None:
    def eager(self: Any, sequence: int) -> None:
        self._state.log.base = max(self._state.log.base, self._state.log.stable)

    patch(Replica, "forget_ops", eager)


def writes_go_on_after_the_seal(patch: Patch) -> None:
    refusal = writing._refusal

    def unsealed(state: Any, write: Any) -> Any:
        seal, state.log.seal = state.log.seal, 0
        answer = refusal(state, write)
        state.log.seal = seal
        return answer

    patch(writing, "_refusal", unsealed)


def only_a_committed_seal_is_seen(patch: Patch) -> None:
    consider = seals.consider

    def sees_less(state: Any) -> None:
        seal = state.log.seal
        if seal > state.log.commit and not getattr(state, "was_blind", False):
            state.log.seal = 0
            state.was_blind = True
        consider(state)
        state.log.seal = state.log.seal or seal

    patch(seals, "consider", sees_less)


def a_seal_is_reported_before_it_is_committed(patch: Patch) -> None:
    consider = seals.consider

    def early(state: Any) -> None:
        consider(state)
        seal = state.log.seal
        if seal and state.role is Role.LEADER and state.active:
            state.request(Sealed(state.location, state.epoch, Seal(state.log.epoch_at(seal), seal)))

    patch(seals, "consider", early)


def acknowledgements_of_earlier_epochs_count(patch: Patch) -> None:
    step = Replica.step

    def counts(self: Any, message: Any) -> None:
        if isinstance(message, Ack) and self._state.role is Role.LEADER:
            match = min(message.match, self._state.log.last)
            message = msgspec.structs.replace(message, epoch=self._state.epoch, match=match)
        step(self, message)

    patch(Replica, "step", counts)


# More


def promises_of_earlier_epochs_count(patch: Patch) -> None:
    step = Replica.step

    def counts(self: Any, message: Any) -> None:
        if isinstance(message, Promise) and self._state.role is Role.TAKING_OVER:
            message = msgspec.structs.replace(message, epoch=self._state.epoch)
        step(self, message)

    patch(Replica, "step", counts)


def a_promise_leaves_before_the_disk(patch: Patch) -> None:
    def early(self: Any, *, written: bool = False) -> None:
        durable, self.promised_durable = self.promised_durable, self.promised
        settle(self, written=written)
        self.promised_durable = durable

    settle = State.settle
    patch(State, "settle", early)


def half_is_a_majority(patch: Patch) -> None:
    patch(State, "majority", property(lambda self: max(len(self.voters) // 2, 1)))


def half_is_enough_to_fence(patch: Patch) -> None:
    def fewer(state: Any) -> None:
        record = state.record
        if record is not None and len(record.active_voters) > 2:
            state.record = msgspec.structs.replace(record, active_voters=(*record.active_voters[:-1],))
        proceed(state)
        state.record = record

    proceed = takeover.proceed
    patch(takeover, "proceed", fewer)


def the_leader_counts_itself_before_its_disk(patch: Patch) -> None:
    def early(state: Any) -> list[int]:
        own = state.log.last
        return sorted((own if v == state.replica else state.peers[v].match for v in state.voters), reverse=True)

    patch(leader, "matches", early)


def learners_count(patch: Patch) -> None:
    def everybody(state: Any) -> list[int]:
        known = dict.fromkeys(state.voters, 0) | {r: peer.match for r, peer in state.peers.items()}
        known[state.replica] = state.log.stable
        return sorted(known.values(), reverse=True)[: len(state.voters)]

    patch(leader, "matches", everybody)


def what_was_not_compared_is_acknowledged(patch: Patch) -> None:
    replicated = follower.replicated

    def all_of_it(state: Any, message: Any) -> None:
        replicated(state, message)
        if state.ack_to == message.sender:
            state.verified = max(state.verified, min(state.log.last, message.previous + 50))

    patch(follower, "replicated", all_of_it)


def commits_before_the_barrier_is(patch: Patch) -> None:
    learned = leader.learned

    def early(state: Any, record: Any) -> None:
        state.barrier = 0
        learned(state, record)

    patch(leader, "learned", early)
    advance = leader.advance

    def any_majority(state: Any) -> None:
        if state.role is Role.LEADER and not state.active:
            state.barrier = 0
        advance(state)

    patch(leader, "advance", any_majority)


def reads_join_a_round_that_runs(patch: Patch) -> None:
    def joins(state: Any, id: int) -> None:
        rounds = state.reads.rounds
        if state.role is Role.LEADER and state.active and rounds:
            first = rounds.popleft()
            rounds.appendleft(replace(first, reads=(*first.reads, (id, state.log.commit))))
        else:
            ask(state, id)

    ask = reading.linearizable
    patch(reading, "linearizable", joins)


def beats_of_earlier_epochs_count(patch: Patch) -> None:
    patch(State, "beat_ack", lambda self, to, epoch, number: self.send(_beat_ack(self, to, epoch, number)))
    past = follower.from_the_past

    def answers(state: Any, message: Any) -> None:
        if type(message).__name__ == "Beat":
            state.send(_beat_ack(state, message.sender, message.epoch, message.round))
        else:
            past(state, message)

    patch(follower, "from_the_past", answers)


def _beat_ack(state: Any, to: int, epoch: int, number: int) -> Any:
    return BeatAck(state.replica, to, state.location, epoch, number)


def a_token_is_only_a_sequence(patch: Patch) -> None:
    def by_sequence(state: Any) -> None:
        left = []
        for read in state.reads.tokens:
            if read.sequence <= state.log.last:
                state.answer(ReadAt(read.id, read.epoch, read.sequence, read.sequence))
            else:
                left.append(read)
        state.reads.tokens = left

    patch(reading, "look_at_tokens", by_sequence)


def fresh_is_what_was_just_heard(patch: Patch) -> None:
    replicated = follower.replicated

    def now(state: Any, message: Any) -> None:
        replicated(state, message)
        state.fresh_ns = max(state.fresh_ns, state.now_ns)

    patch(follower, "replicated", now)


def what_was_opened_before_a_read_is_new_enough(patch: Patch) -> None:
    agreed = reading._agreed

    def at_any_time(state: Any, replica: int, number: int) -> None:
        barrier, state.barrier = state.barrier, 0
        agreed(state, replica, number)
        state.barrier = barrier

    patch(reading, "_agreed", at_any_time)


def what_was_opened_before_a_follower_was_fresh_is_new_enough(patch: Patch) -> None:
    bounded = reading.bounded

    def at_any_time(state: Any, id: int, oldest_ns: int) -> None:
        state.fresh_sequence = 0
        bounded(state, id, oldest_ns)

    patch(reading, "bounded", at_any_time)


def reads_what_is_not_committed(patch: Patch) -> None:
    def dirty(state: Any, id: int) -> None:
        state.answer(ReadAt(id, state.log.vector.last_epoch, state.log.last, 0))

    patch(reading, "anything", dirty)


def all_is_a_majority(patch: Patch) -> None:
    safe = leader._safe
    patch(leader, "_safe", lambda state, acks, durable: safe(state, acks if acks >= 0 else QUORUM, durable))


def one_acknowledgement_is_none(patch: Patch) -> None:
    safe = leader._safe
    patch(leader, "_safe", lambda state, acks, durable: state.log.last if acks == 1 else safe(state, acks, durable))


def what_is_committed_at_a_place_is_any_op_of_it(patch: Patch) -> None:
    patch(reading, "fate", lambda log, epoch, sequence: Fate.COMMITTED if sequence <= log.commit else Fate.UNKNOWN)


def what_is_not_committed_yet_is_reverted(patch: Patch) -> None:
    fate = reading.fate
    patch(reading, "fate", lambda log, epoch, sequence: (
        Fate.REVERTED if sequence > log.commit and epoch <= log.epoch_at(log.commit) else fate(log, epoch, sequence)
    ))  # fmt: skip


def what_is_reverted_may_still_come(patch: Patch) -> None:
    fate = reading.fate
    patch(reading, "fate", lambda log, epoch, sequence: (
        Fate.UNKNOWN if sequence > log.commit else fate(log, epoch, sequence)
    ))  # fmt: skip


def whoever_forgot_a_client_takes_it_for_new(patch: Patch) -> None:
    apply = Producers.apply

    def forgets(self: Any, op: Any) -> None:
        apply(self, op)
        self.forgotten_at = 0

    patch(Producers, "apply", forgets)


def a_batch_is_known_by_its_number_alone(patch: Patch) -> None:
    patch(writing, "without", lambda whole, covered: [] if list(covered) else [whole])


def a_union_forgets_one_of_two(patch: Patch) -> None:
    patch(seals, "merged", lambda one, two: tuple(one))


def a_child_forgets_what_its_parent_has(patch: Patch) -> None:
    patch(seals, "clipped", lambda clients, low, high: ())


def a_retired_location_is_not_fenced(patch: Patch) -> None:
    def unfenced(state: Any, record: Any) -> None:
        if state.role is Role.FOLLOWER:
            retire(state, record)

    retire = seals.retire
    patch(seals, "retire", unfenced)


def a_retired_location_believes_any_log(patch: Patch) -> None:
    patch(seals, "_names", lambda message, seal: {(seal.epoch, seal.sequence)})


def starts_with_all_committed(patch: Patch) -> None:
    init = log.Log.__init__

    def believes(self: Any, storage: Any, kept: Any) -> None:
        init(self, storage, kept)
        self.commit = self.last

    patch(log.Log, "__init__", believes)


def counters_begin_anew(patch: Patch) -> None:
    def low(self: Any, rows: int, above: int) -> int:
        self.last = first = self.last + 1
        self.last += rows - 1
        return int(first)

    patch(Counters, "take", low)


def the_leader_is_right_about_the_points(patch: Patch) -> None:
    compare = digests._compare

    def believes(state: Any, replica: int, sequence: int, digest: Any) -> None:
        if replica == state.replica:
            for voter in state.voters:
                compare(state, voter, sequence, digest)
        else:
            compare(state, replica, sequence, digest)

    patch(digests, "_compare", believes)


def a_flush_leaves_a_hole(patch: Patch) -> None:
    patch(Replica, "can_flush", property(lambda self: True))


MUTANTS: tuple[Mutant, ...] = tuple(
    value
    for name, value in globals().items()
    if callable(value) and getattr(value, "__module__", "") == __name__ and not name.startswith("_")
)
