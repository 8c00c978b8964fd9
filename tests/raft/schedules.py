"""Directed schedules: one for each rule whose breach random runs find late. Each function asserts its rule."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.disk import Disk
from tests.sim.registers import Registers
from tsdb.cluster.raft.changes import Change, MemberChange
from tsdb.cluster.raft.entries import Configuration, Entry, EntryKind, Snapshot
from tsdb.cluster.raft.messages import Append, AppendReply, HeartbeatReply, Message, TimeoutNow, Vote, VoteReply
from tsdb.cluster.raft.node import Node
from tsdb.cluster.raft.settings import Settings
from tsdb.cluster.raft.state import ClockState, Role
from tsdb.cluster.raft.storage import MemoryStorage
from tsdb.cluster.raft_store import RaftStore

THREE = Configuration((1, 2, 3))


def node_of(configuration: Configuration, *, asynchronous: bool = False) -> tuple[Node, MemoryStorage]:
    """Node 1, with a log that begins after index 1 of term 1."""
    storage = MemoryStorage()
    storage.install(Snapshot(1, 1, configuration))
    settings = Settings(node=1, pre_vote=False, check_quorum=False, asynchronous=asynchronous)
    return Node(settings, storage, lambda n: 0, applied=1), storage


def carry_out(node: Node, storage: MemoryStorage) -> list[Message]:
    """All that is ready; what it sends."""
    sent: list[Message] = []
    while node.has_ready():
        ready = node.ready()
        storage.state = ready.state or storage.state
        storage.append(ready.entries)
        sent += [*ready.messages_at_once, *ready.messages]
        node.advance()
    return sent


def lead(node: Node, storage: MemoryStorage) -> None:
    node.campaign()
    carry_out(node, storage)
    for voter in node.status.configuration.all_voters():
        if voter != 1:
            node.step(VoteReply(voter, 1, node.status.term))
    carry_out(node, storage)


def an_answer_of_an_older_term_does_not_count() -> None:
    node, storage = node_of(THREE)
    lead(node, storage)
    older = node.status.term
    node.step(Vote(2, 1, older + 1, 99, older))
    carry_out(node, storage)
    lead(node, storage)
    assert node.status.role is Role.LEADER
    for voter in (2, 3):
        node.step(AppendReply(voter, 1, older, storage.last_index()))
    carry_out(node, storage)
    assert node.status.committed == 1


def a_vote_of_an_older_term_does_not_count() -> None:
    node, storage = node_of(THREE)
    node.campaign()
    carry_out(node, storage)
    older = node.status.term
    node.campaign()
    carry_out(node, storage)
    assert node.status.term == older + 1
    for voter in (2, 3):
        node.step(VoteReply(voter, 1, older))
    assert node.status.role is Role.CANDIDATE


def a_vote_outlives_a_restart() -> None:
    disk = Disk()
    RaftStore(disk, 1, Registers(disk)).bootstrap(THREE)

    def answers(request: Vote) -> list[bool]:
        store = RaftStore(disk, 1, Registers(disk))
        node = Node(Settings(node=1), store, lambda n: 0, applied=store.applied)
        node.step(request)
        sent: list[Message] = []
        while node.has_ready():
            ready = node.ready()
            store.write(ready.state, ready.entries, ready.snapshot, ready.must_sync)
            sent += ready.messages
            node.advance()
        return [reply.rejected for reply in sent if isinstance(reply, VoteReply)]

    assert answers(Vote(2, 1, 7, 9, 6)) == [False]
    assert answers(Vote(3, 1, 7, 9, 6)) == [True]
    assert answers(Vote(2, 1, 7, 9, 6)) == [False]


def both_majorities_elect() -> None:
    node, storage = node_of(Configuration((1, 2, 3), (1, 4, 5)))
    node.campaign()
    carry_out(node, storage)
    node.step(VoteReply(2, 1, node.status.term))
    node.step(VoteReply(3, 1, node.status.term))
    assert node.status.leader == 0
    node.step(VoteReply(4, 1, node.status.term))
    assert node.status.leader == 1


def both_majorities_commit() -> None:
    node, storage = node_of(Configuration((1, 2, 3), (1, 4, 5)))
    lead(node, storage)
    last = storage.last_index()
    for voter in (2, 3):
        node.step(AppendReply(voter, 1, node.status.term, last))
    assert node.status.committed == 1
    node.step(AppendReply(4, 1, node.status.term, last))
    assert node.status.committed == last


def what_was_written_in_an_older_term_is_not_believed() -> None:
    """The log loses an entry and regains it while it is written: only the first writing is done (an A-B-A)."""
    node, _ = node_of(THREE, asynchronous=True)
    stored = []
    for term, leader, entry in ((2, 2, 2), (3, 3, 3), (4, 2, 2)):
        node.step(Append(leader, 1, term, 1, 1, (Entry(entry, 2, body=b"x"),), 1))
        ready = node.ready()
        assert ready.store is not None
        stored.append(ready.store.replies[-1])
    node.step(stored[0])
    assert node._raft.log.unstable.offset == 2
    node.step(stored[2])
    assert node._raft.log.unstable.offset == 3


def the_better_log_is_the_one_of_the_later_term() -> None:
    node, storage = node_of(THREE)
    node.step(Append(2, 1, 5, 1, 1, (Entry(5, 2),), 1))
    carry_out(node, storage)
    node.step(Vote(3, 1, 6, 90, 4))
    assert [m.rejected for m in carry_out(node, storage) if isinstance(m, VoteReply)] == [True]
    node.step(Vote(2, 1, 6, 2, 5))
    assert [m.rejected for m in carry_out(node, storage) if isinstance(m, VoteReply)] == [False]


def only_what_was_compared_is_committed() -> None:
    """A message commits through its own entries; what follows them here may be another leader's."""
    node, storage = node_of(THREE)
    node.step(Append(2, 1, 2, 1, 1, (Entry(2, 2), Entry(2, 3), Entry(2, 4)), 1))
    carry_out(node, storage)
    node.step(Append(3, 1, 3, 1, 1, (Entry(2, 2),), 4))
    carry_out(node, storage)
    assert node.status.committed == 2


