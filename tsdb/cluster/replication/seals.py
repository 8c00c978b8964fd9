"""How a location ends, in a split or a merge (2.10), and how others begin from it.

The leader appends the seal that the metadata want, once; from then on the log takes no writes, only barriers of
failovers. When the seal is committed the metadata are told, and put others in the location's place. Every replica then
*retires*: it takes nothing from leaders any more, makes sure that its log reaches the seal — the metadata say that the
seal is committed, so having it is enough to know that everything before it is — and applies it. What the replica is
then is what the next locations begin with, on the same node, in one batch: both halves of a split (``halves``), or one
location from two that have both retired (``union``).

The design lets a child's log begin as a copy of its parent's. Here it begins as the parent's *at the seal*: the vector
goes on, the ops up to the seal are in the points already, and who misses them gets them from a retired parent.
"""

from __future__ import annotations

import hashlib

from msgspec.structs import replace

from tsdb.cluster.replication import leader, reading
from tsdb.cluster.replication.messages import Fetch, Fetched, SnapshotRequest, TruncatedBelow
from tsdb.cluster.replication.ops import Kept, LocationState, Op
from tsdb.cluster.replication.producers import clipped, merged
from tsdb.cluster.replication.record import Record, Seal, Sealed
from tsdb.cluster.replication.state import Role, State


def consider(state: State) -> None:
    """A seal is wanted: append it unless the log has one, committed or not; when it is committed, say so."""
    record, log = state.record, state.log
    if record is None or record.wanted is None or state.role is not Role.LEADER or not state.active:
        return
    if not log.seal and not state.successor:
        leader.append(state, record.wanted)
        leader.replicate_all(state)
        leader.advance(state)
    elif log.seal and log.seal <= log.commit and state.ticks - state.asked_at >= state.settings.retry_ticks:
        state.asked_at = state.ticks
        state.request(Sealed(state.location, state.epoch, Seal(log.epoch_at(log.seal), log.seal)))


def retire(state: State, record: Record) -> None:
    """Others have taken the location's place. Promising what no leader of it ever had fences all of them."""
    if state.promised <= record.epoch:
        state.promise(record.epoch + 1)
    state.step_down(0)
    state.retired = record.retired
    reach(state)


def reach(state: State) -> None:
    """Log matching: a log with the seal has everything before it, and all of that is committed."""
    seal, log = state.retired, state.log
    assert seal is not None
    if log.commit < seal.sequence and log.has(seal.epoch, seal.sequence):
        log.commit_to(seal.sequence)
        reading.look_at_tokens(state)


def is_reached(state: State) -> bool:
    return state.retired is not None and state.log.applied >= state.retired.sequence


def tick(state: State) -> None:
    """Ask one after the other for what is missing."""
    record, log = state.record, state.log
    if state.ticks % state.settings.retry_ticks or record is None or state.retired is None:
        return
    if log.commit >= state.retired.sequence or state.promised_durable < state.promised:
        return
    # The seal may be with the active epoch's voters alone: a later one that never was active may know of nothing.
    others = sorted({*record.voters, *record.learners, *record.active_voters} - {state.replica})
    if others:
        state.fetch_at += 1
        source = others[state.fetch_at % len(others)]
        state.send(Fetch(state.replica, source, state.location, state.promised, log.commit + 1))


def fetched(state: State, message: Fetched) -> None:
    """Only from a log that has the seal: another's ops may be as wrong as this one's."""
    seal, log = state.retired, state.log
    if seal is None or log.commit >= seal.sequence or (seal.epoch, seal.sequence) not in _names(message, seal):
        return
    ops = tuple(op for op in message.ops if op.sequence <= seal.sequence)
    if ops and message.previous <= log.last and log.epoch_at(message.previous) == message.previous_epoch:
        log.take_over(ops)
        # Whatever such a log has up to the seal is committed; without this, pieces might end before it for ever.
        log.commit_to(max(log.commit, ops[-1].sequence))
        reach(state)


def _names(message: Fetched, seal: Seal) -> set[tuple[int, int]]:
    """The name of the op at the seal's place."""
    for epoch, last in message.vector:
        if last >= seal.sequence:
            return {(epoch, seal.sequence)}
    return set()


def truncated_below(state: State, message: TruncatedBelow) -> None:
    if state.retired is not None and state.log.commit < state.retired.sequence:
        state.send(SnapshotRequest(state.replica, message.sender, state.location, message.epoch))


def halves(state: LocationState, ops: tuple[Op, ...], epoch: int, low: int, high: int) -> Kept:
    """What a child of a split keeps on this node: the parent's log from where it is applied on, and its interval's
    part of the producer table. ``ops`` are the parent's after that, barriers all; ``epoch`` is the parent's last."""
    assert all(op.sequence > state.sequence for op in ops)
    own = replace(state, clients=clipped(state.clients, low, high), seal=0)
    return Kept(epoch, own.sequence, own)


def union(one: LocationState, two: LocationState, seals: tuple[Seal, Seal], epoch: int) -> Kept:
    """What one location from two keeps: at the higher seal, in an epoch of its own, which all its replicas agree on
    whatever barriers came after the seals."""
    base = max(seal.sequence for seal in seals)
    chain = hashlib.blake2b(repr((seals, epoch)).encode(), digest_size=16).digest()
    state = LocationState(
        base,
        ((epoch, base),),
        chain,
        max(one.counter, two.counter),
        merged(one.clients, two.clients),
        max(one.forgotten_at, two.forgotten_at),
    )
    return Kept(epoch, base, state)
