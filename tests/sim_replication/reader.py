"""Reads at all levels, at any replica that is there; what each had to see is noted when it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.sim_replication.checks import Broken
from tests.sim_replication.metadata import node_of
from tests.sim_replication.odds import TICK
from tsdb.cluster.replication.clients import Answer, ReadAt, TokenReverted

if TYPE_CHECKING:
    from tests.sim_replication.node import Hosted, Node
    from tests.sim_replication.world import World


@dataclass(frozen=True)
class Begun:
    """A read that waits: what it has to see at least, whether the location was succeeded already, and its token."""

    level: str
    floor: int
    succeeded: bool
    token: tuple[int, int] = (0, 0)


class Reader:
    def __init__(self, world: World) -> None:
        self.world = world
        self._begun: dict[int, Begun] = {}

    def _someone(self, location: int | None = None) -> tuple[Node, Hosted] | None:
        there = [
            (node, hosted)
            for node in self.world.nodes.values()
            if node.up
            for hosted in node.hosted.values()
            if location is None or hosted.location == location
        ]
        return self.world.chance.choice(there) if there else None

    def act(self) -> None:
        chance, checks = self.world.chance, self.world.checks
        if chance.random() >= self.world.odds.read or (found := self._someone()) is None:
            return
        node, hosted = found
        location, number = hosted.location, self.world.number()
        if chance.random() < 0.6:
            record = self.world.metadata.records[location]
            leaders = [e for (place, e) in checks.leaders if place == location]
            leader = checks.leaders[location, chance.choice(leaders)] if leaders else record.leader
            other = self.world.nodes[node_of(leader)]
            if other.up and location in other.hosted:
                node, hosted = other, other.hosted[location]
            self._begun[number] = Begun("linearizable", checks.floor(location), checks.is_succeeded(location))
            node.feed(lambda: hosted.replica.read(number), hosted)
        else:
            oldest = self.world.now - chance.choice((5, 20)) * TICK
            floor, succeeded = checks.floor(location, oldest), checks.is_succeeded(location, oldest)
            self._begun[number] = Begun("bounded", floor, succeeded)
            node.feed(lambda: hosted.replica.read_since(number, int(oldest)), hosted)

    def read_after(self, location: int, epoch: int, sequence: int) -> None:
        found = self._someone(location)
        if found is not None:
            node, hosted = found
            number = self.world.number()
            self._begun[number] = Begun("session", 0, False, (epoch, sequence))
            node.feed(lambda: hosted.replica.read_after(number, epoch, sequence, 20), hosted)

    def answered(self, hosted: Hosted, answer: Answer) -> None:
        begun = self._begun.pop(answer.id)
        if isinstance(answer, TokenReverted):
            if self.world.checks.committed[hosted.location].get(begun.token[1]) in (None, begun.token[0]):
                raise Broken(f"op {begun.token} of location {hosted.location} is told to be reverted")
            return
        if not isinstance(answer, ReadAt):
            return
        self.world.checks.count(begun.level)
        name = f"a {begun.level} read of location {hosted.location}"
        applied = hosted.replica.log_end[3]
        if begun.succeeded:
            raise Broken(f"{name} at {answer.sequence} misses what its successors have acknowledged")
        if answer.sequence < begun.floor:
            raise Broken(f"{name} at {answer.sequence} misses what was acknowledged up to {begun.floor}")
        if applied < answer.sequence:
            raise Broken(f"{name} at {answer.sequence} is done with {applied} applied")
        if begun.level == "session":
            epoch, sequence = begun.token
            if self.world.checks.committed[hosted.location].get(sequence) != epoch:
                raise Broken(f"{name} is after {begun.token}, which is not there")
        elif begun.level == "linearizable":
            self.world.checks.seen(hosted.location, answer.sequence)
