"""Hosts of five nodes under the real metadata: a replicated database moves between them while everything goes wrong."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tests.metadata.test_rules import Cluster
from tests.replicas.hosts import Process, World
from tsdb.cluster.metadata.commands import (
    Assign,
    ChangeMember,
    ChangeSchema,
    SetGoals,
    SetReplication,
    Share,
    SpreadDatabase,
)
from tsdb.cluster.metadata.records import Interval, LocationRecord, Member, Ring
from tsdb.cluster.replicas.failover import Failover
from tsdb.cluster.replicas.moving import (
    Arc,
    Waiting,
    arcs,
    changes,
    heirs_by_goal,
    heirs_of,
    next_epoch,
    next_steps,
)
from tsdb.cluster.replicas.packets import unpack
from tsdb.cluster.replicas.records import node_of, replica_on, shared_locations, spread_locations
from tsdb.cluster.replicas.requests import actions_of
from tsdb.cluster.replication.clients import Answer, Written
from tsdb.cluster.replication.messages import Snapshot
from tsdb.cluster.replication.ops import LocationState
from tsdb.errors import SerializationFailure
from tsdb.model.schema import CreateDatabase

MEMBERS = (1, 2, 3, 4, 5)
DATABASE = 2


@dataclass
class Copy:
    """On its way: what its sender had, and for whom. ``Copied`` of the host."""

    process: Process
    wanted: dict[int, int]
    states: Mapping[int, LocationState]
    rows: dict[int, list[bytes]]
    source: int

    def check_tagsets(self) -> None: ...

    def lacks_deletions(self, database: int, counter: int, locations: Collection[int]) -> None: ...

    def put(self, batch: Any) -> None: ...

    def installed(self) -> None:
        for location, rows in self.rows.items():
            assert not self.process.visible.get(location), "a copy takes the place of nothing"
            assert location not in self.process.masked, "a mask would hide the points of the copy"
            self.process.visible[location] = [*rows]
            self.process.blocks[location] = [*rows]


class Moving(World):
    """One seed is one run. ``alone``: it begins with a node that has it for itself, and several are to have it.
    ``spread``: its ring is cut into arcs meanwhile, and gathered."""

    def __init__(self, seed: int, factor: int = 3, *, alone: bool = False, spread: bool = False) -> None:
        self.chance = random.Random(seed)
        self.network = []
        self.requests = []
        self.schema = 0
        self.cluster = Cluster(len(MEMBERS))
        assert self.cluster.do(SetReplication(0, 1 if alone else factor)) == ()
        self.cluster.do(ChangeSchema.of([CreateDatabase("shared")]))
        self.failover = Failover()
        self.now = 0.0
        self.lost: set[int] = set()
        self.away: set[int] = set()
        self.copies: list[Copy] = []
        self.installed = self.begun_again = self.handed = self.reached = 0
        self.told: dict[bytes, list[Answer]] = {}
        self.loss = self.chance.choice([0.0, 0.1, 0.3])
        self.number = 0
        self.spread, self.cleaned = spread, 0
        self.cleans = True
        """Whether compaction takes what left."""
        self.nodes = {node: Process(self, node, 0) for node in MEMBERS}
        if alone:
            self._begin_alone(factor)

    def _begin_alone(self, factor: int) -> None:
        """Until the metadata say that others can have it as well, which its node has not heard."""
        locations = [each for each in self.state.all(LocationRecord) if each.database == DATABASE]
        process = self[locations[0].leader]
        for _ in range(self.chance.randint(1, 30)):
            self.own_write(process, self.chance.choice(locations).location)
            if self.chance.random() < 0.1:
                process.flush(*process.freeze())
        assert self.cluster.do(SetReplication(DATABASE, factor)) == ()
        assert self.cluster.do(Share(DATABASE)) == ()

    def own_write(self, process: Process, location: int) -> None:
        """Into a log that is this node's alone: it is acknowledged when it is there."""
        own = process.own.setdefault(location, [])
        self.number += 1
        body = b"%d at %d" % (self.number, location)
        own.append(body)
        process.visible.setdefault(location, []).append(body)
        self.told[body] = [Written(0, 1, len(own), 1)]

    @property
    def state(self) -> Any:
        return self.cluster.machine.state

    @property
    def records(self) -> Mapping[int, tuple[LocationRecord, Interval]]:  # type: ignore[override]
        return shared_locations(self.state)

    @property
    def arcs(self) -> Mapping[int, int]:  # type: ignore[override]
        return spread_locations(self.state)

    @property
    def all_arcs(self) -> list[Arc]:
        return [*arcs(self.state)]

    @property
    def database(self) -> Arc:
        (found,) = self.all_arcs
        return found

    # One step

    def step(self) -> None:
        kinds = {
            "deliver": 14, "tick": 6, "write": 6, "crash": 0.6, "assign": 0.2, "flush": 2, "tell": 4, "ask": 3,
            "move": 2, "copy": 3, "finish": 3, "leave": 2, "drain": 0.3, "lose": 0.2, "factor": 0.05,
            "goal": 0.2, "hand": 2, "cut": 0.4 * self.spread,
        }  # fmt: skip
        getattr(self, f"_{self.chance.choices([*kinds], [*kinds.values()])[0]}")()

    def _some(self) -> Process:
        return self[self.chance.choice([node for node in MEMBERS if node not in self.away])]

    def _deliver(self) -> None:
        self.chance.shuffle(self.network)
        for _ in range(min(len(self.network), 12)):
            sender, to, packet = self.network.pop()
            if {sender, to} & self.away or self.chance.random() < self.loss:
                continue
            if self.chance.random() < 0.1:
                self.network.insert(0, (sender, to, packet))
            self[to].host.step(unpack(packet, sender, to))
            self[to].turn()

    def _tick(self) -> None:
        self._some().tick()

    def _write(self) -> None:
        location = self.chance.choice([*self.records])
        node = self.records[location][0].leader
        if node in self.away:
            return
        if self[node].own and not self[node].host.known:
            # It has not heard yet that others are to have it.
            self.own_write(self[node], location)
            return
        self.number += 1
        body = b"%d at %d" % (self.number, location)
        self.told[body] = self[node].write(location, body, patience=self.chance.randint(0, 5))
        self[node].turn()

    def _crash(self) -> None:
        process = self._some()
        self.copies = [each for each in self.copies if each.process is not process and each.source != process.node]
        process.crash()

    def _assign(self) -> None:
        self.cluster.do(
            Assign(tuple(self.failover.decide(self.state, lambda node: node in self.away, self.now)) or (self._any(),))
        )

    def _any(self) -> Any:
        record = self.chance.choice([record for record, _ in self.records.values()])
        return next_epoch(record, self.chance.choice(record.voters))

    def _flush(self) -> None:
        process = self._some()
        process.flush(*process.freeze())

    def _tell(self) -> None:
        self._some().learn()

    def _ask(self) -> None:
        self.now += 1
        requests, self.requests = self.requests, []
        for action in actions_of(self.state, [each for each in requests if self.chance.random() >= self.loss]):
            self.cluster.do(action)

    def _move(self) -> None:
        """The leaders of the metadata and of the locations, each by what it knows."""
        for action in next_steps(self.state, lambda node: node in self.lost, self._waiting()):
            if self.chance.random() >= self.loss:
                self.cluster.do(action)
        for node in MEMBERS:
            if node not in self.away:
                for action in changes(self.state, node, self[node].host.followers()):
                    self.cluster.do(action)

    def _waiting(self) -> Waiting:
        """As those say who are there, and are heard."""
        there = [node for node in MEMBERS if node not in self.away and self.chance.random() >= self.loss]
        return {node: frozenset(self[node].host.left.waits) for node in there}

    def _copy(self) -> None:
        self.ask_for_copies(self._some())

    def ask_for_copies(self, process: Process) -> None:
        """Who has nothing asks for it."""
        by_source: dict[int, dict[int, int]] = {}
        for location, source in process.host.wishes.items():
            record = self.records[location][0]
            by_source.setdefault(node_of(source), {})[location] = replica_on(record, process.node)
        for source, wanted in by_source.items():
            if source in self.away or any(each.process is process for each in self.copies):
                continue
            # One copy has some of it.
            states = self[source].host.begin_copy(wanted, self.chance.choice([1, 2, 100]))
            rows = {location: [*self[source].visible.get(location, [])] for location in states}
            self.copies.append(Copy(process, wanted, states, rows, source))

    def _finish(self) -> None:
        if not self.copies:
            return
        copy = self.copies.pop(self.chance.randrange(len(self.copies)))
        if copy.source not in self.away:
            self[copy.source].host.end_copy(copy.wanted)
        if copy.process.node in self.away or self.chance.random() < 0.1:
            return
        try:
            copy.process.host.install(copy, copy.states, copy.wanted)
        except SerializationFailure:
            return
        self.installed += bool(copy.states)
        copy.process.turn()

    def _leave(self) -> None:
        self.drop_points(self._some())

    def drop_points(self, process: Process) -> None:
        """Those of a database that has left go."""
        for database in process.host.left.leaving:
            batch = process.disk.batch()
            process.host.left.forget_database(batch, database)
            process.disk.write(batch, sync=True)
            for rows in (process.visible, process.blocks):
                for location in self.records:
                    rows.pop(location, None)
            process.own = {}
            process.masked.clear()
            self.begun_again += 1
            process.learn()
        left = process.host.left
        for places in left.leaving_arcs.values():
            if not left.is_masked(places):
                # Masks are durable, and with them all that was written before.
                process.disk.write(process.disk.batch(), sync=True)
                left.mask(places)
                process.masked.update(places)
                for rows in (process.visible, process.blocks, process.own):
                    for location in places:
                        rows.pop(location, None)
            elif self.cleans and self.chance.random() < 0.7:
                batch = process.disk.batch()
                left.forget(batch, places)
                process.disk.write(batch, sync=True)
                process.masked.difference_update(places)
                self.cleaned += 1
                process.learn()

    def _drain(self) -> None:
        drained = [each.node for each in self.state.all(Member) if each.draining]
        node = self.chance.choice(drained) if drained else self.chance.choice(MEMBERS)
        self.cluster.do(ChangeMember(node, draining=not drained))

    def _lose(self) -> None:
        """One node at a time is away, at first for a while and then for good; or it comes back."""
        if self.away:
            (node,) = self.away
            if self.chance.random() < 0.5:
                self.lost = {node}
            else:
                self.away, self.lost = set(), set()
                self[node].crash()
        else:
            self.away = {self.chance.choice(MEMBERS)}
            self.copies = [each for each in self.copies if each.process.node not in self.away]

    def _factor(self) -> None:
        self.cluster.do(SetReplication(DATABASE, self.chance.choice([1, 2, 3, 3, 4])))

    def _goal(self) -> None:
        """A rebalance wants some of it elsewhere, or led by another one."""
        arc = self.chance.choice(self.all_arcs)
        nodes = self.chance.sample(MEMBERS, arc.factor)
        assert self.cluster.do(SetGoals(((arc.number, tuple(nodes)),))) == ()

    def _cut(self) -> None:
        locations = len(self.records)
        count = self.chance.choice([1, locations, self.chance.randint(1, locations)])
        cuts: tuple[int, ...] = ()
        if count > 1 and self.chance.random() < 0.5:
            lows = sorted(interval.low for _, interval in self.records.values())
            cuts = tuple(sorted(self.chance.sample(lows[1:], count - 1)))
        assert isinstance(self.cluster.do(SpreadDatabase(DATABASE, count, cuts)), tuple)

    def _hand(self) -> None:
        """What one leads and another one should, or (it stops, or drains) anybody could."""
        process = self._some()
        followers = process.host.followers()
        heirs = heirs_by_goal(self.state, process.node, followers)
        if self.chance.random() < 0.05:
            heirs = heirs_of(self.state, process.node, followers, {*MEMBERS} - self.away)
        process.host.hand_over(heirs)
        self.handed += len(heirs)
        process.turn()

    # The end

    def heal(self) -> None:
        """Everybody is there and hears everything, until nothing is left to be done."""
        for node in self.away:
            self[node].crash()
        self.away, self.lost, self.loss = set(), set(), 0.0
        for each in self.state.all(Member):
            self.cluster.do(ChangeMember(each.node, draining=False))
        for _ in range(100 + 20 * len(self.records)):
            self.now += 1
            for node in MEMBERS:
                self[node].learn()
                self[node].tick()
            for _ in range(6):
                self._deliver_all()
            self._ask()
            for action in next_steps(self.state, lambda node: False):
                self.cluster.do(action)
            self._move()
            for node in MEMBERS:
                host = self[node].host
                host.hand_over(heirs_by_goal(self.state, node, host.followers()))
            for node in MEMBERS:
                self.ask_for_copies(self[node])
            while self.copies:
                self._finish()
            for node in MEMBERS:
                self.drop_points(self[node])
            if self.is_done():
                return
        raise AssertionError(f"it does not come to an end: {self.why()}")

    def _deliver_all(self) -> None:
        network, self.network = self.network, []
        for sender, to, packet in network:
            messages = unpack(packet, sender, to)
            assert not any(isinstance(message, Snapshot) for message in messages)
            self[to].host.step(messages)
            self[to].turn()

    def is_done(self) -> bool:
        if any(ring.arcs_wanted for ring in self.state.all(Ring)):
            return False
        known = {node: {*self[node].host.known} - (set() if self.cleans else self[node].masked) for node in MEMBERS}
        for at in self.all_arcs:
            if (
                not at.is_settled
                or at.goal
                or at.learners
                or {len(each.voters) for each in at.locations} != {at.factor}
            ):
                return False
            locations = [each.location for each in at.locations]
            ends = [{each: self[node].host.log_ends().get(each) for each in locations} for node in at.voters]
            if any(end != ends[0] or any(each is None or each[1] != each[3] for each in end.values()) for end in ends):
                return False
            for node in at.voters:
                known[node] -= {*locations}
        return not any(known.values())

    def why(self) -> Any:
        return [(r.location, r.voters, r.learners, r.epoch, r.active_epoch, r.leader) for r, _ in self.records.values()]

    def check(self) -> None:
        acknowledged = [body for body, told in self.told.items() if told and isinstance(told[0], Written)]
        voters = {each.location: at.voters for at in self.all_arcs for each in at.locations}
        for location in self.records:
            rows = [self[node].visible.get(location, []) for node in voters[location]]
            assert all(each == rows[0] for each in rows)
            assert len(rows[0]) == len(set(rows[0]))
            mine = {body for body in acknowledged if body.endswith(b"at %d" % location)}
            sequences = [answer.sequence for body in mine if isinstance(answer := self.told[body][0], Written)]
            assert len(sequences) == len({*sequences}), "an op sequence is given twice"
            assert mine <= {*rows[0]}, f"{len(mine - {*rows[0]})} acknowledged writes are gone"
            for node in {*MEMBERS} - voters[location]:
                assert not self[node].visible.get(location)

    @property
    def written(self) -> int:
        return sum(bool(told) and isinstance(told[0], Written) for told in self.told.values())
