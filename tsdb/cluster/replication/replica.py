"""One replica of one location, to be fed and drained: ticks, messages, records and clients in, ``Ready`` out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tsdb.cluster.replication import (
    digests,
    follower,
    leader,
    moves,
    reading,
    seals,
    takeover,
    writing,
)  # fmt: skip
from tsdb.cluster.replication.clients import Answer, Fate, Write
from tsdb.cluster.replication.log import OpStorage
from tsdb.cluster.replication.messages import (
    Ack,
    Beat,
    BeatAck,
    Digest,
    Dirty,
    Fence,
    Fenced,
    Fetch,
    Fetched,
    Gap,
    Message,
    Mismatch,
    Promise,
    Repl,
    Snapshot,
    SnapshotRequest,
    TruncatedBelow,
)  # fmt: skip
from tsdb.cluster.replication.ops import WRITES, LocationState, Op
from tsdb.cluster.replication.ready import Batch, Ready
from tsdb.cluster.replication.record import Had, Rebuild, Record
from tsdb.cluster.replication.settings import Settings
from tsdb.cluster.replication.state import NEVER, Clip, Counters, Role, State

__all__ = ["Counters", "Replica"]


class Replica:
    """A replica as its disk has it. ``dirty``: that disk may have lost what was synced."""

    def __init__(self, settings: Settings, replica: int, location: int, storage: OpStorage, counters: Counters,
                 clip: Clip, *, dirty: bool = False) -> None:  # fmt: skip
        self._state = State(settings, replica, location, storage, counters, clip, dirty)
        counters.last = max(counters.last, self._state.log.counter)
        self._writing = False
        self._promise_written = 0

    # In

    def tick(self, now_ns: int) -> None:
        """Time passes; ``now_ns`` is this node's clock, which only the freshness of bounded reads rests on."""
        state = self._state
        state.ticks += 1
        state.now_ns = max(state.now_ns, now_ns)
        if state.dirty:
            return
        if state.retired is not None:
            seals.tick(state)
        elif state.role is Role.TAKING_OVER:
            takeover.tick(state)
        elif state.role is Role.LEADER:
            leader.tick(state)
            moves.tick(state)
            seals.consider(state)
        elif state.record is not None and state.ticks % state.settings.retry_ticks == 0:
            takeover.consider(state, state.record)
        reading.look_at_tokens(state)
        state.settle()

    def learn(self, record: Record) -> None:
        """What the metadata say of the location; an older record than the last one says nothing."""
        state = self._state
        if state.dirty:
            state.request(Rebuild(state.location, record.epoch))
            return
        if state.record is not None and record.changed <= state.record.changed:
            return
        state.record = record
        if record.retired is not None:
            seals.retire(state, record)
        elif state.role is not Role.FOLLOWER and record.epoch == state.epoch:
            if state.role is Role.LEADER:
                leader.learned(state, record)
                seals.consider(state)
        else:
            if state.role is not Role.FOLLOWER and not state.active:
                # It can never become active any more (2.2, message 8).
                state.step_down(record.leader)
            takeover.consider(state, record)
        state.settle()

    def step(self, message: Message) -> None:
        """A message that arrived, for this replica and no earlier one on the same node."""
        state = self._state
        assert message.to == state.replica, f"replica {state.replica} gets what is for {message.to}"
        if state.dirty:
            state.refuse_as_dirty(message)
        elif isinstance(message, Fenced):
            follower.fenced(state, message)
        elif message.epoch < state.promised:
            follower.from_the_past(state, message)
        else:
            self._step(message)
        state.settle()

    def _step(self, message: Message) -> None:
        state = self._state
        match message:
            case Fence():
                follower.fence(state, message)
            case Repl():
                follower.replicated(state, message)
            case Fetch():
                follower.fetch(state, message)
            case SnapshotRequest():
                follower.snapshot_asked(state, message)
            case Snapshot():
                self._snapshot_came(message)
            case Beat():
                state.beat_ack(message.sender, message.epoch, message.round)
            case Promise():
                takeover.promised(state, message)
            case Fetched() if state.retired is not None:
                seals.fetched(state, message)
            case Fetched() if state.role is Role.TAKING_OVER:
                takeover.fetched(state, message)
            case TruncatedBelow() if state.retired is not None:
                seals.truncated_below(state, message)
            case TruncatedBelow() if state.role is Role.TAKING_OVER:
                takeover.truncated_below(state, message)
            case _ if state.role is Role.LEADER:
                self._answered(message)
            case _:
                pass

    def _snapshot_came(self, message: Snapshot) -> None:
        state = self._state
        if not follower.snapshot(state, message):
            return
        if state.retired is not None:
            seals.reach(state)
        elif state.role is Role.TAKING_OVER:
            takeover.installed(state)

    def _answered(self, message: Message) -> None:
        state = self._state
        match message:
            case Ack():
                leader.acknowledged(state, message)
                moves.proceed(state)
                seals.consider(state)
            case Gap():
                leader.gap(state, message)
            case Mismatch():
                leader.mismatch(state, message)
            case BeatAck():
                reading.beat_answered(state, message)
            case Digest():
                digests.told(state, message)
            case Dirty() | _:
                pass

    def write(self, write: Write) -> None:
        """A client's write. ``Ready.answers`` has what becomes of it, under its id, once."""
        writing.write(self._state, write)
        self._state.settle()

    def has_batch(self, client: int, batch: int) -> bool:
        """Whether anything of a client's batch is in the log, committed or not."""
        return writing.has_batch(self._state, client, batch)

    def batch_refusal(self, client: int, batch: int, digest: int) -> Answer | None:
        """What a write of that batch would be refused for, as far as this replica knows: too old, other content."""
        return writing.batch_refusal(self._state, 0, client, batch, digest)

    @property
    def clients(self) -> Iterator[int]:
        """Those whose batches are remembered here."""
        return iter(self._state.log.producers)

    def forget(self, client: int, metadata_index: int) -> bool:
        """A client's session ended at that metadata index: forget its batches. False: not by this replica, now."""
        return writing.forget(self._state, client, metadata_index)

    def mark(self, wall_ns: int, body: bytes = b"") -> bool:
        """Append a marker, whose body says what is compared. False: not by this replica, now."""
        return writing.mark(self._state, wall_ns, body)

    def digest(self, sequence: int, points: bytes, schema: int = 0) -> None:
        """The hash of the location's points as they were when the marker at ``sequence`` was applied, by which no op
        comes: a marker is the last op of those that are handed out together."""
        digests.computed(self._state, sequence, points, schema)
        self._state.settle()

    def compared(self, sequence: int) -> Mapping[int, Had]:
        """Of a leader: what replicas, by number, have said that they had at a marker."""
        return self._state.digests.get(sequence, {})

    def hear_commit(self, epoch: int, commit: int) -> None:
        """The leader of an epoch, which is active, says what is committed, beside its messages."""
        state = self._state
        if state.role is Role.FOLLOWER and state.promised == epoch and not state.dirty:
            follower.hear_commit(state, commit)
            state.settle()

    def abdicate(self, to: int) -> bool:
        """Hand over to a voter, in two stages. False: not by this replica, now."""
        return moves.abdicate(self._state, to)

    def read(self, id: int) -> None:
        """Ask for where a linearizable read may be done; ``Ready.answers`` says it, or who may know."""
        reading.linearizable(self._state, id)

    def read_after(self, id: int, epoch: int, sequence: int, ticks: int) -> None:
        """For a session: not before the op of its token, for which it waits so many ticks."""
        reading.session(self._state, id, epoch, sequence, ticks)

    def read_since(self, id: int, oldest_ns: int) -> None:
        """Not older than a time of the leader's clock."""
        reading.bounded(self._state, id, oldest_ns)

    def read_anything(self, id: int) -> None:
        reading.anything(self._state, id)

    def confirm(self, epoch: int, sequence: int) -> Fate:
        """What became of an op, by its name, as far as this replica knows (2.2, message 13)."""
        return reading.fate(self._state.log, epoch, sequence)

    def forget_ops(self, sequence: int) -> None:
        """Ops up to ``sequence`` are in durable points, and nobody pins them."""
        self._state.log.forget(sequence)

    # Out

    def has_ready(self) -> bool:
        state, log = self._state, self._state.log
        return bool(
            state.messages
            or state.requests
            or state.answers
            or state.snapshots
            or log.applied < log.commit
            or log.has_installed
            or (not self._writing and self._has_unwritten())
        )

    def _has_unwritten(self) -> bool:
        return self._state.promised != self._state.promised_taken or self._state.log.has_unwritten

    def ready(self) -> Ready:
        """What is to be done now; it is not said twice."""
        state = self._state
        installed, committed = state.log.take_installed(), state.log.take_committed()
        digests.applied(state, committed)
        batch = self._batch() if not self._writing and self._has_unwritten() else None
        # An answer rests on all that is committed, and ops end at a marker.
        answers: list[Answer] = []
        if state.log.applied == state.log.commit:
            answers, state.answers = state.answers, []
        ready = Ready(
            tuple(state.messages),
            tuple(state.requests),
            installed,
            committed,
            tuple(answers),
            tuple(state.snapshots),
            batch,
        )
        state.messages, state.requests, state.snapshots = [], [], []
        return ready

    def _batch(self) -> Batch:
        state = self._state
        self._writing = True
        promised = state.promised if state.promised != state.promised_taken else None
        state.promised_taken = self._promise_written = state.promised
        snapshot, base, cut, reverted, ops = state.log.take()
        return Batch(promised, snapshot, base, cut, reverted, ops)

    def advance(self) -> None:
        """The last batch is on disk: what waited for that may go on, if nothing has made it void meanwhile."""
        assert self._writing, "there is no batch to be written"
        state = self._state
        self._writing = False
        state.promised_durable = max(state.promised_durable, self._promise_written)
        state.log.written()
        state.settle(written=True)
        if state.role is Role.TAKING_OVER:
            takeover.proceed(state)
        elif state.role is Role.LEADER:
            leader.advance(state)
            moves.proceed(state)
            seals.consider(state)

    # What it is

    def snapshot(self, to: int, content: bytes) -> Snapshot:
        """For another replica: what is applied here, with the points as of the same moment."""
        state = self._state
        return Snapshot(state.replica, to, state.location, state.promised, state.log.state(), content)

    def state(self) -> LocationState:
        """What the location is at the applied sequence: what a flush writes with the points, if ``can_flush``."""
        return self._state.log.state()

    @property
    def applied(self) -> tuple[int, int]:
        """(epoch, sequence) of the last op that is applied."""
        log = self._state.log
        return log.epoch_at(log.applied), log.applied

    @property
    def metadata_needed(self) -> int:
        """What has to be known of the metadata before what is committed now is applied: of the schema, a version."""
        log = self._state.log
        if log.applied == log.commit:
            return 0
        ops = log.ops(log.applied + 1, 1 << 62, log.commit)
        return max((op.metadata_index for op in ops if op.kind in WRITES), default=0)

    @property
    def can_flush(self) -> bool:
        """Whether all that is applied is on this disk as well, as ops or as a snapshot: no flush leaves a hole."""
        log = self._state.log
        return log.applied <= log.stable and not log.is_installing

    @property
    def is_retired(self) -> bool:
        """Others have taken this location's place, and everything that they begin with is here and durable."""
        state = self._state
        return seals.is_reached(state) and state.promised_durable == state.promised and not self._has_unwritten()

    def ops_after_applied(self) -> tuple[Op, ...]:
        """Of a retired replica: the barriers after what is applied."""
        log = self._state.log
        return log.ops(log.applied + 1, 1 << 62, log.last)

    @property
    def standing(self) -> tuple[Role, int, bool]:
        """(role, epoch that is promised, whether it leads an active epoch)"""
        state = self._state
        return state.role, state.promised, state.role is Role.LEADER and state.active

    def agrees(self, epoch: int) -> bool:
        """Whether it has promised that epoch and no later one; any thread may ask."""
        state = self._state
        return not state.dirty and state.promised == epoch

    @property
    def lead(self) -> tuple[int, int] | None:
        """(epoch, its barrier) of the active epoch that it leads, with the barrier and all before it applied; None if
        there is none. All that was acknowledged in that epoch is applied as well."""
        state = self._state
        leads = state.role is Role.LEADER and state.active and not state.retired
        return (state.epoch, state.barrier) if leads and state.log.applied >= state.barrier else None

    @property
    def proof(self) -> tuple[int, int]:
        """(a time of the leader's clock, the op sequence with which all is there that was acknowledged before it)"""
        return reading.proof(self._state)

    @property
    def is_settled(self) -> bool:
        """Whether it leads and takes writes, and all that is in its log is applied: the next op comes after exactly
        what is seen here."""
        state, log = self._state, self._state.log
        return writing.may_append(state) and leader.has_contact(state) and log.applied == log.last

    @property
    def is_empty(self) -> bool:
        """Whether no point of the location was ever here: nothing is committed."""
        log = self._state.log
        return log.base == log.commit == 0

    @property
    def uncommitted_bytes(self) -> int:
        """Of a leader, of ops that no majority has."""
        log = self._state.log
        return log.uncommitted_bytes if self._state.role is Role.LEADER and log.last > log.commit else 0

    @property
    def followers(self) -> Mapping[int, tuple[int, int, bool]]:
        """Of a leader: (how much of its log another replica has on disk, how many ticks ago it was heard of, whether it
        has something and cannot catch up)."""
        state = self._state
        if state.role is not Role.LEADER:
            return {}
        return {
            # Of who has not said anything it is not known what it has.
            replica: (peer.match, state.ticks - peer.heard, peer.heard > NEVER and 1 < peer.next <= state.log.base)
            for replica, peer in state.peers.items()
        }

    @property
    def high_watermark(self) -> int:
        """Any thread may look."""
        return self._state.log.commit

    @property
    def log_end(self) -> tuple[int, int, int, int]:
        """(last epoch, last sequence, high watermark, applied): what a node's heartbeat reports."""
        log = self._state.log
        return log.vector.last_epoch, log.last, log.commit, log.applied
