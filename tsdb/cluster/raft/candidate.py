"""What a candidate does with what it hears, and how an election begins."""

from __future__ import annotations

from tsdb.cluster.raft import follower, quorum, replication
from tsdb.cluster.raft.entries import NOBODY, EntryKind
from tsdb.cluster.raft.events import EventKind
from tsdb.cluster.raft.messages import Append, Heartbeat, InstallSnapshot, Message, Propose, Vote, VoteReply
from tsdb.cluster.raft.quorum import VoteResult
from tsdb.cluster.raft.state import ProposalDropped, Raft, Role


def tick(raft: Raft) -> None:
    """Of followers and candidates."""
    raft.election_elapsed += 1
    if raft.promotable and raft.election_elapsed >= raft.election_timeout:
        raft.election_elapsed = 0
        start(raft, "heard no leader" if raft.role is Role.FOLLOWER else "no result of the election in time")


def start(raft: Raft, cause: str, *, transfer: bool = False) -> None:
    """Begin an election if this node may: not before it has applied what says who votes."""
    if raft.role is Role.LEADER or not raft.promotable or _has_unapplied_change(raft):
        return
    if raft.settings.asynchronous and raft.log.has_unstable:
        # Requests are sent before the disk has what they say of the log. Were it lost in a crash, this node could
        # campaign in the same term again with a shorter log, and take the late answers to these for votes.
        raft.election_elapsed = raft.election_timeout
        return
    # A leader that hands over is alive and well: nobody needs to be asked before.
    _campaign(raft, cause, pre=raft.settings.pre_vote and not transfer, transfer=transfer)


def _has_unapplied_change(raft: Raft) -> bool:
    log = raft.log
    entries = log.scan(log.applied + 1, log.committed + 1, raft.settings.applying_bytes_max)
    return any(entry.kind is not EntryKind.NORMAL for entry in entries)


def _campaign(raft: Raft, cause: str, *, pre: bool, transfer: bool) -> None:
    if pre:
        raft.become_pre_candidate(cause)
        term = raft.term + 1
    else:
        raft.become_candidate(cause)
        term = raft.term
    last_index, last_term = raft.log.last_id()
    for node in raft.configuration.all_voters():
        if node == raft.node:
            # Its own vote counts when it is on disk, as anybody's.
            raft.send(VoteReply(node, node, term, pre))
        else:
            raft.send(Vote(raft.node, node, term, last_index, last_term, pre, transfer))


def step(raft: Raft, message: Message) -> None:
    if isinstance(message, Propose):
        raise ProposalDropped(f"no leader in term {raft.term}")
    if isinstance(message, (Append, Heartbeat, InstallSnapshot)):
        raft.become_follower(message.term, message.sender, "another leads this term")
        follower.step(raft, message)
    elif isinstance(message, VoteReply) and message.pre is (raft.role is Role.PRE_CANDIDATE):
        _count(raft, message)


def _count(raft: Raft, reply: VoteReply) -> None:
    raft.votes.setdefault(reply.sender, not reply.rejected)
    result = quorum.vote_result(raft.configuration, raft.votes)
    if result is VoteResult.WON:
        if raft.role is Role.PRE_CANDIDATE:
            _campaign(raft, "a majority would vote for it", pre=False, transfer=False)
        else:
            replication.lead(raft)
            replication.broadcast_append(raft)
    elif result is VoteResult.LOST:
        raft.become_follower(raft.term, NOBODY, "lost the election")


def refuse(raft: Raft, request: Vote) -> None:
    commit = raft.log.committed
    commit_term = raft.log.term(commit) or 0
    raft.send(VoteReply(raft.node, request.sender, raft.term, request.pre, True, commit, commit_term))


def learn_commit(raft: Raft, reply: VoteReply) -> None:
    """Commit what the one who refuses knows to be committed, if it is in the log here.

    Without it a group can stand still: a leader that was replaced as a voter refuses, having a longer log, its vote to
    its successor, which crashed before it knew that the change is committed and needs that vote until it does.
    (A commit index is a fact in every term; TiKV's raft-rs has the same, ``maybe_commit_by_vote``.)
    """
    if reply.commit <= raft.log.committed or not raft.log.matches(reply.commit, reply.commit_term):
        return
    raft.log.commit_to(reply.commit)
    if raft.role is not Role.FOLLOWER and _has_unapplied_change(raft):
        raft.become_follower(raft.term, NOBODY, "who votes has changed")


def on_vote(raft: Raft, request: Vote) -> None:
    """Give a vote: once a term, to whom has everything that may be committed (thesis, 3.4, 3.6.1). In every role.

    Learners vote as well: one may have been made a voter without knowing it yet.
    """
    free = raft.vote == request.sender or (raft.vote == NOBODY and raft.leader == NOBODY)
    may = free or (request.pre and request.term > raft.term)
    if may and raft.log.is_up_to_date(request.last_index, request.last_term):
        # In the term that was asked about: in its own, a candidate would not hear it.
        raft.send(VoteReply(raft.node, request.sender, request.term, request.pre))
        if not request.pre:
            raft.election_elapsed = 0
            raft.vote_for(request.sender)
        return
    refuse(raft, request)
    raft.report(EventKind.VOTE_REFUSED, request.sender, "its log is behind" if may else f"voted for {raft.vote}")
