"""Bugs put into the core and its storage on purpose. Each is a way in which somebody's Raft was wrong once.

A mutant is a function that is handed pytest's ``patch`` (``monkeypatch.setattr``) and breaks one thing with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from tsdb.cluster import pieces, raft_store
from tsdb.cluster.raft import candidate, changes, follower, leader, membership, node, quorum, replication, state, step
from tsdb.cluster.raft.changes import Change, Draft
from tsdb.cluster.raft.entries import NO_LIMIT, NO_STATE, Configuration, Entry
from tsdb.cluster.raft.forwarding import PendingBodies
from tsdb.cluster.raft.log import Log
from tsdb.cluster.raft.messages import AppendReply, Heartbeat, Vote, VoteReply
from tsdb.cluster.raft.progress import Inflights, Progress, ProgressState
from tsdb.cluster.raft.unstable import Unstable
from tsdb.storage.raft_log import RaftLog

Patch: TypeAlias = Callable[[Any, str, Any], None]
Mutant: TypeAlias = Callable[[Patch], None]


def vote_is_not_persisted(patch: Patch) -> None:
    write = raft_store.RaftStore.write

    def forgets(self: Any, state: Any, entries: Any, snapshot: Any, sync: bool) -> None:
        write(self, msgspec.structs.replace(state, vote=0) if state else None, entries, snapshot, sync)

    patch(raft_store.RaftStore, "write", forgets)


def nothing_is_synced(patch: Patch) -> None:
    write = RaftLog.write
    patch(RaftLog, "write", lambda self, state, entries, sync: write(self, state, entries, False))


def restart_at_term_zero(patch: Patch) -> None:
    initial = raft_store.RaftStore.initial
    patch(raft_store.RaftStore, "initial", lambda self: (NO_STATE, initial(self)[1]))


def answers_before_the_disk(patch: Patch) -> None:
    ready = node.Node.ready

    def early(self: Any) -> Any:
        said = ready(self)
        return dataclasses.replace(said, messages_at_once=said.messages_at_once + said.messages, messages=())

    patch(node.Node, "ready", early)


def leader_counts_itself_before_its_disk(patch: Patch) -> None:
    append = replication.append

    def counts(raft: Any, entries: Any) -> bool:
        taken = append(raft, entries)
        raft.members[raft.node].update(raft.log.last_index())
        return taken

    patch(replication, "append", counts)


def older_terms_are_committed_by_counting(patch: Patch) -> None:
    def counts(raft: Any) -> bool:
        index = quorum.committed(raft.configuration, {n: m.match for n, m in raft.members.items()})
        if index <= raft.log.committed:
            return False
        raft.log.commit_to(min(index, raft.log.last_index()))
        return True

    patch(replication, "commit", counts)


def votes_for_any_log(patch: Patch) -> None:
    patch(Log, "is_up_to_date", lambda self, index, term: True)


def best_log_by_length(patch: Patch) -> None:
    patch(Log, "is_up_to_date", lambda self, index, term: index >= self.last_index())


def nobody_is_asked_before_a_campaign(patch: Patch) -> None:
    start = candidate._campaign

    def at_once(raft: Any, cause: str, *, pre: bool, transfer: bool) -> None:
        start(raft, cause, pre=False, transfer=transfer)

    patch(candidate, "_campaign", at_once)


def a_healthy_leader_is_voted_away(patch: Patch) -> None:
    patch(step, "_in_lease", lambda raft: False)


def a_leader_that_is_cut_off_goes_on(patch: Patch) -> None:
    patch(leader, "check_quorum", lambda raft: None)


def what_is_committed_is_replaced(patch: Patch) -> None:
    def replace(self: Any, entries: Any) -> int:
        if entries:
            self.unstable.append(entries)
        return int(self.last_index())

    append = follower._append

    def blind(raft: Any, message: Any) -> None:
        committed, raft.log.committed = raft.log.committed, 0
        append(raft, message)
        raft.log.committed = max(committed, raft.log.committed)

    patch(Log, "append", replace)
    patch(follower, "_append", blind)


def a_new_leader_changes_members_at_once(patch: Patch) -> None:
    lead = state.Raft.become_leader_of_term

    def at_once(self: Any) -> None:
        lead(self)
        self.pending_change_index = 0

    patch(state.Raft, "become_leader_of_term", at_once)


def votes_twice(patch: Patch) -> None:
    patch(state.Raft, "vote_for", lambda self, node: setattr(self, "vote", node))
    on_vote = candidate.on_vote

    def forgets(raft: Any, request: Vote) -> None:
        if not request.pre and raft.leader == 0:
            raft.vote = 0
        on_vote(raft, request)

    patch(candidate, "on_vote", forgets)


def commit_not_bounded_by_what_was_compared(patch: Patch) -> None:
    append = follower._append

    def eager(raft: Any, message: Any) -> None:
        append(raft, message)
        raft.log.commit_to(min(message.commit, raft.log.last_index()))

    patch(follower, "_append", eager)


def heartbeat_commits_beyond_the_match(patch: Patch) -> None:
    def eager(raft: Any, context: bytes) -> None:
        for to, _ in raft.others():
            raft.send(Heartbeat(raft.node, to, raft.term, raft.log.committed, context, raft.ticks))

    patch(replication, "broadcast_heartbeat", eager)
    patch(
        Log,
        "commit_to",
        lambda self, index: setattr(self, "committed", max(self.committed, min(index, self.last_index()))),
    )


def an_old_message_truncates(patch: Patch) -> None:
    def blind(self: Any, index: int, term: int, entries: Any) -> bool:
        if not self.matches(index, term):
            return False
        if entries:
            self.unstable.append(entries)
        return True

    patch(Log, "append_after", blind)


def appends_without_a_match(patch: Patch) -> None:
    def blind(self: Any, index: int, term: int) -> bool:
        return bool(self.first_index() - 1 <= index <= self.last_index())

    patch(Log, "matches", blind)


def terms_of_messages_are_ignored(patch: Patch) -> None:
    patch(
        step, "_from_the_past", lambda raft, message: step.step(raft, msgspec.structs.replace(message, term=raft.term))
    )


def stale_answers_count(patch: Patch) -> None:
    past = step._from_the_past

    def counts(raft: Any, message: Any) -> None:
        if isinstance(message, AppendReply) and not message.rejected and message.index:
            step.step(raft, msgspec.structs.replace(message, term=raft.term))
        else:
            past(raft, message)

    patch(step, "_from_the_past", counts)


def stale_votes_count(patch: Patch) -> None:
    past = step._from_the_past

    def counts(raft: Any, message: Any) -> None:
        if isinstance(message, VoteReply) and not message.rejected and not message.pre:
            step.step(raft, msgspec.structs.replace(message, term=raft.term))
        else:
            past(raft, message)

    patch(step, "_from_the_past", counts)


def half_is_a_majority(patch: Patch) -> None:
    def known(voters: Any, indexes: Any) -> int:
        if not voters:
            return NO_LIMIT
        counted = sorted((int(indexes.get(n, 0)) for n in voters), reverse=True)
        return counted[max(len(voters) // 2 - 1, 0)]

    patch(quorum, "committed_by_majority", known)


def only_the_new_majority_commits(patch: Patch) -> None:
    patch(quorum, "committed", lambda c, indexes: quorum.committed_by_majority(c.voters, indexes))


def only_the_new_majority_elects(patch: Patch) -> None:
    patch(quorum, "vote_result", lambda c, votes: quorum.vote_of_majority(c.voters, votes))


def voters_change_without_a_joint_configuration(patch: Patch) -> None:
    def direct(self: Any, change: Change) -> Configuration:
        if not change.leaves:
            self._apply(change.members)
        configuration: Configuration = self._finish()
        return configuration

    patch(Draft, "change", direct)


def changes_do_not_wait_for_each_other(patch: Patch) -> None:
    def unchecked(raft: Any, entry: Entry, index: int) -> Entry:
        return entry

    patch(leader, "_checked", unchecked)
    patch(changes.Draft, "change", lambda self, change: self._finish() if change.leaves else direct(self, change))

    def direct(self: Any, change: Change) -> Configuration:
        self._apply(change.members)
        configuration: Configuration = self._finish()
        return configuration


def learners_count(patch: Patch) -> None:
    committed = quorum.committed

    def counts(configuration: Configuration, indexes: Any) -> int:
        everybody = tuple(sorted({*configuration.voters, *configuration.learners}))
        return max(committed(configuration, indexes), committed(Configuration(everybody), indexes))

    patch(quorum, "committed", counts)


def reads_do_not_ask(patch: Patch) -> None:
    patch(leader, "_begin_read", lambda raft, request: leader._answer_read(raft, request, raft.log.committed))


def reads_before_the_terms_first_commit(patch: Patch) -> None:
    patch(replication, "has_committed_in_term", lambda raft: True)


def a_lease_without_end(patch: Patch) -> None:
    patch(leader, "_has_lease", lambda raft: raft.settings.lease_reads)


def a_lease_from_the_answer_on(patch: Patch) -> None:
    alive = leader._alive

    def late(raft: Any, message: Any, member: Progress) -> None:
        alive(raft, msgspec.structs.replace(message, sent=raft.ticks + raft.settings.election_ticks), member)

    patch(leader, "_alive", late)


def a_snapshot_keeps_the_log(patch: Patch) -> None:
    def keeps(self: Any, snapshot: Any) -> None:
        self.offset = self.in_progress = snapshot.index + 1
        self.snapshot = None

    patch(Unstable, "restore", keeps)


def a_snapshot_without_its_members(patch: Patch) -> None:
    patch(membership, "restore", lambda raft, configuration: None)


def applied_apart_from_the_effect(patch: Patch) -> None:
    def apart(self: Any, core: Any, entries: Any) -> None:
        for entry in entries:
            batch = self._records.batch()
            self.log.stage_applied(batch, entry.index, self.log.applied_note)
            self._records.write(batch, sync=True)
        apply(self, core, entries)

    apply = raft_store.RaftStore.apply
    patch(raft_store.RaftStore, "apply", apart)


def a_wrong_body_is_put_in(patch: Patch) -> None:
    def any_body(self: Any, entry: Entry) -> Entry | None:
        body = next(iter(self._bodies.values()), None)
        return None if body is None else msgspec.structs.replace(entry, body=body, elided=False)

    patch(PendingBodies, "restore", any_body)


def an_elided_body_stays_away(patch: Patch) -> None:
    patch(follower, "_with_bodies", lambda raft, es: ([msgspec.structs.replace(e, elided=False) for e in es], 0))


def what_was_written_in_an_older_term_counts(patch: Patch) -> None:
    patch(step, "stored", lambda raft, message: _stored(raft, message))

    def _stored(raft: Any, message: Any) -> None:
        if message.index:
            raft.log.unstable.entries = raft.log.unstable.entries[
                max(message.index + 1 - raft.log.unstable.offset, 0) :
            ]
            raft.log.unstable.offset = max(raft.log.unstable.offset, message.index + 1)
            raft.log.unstable.in_progress = max(raft.log.unstable.in_progress, raft.log.unstable.offset)
        if message.snapshot is not None:
            step.applied_snapshot(raft, message.snapshot)


def the_window_is_never_freed(patch: Patch) -> None:
    patch(Inflights, "free_through", lambda self, index: None)
    patch(Inflights, "clear", lambda self: None)


def a_rejection_is_not_heard(patch: Patch) -> None:
    patch(leader, "_rejected", lambda raft, message, member: None)


def a_heartbeat_wakes_nobody(patch: Patch) -> None:
    alive = leader._alive

    def silent(raft: Any, message: Any, member: Progress) -> None:
        state, next_index, member.state = member.state, member.next, ProgressState.SNAPSHOT
        paused = member.paused
        alive(raft, message, member)
        member.state, member.next, member.paused = state, next_index, paused

    patch(leader, "_alive", silent)


def truncates_what_is_not_applied(patch: Patch) -> None:
    truncate = RaftLog.truncate

    def eager(self: Any, now: int, live: Any, keep_bytes: int) -> int:
        applied, self.applied_index = self.applied_index, self.last_index
        count = truncate(self, now, (), keep_bytes)
        self.applied_index = applied
        return count

    patch(RaftLog, "truncate", eager)


def _ends_unseen(self: Any, source: Any, end: pieces.End) -> Any:
    """Neither length nor hash is looked at."""
    if self._begin is None or source != self._source:
        return None
    what, body = self._begin.what, bytes(self._octets)
    self._forget()
    return pieces.with_body(what, body), pieces.Have(end.digest, end.size)


def a_snapshot_that_was_cut_is_whole(patch: Patch) -> None:
    def begin(self: Any, source: Any, begin: pieces.Begin) -> pieces.Have:
        had = len(self._octets) if self._begin is not None and self._begin.digest == begin.digest else 0
        self._forget()
        self._begin, self._source, self._silent = begin, source, 0
        return pieces.Have(begin.digest, had)

    def anywhere(self: Any, source: Any, piece: pieces.Piece) -> bool:
        if self._begin is not None and source == self._source:
            self._octets += piece.octets
        return True

    patch(pieces.Receiving, "begin", begin)
    patch(pieces.Receiving, "piece", anywhere)
    patch(pieces.Receiving, "end", _ends_unseen)


def another_snapshot_is_gone_on_with(patch: Patch) -> None:
    """And its hash is not looked at."""

    def begin(self: Any, source: Any, begin: pieces.Begin) -> pieces.Have:
        self._begin, self._source, self._silent = begin, source, 0
        del self._octets[begin.size :]
        return pieces.Have(begin.digest, len(self._octets))

    patch(pieces.Receiving, "begin", begin)
    patch(pieces.Receiving, "end", _ends_unseen)


def a_snapshot_of_another_moment(patch: Patch) -> None:
    """Its index is where the state machine was when it began, its body what the state machine is when it ends."""
    begin = raft_store.RaftStore.begin_snapshot

    def earlier(self: Any, name: str, now: int, expires: int) -> Any:
        snapshot, frozen = begin(self, name, now, expires)
        if snapshot.index - 1 > self.log.base_index:
            term = self.log.term(snapshot.index - 1)
            snapshot = msgspec.structs.replace(snapshot, index=snapshot.index - 1, term=term)
        return snapshot, frozen

    patch(raft_store.RaftStore, "begin_snapshot", earlier)


def leadership_is_offered_to_the_same_one_for_ever(patch: Patch) -> None:
    hand_over = leader.hand_over

    def again(raft: Any) -> None:
        raft.declined.clear()
        hand_over(raft)

    patch(leader, "hand_over", again)


def a_refusal_says_nothing_of_what_is_committed(patch: Patch) -> None:
    patch(candidate, "learn_commit", lambda raft, reply: None)


def a_refusal_is_believed_without_a_look_at_the_term(patch: Patch) -> None:
    def believes(raft: Any, reply: VoteReply) -> None:
        raft.log.commit_to(min(reply.commit, raft.log.last_index()))

    patch(candidate, "learn_commit", believes)


MUTANTS: tuple[Mutant, ...] = tuple(
    value
    for name, value in sorted(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__ and not name.startswith("_")
)
