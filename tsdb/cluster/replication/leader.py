"""Leading: sending ops as each follower can take them, counting acknowledgements, committing (2.3, 2.5)."""

from __future__ import annotations

from collections.abc import Mapping

from tsdb.cluster.replication import reading
from tsdb.cluster.replication.clients import ALL, QUORUM
from tsdb.cluster.replication.messages import Ack, Gap, Mismatch, Repl
from tsdb.cluster.replication.ops import Op, OpKind
from tsdb.cluster.replication.record import Activate, Record
from tsdb.cluster.replication.state import NEVER, Peer, Role, State
from tsdb.cluster.replication.vector import Ends, shared


def begin(state: State, vectors: Mapping[int, Ends]) -> None:
    """The log is the best one: append the barrier. Until the epoch is active nothing is committed or answered."""
    state.role, state.active = Role.LEADER, False
    state.asked_at = NEVER
    op = append(state, OpKind.BARRIER)
    state.barrier = op.sequence
    state.peers = {}
    _follow_members(state)
    mine = state.log.vector.ends()
    for replica, peer in state.peers.items():
        if replica in vectors:
            peer.next = shared(mine, vectors[replica]) + 1
            peer.heard = state.ticks
        replicate(state, replica)


def _follow_members(state: State) -> None:
    """Voters and learners of the record get the log; who is neither any more gets nothing."""
    assert state.record is not None
    members = {*state.voters, *state.record.learners} - {state.replica}
    state.peers = {replica: state.peers.get(replica) or Peer(state.log.last) for replica in sorted(members)}


def learned(state: State, record: Record) -> None:
    """The record of the epoch that this replica leads: active now, or with other learners."""
    _follow_members(state)
    if record.active_epoch == state.epoch and not state.active:
        assert state.log.last >= state.barrier
        advance(state)


def append(state: State, kind: OpKind, **fields: object) -> Op:
    """One op more, in this epoch; its rows get counters above all that the log has."""
    assert state.promised == state.epoch, "a leader appends in the epoch that it has promised (I3)"
    rows = int(str(fields.pop("rows", 0)))
    op = Op(
        state.log.last + 1,
        state.epoch,
        kind,
        map_version=state.record.map_version if state.record else 0,
        rows=rows,
        first_counter=state.counters.take(rows, state.log.counter) if rows else 0,
        origin=state.counters.node if rows else 0,
        **fields,  # type: ignore[arg-type]
    )
    return state.log.append(op)


def replicate(state: State, to: int) -> None:
    """What a follower has not got and may get now."""
    peer, log, settings = state.peers[to], state.log, state.settings
    while peer.next <= log.last and not (peer.probing and peer.sent):
        if peer.next <= log.base:
            _needs_snapshot(state, to, peer)
            return
        # How much of an unknown log is acknowledged is unknown, too: from where it is probed, then.
        through = min(log.last, (peer.next - 1 if peer.probing else peer.match) + settings.window_ops)
        ops = log.ops(peer.next, settings.append_bytes_max, through)
        if not ops:
            return
        _send(state, to, peer, ops)
        peer.sent = True
        if not peer.probing:
            peer.next = ops[-1].sequence + 1


def _needs_snapshot(state: State, to: int, peer: Peer) -> None:
    if state.ticks >= peer.snapshot_until:
        peer.snapshot_until = state.ticks + state.settings.snapshot_ticks
        state.snapshots.append(to)


def _send(state: State, to: int, peer: Peer, ops: tuple[Op, ...], round: int = 0) -> None:
    log = state.log
    # Of who needs a snapshot only a sign of life is wanted.
    previous = max(peer.next - 1, log.base)
    # Before the epoch is active a follower hears of nothing that is committed in it (2.3, step 5).
    commit = log.commit if state.active else 0
    state.send(
        Repl(state.replica, to, state.location, state.epoch, previous, log.epoch_at(previous), ops, commit,
             state.reads.confirmed_ns if state.active else NEVER, round)
    )  # fmt: skip


def replicate_all(state: State) -> None:
    for to in state.peers:
        replicate(state, to)


