"""One message in: terms first, then what the node's role makes of it."""

from __future__ import annotations

from tsdb.cluster.raft import candidate, follower, leader
from tsdb.cluster.raft.changes import Change
from tsdb.cluster.raft.entries import NOBODY, Entry, EntryKind, Snapshot, body_size, total_size
from tsdb.cluster.raft.events import EventKind
from tsdb.cluster.raft.messages import (
    Append,
    AppendReply,
    Applied,
    Heartbeat,
    InstallSnapshot,
    Message,
    Propose,
    ReadIndex,
    Stored,
    TimeoutNow,
    TransferLeadership,
    Vote,
    VoteReply,
)
from tsdb.cluster.raft.state import ProposalDropped, Raft, Role


def step(raft: Raft, message: Message) -> None:
    """Raises ProposalDropped."""
    if not isinstance(message, (Propose, ReadIndex)):
        # A transfer that this node's own client asks for has no term yet.
        term = message.term
        if term < raft.term and not (term == 0 and isinstance(message, TransferLeadership)):
            _from_the_past(raft, message)
            return
        if term > raft.term and not _from_the_future(raft, message, term):
            return
    if isinstance(message, VoteReply) and raft.role is not Role.LEADER:
        candidate.learn_commit(raft, message)
    if isinstance(message, Vote):
        candidate.on_vote(raft, message)
    elif isinstance(message, TimeoutNow):
        if raft.role is Role.FOLLOWER:
            candidate.start(raft, f"node {message.sender} hands over", transfer=True)
    elif raft.role is Role.LEADER:
        leader.step(raft, message)
    elif raft.role is Role.FOLLOWER:
        follower.step(raft, message)
    else:
        candidate.step(raft, message)


def _from_the_future(raft: Raft, message: Message, term: int) -> bool:
    """Follow into a later term; False if the message is to be ignored."""
    if isinstance(message, Vote):
        if _in_lease(raft) and not message.transfer:
            raft.report(EventKind.VOTE_REFUSED, message.sender, f"hears its leader {raft.leader}")
            return False
        if message.pre:
            return True
    if isinstance(message, VoteReply) and message.pre and not message.rejected:
        # It answers in the term that was asked about, which has not begun.
        return True
    leads = isinstance(message, (Append, Heartbeat, InstallSnapshot))
    cause = f"{type(message).__name__} of node {message.sender}"
    raft.become_follower(term, message.sender if leads else NOBODY, cause)
    return True


def _in_lease(raft: Raft) -> bool:
    """Whether a leader was heard within an election's time: then nobody else gets a vote (thesis, 6.2 and 4.2.3).

    Where leaders answer reads from their lease, not even after a restart or in a later term.
    """
    ticks = raft.settings.election_ticks
    if raft.settings.lease_reads and raft.heard_elapsed < ticks:
        return True
    return raft.settings.check_quorum and raft.leader != NOBODY and raft.election_elapsed < ticks


def _from_the_past(raft: Raft, message: Message) -> None:
    """A leader of an earlier term that this node cannot disturb by campaigning must hear of the later one.

    Otherwise a node that was cut off and came to a later term could never come back, since nobody would vote for it.
    """
    if isinstance(message, (Heartbeat, Append)) and (raft.settings.check_quorum or raft.settings.pre_vote):
        raft.send(AppendReply(raft.node, message.sender, raft.term, 0))
    elif isinstance(message, Vote) and message.pre:
        candidate.refuse(raft, message)


def stored(raft: Raft, message: Stored) -> None:
    """The storage has written."""
    # In a later term the log may have lost and regained what was written then (``Stored``).
    if message.index and message.term == raft.term:
        raft.log.stable_to(message.index, message.log_term)
    if message.snapshot is not None:
        applied_snapshot(raft, message.snapshot)


def applied_snapshot(raft: Raft, snapshot: Snapshot) -> None:
    raft.log.unstable.stable_snapshot(snapshot.index)
    applied_to(raft, snapshot.index, 0)


def applied(raft: Raft, message: Applied) -> None:
    """The state machine has applied."""
    if message.entries:
        applied_to(raft, message.entries[-1].index, total_size(message.entries))
        raft.uncommitted_bytes = max(raft.uncommitted_bytes - body_size(message.entries), 0)


def applied_to(raft: Raft, index: int, size: int) -> None:
    index = max(index, raft.log.applied)
    raft.log.applied_to(index, size)
    if raft.role is Role.LEADER and raft.configuration.auto_leave and index >= raft.pending_change_index:
        try:
            leader.propose(raft, [Entry(0, 0, EntryKind.CHANGE, Change().encode())])
        except ProposalDropped as dropped:
            # Tried again after the next entry, or by the next leader.
            raft.report(EventKind.DROPPED, NOBODY, f"leaving the joint configuration: {dropped}")
