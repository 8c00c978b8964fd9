"""Whole worlds under faults: seeds, each a run, for each replication factor."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.sim_replication.checks import Broken, Checks
from tests.sim_replication.world import World
from tsdb.cluster.replication.messages import Message, Repl

CI_SEEDS = 100
NIGHTLY_SEEDS = 20_000
FACTORS = (1, 3, 5)


def run(first: int, count: int, factor: int) -> None:
    for seed in range(first, first + count):
        try:
            World(seed, factor).run()
        except Exception as error:
            error.add_note(f"seed {seed}, replication factor {factor}")
            raise


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("first", range(0, CI_SEEDS, 50))
def test_locations_under_faults_keep_their_promises_and_go_on_when_they_end(first: int, factor: int) -> None:
    run(first, 50, factor)


@pytest.mark.nightly
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("first", range(1_000, 1_000 + NIGHTLY_SEEDS, 500))
def test_many_more_seeds(first: int, factor: int) -> None:
    run(first, 500, factor)


def test_a_seed_is_a_run() -> None:
    def traces(seed: int) -> tuple[object, ...]:
        world = World(seed, 3)
        world.run()
        return world.now, sorted(world.checks.chains.items()), sorted(world.checks.leaders.items())

    assert [traces(seed) for seed in range(3)] == [traces(seed) for seed in range(3)]
    assert len({str(traces(seed)) for seed in range(3)}) == 3


def test_the_runs_are_worth_their_time() -> None:
    """Simulations in which nothing happens find nothing: what 30 seeds have to bring about, together."""
    counts: dict[str, int] = {}
    for seed in range(30):
        world = World(seed, 3)
        world.run()
        for what, count in world.checks.counts.items():
            counts[what] = counts.get(what, 0) + count
    least = {
        "leaders": 150, "WRITE": 1_500, "acknowledged": 1_500, "linearizable": 50, "session": 200, "bounded": 40,
        "any": 10,
        "SPLIT": 10, "MERGE_SEAL": 2, "FORGET_CLIENT": 3, "snapshots": 10, "wiped": 2, "COMMITTED": 30, "MARKER": 20,
    }  # fmt: skip
    assert {what: counts.get(what, 0) for what, count in least.items() if counts.get(what, 0) < count} == {}


def test_a_leader_that_sends_another_op_by_the_same_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """I6, which no bug that was put in on purpose needs to be found."""
    sent: list[Repl] = []
    look = Checks.sent

    def note(checks: Checks, message: Message) -> None:
        if isinstance(message, Repl) and message.ops:
            sent.append(message)
        look(checks, message)

    monkeypatch.setattr(Checks, "sent", note)
    world = World(1, 3)
    world.run()
    message = sent[-1]
    look(world.checks, message)
    other = replace(message.ops[0], chain=bytes(len(message.ops[0].chain)))
    with pytest.raises(Broken, match="I6"):
        look(world.checks, replace(message, ops=(other,)))
