"""Becoming leader: failover, move and reconfiguration are one algorithm (2.3).

Promise the epoch; fence a majority of the voters of the active epoch; take over the best log among those that promised;
append a barrier and get it onto a majority of the new epoch's voters; have the metadata activate the epoch. Any replica
may be made leader, for the proof (2.13) rests on the majority that promised and not on who asks.

Two things the design leaves open. *Best* is taken over all that promised and the log of one's own, whether they are
voters of the active epoch or not: what a majority of those has cannot be missing in a log of a higher rank. And one
that has promised and does not answer when its ops are fetched is asked for its promise anew, so that a source that died
holds nobody up.
"""

from __future__ import annotations

from tsdb.cluster.replication import leader
from tsdb.cluster.replication.clients import NOBODY
from tsdb.cluster.replication.messages import Fetch, Fetched, Promise, SnapshotRequest, TruncatedBelow
from tsdb.cluster.replication.record import NewEpoch, Record
from tsdb.cluster.replication.state import Role, State, Takeover
from tsdb.cluster.replication.vector import Vector, shared


def consider(state: State, record: Record) -> None:
    """Begin, if the record says so and the epoch is later than any that was promised (L1)."""
    if record.leader != state.replica:
        return
    if record.epoch > state.promised:
        state.promise(record.epoch)
        state.role = Role.TAKING_OVER
        state.epoch, state.voters = record.epoch, record.voters
        state.takeover = Takeover()
        state.fence_due = True
    elif record.epoch == state.promised and state.role is Role.FOLLOWER:
        state.request(NewEpoch(state.location, record.epoch))


def promised(state: State, message: Promise) -> None:
    if message.epoch != state.promised:
        return
    if state.role is Role.TAKING_OVER:
        state.takeover.promises[message.sender] = message
        proceed(state)
    elif state.role is Role.LEADER and (peer := state.peers.get(message.sender)) is not None and peer.probing:
        peer.next = max(peer.match, shared(state.log.vector.ends(), message.vector)) + 1
        peer.sent = False
        leader.replicate(state, message.sender)


def proceed(state: State) -> None:
    """With a majority of the active voters fenced: have the best log, then lead."""
    record, takeover = state.record, state.takeover
    if state.promised_durable < state.epoch or record is None:
        return
    fenced = {state.replica, *takeover.promises} & set(record.active_voters)
    if len(fenced) < len(record.active_voters) // 2 + 1:
        return
    best = state.log.vector.rank
    source = NOBODY
    for replica, promise in sorted(takeover.promises.items()):
        if Vector(promise.vector).rank > best:
            best, source = Vector(promise.vector).rank, replica
    if source == NOBODY:
        leader.begin(state, {replica: promise.vector for replica, promise in takeover.promises.items()})
    elif source != takeover.source:
        _fetch(state, source)


def _fetch(state: State, source: int) -> None:
    takeover = state.takeover
    if source != takeover.source:
        takeover.source, takeover.installs = source, False
        takeover.deadline = state.ticks + 4 * state.settings.retry_ticks
    first = shared(state.log.vector.ends(), takeover.promises[source].vector) + 1
    state.send(Fetch(state.replica, source, state.location, state.epoch, max(first, state.log.commit + 1)))


def fetched(state: State, message: Fetched) -> None:
    if message.sender != state.takeover.source or not message.ops:
        return
    log = state.log
    if message.previous <= log.last and log.epoch_at(message.previous) == message.previous_epoch:
        log.take_over(message.ops)
        _go_on(state)


def truncated_below(state: State, message: TruncatedBelow) -> None:
    """The source has forgotten what is missing here: a snapshot, which takes its time."""
    takeover = state.takeover
    if message.sender == takeover.source and not takeover.installs:
        takeover.installs = True
        takeover.deadline = state.ticks + state.settings.snapshot_ticks
        state.send(SnapshotRequest(state.replica, message.sender, state.location, state.epoch))


def installed(state: State) -> None:
    """A snapshot of the source came: go on from there."""
    _go_on(state)


def _go_on(state: State) -> None:
    state.takeover.source = NOBODY
    proceed(state)


def tick(state: State) -> None:
    takeover, settings = state.takeover, state.settings
    if state.ticks % settings.retry_ticks or state.promised_durable < state.epoch:
        return
    if takeover.source and state.ticks >= takeover.deadline:
        # It has gone, perhaps for good: others may be enough.
        takeover.promises.pop(takeover.source, None)
        takeover.source = NOBODY
    elif takeover.source and not takeover.installs:
        _fetch(state, takeover.source)
    state.send_fences()
    proceed(state)
