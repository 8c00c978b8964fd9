"""One node of the simulated world: a process that drives the replicas of its locations, over one disk."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from tests.sim.disk import Batch as DiskBatch
from tests.sim.disk import Disk
from tests.sim_replication.metadata import node_of, union_epoch
from tests.sim_replication.odds import TICK
from tsdb.cluster.replicas import ops as format_of_ops
from tsdb.cluster.replicas.disk import ReplicaDisk, encode_state
from tsdb.cluster.replication import seals
from tsdb.cluster.replication.messages import Message
from tsdb.cluster.replication.ops import WRITES, Kept, LocationState, Op, OpKind
from tsdb.cluster.replication.ready import Batch, Ready
from tsdb.cluster.replication.record import Record
from tsdb.cluster.replication.replica import Counters, Replica
from tsdb.storage import keys
from tsdb.storage.replica_log import LEFT, NAME, ReplicaLog, ReplicaRecord

if TYPE_CHECKING:
    from tests.sim_replication.world import World

Row = tuple[int, int, int]
"""(client, batch, place on the ring)"""
_record = msgspec.msgpack.Decoder(ReplicaRecord)
_rows = msgspec.msgpack.Decoder(list[Row])
encode = msgspec.msgpack.encode


def rows_of(body: bytes) -> list[Row]:
    return _rows.decode(body)


def clip(body: bytes, low: int, high: int) -> tuple[bytes, int]:
    rows = [row for row in rows_of(body) if low <= row[2] < high]
    return encode(rows), len(rows)


class Crashed(Exception):
    """The process is gone in the middle of its work."""


class Store:
    """One replica's records on the node's disk, by the code that writes them in the product; and its points."""

    def __init__(self, disk: Disk, location: int) -> None:
        self.disk = disk
        self.location = location
        self.family = f"location {location}"
        self.log = ReplicaLog(disk)
        self._own = ReplicaDisk(self.log, location, self.log.record(location) or LEFT)

    def kept(self) -> Kept:
        return self._own.kept()

    def replica(self) -> int:
        return self._own.record.replica

    def points(self) -> list[Row]:
        return _rows.decode(self.disk.get(self.family, b"points") or encode([]))

    def ops(self, first: int, bytes_max: int | None = None) -> list[Op]:
        return self._own.ops(first, bytes_max)

    def _durable(self) -> ReplicaRecord | None:
        stored = self.disk.durable("state", keys.state_key(NAME, self.location))
        return None if stored is None else _record.decode(stored[3:-4])

    def durably_promised(self) -> int:
        record = self._durable()
        return record.promised if record is not None else 0

    def durable_epoch(self, sequence: int) -> int | None:
        """The epoch of the op that would be there after a crash; 0 if it is forgotten; None without."""
        stored = self.disk.durable("ops", keys.op_key(self.location, sequence))
        if stored is not None:
            return format_of_ops.decode(self.location, stored).epoch
        record = self._durable()
        return 0 if record is not None and record.base >= sequence else None

    def begin(self, batch: DiskBatch, replica: int, kept: Kept, points: list[Row], ops: tuple[Op, ...] = ()) -> None:
        self.wipe(batch)
        record = ReplicaRecord(replica, kept.promised, kept.base, kept.state.sequence, encode_state(kept.state))
        self.log.put(batch, self.location, record)
        self.log.append(batch, self.location, ((op.sequence, format_of_ops.encode(self.location, op)) for op in ops))
        batch.put(self.family, b"points", encode(points))
        self._own = ReplicaDisk(self.log, self.location, record)

    def wipe(self, batch: DiskBatch) -> None:
        self.log.drop(batch, self.location)
        batch.delete_range(self.family, b"", b"\xff")

    def write(self, batch: DiskBatch, ready: Batch) -> Kept:
        """A batch of the replica's; what is kept then."""
        if ready.snapshot is not None:
            batch.put(self.family, b"points", ready.snapshot.content)
        self._own.write(batch, ready)
        return self._own.kept()

    def flush(self, batch: DiskBatch, state: LocationState, points: list[Row]) -> Kept:
        """Points become durable, with what the location is."""
        self._own.put_flushed(batch, state.sequence, encode_state(state))
        batch.put(self.family, b"points", encode(points))
        return self._own.kept()


class Hosted:
    """A replica in a running process, with its points."""

    def __init__(self, node: Node, location: int) -> None:
        self.store = Store(node.disk, location)
        self.location = location
        self.id = self.store.replica()
        self.kept = self.store.kept()
        self.rows = set(self.store.points())
        self.replica = Replica(
            node.world.odds.settings, self.id, location, self.store, node.counters, clip,
        )  # fmt: skip
        node.world.checks.started(self)


