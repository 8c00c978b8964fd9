"""Time, the network and the faults of the simulated world, and its clients. One ``World`` is one run of one seed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable

from tests.sim.carrier import Carrier
from tests.sim.checks import Broken, Checks
from tests.sim.client import Client
from tests.sim.disk import Disk
from tests.sim.kept import Kept
from tests.sim.member import Member
from tests.sim.metadata_client import MetadataClient
from tests.sim.odds import TICK, Odds
from tests.sim.operator import Operator
from tests.sim.record_client import RecordClient
from tests.sim.registers import Registers, Write, command
from tsdb.cluster.raft.entries import Configuration
from tsdb.cluster.raft.messages import InstallSnapshot, Message


class World:
    """Run it with ``run``; it raises Broken or AssertionError where something is wrong."""

    def __init__(self, seed: int, odds: Odds | None = None, metadata_clients: int = 0, record_clients: int = 0) -> None:
        self.chance = random.Random(seed)
        self.odds = odds or Odds.drawn(self.chance)
        self.now = 0.0
        self.healed = False
        self.machine: Callable[[Disk], Registers] = Kept if metadata_clients or record_clients else Registers
        self.moments = 0
        self._events: list[tuple[float, int, Callable[[], None], Member | None, int]] = []
        self._numbers = 0
        self.blocked: set[tuple[int, int]] = set()
        self.checks = Checks(self)
        self.members: dict[int, Member] = {}
        count = self.odds.voters + self.odds.learners
        voters = tuple(range(1, self.odds.voters + 1))
        learners = tuple(range(self.odds.voters + 1, count + 1))
        for node in range(1, count + self.odds.spares + 1):
            member = self.add_member()
            if node <= count:
                member.bootstrap(Configuration(voters, (), learners))
            member.start()
        self.operator = Operator(self)
        self.clients: list[Client | MetadataClient | RecordClient] = [
            Client(self, n) for n in range(1, self.odds.clients + 1)
        ]
        self.clients += [MetadataClient(self, number) for number in range(1, metadata_clients + 1)]

        self.clients += [RecordClient(self, number) for number in range(1, record_clients + 1)]

    def add_member(self) -> Member:
        member = Member(self, len(self.members) + 1)
        self.members[member.id] = member
        return member

    # Time

    def later(self, delay: float, event: Callable[[], None], member: Member | None = None) -> None:
        """Have something happen; not if the member's process is another by then."""
        self._numbers += 1
        life = member.life if member else 0
        heapq.heappush(self._events, (self.now + delay, self._numbers, event, member, life))

    def moment(self) -> int:
        """A number for now: later moments have higher ones."""
        self.moments += 1
        return self.moments

    def _until(self, time: float, done: Callable[[], bool] = lambda: False) -> bool:
        steps = 0
        while self._events and self._events[0][0] <= time:
            self.now, _, event, member, life = heapq.heappop(self._events)
            if member is None or (member.up and member.life == life):
                event()
            steps += 1
            if steps % 16 == 0 and done():
                return True
        self.now = time
        return done()

    # Network

    def odds_now(self, name: str) -> float:
        return 0.0 if self.healed else float(getattr(self.odds, name))

    def send(self, sender: Member, messages: Iterable[Message]) -> None:
        for message in messages:
            self.checks.sent(sender, message)
            if isinstance(message, InstallSnapshot):
                Carrier(self, sender, message)
                continue
            if (sender.id, message.to) in self.blocked or self.chance.random() < self.odds_now("drop"):
                continue
            for _ in range(1 + (self.chance.random() < self.odds_now("double"))):
                self.later(self.delay(), lambda message=message: self._deliver(message))  # type: ignore[misc]

    def delay(self) -> float:
        if self.healed:
            return self.chance.uniform(0.5, 2)
        if self.chance.random() < self.odds.late:
            return self.chance.uniform(0, self.odds.late_max)
        return self.chance.uniform(0.5, self.odds.delay_max)

    def _deliver(self, message: Message) -> None:
        member = self.members.get(message.to)
        if member is not None:
            member.receive(message)

    def slowness(self) -> float:
        """How long a write takes now."""
        if self.chance.random() < self.odds_now("slow"):
            return self.chance.uniform(0, self.odds.slow_max)
        return 0.0

    # What members tell

    def has_applied(self, member: Member) -> None:
        for client in self.clients:
            client.has_applied(member)

    def read_is_at(self, member: Member, context: bytes, index: int) -> None:
        for client in self.clients:
            client.read_is_at(member, context, index)

    # Faults

    def _fault(self) -> None:
        if self.healed:
            return
        chance, odds = self.chance, self.odds
        for member in list(self.members.values()):
            if member.up and chance.random() < odds.crash:
                member.crash()
            elif not member.up and chance.random() < 0.1:
                member.start()
            elif member.up and chance.random() < odds.truncate:
                self._truncate(member)
        if chance.random() < odds.burst:
            self._burst(chance.choice(list(self.members.values())))
        if chance.random() < odds.cut:
            self._cut()
        elif self.blocked and chance.random() < 0.1:
            self.blocked = set()
        self.operator.act()
        self.later(TICK, self._fault)

    def _burst(self, member: Member) -> None:
        leader = self.operator.leader()
        if leader is not None and self.chance.random() < 0.7:
            member = leader
        for _ in range(self.chance.randint(1, 4)):
            number = self.moment()
            member.ask(lambda number=number: member.node.propose(command(Write(0, number, -1, number))))

    def _truncate(self, member: Member) -> None:
        matches = [p.match for p in member.node.status.members.values() if p.recent_active]
        member.store.log.truncate(int(self.now), matches, self.odds.keep_bytes)

    def _cut(self) -> None:
        """One node from the others, two halves, or single links; both ways or one."""
        nodes = list(self.members)
        one_way = self.chance.random() < 0.4
        kind = self.chance.randrange(3)
        if kind == 2:
            pairs = [(a, b) for a in nodes for b in nodes if a != b and self.chance.random() < 0.3]
        else:
            size = 1 if kind == 0 else max(1, len(nodes) // 2)
            side = set(self.chance.sample(nodes, size))
            leader = self.operator.leader()
            if leader is not None and self.chance.random() < 0.5:
                side.add(leader.id)
            pairs = [(a, b) for a in nodes for b in nodes if a in side and b not in side]
        self.blocked = set(pairs) if one_way else {*pairs, *((b, a) for a, b in pairs)}

    # The run

    def run(self) -> None:
        """Faults, then none: then everybody must come to the same state, and clients must be served."""
        self._fault()
        for client in self.clients:
            self.later(self.chance.uniform(0, 5 * TICK), client.act)
        self._until(self.odds.ticks * TICK)
        self.checks.whole()
        self.heal()
        election = int(str(self.odds.settings["election_ticks"]))
        limit = self.now + 60 * election * TICK
        for client in self.clients:
            client.begin_last()
        if not self._until(limit, self._is_settled):
            raise Broken(f"no progress after the faults: {self.describe()}")
        self.checks.whole()
        for client in self.clients:
            client.give_up()
        self.checks.histories()
        for member in self.operator.current_members() or ():
            self.checks.metadata(member)

    def heal(self) -> None:
        self.healed = True
        self.blocked = set()
        for member in self.members.values():
            member.start()
        self.operator.heal()

    def _is_settled(self) -> bool:
        if not all(client.served for client in self.clients):
            return False
        members = self.operator.current_members()
        if members is None:
            return False
        applied = {(m.store.applied, m.machine.fingerprint()) for m in members}
        return len(applied) == 1

    def describe(self) -> str:
        lines = [f"seed's odds {self.odds}"]
        for member in self.members.values():
            if member.up:
                status = member.node.status
                progress = {node: str(p) for node, p in status.members.items()}
                lines.append(
                    f"{status.node} {status.role.name} term {status.term} leader {status.leader} committed "
                    f"{status.committed} applied {member.store.applied} {status.configuration} {progress}"
                )
        lines += [f"client {c.number} served {c.served}" for c in self.clients]
        return "\n  ".join(lines)
