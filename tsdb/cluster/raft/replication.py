"""The leader's side of the log: appending, sending, committing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tsdb.cluster.raft import quorum
from tsdb.cluster.raft.entries import Entry, body_size
from tsdb.cluster.raft.forwarding import elide
from tsdb.cluster.raft.messages import Append, AppendReply, Heartbeat, InstallSnapshot, TimeoutNow
from tsdb.cluster.raft.progress import Progress, ProgressState
from tsdb.cluster.raft.state import Raft


def lead(raft: Raft) -> None:
    """Begin a term. Its first entry is empty; once that is committed everything before it is (thesis, 3.6.2)."""
    raft.become_leader_of_term()
    taken = append(raft, [Entry(0, 0)])
    assert taken, "an empty entry is never refused"


def append(raft: Raft, entries: Sequence[Entry]) -> bool:
    """Append to the leader's own log; False if too much is uncommitted.

    The leader's own copy counts only when it is on disk: it answers itself like any follower.
    """
    size = body_size(entries)
    # Something is always taken when nothing waits, and empty entries are never refused.
    if raft.uncommitted_bytes and size and raft.uncommitted_bytes + size > raft.settings.uncommitted_bytes_max:
        return False
    raft.uncommitted_bytes += size
    first = raft.log.last_index() + 1
    last = raft.log.append(
        [msgspec.structs.replace(entry, term=raft.term, index=first + at) for at, entry in enumerate(entries)]
    )
    raft.send(AppendReply(raft.node, raft.node, raft.term, last))
    return True


def send_append(raft: Raft, to: int, if_empty: bool = True) -> bool:
    """Send what comes next to a member, or a snapshot if the log does not reach back so far; False if nothing."""
    member = raft.members[to]
    if member.is_paused:
        return False
    previous = member.next - 1
    previous_term = raft.log.term(previous)
    if previous_term is None:
        return _send_snapshot(raft, to, member)
    entries: list[Entry] | None = []
    # With the window full an empty message still finds out whether all of it was lost.
    if member.state is not ProgressState.REPLICATE or not member.inflights.full:
        entries = raft.log.entries(member.next, raft.settings.append_bytes_max)
    if not entries and not if_empty:
        return False
    if entries is None:
        return _send_snapshot(raft, to, member)
    sent = elide(entries, to, member.bodies_through)
    raft.send(Append(raft.node, to, raft.term, previous, previous_term, sent, raft.log.committed))
    member.sent(len(entries), body_size(sent), raft.log.committed)
    return True


def _send_snapshot(raft: Raft, to: int, member: Progress) -> bool:
    # Nobody is there to take it.
    if not member.recent_active:
        return False
    snapshot = raft.log.snapshot()
    if snapshot is None:
        return False
    assert snapshot.index + 1 >= raft.log.first_index(), (
        f"a hole between the snapshot at {snapshot.index} and the log from {raft.log.first_index()}"
    )
    member.become_snapshot(snapshot.index)
    raft.send(InstallSnapshot(raft.node, to, raft.term, snapshot))
    return True


def broadcast_append(raft: Raft, if_empty: bool = True) -> None:
    for node, _ in raft.others():
        send_append(raft, node, if_empty)


def broadcast_heartbeat(raft: Raft, context: bytes) -> None:
    for node, member in raft.others():
        # Never beyond what the member is known to have: its log may differ there.
        commit = min(member.match, raft.log.committed)
        raft.send(Heartbeat(raft.node, node, raft.term, commit, context, raft.ticks))
        member.sent_commit = commit


def send_timeout_now(raft: Raft, to: int) -> None:
    # Whoever is asked for a vote then gives it in spite of the lease, whenever this arrives.
    raft.lease_given_away = True
    raft.send(TimeoutNow(raft.node, to, raft.term))


def commit(raft: Raft) -> bool:
    """Commit what a majority has on disk; True if that is more than before.

    Only an entry of this very term is committed by counting; those before it come with it (thesis, 3.6.2: an entry of
    an earlier term that a majority has may still be replaced).
    """
    matches = {node: member.match for node, member in raft.members.items()}
    index = quorum.committed(raft.configuration, matches)
    if index <= raft.log.committed or not raft.log.matches(index, raft.term):
        return False
    raft.log.commit_to(index)
    return True


def has_committed_in_term(raft: Raft) -> bool:
    return raft.log.term(raft.log.committed) == raft.term
