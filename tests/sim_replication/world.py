"""Time, the network and the faults of the simulated world, its clients and readers. One ``World`` is one run."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from tests.sim_replication.checks import Broken, Checks
from tests.sim_replication.client import Client, Request
from tests.sim_replication.metadata import Metadata, node_of
from tests.sim_replication.node import Hosted, Node, Row, encode
from tests.sim_replication.odds import TICK, Odds
from tests.sim_replication.operator import Operator
from tests.sim_replication.reader import Reader
from tsdb.cluster.replication.clients import Answer, Fate, Write
from tsdb.cluster.replication.messages import Message
from tsdb.cluster.replication.record import Record
from tsdb.cluster.replication.record import Request as Asked
from tsdb.cluster.replication.state import Role

T = TypeVar("T")


class World:
    """Run it with ``run``; it raises Broken or AssertionError where something is wrong."""

    def __init__(self, seed: int, factor: int, odds: Odds | None = None) -> None:
        self.chance = random.Random(seed * 8 + factor)
        self.odds = odds or Odds.drawn(self.chance, factor)
        self.now = 0.0
        self.healed = False
        self._events: list[tuple[float, int, Callable[[], object], Node | None, int]] = []
        self._numbers = 0
        self.blocked: set[tuple[int, int]] = set()
        self.checks = Checks(self)
        self.metadata = Metadata(self)
        self.operator = Operator(self)
        self.requests: dict[int, Request] = {}
        self.weak: list[tuple[int, int, int, list[Row]]] = []
        """Writes that less than a quorum acknowledged: (location, epoch, sequence, rows)."""
        self.nodes = {n: Node(self, n) for n in range(1, self.odds.nodes + 1)}
        self.metadata.found(self.odds.locations, factor, self.nodes)
        for node in self.nodes.values():
            node.start()
        self.reader = Reader(self)
        self.clients = [Client(self) for _ in range(self.odds.clients)]

    # Time

    def later(self, delay: float, event: Callable[[], object], node: Node | None = None) -> None:
        """Have something happen; not if the node's process is another by then."""
        self._numbers += 1
        heapq.heappush(self._events, (self.now + delay, self._numbers, event, node, node.life if node else 0))

    def number(self) -> int:
        """One that nobody else has."""
        self._numbers += 1
        return self._numbers

    def _until(self, time: float, done: Callable[[], bool] = lambda: False) -> bool:
        steps = 0
        while self._events and self._events[0][0] <= time:
            self.now, _, event, node, life = heapq.heappop(self._events)
            if node is None or (node.up and node.life == life):
                event()
            steps += 1
            if steps % 64 == 0 and done():
                return True
        self.now = time
        return done()

    # Network

    def odds_now(self, name: str) -> float:
        return 0.0 if self.healed else float(getattr(self.odds, name))

    def send(self, sender: Node, messages: Iterable[Message]) -> None:
        for message in messages:
            self.checks.sent(message)
            to = node_of(message.to)
            if (sender.id, to) in self.blocked or self.chance.random() < self.odds_now("drop"):
                continue
            for _ in range(1 + (self.chance.random() < self.odds_now("double"))):
                self.later(self._delay(), lambda message=message, to=to: self.nodes[to].receive(message))  # type: ignore[misc]

    def travel(self, to: Callable[[], T], event: Callable[[T], object]) -> None:
        """Something that is said once, and may be lost, late, or heard twice."""
        if self.chance.random() < self.odds_now("drop"):
            return
        for _ in range(1 + (self.chance.random() < self.odds_now("double"))):
            self.later(self._delay(), lambda: event(to()))

    def _delay(self) -> float:
        if self.healed:
            return self.chance.uniform(0.5, 2)
        if self.chance.random() < self.odds.late:
            return self.chance.uniform(0, self.odds.late_max)
        return self.chance.uniform(0.5, self.odds.delay_max)

    def slowness(self) -> float:
        """How long a write takes now."""
        if self.chance.random() < self.odds_now("slow"):
            return self.chance.uniform(0, self.odds.slow_max)
        return 0.0

    # Metadata

    def published(self, record: Record) -> None:
        for node in list(getattr(self, "nodes", {}).values()):
            self.travel(lambda node=node: node, lambda node: node.up and node.learn(record))  # type: ignore[misc]

    def ask_metadata(self, request: Asked) -> None:
        self.travel(lambda: self.metadata, lambda metadata: metadata.asked(request))

    # Clients

    def answered(self, node: Node, hosted: Hosted, answer: Answer) -> None:
        request = self.requests.get(answer.id)
        if request is not None and request.client is not None:
            request.client.answered(node, hosted, request, answer)
        elif request is None:
            self.reader.answered(hosted, answer)

    def read_after(self, location: int, epoch: int, sequence: int) -> None:
        self.reader.read_after(location, epoch, sequence)

    # Faults

    def _fault(self) -> None:
        chance, odds = self.chance, self.odds
        if not self.healed:
            for node in self.nodes.values():
                if node.up and chance.random() < odds.crash:
                    node.crash()
                elif not node.up and chance.random() < 0.1:
                    node.start()
            if chance.random() < odds.cut:
                self._cut()
            elif self.blocked and chance.random() < 0.1:
                self.blocked = set()
            if chance.random() < odds.burst:
                self._burst()
            if chance.random() < odds.close:
                self.metadata.close_session(chance.choice(self.clients).session)
            for _ in range(2):
                self.reader.act()
        for node in self.nodes.values():
            for hosted in list(node.hosted.values()) if node.up else ():
                if chance.random() < odds.flush:
                    node.flush(hosted)
                elif chance.random() < odds.forget * 0.3:
                    node.forget(hosted)
        self._forget_sessions()
        self.operator.act()
        self.later(TICK, self._fault)

    def _burst(self) -> None:
        """A few writes at once that nobody waits for: where they end on a leader that is cut off, logs differ."""
        leaders = [
            (node, hosted)
            for node in self.nodes.values()
            for hosted in node.hosted.values()
            if node.up and hosted.replica.standing[0] is Role.LEADER
        ]
        if not leaders:
            return
        node, hosted = self.chance.choice(leaders)
        record = self.metadata.records[hosted.location]
        for _ in range(self.chance.randint(1, 4)):
            number = self.number()
            rows = [(0, number, record.low)]
            write = Write(number, record.low, record.high, record.map_version, encode(rows), 1, acks=0)
            self.requests[number] = Request(None, hosted.location, write, rows)
            node.feed(partial(hosted.replica.write, write), hosted)

    def _forget_sessions(self) -> None:
        ended = [(client, index) for client, index in self.metadata.sessions.items() if index]
        for client, index in ended:
            for record in self.metadata.living():
                leader = self.operator.leader_of(record)
                if leader is not None and self.chance.random() < 0.3:
                    node = self.nodes[node_of(leader.id)]
                    node.feed(partial(leader.replica.forget, client, index), leader)

    def _cut(self) -> None:
        """One node from the others, two halves, or single links; both ways or one."""
        nodes = list(self.nodes)
        one_way = self.chance.random() < 0.4
        kind = self.chance.randrange(3)
        if kind == 2:
            pairs = [(a, b) for a in nodes for b in nodes if a != b and self.chance.random() < 0.3]
        else:
            side = set(self.chance.sample(nodes, 1 if kind == 0 else max(1, len(nodes) // 2)))
            if self.chance.random() < 0.6:
                # With its leader: what a location's log gets there is what nobody else has.
                side = {node_of(self.chance.choice(self.metadata.living()).leader)}
            pairs = [(a, b) for a in nodes for b in nodes if a in side and b not in side]
        self.blocked = set(pairs) if one_way else {*pairs, *((b, a) for a, b in pairs)}

    # The run

    def run(self) -> None:
        """Faults, then none: then everybody must come to the same state, and clients must be served."""
        self._fault()
        for client in self.clients:
            self.later(self.chance.uniform(0, 5 * TICK), client.begin)
        self._until(self.odds.ticks * TICK)
        self.heal()
        served = [client.served for client in self.clients]
        if not self._until(self.now + 800 * TICK, lambda: self._is_settled(served)):
            raise Broken(f"no progress after the faults: {self.describe()}")
        self.checks.whole()
        self._look_at_weak()

    def heal(self) -> None:
        self.healed = True
        self.blocked = set()
        for node in self.nodes.values():
            node.start()

    def _is_settled(self, served: list[int]) -> bool:
        if any(client.served < count + 2 for client, count in zip(self.clients, served, strict=True)):
            return False
        for record in self.metadata.living():
            leader = self.operator.leader_of(record)
            if leader is None or record.wanted is not None:
                return False
            for replica in record.voters:
                hosted = self.nodes[node_of(replica)].hosted.get(record.location)
                if hosted is None or hosted.id != replica or hosted.replica.log_end != leader.replica.log_end:
                    return False
            if leader.replica.log_end[1] != leader.replica.log_end[2]:
                return False
        return True

    def _look_at_weak(self) -> None:
        """Of every write that was acknowledged at all a leader can say whether it is there, and is right."""
        for location, epoch, sequence, rows in self.weak:
            record = self.metadata.records[location]
            leader = self.operator.leader_of(record)
            if leader is None:
                continue
            fate = leader.replica.confirm(epoch, sequence)
            there = self.checks.committed[location].get(sequence) == epoch
            if fate is not (Fate.COMMITTED if there else Fate.REVERTED):
                raise Broken(f"{fate} of op {sequence} of epoch {epoch} of location {location}")
            if fate is Fate.COMMITTED and any(row not in self.checks.written for row in rows):
                raise Broken(f"op {sequence} of location {location} is committed without {rows}")
            self.checks.count(fate.name)

    def describe(self) -> str:
        lines = [f"{self.odds}"]
        for record in self.metadata.living():
            lines.append(f"{record}")
            for replica in record.voters:
                hosted = self.nodes[node_of(replica)].hosted.get(record.location)
                if hosted is None or hosted.id != replica:
                    lines.append(f"  {replica}: not there (dead: {replica in self.operator.dead})")
                else:
                    state = hosted.replica._state
                    lines.append(
                        f"  {replica}: {hosted.replica.standing} {hosted.replica.log_end} {state.log.vector.ends()}"
                    )
        lines += [f"client {c.session} served {c.served} batch {c.batch} parts {c.parts}" for c in self.clients]
        return "\n  ".join(lines)
