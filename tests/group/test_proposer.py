"""A command counts once, whatever is lost, doubled or late on its way, and whoever leads."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.metadata.draws import CLUSTER, uuid
from tsdb.clock import ManualClock
from tsdb.cluster.group import proposer
from tsdb.cluster.group.proposer import Proposer
from tsdb.cluster.metadata.commands import ChangeSchema, Found, NewMember, PassTime, encode
from tsdb.cluster.metadata.commands import Command as Envelope
from tsdb.cluster.metadata.machine import Machine, Outcome
from tsdb.errors import CannotConnectNow, DuplicateDatabase, QueryCanceled, StatementCompletionUnknown
from tsdb.model.schema import CreateDatabase

HOUR_NS = 3_600 * 10**9


class Wire:
    """What lies between a proposer and the log: commands are lost, come twice, or late. Its node applies the log."""

    def __init__(self, seed: int, *, loss: float = 0.0, seconds: float = 60.0) -> None:
        self.chance = random.Random(seed)
        self.loss = loss
        self.machine = Machine()
        self.clock = ManualClock(10**18)
        self.term, self.leader = 1, 1
        self.index = 0
        self.skips = 0.0
        self.late: list[bytes] = []
        self.late_by = 0.0
        self.sent = 0
        self.proposer = Proposer(self, self.clock, "node-1-test", lambda: self.machine.state, seconds)
        self.append(encode(Envelope(Found(CLUSTER, NewMember(uuid(1))))))

    def leads_in(self) -> tuple[int, int]:
        if self.chance.random() < self.loss:
            self.term += 1
        return self.term, self.leader

    def pass_on(self, command: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.sent += 1
        for _ in range(1 + (self.chance.random() < self.loss)):
            if self.chance.random() < self.loss:
                continue
            loop.call_later(self.late_by + self.chance.random() * 0.01, self.append, command)
        if self.chance.random() < self.loss:
            self.late.append(command)

    def append(self, command: bytes) -> None:
        self.index += 1
        outcome = self.machine.apply(self.index, command)
        assert isinstance(outcome, Outcome)
        # A snapshot shows the state and not what led to it.
        self.proposer.applied([] if self.chance.random() < self.skips else [outcome])


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


@pytest.mark.parametrize("seed", range(12))
def test_each_action_is_done_once_whatever_is_lost_doubled_or_late(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposer, "_LOOK_S", 0.002)

    async def test() -> None:
        wire = Wire(seed, loss=0.3)
        wire.skips = 0.3 if seed % 2 else 0.0
        for number in range(12):
            # A database is made once: what came again for its own sake would be refused, and this is raised.
            await wire.proposer.propose(ChangeSchema.of([CreateDatabase(f"d{number}")]))
            while wire.late and wire.chance.random() < 0.5:
                wire.append(wire.late.pop())
            with pytest.raises(DuplicateDatabase):
                await wire.proposer.propose(ChangeSchema.of([CreateDatabase(f"d{number}")]))
        assert [*wire.machine.state.catalog.databases] == [f"d{number}" for number in range(12)]

    run(test())


def test_who_proposes_to_nobody_is_told_that_nothing_was_done() -> None:
    async def test() -> None:
        wire = Wire(1, seconds=0.5)
        wire.leader = 0
        with pytest.raises(CannotConnectNow, match="nothing was changed") as refused:
            await wire.proposer.propose(ChangeSchema.of([CreateDatabase("d")]))
        assert refused.value.sqlstate == "57P03"
        assert refused.value.hint is not None
        wire.leader = 1
        await wire.proposer.propose(ChangeSchema.of([CreateDatabase("d")]))

    run(test())


def test_who_waits_behind_another_change_is_cancelled_at_once_and_keeps_nobody_waiting() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        wire = Wire(1, seconds=20.0)
        await wire.proposer.propose(PassTime())
        wire.leader = 0
        first = loop.create_task(wire.proposer.propose(ChangeSchema.of([CreateDatabase("first")])))
        await asyncio.sleep(0.05)
        cancelled: list[bool] = []
        loop.call_later(0.1, cancelled.append, True)
        began = loop.time()
        with pytest.raises(QueryCanceled):
            await wire.proposer.propose(ChangeSchema.of([CreateDatabase("d")]), is_left=lambda: bool(cancelled))
        assert loop.time() - began < 5
        third = loop.create_task(wire.proposer.propose(ChangeSchema.of([CreateDatabase("third")])))
        wire.leader = 1
        await first
        await third
        assert not {"first", "third"} - set(wire.machine.state.catalog.databases)
        assert "d" not in wire.machine.state.catalog.databases

    run(test())


def test_who_is_cancelled_before_it_proposed_to_anybody_has_changed_nothing() -> None:
    async def test() -> None:
        wire = Wire(1, seconds=20.0)
        await wire.proposer.propose(PassTime())
        wire.leader = 0
        cancelled: list[bool] = []
        asyncio.get_running_loop().call_later(0.1, cancelled.append, True)
        with pytest.raises(QueryCanceled):
            await wire.proposer.propose(ChangeSchema.of([CreateDatabase("d")]), is_left=lambda: bool(cancelled))
        wire.leader = 1
        # What may be done is not told as what is not.
        wire.late_by, wire.sent = 0.1, 0
        await wire.proposer.propose(ChangeSchema.of([CreateDatabase("e")]), is_left=lambda: wire.sent > 0)
        assert [*wire.machine.state.catalog.databases] == ["e"]

    run(test())


def test_what_was_given_up_never_comes_to_effect_after_the_next_one() -> None:
    async def test() -> None:
        wire = Wire(1, seconds=0.5)
        await wire.proposer.propose(PassTime())
        kept: list[bytes] = []
        wire.pass_on = kept.append  # type: ignore[assignment, method-assign]
        with pytest.raises(StatementCompletionUnknown) as unknown:
            await wire.proposer.propose(ChangeSchema.of([CreateDatabase("late")]))
        assert unknown.value.sqlstate == "40003"
        del wire.pass_on
        await wire.proposer.propose(ChangeSchema.of([CreateDatabase("next")]))
        wire.append(kept[0])
        assert [*wire.machine.state.catalog.databases] == ["next"]

    run(test())


def test_a_session_that_has_ended_is_opened_again() -> None:
    async def test() -> None:
        wire = Wire(1)
        for number in range(3):
            await wire.proposer.propose(ChangeSchema.of([CreateDatabase(f"d{number}")]))
            # Another node's command brings a later time.
            wire.clock.time_ns += 2 * HOUR_NS
            wire.append(encode(Envelope(PassTime(), wire.clock.now_ns())))
        assert len(wire.machine.state.catalog.databases) == 3

    run(test())


def test_many_at_once_are_done_in_turn() -> None:
    async def test() -> None:
        wire = Wire(5, loss=0.1)
        names = [f"d{number}" for number in range(10)]
        await asyncio.gather(*(wire.proposer.propose(ChangeSchema.of([CreateDatabase(name)])) for name in names))
        assert sorted(wire.machine.state.catalog.databases) == sorted(names)

    run(test())