class Node:
    """A machine and, while it is up, the process on it. Events of an earlier ``life`` are void."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.id = number
        self.disk = Disk()
        self.life = 0
        self.up = False
        self.hosted: dict[int, Hosted] = {}
        self.locations: set[int] = set()
        """Of which there is something on the disk, durable or not."""
        self.known: dict[int, Record] = {}
        """The metadata as this node has it, which is on its disk as well."""
        self.known_index = 0
        self.joined_at = 0
        """The metadata index at which its disk was empty: who joins with an empty one does so by another number, and is
        told nothing that was said to the one before."""
        drift = world.odds.drift
        self.tick_length = TICK * world.chance.uniform(1 - drift, 1 + drift)

    # Life

    def start(self) -> None:
        if self.up:
            return
        self.life += 1
        self.up = True
        self.busy = False
        self.queue: list[tuple[Hosted, Batch]] = []
        self.counters = Counters()
        self.waits: dict[int, Record] = {}
        self.locations = {n for n in self.locations if self.disk.get(f"location {n}", b"points") is not None}
        self.hosted = {n: Hosted(self, n) for n in sorted(self.locations)}
        self.world.later(self.world.chance.uniform(0, self.tick_length), self._tick, self)
        self.world.later(self.world.chance.uniform(0, 4 * TICK), self._poll, self)

    def crash(self) -> None:
        """The process dies, and what it had not synced is lost, or some of it."""
        if self.up:
            self.up = False
            self.life += 1
            self.disk.crash(self.world.chance)
            self.hosted = {}

    def _tick(self) -> None:
        now = int(self.world.now)

        def tick() -> None:
            for hosted in self.hosted.values():
                hosted.replica.tick(now)

        self.feed(tick)
        self.world.later(self.tick_length, self._tick, self)

    def _poll(self) -> None:
        """Look at the metadata: what was said while nobody listened."""
        for record in list(self.world.metadata.records.values()):
            if self.up:
                self.learn(record)
        self.world.later(self.world.chance.uniform(TICK, 20 * TICK), self._poll, self)

    # In

    def receive(self, message: Message) -> None:
        hosted = self.hosted.get(message.location)
        if self.up and hosted is not None and hosted.id == message.to:
            self.feed(lambda: hosted.replica.step(message), hosted)

    def learn(self, record: Record) -> None:
        """A record of the metadata: begin, follow, or leave the location."""
        was = self.known.get(record.location)
        if record.changed <= self.joined_at or (was is not None and was.changed > record.changed):
            return
        self.known[record.location] = record
        self.known_index = max(self.known_index, record.changed)
        self.feed(lambda: self._learn(record))

    def _learn(self, record: Record) -> None:
        hosted = self.hosted.get(record.location)
        mine = [r for r in (*record.voters, *record.learners, *record.active_voters) if node_of(r) == self.id]
        if hosted is not None and hosted.id not in mine and record.retired is None:
            self._leave(hosted)
            hosted = None
        if hosted is None and record.location not in self.hosted and mine:
            self._join(record, mine[0])
            hosted = self.hosted.get(record.location)
        if hosted is not None:
            hosted.replica.learn(record)

    def _leave(self, hosted: Hosted) -> None:
        """The metadata have it neither in the epoch that is nor in the one that is active: it counts for nothing."""
        batch = self.disk.batch()
        hosted.store.wipe(batch)
        self.disk.write(batch, sync=True)
        del self.hosted[hosted.location]
        self.queue = [(each, ready) for each, ready in self.queue if each is not hosted]

    def _join(self, record: Record, replica: int) -> None:
        """An empty replica; but not where it has to begin with what its parents are."""
        if replica in self.world.operator.dead:
            return
        parents = self.world.metadata.parents.get(record.location, ())
        if parents and (self._is_founder(replica, parents) or all(parent in self.hosted for parent in parents)):
            self.waits[record.location] = record
        else:
            self.begin(record.location, replica, Kept(), [])

    def _is_founder(self, replica: int, parents: tuple[int, ...]) -> bool:
        records = [self.world.metadata.records[parent] for parent in parents]
        return any(replica in (*record.voters, *record.active_voters) for record in records)

    def begin(self, location: int, replica: int, kept: Kept, points: list[Row], ops: tuple[Op, ...] = ()) -> None:
        batch = self.disk.batch()
        Store(self.disk, location).begin(batch, replica, kept, points, ops)
        self.disk.write(batch, sync=True)
        self.locations.add(location)
        self.hosted[location] = Hosted(self, location)

    def _succeed(self) -> None:
        """Locations that wait for their parents to have come to their ends (2.10)."""
        for location, record in list(self.waits.items()):
            parents = [self.hosted.get(parent) for parent in self.world.metadata.parents[location]]
            mine = [r for r in (*record.voters, *record.learners, *record.active_voters) if node_of(r) == self.id]
            if location in self.hosted:
                del self.waits[location]
                continue
            there = [parent for parent in parents if parent is not None and parent.replica.is_retired]
            if len(there) < len(parents) or not mine:
                continue
            del self.waits[location]
            rows = [row for parent in there for row in sorted(parent.rows) if record.low <= row[2] < record.high]
            old = [self.world.metadata.records[parent.location] for parent in there]
            ops: tuple[Op, ...] = ()
            if len(there) == 1:
                ops = there[0].replica.ops_after_applied()
                kept = seals.halves(there[0].replica.state(), ops, old[0].epoch, record.low, record.high)
            else:
                ends = old[0].retired, old[1].retired
                assert ends[0] is not None
                assert ends[1] is not None
                states = there[0].replica.state(), there[1].replica.state()
                kept = seals.union(*states, (ends[0], ends[1]), union_epoch(*old))
            self.begin(location, mine[0], kept, rows, ops)
            self.hosted[location].replica.learn(self.known.get(location, record))

    def feed(self, work: object, only: Hosted | None = None) -> None:
        assert callable(work)
        if not self.up:
            return
        try:
            work()
            self.drain(only)
        except Crashed:
            self.crash()

    # Out

    def drain(self, only: Hosted | None = None) -> None:
        for hosted in [only] if only else list(self.hosted.values()):
            while self.up and self.hosted.get(hosted.location) is hosted and hosted.replica.has_ready():
                self.world.checks.stepped(hosted)
                self._carry_out(hosted, hosted.replica.ready())
        if self.waits and self.up:
            count = len(self.hosted)
            self._succeed()
            if len(self.hosted) > count:
                self.drain()
        self._write()

    def _carry_out(self, hosted: Hosted, ready: Ready) -> None:
        self.world.send(self, ready.messages)
        for request in ready.requests:
            self.world.ask_metadata(request)
        if ready.installed is not None:
            hosted.rows = set(rows_of(ready.installed.content))
            self.world.checks.installed(hosted, ready.installed)
        self._apply(hosted, ready.committed)
        for answer in ready.answers:
            self.world.answered(self, hosted, answer)
        for to in ready.snapshots:
            content = encode(sorted(hosted.rows))
            self.world.send(self, (hosted.replica.snapshot(to, content),))
        if ready.batch is not None:
            self.queue.append((hosted, ready.batch))

    def _apply(self, hosted: Hosted, ops: tuple[Op, ...]) -> None:
        for op in ops:
            rows = rows_of(op.body) if op.kind in WRITES else []
            self.world.checks.applied(hosted, op, rows)
            hosted.rows.update(rows)
            if op.kind is OpKind.MARKER:
                hosted.replica.digest(op.sequence, hashlib.blake2b(encode(sorted(hosted.rows))).digest())

    def _write(self) -> None:
        """All that waits goes to the disk as one (group commit); what comes meanwhile waits for the next time."""
        if self.busy or not self.queue or not self.up:
            return
        work, self.queue = self.queue, []
        batch = self.disk.batch()
        odds = self.world.odds_now("crash_in_write")
        if odds and self.world.chance.random() < odds:
            raise Crashed
        for hosted, ready in work:
            hosted.kept = hosted.store.write(batch, ready)
        self.disk.write(batch, sync=False)
        if odds and self.world.chance.random() < odds:
            raise Crashed
        self.busy = True
        slow = self.world.slowness()
        must_sync = any(ready.must_sync for _, ready in work)
        if slow:
            self.world.later(slow, lambda: self.feed(lambda: self._written(work, must_sync)), self)
        else:
            self._written(work, must_sync)

    def _written(self, work: list[tuple[Hosted, Batch]], must_sync: bool) -> None:
        self.busy = False
        if must_sync:
            self.disk.write(self.disk.batch(), sync=True)
        for hosted, _ in work:
            if self.hosted.get(hosted.location) is hosted:
                hosted.replica.advance()
                self.world.checks.stepped(hosted)
                self.drain(hosted)

    # Flush and compaction

    def flush(self, hosted: Hosted) -> None:
        """Points, and what the location is with them, become durable as one, some time."""
        state = hosted.replica.state()
        if not hosted.replica.can_flush or state.sequence <= hosted.kept.state.sequence:
            return
        if any(each is hosted for each, _ in self.queue):
            return
        batch = self.disk.batch()
        hosted.kept = hosted.store.flush(batch, state, sorted(hosted.rows))
        self.disk.write(batch, sync=False)

    def forget(self, hosted: Hosted) -> None:
        """Ops that are in durable points go, or some of them."""
        if not hosted.replica.can_flush:
            return
        sequence = self.world.chance.randint(0, hosted.kept.state.sequence)
        self.feed(lambda: hosted.replica.forget_ops(sequence), hosted)

    def lose_disk(self) -> None:
        """All that was on it, for ever; what comes back is an empty node."""
        self.disk = Disk()
        self.locations = set()
        self.known = {}
        self.joined_at = self.world.metadata.index
