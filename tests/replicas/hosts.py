"""Hosts of three nodes over simulated disks: several locations, a network and metadata in the test's hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from msgspec.structs import replace

from tests.sim.disk import Disk
from tsdb.cluster.metadata.records import REPLICA_BITS, Interval, LocationRecord
from tsdb.cluster.replicas.host import Host
from tsdb.cluster.replicas.marks import Marked
from tsdb.cluster.replicas.packets import packets, unpack
from tsdb.cluster.replication.clients import QUORUM, Answer, Write
from tsdb.cluster.replication.messages import Message
from tsdb.cluster.replication.ops import WRITES, LocationState, Op
from tsdb.cluster.replication.record import Activate, NewEpoch, Record, Request
from tsdb.cluster.replication.replica import Counters
from tsdb.cluster.replication.settings import Settings
from tsdb.leaving import IsLeft, never
from tsdb.storage.hosted import Frozen

LIMITS = Settings(quorum_ticks=4, retry_ticks=1, hold_ticks=3, snapshot_ticks=3)
NODES = (1, 2, 3)


class Process:
    """A node's process: its host, what is visible there by location, and what it had to say."""

    def __init__(self, world: World, node: int, kept_bytes: int) -> None:
        self.world, self.node, self.kept_bytes = world, node, kept_bytes
        self.disk = Disk()
        self.blocks: dict[int, list[bytes]] = {}
        self.own: dict[int, list[bytes]] = {}
        """The logs that were this node's alone, by location: what is in blocks begins with them."""
        self.known = 0
        self.masked: set[int] = set()
        """Locations that left while others of their database stay, and whose points compaction has not taken yet."""
        self.start()

    def start(self) -> None:
        self.visible = {location: [*rows] for location, rows in self.blocks.items()}
        for location, rows in self.own.items():
            self.visible.setdefault(location, []).extend(rows[len(self.blocks.get(location, [])) :])
        self.applied_at_once: list[int] = []
        self.host = Host(
            self.disk, self.node, Counters(node=self.node), self, LIMITS, kept_bytes=self.kept_bytes,
            own=lambda record, _: self.ended(record.location),
        )  # fmt: skip
        self.learn()

    def ended(self, location: int) -> LocationState | None:
        """What a location is as this node's own log of it ends."""
        count = len(self.own.get(location, []))
        return LocationState(count, ((1, count),), bytes(15) + b"o", count) if count else None

    def crash(self) -> None:
        """All that was not synced is gone, and the process is back."""
        self.disk.crash(_Nothing())  # type: ignore[arg-type]
        self.start()

    def learn(self) -> None:
        self.host.learn(self.world.records, self.world.arcs)
        self.turn()

    def turn(self) -> None:
        self.host.turn()

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.host.tick(0)
            self.turn()

    def freeze(self) -> tuple[Frozen, dict[int, list[bytes]]]:
        return self.host.freeze(), {location: [*rows] for location, rows in self.visible.items()}

    def flush(self, frozen: Frozen, rows: dict[int, list[bytes]]) -> None:
        batch = self.disk.batch()
        self.host.put_flushed(batch, frozen)
        self.disk.write(batch, sync=True)
        self.blocks = rows
        self.host.flushed(frozen)
        self.turn()

    def write(
        self, location: int, body: bytes, patience: int = 10, acks: int = QUORUM, is_left: IsLeft = never
    ) -> list[Answer]:
        """Its answer, when there is one."""
        told: list[Answer] = []

        def write(id: int, record: Record) -> Write:
            schema = self.world.schema
            return Write(id, record.low, record.high, record.map_version, body, metadata_index=schema, acks=acks)

        self.host.write(location, write, patience, told.append, is_left)
        return told

    # ``around.Surroundings``

    def schema(self) -> int:
        return self.known

    def apply(self, ops: Sequence[tuple[int, Op]]) -> None:
        self.applied_at_once.append(len(ops))
        assert self.host.version % 2, "who looks now does not know what it sees"
        for location, op in ops:
            mine = self.host.find(location)
            assert mine is not None
            assert mine.shown[1] < op.sequence, "it is said to be visible before it is"
            assert op.sequence > len(self.own.get(location, [])), "an op sequence is given twice"
            if op.kind in WRITES:
                self.visible.setdefault(location, []).append(op.body)

    def marked(self, marks: Sequence[Marked]) -> None:
        """What is visible now is what its replicas have at these markers."""
        assert not self.host.version % 2
        for mark in marks:
            mine = self.host.find(mark.location)
            assert mine is not None
            assert mine.shown[1] >= mark.sequence
        schema = self.known
        for mark in marks:
            self.host.marks.digest(mark.location, mark.sequence, repr(self.visible.get(mark.location)).encode(), schema)

    def send(self, messages: Sequence[Message]) -> None:
        for to, those in packets(messages).items():
            self.world.network += [(self.node, to, packet) for packet in those]

    def ask(self, requests: Sequence[Request]) -> None:
        self.world.requests += requests


class _Nothing:
    def randint(self, low: int, high: int) -> int:
        return low


class World:
    """Locations 1 to ``count``, each with a replica at every node, led by node 1."""

    arcs: Mapping[int, int] = MappingProxyType({})

    def __init__(self, count: int = 4, kept_bytes: int = 0) -> None:
        self.network: list[tuple[int, int, bytes]] = []
        self.requests: list[Request] = []
        self.index = 1
        self.schema = 0
        numbers = tuple((node, node << REPLICA_BITS | 1) for node in NODES)
        self.records = {
            location: (
                LocationRecord(location, 1, 1, 1, NODES, (), 1, NODES, changed=1, replicas=numbers),
                Interval(location, 100 * location, 100 * location + 99),
            )
            for location in range(1, count + 1)
        }
        self.nodes = {node: Process(self, node, kept_bytes) for node in NODES}

    def __getitem__(self, node: int) -> Process:
        return self.nodes[node]

    def change(self, location: int, **fields: object) -> None:
        self.index += 1
        record, interval = self.records[location]
        self.records[location] = replace(record, changed=self.index, **fields), interval

    def tell(self, *nodes: int) -> None:
        for node in nodes or NODES:
            self[node].learn()

    def assign(self, leader: int) -> None:
        """The next epoch of all locations."""
        for location, (record, _) in self.records.items():
            self.change(location, epoch=record.epoch + 1, leader=leader)

    def run(self, *, without: Collection[int] = ()) -> None:
        """Everything arrives and is asked, until nothing is said any more; some are cut off."""
        while self.network or self.requests:
            network, self.network = self.network, []
            for sender, to, packet in network:
                if sender not in without and to not in without:
                    self[to].host.step(unpack(packet, sender, to))
                    self[to].turn()
            requests, self.requests = self.requests, []
            for request in requests:
                self._asked(request, without)

    def _asked(self, request: Request, without: Collection[int]) -> None:
        record = self.records[request.location][0]
        if request.epoch != record.epoch:
            return
        if isinstance(request, Activate):
            self.change(request.location, active_epoch=record.epoch, active_voters=record.voters)
        elif isinstance(request, NewEpoch):
            self.change(request.location, epoch=record.epoch + 1)
        self.tell(*(node for node in NODES if node not in without))

    def tick(self, times: int = 1, *, without: Collection[int] = ()) -> None:
        for _ in range(times):
            for node in NODES:
                if node not in without:
                    self[node].tick()
            self.run(without=without)

    def visible(self, location: int) -> list[list[bytes]]:
        return [self[node].visible.get(location, []) for node in NODES]
