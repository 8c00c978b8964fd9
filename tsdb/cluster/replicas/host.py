"""The replicas of a node, in the committer's thread: fed by ``driver`` and ``shared``, drained in turns.

It is a ``tsdb.storage.hosted.Hosted``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tsdb.cluster.metadata.records import Interval, LocationRecord
from tsdb.cluster.replicas.around import Copied, Surroundings
from tsdb.cluster.replicas.asked import Asked, Question, Settling, Told
from tsdb.cluster.replicas.disk import ReplicaDisk, encode_state
from tsdb.cluster.replicas.left import Arc, Left
from tsdb.cluster.replicas.marks import Marked, Marks
from tsdb.cluster.replicas.mine import Mine
from tsdb.cluster.replicas.moving import Follower, Followers
from tsdb.cluster.replicas.pins import PINNED_BYTES, PINNED_TIMES, Pins
from tsdb.cluster.replicas.records import core_record, node_of, own_replica
from tsdb.cluster.replication.clients import NOBODY, Answer, Busy, NotLeader, Unknown, Write
from tsdb.cluster.replication.clients import Behind as BehindMetadata
from tsdb.cluster.replication.messages import Message, Snapshot, SnapshotRequest, TruncatedBelow
from tsdb.cluster.replication.ops import LocationState, Op
from tsdb.cluster.replication.ready import Batch
from tsdb.cluster.replication.record import Behind, Record, Request
from tsdb.cluster.replication.replica import Counters, Replica
from tsdb.cluster.replication.settings import Settings
from tsdb.cluster.replication.state import Role
from tsdb.errors import SerializationFailure
from tsdb.leaving import IsLeft, never
from tsdb.model.acks import Fate
from tsdb.model.store import RevertedOp
from tsdb.storage.hosted import Frozen
from tsdb.storage.raft_log import Records
from tsdb.storage.replica_log import ReplicaLog, ReplicaRecord

log = logging.getLogger(__name__)

# Of a snapshot the core's messages only say that one is needed, which may be said often.
SETTINGS = Settings(heartbeat_ticks=3, snapshot_ticks=30)
LAG_OPS, LAG_TICKS = 64, 20
"""A follower that misses no more ops, and was heard of no longer ago, is good."""
REVERTED_KEPT = 1_000
"""Names of ops that were taken back, to be looked at."""
NO_ARCS: Mapping[int, int] = MappingProxyType({})
OP_BYTES_MAX = 32 << 20
"""Of one op's body: with its head it fits into one message to another node."""


@dataclass(slots=True)
class _Work:
    """What one pass over the replicas has found to be done."""

    messages: list[Message] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    committed: list[tuple[int, Op]] = field(default_factory=list)
    marked: list[Marked] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    batches: list[tuple[Mine, Batch]] = field(default_factory=list)


def no_clip(body: bytes, low: int, high: int) -> tuple[bytes, int]:
    raise AssertionError("a location keeps its interval: a batch is there as a whole or not at all")


def nothing_own(record: Record, database: int) -> LocationState | None:
    return None