def an_old_message_takes_nothing_away() -> None:
    node, storage = node_of(THREE)
    node.step(Append(2, 1, 2, 1, 1, (Entry(2, 2), Entry(2, 3)), 1))
    carry_out(node, storage)
    node.step(Append(2, 1, 2, 1, 1, (Entry(2, 2),), 1))
    carry_out(node, storage)
    assert storage.last_index() == 3


def nothing_is_answered_before_it_is_on_disk() -> None:
    node, _ = node_of(THREE)
    node.step(Append(2, 1, 2, 1, 1, (Entry(2, 2),), 1))
    node.step(Vote(3, 1, 3, 9, 2))
    ready = node.ready()
    assert ready.must_sync
    assert not ready.messages_at_once
    assert len(ready.messages) == 2


def a_new_leader_waits_for_the_changes_in_its_log() -> None:
    """A change takes effect when it is applied, so each is decided by the majority that the one before left behind.

    Two on their way at once might be decided by majorities without a common member (Ongaro, 2015).
    """
    node, storage = node_of(THREE)
    earlier = Change(((MemberChange.REMOVE, 3),)).encode()
    node.step(Append(2, 1, 2, 1, 1, (Entry(2, 2, EntryKind.CHANGE, earlier),), 1))
    carry_out(node, storage)
    lead(node, storage)
    node.propose_change(Change(((MemberChange.ADD_VOTER, 4),)))
    carry_out(node, storage)
    last = storage.last_index()
    kinds = [entry.kind for entry in storage.entries(2, last + 1)]
    assert kinds == [EntryKind.CHANGE, EntryKind.NORMAL, EntryKind.NORMAL]


