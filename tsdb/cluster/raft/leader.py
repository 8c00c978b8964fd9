"""What a leader does with what it hears."""

from __future__ import annotations

from collections.abc import Sequence

from tsdb.cluster.raft import quorum, replication
from tsdb.cluster.raft.changes import change_of
from tsdb.cluster.raft.entries import NOBODY, Entry
from tsdb.cluster.raft.events import EventKind
from tsdb.cluster.raft.messages import (
    AppendReply,
    HeartbeatReply,
    Message,
    NeedBody,
    Propose,
    ReadIndex,
    ReadIndexReply,
    TransferLeadership,
)
from tsdb.cluster.raft.progress import Progress, ProgressState
from tsdb.cluster.raft.quorum import VoteResult
from tsdb.cluster.raft.reads import ReadState
from tsdb.cluster.raft.state import ClockState, ProposalDropped, Raft, Role


def tick(raft: Raft) -> None:
    raft.heartbeat_elapsed += 1
    raft.election_elapsed += 1
    if raft.election_elapsed >= raft.settings.election_ticks:
        raft.election_elapsed = 0
        if raft.settings.check_quorum:
            check_quorum(raft)
        # Who was to take over did not: this node leads on.
        if raft.role is Role.LEADER and raft.transferee != NOBODY:
            raft.report(EventKind.TRANSFER, raft.transferee, "given up: not done within an election's time")
            raft.declined.add(raft.transferee)
            raft.transferee = NOBODY
        if raft.role is Role.LEADER and raft.node not in raft.configuration.all_voters():
            hand_over(raft)
    if raft.role is not Role.LEADER:
        return
    if raft.heartbeat_elapsed >= raft.settings.heartbeat_ticks:
        raft.heartbeat_elapsed = 0
        replication.broadcast_heartbeat(raft, raft.reads.last_context())


def check_quorum(raft: Raft) -> None:
    """Step down if no majority answered since the last time: a leader that is cut off must not go on (thesis, 6.2)."""
    active = {node: member.recent_active for node, member in raft.members.items() if not member.learner}
    if quorum.vote_result(raft.configuration, active) is not VoteResult.WON:
        raft.become_follower(raft.term, NOBODY, "no majority answered for an election's time")
    for _, member in raft.others():
        member.recent_active = False


def step(raft: Raft, message: Message) -> None:
    if isinstance(message, Propose):
        propose(raft, message.entries)
        return
    if isinstance(message, ReadIndex):
        read_index(raft, message)
        return
    member = raft.members.get(message.sender)
    if member is None:
        return
    if isinstance(message, AppendReply):
        member.recent_active = True
        if message.rejected:
            _rejected(raft, message, member)
        else:
            _accepted(raft, message, member)
    elif isinstance(message, HeartbeatReply):
        _alive(raft, message, member)
    elif isinstance(message, NeedBody):
        member.recent_active = True
        member.bodies_through = max(member.bodies_through, raft.log.last_index())
        if member.state is ProgressState.REPLICATE:
            member.become_probe()
        replication.send_append(raft, message.sender)
    elif isinstance(message, TransferLeadership):
        transfer(raft, message.sender, member)


def propose(raft: Raft, entries: Sequence[Entry]) -> None:
    """Append and send entries. Raises ProposalDropped."""
    assert entries, "a proposal of nothing"
    if raft.node not in raft.members:
        raise ProposalDropped("this leader is no member any more")
    if raft.transferee != NOBODY:
        raise ProposalDropped(f"leadership is being handed over to node {raft.transferee}")
    last, pending = raft.log.last_index(), raft.pending_change_index
    checked = [_checked(raft, entry, last + 1 + at) for at, entry in enumerate(entries)]
    if not replication.append(raft, checked):
        raft.pending_change_index = pending
        raise ProposalDropped(f"{raft.uncommitted_bytes} bytes are uncommitted")
    replication.broadcast_append(raft)


def _checked(raft: Raft, entry: Entry, index: int) -> Entry:
    """A change of members, or an empty entry in its place if it may not be made now: one at a time (thesis, 4.1)."""
    change = change_of(entry)
    if change is None:
        return entry
    refused = ""
    if raft.pending_change_index > raft.log.applied:
        refused = f"there may be another at index {raft.pending_change_index} that is not applied"
    elif raft.configuration.joint and not change.leaves:
        refused = "the joint configuration must be left first"
    elif not raft.configuration.joint and change.leaves:
        refused = "there is no joint configuration to leave"
    if refused and raft.settings.validate_changes:
        raft.report(EventKind.CONFIGURATION, NOBODY, f"change refused: {refused}")
        return Entry(0, 0)
    raft.pending_change_index = index
    return entry