class Host:
    """``kept_bytes``: ops that are in blocks are kept for others up to so many bytes, over all replicas. ``own`` says
    what a location is whose log was this node's alone until now (``sharing.beginning``)."""

    def __init__(
        self,
        records: Records,
        node: int,
        counters: Counters,
        around: Surroundings,
        settings: Settings = SETTINGS,
        kept_bytes: int = 1 << 30,
        own: Callable[[Record, int], LocationState | None] = nothing_own,
    ) -> None:
        self._records = records
        self._log = ReplicaLog(records)
        self._node = node
        self._counters = counters
        self._around = around
        self._settings = settings
        self._kept_bytes = kept_bytes
        self._own = own
        self._mine: dict[int, Mine] = {}
        self.left = Left(self._log, self._mine)
        self._pins = Pins()
        self._arrived: Copied | None = None
        self.wishes: dict[int, int] = {}
        """By location, the replica that is to send a copy of it: this node's has nothing."""
        self._due: dict[int, None] = {}
        self.marks = Marks(self._mine, lambda location: self._due.setdefault(location))
        self._held: dict[int, None] = {}
        self._asked: dict[int, Asked] = {}
        self._settling: list[Settling] = []
        self._again: list[int] = []
        self._number = 0
        self._ticks = 0
        self.messages_dropped = 0
        self.version = 0
        """Odd while what is visible is not what is said of it; raised when either changes, when a replica leads
        something else, and when one comes or goes, before its points do. Any thread may look."""
        self.learned = 0
        """Raised when the metadata say something else of replicas, and when one comes or goes. Any thread may look."""
        self.ops_applied = 0
        self.ops_reverted = 0
        self.reverted: list[RevertedOp] = []

    # Which there are

    @property
    def locations(self) -> Iterable[int]:
        return self._mine.keys()

    @property
    def known(self) -> Collection[int]:
        """Those, and all others of which something is on the disk."""
        return {*self._mine, *self.left.known}

    def learn(
        self, locations: Mapping[int, tuple[LocationRecord, Interval]], arcs: Mapping[int, int] = NO_ARCS
    ) -> list[int]:
        """Location records as they are now; the locations of which this node has got a replica. Raises DataCorrupted.

        ``arcs``: by location, of databases that have several.

        Their beginning needs no sync of its own: the first promise has one, and comes after it in the same WAL.
        """
        batch = self._records.batch()
        begun = []
        for location, (record, _) in locations.items():
            number = own_replica(record, self._node)
            mine = self._mine.get(location)
            arc = record.database, arcs.get(location, 0)
            if mine is None:
                self.left.learn(batch, location, arc, number)
            elif mine.number != number:
                self._leave(batch, mine, arc, number)
            else:
                mine.arc = arc[1]
        leaving = self.left.arcs().keys() - {(mine.database, mine.arc) for mine in self._mine.values()}
        for location, (record, interval) in locations.items():
            number = own_replica(record, self._node)
            mine = self._mine.get(location)
            core = core_record(record, interval)
            # One that the disk has goes on with its points, also while others of its arc have left.
            waits = location in self.left or (record.database, arcs.get(location, 0)) in leaving
            if mine is None and number and (self.left.has(location) or not waits):
                mine = self._begin(batch, location, number, core, record.database)
                begun.append(location)
            if mine is not None:
                mine.record, mine.arc = core, arcs.get(location, 0)
                mine.replica.learn(core)
                self._due[location] = None
        self._records.write(batch, sync=False)
        self._are_others()
        return begun

    def _are_others(self) -> None:
        self.learned += 1
        self.version += 2

    def _begin(self, batch: Any, location: int, number: int, core: Record, database: int) -> Mine:
        known = self.left.take(location)
        if known is None:
            known = ReplicaRecord(number)
            if (own := self._own(core, database)) is not None:
                known = ReplicaRecord(number, base=own.sequence, sequence=own.sequence, state=encode_state(own))
            self._log.put(batch, location, known)
        disk = ReplicaDisk(self._log, location, known)
        replica = Replica(self._settings, number, location, disk, self._counters, no_clip)
        return self._mine.setdefault(location, Mine(disk, replica, core, database))

    def _leave(self, batch: Any, mine: Mine, arc: Arc, number: int) -> None:
        """Whoever counted on it does not any more: it is in no epoch that is, and in none that is active."""
        log.debug("this node has no replica of location %d any more", mine.location)
        self.left.add(batch, mine.location, arc, number)
        self._forget(mine.location, goes_on=True)

    def _forget(self, location: int, *, goes_on: bool) -> None:
        """``goes_on``: at other nodes, which may have what is in the log here."""
        self._mine.pop(location, None)
        self._are_others()
        self._due.pop(location, None)
        self._held.pop(location, None)
        self.wishes.pop(location, None)
        for id, asked in list(self._asked.items()):
            if asked.location == location:
                unknown = goes_on and id not in self._again
                self._answer(id, Unknown(id, 0, 0) if unknown else NotLeader(id, 0, 0))

    def drop(self, batch: Any, locations: Iterable[int]) -> None:
        for location in locations:
            if location in self._mine:
                self._log.drop(batch, location)
                self._forget(location, goes_on=False)
            self.left.forget(batch, (location,))

    # Copies

    def begin_copy(self, wanted: Mapping[int, int], most: int) -> dict[int, LocationState]:
        """What these locations are now, the first ``most`` of them that are here, of which the replicas in ``wanted``
        are to get a copy of the points as of this moment. Until ``end_copy`` the ops after that are kept."""
        states: dict[int, LocationState] = {}
        for location, replica in sorted(wanted.items()):
            mine = self._mine.get(location)
            if mine is not None and len(states) < most and (state := mine.replica.state()).sequence:
                states[location] = state
                self._pins.hold(replica, {location: state.sequence})
        return states

    def end_copy(self, wanted: Mapping[int, int]) -> None:
        for location, replica in wanted.items():
            self._pins.release(replica, (location,), self._ticks)

    def install(self, content: Copied, states: Mapping[int, LocationState], numbers: Mapping[int, int]) -> None:
        """A copy takes the place of nothing, in the turn that follows, for all its locations at once.

        ``numbers``: the replicas that it was asked for. Raises SerializationFailure, and nothing has changed.
        """
        for location, state in states.items():
            mine = self._mine.get(location)
            if mine is None or mine.number != numbers[location] or not mine.replica.is_empty:
                raise SerializationFailure(f"the replica of location {location} is not what a copy was asked for")
            if not state.vector or state.vector[-1][1] != state.sequence:
                raise SerializationFailure(f"a copy of location {location} has a state that cannot be")
        content.check_tagsets()
        for database in {self._mine[location].database for location in states}:
            own = [location for location in states if self._mine[location].database == database]
            content.lacks_deletions(database, max(state.counter for state in states.values()), own)
        for location, state in states.items():
            mine = self._mine[location]
            sender = self.wishes.pop(location, mine.number)
            message = Snapshot(sender, mine.number, location, mine.replica.standing[1], state, b"")
            mine.replica.step(message)
            mine.is_behind = False
            self._due[location] = None
        self._arrived = content

    def _is_behind(self, mine: Mine, source: int, epoch: int) -> None:
        """``source`` has forgotten what this replica would have to be told next."""
        mine.is_behind = True
        if mine.replica.is_empty:
            self.wishes[mine.location] = source
        elif mine.replica.standing[0] is not Role.FOLLOWER:
            self._around.ask([Behind(mine.location, epoch, mine.number, source)])

    def followers(self) -> Followers:
        """Of the locations that this node leads, in epochs that are active or are to be."""
        found: dict[int, dict[int, Follower]] = {}
        for location, mine in self._mine.items():
            if mine.replica.standing[0] is Role.LEADER:
                enough = max(mine.replica.log_end[1] - LAG_OPS, mine.disk.record.base)
                found[location] = {
                    node_of(each): Follower(
                        match > 0 and match >= enough and silent < LAG_TICKS and not behind, behind, match > 0
                    )
                    for each, (match, silent, behind) in mine.replica.followers.items()
                }
        return found

    def find(self, location: int) -> Mine | None:
        """For any thread to look at."""
        return self._mine.get(location)

    def hand_over(self, heirs: Mapping[int, int]) -> None:
        """By location, which node is to lead it next: in two stages, where this node leads and none is under way."""
        for location, node in heirs.items():
            mine = self._mine.get(location)
            if mine is not None:
                mine.replica.abdicate(next((each for each in mine.record.voters if node_of(each) == node), NOBODY))
                self._due[location] = None

    # In

    def lead(self, location: int) -> tuple[int, int] | None:
        """(epoch, its barrier) if this node may answer for a location once others have agreed to that epoch."""
        mine = self._mine.get(location)
        return None if mine is None else mine.replica.lead

    def hear_commit(self, location: int, epoch: int, commit: int) -> None:
        """Who leads that epoch says what is committed there."""
        mine = self._mine.get(location)
        if mine is not None:
            mine.replica.hear_commit(epoch, commit)
            self._due[location] = None

    def tick(self, now_ns: int) -> None:
        """A tenth of a second has passed."""
        self._ticks += 1
        for mine in self._mine.values():
            mine.replica.tick(now_ns)
        self._due = dict.fromkeys(self._mine)
        again, self._again = self._again, []
        for id in again:
            asked = self._asked.get(id)
            if asked is not None:
                self._ask(id, asked)

    def wake(self) -> None:
        """The metadata have come further: what was held up by that goes on."""
        self._due.update(self._held)
        self._held.clear()

    def step(self, messages: Iterable[Message]) -> None:
        """Messages from other nodes; what is for no replica of this node, or for an earlier one, is dropped."""
        for message in messages:
            mine = self._mine.get(message.location)
            if mine is None or mine.number != message.to or isinstance(message, (Snapshot, SnapshotRequest)):
                self.messages_dropped += 1
                continue
            if isinstance(message, TruncatedBelow) and mine.replica.standing[0] is Role.FOLLOWER:
                self._is_behind(mine, message.sender, message.epoch)
                continue
            mine.replica.step(message)
            self._due[message.location] = None

    def write(
        self,
        location: int,
        write: Callable[[int, Record], Write],
        patience: int,
        told: Told,
        is_left: IsLeft = never,
    ) -> None:
        """``write`` makes the write of its id and the location's record; ``told`` gets its answer, once.

        While this replica is about to lead it is asked again, for ``patience`` ticks, and not when it is left.
        """

        def question(replica: Replica, id: int) -> None:
            replica.write(write(id, self._mine[location].record))

        self._pose(location, question, patience, told, is_left)

    def read(self, location: int, question: Question, patience: int, told: Told) -> None:
        """``told`` gets ``ReadAt``, when what is applied here is as new as ``question`` wants it: one of the replica's
        ``read`` methods, which is put to it under a number."""
        self._pose(location, question, patience, told)

    def when_settled(
        self, locations: Collection[int], patience: int, told: Callable[[bool], None], is_left: IsLeft = never
    ) -> None:
        """``told`` hears, at the end of a turn, that this node leads all these locations and has applied all that is in
        their logs: what it logs at once comes after exactly what it sees. Or that it is not so: after ``patience``
        ticks, when others are to lead, or when it is left."""
        self._settling.append(Settling(tuple(locations), self._ticks + patience, told, is_left))

    def _look_at_settling(self) -> bool:
        """Whether somebody was told something."""
        for at, each in enumerate(self._settling):
            is_settled = self._is_settled(each.locations)
            if is_settled or self._ticks >= each.until or each.is_left() or not self._is_to_lead(each.locations):
                # One at a time: what it logs is what the next one has to see.
                del self._settling[at]
                each.told(is_settled)
                return True
        return False

    def _is_settled(self, locations: Iterable[int]) -> bool:
        return all((mine := self._mine.get(each)) is not None and mine.replica.is_settled for each in locations)

    def _is_to_lead(self, locations: Iterable[int]) -> bool:
        return all(
            (mine := self._mine.get(each)) is not None and mine.record.leader == mine.number for each in locations
        )

    def _pose(self, location: int, question: Question, patience: int, told: Told, is_left: IsLeft = never) -> None:
        """Ask this node's replica of ``location``, if it has one, under a number of its own."""
        if location not in self._mine:
            told(NotLeader(0, 0, 0))
            return
        self._number += 1
        id = self._number
        until = self._ticks + patience
        asked = self._asked[id] = Asked(location, lambda replica: question(replica, id), until, told, is_left)
        self._ask(id, asked)

    def _ask(self, id: int, asked: Asked) -> None:
        asked.ask(self._mine[asked.location].replica)
        self._due[asked.location] = None

    def _answer(self, id: int, answer: Answer) -> None:
        asked = self._asked.get(id)
        if asked is None:
            return
        mine = self._mine.get(asked.location)
        leads = mine is not None and mine.record.leader == mine.number
        may_lead = leads and self._ticks < asked.until and not asked.is_left()
        if isinstance(answer, (Busy, NotLeader, BehindMetadata)) and may_lead:
            self._again.append(id)
            return
        del self._asked[id]
        asked.told(answer)

    # Numbered batches

    def has_batch(self, location: int, client: int, batch: int) -> bool:
        """Whether a batch of a client is in the log here, committed or not."""
        mine = self._mine.get(location)
        return mine is not None and mine.replica.has_batch(client, batch)

    def batch_refusal(self, location: int, client: int, batch: int, digest: int) -> Answer | None:
        """What a write of a batch would be refused for, as far as is known here."""
        mine = self._mine.get(location)
        return None if mine is None else mine.replica.batch_refusal(client, batch, digest)

    def forget_clients(self, is_open: Callable[[int], bool], metadata_index: int) -> None:
        """The batches of clients whose sessions have ended by that index of the metadata, where this node leads."""
        for location, mine in self._mine.items():
            if mine.replica.standing[2]:
                ended = [each for each in mine.replica.clients if each <= metadata_index and not is_open(each)]
                for client in ended:
                    mine.replica.forget(client, metadata_index)
                    self._due[location] = None

    # Out

    def turn(self) -> None:
        while self._due or self._look_at_settling():
            due, self._due = self._due, {}
            work = _Work()
            drained = [mine for location in due if (mine := self._mine.get(location)) is not None]
            for mine in drained:
                self._drain(mine, work)
            self._around.send(work.messages)
            if work.requests:
                self._around.ask(work.requests)
            self._apply(work.committed, drained)
            if work.marked:
                self._around.marked(work.marked)
            for answer in work.answers:
                self._answer(answer.id, answer)
            if work.batches:
                self._write(work.batches)

    def _apply(self, committed: Sequence[tuple[int, Op]], drained: Sequence[Mine]) -> None:
        """Make ops visible, and then say so."""
        if committed:
            self.version += 1
            self._around.apply(committed)
            self.ops_applied += len(committed)
        is_another = sum([mine.looked_at() for mine in drained]) > 0
        if committed:
            self.version += 1
        elif is_another:
            self.version += 2

    def _drain(self, mine: Mine, work: _Work) -> None:
        replica = mine.replica
        while replica.has_ready():
            if replica.metadata_needed > self._around.schema():
                self._held[mine.location] = None
                return
            ready = replica.ready()
            for message in ready.messages:
                if isinstance(message, SnapshotRequest):
                    # Who is about to lead and has something cannot get a copy.
                    self._is_behind(mine, message.to, message.epoch)
                else:
                    work.messages.append(message)
            work.requests += ready.requests
            work.committed += [(mine.location, op) for op in ready.committed]
            mine.applied_bytes += sum(op.size for op in ready.committed)
            if ready.committed and mine.is_behind:
                # Who leads now had kept what it lacks.
                mine.is_behind, _ = False, self.wishes.pop(mine.location, 0)
            work.answers += ready.answers
            # They ask for copies themselves, if they have nothing.
            epoch, base = replica.standing[1], mine.disk.record.base
            work.messages += [TruncatedBelow(mine.number, to, mine.location, epoch, base) for to in ready.snapshots]
            if ready.batch is not None:
                work.batches.append((mine, ready.batch))
            if ready.committed and (marked := self.marks.applied(mine, ready.committed)) is not None:
                # What comes next is for the next pass.
                work.marked.append(marked)
                self._due[mine.location] = None
                return

    def _write(self, batches: Sequence[tuple[Mine, Batch]]) -> None:
        """Group commit: one batch and one sync for all of them."""
        batch = self._records.batch()
        for mine, ready in batches:
            mine.disk.write(batch, ready)
            self._revert(mine, ready.reverted)
        arrived, self._arrived = self._arrived, None
        if arrived is not None:
            # All its locations are in this batch: none was being written between two turns, and all are due.
            arrived.put(batch)
        self._records.write(batch, sync=any(ready.must_sync for _, ready in batches))
        if arrived is not None:
            arrived.installed()
        for mine, _ in batches:
            mine.replica.advance()
            self._due[mine.location] = None

    def _revert(self, mine: Mine, ops: Sequence[Op]) -> None:
        """A later leader's log has not what was here: it was acknowledged by fewer than a majority, or by nobody."""
        if not ops:
            return
        log.warning(
            "location %d: %d ops with %d rows were taken back, from %d of epoch %d to %d of epoch %d",
            mine.location, len(ops), sum(op.rows for op in ops), ops[0].sequence, ops[0].epoch, ops[-1].sequence,
            ops[-1].epoch,
        )  # fmt: skip
        self.ops_reverted += len(ops)
        self.reverted += [RevertedOp(mine.location, op.epoch, op.sequence, op.rows, op.wall_ns) for op in ops]
        del self.reverted[:-REVERTED_KEPT]

    # Flushes (``tsdb.storage.hosted.Hosted``)

    def applied(self) -> Mapping[int, int]:
        return {location: mine.replica.log_end[3] for location, mine in self._mine.items()}

    def confirm(self, location: int, epoch: int, sequence: int) -> Fate:
        """What became of an op, as far as this node knows."""
        mine = self._mine.get(location)
        return Fate.UNKNOWN if mine is None else mine.replica.confirm(epoch, sequence)

    def freeze(self) -> Frozen:
        frozen: dict[int, tuple[int, bytes]] = {}
        for location, mine in self._mine.items():
            assert mine.replica.can_flush, "a head ends between two turns"
            state = mine.replica.state()
            frozen[location] = state.sequence, encode_state(state)
            if mine.applied_bytes:
                mine.marks.append((state.sequence, mine.applied_bytes))
                mine.applied_bytes = 0
        return frozen

    def put_flushed(self, batch: Any, frozen: Frozen) -> None:
        for location, (sequence, state) in frozen.items():
            mine = self._mine.get(location)
            if mine is not None and sequence > mine.disk.record.sequence:
                mine.disk.put_flushed(batch, sequence, state)

    def flushed(self, frozen: Frozen) -> None:
        """The oldest ops that are in blocks go, as far as there are more than enough of them."""
        share = self._kept_bytes // max(len(self._mine), 1)
        pinned = max(PINNED_TIMES * share, PINNED_BYTES)
        for location in frozen:
            mine = self._mine.get(location)
            if mine is None:
                continue
            done = [mark for mark in mine.marks if mark[0] <= mine.disk.record.sequence]
            kept = sum(size for _, size in done)
            limit = self._pins.limit(location, mine.replica, self._ticks)
            while done and kept > share and (done[0][0] <= limit or kept > pinned):
                sequence, size = done.pop(0)
                mine.marks.popleft()
                kept -= size
                mine.replica.forget_ops(sequence)
                self._due[location] = None

    # Looking

    @property
    def last_counter(self) -> int:
        """The highest that points here have or were given."""
        return self._counters.last

    @property
    def uncommitted_bytes(self) -> int:
        """About how much of the logs is in memory and on no majority."""
        return sum(mine.replica.uncommitted_bytes for mine in self._mine.values())

    def gauges(self) -> Mapping[str, float]:
        """Metrics by name."""
        standings = [mine.replica.standing for mine in self._mine.values()]
        ends = [mine.replica.log_end for mine in self._mine.values()]
        return {
            "replicas": len(standings),
            "replicas_leading": sum(active for _, _, active in standings),
            "replicas_taking_over": sum(role is not Role.FOLLOWER and not active for role, _, active in standings),
            "replicas_behind": sum(mine.is_behind for mine in self._mine.values()),
            "replica_ops_uncommitted": sum(last - commit for _, last, commit, _ in ends),
            "replica_ops_applied_total": self.ops_applied,
            "replica_sequences_applied": sum(applied for _, _, _, applied in ends),
            "replica_ops_reverted_total": self.ops_reverted,
            "replica_messages_dropped_total": self.messages_dropped,
            "replica_writes_waiting": len(self._asked),
        }

    def log_ends(self) -> Mapping[int, tuple[int, int, int, int]]:
        """By location: last epoch, last op sequence, high watermark, applied."""
        return {location: mine.replica.log_end for location, mine in self._mine.items()}
