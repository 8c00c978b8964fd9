"""Following: what a replica takes from its leader, and what it gives to anybody (2.2, 2.4)."""

from __future__ import annotations

from tsdb.cluster.replication import reading
from tsdb.cluster.replication.messages import (
    Fence,
    Fenced,
    Fetch,
    Fetched,
    Gap,
    Message,
    Mismatch,
    Repl,
    Snapshot,
    SnapshotRequest,
    TruncatedBelow,
)  # fmt: skip
from tsdb.cluster.replication.state import Role, State


def fence(state: State, message: Fence) -> None:
    """Promise, durably, before saying so."""
    if message.epoch > state.promised:
        state.promise(message.epoch)
    state.promise_to = message.sender


def fenced(state: State, message: Fenced) -> None:
    """Somebody has promised a later epoch: this one is over."""
    if message.promised > state.promised and state.role is not Role.FOLLOWER:
        state.step_down(0)


def replicated(state: State, message: Repl) -> None:
    """The follower's rule, line by line (2.4); an epoch that is over was answered before."""
    if message.epoch > state.promised:
        state.promise(message.epoch)
    assert state.role is Role.FOLLOWER, f"epoch {message.epoch} has two leaders (I1)"
    log = state.log
    state.leader, state.heard = message.sender, state.ticks
    if message.previous > log.last:
        state.send(Gap(state.replica, message.sender, state.location, message.epoch, log.last))
        return
    if message.previous > 0 and log.epoch_at(message.previous) != message.previous_epoch:
        state.send(Mismatch(state.replica, message.sender, state.location, message.epoch, log.vector.ends()))
        return
    log.take_over(message.ops)
    # What comes after is from an earlier epoch and was not compared: neither acknowledged nor committed by this.
    state.verified = max(state.verified, message.previous + len(message.ops))
    _commit(state, message.commit)
    if message.commit <= log.commit and message.lead_ns > state.fresh_ns:
        state.fresh_ns, state.fresh_sequence = message.lead_ns, message.commit
    reading.look_at_tokens(state)
    state.ack_to = message.sender
    state.ack_round = max(state.ack_round, message.round)


def hear_commit(state: State, commit: int) -> None:
    """What the leader of the promised epoch has committed: here as far as the log was compared, now or later."""
    _commit(state, commit)
    reading.look_at_tokens(state)


def _commit(state: State, commit: int) -> None:
    state.commit_heard = max(state.commit_heard, commit)
    known = min(state.commit_heard, state.verified)
    if known > state.log.commit:
        state.log.commit_to(known)


def fetch(state: State, message: Fetch) -> None:
    """Ops that are on disk, to whom they are missing. Truncates nothing and promises nothing."""
    log = state.log
    if message.first <= log.base:
        state.send(TruncatedBelow(state.replica, message.sender, state.location, message.epoch, log.base))
        return
    previous = message.first - 1
    ops = log.ops(message.first, state.settings.append_bytes_max, log.stable)
    state.send(
        Fetched(state.replica, message.sender, state.location, message.epoch, previous, log.epoch_at(previous), ops,
                log.vector.ends())
    )  # fmt: skip


def snapshot_asked(state: State, message: SnapshotRequest) -> None:
    if message.sender not in state.snapshots:
        state.snapshots.append(message.sender)


def snapshot(state: State, message: Snapshot) -> bool:
    """Take the place of what was not known here; whether it did. Its state is committed, so it is never undone."""
    if message.epoch > state.promised:
        state.promise(message.epoch)
    installed = message.state.sequence > state.log.commit
    if installed:
        state.log.install(message)
        reading.look_at_tokens(state)
    if state.role is Role.FOLLOWER and not state.retired:
        # Committed, so in the leader's log as well: compared in a way.
        state.verified = max(state.verified, message.state.sequence)
        state.ack_to = message.sender
    return installed


def from_the_past(state: State, message: Message) -> None:
    """An epoch that is over. Answers to an earlier leader need no answer."""
    if isinstance(message, (Fence, Repl, Fetch, SnapshotRequest, Snapshot)) or type(message).__name__ == "Beat":
        state.send(Fenced(state.replica, message.sender, state.location, message.epoch, state.promised))
