"""Reads at all levels, at any replica that is there; what each had to see is noted when it begins.

A statement opens a version of the data first, and puts its question later: it may go on with that version if the answer
says that it is new enough.
"""

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
class Opened:
    """A version: what is applied in it, and what a read that begins with it has to see at least."""

    applied: int
    floor: int


@dataclass(frozen=True)
class Begun:
    """A read that waits: what it has to see at least, whether the location was succeeded already, and its token."""

    level: str
    opened: Opened
    floor: int = 0
    succeeded: bool = False
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
        """Open a version somewhere; a question about it follows at once or later."""
        chance, checks = self.world.chance, self.world.checks
        if chance.random() >= self.world.odds.read or (found := self._someone()) is None:
            return
        node, hosted = found
        location = hosted.location
        level = chance.choices(("linearizable", "bounded", "any"), (6, 3, 1))[0]
        oldest = self.world.now - chance.choice((5, 20)) * TICK
        if level == "linearizable":
            record = self.world.metadata.records[location]
            leaders = [e for (place, e) in checks.leaders if place == location]
            leader = checks.leaders[location, chance.choice(leaders)] if leaders else record.leader
            other = self.world.nodes[node_of(leader)]
            if other.up and location in other.hosted:
                node, hosted = other, other.hosted[location]
        since = None if level == "linearizable" else oldest
        floor = 0 if level == "any" else checks.floor(location, since)
        opened = Opened(hosted.replica.log_end[3], floor)
        wait = chance.choice((0, 0, 1, 10)) * TICK
        self.world.later(wait, lambda: self._ask(node, hosted, level, opened, oldest), node)

    def _ask(self, node: Node, hosted: Hosted, level: str, opened: Opened, oldest: float) -> None:
        location, replica, checks = hosted.location, hosted.replica, self.world.checks
        if node.hosted.get(location) is not hosted:
            return
        number = self.world.number()
        if level == "any":
            self._begun[number] = Begun(level, opened)
            node.feed(lambda: replica.read_anything(number), hosted)
        elif level == "bounded":
            succeeded = checks.is_succeeded(location, oldest)
            self._begun[number] = Begun(level, opened, checks.floor(location, oldest), succeeded)
            node.feed(lambda: replica.read_since(number, int(oldest)), hosted)
        else:
            self._begun[number] = Begun(level, opened, checks.floor(location), checks.is_succeeded(location))
            node.feed(lambda: replica.read(number), hosted)

    def read_after(self, location: int, epoch: int, sequence: int) -> None:
        found = self._someone(location)
        if found is not None:
            node, hosted = found
            number = self.world.number()
            opened = Opened(hosted.replica.log_end[3], sequence)
            self._begun[number] = Begun("session", opened, token=(epoch, sequence))
            node.feed(lambda: hosted.replica.read_after(number, epoch, sequence, 20), hosted)

    def answered(self, hosted: Hosted, answer: Answer) -> None:
        begun = self._begun.pop(answer.id)
        if isinstance(answer, TokenReverted):
            committed, (epoch, sequence) = self.world.checks.committed[hosted.location], begun.token
            last = max(committed, default=0)
            # With an op of a later epoch committed before it, it cannot come any more.
            if committed.get(sequence) == epoch or (sequence > last and committed.get(last, 0) <= epoch):
                raise Broken(f"op {begun.token} of location {hosted.location} is told to be reverted")
            return
        if not isinstance(answer, ReadAt):
            return
        self.world.checks.count(begun.level)
        name = f"a {begun.level} read of location {hosted.location}"
        committed = self.world.checks.committed.get(hosted.location, {})
        applied = hosted.replica.log_end[3]
        if begun.succeeded:
            raise Broken(f"{name} at {answer.sequence} misses what its successors have acknowledged")
        if answer.sequence < begun.floor:
            raise Broken(f"{name} at {answer.sequence} misses what was acknowledged up to {begun.floor}")
        if applied < answer.sequence:
            raise Broken(f"{name} at {answer.sequence} is done with {applied} applied")
        if begun.opened.floor > begun.opened.applied >= answer.needs:
            raise Broken(f"{name} goes on with {begun.opened}, which is said to need {answer.needs}")
        if answer.sequence and committed.get(answer.sequence) != answer.epoch:
            raise Broken(f"{name} is at op {answer.sequence} of epoch {answer.epoch}, which is not there")
        if begun.level == "linearizable":
            self.world.checks.seen(hosted.location, answer.sequence)
        if self.world.chance.random() < 0.3:
            # The session goes on at another replica, and must see there what it has seen here.
            self.read_after(hosted.location, *hosted.replica.applied)
