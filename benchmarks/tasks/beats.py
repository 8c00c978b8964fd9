"""What nodes say to each other about replicas with nothing to do, as nodes and locations grow: the real replicas of all
nodes over disks in memory, in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.report import Grid, number
from benchmarks.tasks.task import say
from tsdb.cluster.metadata.locations import first_nodes
from tsdb.cluster.metadata.records import REPLICA_BITS, Interval, LocationRecord, Member
from tsdb.cluster.replicas.host import Host
from tsdb.cluster.replicas.marks import Marked
from tsdb.cluster.replicas.packets import packets, unpack
from tsdb.cluster.replication.messages import Message
from tsdb.cluster.replication.ops import Op
from tsdb.cluster.replication.record import Request
from tsdb.cluster.replication.replica import Counters
from tsdb.model.ring import LOCATIONS_PER_DATABASE

FACTOR = 3
SIZES = ((3, 32), (3, 320), (3, 1_024), (10, 1_024), (100, 1_024), (100, 10_240))
TICKS_A_SECOND = 10
WARM_UP_S, MEASURED_S = 3, 3


def idle_grid() -> Grid:
    rows = []
    for nodes, locations in SIZES:
        say(f"{nodes} nodes, {locations:,} locations: nothing to do")
        rows.append((f"{nodes} · {locations:,}", *map(number, _measure(nodes, locations))))
    header = (
        "nodes · locations", "messages/s a node", "packets/s a node", "packets/s a pair of nodes", "bytes/s a node",
        "bytes/s a location", "CPU of a node, ms a second",
    )  # fmt: skip
    return Grid("Replicas with nothing to do, simulated (replication factor 3)", header, rows)


class _Batch:
    def __init__(self) -> None:
        self.changes: dict[tuple[str, bytes], bytes | None] = {}

    def put(self, family: str, key: bytes, value: bytes) -> None:
        self.changes[family, key] = value

    def delete(self, family: str, key: bytes) -> None:
        self.changes[family, key] = None

    def delete_range(self, family: str, low: bytes, high: bytes) -> None:
        """Nothing is there that would go."""


class _Memory:
    """A ``tsdb.storage.raft_log.Records`` that forgets when the process ends."""

    def __init__(self) -> None:
        self._families: dict[str, dict[bytes, bytes]] = {}

    def batch(self) -> _Batch:
        return _Batch()

    def write(self, batch: Any, sync: bool) -> None:
        for (family, key), value in batch.changes.items():
            assert value is not None
            self._families.setdefault(family, {})[key] = value

    def get(self, family: str, key: bytes) -> bytes | None:
        return self._families.get(family, {}).get(key)

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.get(family, key) for key in keys]

    def scan(self, family: str, low: bytes = b"", high: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """A replica begins with no op, and its record is not asked for in ranges."""
        assert family == "ops" or not self._families.get(family)
        return iter(())


class _Node:
    """One node's replicas; what they say goes to ``network`` as (from, to, packet)."""

    def __init__(self, node: int, network: list[tuple[int, int, bytes]]) -> None:
        self.node = node
        self.messages = 0
        self._network = network
        self.host = Host(_Memory(), node, Counters(node=node), self)

    def schema(self) -> int:
        return 0

    def apply(self, ops: Sequence[tuple[int, Op]]) -> None:
        """Barriers, which do nothing."""

    def marked(self, marks: Sequence[Marked]) -> None: ...

    def send(self, messages: Sequence[Message]) -> None:
        self.messages += len(messages)
        for to, those in packets(messages).items():
            self._network += [(self.node, to, packet) for packet in those]

    def ask(self, requests: Sequence[Request]) -> None:
        raise AssertionError(f"nothing changes, and {requests} are asked for")


def _records(nodes: int, locations: int) -> Mapping[int, tuple[LocationRecord, Interval]]:
    """As databases begin: all locations of one at the same nodes."""
    members = [Member(node, bytes(16), (), f"zone {node % 3}", 0) for node in range(1, nodes + 1)]
    found = {}
    for location in range(1, locations + 1):
        database = (location - 1) // LOCATIONS_PER_DATABASE + 1
        chosen = first_nodes(database, members, FACTOR)
        voters = tuple(sorted(chosen))
        numbers = tuple((node, node << REPLICA_BITS | 1) for node in voters)
        record = LocationRecord(
            location, database, 1, chosen[0], voters, active_epoch=1, active_voters=voters, changed=1, replicas=numbers
        )
        found[location] = record, Interval(location, 0, 1)
    return found


def _measure(count: int, locations: int) -> tuple[float, ...]:
    """Messages, packets, packets of a pair of nodes that say anything, bytes, bytes of a location, ms; a second."""
    network: list[tuple[int, int, bytes]] = []
    nodes = {node: _Node(node, network) for node in range(1, count + 1)}
    records = _records(count, locations)
    for node in nodes.values():
        node.host.learn({n: each for n, each in records.items() if node.node in each[0].voters})
    _run(nodes, network, WARM_UP_S * TICKS_A_SECOND)
    said = sum(node.messages for node in nodes.values())
    begin = time.process_time()
    sent = _run(nodes, network, MEASURED_S * TICKS_A_SECOND)
    took = time.process_time() - begin
    messages = sum(node.messages for node in nodes.values()) - said
    size = sum(each for _, _, each in sent)
    pairs = len({(sender, to) for sender, to, _ in sent})
    each_node = MEASURED_S * count
    return (
        messages / each_node, len(sent) / each_node, len(sent) / MEASURED_S / pairs, size / each_node,
        size / MEASURED_S / locations, took * 1000 / each_node,
    )  # fmt: skip


def _run(nodes: Mapping[int, _Node], network: list[tuple[int, int, bytes]], ticks: int) -> list[tuple[int, int, int]]:
    """(from, to, bytes) of what was sent meanwhile."""
    sent: list[tuple[int, int, int]] = []
    for tick in range(ticks):
        for node in nodes.values():
            node.host.tick(tick * 10**9 // TICKS_A_SECOND)
            node.host.turn()
        while network:
            arrived = list(network)
            network.clear()
            by_node: dict[int, list[tuple[int, bytes]]] = {}
            for sender, to, packet in arrived:
                sent.append((sender, to, len(packet)))
                by_node.setdefault(to, []).append((sender, packet))
            for to, those in by_node.items():
                for sender, packet in those:
                    nodes[to].host.step(unpack(packet, sender, to))
                nodes[to].host.turn()
    return sent
