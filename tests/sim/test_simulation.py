"""Whole groups under faults: seeds, each a run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context

import pytest

from tests.sim.seeds import faults
from tests.sim.world import World

CI_SEEDS = 200
NIGHTLY_SEEDS = 100_000


@pytest.mark.parametrize("first", range(0, CI_SEEDS, 25))
def test_a_group_under_faults_keeps_its_promises_and_goes_on_when_they_end(first: int) -> None:
    for seed in range(first, first + 25):
        try:
            World(seed).run()
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


def test_a_removed_leader_does_not_wait_for_a_voter_that_is_gone() -> None:
    """It handed over to the one with most of the log, again and again, and that one's disk was lost."""
    World(12_549).run()


def test_a_successor_that_crashed_learns_that_the_old_leader_is_no_voter() -> None:
    """It needed the vote of the one it had replaced, whose log was longer and who could not lead any more."""
    World(69_919).run()


def test_a_change_of_members_that_a_snapshot_overtakes_is_not_applied_again() -> None:
    """It was applied to the snapshot's members, by a node that applies while messages arrive."""
    World(4_648).run()


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """One for each core: 100,000 seeds take an hour and more of one."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(1_000, 1_000 + NIGHTLY_SEEDS, 2_000))
def test_a_hundred_thousand_seeds(first: int, processes: ProcessPoolExecutor) -> None:
    parts = processes.map(faults, range(first, first + 2_000, 50), repeat(50))
    assert [fault for part in parts for fault in part] == []


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
