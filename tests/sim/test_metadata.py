"""Whole groups under faults that keep metadata: members are equal at equal indexes, nothing is lost or done twice."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.sim.kept import Kept
from tests.sim.metadata_mutants import MUTANTS
from tests.sim.mutants import Mutant
from tests.sim.world import World

CI_SEEDS = 80
MUTANT_SEEDS = 150
NIGHTLY_SEEDS = 5_000


def world(seed: int) -> World:
    return World(seed, metadata_clients=1 + seed % 2)


def run(first: int, count: int) -> None:
    for seed in range(first, first + count):
        try:
            world(seed).run()
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.mark.parametrize("first", range(0, CI_SEEDS, 20))
def test_members_agree_on_the_metadata_whatever_happens(first: int) -> None:
    run(first, 20)


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(10_000, 10_000 + NIGHTLY_SEEDS, 250))
def test_many_more_seeds(first: int) -> None:
    run(first, 250)


def found(seeds: int) -> str | None:
    for seed in range(seeds):
        try:
            world(seed).run()
        except Exception as error:
            return f"seed {seed}: {type(error).__name__}: {str(error)[:100]}"
    return None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_a_bug_in_the_metadata_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch.setattr)
    assert found(MUTANT_SEEDS) is not None


def test_the_runs_are_worth_their_time() -> None:
    """Roles made, sessions that ended, commands that came again, snapshots that were installed: in 30 seeds."""
    seen: Counter[str] = Counter()
    for seed in range(30):
        each = world(seed)
        each.run()
        seen["roles"] += len(each.checks.acknowledged)
        seen["commands"] += len(each.checks.digests)
        for member in each.members.values():
            if member.up and isinstance(member.machine, Kept):
                seen["errors"] += sum(bool(answer.error) for _, answer in member.machine.answers.values())
                state = member.machine.metadata.machine.state
                seen["snapshots"] += state.group.applied > 0 and not member.machine.answers
    assert seen["roles"] > 60, seen
    assert seen["commands"] > 400, seen
    assert seen["errors"] > 50, seen
