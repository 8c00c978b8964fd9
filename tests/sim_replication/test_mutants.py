"""The tests are tested: each bug that is put into replication must be found, by a directed schedule or by seeds."""

from __future__ import annotations

import pytest

from tests.sim_replication import client_schedules, schedules
from tests.sim_replication.mutants import MUTANTS, Mutant
from tests.sim_replication.world import World

SCHEDULES = (*schedules.SCHEDULES, *client_schedules.SCHEDULES)
CI_SEEDS = 25


def found_by_a_schedule() -> str | None:
    for schedule in SCHEDULES:
        try:
            schedule()
        except Exception as error:
            return f"{schedule.__name__}: {type(error).__name__}"
    return None


def found_by_a_seed(seeds: int) -> str | None:
    for seed in range(seeds):
        for factor in (3, 5, 1):
            try:
                World(seed, factor).run()
            except Exception as error:
                return f"seed {seed}, factor {factor}: {type(error).__name__}: {str(error)[:100]}"
    return None


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.__name__)
def test_a_directed_schedule_keeps_its_rule(schedule: Mutant) -> None:
    schedule()  # type: ignore[call-arg]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_a_bug_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch.setattr)
    assert (found_by_a_schedule() or found_by_a_seed(CI_SEEDS)) is not None


def test_the_designs_bugs_are_all_there() -> None:
    assert len(MUTANTS) >= 40
