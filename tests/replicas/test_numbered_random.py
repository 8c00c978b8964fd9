"""Numbered batches through random crashes, losses, flushes and epochs: none is lost, and none is there twice."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.replicas.hosts import NODES
from tests.replicas.test_random import STEPS, Run
from tsdb.cluster.metadata.records import NAMES, ClientSession, Group
from tsdb.cluster.metadata.state import State
from tsdb.cluster.replicas.numbered import Number
from tsdb.cluster.replication.clients import Answer, SessionExpired, TooOld, Write, Written
from tsdb.cluster.replication.record import Record
from tsdb.model.catalog import Catalog
from tsdb.model.store import Producer
from tsdb.storage.producers import WINDOW

SESSION = 5


def metadata(applied: int, *, is_open: bool = True) -> State:
    tables = {kind: {} for kind in NAMES}  # type: ignore[var-annotated]
    tables[Group][0] = Group(applied=applied)
    if is_open:
        tables[ClientSession][SESSION] = ClientSession(SESSION, "p", 1, 0, database=1)
    return State(Catalog(), tables)


class NumberedRun(Run):
    """A client that sends each part of its batches until it is acknowledged: again at any time, and at any node."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.told_of: dict[tuple[int, int], list[list[Answer]]] = {}
        """By (batch, location): the answers of each time that it was sent."""
        self.metadata = metadata(1_000)

    def _write(self) -> None:
        location = self.chance.choice([*self.world.records])
        waiting = [part for part in self.told_of if not self.is_acknowledged(part)]
        if waiting and self.chance.random() < 0.7:
            part = self.chance.choice(waiting)
        else:
            self.number += 1
            part = self.number, location
        record = self.world.records[part[1]][0]
        self.send(part, record.leader if self.chance.random() < 0.7 else self.chance.choice(NODES))

    def send(self, part: tuple[int, int], node: int) -> None:
        batch, location = part
        told: list[Answer] = []
        self.told_of.setdefault(part, []).append(told)
        number = Number(Producer("p", batch, digest=batch, session=SESSION), lambda: self.metadata)
        body, schema = b"%d at %d" % part, self.world.schema

        def write(id: int, record: Record) -> Write:
            plain = Write(id, record.low, record.high, record.map_version, body, metadata_index=schema)
            return number.put_on(plain)

        self.world[node].host.write(location, write, self.chance.randint(0, 5), told.append)
        if self.chance.random() < 0.7:
            self.world[node].turn()

    def is_acknowledged(self, part: tuple[int, int]) -> bool:
        return any(told and isinstance(told[0], Written) for told in self.told_of[part])

    def finish(self) -> None:
        """What is not acknowledged is sent until it is."""
        for part in self.told_of:
            for _ in range(20):
                if self.is_acknowledged(part):
                    break
                self.send(part, self.world.records[part[1]][0].leader)
                self.world.tick()
            assert self.is_acknowledged(part)
        self.heal()

    def check(self) -> None:
        for location in self.world.records:
            rows = self.world.visible(location)
            assert rows[0] == rows[1] == rows[2]
            assert sorted(rows[0]) == sorted(b"%d at %d" % part for part in self.told_of if part[1] == location)


def run(seed: int) -> NumberedRun:
    run = NumberedRun(seed)
    for _ in range(STEPS):
        run.step()
    run.heal()
    run.finish()
    run.check()
    return run


@pytest.mark.parametrize("seed", range(30))
def test_each_part_is_everywhere_once(seed: int) -> None:
    run(seed)


def test_the_runs_send_again_what_is_there() -> None:
    """Or they would show nothing."""
    found = [told for seed in range(8) for tries in run(seed).told_of.values() for told in tries if told]
    duplicates = sum(isinstance(told[0], Written) and told[0].duplicate for told in found)
    assert len(found) > duplicates > len(found) / 50


def test_a_batch_below_the_window_is_too_old_and_one_of_a_forgotten_producer_is_refused() -> None:
    run = NumberedRun(1)
    run.loss = 0.0
    run.heal()
    (location, *_) = run.world.records
    leader = run.world[run.world.records[location][0].leader]

    def answer(batch: int) -> Answer:
        run.send((batch, location), leader.node)
        run.world.tick(3)
        return replace(run.told_of[batch, location][-1][0], id=0)

    assert isinstance(answer(WINDOW + 50), Written)
    assert isinstance(answer(51), Written)
    assert answer(50) == TooOld(0, 50)
    leader.host.forget_clients(lambda client: client != SESSION, SESSION - 1)
    run.world.tick(3)
    assert isinstance(answer(52), Written), "what the metadata said before the session says nothing of it"
    leader.host.forget_clients(lambda client: False, 1_000)
    run.world.tick(3)
    run.metadata = metadata(999)
    run.send((53, location), leader.node)
    run.world.tick(6)
    run.metadata = metadata(1_000, is_open=False)
    assert answer(53) == SessionExpired(0)
    for process in run.world.nodes.values():
        assert list(process.host._mine[location].replica.clients) == []


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(0, 3_000, 300))
def test_many_runs(first: int) -> None:
    for seed in range(first, first + 300):
        run(seed)
