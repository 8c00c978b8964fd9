"""A leader's writes: who may, exactly once, and what they wait for (2.5, 2.6)."""

from __future__ import annotations

from tsdb.cluster.replication import leader
from tsdb.cluster.replication.clients import (
    NOBODY,
    QUORUM,
    Answer,
    Behind,
    Busy,
    NotLeader,
    OtherContent,
    SessionExpired,
    StaleMap,
    TooOld,
    Write,
    Written,
)  # fmt: skip
from tsdb.cluster.replication.ops import OpKind
from tsdb.cluster.replication.producers import without
from tsdb.cluster.replication.state import Role, State
from tsdb.cluster.replication.waiting import Waiter


def write(state: State, write: Write) -> None:
    refusal = _refusal(state, write) or _session_refusal(state, write)
    if refusal is not None:
        state.answer(refusal)
    elif state.successor:
        # A planned move's first stage: not for long, and whoever leads then is told to the client (2.7).
        state.held.append(write)
    else:
        _append(state, write)


def _refusal(state: State, write: Write) -> Answer | None:
    record, log, settings = state.record, state.log, state.settings
    if state.retired and record is not None:
        return StaleMap(write.id, record.map_version + 1)
    if state.role is not Role.LEADER or record is None:
        return NotLeader(write.id, state.leader_known, state.promised)
    if not state.active:
        return Busy(write.id, "the epoch is not active yet")
    if log.seal or write.map_version != record.map_version or write.low < record.low or write.high > record.high:
        return StaleMap(write.id, record.map_version)
    if not leader.has_contact(state):
        return Busy(write.id, "no majority of the replicas answers")
    if log.last - log.commit >= settings.uncommitted_ops_max or log.uncommitted_bytes >= settings.uncommitted_bytes_max:
        return Busy(write.id, "too many ops wait for a quorum")
    if len(state.waiting) + len(state.held) >= settings.waiting_max:
        return Busy(write.id, "too many writes wait")
    return None


def _session_refusal(state: State, write: Write) -> Answer | None:
    """A client without an entry is new or forgotten; only who knows of the session at least what the log's own
    forgetting rested on can tell which (the design leaves open how; ``forgotten_at`` is one number for all clients).
    One with an entry may be forgotten as well, in a part of what the location was made of: of two that were merged, one
    had ended the session when the other had not."""
    producers, tail = state.log.producers, state.log.tail
    if write.client == NOBODY:
        return None
    if write.client in tail.forgetting:
        return SessionExpired(write.id)
    needed = max(write.client, producers.forgotten_at, *tail.forgetting.values(), 0)
    if write.open_at < needed:
        return Behind(write.id, needed)
    if not write.is_open:
        return SessionExpired(write.id)
    if not write.acknowledged < write.batch <= write.acknowledged + state.settings.batches_max:
        return Busy(write.id, f"batch {write.batch} is too far beyond {write.acknowledged}, the last acknowledged one")
    return None


def batch_refusal(state: State, id: int, client: int, batch: int, digest: int) -> Answer | None:
    """What speaks against a batch of an open session, whatever is in it."""
    producers, tail = state.log.producers, state.log.tail
    acknowledged = producers.acknowledged(client)
    if batch <= acknowledged:
        return TooOld(id, acknowledged)
    known = tail.digest(client, batch) or producers.digest(client, batch)
    return OtherContent(id) if known and digest and known != digest else None


def has_batch(state: State, client: int, batch: int) -> bool:
    """Whether anything of a batch is in the log."""
    log = state.log
    return bool(log.producers.covered(client, batch) or log.tail.covered(client, batch))


def _append(state: State, write: Write) -> None:
    """What of the batch is not in the log yet; the write waits for that and for what is there and not applied."""
    log = state.log
    whole = (write.low, write.high)
    sequence, pieces = 0, [whole]
    if write.client:
        refusal = batch_refusal(state, write.id, write.client, write.batch, write.digest)
        if refusal is not None:
            state.answer(refusal)
            return
        tail = [part for part in log.tail.covered(write.client, write.batch) if _meet(part[1], whole)]
        sequence = max((s for s, _ in tail), default=0)
        covered = (*log.producers.covered(write.client, write.batch), *(interval for _, interval in tail))
        pieces = without(whole, covered)
    for low, high in pieces:
        body, rows = (write.body, write.rows) if (low, high) == whole else state.clip(write.body, low, high)
        sequence = leader.append(
            state, write.kind, client=write.client, batch=write.batch, acknowledged=write.acknowledged, low=low,
            high=high, wall_ns=write.wall_ns, rows=rows, body=body, metadata_index=write.metadata_index,
            digest=write.digest,
        ).sequence  # fmt: skip
    duplicate = not pieces
    if sequence == 0:
        # All of it is applied: what is there now is a token that has it.
        state.answer(Written(write.id, log.epoch_at(log.applied), log.applied, QUORUM, duplicate))
        return
    if write.acks == 0:
        state.answer(Written(write.id, log.epoch_at(sequence), sequence, 0, duplicate))
    else:
        state.waiting.add(Waiter(write.id, sequence, write.acks, state.ticks + write.ticks, duplicate))
    leader.replicate_all(state)
    leader.advance(state)


def _meet(one: tuple[int, int], two: tuple[int, int]) -> bool:
    return one[0] < two[1] and two[0] < one[1]


def may_append(state: State) -> bool:
    leads = state.role is Role.LEADER and state.active
    return leads and not state.log.seal and not state.successor and not state.retired


def forget(state: State, client: int, metadata_index: int) -> bool:
    """The session ended with the command at that index: the client's batches are forgotten by an op, so everywhere at
    the same place of the log. False: not now (or nothing to forget), ask again elsewhere."""
    log = state.log
    known = client in log.producers or log.tail.knows(client)
    if not may_append(state) or not known or client in log.tail.forgetting:
        return False
    leader.append(state, OpKind.FORGET_CLIENT, client=client, metadata_index=metadata_index)
    leader.replicate_all(state)
    return True


def mark(state: State, wall_ns: int, body: bytes) -> bool:
    """A marker: from which op on a wall time is replayed (2.11). False: not by this replica."""
    if not may_append(state):
        return False
    leader.append(state, OpKind.MARKER, wall_ns=wall_ns, body=body)
    leader.replicate_all(state)
    return True
