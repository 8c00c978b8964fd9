"""A model of the metadata: records of locations, changed by compare-and-set, and sessions of clients.

It answers at once and never fails; what it says and what it is asked travels with the world's delays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tsdb.cluster.replication.ops import OpKind
from tsdb.cluster.replication.record import (
    Abdicate,
    Activate,
    Diverged,
    NewEpoch,
    Rebuild,
    Record,
    Request,
    Seal,
    Sealed,
)

if TYPE_CHECKING:
    from tests.sim_replication.world import World

PER_NODE = 10_000
RING = 64


def node_of(replica: int) -> int:
    """Replicas are numbered by node, and no number is given twice."""
    return replica // PER_NODE


class Metadata:
    """``records`` are of all locations there ever were."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.index = 0
        self.records: dict[int, Record] = {}
        self.parents: dict[int, tuple[int, ...]] = {}
        """Of a location that came from others."""
        self.partners: dict[int, int] = {}
        """Of locations that are to be one."""
        self.seals: dict[int, Seal] = {}
        self.activated: set[tuple[int, int]] = set()
        self.sessions: dict[int, int] = {}
        """Clients, and the index at which each session ended, or 0."""
        self.assigned_at: dict[int, float] = {}
        self.voters_of: dict[tuple[int, int], tuple[int, ...]] = {}
        self._replicas = 0

    # Records

    def living(self) -> list[Record]:
        return [record for record in self.records.values() if record.retired is None]

    def found(self, count: int, factor: int, nodes: Iterable[int]) -> None:
        """The first locations, in their first epoch, with nothing in them."""
        nodes = list(nodes)
        for number in range(count):
            voters = tuple(self.new_replica(n) for n in self.world.chance.sample(nodes, factor))
            low, high = RING * number // count, RING * (number + 1) // count
            self._put(Record(number + 1, low, high, 1, voters[0], voters, (), 1, voters))
            self.activated.add((number + 1, 1))

    def new_replica(self, node: int) -> int:
        self._replicas += 1
        return node * PER_NODE + self._replicas

    def replica_on(self, record: Record, node: int) -> int:
        """The location's replica on a node: the one that it has, or a new one."""
        for replica in (*record.voters, *record.learners, *record.active_voters):
            if node_of(replica) == node and replica not in self.world.operator.dead:
                return replica
        return self.new_replica(node)

    def _put(self, record: Record) -> None:
        self.index += 1
        record = replace(record, changed=self.index)
        was = self.records.get(record.location)
        if was is None or was.epoch != record.epoch:
            self.assigned_at[record.location] = self.world.now
            self.voters_of[record.location, record.epoch] = record.voters
        self.records[record.location] = record
        self.world.published(record)

    def assign(self, was: Record, leader: int, voters: tuple[int, ...], learners: tuple[int, ...] = ()) -> None:
        """The next epoch. A compare-and-set: whoever decides has just looked."""
        assert leader in voters
        self._put(replace(was, epoch=was.epoch + 1, leader=leader, voters=voters, learners=learners))

    def set_learners(self, was: Record, learners: tuple[int, ...]) -> None:
        self._put(replace(was, learners=learners))

    def want_split(self, was: Record) -> None:
        self._put(replace(was, wanted=OpKind.SPLIT))

    def want_merge(self, one: Record, two: Record) -> None:
        self.partners[one.location], self.partners[two.location] = two.location, one.location
        self._put(replace(one, wanted=OpKind.MERGE_SEAL))
        self._put(replace(two, wanted=OpKind.MERGE_SEAL))

    # What replicas ask for

    def asked(self, request: Request) -> None:
        record = self.records[request.location]
        if record.retired is not None:
            return
        match request:
            case Activate() if request.epoch == record.epoch:
                if record.active_epoch != record.epoch:
                    self.activated.add((record.location, record.epoch))
                    self._put(replace(record, active_epoch=record.epoch, active_voters=record.voters))
            case Abdicate() if request.epoch == record.epoch == record.active_epoch and request.to in record.voters:
                self.assign(record, request.to, record.voters, record.learners)
            case NewEpoch() if request.epoch == record.epoch:
                self.assign(record, self.world.chance.choice(record.voters), record.voters, record.learners)
            case Sealed() if record.wanted is not None and record.location not in self.seals:
                self.seals[record.location] = request.seal
                if record.wanted is OpKind.SPLIT:
                    self._split(record)
                elif self.partners[record.location] in self.seals:
                    self._merge(record, self.records[self.partners[record.location]])
            case Diverged():
                raise AssertionError(f"{request}, and no disk was spoilt")
            case Rebuild() | _:
                pass

    def _split(self, record: Record) -> None:
        middle = (record.low + record.high) // 2
        self._put(replace(record, retired=self.seals[record.location]))
        for low, high in ((record.low, middle), (middle, record.high)):
            self._begin(replace(record, low=low, high=high), (record,), record.active_epoch, record.active_voters)

    def _merge(self, one: Record, two: Record) -> None:
        for record in (one, two):
            self._put(replace(record, retired=self.seals[record.location]))
        epoch = union_epoch(one, two)
        union = replace(
            one, low=min(one.low, two.low), high=max(one.high, two.high), epoch=epoch, learners=(),
            map_version=max(one.map_version, two.map_version),
        )  # fmt: skip
        self.activated.add((len(self.records) + 1, epoch))
        self._begin(union, (one, two), epoch, one.voters)

    def _begin(self, model: Record, parents: tuple[Record, ...], active: int, voters: tuple[int, ...]) -> None:
        """A location that takes the place of others, in its first own epoch."""
        location = len(self.records) + 1
        self.parents[location] = tuple(parent.location for parent in parents)
        self.activated.add((location, active))
        self.voters_of[location, active] = voters
        self._put(
            replace(
                model, location=location, epoch=model.epoch + 1, leader=self.world.chance.choice(model.voters),
                active_epoch=active, active_voters=voters, map_version=model.map_version + 1, wanted=None, retired=None,
            )
        )  # fmt: skip

    # Sessions

    def open_session(self) -> int:
        self.index += 1
        self.sessions[self.index] = 0
        return self.index

    def close_session(self, client: int) -> None:
        if not self.sessions[client]:
            self.index += 1
            self.sessions[client] = self.index


def union_epoch(one: Record, two: Record) -> int:
    """The epoch that a union's state is in."""
    return max(one.epoch, two.epoch) + 1