def _rejected(raft: Raft, message: AppendReply, member: Progress) -> None:
    hint = message.hint_index
    if message.hint_term:
        # The follower's log ends in entries that are not in ours. All of our entries of later terms than its term
        # there cannot match either, since terms only rise along a log: one probe for each term, not for each entry.
        hint, _ = raft.log.find_conflict_by_term(message.hint_index, message.hint_term)
    if member.decrease(message.index, hint):
        if member.state is ProgressState.REPLICATE:
            member.become_probe()
        replication.send_append(raft, message.sender)


def _accepted(raft: Raft, message: AppendReply, member: Progress) -> None:
    probed = member.match == message.index and member.state is ProgressState.PROBE
    if not member.update(message.index) and not probed:
        return
    if member.state is ProgressState.PROBE:
        member.become_replicate()
    elif member.state is ProgressState.SNAPSHOT:
        # Whatever snapshot was installed there: the log reaches back to it.
        if member.match + 1 >= raft.log.first_index():
            member.become_probe()
            member.become_replicate()
    else:
        member.inflights.free_through(message.index)
    if replication.commit(raft):
        release_reads(raft)
        replication.broadcast_append(raft)
    elif message.sender != raft.node and member.can_raise_commit(raft.log.committed):
        replication.send_append(raft, message.sender)
    if message.sender == raft.node:
        return
    # The window may have room for several messages now.
    while replication.send_append(raft, message.sender, if_empty=False):
        pass
    if message.sender == raft.transferee and member.match == raft.log.last_index():
        replication.send_timeout_now(raft, message.sender)


def _alive(raft: Raft, message: HeartbeatReply, member: Progress) -> None:
    member.recent_active = True
    member.promised = max(member.promised, message.sent)
    member.paused = False
    # An empty message to a member in doubt finds out where it is.
    if member.match < raft.log.last_index() or member.state is ProgressState.PROBE:
        replication.send_append(raft, message.sender)
    if not message.context:
        return
    acks = raft.reads.acknowledge(message.sender, message.context)
    if quorum.vote_result(raft.configuration, acks) is not VoteResult.WON:
        return
    for read in raft.reads.advance(message.context):
        _answer_read(raft, read.request, read.index)


def read_index(raft: Raft, request: ReadIndex) -> None:
    """Answer a read, now or after a round of heartbeats."""
    if not replication.has_committed_in_term(raft):
        # Until then it does not know which entries of earlier terms are committed (thesis, 6.4). Not even when alone:
        # a commit index may be lost in a crash.
        raft.postponed_reads.append(request)
    elif raft.configuration.voters == (raft.node,) and not raft.configuration.joint:
        _answer_read(raft, request, raft.log.committed)
    else:
        _begin_read(raft, request)


def release_reads(raft: Raft) -> None:
    if raft.postponed_reads and replication.has_committed_in_term(raft):
        requests, raft.postponed_reads = raft.postponed_reads, []
        for request in requests:
            read_index(raft, request)


def _begin_read(raft: Raft, request: ReadIndex) -> None:
    if _has_lease(raft):
        _answer_read(raft, request, raft.log.committed)
        return
    raft.reads.add(request, raft.log.committed)
    raft.reads.acknowledge(raft.node, request.context)
    replication.broadcast_heartbeat(raft, request.context)


def _has_lease(raft: Raft) -> bool:
    """Whether nobody else can have been elected: a majority promised so, counted from when it was asked.

    They promise an election's time of their clocks, and half of it is used: a clock may run twice as fast as another.
    """
    if not raft.settings.lease_reads or raft.clock is not ClockState.AGREES or raft.lease_given_away:
        return False
    since = raft.ticks - raft.settings.election_ticks // 2
    promised = {node: member.promised > since for node, member in raft.members.items() if node != raft.node}
    return quorum.vote_result(raft.configuration, {**promised, raft.node: True}) is VoteResult.WON


def _answer_read(raft: Raft, request: ReadIndex, index: int) -> None:
    if request.sender in (NOBODY, raft.node):
        raft.read_states.append(ReadState(index, request.context))
    else:
        raft.send(ReadIndexReply(raft.node, request.sender, raft.term, index, request.context))


def hand_over(raft: Raft) -> None:
    """To the voter that has most of the log. Until that one leads, this node serves the group as before.

    One that has all of it may be gone: then it is the next one's turn, and again everybody's when nobody took over.
    """
    voters = {node for node, _ in raft.others() if node in raft.configuration.voters}
    if voters and raft.transferee == NOBODY:
        if voters <= raft.declined:
            raft.declined.clear()
        to = max(voters - raft.declined, key=lambda node: (raft.members[node].match, -node))
        transfer(raft, to, raft.members[to])


def transfer(raft: Raft, to: int, member: Progress) -> None:
    """Hand over to a member: bring it up to date, then have it campaign at once (thesis, 3.10)."""
    if member.learner or to == raft.transferee or to == raft.node:
        return
    raft.report(EventKind.TRANSFER, to, "asked to hand over")
    raft.election_elapsed = 0
    raft.transferee = to
    if member.match == raft.log.last_index():
        replication.send_timeout_now(raft, to)
    else:
        replication.send_append(raft, to)
