"""What a follower does with what it hears: the log from its leader, and proposals and reads that it passes on."""

from __future__ import annotations

import msgspec

from tsdb.cluster.raft import membership
from tsdb.cluster.raft.entries import NOBODY, Entry, Snapshot
from tsdb.cluster.raft.events import EventKind
from tsdb.cluster.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    NeedBody,
    Propose,
    ReadIndex,
    ReadIndexReply,
    TransferLeadership,
)
from tsdb.cluster.raft.reads import ReadState
from tsdb.cluster.raft.state import ProposalDropped, Raft


def step(raft: Raft, message: Message) -> None:
    if isinstance(message, (Append, Heartbeat, InstallSnapshot)):
        raft.election_elapsed = 0
        raft.heard_elapsed = 0
        if raft.leader != message.sender:
            raft.leader = message.sender
            raft.report(EventKind.FOLLOWS, message.sender, "leads this term")
        if isinstance(message, Append):
            _append(raft, message)
        elif isinstance(message, Heartbeat):
            raft.log.commit_to(message.commit)
            raft.send(HeartbeatReply(raft.node, message.sender, raft.term, message.context, message.sent))
        else:
            _install(raft, message)
    elif isinstance(message, Propose):
        _forward(raft, message)
    elif isinstance(message, ReadIndexReply):
        raft.read_states.append(ReadState(message.index, message.context))
    elif raft.leader == NOBODY:
        return
    elif isinstance(message, ReadIndex):
        sender = message.sender or raft.node
        raft.send(ReadIndex(sender, raft.leader, message.context))
    elif isinstance(message, TransferLeadership):
        raft.send(TransferLeadership(message.sender, raft.leader, raft.term))


def _forward(raft: Raft, message: Propose) -> None:
    if raft.leader == NOBODY:
        raise ProposalDropped(f"no leader in term {raft.term}")
    entries = message.entries
    if raft.settings.forward_by_reference:
        entries = raft.pending_bodies.keep(entries)
    raft.send(Propose(message.sender, raft.leader, entries))


def _append(raft: Raft, message: Append) -> None:
    log = raft.log
    if message.previous_index < log.committed:
        # Old: what is committed is equal to the leader's log without a look.
        raft.send(AppendReply(raft.node, message.sender, raft.term, log.committed))
        return
    if not log.matches(message.previous_index, message.previous_term):
        hint, hint_term = log.find_conflict_by_term(
            min(message.previous_index, log.last_index()), message.previous_term
        )
        raft.send(AppendReply(raft.node, message.sender, raft.term, message.previous_index, True, hint, hint_term))
        return
    entries, missing = _with_bodies(raft, message.entries)
    log.append_after(message.previous_index, message.previous_term, entries)
    # Only through this message's entries: what may follow them here was never compared.
    last = message.previous_index + len(entries)
    log.commit_to(min(message.commit, last))
    raft.send(AppendReply(raft.node, message.sender, raft.term, last))
    if missing:
        raft.send(NeedBody(raft.node, message.sender, raft.term, missing))


def _with_bodies(raft: Raft, entries: tuple[Entry, ...]) -> tuple[list[Entry], int]:
    """The entries up to the first whose body nobody here has, and that one's index (0: all are whole)."""
    whole: list[Entry] = []
    for entry in entries:
        if entry.elided:
            if raft.log.matches(entry.index, entry.term):
                # It is in the log; only its term is looked at.
                entry = msgspec.structs.replace(entry, elided=False)
            else:
                restored = raft.pending_bodies.restore(entry)
                if restored is None:
                    return whole, entry.index
                entry = restored
        whole.append(entry)
    return whole, 0


def _install(raft: Raft, message: InstallSnapshot) -> None:
    snapshot = message.snapshot
    index = raft.log.last_index() if _restore(raft, snapshot) else raft.log.committed
    raft.send(AppendReply(raft.node, message.sender, raft.term, index))


def _restore(raft: Raft, snapshot: Snapshot) -> bool:
    """Take a snapshot in place of the log; False if it brings nothing."""
    if snapshot.index <= raft.log.committed or not snapshot.configuration.has(raft.node):
        return False
    if raft.log.matches(snapshot.index, snapshot.term):
        # The log has it all: it is only committed later than this node knew.
        raft.log.commit_to(snapshot.index)
        return False
    raft.log.restore(snapshot)
    membership.restore(raft, snapshot.configuration)
    raft.report(EventKind.SNAPSHOT, NOBODY, f"installs one at {snapshot.index} of term {snapshot.term}")
    return True