def what_is_committed_is_not_replaced() -> None:
    node, storage = node_of(THREE)
    node.step(Append(2, 1, 2, 1, 1, (Entry(2, 2), Entry(2, 3)), 3))
    carry_out(node, storage)
    node.step(Append(3, 1, 3, 1, 1, (Entry(3, 2),), 1))
    sent = carry_out(node, storage)
    assert [entry.term for entry in storage.entries(2, 4)] == [2, 2]
    # The answer says what is committed here, which is in every leader's log.
    assert [message.index for message in sent if isinstance(message, AppendReply)] == [3]


def who_must_not_lead_hands_over_to_another_when_one_does_not_take_over() -> None:
    """The one that has all of the log may be gone, and asked first for ever (a seed of the simulator, 12,549)."""
    node, storage = node_of(THREE)
    lead(node, storage)
    for voter in (2, 3):
        node.step(AppendReply(voter, 1, node.status.term, storage.last_index()))
    node.set_clock(ClockState.WRONG)
    asked: list[int] = []
    for _ in range(60):
        asked += [message.to for message in carry_out(node, storage) if isinstance(message, TimeoutNow)]
        # Both answer heartbeats, and neither begins an election.
        for voter in (2, 3):
            node.step(HeartbeatReply(voter, 1, node.status.term))
        node.tick()
        node.set_clock(ClockState.WRONG)
    assert node.status.role is Role.LEADER
    assert asked[:4] == [2, 3, 2, 3]


def _successor_that_does_not_know(log: tuple[Entry, ...]) -> tuple[Node, MemoryStorage]:
    """Node 1, which votes with 2 in the joint configuration that replaces 2, and whose log goes on with these."""
    node, storage = node_of(Configuration((1,), (2,), (), (2,), auto_leave=True))
    node.step(Append(2, 1, 2, 1, 1, log, 1))
    carry_out(node, storage)
    node.campaign()
    carry_out(node, storage)
    return node, storage


def who_needs_the_vote_of_one_that_left_learns_that_it_left() -> None:
    """It has a longer log and refuses, and is no voter any more: both waited for ever (seed 69,919)."""
    leave = Entry(2, 2, EntryKind.CHANGE, Change().encode())
    node, storage = _successor_that_does_not_know((leave,))
    node.step(VoteReply(2, 1, node.status.term, False, True, 2, 2))
    refused = node.status
    assert (refused.committed, refused.role) == (2, Role.FOLLOWER)
    carry_out(node, storage)
    node.apply_change(leave)
    node.campaign()
    carry_out(node, storage)
    assert node.status.role is Role.LEADER


def only_an_entry_that_is_equal_is_committed_by_a_refusal() -> None:
    node, _ = _successor_that_does_not_know((Entry(2, 2),))
    node.step(VoteReply(2, 1, node.status.term, False, True, 2, 1))
    node.step(VoteReply(2, 1, node.status.term, False, True, 3, 2))
    assert node.status.committed == 1


SCHEDULES: tuple[Callable[[], None], ...] = (
    an_answer_of_an_older_term_does_not_count,
    a_vote_of_an_older_term_does_not_count,
    a_vote_outlives_a_restart,
    both_majorities_elect,
    both_majorities_commit,
    what_was_written_in_an_older_term_is_not_believed,
    the_better_log_is_the_one_of_the_later_term,
    only_what_was_compared_is_committed,
    an_old_message_takes_nothing_away,
    nothing_is_answered_before_it_is_on_disk,
    a_new_leader_waits_for_the_changes_in_its_log,
    what_is_committed_is_not_replaced,
    who_must_not_lead_hands_over_to_another_when_one_does_not_take_over,
    who_needs_the_vote_of_one_that_left_learns_that_it_left,
    only_an_entry_that_is_equal_is_committed_by_a_refusal,
)
