"""The tests are tested: each bug that is put into the core must be found, by seeds or by a directed schedule."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.raft.schedules import SCHEDULES
from tests.sim.mutants import MUTANTS, Mutant
from tests.sim.world import World
from tests.test_raft_scripts import OURS, run

# Found within so many seeds: quickly enough for every change.
CI_SEEDS = 120
QUICK = {
    "a_rejection_is_not_heard",
    "a_snapshot_keeps_the_log",
    "a_snapshot_of_another_moment",
    "a_snapshot_that_was_cut_is_whole",
    "a_snapshot_without_its_members",
    "a_wrong_body_is_put_in",
    "an_elided_body_stays_away",
    "an_old_message_truncates",
    "another_snapshot_is_gone_on_with",
    "appends_without_a_match",
    "answers_before_the_disk",
    "applied_apart_from_the_effect",
    "half_is_a_majority",
    "learners_count",
    "nothing_is_synced",
    "restart_at_term_zero",
    "terms_of_messages_are_ignored",
    "the_window_is_never_freed",
    "truncates_what_is_not_applied",
    "votes_for_any_log",
    "votes_twice",
}
NIGHTLY_SEEDS = 3_000


def found_by_a_schedule() -> str | None:
    """A script or a directed schedule."""
    for schedule in SCHEDULES:
        try:
            schedule()
        except Exception as error:
            return f"{schedule.__name__}: {type(error).__name__}"
    for path in sorted(Path(OURS).glob("*.txt")):
        try:
            run(path)
        except Exception as error:
            return f"{path.stem}: {type(error).__name__}"
    return None


def found_by_a_seed(seeds: int) -> str | None:
    for seed in range(seeds):
        try:
            World(seed).run()
        except Exception as error:
            return f"seed {seed}: {type(error).__name__}: {str(error)[:100]}"
    return None


def test_all_schedules_pass_without_a_mutant() -> None:
    assert found_by_a_schedule() is None


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.__name__ in QUICK], ids=lambda m: m.__name__)
def test_a_bug_is_found_soon(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch.setattr)
    assert found_by_a_seed(CI_SEEDS) is not None


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.__name__ not in QUICK], ids=lambda m: m.__name__)
def test_a_bug_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch.setattr)
    assert found_by_a_schedule() is not None
