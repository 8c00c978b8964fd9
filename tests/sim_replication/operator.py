"""Whoever decides what becomes of locations: fails over, moves, reconfigures, splits, merges, wipes — at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim_replication.metadata import node_of
from tests.sim_replication.odds import TICK
from tsdb.cluster.replication.record import Record
from tsdb.cluster.replication.state import Role

if TYPE_CHECKING:
    from tests.sim_replication.node import Hosted
    from tests.sim_replication.world import World


class Operator:
    """Acts once a tick. ``dead`` are replicas whose disks were lost."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dead: set[int] = set()
        self.locations_max = 5

    def leader_of(self, record: Record) -> Hosted | None:
        """The replica that leads the location's epoch, if it runs."""
        hosted = self._hosted(record.location, record.leader)
        if hosted is not None and hosted.replica.standing == (Role.LEADER, record.epoch, True):
            return hosted
        return None

    def _hosted(self, location: int, replica: int) -> Hosted | None:
        node = self.world.nodes[node_of(replica)]
        hosted = node.hosted.get(location)
        return hosted if hosted is not None and hosted.id == replica and node.up else None

    def act(self) -> None:
        odds, chance = self.world.odds, self.world.chance
        for location in [record.location for record in self.world.metadata.living()]:
            record = self.world.metadata.records[location]
            if self._fail_over(record) or self.world.healed:
                continue
            draw = chance.random()
            if draw < odds.assign:
                self._reassign(record)
            elif draw < odds.assign + odds.learn:
                self._learn(record)
            elif chance.random() < 0.05:
                self._mark(record)
            elif chance.random() < odds.move:
                self._move(record)
            elif chance.random() < odds.split:
                self._split(record)
            elif chance.random() < odds.merge:
                self._merge(record)
        if not self.world.healed and chance.random() < odds.wipe:
            self._wipe()

    def _fail_over(self, record: Record) -> bool:
        """The leader is gone or does not get anywhere: anybody else, as a real solver would not choose."""
        chance = self.world.chance
        since = self.world.now - self.world.metadata.assigned_at[record.location]
        cut_off = any(node_of(record.leader) in pair for pair in self.world.blocked)
        if cut_off and chance.random() < 0.15 and record.wanted is None:
            there = [v for v in record.voters if v not in self.dead and self.world.nodes[node_of(v)].up]
            if there:
                self.world.metadata.assign(record, chance.choice(there), record.voters, record.learners)
            return True
        if self.leader_of(record) is not None and not self._is_stalled(record):
            return False
        patience = 30 if self.world.healed else chance.choice((5, 10, 40))
        if since < patience * TICK:
            return False
        voters = tuple(v for v in record.voters if v not in self.dead)
        if len(voters) <= len(record.voters) // 2 or (self.world.healed and len(voters) < len(record.voters)):
            nodes = [node_of(v) for v in voters]
            voters = (*voters, *self._new(record, nodes, len(record.voters) - len(voters)))
        else:
            voters = record.voters
        running = [v for v in voters if v not in self.dead and self.world.nodes[node_of(v)].up]
        if running:
            self.world.metadata.assign(record, chance.choice(running), voters, record.learners)
        return True

    def _is_stalled(self, record: Record) -> bool:
        return any(v in self.dead for v in record.voters) and (self.world.healed or self.world.chance.random() < 0.1)

    def _new(self, record: Record, taken: list[int], count: int) -> list[int]:
        nodes = [n for n in self.world.nodes if n not in taken]
        return [
            self.world.metadata.replica_on(record, n) for n in self.world.chance.sample(nodes, min(count, len(nodes)))
        ]

    def _reassign(self, record: Record) -> None:
        """Any voters, any leader: the protocol does not mind."""
        chance = self.world.chance
        if record.wanted is not None:
            voters = [v for v in record.voters if v not in self.dead]
            if voters:
                self.world.metadata.assign(record, chance.choice(voters), record.voters, record.learners)
            return
        keep = [node_of(v) for v in record.voters if chance.random() < 0.7]
        others = [n for n in self.world.nodes if n not in keep]
        count = max(self.world.odds.factor - len(keep), 0)
        nodes = keep + chance.sample(others, min(count, len(others)))
        if nodes:
            voters = [self.world.metadata.replica_on(record, n) for n in nodes]
            self.world.metadata.assign(record, chance.choice(voters), tuple(voters))

    def _learn(self, record: Record) -> None:
        others = [n for n in self.world.nodes if n not in [node_of(v) for v in record.voters]]
        if others and record.wanted is None:
            replica = self.world.metadata.replica_on(record, self.world.chance.choice(others))
            self.world.metadata.set_learners(record, (replica,) if replica not in record.voters else ())

    def _move(self, record: Record) -> None:
        leader = self.leader_of(record)
        if leader is not None:
            to = self.world.chance.choice(record.voters)
            node = self.world.nodes[node_of(leader.id)]
            node.feed(lambda: leader.replica.abdicate(to), leader)

    def _mark(self, record: Record) -> None:
        leader = self.leader_of(record)
        if leader is not None:
            node = self.world.nodes[node_of(leader.id)]
            node.feed(lambda: leader.replica.mark(int(self.world.now)), leader)

    def _split(self, record: Record) -> None:
        few = len(self.world.metadata.living()) < self.locations_max
        if few and record.high - record.low > 1 and record.wanted is None:
            self.world.metadata.want_split(record)

    def _merge(self, record: Record) -> None:
        """Two neighbours on the same nodes, neither of them between two configurations."""
        for other in self.world.metadata.living():
            if other.low != record.high or record.wanted is not None or other.wanted is not None:
                continue
            nodes = [sorted(node_of(v) for v in each.voters) for each in (record, other)]
            settled = all(each.epoch == each.active_epoch and not each.learners for each in (record, other))
            if settled and nodes[0] == nodes[1] and self.dead.isdisjoint((*record.voters, *other.voters)):
                self.world.metadata.want_merge(record, other)
                return
            if settled and nodes[0] != nodes[1] and self.world.chance.random() < 0.5:
                voters = tuple(
                    self.world.metadata.replica_on(other, node_of(v)) for v in record.voters
                )  # fmt: skip
                self.world.metadata.assign(other, voters[0], voters)
                return

    def _wipe(self) -> None:
        """A node's disk is lost, where no location loses a majority of the voters that count by it."""
        node = self.world.nodes[self.world.chance.choice(list(self.world.nodes))]
        lost = {hosted.id for hosted in node.hosted.values()}
        for record in self.world.metadata.records.values():
            here = {v for v in record.active_voters if node_of(v) == node.id}
            gone = [v for v in record.active_voters if v in self.dead or v in here]
            if here and (len(gone) > (len(record.active_voters) - 1) // 2 or len(gone) > 1):
                return
            if here and record.retired is not None and not self._is_succeeded(record):
                return
            if here and record.wanted is not None:
                return
            # Its next voters may have made their epoch active, and the metadata not know it yet.
            nexts = [v for v in record.voters if v in self.dead or node_of(v) == node.id]
            if record.active_epoch != record.epoch and len(nexts) > (len(record.voters) - 1) // 2:
                return
            if here and record.location in self.world.metadata.parents and record.active_epoch != record.epoch:
                return
        if not node.up:
            return
        node.crash()
        for record in self.world.metadata.records.values():
            lost |= {v for v in (*record.voters, *record.learners, *record.active_voters) if node_of(v) == node.id}
        self.dead |= lost
        node.lose_disk()
        self.world.checks.count("wiped")

    def _is_succeeded(self, record: Record) -> bool:
        """Whether every location that came from this one has an active epoch of its own."""
        children = [c for c, parents in self.world.metadata.parents.items() if record.location in parents]
        records = [self.world.metadata.records[child] for child in children]
        return all(each.active_epoch > record.epoch + 1 or each.retired is not None for each in records)
