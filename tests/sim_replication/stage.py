"""A stage for directed schedules: one location's replicas on disks of their own, and a network in the test's hand."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from tests.sim.disk import Disk
from tests.sim_replication.node import Store, clip, encode, rows_of
from tsdb.cluster.replication.clients import QUORUM, Answer, ReadAt, Write
from tsdb.cluster.replication.messages import Message
from tsdb.cluster.replication.ops import WRITES, Kept, Op, OpKind
from tsdb.cluster.replication.ready import Batch
from tsdb.cluster.replication.record import Activate, Record, Request
from tsdb.cluster.replication.replica import Counters, Replica
from tsdb.cluster.replication.settings import Settings
from tsdb.cluster.replication.state import Role

HIGH = 64
LOCATION = 1


class Actor:
    """One replica with its disk; ``slow``: its batches stay on their way until ``Stage.sync``."""

    def __init__(self, number: int, settings: Settings) -> None:
        self.number, self.settings = number, settings
        self.disk = Disk()
        self.store = Store(self.disk, LOCATION)
        batch = self.disk.batch()
        self.store.begin(batch, number, Kept(), [])
        self.disk.write(batch, sync=True)
        self.slow = False
        self.start()

    def start(self, *, dirty: bool = False) -> None:
        self.kept = self.store.kept()
        self.rows = self.store.points()
        self.written: list[Batch] = []
        self.replica = Replica(
            self.settings, self.number, LOCATION, self.store, Counters(), clip, dirty=dirty
        )  # fmt: skip

    def crash(self) -> None:
        """All that was not synced is gone; the process is back."""
        self.disk.crash(_NothingSurvives())  # type: ignore[arg-type]
        self.start()

    def sync(self) -> None:
        for _ in self.written:
            self.disk.write(self.disk.batch(), sync=True)
            self.replica.advance()
        self.written = []

    def flush(self) -> None:
        """Points become durable, and the ops that they hold are forgotten."""
        batch = self.disk.batch()
        self.kept = self.store.flush(batch, self.replica.state(), self.rows)
        self.disk.write(batch, sync=True)
        self.replica.forget_ops(self.kept.state.sequence)


class _NothingSurvives:
    def randint(self, low: int, high: int) -> int:
        return low


class Stage:
    """``network`` is what was sent and did not arrive yet, ``requests`` what the metadata were asked and do not hear
    until ``Stage.activate``."""

    def __init__(self, count: int = 3, voters: tuple[int, ...] = (1, 2, 3), **limits: int) -> None:
        settings = Settings(**{"quorum_ticks": 4, "retry_ticks": 1, "hold_ticks": 3, "snapshot_ticks": 5, **limits})
        self.actors = {number: Actor(number, settings) for number in range(1, count + 1)}
        self.network: list[Message] = []
        self.requests: list[Request] = []
        self.answers: dict[int, Answer] = {}
        self.reverted: list[Op] = []
        self.now = 0
        self._number = 0
        self.record = Record(LOCATION, 0, HIGH, 1, 0, voters, (), 1, voters, changed=1)

    def __getitem__(self, number: int) -> Replica:
        return self.actors[number].replica

    # Metadata

    def assign(self, leader: int, voters: tuple[int, ...] | None = None, *, to: Collection[int] = ()) -> None:
        """The next epoch, made known to its leader (and others)."""
        r = self.record
        self.change(epoch=r.epoch + 1, leader=leader, voters=voters or r.voters, to={leader, *to})

    def change(self, to: Collection[int] | None = None, **fields: object) -> None:
        self.record = replace(self.record, changed=self.record.changed + 1, **fields)
        for number in to if to is not None else self.actors:
            self[number].learn(self.record)
            self.drain(number)

    def activate(self) -> bool:
        """The metadata hear what they were asked; whether the record's epoch is active then."""
        for request in self.requests:
            if isinstance(request, Activate) and request.epoch == self.record.epoch:
                self.change(active_epoch=request.epoch, active_voters=self.record.voters)
        self.requests = [request for request in self.requests if not isinstance(request, Activate)]
        return self.record.active_epoch == self.record.epoch

    def lead(self, leader: int, voters: tuple[int, ...] | None = None, *, without: Collection[int] = ()) -> None:
        """A whole takeover, while some hear nothing."""
        self.assign(leader, voters)
        self.run(without=without)
        assert self.activate(), f"{leader} does not come to lead: {self[leader].standing}"
        self.run(without=without)

    # Work

    def drain(self, number: int) -> None:
        actor = self.actors[number]
        while actor.replica.has_ready():
            ready = actor.replica.ready()
            self.network += ready.messages
            self.requests += ready.requests
            if ready.installed is not None:
                actor.rows = rows_of(ready.installed.content)
            for op in ready.committed:
                actor.rows += rows_of(op.body) if op.kind in WRITES else []
                if op.kind is OpKind.MARKER:
                    actor.replica.digest(op.sequence, encode(sorted(actor.rows)))
            self.answers |= {answer.id: answer for answer in ready.answers}
            self.network += [actor.replica.snapshot(to, encode(sorted(actor.rows))) for to in ready.snapshots]
            if ready.batch is not None:
                self._write(actor, ready.batch)

    def _write(self, actor: Actor, batch: Batch) -> None:
        disk_batch = actor.disk.batch()
        actor.kept = actor.store.write(disk_batch, batch)
        self.reverted += batch.reverted
        actor.disk.write(disk_batch, sync=False)
        actor.written.append(batch)
        if not actor.slow:
            actor.sync()

    def sync(self, number: int) -> None:
        """A slow disk is done, and is slow no more."""
        self.actors[number].slow = False
        self.actors[number].sync()
        self.drain(number)

    def deliver(self, message: Message) -> None:
        self[message.to].step(message)
        self.drain(message.to)

    def run(self, *, without: Collection[int] = ()) -> None:
        """Everything arrives, until nothing is said any more; what is from or for some is lost."""
        while self.network:
            message = self.network.pop(0)
            if message.sender not in without and message.to not in without:
                self.deliver(message)

    def take(self, *kinds: type) -> list[Message]:
        """Messages of some kinds, out of the network."""
        taken = [message for message in self.network if isinstance(message, kinds)]
        self.network = [message for message in self.network if not isinstance(message, kinds)]
        return taken

    def tick(self, *numbers: int, times: int = 1) -> None:
        for _ in range(times):
            self.now += 1
            for number in numbers or self.actors:
                self[number].tick(self.now)
                self.drain(number)

    def restart(self, number: int, *, dirty: bool = False) -> None:
        self.actors[number].crash()
        if dirty:
            self.actors[number].start(dirty=True)

    # Clients

    def write(self, to: int, *, client: int = 0, batch: int = 0, acks: int = QUORUM, low: int = 0, high: int = HIGH,
              **fields: int) -> int:  # fmt: skip
        """A write of one row at each end of the interval; its number."""
        self._number += 1
        rows = [(client, batch or self._number, place) for place in sorted({low, high - 1})]
        fields.setdefault("map_version", self.record.map_version)
        write = Write(self._number, low, high, fields.pop("map_version"), encode(rows), len(rows), client, batch,
                      acks=acks, **fields)  # type: ignore[arg-type]  # fmt: skip
        self[to].write(write)
        self.drain(to)
        return self._number

    def read(self, to: int) -> int:
        self._number += 1
        self[to].read(self._number)
        self.drain(to)
        return self._number

    def number(self) -> int:
        self._number += 1
        return self._number

    def is_read(self, number: int) -> bool:
        return isinstance(self.answers.get(number), ReadAt)

    def ends(self, number: int) -> tuple[tuple[int, int], ...]:
        """A replica's epoch vector."""
        return self[number]._state.log.vector.ends()

    def role(self, number: int) -> Role:
        return self[number].standing[0]

    def commit(self, number: int) -> int:
        return self[number].log_end[2]

    def last(self, number: int) -> int:
        return self[number].log_end[1]
