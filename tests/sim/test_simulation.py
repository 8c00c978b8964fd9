"""Whole groups under faults: seeds, each a run."""

from __future__ import annotations

import pytest

from tests.sim.world import World

CI_SEEDS = 200
NIGHTLY_SEEDS = 20_000


@pytest.mark.parametrize("first", range(0, CI_SEEDS, 25))
def test_a_group_under_faults_keeps_its_promises_and_goes_on_when_they_end(first: int) -> None:
    for seed in range(first, first + 25):
        try:
            World(seed).run()
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(1_000, 1_000 + NIGHTLY_SEEDS, 500))
def test_many_more_seeds(first: int) -> None:
    for seed in range(first, first + 500):
        try:
            World(seed).run()
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


def test_a_seed_is_a_run() -> None:
    def traces(seed: int) -> tuple[object, ...]:
        world = World(seed)
        world.run()
        return world.now, world.moments, sorted(world.checks.committed.items()), sorted(world.checks.leaders.items())

    assert [traces(seed) for seed in range(5)] == [traces(seed) for seed in range(5)]
    assert len({str(traces(seed)) for seed in range(5)}) == 5


def test_the_runs_are_worth_their_time() -> None:
    """Simulations in which nothing happens find nothing: elections, commits and answered operations in 40 seeds."""
    elections = entries = operations = 0
    for seed in range(40):
        world = World(seed)
        world.run()
        elections += len(world.checks.leaders)
        entries += len(world.checks.committed)
        operations += sum(len(world.checks.history(register)) for register in range(2))
    assert elections > 80
    assert entries > 600
    assert operations > 800