def acknowledged(state: State, message: Ack) -> None:
    """Counted in its own epoch alone: an answer to an earlier leader says nothing about this log (B5)."""
    if message.epoch != state.epoch:
        return
    peer = state.heard_from(message.sender)
    if peer is None:
        return
    assert message.match <= state.log.last, f"{message.sender} acknowledges {message.match} of {state.log.last} ops"
    peer.match = max(peer.match, message.match)
    peer.next = max(peer.next, peer.match + 1)
    if message.match:
        peer.probing = peer.sent = False
        peer.snapshot_until = NEVER
    if message.round:
        reading.beat_answered(state, message)
    advance(state)
    replicate(state, message.sender)


def gap(state: State, message: Gap) -> None:
    _restart(state, message.sender, message.epoch, message.have)


def mismatch(state: State, message: Mismatch) -> None:
    _restart(state, message.sender, message.epoch, shared(state.log.vector.ends(), message.vector))


def _restart(state: State, sender: int, epoch: int, after: int) -> None:
    if epoch != state.epoch:
        return
    peer = state.heard_from(sender)
    if peer is not None:
        peer.next = max(peer.match, min(after, state.log.last)) + 1
        peer.probing, peer.sent = True, False
        replicate(state, sender)


def matches(state: State) -> list[int]:
    """How much of the log each voter has on disk, most first. The leader's own copy counts when it is on its disk."""
    own = state.log.stable
    return sorted((own if v == state.replica else state.peers[v].match for v in state.voters), reverse=True)


def advance(state: State) -> None:
    """Somebody has more on disk: more may be active, committed, answered."""
    if state.role is not Role.LEADER:
        return
    durable = matches(state)
    majority = durable[state.majority - 1]
    if not state.active and majority >= state.barrier:
        _activate(state)
    if not state.active:
        return
    if majority >= state.barrier and majority > state.log.commit:
        state.log.commit_to(majority)
        reading.look_at_tokens(state)
    if len(state.waiting):
        state.answers += state.waiting.answered(lambda acks: _safe(state, acks, durable), state.log.epoch_at)


def _activate(state: State) -> None:
    """With the barrier on a majority, if the metadata say so. Of a location's first epoch they do from the start:
    nobody can have promised or written anything before it."""
    assert state.record is not None
    if state.record.active_epoch == state.epoch:
        state.active, state.asked_at = True, NEVER
    elif state.asked_at == NEVER:
        _ask_to_activate(state)


def _ask_to_activate(state: State) -> None:
    state.asked_at = state.ticks
    state.request(Activate(state.location, state.epoch, state.barrier))


def _safe(state: State, acks: int, durable: list[int]) -> int:
    """The sequence through which all is as safe as that (the table of 2.5)."""
    if acks == QUORUM:
        return state.log.commit
    if acks == ALL or acks >= len(durable):
        return min(durable[-1], state.log.commit)
    if acks == 1:
        return state.log.stable
    return durable[acks - 1] if acks < state.majority else min(durable[acks - 1], state.log.commit)


def has_contact(state: State) -> bool:
    """Whether a majority answered lately: else writes are refused, so that one that is cut off collects none that are
    reverted later (check-quorum)."""
    since = state.ticks - state.settings.quorum_ticks
    others = sum(1 for v in state.voters if v != state.replica and state.peers[v].heard > since)
    return others + 1 >= state.majority


def tick(state: State) -> None:
    settings, log = state.settings, state.log
    if not state.active:
        if state.asked_at != NEVER and state.ticks - state.asked_at >= settings.retry_ticks:
            _ask_to_activate(state)
    elif len(state.waiting):
        state.answers += state.waiting.expired(state.ticks, log.commit, QUORUM, log.epoch_at)
    if state.ticks % settings.heartbeat_ticks:
        return
    number = reading.tick(state) if state.active else 0
    for to, peer in state.peers.items():
        peer.sent = False
        # Who may have another log answers by something else than an acknowledgement.
        acknowledges = not peer.probing and peer.next > log.base
        if number and not acknowledges:
            reading.ask(state, to, number)
        if peer.next > log.last or peer.next <= log.base or not peer.probing:
            _send(state, to, peer, (), number if acknowledges else 0)
        replicate(state, to)
